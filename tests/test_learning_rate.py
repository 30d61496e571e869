"""The learning rate while training: reduced on a plateau, set for each epoch by a function, or set by hand."""

import copy
import math
import pickle

import numpy as np
import pytest

import xpnn
from tests.scripted import NAN, OPTIONS, STOCHASTIC, by_member, raises_at, scripted
from tests.trained import X, Y, state_of, trained
from xpnn import SGD, Adam, Network, mlp
from xpnn.callbacks import LambdaCallback, LearningRateScheduler, ReduceLROnPlateau

PLATEAUS = [
    {"factor": 0.5, "patience": 2},
    {"factor": 0.5, "patience": 2, "min_delta": 0.5},
    {"factor": 0.1, "patience": 1, "min_lr": 1e-3},
    {"factor": 0.5, "patience": 3, "cooldown": 2},
    {"factor": 0.9, "patience": 1, "cooldown": 1, "min_delta": 0.0},
    {"factor": 0.5, "patience": 2, "mode": "max"},
    {"factor": 0.5, "patience": 0},
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_the_plateaus_rates_are_pytorchs(options, seed):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(seed).integers(0, 9, size=40) / 4.0
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    given = {"mode": "min"} | options | {"patience": max(options["patience"] - 1, 0)}
    given["threshold"] = given.pop("min_delta", 1e-4)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **given, threshold_mode="abs", eps=0.0)
    expected, rates = [], []
    for value in values:
        theirs.step()
        schedule.step(value)
        expected.append(theirs.param_groups[0]["lr"])
    plateau = ReduceLROnPlateau("val_scripted", **options)
    scripted(values.tolist(), plateau, lambda net, epoch, logs: rates.append(net.learning_rate))
    assert rates == expected
    assert len(set(rates)) > 2


@pytest.mark.parametrize("members", [None, 2])
def test_a_reduced_rate_is_what_the_next_epoch_trains_with(backend, members):
    values = [1.0, 1.0, 1.0, 2.0] if members is None else [[1.0, 1.0], [1.0, 0.5], [1.0, 0.25], [2.0, 1.0]]
    net = Network(mlp([2, 1]), backend, backend.dtype, members=members)
    plateau = ReduceLROnPlateau("val_scripted", factor=0.5, patience=2)
    scripted(values, plateau, net=net, batch_size=None)
    assert net.learning_rate == (0.05 if members is None else (0.05, 0.1))
    # After epoch 2 the first member's rate is halved; epoch 3 is the first that is trained with it.
    schedule = xpnn.schedules.Piecewise([3], [0.1, 0.05] if members is None else [(0.1, 0.1), (0.05, 0.1)])
    same = Network(mlp([2, 1]), backend, backend.dtype, members=members)
    same.fit(X, Y, optimizer=SGD(schedule), epochs=4, batch_size=None)
    assert by_member(net) == by_member(same)


def test_a_member_is_reduced_as_the_lone_network_would():
    rng = np.random.default_rng(0)
    values, options = rng.integers(0, 9, size=(30, 3)) / 4.0, {"factor": 0.5, "patience": 2, "cooldown": 1}
    rates = []
    watch = [ReduceLROnPlateau("val_scripted", **options), lambda net, *_: rates.append(net.learning_rate)]
    scripted(values.tolist(), *watch, net=Network(mlp([2, 1]), members=3), optimizer=SGD([0.1, 0.2, 0.3]))
    for k, rate in enumerate([0.1, 0.2, 0.3]):
        alone = []
        watch[1] = lambda net, epoch, logs, alone=alone: alone.append(net.learning_rate)
        scripted(values[:, k].tolist(), *watch, optimizer=SGD(rate))
        assert [row[k] for row in rates] == alone


def test_a_metric_of_the_whole_stack_reduces_every_rate():
    net = Network(mlp([2, 1]), members=2)
    scripted([1.0, 2.0, 2.0], ReduceLROnPlateau("val_scripted", 0.5, 2), net=net, optimizer=SGD([0.1, 0.2]))
    assert net.learning_rate == (0.05, 0.1)


def test_a_rate_below_the_least_is_not_raised_and_a_schedule_ends():
    net, _ = scripted([1.0, 2.0, 2.0], ReduceLROnPlateau("val_scripted", 0.5, 1, min_lr=0.2))
    assert net.learning_rate == 0.1
    decay = xpnn.ExponentialDecay(0.8, rate=0.5, steps=1)
    net, _ = scripted([1.0, 2.0, 1.0], ReduceLROnPlateau("val_scripted", 0.5, 1), optimizer=SGD(decay), epochs=2)
    assert net.learning_rate == 0.5 * 0.8 * 0.25  # half of what update 2 would have had
    net.fit(X, Y, epochs=2)
    assert net.learning_rate == 0.5 * 0.8 * 0.25


