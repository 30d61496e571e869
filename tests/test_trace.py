"""Tracing: nodes stand for arrays, each operation is kept once, and what a trace computes is what was written."""

import gc
import math
import operator
import weakref
from dataclasses import dataclass

import array_api_compat
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices

import xpnn
from tests.layer_runs import MODES, X, leaves, run
from tests.tables import ACTIVATIONS, LAYERS, TUNED_ACTIVATIONS
from tests.test_losses import EVERY, WEIGHT, case, on
from tests.test_no_sync import LAYERS as MANY
from tests.test_no_sync import STEPS
from tests.test_optimizers import ALL, GRADS, START, WITH_OPTIONS, arrays, steps
from tests.tracing import Tracing, compared
from xpnn.backend import resolve
from xpnn.compile.trace import Graph, Node, Untraceable
from xpnn.compile.traced import map_tree
from xpnn.inputs import Data
from xpnn.numbers import Numbers
from xpnn.program import Program
from xpnn.progress import START as BEGUN

NUMPY = resolve("numpy", "float64")
OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lt", "le", "gt", "ge"]
OPERATORS += ["and_", "or_", "xor", "lshift", "rshift", "eq", "ne"]
DEFINED = {"f": {*OPERATORS[:12], "eq", "ne"}, "i": {*OPERATORS} - {"truediv"}, "b": {"and_", "or_", "xor", "eq", "ne"}}


def traced(shape=(2, 3), dtype="float64"):
    graph = Graph()
    return graph, graph.input("x", shape, dtype)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", "bool"])
def test_operators_of_two(name, dtype):
    function, done = getattr(operator, name), []
    x, y = (np.asarray(np.arange(9).reshape(3, 3) % n, dtype) for n in (5, 4))
    for other in (y, y.astype(float), y.astype(int)):
        done.append(compared(lambda xp, make, other=other: function(make(x), make(other))))
    for number in () if name == "matmul" else (2, 0.5, True, 0, 300):
        done.append(compared(lambda xp, make, number=number: function(make(x), number)))
        done.append(compared(lambda xp, make, number=number: function(number, make(x))))
    assert any(done) == (name in DEFINED[x.dtype.kind.replace("u", "i")])


@pytest.mark.parametrize("function", [operator.neg, operator.pos, abs, operator.invert])
@pytest.mark.parametrize("dtype", ["float32", "int16", "uint8", "bool"])
def test_operators_of_one(function, dtype):
    compared(lambda xp, make: function(make(np.asarray([[0, 1], [3, 2]], dtype))))


def test_assignments_with_an_operator_give_a_new_array():
    x = y = traced()[1]
    y += 1.0
    assert (y.op, y.args[0], x.op) == ("add", x, "input")


