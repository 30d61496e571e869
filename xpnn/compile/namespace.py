"""The array API standard's functions for the nodes of a graph: what stands in the place of `xp` while tracing.

Shapes and dtypes follow the standard's rules, and what it leaves undefined, as a mixture of kinds of dtype, is refused.
Not here are functions whose shapes hang on numbers (nonzero, unique_values ...), extensions, and complex numbers.
"""

import math
from collections.abc import Sequence
from functools import partialmethod
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from xpnn.compile.trace import Graph, Node, Untraceable

_TABLE = [  # how many operands, of which kinds of dtype, whether the result is bool, and the functions
    (1, "f", False, "acos acosh asin asinh atan atanh cos cosh erf exp expm1 log log10 log1p log2 reciprocal"),
    (1, "f", False, "sin sinh sqrt tan tanh"),
    (1, "iuf", False, "abs ceil floor negative positive round sign square trunc"),
    (1, "biu", False, "bitwise_invert"),
    (1, "iuf", True, "isfinite isinf isnan"),
    (1, "f", True, "signbit"),
    (1, "b", True, "logical_not"),
    (2, "f", False, "atan2 copysign divide hypot logaddexp nextafter"),
    (2, "iuf", False, "add floor_divide maximum minimum multiply pow remainder subtract"),
    (2, "biu", False, "bitwise_and bitwise_or bitwise_xor"),
    (2, "iu", False, "bitwise_left_shift bitwise_right_shift"),
    (2, "biuf", True, "equal not_equal"),
    (2, "iuf", True, "greater greater_equal less less_equal"),
    (2, "b", True, "logical_and logical_or logical_xor"),
]
_TRIED = [  # of which kinds of dtype each operand is, and the functions
    (("iuf",), "argmax argmin cumulative_prod cumulative_sum"),
    (("biuf",), "repeat roll tile tril triu"),
    (("iuf", "iuf"), "tensordot vecdot"),
    (("biuf", "iu"), "take_along_axis"),
]
ELEMENTWISE = frozenset(name for *_, names in _TABLE for name in names.split()) | {"where", "astype"}
"""Each number of the result depends on the numbers in its own place alone."""
FLOATING = [name for *row, names in _TABLE if row == [1, "f", False] for name in names.split()]
TESTS = [name for count, _, test, names in _TABLE if test and count == 1 for name in names.split()]
COMPARISONS = [name for count, _, test, names in _TABLE if test and count == 2 for name in names.split()]
REDUCTIONS = frozenset(["sum", "prod", "mean", "max", "min", "any", "all"])
VIEWS = frozenset(["reshape", "permute_dims", "broadcast_to", "index"])
"""The same numbers looked at in another way."""
_WHOLE = frozenset(["ceil", "floor", "round", "trunc"])  # which leave integers as they are
_SUMS = {"i": np.dtype(np.int64), "u": np.dtype(np.uint64)}