def test_a_plateau_begins_afresh_with_each_fit_and_is_undone_with_its_epoch():
    plateau, net = ReduceLROnPlateau("val_scripted", 0.5, 2), Network(mlp([2, 1]))
    scripted([1.0, 2.0], plateau, net=net)
    scripted([3.0, 2.5], plateau, net=net)
    assert net.learning_rate == 0.1
    with pytest.raises(RuntimeError):
        scripted([1.0, 2.0, 2.0], plateau, raises_at(6), net=net)
    assert net.learning_rate == 0.1


class Plain(xpnn.Optimizer):
    """An optimizer of one's own that knows no learning rate."""

    numbers = ()
    weight_decay, clip_value, clip_norm, average, multipliers = 0.0, None, None, None, {}

    def __init__(self):
        pass

    def init(self, params, *, xp):
        return ()

    def update(self, params, grads, state, hyper, *, xp):
        return params - 0.1 * grads, state


def test_an_optimizer_without_a_learning_rate(capsys):
    net = Network(mlp([2, 1]))
    net.fit(X, Y, optimizer=Plain(), epochs=2, verbose=2)
    assert net.learning_rate is None
    out = capsys.readouterr().out
    assert "learning_rate" not in out and "2/2" in out
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau.* needs an optimizer with a learning rate"):
        net.fit(X, Y, epochs=1, callbacks=[ReduceLROnPlateau("loss")])


SCHEDULERS = [
    (lambda epoch: 0.2 / (epoch + 1), [0.2, 0.1, 0.2 / 3]),
    (lambda epoch, rate: rate * 0.5, [0.05, 0.025, 0.0125]),
    (lambda epoch, base=0.3: base, [0.3, 0.3, 0.3]),  # a second argument with a default is the function's own
    (lambda *given: 0.1 * len(given), [0.1, 0.1, 0.1]),
    ([0.3, 0.2, 0.1].__getitem__, [0.3, 0.2, 0.1]),  # never asked for an epoch that is not trained
    (xpnn.ExponentialDecay(0.8, rate=0.5, steps=1), [0.8, 0.4, 0.2]),
    (np.float32, [0.0, 1.0, 2.0]),
]


@pytest.mark.parametrize(("function", "expected"), SCHEDULERS)
def test_the_scheduler_sets_the_rate_of_each_epoch_that_is_trained(function, expected):
    seen, net = [], Network(mlp([2, 1]))
    watch = LambdaCallback(lambda net, *_: seen.append(net.learning_rate))
    net.fit(X, Y, optimizer=SGD(0.1), epochs=3, callbacks=[LearningRateScheduler(function), watch])
    assert seen == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("members", [None, 2])
def test_a_scheduler_trains_as_a_schedule_does_in_parts_too(members):
    rates = [0.3, 0.2, 0.1, 0.05] if members is None else [(0.3, 0.1), (0.2, 0.1), (0.1, 0.0), (0.05, 0.2)]
    scheduler = LearningRateScheduler(lambda epoch: np.asarray(rates[epoch]))
    net, same = (Network(STOCHASTIC, members=members) for _ in range(2))
    net.fit(**OPTIONS | {"optimizer": SGD(0.9, momentum=0.9)}, epochs=3, callbacks=[scheduler])
    net.fit(**OPTIONS | {"optimizer": None}, epochs=1, callbacks=[scheduler])
    schedule = xpnn.schedules.Piecewise([3, 6, 9], rates)
    same.fit(**OPTIONS | {"optimizer": SGD(schedule, momentum=0.9)}, epochs=4)
    assert by_member(net) == by_member(same)


def test_a_scheduler_outlives_another_optimizer_and_goes_with_its_epoch():
    net, seen = trained("plain"), []
    watch = [LearningRateScheduler(lambda epoch: 0.5), lambda net, *_: seen.append(net.learning_rate)]
    net.fit(X, Y, optimizer=SGD(0.1), epochs=1, callbacks=watch)
    assert seen == [0.5]
    net.fit(X, Y, optimizer=SGD(0.2), epochs=1, callbacks=watch)
    assert seen == [0.5, 0.5]
    net.learning_rate = 0.25
    with pytest.raises(RuntimeError):
        net.fit(X, Y, epochs=1, callbacks=[*watch, raises_at(4)])
    assert net.learning_rate == 0.25


@pytest.mark.parametrize("rate", [None, -1.0, "fast", NAN, [0.1, 0.2], SGD])
def test_a_scheduler_must_give_a_rate(rate):
    net = trained("plain")
    before = state_of(net, recorded=False)
    with pytest.raises(
        (TypeError, ValueError), match=r"learning_rate|LearningRateScheduler must give a number.*epoch 2"
    ):
        net.fit(X, Y, optimizer="sgd", epochs=1, callbacks=[LearningRateScheduler(lambda epoch: rate)])
    assert state_of(net, recorded=False) == before


