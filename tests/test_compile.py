"""The compiled step agrees with the eager one: loss, gradient and layer state, from one common state."""

import dataclasses

import numpy as np
import pytest

import xpnn
from tests.compiled import PROBLEMS, TOLERANCE, WEIGHT, Prepared, Recording, X, far, prepared, problem, ways
from tests.test_optimizers import ALL, GRADS, NUMPY, START, WITH_OPTIONS, hyper, scheduled
from xpnn import SGD, Adam, BatchNorm, Dense, Dropout, Lion, Network, losses
from xpnn.compile.traced import Traced
from xpnn.layers import walk
from xpnn.losses import Penalized
from xpnn.progress import Carry

LANES = {"lone": (None, False), "shared rows": (3, False), "own rows": (3, True)}
DEEP = [Dense(5, 6, bias=False), BatchNorm(6), "relu", Dropout(0.3), Dense(6, 4), "tanh", Dense(4, 2)]
Y = np.random.default_rng(5).normal(size=(8, 2))


def agree(ready: Prepared):
    """Checks that each way to run the step gives the eager loss, gradient and layer state."""
    tolerance, found = TOLERANCE[ready.net.backend.dtype], ways(ready)
    carry, value = found.pop("eager")
    for way, (own, given) in found.items():
        if way == "rows" and any(leaf.random for _, leaf in walk(ready.net.layer)):
            continue  # they come in another order, and random bits go by the place in the batch
        assert np.shape(given) == value.shape
        np.testing.assert_allclose(given, value, rtol=tolerance, atol=tolerance, err_msg=way)
        assert far(own, carry) <= tolerance, way


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("case", PROBLEMS, ids=str)
def test_every_piece_of_the_tables(case, lanes):
    for dtype, weighted in (("float64", False), ("float64", True), ("float32", True)):
        agree(problem(case, *LANES[lanes], weighted=weighted, dtype=dtype))


PENALTIES = {
    "l1 and l2": {"l1": 0.1, "l2": 0.2},
    "of a row": {"l2": 0.2, "per_row": True},
    "by name and layer": {"l1": 0.1, "l2": 0.2, "multipliers": {"bias": 0.5, 0: 0.0, "6.weight": 2.0}},
    "on a schedule": {"l2": lambda step: 0.1 / (1.0 + step)},
    "by member": {"l1": [0.0, 0.1, 0.2]},
}


@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize("lanes", LANES)
def test_penalized_losses(kind, lanes):
    members, own = LANES[lanes]
    options = PENALTIES[kind] | ({"l1": 0.1} if kind == "by member" and members is None else {})
    for weight in (None, WEIGHT):
        x, y = (np.stack([a, a[::-1], 2.0 * a]) if own else a for a in (X, Y))
        for dtype in TOLERANCE:
            net = Network(DEEP, dtype=dtype, members=members)
            agree(prepared(net, x, y, Penalized(losses.mean_squared_error, **options), weight=weight, step=3))


