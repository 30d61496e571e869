"""Each function of the tracer's namespace: shape and dtype as array-api-strict has them, numbers as NumPy has them."""

import array_api_strict as strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from tests.trace_cases import CASES, DTYPES, call
from tests.tracing import Tracing, compared
from xpnn.compile.namespace import Namespace
from xpnn.compile.trace import Graph, Untraceable

ABSENT = {
    "whose shapes hang on numbers": ["nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"],
    "complex numbers": ["complex64", "complex128", "conj", "imag", "real"],
    "extensions": ["fft", "linalg"],
    "arrays of other libraries": ["from_dlpack"],
    "the next standard's": ["broadcast_shapes", "isin"],
    "strict's own": ["ArrayAPIStrictFlags", "Device", "ModuleType", "get_array_api_strict_flags"],
    "strict's own too": ["reset_array_api_strict_flags", "set_array_api_strict_flags"],
}
# Of x (2, 3), y (3, 2) and z (4,): refused for their shapes by whoever computes them.
ILLEGAL = [
    lambda xp, x, y, z: xp.add(x, y),
    lambda xp, x, y, z: xp.exp(x, x),
    lambda xp, x, y, z: xp.add(x),
    lambda xp, x, y, z: xp.where(x > 0.0, x, z),
    lambda xp, x, y, z: xp.sum(x, axis=2),
    lambda xp, x, y, z: xp.sum(x, axis=(0, -2)),
    lambda xp, x, y, z: xp.reshape(x, (4,)),
    lambda xp, x, y, z: xp.reshape(x, (-1, -1)),
    lambda xp, x, y, z: xp.expand_dims(x, axis=3),
    lambda xp, x, y, z: xp.squeeze(x, 0),
    lambda xp, x, y, z: xp.broadcast_to(x, (2, 2, 4)),
    lambda xp, x, y, z: xp.permute_dims(x, (0, 0)),
    lambda xp, x, y, z: xp.permute_dims(x, (0, 2)),
    lambda xp, x, y, z: xp.permute_dims(x, (0,)),
    lambda xp, x, y, z: xp.matrix_transpose(z),
    lambda xp, x, y, z: xp.moveaxis(x, 0, 2),
    lambda xp, x, y, z: xp.flip(x, axis=2),
    lambda xp, x, y, z: xp.meshgrid(z, z, indexing="yx"),
    lambda xp, x, y, z: xp.concat([x, y]),
    lambda xp, x, y, z: xp.concat([x, x], axis=2),
    lambda xp, x, y, z: xp.concat([x, z]),
    lambda xp, x, y, z: xp.stack([x, y]),
    lambda xp, x, y, z: xp.unstack(x, axis=2),
    lambda xp, x, y, z: xp.matmul(x, x),
    lambda xp, x, y, z: xp.matmul(x, z),
    lambda xp, x, y, z: xp.matmul(x, z[0, ...]),
    lambda xp, x, y, z: xp.tensordot(x, y),
    lambda xp, x, y, z: xp.tensordot(x, z, axes=1),
    lambda xp, x, y, z: xp.tensordot(x, y, axes=((0, 1), (0, 1))),
    lambda xp, x, y, z: xp.vecdot(x, z),
    lambda xp, x, y, z: xp.take(x, xp.asarray([0])),
    lambda xp, x, y, z: xp.take(x, xp.asarray([0]), axis=2),
    lambda xp, x, y, z: xp.take_along_axis(x, xp.asarray([0]), axis=-1),
    lambda xp, x, y, z: xp.take_along_axis(x, xp.zeros((3, 1), dtype=xp.int64), axis=-1),
    lambda xp, x, y, z: xp.searchsorted(x, z),
    lambda xp, x, y, z: xp.diff(x, n=-1),
    lambda xp, x, y, z: xp.diff(x, append=z),
    lambda xp, x, y, z: xp.sort(x, axis=2),
    lambda xp, x, y, z: xp.argmax(x, axis=2),
    lambda xp, x, y, z: xp.cumulative_sum(x),
    lambda xp, x, y, z: xp.zeros((2, -1)),
    lambda xp, x, y, z: x[2, ...],
    lambda xp, x, y, z: x[0, 0, 0],
]


