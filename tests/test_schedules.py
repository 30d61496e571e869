"""Schedules: PyTorch's numbers, the way to the end and after it, members, names, and what reaches a training step."""

import copy
import itertools
import pickle
import warnings
from dataclasses import fields, replace

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import xpnn
from tests.tables import SCHEDULES
from xpnn import schedules
from xpnn.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseScaling,
    OneCycle,
    Piecewise,
    PolynomialDecay,
    StepDecay,
)

ONLY = [schedule for schedule, _, _ in SCHEDULES]
X, Y = xpnn.datasets.circles(20)


def theirs(expression, steps, optimizer="SGD(p, lr=0.1, momentum=0.9)", number="lr"):
    """What a scheduler of PyTorch gives at each of `steps`."""
    torch = pytest.importorskip("torch")
    o = eval(f"torch.optim.{optimizer}", {"torch": torch, "p": [torch.zeros(1, requires_grad=True)]})
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR's of PyTorch itself
        scheduler = eval(expression, {"o": o} | vars(torch.optim.lr_scheduler))
        for _ in range(steps):
            found.append(o.param_groups[0][number])
            o.step()
            scheduler.step()
    return found


def scaled(schedule, factor):
    """The same schedule of values `factor` times as large; a tuple makes one for each member."""

    def times(value):
        return tuple(value * one for one in factor) if isinstance(factor, tuple) else value * factor

    if isinstance(schedule, Piecewise):
        return replace(schedule, values=[times(value) for value in schedule.values])
    names = {"initial", "peak", "final", "warmup_from"} & {field.name for field in fields(schedule)}
    return replace(schedule, **{name: times(getattr(schedule, name)) for name in names})


@pytest.mark.parametrize("schedule, expression, steps", SCHEDULES, ids=str)
def test_pytorchs_numbers(schedule, expression, steps):
    steps = steps or 100
    expected = theirs(expression, steps)
    np.testing.assert_allclose([schedule(step) for step in range(steps)], expected, rtol=1e-12, atol=1e-15)


def test_momentum_takes_pytorchs_cycle_the_other_way():
    cycle = OneCycle(0.85, 50, div_factor=0.85 / 0.95, final_div_factor=1)
    expected = theirs("OneCycleLR(o, 0.1, 50)", 50, number="momentum")
    np.testing.assert_allclose([cycle(step) for step in range(50)], expected, rtol=1e-12)


