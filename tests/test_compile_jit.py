"""Loops that numba compiles: what the eager step gives, and NumPy's meaning of every operation.

Their text is Python. Every row of the tables runs it as that, which needs no compiling; some are compiled.
"""

import sys
from contextlib import contextmanager
from subprocess import run

import numpy as np
import pytest

import xpnn
from tests.tables import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS, TUNED_ACTIVATIONS
from tests.test_losses import case
from xpnn.compile import loops
from xpnn.compile.plan import Plan
from xpnn.compile.simplify import apply, constant
from xpnn.compile.trace import Graph

numba = pytest.importorskip("numba", reason="numba, of the extra jit, is not installed")
from xpnn.compile import jit  # noqa: E402

NEAR = {"float32": 1e-5, "float64": 1e-12}


class Interpreted:
    """A kernel's text run by Python."""

    def __init__(self, source):
        scope = {**loops.NAMES, "exact": lambda function: function, "fast": lambda function: function}
        exec(source, scope)
        self.kernel = scope["kernel"]

    def __call__(self, *arrays):
        with np.errstate(all="ignore"):
            self.kernel(*arrays)

    def compile(self, types):
        assert all(type(one) is numba.types.Array and one.layout == "C" for one in types)


@pytest.fixture
def interpreted(monkeypatch):
    monkeypatch.setattr(jit, "compiled", Interpreted)


@pytest.fixture(params=[True, False], ids=["whole", "clusters"])
def whole(request, monkeypatch):
    monkeypatch.setattr(jit, "WHOLE", 10**9 if request.param else -1)
    return request.param


@contextmanager
def asked(how):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XPNN_COMPILE", how)
        yield


def programs(net):
    """The programs that a network's steps have run."""
    return [traced.program for traced in net._prepared[0].traced.values()]


def trained(how, layers, x, y, loss, optimizer, dtype, members=None, **options):
    with asked(how):
        net = xpnn.Network(layers, dtype=dtype, members=members, seed=3)
        history = net.fit(x, y, loss, optimizer, **{"epochs": 1, "batch_size": 4, **options})
    return net, np.asarray(history["loss"])


def compare(layers, x, y, loss="mse", optimizer=None, dtype="float64", members=None, **options):
    """The same training by loops and eagerly: its losses, and with plain gradient descent the parameters."""
    given = (layers, x, y, loss, optimizer or xpnn.SGD(0.1), dtype, members)
    net, found = trained("jit", *given, **options)
    reference, expected = trained("0", *given, **options)
    assert all(type(program) is jit.Program for program in programs(net)) and programs(net)
    np.testing.assert_allclose(found, expected, rtol=NEAR[dtype] * 10)
    now, wanted = net.progress.carry, reference.progress.carry
    for got, want in [(now.params, wanted.params), (now.state, wanted.state)] if optimizer is None else []:
        assert np.linalg.norm(got - want) <= NEAR[dtype] * 10 * max(np.linalg.norm(want), 1.0)
    return programs(net)


def rows_of(row):
    """Layers, and six samples of what they take."""
    if isinstance(row, tuple):
        x = np.asarray(row[1], dtype=float)
        return [row[0], xpnn.Dense(xpnn.Network([row[0]]).predict(x).shape[-1], 2)], x
    return [xpnn.Dense(5, 5), row], np.random.default_rng(5).normal(size=(6, 5))


@pytest.mark.parametrize("row", LAYERS, ids=repr)
@pytest.mark.parametrize("members", [None, 3])
def test_every_layer(row, members, whole, interpreted):
    layers, x = rows_of(row)
    x.flags.writeable = False
    shape = xpnn.Network(layers, dtype="float64").predict(x).shape
    y = np.random.default_rng(6).normal(size=shape)
    made = compare(layers, x, y, members=members, batch_size=4)
    assert whole or not any(program.whole for program in made)


@pytest.mark.parametrize("name", [*ACTIVATIONS, *(one for one, *_ in TUNED_ACTIVATIONS)], ids=repr)
def test_every_activation(name, whole, interpreted):
    layers = [xpnn.Dense(5, 4), xpnn.activations.get(name) if isinstance(name, str) else name, xpnn.Dense(4, 2)]
    x = np.random.default_rng(5).normal(size=(6, 5))
    compare(layers, x, x[:, :2], sample_weight=np.arange(1.0, 7.0))


@pytest.mark.parametrize("loss, kind", [(loss, kind) for loss, _, kind in LOSSES], ids=repr)
@pytest.mark.parametrize("members", [None, 3])
def test_every_loss(loss, kind, members, whole, interpreted):
    prediction, y = case(loss, kind)
    x = np.random.default_rng(5).normal(size=(len(y), 5))
    layers = [xpnn.Dense(5, prediction.shape[-1])]
    weight = None if members else np.arange(1.0, len(y) + 1.0)
    compare(layers, x, y, loss, members=members, batch_size=None, sample_weight=weight)