@settings(max_examples=200)
@given(data=st.data())
def test_indices_are_numpys(data):
    shape = data.draw(array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    key = data.draw(basic_indices(shape, allow_newaxis=True, allow_ellipsis=True, max_dims=5))
    tracing, array = Tracing(), np.arange(math.prod(shape), dtype=float).reshape(shape)
    node = tracing.asarray(array)[key]
    np.testing.assert_array_equal(tracing.values()[node], array[key], strict=True)


def test_what_arrays_have_beside_numbers():
    graph, x = traced()
    assert (x.shape, x.ndim, x.size, x.nbytes, x.dtype, x.device) == ((2, 3), 2, 6, 48, np.float64, None)
    assert (x.T.shape, x[None, ...].mT.shape) == ((3, 2), (1, 3, 2))
    assert [row.shape for row in x] == [(3,), (3,)]
    assert len(x) == 2
    assert x[np.int64(1), np.intp(0)] is x[1, 0]
    assert array_api_compat.is_array_api_obj(x)
    assert array_api_compat.array_namespace(x) is graph.xp
    assert isinstance(xpnn.relu(x), Node)
    assert repr(x) == "input (2, 3) float64"
    assert not hasattr(x, "astype")
    assert not hasattr(graph.xp, "nonexistent")


def write(x):
    x[0, ...] = 1.0


def delete(x):
    del x[0]


REFUSED = [
    (lambda x, xp: bool(x), r"bool\(\) of an array: which operations a step has must not hang on its numbers"),
    (lambda x, xp: x if xp.any(x > 0.0) else -x, r"bool\(\) of"),
    (lambda x, xp: max(x, 0.0), r"bool\(\) of"),
    (lambda x, xp: 1.0 in x, r"bool\(\) of"),
    (lambda x, xp: float(x), r"float\(\) of"),
    (lambda x, xp: math.exp(x), r"float\(\) of"),
    (lambda x, xp: int(x), r"int\(\) of"),
    (lambda x, xp: complex(x), r"complex\(\) of"),
    (lambda x, xp: operator.index(x), r"index\(\) of"),
    (lambda x, xp: range(x), r"index\(\) of"),
    (lambda x, xp: [1, 2][x], r"index\(\) of"),
    (lambda x, xp: x[x:], r"index\(\) of"),
    (lambda x, xp: xp.zeros(x), r"\(\) of an array"),
    (lambda x, xp: xp.zeros((x, 2)), r"\(\) of an array"),
    (lambda x, xp: xp.arange(x), r"\(\) of an array"),
    (lambda x, xp: np.asarray(x), r"array\(\) of an array: which operations"),
    (lambda x, xp: np.array([x, x]), r"array\(\) of"),
    (lambda x, xp: xp.asarray([x, x]), r"array\(\) of"),
    (lambda x, xp: np.float64(x), r"\(\) of an array"),
    (lambda x, xp: write(x), "a part written into of an array: the functions of a step are pure"),
    (lambda x, xp: delete(x), "a part written into of"),
    (lambda x, xp: np.exp(x), "numpy.exp of an array: the functions of xp can be compiled"),
    (lambda x, xp: scipy.special.expit(x), "expit of an array"),
    (lambda x, xp: np.add(x, 1.0), "numpy.add of"),
    (lambda x, xp: np.add.reduce(x), "numpy.add of"),
    (lambda x, xp: np.sum(x), "numpy.sum of"),
    (lambda x, xp: np.zeros_like(x), "numpy.zeros_like of"),
    (lambda x, xp: np.where(x > 0.0, x, 0.0), "numpy.where of"),
    (lambda x, xp: np.concatenate([x, x]), "numpy.concatenate of"),
    (lambda x, xp: np.linspace(0.0, x, 3), "numpy.linspace of"),
    (lambda x, xp: np.asarray([1.0]) * x, "numpy.multiply of"),
    (lambda x, xp: np.float32(2.0) * x, "numpy.multiply of"),
    (lambda x, xp: np.float64(2.0) * x, "numpy.multiply of"),
    (lambda x, xp: np.float64(2.0) < x, "numpy.less of"),
    (lambda x, xp: np.ones((3, 3)) @ x, "numpy.matmul of"),
    (
        lambda x, xp: x * np.asarray([1.0]),
        "an operand of <class 'numpy.ndarray'> beside an array of float64: xp.asarray or",
    ),
    (
        lambda x, xp: x * np.float64(2.0),
        r"np.float64\(2.0\) beside an array of float64: xp.asarray or xp.astype says what is meant",
    ),
    (lambda x, xp: xp.maximum(x, np.float32(0.0)), "<class 'numpy.float32'> beside"),
    (lambda x, xp: xp.sum(np.ones(3)), "sum of numpy.ndarray: xp.asarray makes it an array"),
    (lambda x, xp: xp.take(x, np.asarray([0]), axis=0), "take of numpy.ndarray"),
    (lambda x, xp: xp.concat([x, np.ones((2, 3))]), "'numpy.ndarray'> beside an array of float64"),
    (lambda x, xp: x == None, "'NoneType'> beside an array"),  # noqa: E711
    (lambda x, xp: x + "text", "'str'> beside"),
    (lambda x, xp: x * 1j, "'complex'> beside"),
    (lambda x, xp: x * True, "True beside an array of float64"),
    (lambda x, xp: (x > 0.0) * x, "bool and float64: astype says what is meant"),
    (lambda x, xp: xp.astype(x, xp.uint8) + 256, "256 beside an array of uint8"),
    (lambda x, xp: xp.astype(x, xp.uint8) - -1, "-1 beside an array of uint8"),
    (lambda x, xp: x[x > 0.0], r"an index that is an array: xp.take\(x, indices, axis=\) can be compiled"),
    (lambda x, xp: x[[0, 1]], "an index that is"),
    (lambda x, xp: x[np.asarray([0, 1])], "an index that is"),
    (lambda x, xp: x[xp.asarray(0)], "an index that is"),
    (lambda x, xp: x[True], "an index that is"),
    (lambda x, xp: x[0.0], "an index that is"),
    (lambda x, xp: x.mean(), "mean of an array: the functions of xp can be compiled, and no methods"),
    (lambda x, xp: x.astype(xp.float32), "astype of an array"),
    (lambda x, xp: xp.einsum("ij->i", x), "einsum, which is no operation that a step can be compiled from"),
    (lambda x, xp: xp.linalg.inv(x), "linalg, which"),
    (lambda x, xp: xp.nonzero(x), "nonzero, which"),
    (lambda x, xp: xp.exp(1.0), "an operation of numbers alone"),
    (lambda x, xp: xp.add(1.0, 2.0), "an operation of numbers alone"),
    (lambda x, xp: xp.where(x > 0.0, 1.0, 2.0), "an operation of numbers alone"),
    (lambda x, xp: xp.where(x, x, x), "where by of float64"),
    (lambda x, xp: xp.repeat(x, xp.asarray([1, 2]), axis=0), "repeat of 2 arrays: it takes 1, and all else as numbers"),
    (lambda x, xp: xp.roll(x, shift=xp.asarray(1)), "roll of 2 arrays: it takes 1, and all else as numbers"),
    (lambda x, xp: xp.asarray("text"), "asarray of str"),
    (lambda x, xp: xp.asarray([1j]), "asarray of list"),
    (lambda x, xp: xp.full((2,), 1j), "asarray of complex"),
    (lambda x, xp: xp.astype(x, complex), "astype to of complex128"),
    (lambda x, xp: xp.sum(x, dtype=complex), "complex"),
    (lambda x, xp: xp.sum(x, dtype=bool), "sum of bool"),
    (lambda x, xp: xp.result_type(x, np.complex64), "float64 and complex64"),
    (lambda x, xp: xp.result_type(np.complex64, np.complex128), "complex64 and complex128"),
    (lambda x, xp: xp.sum(x > 0.0), "sum of bool"),
    (lambda x, xp: Graph().xp.exp(x), "exp of an array of another call: the functions of a step keep none"),
    (lambda x, xp: traced()[1] + x, "add of an array of another call"),
]


@pytest.mark.parametrize("asked, why", REFUSED)
def test_what_cannot_be_traced_says_why(asked, why):
    graph, x = traced()
    with pytest.raises(Untraceable, match=why):
        asked(x, graph.xp)


def test_the_same_operation_is_the_same_node():
    graph, x = traced()
    xp, y = graph.xp, graph.input("y", (2, 3), "float64")
    assert x + y is xp.add(x, y) is not y + x
    assert x * 2.0 is x * 2 is xp.multiply(x, 2.0)
    assert xp.sum(x, axis=-1) is xp.sum(x, axis=(1,)) is not xp.sum(x, axis=1, keepdims=True)
    assert xp.take(x, xp.asarray([0, 1]), axis=-1) is xp.take(x, xp.asarray([0, 1]), axis=1)
    assert xp.sum(x, axis=(0, 1)) is xp.sum(x, axis=(1, 0)) is xp.sum(x, axis=(-1, 0))
    assert x * xp.asarray(2.0) is x * 2.0 is x * xp.full((), 2.0) is x * xp.asarray(np.float64(2.0))
    assert x[0] is x[0, ...]
    assert x[0, 1] is x[0, 1, ...]
    assert graph.input("x", (2, 3), "float64") is x


def test_what_changes_nothing_is_no_operation():
    graph, x = traced()
    xp, i = graph.xp, graph.input("i", (2,), "int32")
    for same in (
        xp.astype(x, xp.float64),
        xp.asarray(x),
        xp.reshape(x, (2, -1)),
        xp.permute_dims(x, (0, 1)),
        xp.clip(x),
    ):
        assert same is x
    for same in (xp.concat([x]), xp.broadcast_to(x, (2, 3)), xp.squeeze(x, ())):
        assert same is x
    for same in (xp.ceil(i), xp.floor(i), xp.round(i), xp.trunc(i)):
        assert same is i
    assert {made.op for made in (xp.zeros((2, 3)), xp.ones_like(x), xp.full((4,), 0.5), xp.eye(2))} == {"constant"}
    assert xp.full((2, 3), x[0, 0]) is xp.broadcast_to(x[0, 0], (2, 3))


def test_different_operations_are_different_nodes():
    graph, x = traced()
    xp = graph.xp
    i, b, f = (xp.astype(x, dtype) for dtype in (xp.int32, xp.bool, xp.float32))
    large = np.zeros(5000)
    large[2500] = 1.0
    different = [
        [x + 0.0, x + -0.0, x + math.nan, x + math.inf, 0.0 + x, x - 0.0],
        [xp.full((), value, dtype=xp.float64) for value in (0.0, -0.0, math.nan, 1.0)],
        [xp.asarray(value) for value in (True, 1, 1.0, [1], [1.0], [[1.0]], np.float32(1.0), np.int8(1), np.uint8(1))],
        [xp.ones(2), xp.ones(3), xp.ones((2, 1)), xp.ones(2, dtype=xp.float32), xp.zeros(2)],
        [xp.asarray(array) for array in (np.zeros(5000), large, np.zeros((50, 100)), np.zeros(5000, np.int64))],
        [b == True, i == 1, x == 1, f == 1.0],  # noqa: E712
        [xp.sum(x), xp.sum(x, axis=0), xp.sum(x, axis=1), xp.sum(x, axis=0, keepdims=True), xp.prod(x), xp.mean(x)],
        [x[0, :], x[1, :], x[:1, :], x[..., 0], x[::2, :], x[None, ...], x[..., None], x[:, :2], x[:, 0:2:2]],
        [xp.astype(i, dtype) for dtype in (xp.float32, xp.float64, xp.int64)],
        [xp.reshape(x, shape) for shape in ((6,), (3, 2), (1, 6), (6, 1))],
        [xp.roll(x, 1), xp.roll(x, 2), xp.roll(x, 1, axis=0), xp.roll(x, 1, axis=1), xp.tile(x, (1,))],
        [xp.cumulative_sum(x, axis=0), xp.cumulative_sum(x, axis=1), xp.cumulative_prod(x, axis=0)],
        [xp.broadcast_to(x, (2, 2, 3)), xp.broadcast_to(x, (3, 2, 3))],
        [xp.concat([x, x]), xp.concat([x, x], axis=1), xp.concat([x, x, x])],
    ]
    for nodes in different:
        assert len({id(node) for node in nodes}) == len(nodes), nodes


def test_a_graph_is_in_an_order_in_which_it_can_be_computed():
    graph, x = traced()
    graph.xp.std(x @ x.T + 1.0, axis=-1)
    seen = set()
    for node in graph.nodes:
        assert set(node.args) <= seen
        seen.add(node)


def test_a_closed_graph_waits_for_no_garbage_collection():
    gc.disable()
    try:
        graph, x = traced()
        y, gone = graph.xp.sum(x + 1.0), weakref.ref(graph)
        graph.close()
        assert (y.op, y.args[0].args[0]) == ("sum", x)
        del graph, x, y
        assert gone() is None
    finally:
        gc.enable()


def test_a_constant_is_kept_as_it_was():
    graph, array = Graph(), np.zeros(3)
    node = graph.xp.asarray(array)
    array[0] = 1.0
    assert node.options["value"].tolist() == [0.0, 0.0, 0.0]


def same_bits(tracing, found, expected):
    """Checks that the graph gives the very bits of the eager results."""
    values, (found, expected) = tracing.values(), (leaves(tree) for tree in (found, expected))
    assert all(isinstance(node, Node) for node in found)
    assert [(values[node].dtype, values[node].shape) for node in found] == [(x.dtype, x.shape) for x in expected]
    assert [values[node].tobytes() for node in found] == [x.tobytes() for x in expected]


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("training", MODES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_every_layer(layer, training, members):
    layer, x = layer if isinstance(layer, tuple) else (layer, X)
    tracing = Tracing()
    found, expected = (run(layer, backend, members, training, np.asarray(x)) for backend in (tracing, NUMPY))
    same_bits(tracing, found, expected)


ACTS = [*map(xpnn.activations.get, ACTIVATIONS), *(act for act, *_ in TUNED_ACTIVATIONS)]
ACTS = [pytest.param(act, id=str(act)) for act in ACTS]


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("act", ACTS)
def test_every_activation(act, members):
    x = np.concatenate([X, [[0.0, -0.0, 3.0, -3.0, 0.5], [20.0, -20.0, 40.0, -40.0, -0.5]]])
    x = x if members is None else np.stack([x, -x, 2.0 * x[::-1]]) / 2.0
    for dtype in ("float32", "float64"):
        tracing = Tracing(dtype)
        found, expected = (run(act, backend, members, x=x) for backend in (tracing, resolve("numpy", dtype)))
        same_bits(tracing, found, expected)
        by_hand, array = Tracing(dtype), x.astype(dtype)
        node = by_hand.asarray(x)
        same_bits(by_hand, [act(node), act.derivative(node)], [act(array), act.derivative(array)])


@pytest.mark.parametrize("members, own", [(None, False), (3, False), (3, True)])
@pytest.mark.parametrize("loss, kind", EVERY)
def test_every_loss(loss, kind, members, own):
    for targets in (1, 3):
        prediction, target = case(loss, kind, targets, members, own)
        for weight in (None, WEIGHT):
            tracing = Tracing()
            found, expected = (
                loss(
                    backend.asarray(prediction),
                    on(backend, target),
                    xp=backend.xp,
                    weight=None if weight is None else backend.asarray(weight),
                )
                for backend in (tracing, NUMPY)
            )
            same_bits(tracing, found, expected)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("optimizer", [*ALL, *WITH_OPTIONS], ids=str)
def test_every_optimizer(optimizer, members):
    start, grads, shape = START, GRADS[:3], (1,)
    if members:
        start, grads, shape = np.stack([START, -START, 2.0 * START]), GRADS.reshape(4, 3, 7), (3, 1)
    tracing = Tracing()
    found, expected = (arrays(steps(optimizer, backend, start, grads, shape)[1:]) for backend in (tracing, NUMPY))
    same_bits(tracing, found, expected)


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("loss, optimizer", STEPS, ids=str)
def test_every_step(loss, optimizer, members):
    """In float32: a number of NumPy's that slips in would make it float64."""
    net, tracing, loss = xpnn.Network(MANY, members=members), Tracing("float32"), xpnn.losses.get(loss)
    y = np.zeros(6, np.int32) if loss.targets == "classes" else np.zeros((6, loss.target_width(4)), np.float32)
    data = Data(np.ones((6, 4), np.float32), y, np.ones(6, np.float32))
    program = Program(net.layer, *net.layouts, loss, optimizer)
    numbers = Numbers(program, net.seeds, members, net.backend).epoch(BEGUN)[0]
    carry = net.progress.carry
    carry = carry._replace(memory=optimizer.init(carry.params, xp=np))
    trees = carry, data, numbers
    nodes = map_tree(lambda path, array: tracing.asarray(array, dtype=None), trees)
    found, expected = (program.step(*given, xp=xp) for given, xp in ((nodes, tracing.xp), (trees, np)))
    same_bits(tracing, found, expected)


@dataclass(frozen=True)
class Bump(xpnn.layers.Layer):
    """A layer as a user writes it: y = exp(-(w x)^2) + silu(x), by hand, with what the standard has of arrays."""

    def init(self, rng):
        return {"weight": rng.normal(size=5)}

    def forward(self, params, x, *, xp, step=None):
        xp = array_api_compat.array_namespace(x)
        w = params["weight"][..., None, :]
        z = (w * x) ** 2
        order = xp.argsort(z, axis=-1, descending=True)
        y = xp.exp(-z) + xpnn.activations.silu(x) + 0.0 * xp.take_along_axis(z, order, axis=-1)
        for row in range(x.shape[-2]):
            y = y + 0.0 * x[..., row : row + 1, :]
        return y, (w, x, z)

    def backward(self, params, cache, dy, *, xp):
        w, x, z = cache
        slope = -2.0 * z * xp.exp(-z) * dy
        return slope / x + xpnn.activations.silu.derivative(x) * dy, {"weight": xp.sum(slope / w, axis=-2)}


@pytest.mark.parametrize("members", [None, 3])
def test_a_layer_of_a_user(members):
    tracing = Tracing()
    found, expected = (run(Bump(), backend, members, x=X) for backend in (tracing, NUMPY))
    same_bits(tracing, found, expected)
