"""A backend that traces, what its graph computes on NumPy, and a traced function beside array-api-strict's."""

import warnings

import array_api_strict as strict
import numpy as np
import pytest
from array_api_compat import numpy as standard

from xpnn.backend import resolve
from xpnn.compile.simplify import apply, constant
from xpnn.compile.trace import Graph, Untraceable


class Tracing:
    """A backend whose arrays are the inputs of a graph; `values` gives each node's numbers on NumPy."""

    def __init__(self, dtype="float64"):
        self.host, self.graph, self.inputs = resolve("numpy", dtype), Graph(), {}
        self.xp = self.graph.xp

    def asarray(self, values, name="array", dtype="float"):
        array = np.copy(self.host.asarray(values, dtype=dtype))
        self.inputs[name := f"x{len(self.inputs)}"] = array
        return self.graph.input(name, array.shape, array.dtype)

    def values(self):
        found = {}
        for node in self.graph.nodes:
            if node.op == "input":
                found[node] = self.inputs[node.options["name"]]
            elif node.op == "constant":
                found[node] = constant(node)
            else:
                found[node] = apply(node, [found[arg] for arg in node.args], np)
            assert (np.shape(found[node]), found[node].dtype) == (node.shape, node.dtype), node
        return found


def compared(function, numbers=True):
    """Whether `function(xp, make)`, on arrays by `make`, could be traced; checks that if strict has it, it can.

    Shapes and dtypes must be those of array-api-strict, and `numbers` those of NumPy; what strict refuses for the
    kinds of dtype must be Untraceable.
    """
    tracing = Tracing()
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        try:
            expected = _several(function(strict, strict.asarray))
        except (TypeError, OverflowError):
            with pytest.raises(Untraceable):
                function(tracing.xp, lambda array: tracing.asarray(array, dtype=None))
            return False
        found = _several(function(tracing.xp, lambda array: tracing.asarray(array, dtype=None)))
        direct, values = _several(function(standard, np.copy)), tracing.values()
    promised = [(x.shape, str(x.dtype).partition(".")[2]) for x in expected]
    assert [(node.shape, str(node.dtype)) for node in found] == promised
    for node, array in zip(found, direct, strict=True):
        if numbers:
            np.testing.assert_array_equal(values[node], array)
    return True


def _several(found):
    return list(found) if isinstance(found, list | tuple) else [found]