OPTIONS = {
    "weight_decay": {"weight_decay": 0.1},
    "clip_value": {"clip_value": 0.01},
    "clip_norm": {"clip_norm": 0.05},
    "average": {"average": 0.9},
    "multipliers": {"multipliers": {"bias": 0.5, 0: 0.0, "4.weight": 3.0}},
    "a schedule": {"learning_rate": lambda step: 0.5 / (1 + step)},
    "by member": {"learning_rate": [0.1, 0.2, 0.3]},
}
OPTIONS["all"] = {name: value for one in OPTIONS.values() for name, value in one.items()}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("members", [None, 3])
def test_what_stands_around_every_rule(options, members):
    chosen = dict(OPTIONS[options])
    if members is None and isinstance(chosen.get("learning_rate"), list):
        chosen["learning_rate"] = 0.2
    for dtype in TOLERANCE:
        net = Network(DEEP, dtype=dtype, members=members)
        agree(prepared(net, X, Y, optimizer=Recording(**chosen), weight=WEIGHT, step=2))


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("optimizer", [*ALL, *WITH_OPTIONS, *map(scheduled, WITH_OPTIONS)], ids=str)
def test_every_optimizer_on_the_same_gradients(optimizer, members):
    """Its parameters and its state lie in the place of the old after each of twelve steps."""
    start, grads, shape = START, GRADS, (1,)
    if members:
        start, grads, shape = np.stack([START, -START, 2.0 * START]), np.stack([GRADS, -GRADS, GRADS**2], 1), (3, 1)
    table = {"multiplier": np.asarray([1.0, 0.0, 0.5, 1.0, 2.0, 1.0, 1.0])}
    eager = Carry(start, np.zeros((*start.shape[:-1], 0)), optimizer.init(start, xp=np))

    def function(carry, grads, numbers, *, xp):
        params, memory = optimizer.update(carry.params, grads, carry.memory, numbers, xp=xp)
        return {"carry": Carry(params, carry.state, memory)}

    def given(step):
        numbers = hyper(optimizer, NUMPY, step, shape)
        return numbers | table | {"learning_rate": numbers["learning_rate"] * table["multiplier"]}

    carry = xpnn.progress.map_arrays(np.copy, eager)
    trees = {"carry": carry, "grads": grads[0], "numbers": given(0)}
    traced = Traced(function, trees, lambda name: name, NUMPY, ("carry.",))
    run, arguments = traced.bind(**trees), traced.arguments("grads", "numbers")
    for step, gradient in enumerate(grads):
        eager = function(eager, gradient, given(step), xp=np)["carry"]
        run(*arguments(gradient, given(step)))
        assert far(carry, eager) <= 1e-12


LONG = [SGD(0.1, 0.9), Adam(0.01, average=0.9), Adam(0.01, clip_norm=1.0, weight_decay=0.1), Lion(0.001)]


@pytest.mark.parametrize("optimizer", LONG, ids=str)
@pytest.mark.parametrize("members", [None, 3])
def test_the_losses_of_ten_steps(optimizer, members):
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-4)):
        nets = [Network(DEEP, dtype=dtype, members=members) for _ in range(2)]
        found = [
            np.stack([net.step(X, Y, optimizer=optimizer, sample_weight=WEIGHT, compile=compile) for _ in range(10)])
            for net, compile in zip(nets, (True, False), strict=True)
        ]
        np.testing.assert_allclose(*found, rtol=tolerance)


@pytest.mark.parametrize("optimizer", [Adam(0.1), SGD(0.1, 0.9, nesterov=True)], ids=str)
def test_a_gradient_of_zeros_and_weights_of_zeros(optimizer):
    """No row counts: the loss is zero, and no NaN comes of it."""
    for members in (None, 3):
        net = Network(DEEP, members=members)
        ready = prepared(net, X, Y, optimizer=dataclasses.replace(optimizer), weight=np.zeros(8))
        found = ways(ready)
        assert all(not np.any(value) and np.isfinite(carry.params).all() for carry, value in found.values())
        agree(ready)


def test_arrays_that_do_not_lie_in_a_row():
    """Rows, targets and weights as somebody's views of larger arrays, columns first or backwards."""
    wide = np.random.default_rng(2).normal(size=(16, 10))
    for members in (None, 3):
        for make in (np.asfortranarray, lambda a: a[::-1], lambda a: np.repeat(a, 2, -1)[..., ::2]):
            net = Network(DEEP, dtype="float64", members=members)
            x, y = make(np.ascontiguousarray(wide[:8, :5])), make(wide[8:, :2])
            agree(prepared(net, x, y, weight=np.repeat(WEIGHT, 2)[::2]))


@pytest.mark.parametrize("layers", [[BatchNorm(5)], [Dense(5, 2)], DEEP], ids=["vectors", "one", "deep"])
@pytest.mark.parametrize("members", [None, 3])
def test_parameters_that_were_assigned_columns_first(layers, members):
    net = Network(layers, dtype="float64", members=members)
    net.params = [{name: np.asfortranarray(a) for name, a in one.items()} for one in net.params]
    agree(prepared(net, X, X if len(layers) == 1 and layers[0].output_shape((5,)) == (5,) else Y))