def test_inverse_scaling_is_scikit_learns_by_updates():
    optimizer = pytest.importorskip("sklearn.neural_network._stochastic_optimizers").SGDOptimizer
    ours, n, k = InverseScaling(0.1, power=0.7), 50, 4
    their = optimizer([], learning_rate_init=0.1, lr_schedule="invscaling", power_t=0.7)
    for epoch in range(1, 5):
        their.iteration_ends(epoch * n)
        assert ours(epoch * n) == pytest.approx(their.learning_rate, rel=1e-14)
        assert 0.1 / (epoch * k // k * n + 1) ** 0.7 == pytest.approx(their.learning_rate, rel=1e-14)


@pytest.mark.parametrize("schedule", ONLY, ids=str)
def test_every_value_lies_between_nothing_and_the_highest(schedule):
    values = [schedule(step) for step in range(200)]
    assert all(0.0 <= value <= 0.1 * (1 + 1e-15) for value in values)
    assert max(values) > 0.09
    if not (isinstance(schedule, OneCycle) or getattr(schedule, "warmup", 0) or getattr(schedule, "restarts", 0)):
        assert values[0] == 0.1
        assert all(later <= earlier for earlier, later in itertools.pairwise(values))


@pytest.mark.parametrize("schedule", ONLY, ids=str)
def test_values_stay_as_they_are_after_the_end(schedule):
    if isinstance(schedule, PolynomialDecay | CosineDecay):
        assert schedule(schedule.steps) == schedule.final < schedule(schedule.steps - 1)
        assert schedule(10**9) == schedule.final
    if isinstance(schedule, OneCycle):
        last = schedule(schedule.steps - 1)
        assert last == pytest.approx(0.1 / schedule.div_factor / schedule.final_div_factor, rel=1e-12)
        assert schedule(schedule.steps) == schedule(10**9) == last
    if isinstance(schedule, Piecewise):
        assert schedule(10**9) == schedule.values[-1]
    assert schedule(10**9) >= 0.0


@pytest.mark.parametrize("schedule", ONLY, ids=str)
def test_members_take_their_own_values(schedule):
    stack = scaled(schedule, (1.0, 0.5, 0.0))
    for step in (0, 3, 12, 39, 1000):
        together = stack(step)
        for k, factor in enumerate((1.0, 0.5, 0.0)):
            assert together[k] == pytest.approx(scaled(schedule, factor)(step), rel=1e-15)
    rows = schedules.values("learning_rate", stack, range(5), 3)
    assert np.shape(rows) == (5, 3)
    with pytest.raises(ValueError, match="learning_rate must have one value for each of the 2 members, got 3"):
        schedules.values("learning_rate", stack, range(5), 2)


def test_one_value_goes_to_every_member_beside_those_of_their_own():
    assert CosineDecay([0.4, 0.2], steps=2, final=0.1)(2) == (0.1, 0.1)
    assert PolynomialDecay(0.5, steps=2, final=[0.1, 0.5])(1) == (0.3, 0.5)
    mixed = Piecewise([1], [0.3, [0.1, 0.2]])
    assert schedules.values("rate", mixed, range(2), 2) == [[0.3, 0.3], [0.1, 0.2]]


@pytest.mark.parametrize("schedule", ONLY, ids=str)
def test_schedules_are_values(schedule):
    for one in (schedule, scaled(schedule, (1.0, 0.5))):
        again = replace(one)
        assert one == again == copy.deepcopy(one) == pickle.loads(pickle.dumps(one))
        assert hash(one) == hash(again)
        assert eval(repr(one), vars(schedules)) == one
    assert schedule != scaled(schedule, 0.5) != scaled(schedule, (1.0, 0.5))


def test_lists_arrays_and_numpys_numbers_make_equal_schedules():
    assert CosineDecay(np.asarray([0.1, 0.2]), np.int64(10)) == CosineDecay((0.1, 0.2), 10)
    assert Piecewise(np.asarray([1, 2]), np.asarray([3.0, 2.0, 1.0])) == Piecewise((1, 2), (3, 2, 1))
    assert type(Piecewise([1], np.float32([0.5, 0.25]))(0)) is float


@hypothesis.given(
    warmup=st.integers(0, 5),
    cycles=st.integers(1, 5),
    growth=st.floats(1.0, 3.0),
    room=st.integers(0, 200),
    final=st.floats(0.0, 1.0),
)
def test_cosine_cycles_fill_the_steps_whole(warmup, cycles, growth, room, final):
    steps = (
        warmup + room + int(2 * sum(growth**k for k in range(cycles))) + cycles
    )  # every cycle of two updates or more
    schedule = CosineDecay(1.0, steps, final, warmup=warmup, restarts=cycles - 1, growth=growth)
    values = [schedule(step) for step in range(steps + 1)]
    assert all(final <= value + 1e-15 for value in values[warmup:])
    assert all(value <= 1.0 + 1e-15 for value in values)
    assert values[-1] == final
    if final < 0.99:
        starts = [step for step in range(warmup, steps) if values[step] == 1.0]
        assert len(starts) == cycles
        assert starts[0] == warmup
        lengths = np.diff([*starts, steps])
        assert all(abs(after - growth * before) <= 1.0 + growth for before, after in itertools.pairwise(lengths))


@hypothesis.given(
    steps=st.integers(1, 50), start_fraction=st.floats(0.0, 0.99), anneal=st.sampled_from(["cos", "linear"])
)
@hypothesis.example(steps=10, start_fraction=0.1, anneal="cos")  # the top at step 0, where PyTorch divides by zero
def test_one_cycle_goes_up_and_down_for_any_share(steps, start_fraction, anneal):
    cycle = OneCycle(1.0, steps, start_fraction, anneal=anneal)
    values = np.asarray([cycle(step) for step in range(steps + 2)])
    assert values.min() >= 0.04 / 1e4 * (1 - 1e-9)
    assert values.max() <= 1.0
    top = values.argmax()
    assert (np.diff(values[: top + 1]) > 0).all()
    assert (np.diff(values[top:]) <= 0).all()
    assert (values[-3:] == pytest.approx(4e-6)) if steps == 1 else values[-1] == values[-2] == pytest.approx(4e-6)


def test_large_steps_and_powers_neither_overflow_nor_warn():
    assert InverseScaling(0.1, power=1e3)(10**6) == 0.0
    assert StepDecay(0.1, 1e-3, 1)(10**9) == ExponentialDecay(0.1, 1e-3, 1)(10**9) == 0.0


def test_values_are_floats_whatever_a_schedule_gives():
    assert schedules.values("rate", schedules.Constant([1, 2]), range(2), 2) == [[1.0, 2.0]] * 2
    own = schedules.values("rate", lambda step: np.asarray([0.5, 0.25]) * step, range(2), 2)
    assert own == [[0.0, 0.0], [0.5, 0.25]]
    assert type(schedules.values("rate", lambda step: np.float32(step), range(2), None)[1]) is float


@pytest.mark.parametrize("name, kind", schedules._NAMES.items())
def test_every_name_makes_its_schedule(name, kind):
    options = {"initial": 0.1, "peak": 0.1, "rate": 0.5, "steps": 10, "boundaries": [5], "values": [0.1, 0.01]}
    options = {field.name: options[field.name] for field in fields(kind) if field.name in options}
    made = schedules.get(name.upper().replace("_", "-"), **options)
    assert type(made) is kind
    assert made == kind(**options) == schedules.get(kind, **options) == schedules.get(made)


def test_a_class_is_found_by_its_own_name():
    assert schedules.get("CosineDecay", initial=0.1, steps=2) == schedules.get("cosine_decay", initial=0.1, steps=2)


def test_a_schedule_shows_only_what_is_not_at_its_default():
    assert str(CosineDecay(0.1, 100)) == "CosineDecay(0.1, 100)"
    assert str(OneCycle(0.1, 50, anneal="linear")) == "OneCycle(0.1, 50, anneal='linear')"


def test_a_function_comes_back_as_it_is():
    def halved(step):
        return 0.5**step

    assert schedules.get(halved) is halved


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: schedules.get("cosine_decya", initial=1, steps=2),
            "unknown schedule 'cosine_decya': did you mean 'cosine_d",
        ),
        (lambda: schedules.get(0.1), "schedule must be a name or an object of that kind, got 0.1"),
        (
            lambda: schedules.get("cosine_decay", initial=1, step=2),
            "option of CosineDecay 'step': did you mean 'steps'",
        ),
        (lambda: schedules.get("piecewise"), "Piecewise needs boundaries, values, got none of them"),
        (lambda: schedules.get(StepDecay, steps=1), "StepDecay needs initial, rate, steps, got steps"),
        (lambda: schedules.get("cosine"), "unknown schedule 'cosine': did you mean 'cosine_decay'"),
        (lambda: xpnn.SGD(StepDecay), r"learning_rate must be .*, got a class: give an object, StepDecay\(...\)"),
        (lambda: xpnn.Dropout(CosineDecay), "rate must be a number or a schedule, got a class: give an object"),
        (lambda: schedules.get("cosine_decay", initial=1), "CosineDecay needs initial, steps, got initial"),
        (
            lambda: schedules.get(lambda step: 1.0, steps=2),
            r"options \(steps\) go with a name or a class of schedule, got <function",
        ),
        (lambda: ExponentialDecay(-1.0, 0.5, 1), "initial must be >= 0, got -1"),
        (lambda: ExponentialDecay(1.0, 1.5, 1), "rate must be > 0 and <= 1, got 1.5"),
        (lambda: schedules.InverseTimeDecay(1.0, 0.5, 0), "steps must be > 0, got 0"),
        (lambda: schedules.Constant("fast"), "initial must be a number, got 'fast'"),
        (
            lambda: schedules.Constant(schedules.Constant(0.1)),
            "initial must be a number, or one for each member, got Con",
        ),
        (lambda: StepDecay([0.1, -0.2], 0.5, 1), r"initial\[1\] must be >= 0, got -0.2"),
        (lambda: StepDecay(0.1, 0.0, 1), "rate must be > 0 and <= 1, got 0"),
        (lambda: StepDecay(0.1, 0.5, 0), "steps must be >= 1, got 0"),
        (lambda: StepDecay(0.1, 0.5, 2.5), "steps must be a whole number, got 2.5"),
        (lambda: InverseScaling(0.1, power=-1), "power must be >= 0, got -1"),
        (lambda: PolynomialDecay(0.1, -3), "steps must be >= 1, got -3"),
        (lambda: PolynomialDecay(0.1, 3, power=0), "power must be > 0, got 0"),
        (lambda: PolynomialDecay(0.01, 3, final=0.1), r"final must be <= initial \(0.01\), got 0.1"),
        (lambda: PolynomialDecay((0.2, 0.01), 3, final=0.1), r"final must be <= initial \(\(0.2, 0.01\)\), got 0.1"),
        (lambda: CosineDecay((0.2, 0.1), 3, final=(0, 0, 0)), "as many as {'initial': 2, 'final': 3}"),
        (lambda: CosineDecay(0.1, 10, warmup=10), r"steps must be > warmup \(10\), got 10"),
        (lambda: CosineDecay(0.1, 10, warmup=5, warmup_from=0.2), r"warmup_from must be <= initial \(0.1\), got 0.2"),
        (lambda: CosineDecay(0.1, 10, warmup=-1), "warmup must be >= 0, got -1"),
        (
            lambda: CosineDecay(0.1, 3, restarts=4),
            r"an update for each of 5 cycles, got CosineDecay\(0.1, 3, restarts=4\)",
        ),
        (lambda: CosineDecay(0.1, 100, restarts=400, growth=1e9), "an update for each of 401 cycles"),
        (lambda: CosineDecay(0.1, 10, growth=0.5), "growth must be >= 1, got 0.5"),
        (lambda: OneCycle(0.1, 0), "steps must be >= 1, got 0"),
        (lambda: OneCycle(-0.1, 10), "peak must be >= 0, got -0.1"),
        (lambda: OneCycle(0.1, 10, start_fraction=1.0), "start_fraction must be >= 0 and < 1, got 1"),
        (lambda: OneCycle(0.1, 10, div_factor=0), "div_factor must be > 0, got 0"),
        (lambda: OneCycle(0.1, 10, final_div_factor=-1), "final_div_factor must be > 0, got -1"),
        (lambda: OneCycle(0.1, 10, anneal="cosine"), "unknown anneal 'cosine': did you mean 'cos'"),
        (lambda: Piecewise([100, 50], [3, 2, 1]), "boundaries must increase, got 50 after 100"),
        (lambda: Piecewise([5, 5], [3, 2, 1]), "boundaries must increase, got 5 after 5"),
        (lambda: Piecewise([0], [2, 1]), r"boundaries\[0\] must be >= 1, got 0"),
        (lambda: Piecewise([10], [1]), "values must be one more than the 1 boundaries, got 1"),
        (lambda: Piecewise([10], [0.1, -1]), r"values\[1\] must be >= 0, got -1"),
        (lambda: Piecewise(10, [0.1, 1]), "boundaries must be a list, got 10"),
        (lambda: Piecewise([10], [(1, 2), (1, 2, 3)]), r"as many as {'values\[0\]': 2, 'values\[1\]': 3}"),
        (lambda: schedules.values("learning_rate", (0.1, 0.2), range(1), 3), "each of the 3 members, got 2"),
        (lambda: schedules.values("learning_rate", (0.1, 0.2), range(1), None), "no stack of members"),
        (lambda: schedules.values("rate", lambda step: -1.0, range(1), None), "schedule's rate must be"),
        (lambda: schedules.Schedule()(0), r"Schedule must define __call__\("),
    ],
)
def test_wrong_schedules_are_refused(make, message):
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=message):
        make()


