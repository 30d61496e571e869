"""Simplifying, the text of a program, and that a program makes nothing while it runs."""

import sys
import tracemalloc

import numpy as np
import pytest

from tests.compiled import WEIGHT, X, prepared
from tests.plans import KINDS, plan_of, trees_of
from tests.test_compile import DEEP, Y
from xpnn import SGD, Adam, Dense, Network, mlp
from xpnn.compile.simplify import FOLDED, constant, live, simplified
from xpnn.compile.trace import Graph
from xpnn.compile.traced import Traced
from xpnn.optimizers.base import number_fields

F64 = np.dtype("float64")


def simple(function, *shapes, exact=False, products=False, dtype=F64):
    """What is left of a function of arrays: the operations by name, and its result."""
    graph = Graph()
    result = function(graph.xp, *(graph.input(f"x{i}", shape, dtype) for i, shape in enumerate(shapes)))
    found = simplified({"y": result}, exact, products)["y"]
    return [node.op for node in live([found]) if node.op not in ("input", "constant")], found


def test_what_is_known_is_computed_beforehand():
    ops, found = simple(lambda xp: xp.exp(xp.asarray([0.0, 1.0]) * 2.0) + xp.ones(2))
    assert ops == []
    np.testing.assert_array_equal(constant(found), np.exp([0.0, 2.0]) + 1.0)
    ops, found = simple(lambda xp, x: x * (xp.full((3, 1), 2.0) * 3.0), (3, 4))
    assert ops == ["multiply"]
    assert found.args[1].options["value"] == 6.0  # still one number


def test_inputs_are_never_folded():
    """Also where there is one number of them, as a learning rate has."""
    assert simple(lambda xp, rate: (rate * 2.0) * (xp.ones((1,)) + 1.0), (1,))[0] != []
    optimizer = Adam(clip_norm=1.0, weight_decay=0.1)
    for kind in KINDS:
        _, given = plan_of(prepared(Network(mlp([5, 3, 2])), X, Y, optimizer=optimizer), "step", kind)
        asked = {name for name in given if name.startswith("numbers.optimizer")}
        assert asked == {f"numbers.optimizer[{name!r}]" for name in number_fields(optimizer)}


def test_large_constants_are_not_folded():
    count = FOLDED // 8 + 1
    assert simple(lambda xp: xp.sin(xp.broadcast_to(xp.asarray([1.0]), (count,))))[0][-1] == "sin"


def test_what_nobody_needs_is_dropped():
    assert simple(lambda xp, x: (xp.exp(x), x + 1.0)[1], (3,))[0] == ["add"]


def test_the_same_is_computed_once():
    assert simple(lambda xp, x: xp.exp(x) * (1.0 + xp.exp(x)), (3,))[0].count("exp") == 1


@pytest.mark.parametrize("exact", [False, True])
def test_what_changes_no_number_is_dropped(exact):
    for function in (
        lambda xp, x: x * 1.0,
        lambda xp, x: 1.0 * x,
        lambda xp, x: x**1.0,
        lambda xp, x: x * xp.ones((3, 4)),
        lambda xp, x: xp.astype(x, xp.float64),
    ):
        assert simple(function, (3, 4), exact=exact)[0] == []
    assert simple(lambda xp, x: x * xp.ones((3, 4)), (4,), exact=exact)[0] == ["multiply"]  # which has more rows
    assert simple(lambda xp, x: xp.sum(x, axis=0), (1, 4), exact=exact)[0] == ["reshape"]
    assert simple(lambda xp, x: xp.mean(x, axis=1, keepdims=True), (3, 1), exact=exact)[0] in ([], ["reshape"])


def test_powers():
    assert simple(lambda xp, x: x**2.0, (3,))[0] == ["multiply"]
    assert simple(lambda xp, x: x**0.5, (3,))[0] == ["sqrt"]
    assert simple(lambda xp, x: x**3.0, (3,))[0] == ["pow"]
    assert simple(lambda xp, x: x**2.0, (3,), exact=True)[0] == ["multiply"]  # as NumPy's own power does


def test_one_factor_for_two():
    ops, found = simple(lambda xp, x: 2.0 * (3.0 * x), (3,))
    assert ops == ["multiply"]
    assert sorted(arg.op for arg in found.args) == ["constant", "input"]
    assert constant(found.args[0], ()) == 6.0
    assert simple(lambda xp, x: 2.0 * (3.0 * x), (3,), exact=True)[0] == ["multiply", "multiply"]
    twice = simple(lambda xp, x: (2.0 * (3.0 * x)) + 3.0 * x, (3,))[0]
    assert twice == ["multiply", "multiply", "add"]  # 3x has another reader


def test_sums_as_products():
    for axis, keepdims, given in (
        (0, False, (8, 3)),
        (-1, True, (8, 3)),
        (-2, False, (4, 8, 3)),
        (None, False, (8, 3)),
    ):

        def function(xp, x, axis=axis, keepdims=keepdims):
            return xp.sum(x, axis=axis, keepdims=keepdims)

        ops, _ = simple(function, given, products=True)
        assert "sum" not in ops and "matmul" in ops
        assert simple(function, given)[0] == ["sum"]
    assert simple(lambda xp, x: xp.sum(x, axis=0), (8,), products=True)[0] == ["sum"]
    assert simple(lambda xp, x: xp.sum(x, axis=0), (70_000, 2), products=True)[0] == ["sum"]  # rounds less
    assert simple(lambda xp, x: xp.sum(x, axis=0), (4, 8, 3), products=True)[0] == ["sum"]
    assert simple(lambda xp, x: xp.max(x, axis=0), (8, 3), products=True)[0] == ["max"]
    graph = Graph()
    whole = simplified({"y": graph.xp.sum(graph.input("x", (8, 3), np.dtype("int64")), axis=0)}, False, True)
    assert whole["y"].op == "sum"


