"""Calls of every function of the standard, drawn at random: a new function is tested by adding its case here."""

import inspect
import math

import array_api_strict as strict
import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

from xpnn.compile.namespace import ELEMENTWISE

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]
CASES = {}
"""For each function what draws the arguments and the options of a call, of `draw` and the function's name."""


def cases(*names):
    def register(function):
        CASES.update(dict.fromkeys(names, function))
        return function

    return register


def numbers(draw, shape, dtype):
    """Numbers of both signs where there are such, zeros and halves among them."""
    rng, kind = np.random.default_rng(draw(st.integers(0, 99))), np.dtype(dtype).kind
    if kind == "f":
        return np.where(rng.random(shape) < 0.5, rng.normal(size=shape), rng.integers(-6, 7, shape) / 2.0).astype(dtype)
    return rng.integers(*{"b": (0, 2), "u": (0, 6), "i": (-5, 6)}[kind], shape).astype(dtype)


def dtype_of(draw, kinds):
    """One of some kinds, of each kind as often as of the others."""
    kind = draw(st.sampled_from(kinds))
    return draw(st.sampled_from([name for name in DTYPES if np.dtype(name).kind == kind]))


def array(draw, kinds="fffiiub", dims=(0, 3), sides=(0, 4), shape=None):
    shapes = array_shapes(min_dims=dims[0], max_dims=dims[1], min_side=sides[0], max_side=sides[1])
    return numbers(draw, draw(shapes) if shape is None else shape, dtype_of(draw, kinds))


def axis_of(draw, ndim):
    return draw(st.integers(-ndim, ndim - 1))


def axes_of(draw, ndim):
    """None, an axis or a tuple of some."""
    some = st.permutations(range(ndim)).flatmap(lambda axes: st.integers(0, ndim).map(lambda n: tuple(axes[:n])))
    flipped = some.map(lambda axes: tuple(axis - ndim * (axis % 2) for axis in axes))
    return draw(st.one_of(st.none(), flipped, *([st.integers(-ndim, ndim - 1)] if ndim else [])))


def elementwise(count):
    """The standard's elementwise functions of so many arrays."""
    names = sorted(ELEMENTWISE - {"where", "astype", "erf"})
    return [name for name in names if len(inspect.signature(getattr(strict, name)).parameters) == count]


@cases(*elementwise(1))
def of_one(draw, name):
    return [array(draw)], {}


@cases(*elementwise(2))
def of_two(draw, name):
    kinds = draw(st.sampled_from(["f", "f", "f", "iu", "iu", "b", "b", "biuf"]))
    shapes = draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0)).input_shapes
    values = [array(draw, kinds, shape=shape) for shape in shapes]
    if draw(st.booleans()):
        values[draw(st.integers(0, 1))] = draw(st.sampled_from([True, 2, 0, -1, 300, 0.5, -0.0, 3.0, math.nan]))
    if "shift" in name or (name == "pow" and kinds != "f"):
        values[1] = np.abs(values[1]) if isinstance(values[1], np.ndarray) else abs(values[1])
    return values, {}


@cases("sum", "prod", "max", "min", "mean", "any", "all", "var", "std", "count_nonzero")
def reductions(draw, name):
    x = array(draw, sides=(0 if name in ("sum", "prod", "any", "all", "count_nonzero") else 1, 4))
    options = {"axis": axes_of(draw, x.ndim), "keepdims": draw(st.booleans())}
    if name in ("sum", "prod") and draw(st.booleans()):
        options["dtype"] = dtype_of(draw, {"i": "if", "u": "iuf"}.get(x.dtype.kind, "f"))
    if name in ("var", "std"):
        options["correction"] = draw(st.sampled_from([0, 1, 0.5, 100]))
    return [x], options


@cases("argmax", "argmin")
def places_of_extremes(draw, name):
    x = array(draw, sides=(1, 4))
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    return [x], {"axis": axis, "keepdims": draw(st.booleans())}


@cases("cumulative_sum", "cumulative_prod")
def running(draw, name):
    x = array(draw, dims=(1, 3))
    options = {"include_initial": draw(st.booleans())} | ({"axis": axis_of(draw, x.ndim)} if x.ndim > 1 else {})
    return [x], options | ({"dtype": dtype_of(draw, "f")} if draw(st.booleans()) else {})


@cases("sort", "argsort")
def sorting(draw, name):
    x = array(draw, dims=(1, 3))
    return [x], {"axis": axis_of(draw, x.ndim), "descending": draw(st.booleans()), "stable": True}


@cases("diff")
def differences(draw, name):
    x = array(draw, "iuf", dims=(1, 3))
    axis, options = axis_of(draw, x.ndim), {"n": draw(st.integers(0, 3))}
    for end in ("prepend", "append"):
        if draw(st.booleans()):
            lengths = list(x.shape)
            lengths[axis] = draw(st.integers(1, 2))
            options[end] = numbers(draw, lengths, x.dtype)
    return [x], options | {"axis": axis}