@pytest.mark.parametrize("optimizer", [optimizer for optimizer, _ in OPTIMIZERS], ids=repr)
@pytest.mark.parametrize("members", [None, 3])
def test_every_optimizer(optimizer, members, whole, interpreted):
    x = np.random.default_rng(5).normal(size=(10, 5))
    compare(xpnn.mlp([5, 4, 2], "tanh"), x, x[:, :2], optimizer=optimizer, members=members, epochs=2)


CASES = [
    (xpnn.mlp([5, 8, 8, 1], "relu"), "mse", xpnn.SGD(0.05), "float64", {}),
    (xpnn.mlp([5, 8, 1], "gelu", dropout=0.3, norm="batch"), "bce", xpnn.Adam(weight_decay=0.01), "float32", {}),
    (xpnn.mlp([5, 8, 1], "silu", dropout=0.3, norm="layer"), "huber", xpnn.Adam(), "float64", {"members": 3}),
    (xpnn.mlp([5, 40, 1], "sigmoid"), "log_cosh", xpnn.SGD(0.1, momentum=0.9), "float32", {"batch_size": None}),
]


@pytest.mark.parametrize("layers, loss, optimizer, dtype, options", CASES, ids=range(len(CASES)))
def test_compiled_steps_are_the_eager_ones(layers, loss, optimizer, dtype, options, whole):
    rng = np.random.default_rng(0)
    x = np.asfortranarray(rng.normal(size=(90, 5)))
    y = (rng.random((90, 1)) < 0.5).astype(dtype)
    made = compare(layers, x, y, loss, optimizer, dtype, **{"epochs": 3, "batch_size": 32, **options})
    assert [program.whole for program in made] == [whole] * len(made)  # 90 = 32 + 32 + 26


def combined(functions, arrays):
    """The results of functions of the same arrays as one program of loops, and as NumPy gives them."""
    graph = Graph()
    nodes = [graph.input(f"x{i}", array.shape, array.dtype) for i, array in enumerate(arrays)]
    found = {name: function(graph.xp, *nodes) for name, function in functions.items()}
    operands = dict(zip(nodes, arrays, strict=True))
    for node in graph.nodes:
        if node not in operands:
            with np.errstate(all="ignore"):
                args = [operands[arg] for arg in node.args]
                operands[node] = constant(node) if node.op == "constant" else apply(node, args, np)
    program = jit.Program(Plan(found, dict.fromkeys(found, "fresh"), cluster=True), [])
    results = program.bind()(*(arrays[int(name[1:])] for name in program.arguments))
    return program, dict(zip(found, results, strict=True)), {name: operands[node] for name, node in found.items()}


REALS = [0.0, 0.5, 1.5, 2.5, 1.0, 3.0, 7.25, 88.5, 1e5, 1e30, 1e-40, np.inf, np.nan]
BINARY = (
    "add subtract multiply divide pow atan2 copysign hypot logaddexp maximum minimum equal not_equal less less_equal"
)
BINARY += " greater greater_equal bitwise_and bitwise_or bitwise_xor logical_and logical_or logical_xor"
BINARY += " floor_divide remainder nextafter"


def values(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.asarray([False, True])
    if dtype.kind == "f":
        return np.asarray(
            [sign * x for x in [*REALS, np.finfo(dtype).max, np.finfo(dtype).eps] for sign in (1, -1)], dtype
        )
    ends = np.iinfo(dtype)
    return np.asarray([x for x in (0, 1, 2, 3, 7, 100, -1, -2, ends.min, ends.max) if ends.min <= x <= ends.max], dtype)


@pytest.mark.parametrize("dtype", [*loops.NAMES][5:], ids=str)
def test_every_operation_is_numpys(dtype, monkeypatch):
    monkeypatch.setattr(jit, "WHOLE", 10**9)
    x, y = (grid.ravel() for grid in np.meshgrid(values(dtype), values(dtype)))
    functions = {}
    for op in sorted(jit.ELEMENTWISE - {"where", "astype"}):
        binary = op in BINARY.split()
        functions[op] = lambda xp, x, y, op=op, binary=binary: getattr(xp, op)(*((x, y) if binary else (x,)))
    functions["where"] = lambda xp, x, y: xp.where(x != y, x, y)
    functions["three"] = lambda xp, x, y: xp.bitwise_left_shift(x, 3) ^ xp.bitwise_right_shift(y, 2)
    functions |= {f"to {name}": lambda xp, x, y, name=name: xp.astype(x, name) for name in [*loops.NAMES][5:]}
    graph = Graph()
    nodes = [graph.input(name, x.shape, x.dtype) for name in "xy"]
    for name, function in list(functions.items()):
        try:
            assert loops.expression(function(graph.xp, *nodes), {}) is not None
        except (TypeError, AssertionError):
            del functions[name]  # not of these, or NumPy's own line
    program, found, expected = combined(functions, [x, y])
    assert program.whole and len(functions) > 15
    for name, got in found.items():
        rounded = name in loops.COSTLY and got.dtype.kind == "f"
        near = (4e-6 if got.dtype == np.float32 else 4e-15) if rounded else 0.0
        assert got.dtype == expected[name].dtype
        np.testing.assert_allclose(got, expected[name], rtol=near, atol=near * 1e-30, err_msg=name)


def test_what_numba_lacks_is_numpys_line():
    x = np.random.default_rng(0).normal(size=(40, 3))
    chain = lambda xp, x: xp.sort(xp.exp(x) + 1.0, axis=0) * 2.0 - xp.floor_divide(x, 0.3)  # noqa: E731
    program, found, expected = combined({"y": chain}, [x])
    assert not program.whole and "sort" in program.source
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-14)