def trained(layers, learning_rates, epochs, members=None):
    """A network after `epochs` of one update each under each optimizer in turn."""
    net = xpnn.Network(layers, members=members, dtype="float64", seed=5)
    for rate in learning_rates:
        net.fit(X, Y, loss="mean_squared_error", optimizer=xpnn.SGD(rate), epochs=epochs, batch_size=None)
    return net.progress.carry.params


@pytest.mark.parametrize("schedule", ONLY, ids=str)
def test_an_update_takes_the_value_of_its_step(schedule):
    layers = xpnn.mlp([2, 3, 1], "tanh")
    one_by_one = trained(layers, [schedule(step) for step in range(4)], epochs=1)
    np.testing.assert_allclose(trained(layers, [schedule], epochs=4), one_by_one, rtol=1e-12)


def test_steps_are_counted_within_an_epoch():
    net, by_hand = (xpnn.Network(xpnn.mlp([2, 3, 1]), dtype="float64") for _ in range(2))
    frozen = xpnn.SGD(Piecewise([2], [0.1, 0.0]))
    net.fit(X, Y, loss="mean_squared_error", optimizer=frozen, epochs=3, batch_size=8, shuffle=False)
    for rows in (slice(0, 8), slice(8, 16)):
        by_hand.step(X[rows], Y[rows], loss="mean_squared_error", optimizer=xpnn.SGD(0.1))
    np.testing.assert_allclose(net.progress.carry.params, by_hand.progress.carry.params, rtol=1e-12)