@pytest.mark.parametrize("members", [None, 3])
def test_an_exact_plan_keeps_the_bits_of_the_whole_step(members):
    ready = prepared(Network(DEEP, members=members), X, Y, optimizer=Adam(0.1, average=0.9), weight=WEIGHT)
    eager = ready.steps.step(ready.carry, ready.data, ready.numbers, compile=False)

    def step(carry, batch, numbers, *, xp):
        new, value = ready.steps.program.step(carry, batch, numbers, xp=xp)
        return {"carry": new, "value": value}

    trees = trees_of(ready, "step")
    made = Traced(step, trees, lambda name: "fresh", ready.net.backend, exact=True)
    *arrays, value = made.bind(**trees)(*made.arguments(*trees)(*trees.values()))
    expected = [*eager[0][:2], *(a for part in eager[0].memory for a in (part if isinstance(part, tuple) else [part]))]
    assert value.tobytes() == eager[1].tobytes()
    assert all(one.tobytes() == two.tobytes() for one, two in zip(arrays, expected, strict=True))


GOLDEN = """\
def bind(params, state, x, y):
    x_take = x.take
    y_take = y.take
    weight_0 = ndarray((3, 4), 'float32', params, 0, (16, 4))
    bias_0 = ndarray((1, 4), 'float32', params, 48, (0, 4))
    weight_2 = ndarray((4, 1), 'float32', params, 64, (4, 4))
    bias_2 = ndarray((1, 1), 'float32', params, 80, (0, 4))
    weight_2_T = ndarray((1, 4), 'float32', params, 64, (4, 4))
    def run(learning_rate, rows):
        x_take(rows, 0, t0, 'clip')  # take (6, 3) float32, block 0
        y_take(rows, 0, t1, 'clip')  # take (6, 1) float32, block 1
        t0_dot(weight_0, t2)  # matmul (6, 4) float32, block 2
        add(t2, bias_0, t2)  # add (6, 4) float32, block 2
        maximum(t2, c0_6x4, out=t2)  # maximum (6, 4) float32, block 2
        t2_dot(weight_2, t3)  # matmul (6, 1) float32, block 3
        add(t3, bias_2, t3)  # add (6, 1) float32, block 3
        subtract(t3, t1, t3)  # subtract (6, 1) float32, block 3
        multiply(t3, t3, t1)  # multiply (6, 1) float32, block 1
        c1_1x6_dot(t1, t4)  # matmul (1, 1) float32, block 4
        multiply(t4_view, c0_166667, kept)  # multiply () float32
        multiply(c0_333333, t3, t3)  # multiply (6, 1) float32, block 3
        multiply(t3, weight_2_T, t5)  # multiply (6, 4) float32, block 1
        t2_T_dot(t3, d_weight_2)  # matmul (4, 1) float32
        c1_1x6_dot(t3, d_bias_2)  # matmul (1, 1) float32
        greater(t2, c0, t7)  # greater (6, 4) bool, block 3
        copyto(t2, t7, 'unsafe')  # astype (6, 4) float32, block 2
        multiply(t5, t2, t5)  # multiply (6, 4) float32, block 1
        t0_T_dot(t5, d_weight_0)  # matmul (3, 4) float32
        c1_1x6_dot(t5, d_bias_0)  # matmul (1, 4) float32
        multiply(learning_rate, t6, t6)  # multiply (21,) float32, block 4
        subtract(params, t6, params)  # subtract (21,) float32
        return None
    return run
"""


def test_the_program_of_a_small_network_can_be_read():
    """What `net.explain()` prints: one line an operation, named as a person would."""
    net = Network([Dense(3, 4), "relu", Dense(4, 1)])
    ready = prepared(net, X[:6, :3], Y[:6, :1], optimizer=SGD(0.1))
    source = ready.steps.trace("epoch", trees_of(ready, "rows")).program.source
    assert source == GOLDEN


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("role", ["rows", "all"])
def test_a_step_allocates_nothing(role, members):
    """But for what NumPy needs within a call: the buffers of its iterators, which do not grow with the batch."""
    net, rng = (
        Network([one for one in DEEP if not getattr(one, "random", False)], members=members),
        np.random.default_rng(0),
    )
    x, y = rng.normal(size=(16384, 5)), rng.normal(size=(16384, 2))
    ready = prepared(net, x, y, optimizer=Adam(0.01))
    traced, trees = ready.steps.trace("epoch", trees_of(ready, role)), trees_of(ready, role)
    run, args = traced.bind(**trees), traced.arguments("numbers", "rows", "batch")(ready.numbers, trees["rows"], None)
    for _ in range(3):
        run(*args)
    before = sys.getallocatedblocks()
    for _ in range(20):
        run(*args)
    assert abs(sys.getallocatedblocks() - before) <= 5
    tracemalloc.start()
    try:
        run(*args)
        start, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run(*args)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now - start <= 512
    assert peak - start < 2 * 16384 * 4  # the narrowest array of the batch


def test_a_program_is_straight_line():
    ready = prepared(Network(DEEP), X, Y, optimizer=Adam(), weight=WEIGHT)
    program = ready.steps.trace("epoch", trees_of(ready, "rows")).program
    body = program.source.split("    def run(")[1].splitlines()[1:-1]
    assert not any(line.strip().startswith(("for ", "if ", "while ")) for line in body)
    assert not any("empty(" in line for line in body)