def test_sums_products_and_copies():
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(2, 7, 40)), rng.normal(size=(40, 70)), rng.normal(size=(9,))
    functions = {
        "product": lambda xp, a, b, c: xp.matmul(a, b),
        "turned": lambda xp, a, b, c: xp.matmul(xp.matrix_transpose(b), xp.matrix_transpose(a)),
        "sums": lambda xp, a, b, c: xp.sum(a, axis=(0, 2)),
        "mean": lambda xp, a, b, c: xp.mean(c),
        "largest": lambda xp, a, b, c: xp.max(a, axis=-2, keepdims=True) + xp.min(b),
        "row": lambda xp, a, b, c: xp.concat([c, xp.reshape(xp.matrix_transpose(b), (-1,)), xp.zeros(3), c * 2.0]),
        "flipped": lambda xp, a, b, c: xp.flip(c) * c + xp.prod(c),
    }
    for size in (10**9, -1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jit, "WHOLE", size)
            program, found, expected = combined(functions, [a, b, c])
        assert program.whole == (size > 0)
        for name, got in found.items():
            np.testing.assert_allclose(got, expected[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_nothing_that_was_handed_out_is_overwritten():
    x = np.random.default_rng(0).normal(size=(20, 5))
    with asked("jit"):
        net = xpnn.Network(xpnn.mlp([5, 4, 1], "relu"), dtype="float64")
        net.fit(x, x[:, :1], "mse", xpnn.Adam(), epochs=1)
        held = [net.progress.carry.params, net.step(x, x[:, :1], "mse", xpnn.Adam()), net.predict(x), net.progress]
        copies = [held[0].copy(), float(held[1]), held[2].copy(), held[3].carry.params.copy()]
        net.fit(x, x[:, :1], "mse", xpnn.Adam(), epochs=2)
        net.step(x, x[:, :1], "mse", xpnn.Adam())
    np.testing.assert_array_equal(held[0], copies[0])
    np.testing.assert_array_equal(held[2], copies[2])
    np.testing.assert_array_equal(held[3].carry.params, copies[3])
    assert float(held[1]) == copies[1]


def test_networks_of_one_kind_share_what_was_compiled(monkeypatch):
    x = np.random.default_rng(0).normal(size=(20, 5))

    def fit():
        with asked("jit"):
            xpnn.Network(xpnn.mlp([5, 4, 1], "relu"), dtype="float64").fit(x, x[:, :1], "mse", xpnn.SGD(), epochs=1)
        return len(jit._compiled)

    assert fit() == fit()


def test_numba_is_imported_when_asked_for_and_missed_by_name(monkeypatch):
    code = "import xpnn, sys; n = xpnn.Network(xpnn.mlp([2, 3, 1])); n.fit([[1, 2]], [1], epochs=1); "
    run([sys.executable, "-c", code + "assert 'numba' not in sys.modules"], check=True)
    monkeypatch.setitem(sys.modules, "numba", None)
    net = xpnn.Network(xpnn.mlp([2, 3, 1]))
    for call in (net.fit, net.step):
        with pytest.raises(ImportError, match=r'compile="jit" needs numba: pip install "xpnn\[jit\]"'):
            call([[1, 2]], [1], compile="jit")
        with pytest.raises(ValueError, match="compile must be"):
            call([[1, 2]], [1], compile="numba")


def test_programs_of_both_kinds_take_turns():
    x = np.random.default_rng(0).normal(size=(20, 5))
    net = xpnn.Network(xpnn.mlp([5, 4, 1], "relu"), dtype="float64")
    for how, count in (("jit", 1), (True, 2), ("jit", 2), (True, 2)):
        net.fit(x, x[:, :1], "mse", xpnn.SGD(), epochs=2, compile=how)
        assert len(programs(net)) == count
    assert [type(program) is jit.Program for program in programs(net)] == [True, False]