@cases("roll")
def rolled(draw, name):
    x = array(draw, dims=(1, 3))
    if draw(st.booleans()):
        return [x, draw(st.integers(-5, 5))], {"axis": axis_of(draw, x.ndim)}
    return [x], {"shift": draw(st.integers(-5, 5))}


@cases("tile")
def tiled(draw, name):
    return [array(draw), tuple(draw(st.lists(st.integers(0, 3), max_size=4)))], {}


@cases("repeat")
def repeated(draw, name):
    x = array(draw, dims=(1, 3))
    return [x, draw(st.integers(0, 3))], {"axis": draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))}


@cases("tril", "triu")
def triangles(draw, name):
    return [array(draw, dims=(2, 3))], {"k": draw(st.integers(-3, 3))}


@cases("reshape")
def reshaped(draw, name):
    x = array(draw)
    shape = draw(st.permutations([*x.shape, 1]))
    cut = draw(st.integers(0, len(shape)))
    shape = [*shape[:cut], math.prod(shape[cut:])]
    if math.prod(shape) and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    return [x, tuple(shape)], {}


@cases("expand_dims")
def expanded(draw, name):
    x = array(draw)
    return [x], {"axis": draw(st.integers(-x.ndim - 1, x.ndim))}


@cases("squeeze")
def squeezed(draw, name):
    x = array(draw, sides=(0, 2))
    ones = [axis for axis in range(-x.ndim, x.ndim) if x.shape[axis] == 1]
    assume(ones)
    axis = draw(st.sampled_from(ones))
    return [x, (axis,) if draw(st.booleans()) else axis], {}


@cases("broadcast_to")
def broadcast(draw, name):
    shapes = draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0))
    return [array(draw, shape=shapes.input_shapes[0]), shapes.result_shape], {}


@cases("broadcast_arrays")
def broadcast_together(draw, name):
    shapes = draw(mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=4, min_side=0)).input_shapes
    return [array(draw, shape=shape) for shape in shapes], {}


@cases("meshgrid")
def grids(draw, name):
    kind, count = dtype_of(draw, "biuf"), draw(st.integers(1, 3))
    options = {"indexing": draw(st.sampled_from(["xy", "ij"]))} if draw(st.booleans()) else {}
    return [numbers(draw, draw(st.integers(0, 4)), kind) for _ in range(count)], options


@cases("permute_dims")
def permuted(draw, name):
    x = array(draw)
    axes = draw(st.permutations(range(x.ndim)))
    return [x, tuple(axis - x.ndim * draw(st.integers(0, 1)) for axis in axes)], {}


@cases("matrix_transpose")
def transposed(draw, name):
    return [array(draw, dims=(2, 3))], {}


@cases("moveaxis")
def moved(draw, name):
    x = array(draw, dims=(1, 3))
    if draw(st.booleans()):
        return [x, axis_of(draw, x.ndim), axis_of(draw, x.ndim)], {}
    return [x, *(tuple(draw(st.permutations(range(x.ndim)))[:2]) for _ in range(2))], {}


@cases("flip")
def flipped(draw, name):
    x = array(draw)
    return [x], {"axis": axes_of(draw, x.ndim)}


@cases("concat", "stack")
def joined(draw, name):
    x, kinds = array(draw, dims=(1, 3)), draw(st.sampled_from(["f", "iu", "b", "biuf"]))
    axis = draw(st.integers(-x.ndim - (name == "stack"), x.ndim - (name != "stack")))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        shape = list(x.shape)
        if name == "concat":
            shape[axis] = draw(st.integers(0, 3))
        parts.append(array(draw, kinds, shape=shape))
    return [parts], {"axis": None if name == "concat" and draw(st.booleans()) else axis}


@cases("unstack")
def apart(draw, name):
    x = array(draw, dims=(1, 3))
    return [x], {"axis": axis_of(draw, x.ndim)}


@cases("matmul", "vecdot")
def products(draw, name):
    kinds, count = draw(st.sampled_from(["f", "i", "u", "b"])), draw(st.integers(0, 4))
    leads = draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=1, max_side=3)).input_shapes
    first, second = (*leads[0], draw(st.integers(0, 3)), count), (*leads[1], count, draw(st.integers(0, 3)))
    if name == "vecdot":
        axis = draw(st.integers(-min(map(len, leads)) - 1, -1))
        shapes = [(*lead[: len(lead) + axis + 1], count, *lead[len(lead) + axis + 1 :]) for lead in leads]
        return [array(draw, kinds, shape=shape) for shape in shapes], {"axis": axis}
    shapes = [draw(st.sampled_from([first, (count,)])), draw(st.sampled_from([second, (count,)]))]
    return [array(draw, kinds, shape=shape) for shape in shapes], {}