def test_the_learning_rate_is_that_of_the_next_update():
    net = Network(mlp([2, 1]))
    assert net.learning_rate is None
    net.fit(X, Y, optimizer=SGD(0.1), epochs=0)
    assert net.learning_rate is None
    net.step(X, Y, optimizer=SGD(0.1))
    assert net.learning_rate == 0.1
    net.step(X, Y, optimizer=SGD(xpnn.ExponentialDecay(0.8, rate=0.5, steps=1)))
    assert net.learning_rate == 0.4
    net.fit(X, Y, epochs=2, batch_size=6)
    assert net.learning_rate == 0.8 * 0.5**5
    stack = Network(mlp([2, 1]), members=2)
    stack.fit(X, Y, optimizer=SGD([0.1, 0.2]), epochs=1)
    assert stack.learning_rate == (0.1, 0.2)
    stack.reset()
    assert stack.learning_rate is None


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("moving", [False, True])
def test_a_rate_that_is_set_trains_until_it_is_taken_back(backend, members, moving):
    def network():
        return Network(mlp([2, 1]), backend, backend.dtype, members=members)

    own = (lambda step: 0.1) if moving else 0.1
    options, multipliers = {"x": X, "y": Y, "epochs": 1, "batch_size": None}, {"bias": 0.5}
    rate = 0.4 if members is None else [0.4, 0.2]
    net, same = network(), network()
    net.fit(**options, optimizer=SGD(own, multipliers=multipliers))
    net.learning_rate = rate
    net.fit(**options)
    net.step(X, Y)
    net.learning_rate = None
    assert net.learning_rate == 0.1
    net.step(X, Y)
    rates = [0.1, rate, 0.1] if members is None else [(0.1, 0.1), rate, (0.1, 0.1)]
    same.fit(**options | {"epochs": 4}, optimizer=SGD(xpnn.schedules.Piecewise([1, 3], rates), multipliers=multipliers))
    assert by_member(net) == by_member(same)


def test_a_rate_that_is_set_before_training_holds_and_another_optimizer_ends_it():
    net, same = Network(mlp([2, 1])), Network(mlp([2, 1]))
    net.learning_rate = 0.25
    assert net.learning_rate == 0.25
    for one, rate in ((net, 0.1), (same, 0.25)):
        one.fit(X, Y, optimizer=SGD(rate), epochs=1)
    assert by_member(net) == by_member(same)
    net.fit(X, Y, optimizer=SGD(0.1), epochs=1)  # an equal one goes on
    assert net.learning_rate == 0.25
    net.fit(X, Y, optimizer=SGD(0.3), epochs=1)
    assert net.learning_rate == 0.3
    net.learning_rate = 0.2
    net.step(X, Y, optimizer=Adam(0.3))
    assert net.learning_rate == 0.3


def test_a_rate_that_is_set_survives_copies_and_another_backend():
    net = trained("three members")
    net.learning_rate = np.asarray([0.1, 0.2, 0.3])
    for other in (net.copy(), net.to("array-api-strict"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert other.learning_rate == (0.1, 0.2, 0.3)
        other.learning_rate = 0.5
        other.step(X, Y)
    assert net.learning_rate == (0.1, 0.2, 0.3)
    net.params = net.params
    assert net.learning_rate == (0.1, 0.2, 0.3)
    net.reset()
    assert net.learning_rate is None


def test_a_schedule_may_be_set_too():
    net = Network(mlp([2, 1]))
    net.fit(X, Y, optimizer=SGD(0.1), epochs=1, batch_size=None)
    net.learning_rate = xpnn.ExponentialDecay(0.8, rate=0.5, steps=1)
    assert net.learning_rate == 0.4
    net.step(X, Y)
    assert net.learning_rate == 0.2


@pytest.mark.parametrize(
    ("kind", "rate", "error", "message"),
    [
        ("plain", -0.1, ValueError, "^learning_rate must be >= 0, got -0.1"),
        ("plain", NAN, ValueError, "^learning_rate must be"),
        ("plain", math.inf, ValueError, "^learning_rate must be"),
        ("plain", "fast", TypeError, "^learning_rate must be a number, got 'fast'"),
        ("plain", True, TypeError, "^learning_rate must be a number"),
        ("plain", [0.1, 0.2], ValueError, "^learning_rate has 2 values"),
        ("plain", lambda step: -1.0, ValueError, "^the schedule's learning_rate must be >= 0"),
        (
            "three members",
            [0.1, 0.2],
            ValueError,
            "^learning_rate must have one value for each of the 3 members, got 2",
        ),
        ("three members", [0.1, -0.2, 0.1], ValueError, r"^learning_rate\[1\] must be >= 0"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(kind, rate, error, message):
    net = trained(kind)
    before = state_of(net)
    with pytest.raises(error, match=message):
        net.learning_rate = rate
    assert state_of(net) == before