def test_dropouts_rate_follows_its_schedule():
    def after(rate, epochs):
        return trained([xpnn.Dense(2, 30), xpnn.Dropout(rate), xpnn.Dense(30, 1)], [0.1], epochs)

    late, early = Piecewise([3], [0.0, 0.5]), Piecewise([3], [0.5, 0.0])
    assert (after(late, 3) == after(0.0, 3)).all()
    assert (after(late, 4) != after(0.0, 4)).any()
    assert (after(early, 3) == after(0.5, 3)).all()
    assert (after(early, 4) != after(0.5, 4)).any()
    falling = CosineDecay(0.5, steps=2)  # 0.5, 0.25 and then none
    assert (after(falling, 2) == after(Piecewise([1], [0.5, 0.25]), 2)).all()
    assert (after(falling, 4) == after(Piecewise([1, 2], [0.5, 0.25, 0.0]), 4)).all()


def test_members_have_schedules_of_their_own_for_dropouts_rate_too():
    def layers(rates):
        return [xpnn.Dense(2, 30), xpnn.Dropout(CosineDecay(rates, steps=4)), xpnn.Dense(30, 1)]

    stack = trained(layers((0.5, 0.2)), [ExponentialDecay((0.1, 0.05), 0.5, 2)], epochs=5, members=2)
    for k, (dropped, rate) in enumerate([(0.5, 0.1), (0.2, 0.05)]):
        net = xpnn.Network(layers(dropped), dtype="float64", seed=5 + k)
        net.fit(X, Y, "mean_squared_error", xpnn.SGD(ExponentialDecay(rate, 0.5, 2)), epochs=5, batch_size=None)
        np.testing.assert_allclose(stack[k], net.progress.carry.params, rtol=1e-10)


def test_a_schedule_out_of_a_numbers_bounds_is_refused_before_training():
    net = xpnn.Network([xpnn.Dense(2, 3), xpnn.Dropout(schedules.Constant(1.0)), xpnn.Dense(3, 1)])
    with pytest.raises(ValueError, match="the schedule's rate must be >= 0 and < 1, got 1"):
        net.fit(X, Y, epochs=1)