@cases("tensordot")
def contracted(draw, name):
    x, kinds = array(draw), draw(st.sampled_from(["f", "i", "u", "b"]))
    axes = draw(st.integers(0, x.ndim))
    first = draw(st.permutations(range(x.ndim)))[:axes]
    rest = tuple(draw(st.lists(st.integers(0, 3), max_size=1)))
    if draw(st.booleans()):
        return [array(draw, kinds, shape=s) for s in (x.shape, (*x.shape[x.ndim - axes :], *rest))], {"axes": axes}
    second = (*rest, *(x.shape[axis] for axis in first))
    pairs = (tuple(first), tuple(range(len(rest) - len(second), 0)))
    return [array(draw, kinds, shape=shape) for shape in (x.shape, second)], {"axes": pairs}


@cases("take")
def taken(draw, name):
    x = array(draw, dims=(1, 3), sides=(1, 4))
    axis = axis_of(draw, x.ndim)
    kind = draw(st.sampled_from(["int32", "int64", "uint8", "float64"]))
    indices = np.random.default_rng(0).integers(0, x.shape[axis], draw(st.integers(0, 5))).astype(kind)
    return [x, indices], {"axis": None if x.ndim == 1 and draw(st.booleans()) else axis}


@cases("take_along_axis")
def taken_along(draw, name):
    x = array(draw, dims=(1, 3), sides=(1, 4))
    axis = axis_of(draw, x.ndim)
    shape = [draw(st.sampled_from([n, 1])) for n in x.shape]
    shape[axis] = draw(st.integers(0, 5))
    indices = np.random.default_rng(0).integers(0, x.shape[axis], shape)
    return [x, indices], {"axis": axis} if axis != -1 else {}


@cases("searchsorted")
def searched(draw, name):
    kinds = draw(st.sampled_from(["f", "i", "b"]))
    x, options = array(draw, kinds, dims=(1, 1), sides=(0, 12)), {"side": draw(st.sampled_from(["left", "right"]))}
    if draw(st.booleans()):
        return [x, array(draw, kinds)], options | {"sorter": np.argsort(x, stable=True)}
    return [np.sort(x), array(draw, kinds)], options


@cases("where")
def chosen(draw, name):
    values, _ = of_two(draw, "")
    lead = next(value.shape for value in values if isinstance(value, np.ndarray))
    return [array(draw, "bbbbi", shape=draw(st.sampled_from([lead, ()]))), *values], {}


@cases("clip")
def clipped(draw, name):
    x, limits = array(draw, "iuf"), {}
    for limit, value in (("min", -1), ("max", 2)):
        as_array = st.just(np.full(x.shape[-1:], value, x.dtype)) if x.dtype.kind != "u" or value > 0 else st.nothing()
        limits[limit] = draw(st.one_of(st.none(), st.sampled_from([abs(value) - 1, 2.5]), as_array))
    low, high = (np.asarray(-9 if limit is None else limit) for limit in limits.values())
    assume(limits["max"] is None or (low <= high).all())
    return [x], limits


@cases("astype")
def cast(draw, name):
    x = array(draw)
    return [x, dtype_of(draw, "bif" if x.dtype.kind == "f" else "biuf")], {}


@cases("asarray")
def made(draw, name):
    value = draw(st.sampled_from([True, 3, 0.5, [1, 2], [[0.5], [2.0]], [True, False]]))
    options = {"dtype": dtype_of(draw, "if")} if draw(st.booleans()) else {}
    return [draw(st.sampled_from([value, array(draw, "bi")]))], options


@cases("zeros", "ones", "empty", "full")
def filled(draw, name):
    shape = draw(st.one_of(st.integers(0, 4), array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    options = {"dtype": dtype_of(draw, "biuf")} if draw(st.booleans()) else {}
    return [shape, *([draw(st.sampled_from([True, 3, 0.5, -0.0]))] if name == "full" else [])], options


@cases("zeros_like", "ones_like", "empty_like", "full_like")
def filled_alike(draw, name):
    options = {"dtype": dtype_of(draw, "biuf")} if draw(st.booleans()) else {}
    return [array(draw), *([draw(st.sampled_from([True, 3, 0.5, -0.0]))] if name == "full_like" else [])], options


@cases("arange", "linspace", "eye")
def ranges(draw, name):
    few, options = st.integers(0, 5), {"dtype": dtype_of(draw, "if")} if draw(st.booleans()) else {}
    if name == "arange":
        args = draw(st.sampled_from([(3,), (1, 5), (5, 1, -2), (0.5, 3.0, 0.5), (2.5,), (4, None, 2), (0,)]))
        return list(args), options
    if name == "linspace":
        return [draw(few), draw(few) + 0.5, draw(few)], options | {"endpoint": draw(st.booleans())}
    return [draw(few), *draw(st.sampled_from([(), (None,), (3,)]))], options | {"k": draw(st.integers(-3, 3))}


def call(xp, name, args, options, make):
    """The function on arrays made by `make`; what has the name of a dtype becomes that dtype."""

    def given(value):
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            return [given(part) for part in value]
        if isinstance(value, str):
            return getattr(xp, value, value)
        return make(value) if isinstance(value, np.ndarray) else value

    return getattr(xp, name)(*map(given, args), **{key: given(value) for key, value in options.items()})