@pytest.mark.parametrize("name", list(CASES))
@settings(max_examples=20)
@given(data=st.data())
def test_every_function(name, data):
    args, options = CASES[name](data.draw, name)
    compared(lambda xp, make: call(xp, name, args, options, make), numbers=not name.startswith("empty"))


def test_no_function_of_the_standard_is_missing_and_each_has_a_case():
    xp = Graph().xp
    public = {name for name in dir(strict) if not name.startswith("_")} | {"fft", "linalg"}
    assert {name for name in public if not hasattr(xp, name)} == set().union(*ABSENT.values())
    own = {name for name in dir(Namespace) if not name.startswith("_")}
    assert own - public == {"erf"}
    assert {name for name in own if callable(getattr(xp, name))} - {"erf"} == {
        *CASES,
        "can_cast",
        "finfo",
        "iinfo",
        "isdtype",
        "result_type",
    }


@pytest.mark.parametrize("call", ILLEGAL)
def test_what_has_no_shape_is_refused(call):
    graph, shapes = Graph(), [(2, 3), (3, 2), (4,)]
    with pytest.raises((ValueError, IndexError, TypeError)):
        call(strict, *map(strict.ones, shapes))
    with pytest.raises((ValueError, IndexError, TypeError, KeyError)):
        call(graph.xp, *(graph.input(str(shape), shape, float) for shape in shapes))


def test_erf():
    tracing, x = Tracing("float32"), np.asarray([-2.0, 0.0, 0.5], np.float32)
    node = tracing.xp.erf(tracing.asarray(x))
    np.testing.assert_array_equal(tracing.values()[node], erf(x))


@pytest.mark.parametrize("first", DTYPES)
def test_functions_of_dtypes(first):
    xp = Graph().xp
    for second in (*DTYPES, True, 2, 0.5):
        pairs = [[getattr(of, one) if isinstance(one, str) else one for one in (first, second)] for of in (strict, xp)]
        try:
            expected = strict.result_type(*pairs[0])
        except TypeError:
            with pytest.raises(Untraceable):
                xp.result_type(*pairs[1])
        else:
            assert str(xp.result_type(*pairs[1])) == str(expected).split(".")[1]
            assert xp.result_type(*pairs[1]) == xp.result_type(*pairs[1][::-1])
        if isinstance(second, str):
            assert xp.can_cast(*pairs[1]) == strict.can_cast(*pairs[0])
            assert xp.isdtype(*pairs[1]) == strict.isdtype(*pairs[0])
    node, mine, theirs = xp.zeros(3, dtype=first), getattr(xp, first), getattr(strict, first)
    kinds = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "numeric", ("bool", "integral"))
    assert [xp.isdtype(mine, kind) for kind in kinds] == [strict.isdtype(theirs, kind) for kind in kinds]
    for name, of in {"f": "finfo", "i": "iinfo", "u": "iinfo"}.items():
        if mine.kind == name:
            expected = getattr(strict, of)(theirs)
            for found in (getattr(xp, of)(mine), getattr(xp, of)(node)):
                assert found.dtype == mine
                for one in {"bits", "eps", "max", "min", "smallest_normal"} & set(vars(expected)):
                    assert getattr(found, one) == getattr(expected, one)
                    assert type(getattr(found, one)) in (int, float)


@pytest.mark.parametrize(
    "first, second", [("float64", "int64"), ("bool", "float32"), ("bool", "int8"), ("int8", "uint64")]
)
def test_mixtures_that_strict_lets_pass_are_refused(first, second):
    graph = Graph()
    x, y = graph.input("x", (3, 3), first), graph.input("y", (3, 3), second)
    for function in (graph.xp.matmul, graph.xp.tensordot, graph.xp.vecdot, graph.xp.add, graph.xp.result_type):
        with pytest.raises(Untraceable, match=f"{first} and {second}: astype says what is meant"):
            function(x, y)
    with pytest.raises(Untraceable, match=f"{first} and {second}|of bool"):
        graph.xp.searchsorted(x[0, :], y)
    with pytest.raises(Untraceable, match=f"{first} and {second}|{second} and {first}"):
        graph.xp.diff(x, append=y)


def test_limits_of_another_dtype_would_change_that_of_the_clipped():
    graph = Graph()
    x, limit = graph.input("x", (3,), "float32"), graph.input("limit", (3,), "float64")
    with pytest.raises(Untraceable, match="clip of float32 within limits of float64"):
        graph.xp.clip(x, max=limit)