class Namespace:
    """The standard's functions, named and called as in the standard, on the nodes of one graph."""

    __name__ = "xpnn.compile.namespace"
    __array_api_version__ = "2024.12"
    pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None

    def __init__(self, graph: Graph):
        self._graph = graph

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"{name}, which is no operation that a step can be compiled from")

    def isdtype(self, dtype, kind):
        return bool(np.isdtype(np.dtype(dtype), kind))

    def finfo(self, type, /):
        found, names = np.finfo(self.result_type(type)), ("eps", "max", "min", "smallest_normal")
        numbers = {name: float(getattr(found, name)) for name in names}  # NumPy's have a dtype, the standard's have not
        return SimpleNamespace(bits=found.bits, dtype=found.dtype, **numbers)

    def iinfo(self, type, /):
        return np.iinfo(self.result_type(type))

    def can_cast(self, from_, to, /):
        try:
            return self.result_type(from_, to) == np.dtype(to)
        except Untraceable:
            return False

    def result_type(self, *values):
        known = [value for value in values if isinstance(value, Node | np.dtype | type | str)]
        dtypes = [value.dtype if isinstance(value, Node) else np.dtype(value) for value in known]
        if not dtypes:
            raise Untraceable("an operation of numbers alone: one operand must be an array of the step")
        result = np.result_type(*dtypes)
        kinds = {dtype.kind.replace("u", "i") for dtype in (*dtypes, result)}
        if len(kinds) > 1 or not kinds <= set("bif"):
            raise Untraceable(f"an operation of {' and '.join(map(str, dtypes))}: astype says what is meant")
        for value in values:
            if not isinstance(value, Node | np.dtype | type | str):
                self._number(value, result)
        return result

    def _nodes(self, *values: Any) -> tuple[list[Node], np.dtype]:
        """Every operand as a node, and their common dtype; a Python number takes that of the arrays beside it."""
        dtype = self.result_type(*(value for value in values if isinstance(value, Node)))
        return [value if isinstance(value, Node) else self._number(value, dtype) for value in values], dtype

    def _number(self, value: Any, dtype: np.dtype) -> Node:
        fits = dtype.kind in {bool: "b", int: "iuf", float: "f"}.get(type(value), "")
        limits = np.iinfo(dtype) if fits and dtype.kind in "iu" else None
        if not fits or (limits and not limits.min <= value <= limits.max):
            given = repr(value) if isinstance(value, bool | int | float) else f"an operand of {type(value)}"
            raise Untraceable(f"{given} beside an array of {dtype}: xp.asarray or xp.astype says what is meant")
        return self._graph.constant(float(value) if dtype.kind == "f" else value, dtype)

    def astype(self, x, dtype, /, *, copy=True, device=None):
        dtype = _check("astype to", np.dtype(dtype), "biuf")
        return x if dtype == x.dtype else self._graph.record("astype", [x], {"dtype": dtype}, x.shape, dtype)

    def _computed(self, op: str, count: int, kinds: str, test: bool, /, *values: Any) -> Node:
        if len(values) != count:
            raise TypeError(f"{op} of {len(values)} arguments: it takes {count}")
        nodes, dtype = self._nodes(*values)
        if _check(op, dtype, kinds).kind in "iu" and op in _WHOLE:
            return nodes[0]
        return self._graph.record(op, nodes, {}, _common(nodes), np.dtype(bool) if test else dtype)

    def where(self, condition, x1, x2, /):
        nodes, dtype = self._nodes(x1, x2)
        _check("where by", condition.dtype, "b")
        return self._graph.record("where", [condition, *nodes], {}, _common([condition, *nodes]), dtype)

    def clip(self, x, /, min=None, max=None):
        found = x if min is None else self.maximum(x, min)
        found = found if max is None else self.minimum(found, max)
        if found.dtype != x.dtype:
            raise Untraceable(f"clip of {x.dtype} within limits of {found.dtype}: astype says what is meant")
        return found

    def _reduce(self, op: str, kinds: str, x: Node, /, *, axis: Any = None, keepdims: bool = False) -> Node:
        axes = tuple(sorted(normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)))
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes)
        dtype = np.dtype(bool) if "b" in kinds else _check(op, x.dtype, kinds)
        return self._graph.record(op, [x], {"axis": axes, "keepdims": bool(keepdims)}, shape, dtype)

    def _total(self, op: str, x: Node, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Node:
        given = _check(op, x.dtype, "iuf")
        dtype = _SUMS.get(given.kind, given) if dtype is None else np.dtype(dtype)
        wide = self.astype(x, _SUMS.get(dtype.kind, dtype))  # as NumPy does by itself
        return self.astype(self._reduce(op, "iuf", wide, axis=axis, keepdims=keepdims), dtype)

    sum, prod = partialmethod(_total, "sum"), partialmethod(_total, "prod")
    max, min = partialmethod(_reduce, "max", "iuf"), partialmethod(_reduce, "min", "iuf")
    any, all = partialmethod(_reduce, "any", "biuf"), partialmethod(_reduce, "all", "biuf")
    mean = partialmethod(_reduce, "mean", "f")

    def var(self, x, /, *, axis=None, correction=0.0, keepdims=False):
        centred = x - self.mean(x, axis=axis, keepdims=True)
        total = self.sum(centred * centred, axis=axis, keepdims=keepdims)
        return self.divide(total, max(x.size // max(total.size, 1) - correction, 0.0))

    def std(self, x, /, *, axis=None, correction=0.0, keepdims=False):
        return self.sqrt(self.var(x, axis=axis, correction=correction, keepdims=keepdims))

    def count_nonzero(self, x, /, *, axis=None, keepdims=False):
        return self.sum(self.astype(x if x.dtype.kind == "b" else x != 0, np.int64), axis=axis, keepdims=keepdims)

    def _view(self, op: str, x: Node, shape: tuple[int, ...]) -> Node:
        return x if shape == x.shape else self._graph.record(op, [x], {"shape": shape}, shape, x.dtype)

    def reshape(self, x, /, shape, *, copy=None):
        return self._view("reshape", x, x.hollow.reshape(shape).shape)

    def expand_dims(self, x, /, axis=0):
        return self.reshape(x, np.expand_dims(x.hollow, axis).shape)

    def squeeze(self, x, /, axis):
        return self.reshape(x, np.squeeze(x.hollow, axis).shape)

    def broadcast_to(self, x, /, shape):
        return self._view("broadcast_to", x, np.broadcast_to(x.hollow, shape).shape)

    def broadcast_arrays(self, *arrays):
        return [self.broadcast_to(x, _common(arrays)) for x in arrays]

    def meshgrid(self, *arrays, indexing="xy"):
        axes = list(range(len(arrays)))
        order = {"ij": axes, "xy": [*axes[:2][::-1], *axes[2:]]}[indexing]
        lines = [tuple(-1 if i == axis else 1 for i in axes) for axis in order]
        return self.broadcast_arrays(*map(self.reshape, arrays, lines))

    def permute_dims(self, x, /, axes):
        shape, axes = np.transpose(x.hollow, axes).shape, tuple(axis % x.ndim for axis in axes)
        ordered = axes == tuple(range(x.ndim))
        return x if ordered else self._graph.record("permute_dims", [x], {"axes": axes}, shape, x.dtype)

    def matrix_transpose(self, x, /):
        return self.permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))

    def moveaxis(self, x, source, destination, /):
        lengths = np.broadcast_to(0.0, range(1, x.ndim + 1))  # axis i has length i + 1
        return self.permute_dims(x, tuple(n - 1 for n in np.moveaxis(lengths, source, destination).shape))

    def flip(self, x, /, *, axis=None):
        axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
        return x[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(x.ndim))]

    def concat(self, arrays, /, *, axis=0):
        arrays = [self.reshape(x, (-1,)) for x in arrays] if axis is None else list(arrays)
        dtype, axis = self.result_type(*arrays), normalize_axis_index(axis or 0, arrays[0].ndim)
        before, after = arrays[0].shape[:axis], arrays[0].shape[axis + 1 :]
        if any((x.shape[:axis], x.shape[axis + 1 :]) != (before, after) for x in arrays):
            shapes = " and ".join(str(x.shape) for x in arrays)
            raise ValueError(f"concat of {shapes} along axis {axis}: all other axes must be as long")
        shape = (*before, sum(x.shape[axis] for x in arrays), *after)
        return self._graph.record("concat", arrays, {"axis": axis}, shape, dtype) if len(arrays) > 1 else arrays[0]

    def stack(self, arrays, /, *, axis=0):
        return self.concat([self.expand_dims(x, axis) for x in arrays], axis=axis)

    def unstack(self, x, /, *, axis=0):
        return tuple(self.moveaxis(x, axis, 0))

    def matmul(self, x1, x2, /):
        (x1, x2), dtype = self._nodes(x1, x2)
        if x1.ndim == 1:  # a matrix of one row
            return self.squeeze(self.matmul(x1[None, :], x2), -1 if x2.ndim == 1 else -2)
        if x2.ndim == 1:  # a matrix of one column
            return self.squeeze(self.matmul(x1, x2[:, None]), -1)
        if not x1.ndim or not x2.ndim or x1.shape[-1] != x2.shape[-2]:
            raise ValueError(
                f"matmul of {x1.shape} and {x2.shape}: the first must have as many columns as the second rows"
            )
        shape = (*np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2]), x1.shape[-2], x2.shape[-1])
        return self._graph.record("matmul", [x1, x2], {}, shape, _check("matmul", dtype, "iuf"))

    def take(self, x, indices, /, *, axis=None):
        if axis is None and x.ndim != 1:
            raise ValueError(f"axis must be given to take from an array of shape {x.shape}, got None")
        axis = normalize_axis_index(axis or 0, x.ndim)
        _check("take by", indices.dtype, "iu")
        shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
        return self._graph.record("take", [x, indices], {"axis": axis}, shape, x.dtype)

    def _tried(self, op: str, kinds: Sequence[str], /, *values: Any, **options: Any) -> Node:
        """An operation whose result NumPy tells for arrays of zeros: rare enough for that."""
        nodes, rest = values[: len(kinds)], values[len(kinds) :]
        named = dict(zip(("first", "second"), rest, strict=False)) | options
        count = sum(isinstance(value, Node) for value in (*nodes, *named.values()))
        if count != len(kinds):
            raise Untraceable(f"{op} of {count} arrays: it takes {len(kinds)}, and all else as numbers")
        if len(set(kinds)) == 1:
            self.result_type(*(node.dtype for node in nodes))
        for node, allowed in zip(nodes, kinds, strict=True):
            _check(op, node.dtype, allowed)
        like = getattr(np, op)(*(np.zeros(node.shape, node.dtype) for node in nodes), *rest, **options)
        return self._graph.record(op, nodes, named, like.shape, like.dtype)

    def searchsorted(self, x1, x2, /, *, sorter=None, **options):
        x1 = x1 if sorter is None else self.take(x1, sorter, axis=0)
        return self._tried("searchsorted", ("iuf", "iuf"), x1, x2, **options)

    def sort(self, x, /, *, axis=-1, descending=False, **options):
        found = self._tried("sort", ("iuf",), x, axis=axis, **options)
        return self.flip(found, axis=axis) if descending else found

    def argsort(self, x, /, *, axis=-1, descending=False, **options):
        found = self._tried("argsort", ("iuf",), self.flip(x, axis=axis) if descending else x, axis=axis, **options)
        return x.shape[axis] - 1 - self.flip(found, axis=axis) if descending else found  # equals keep their order

    def diff(self, x, /, *, axis=-1, n=1, prepend=None, append=None):
        parts = [part for part in (prepend, x, append) if part is not None]
        return self._tried("diff", ("iuf",), self.concat(parts, axis=axis) if n else x, axis=axis, n=n)

    def asarray(self, obj, /, *, dtype=None, device=None, copy=None):
        if isinstance(obj, Node):
            return obj if dtype is None else self.astype(obj, dtype)
        value = np.array(obj, dtype)  # a copy, which nobody writes into after the trace
        _check(f"asarray of {type(obj).__name__}, an array", value.dtype, "biuf")
        return self._graph.constant(value if value.ndim else value.item(), value.dtype, value.shape)

    def full(self, shape, fill_value, *, dtype=None, device=None):
        value, shape = self.asarray(fill_value, dtype=dtype), np.broadcast_to(0.0, shape).shape
        if value.op == "constant" and not value.ndim:
            return self._graph.constant(value.options["value"], value.dtype, shape)
        return self.broadcast_to(value, shape)

    def full_like(self, x, /, fill_value, *, dtype=None, device=None):
        return self.full(x.shape, fill_value, dtype=x.dtype if dtype is None else dtype)

    zeros, zeros_like = partialmethod(full, fill_value=0.0), partialmethod(full_like, fill_value=0.0)
    ones, ones_like = partialmethod(full, fill_value=1.0), partialmethod(full_like, fill_value=1.0)
    empty, empty_like = zeros, zeros_like  # what a step computes is never left to chance

    def _made(self, op: str, *args: Any, device: Any = None, **options: Any) -> Node:
        return self.asarray(getattr(np, op)(*args, **options))

    arange, linspace = partialmethod(_made, "arange"), partialmethod(_made, "linspace")
    eye = partialmethod(_made, "eye")


def _check(op: str, dtype: np.dtype, kinds: str) -> np.dtype:
    """The dtype; refused where it is of no kind that the standard defines the operation for."""
    if dtype.kind not in kinds:
        raise Untraceable(f"{op} of {dtype}: astype says what is meant")
    return dtype


def _common(nodes: Sequence[Node]) -> tuple[int, ...]:
    """The shape to which all broadcast."""
    shapes = {node.shape for node in nodes}
    return shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)


for _count, _kinds, _test, _names in _TABLE:
    for _name in _names.split():
        setattr(Namespace, _name, partialmethod(Namespace._computed, _name, _count, _kinds, _test))
for _kinds, _names in _TRIED:
    for _name in _names.split():
        setattr(Namespace, _name, partialmethod(Namespace._tried, _name, _kinds))
for _name in ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]:
    setattr(Namespace, _name, np.dtype(_name))
