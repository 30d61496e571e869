"""Callbacks: each does what it says for a lone network and for each member of a stack, and leaves nothing behind."""

import copy
import csv
import functools
import math
import pickle

import numpy as np
import pytest

import xpnn
from tests.trained import X, Y, state_of, trained
from xpnn import SGD, Adam, BatchNorm, Dense, Dropout, Network, callbacks, metrics, mlp
from xpnn.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    PrintEpoch,
    ProgressBar,
    ReduceLROnPlateau,
    TimeLimit,
)

STOCHASTIC = [Dense(2, 6), BatchNorm(6), xpnn.tanh, Dropout(0.3), Dense(6, 1)]
OPTIONS = {"x": X, "y": Y, "loss": "bce", "optimizer": Adam(0.1), "batch_size": 5}


class Scripted:
    """A metric with the values that it was given, one an epoch."""

    def __init__(self, values, name="scripted"):
        self.values, self.name, self.calls = values, name, 0

    def __call__(self, prediction, target, *, xp, weight=None):
        value = self.values[self.calls // 2]  # on the training data, then on the validation data
        self.calls += 1
        return xp.asarray(value, dtype=prediction.dtype, device=getattr(prediction, "device", None))


def scripted(values, *callbacks, net=None, metric=None, epochs=None, **options):
    """A network, and the history of a fit in which val_scripted takes these values."""
    net = net or Network(mlp([2, 3, 1]), dtype="float64")
    options = {"optimizer": SGD(0.1), "validation_data": (X, Y)} | options
    history = net.fit(
        X,
        Y,
        metrics=[metric or Scripted(values)],
        callbacks=list(callbacks),
        epochs=len(values) if epochs is None else epochs,
        **options,
    )
    return net, history


class Recording(Callback):
    """The state after each epoch, each member's of its own: what is put back is held against it."""

    def __init__(self):
        self.states = {}

    def on_epoch_end(self, net, epoch, logs):
        self.states[epoch] = by_member(net)


def by_member(net) -> list[list[bytes]]:
    """The bytes of every array that training changes, for each member."""
    arrays = [net.backend.to_host(array) for array in xpnn.program.leaves(net.progress.carry)]
    if net.members is None:
        return [[array.tobytes() for array in arrays]]
    return [[array[k].tobytes() for array in arrays] for k in range(net.members)]


NAN = math.nan
# Values of val_scripted, options, the epoch that stops (None: trained to the end) and the best one.
COURSES = {
    "stops after the patience": ([3, 2, 2, 2, 2, 2], {"patience": 2}, 3, 1),
    "equal is not better": ([1, 1, 1, 0], {"patience": 2}, 2, 0),
    "better in time": ([3, 4, 2, 4, 1, 4], {"patience": 2}, None, 4),
    "the best is the last": ([3, 2, 1], {"patience": 1}, None, 2),
    "patience 0 is as 1": ([3, 2, 3, 1], {"patience": 0}, 2, 1),
    "patience 1": ([3, 2, 3, 1], {"patience": 1}, 2, 1),
    "better by less than min_delta": ([3.0, 2.75, 2.5, 2.25], {"patience": 3, "min_delta": 1.0}, 3, 0),
    "better by min_delta and no more": ([3.0, 2.0, 2.0], {"patience": 2, "min_delta": 1.0}, 2, 0),
    "small steps add up": ([3.0, 2.5, 1.75, 1.5, 1.25], {"patience": 2, "min_delta": 1.0}, 4, 2),
    "greater is better": ([1, 2, 1, 1], {"patience": 2, "mode": "max"}, 3, 1),
    "greater by min_delta": ([1.0, 1.5, 1.5, 2.5, 2.0], {"mode": "max", "min_delta": 1.0}, None, 3),
    "NaN is never better": ([2, NAN, 1, NAN, NAN], {"patience": 2}, 4, 2),
    "NaN first": ([NAN, 2, 3], {"patience": 2}, None, 1),
    "NaN first, greater is better": ([NAN, 2, 3], {"patience": 2, "mode": "max"}, None, 2),
    "NaN and nothing else": ([NAN, NAN, NAN], {"patience": 2}, 1, None),
    "infinity first": ([math.inf, 2, 3], {"patience": 2}, None, 1),
}


@pytest.mark.parametrize("case", COURSES)
def test_early_stopping_stops_when_it_should_and_puts_back_the_best_epoch(case):
    values, options, stopped, best = COURSES[case]
    record, stop = Recording(), EarlyStopping("val_scripted", **options)
    net, history = scripted([float(value) for value in values], stop, record, optimizer=Adam(0.1))
    assert history.epoch == list(range(len(values) if stopped is None else stopped + 1))
    assert (stop.stopped_epoch, stop.best_epoch, history.best_epoch) == (stopped, best, best)
    assert history.stop_reason == ("finished" if stopped is None else "early")
    assert stop.wait == history.epoch[-1] - (-1 if best is None else best)
    if best is None:
        assert math.isnan(stop.best)
        assert by_member(net) == record.states[history.epoch[-1]]
    else:
        assert stop.best == values[best]
        assert by_member(net) == record.states[best]
    assert (net.epoch, net.updates) == (len(history.epoch), len(history.epoch))


def test_the_last_epoch_is_kept_where_the_best_is_not_asked_for():
    record, stop = Recording(), EarlyStopping("val_scripted", patience=2, restore_best_weights=False)
    net, history = scripted([3.0, 2.0, 2.0, 2.0, 2.0], stop, record)
    assert by_member(net) == record.states[3] != record.states[1]
    assert (history.best_epoch, stop.best, history.stop_reason) == (1, 2.0, "early")


@pytest.mark.parametrize("members", [None, 3])
def test_what_is_put_back_is_the_best_epoch_bit_for_bit(backend, members):
    if backend.name == "jax":  # compiling each operation of the others takes it 20 seconds
        layers, options = mlp([2, 1]), OPTIONS | {"batch_size": 6}
    else:
        layers, options = STOCHASTIC, OPTIONS
    net, record, stop = Network(layers, backend, backend.dtype, members=members), Recording(), EarlyStopping(patience=2)
    history = net.fit(**options, epochs=12, validation_split=0.4, callbacks=[record, stop])
    courses = np.asarray(history["val_loss"]).reshape(len(history.epoch), -1)
    best = np.atleast_1d(stop.best_epoch)
    stopped = -1 if stop.stopped_epoch is None else stop.stopped_epoch
    ends = [len(courses) - 1 if end < 0 else end for end in np.atleast_1d(stopped)]
    assert best.tolist() == [courses[: end + 1, k].argmin() for k, end in enumerate(ends)]
    assert np.atleast_1d(stop.best).tolist() == [courses[epoch, k] for k, epoch in enumerate(best)]
    assert by_member(net) == [record.states[epoch][k] for k, epoch in enumerate(best)]
    assert all(backend.owns(one) and one.dtype == backend.float for one in xpnn.program.leaves(net.progress.carry))
    if members:
        assert len(set(best.tolist())) > 1 or backend.name == "jax"
        assert all(isinstance(one, np.ndarray) and one.shape == (3,) for one in (stop.best, stop.wait, best))
        assert stop.best_epoch.dtype.kind == stop.wait.dtype.kind == stop.stopped_epoch.dtype.kind == "i"
    np.testing.assert_array_equal(history.best_epoch, stop.best_epoch)


def test_the_network_then_measures_what_was_the_best():
    net, stop = Network(STOCHASTIC), EarlyStopping(patience=3)
    history = net.fit(**OPTIONS, epochs=40, validation_data=(X[::2], Y[::2]), callbacks=[stop])
    assert net.evaluate(X[::2], Y[::2])["loss"] == stop.best == min(history["val_loss"])


def test_each_member_stops_as_the_lone_network_of_its_seed_would():
    values = np.asarray([[3, 2, 2, 2, 1, 2, 2, 2], [1, 2, 2, 0, 0, 0, 0, 0], [5, 4, 3, 2, 1, 0, NAN, NAN]]).T
    stop, record = EarlyStopping("val_scripted", patience=2), Recording()
    net = Network(STOCHASTIC, members=3, seed=4, dtype="float64")
    _, history = scripted(values.tolist(), stop, record, net=net, optimizer=Adam(0.1))
    for k in range(3):
        alone, one = Network(STOCHASTIC, seed=4 + k, dtype="float64"), EarlyStopping("val_scripted", patience=2)
        alone, _ = scripted(values[:, k].tolist(), one, net=alone, optimizer=Adam(0.1))
        assert (stop.best[k], stop.best_epoch[k], stop.wait[k]) == (one.best, one.best_epoch, one.wait)
        assert stop.stopped_epoch[k] == one.stopped_epoch
        np.testing.assert_allclose(net.predict(X)[k], alone.predict(X), rtol=1e-12)
    assert stop.stopped_epoch.tolist() == [3, 2, 7]
    assert stop.best_epoch.tolist() == history.best_epoch.tolist() == [1, 0, 5]
    assert (history.stop_reason, history.epoch[-1]) == ("early", 7)
    assert by_member(net) == [record.states[epoch][k] for k, epoch in enumerate([1, 0, 5])]


def test_a_member_that_never_was_better_keeps_its_last_epoch():
    stop, record = EarlyStopping("val_scripted", patience=9), Recording()
    values = [[NAN, NAN, 3.0], [NAN, 1.0, 2.0], [NAN, 2.0, 3.0]]
    net, history = scripted(values, stop, record, net=Network(mlp([2, 3, 1]), members=3))
    assert history.best_epoch.tolist() == [-1, 1, 1]
    assert stop.stopped_epoch.tolist() == [-1, -1, -1]
    assert math.isnan(stop.best[0])
    assert by_member(net) == [record.states[epoch][k] for k, epoch in enumerate([2, 1, 1])]


def test_a_metric_of_the_whole_stack_stops_it_as_one():
    stop, record = EarlyStopping("val_scripted", patience=2), Recording()
    net, history = scripted([2.0, 1.0, 2.0, 2.0, 0.0], stop, record, net=Network(mlp([2, 3, 1]), members=2))
    assert (history.best_epoch, stop.stopped_epoch) == (1, 3)
    assert by_member(net) == record.states[1]


def test_training_goes_on_from_the_best_epoch_with_new_batches():
    net, stop = Network(STOCHASTIC, dtype="float64"), EarlyStopping("val_scripted", patience=2)
    orders, at_first = [], []
    begin = LambdaCallback(on_fit_begin=lambda net, epochs: at_first.append((stop.best, stop.best_epoch, stop.wait)))
    watch = [stop, begin, lambda net, epoch, logs: orders.append(epoch)]
    scripted([2.0, 1.0, 2.0, 2.0], *watch, net=net, batch_size=5)
    by_hand = net.copy()
    first = net.progress
    assert (first.epoch, first.step) == (4, 12)
    _, history = scripted(
        [5.0, 5.0, 4.0, 5.0, 5.0], *watch, net=net, batch_size=5, epochs=9
    )  # the object starts afresh
    assert history.epoch == orders[4:] == [4, 5, 6, 7, 8]
    assert (stop.best, stop.best_epoch, stop.stopped_epoch, stop.wait) == (4.0, 6, 8, 2)
    assert at_first == [(None, None, None)] * 2
    scripted([0.0] * 3, net=by_hand, batch_size=5)
    assert by_member(net) == by_member(by_hand)  # three epochs from there on, to the best one


def test_a_network_copied_after_the_fit_goes_on_as_this_one():
    net = Network(STOCHASTIC)
    net.fit(**OPTIONS, epochs=8, validation_split=0.3, callbacks=[EarlyStopping(patience=2)])
    others = [net.copy(), pickle.loads(pickle.dumps(net))]
    assert others[1].history.stop_reason == net.history.stop_reason
    assert others[1].history.best_epoch == net.history.best_epoch
    for one in (net, *others):
        one.fit(**OPTIONS, epochs=2)
    assert by_member(net) == by_member(others[0]) == by_member(others[1])


def raises_at(epoch, error=RuntimeError):
    def callback(net, number, logs):
        if number == epoch:
            raise error("stop")

    return callback


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize(("broken", "best"), [(4, 3), (3, 1), (2, 1), (1, 0)])
def test_the_best_epoch_that_was_finished_is_put_back_where_training_is_broken_off(broken, best, members, error):
    """Also where the epoch that is undone was itself the best, or the first that was not."""
    values = np.asarray([5.0, 4.0, 4.0, 3.0, 2.0])
    values = values.tolist() if members is None else np.stack([values, values], axis=-1).tolist()
    stop, record, net = EarlyStopping("val_scripted"), Recording(), Network(STOCHASTIC, members=members)
    with pytest.raises(error, match="stop"):
        scripted(values, stop, record, raises_at(broken, error), net=net)
    assert net.history.epoch == list(range(broken))
    assert net.history.stop_reason is None
    assert np.unique(stop.best_epoch).tolist() == np.unique(net.history.best_epoch).tolist() == [best]
    assert np.unique(stop.wait).tolist() == [broken - 1 - best]
    assert by_member(net) == record.states[best]
    assert net.epoch == broken


def test_a_first_epoch_that_is_undone_leaves_nothing_behind():
    net, stop = trained("plain"), EarlyStopping("loss")
    before = state_of(net, recorded=False)
    with pytest.raises(RuntimeError):
        net.fit(X, Y, optimizer="sgd", callbacks=[stop, raises_at(2)])
    assert state_of(net, recorded=False) == before
    assert (stop.best, stop.best_epoch, stop.wait, stop.stopped_epoch) == (None,) * 4
    assert (net.history.epoch, net.history.best_epoch, net.history.stop_reason) == ([], None, None)


def test_a_loss_gone_non_finite_leaves_the_best_epoch():
    net, stop, record = Network(mlp([2, 3, 1])), EarlyStopping("loss"), Recording()
    with pytest.raises(xpnn.NonFiniteLoss):
        net.fit(X, Y, optimizer=SGD(3.0), epochs=60, batch_size=None, callbacks=[stop, record])
    assert len(net.history.epoch) > 1
    assert stop.best == min(net.history["loss"])
    assert by_member(net) == record.states[stop.best_epoch]


def test_the_best_average_of_parameters_is_put_back_with_them():
    net, stop, record = Network(mlp([2, 3, 1])), EarlyStopping("val_scripted"), Recording()
    seen = {}
    watch = [stop, record, lambda net, epoch, logs: seen.update({epoch: net.predict(X)})]
    scripted([3.0, 1.0, 2.0], *watch, net=net, optimizer=Adam(0.1, average=0.9))
    assert by_member(net) == record.states[1]
    assert (net.predict(X) == seen[1]).all()


@pytest.mark.parametrize("metric", sorted(metrics._NAMES))
def test_auto_knows_the_librarys_own_metrics(metric):
    """Those that scikit-learn has a scorer for: its negated ones are errors."""
    scorers = pytest.importorskip("sklearn.metrics").get_scorer_names()
    name = metrics.get(metric).name
    assert name in scorers or f"neg_{name}" in scorers or name == "pinball"
    assert metrics.better_end(metrics.get(metric)) == ("max" if name in scorers else "min")


def test_auto_takes_the_better_end_of_what_is_recorded():
    chosen = ["accuracy", "log_loss", metrics.FBeta(2.0), metrics.TopK(1), absolute, accuracy]
    ends = ["max", "min", "max", "max", "min", "max"]
    net = Network(mlp([2, 3, 1], output="sigmoid"))
    history = net.fit(X, Y, "bce", epochs=1, metrics=chosen[:-1], validation_data=(X, Y))
    names = ["loss", "accuracy", "log_loss", "f2", "top_1_accuracy", "absolute"]
    assert list(history.better) == list(history.history) == names + [f"val_{name}" for name in names]
    assert list(history.better.values()) == ["min", *ends[:-1]] * 2
    assert [metrics.better_end(metrics.get(one)) for one in chosen] == ends
    absolute.greater_is_better = True
    try:
        assert metrics.better_end(absolute) == "max"
    finally:
        del absolute.greater_is_better


def absolute(prediction, target, *, xp, weight=None):
    return xp.mean(xp.abs(prediction - target), axis=(-2, -1))


def accuracy(prediction, target, *, xp, weight=None):
    """A plain function of a score's name counts as that score."""
    return xp.mean(xp.astype((prediction > 0.5) == (target > 0.5), prediction.dtype), axis=(-2, -1))


@pytest.mark.parametrize("watch", [EarlyStopping, functools.partial(ReduceLROnPlateau, factor=0.5)])
@pytest.mark.parametrize(
    ("mode", "name", "best"), [("auto", "accuracy", 2), ("min", "accuracy", 0), ("auto", "scripted", 0)]
)
def test_the_mode_says_which_end_is_better(watch, mode, name, best):
    callback = watch(f"val_{name}", patience=3, mode=mode)
    net, history = scripted([1.0, 2.0, 3.0, 2.0, 2.0], callback, metric=Scripted([1.0, 2.0, 3.0, 2.0, 2.0], name))
    if watch is EarlyStopping:
        assert callback.best_epoch == best
    else:
        assert net.learning_rate == (0.1 if best else 0.05)
    assert len(history.epoch) == (4 if best == 0 and watch is EarlyStopping else 5)


UNRECORDED = {
    "a name that is not there": (
        "val_los",
        {"validation_data": (X, Y)},
        "monitor must be one of loss, .*got 'val_los'$",
    ),
    "no validation data": ("val_loss", {}, "got 'val_loss': give validation_data or validation_split"),
    "no such metric": (
        "val_f1",
        {"validation_split": 0.25},
        "one of loss, accuracy, val_loss, val_accuracy, got 'val_f1'$",
    ),
    "an alias": ("mse", {}, "monitor must be one of loss, accuracy, got 'mse'$"),
}


@pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau])
@pytest.mark.parametrize("case", UNRECORDED)
def test_a_monitor_that_is_not_recorded_is_refused_before_training(case, callback, tmp_path):
    monitor, options, message = UNRECORDED[case]
    net, log = trained("sigmoid"), CSVLogger(tmp_path / "log.csv")
    before, ended = state_of(net), []
    watch = [log, LambdaCallback(on_fit_end=lambda *_: ended.append(True)), callback(monitor)]
    with pytest.raises(ValueError, match=message):
        net.fit(X, Y, optimizer="sgd", metrics=["accuracy"], callbacks=watch, **options)
    assert state_of(net) == before
    assert ended == [True]  # what has begun is also ended: the file is closed


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
    net.fit(X, Y, optimizer=Plain(), epochs=2, verbose=1)
    assert net.learning_rate is None
    assert "learning_rate" not in capsys.readouterr().err
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


def rows(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_the_log_has_a_line_for_each_epoch_as_soon_as_it_ends(tmp_path):
    path, lines = tmp_path / "log.csv", []
    watch = [CSVLogger(path), lambda net, epoch, logs: lines.append(len(path.read_text().splitlines()))]
    net = Network(mlp([2, 3, 1], output="sigmoid"))
    history = net.fit(X, Y, "bce", epochs=3, metrics=["accuracy"], validation_data=(X, Y), callbacks=watch)
    assert lines == [2, 3, 4]
    header, *table = rows(path)
    assert header == ["epoch", *history.history]
    assert [int(row[0]) for row in table] == history.epoch
    for column, name in enumerate(history.history, start=1):
        assert [float(row[column]) for row in table] == history[name]  # all digits


def test_the_log_of_a_stack_has_a_column_for_each_member(tmp_path):
    path = tmp_path / "log.csv"
    net = Network(mlp([2, 3, 1]), members=2)
    _, history = scripted([1.0, 2.0], CSVLogger(str(path), separator=";"), net=net)  # one number for the whole stack
    header, *table = rows(path, ";")
    names = ["loss", "scripted", "val_loss", "val_scripted"]
    assert header == ["epoch", *(f"{name}_{k}" for name in names for k in range(2))]
    for epoch, row in enumerate(table):
        expected = [np.broadcast_to(history[name][epoch], 2) for name in names]
        assert [float(one) for one in row] == [epoch, *np.concatenate(expected)]


def test_a_log_goes_on_or_begins_anew(tmp_path):
    path, net = tmp_path / "log.csv", Network(mlp([2, 1]))
    anew, further = CSVLogger(path), CSVLogger(path, append=True)
    for callback, epochs in ((further, [0, 1]), (further, [0, 1, 2, 3]), (anew, [4, 5]), (further, [4, 5, 6, 7])):
        net.fit(X, Y, epochs=2, callbacks=[callback])
        header, *table = rows(path)
        assert header == ["epoch", "loss"]
        assert [int(row[0]) for row in table] == epochs
    with pytest.raises(ValueError, match=r"log.csv has the columns \['epoch', 'loss'\], .*'val_loss'\]"):
        net.fit(X, Y, epochs=1, validation_data=(X, Y), callbacks=[further])
    assert [int(row[0]) for row in rows(path)[1:]] == [4, 5, 6, 7]


def test_a_file_that_cannot_be_opened_is_refused_before_training(tmp_path):
    net = trained("plain")
    before = state_of(net)
    for path in (tmp_path / "no" / "log.csv", tmp_path):
        with pytest.raises(OSError, match=str(tmp_path)):
            net.fit(X, Y, optimizer="sgd", callbacks=[CSVLogger(path)])
    assert state_of(net) == before


@pytest.mark.parametrize("append", [False, True])
def test_an_epoch_that_is_undone_leaves_no_line(tmp_path, append):
    path, net = tmp_path / "log.csv", Network(mlp([2, 1]))
    log = CSVLogger(path, append=append)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=9, callbacks=[log, raises_at(2, KeyboardInterrupt)])
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1"]
    net.fit(X, Y, epochs=1, callbacks=[CSVLogger(path, append=True)])
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "2"]


def test_the_bar_shows_numbers_and_the_rate(capsys):
    net = Network(mlp([2, 1]), members=2)
    net.fit(X, Y, optimizer=SGD([0.5, 0.25]), epochs=2, metrics=["mae"], callbacks=[ProgressBar()])
    err = capsys.readouterr().err
    assert "2/2" in err
    assert "mean_absolute_error=" in err
    assert "learning_rate=0.25..0.5" in err
    net.fit(X, Y, optimizer=SGD(0.125), epochs=1, verbose=1)
    assert "learning_rate=0.125" in capsys.readouterr().err


def test_a_time_limit_stops_after_the_epoch_in_which_it_is_over(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    net, limit = Network(mlp([2, 1])), TimeLimit(5)

    def tick(net, epoch, logs):
        clock[0] += 2.0

    assert net.fit(X, Y, epochs=9, callbacks=[tick, limit]).epoch == [0, 1, 2]
    assert net.history.stop_reason == "time"
    assert len(net.fit(X, Y, epochs=2, callbacks=[tick, limit]).epoch) == 2  # counted from the beginning of each fit
    assert net.history.stop_reason == "finished"


def test_the_history_says_why_training_stopped():
    net = Network(mlp([2, 1]))
    assert (net.history.stop_reason, net.history.best_epoch) == (None, None)

    class Enough(Callback):
        reason = "enough"

        def on_epoch_end(self, net, epoch, logs):
            return np.True_

    always = [lambda *_: True]
    for watch, reason in (([], "finished"), (always, "callback"), ([Enough(), *always], "enough")):
        assert net.fit(X, Y, epochs=2, callbacks=watch).stop_reason == reason
    assert net.fit(X, Y, epochs=0, callbacks=always).stop_reason == "finished"
    assert copy.deepcopy(net.history).stop_reason == "finished"


def test_methods_are_called_in_turn_and_functions_may_stand_in_for_them():
    called = []

    def note(name):
        return lambda net, *given: called.append((name, given[0] if name in ("begin", "before", "after") else None))

    functions = LambdaCallback(
        note("after"), on_fit_begin=note("begin"), on_epoch_begin=note("before"), on_fit_end=note("end")
    )
    net = Network(mlp([2, 1]))
    net.fit(X, Y, epochs=1)
    net.fit(X, Y, epochs=2, callbacks=[functions, LambdaCallback()])
    steps = [("before", 1), ("after", 1), ("before", 2), ("after", 2)]
    assert called == [("begin", 2), *steps, ("end", None)]


def test_every_callback_is_ended_in_turn_also_where_one_fails():
    ended, net = [], Network(mlp([2, 1]))

    def end(number):
        def function(net, history):
            ended.append(number)
            if number == 1:
                raise RuntimeError("at the end")

        return LambdaCallback(on_fit_end=function)

    with pytest.raises(RuntimeError, match="at the end"):
        net.fit(X, Y, epochs=1, callbacks=[end(0), end(1), end(2)])
    assert ended == [0, 1, 2]
    assert (net.epoch, net.history.epoch, net.history.stop_reason) == (1, [0], "finished")


def test_what_a_callback_sets_as_an_epoch_begins_is_undone_with_it():
    def set_rate(net, epoch):
        net.learning_rate = 0.5
        if epoch == 3:
            raise RuntimeError("stop")

    net = trained("plain")
    net.fit(X, Y, epochs=1)
    before = state_of(net, recorded=False)
    with pytest.raises(RuntimeError, match="stop"):
        net.fit(X, Y, optimizer="sgd", epochs=1, callbacks=[LambdaCallback(on_epoch_begin=set_rate)])
    assert state_of(net, recorded=False) == before


def test_a_network_may_be_reset_by_a_callback():
    net = Network(mlp([2, 1]))
    reset = LambdaCallback(on_epoch_begin=lambda net, epoch: net.reset() if epoch == 2 else None)
    history = net.fit(X, Y, optimizer=Adam(0.1), epochs=4, callbacks=[reset])
    assert history.epoch == [0, 1, 0, 1]
    assert history["loss"][:2] == history["loss"][2:]


EVERY = {
    "early stopping": lambda path: EarlyStopping(patience=1),
    "plateau": lambda path: ReduceLROnPlateau(patience=1),
    "scheduler": lambda path: LearningRateScheduler(abs),
    "log": lambda path: CSVLogger(path, append=True),
    "limit": lambda path: TimeLimit(1e9),
    "bar": lambda path: ProgressBar(),
    "print": lambda path: PrintEpoch(),
    "functions": lambda path: LambdaCallback(print),
}


@pytest.mark.parametrize("case", EVERY)
def test_callbacks_can_be_copied_and_pickled_before_and_after_a_fit(case, tmp_path):
    callback = EVERY[case](tmp_path / "log.csv")
    options = OPTIONS | {"epochs": 3, "validation_data": (X, Y)}
    for one in (callback, copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        Network(STOCHASTIC).fit(**options, callbacks=[one])
        for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            Network(STOCHASTIC).fit(**options, callbacks=[other])
            if case == "early stopping":
                assert (other.best, other.best_epoch, other.wait) == (one.best, one.best_epoch, one.wait)
    assert len(pickle.dumps(callback)) < 400  # nothing of the network stays in it


def test_they_say_what_they_are():
    assert eval(repr(EarlyStopping("loss", 3)), {"EarlyStopping": EarlyStopping}).patience == 3
    assert "factor=0.5" in repr(ReduceLROnPlateau(factor=0.5))


WRONG = {
    "monitor no string": (lambda: EarlyStopping(3), TypeError, "^monitor must be a name.*got 3"),
    "monitor None": (lambda: ReduceLROnPlateau(None), TypeError, "^monitor must be a name"),
    "a negative patience": (lambda: EarlyStopping(patience=-1), ValueError, "^patience must be >= 0, got -1"),
    "half a patience": (lambda: EarlyStopping(patience=1.5), TypeError, "^patience must be a whole number, got 1.5"),
    "a negative patience of rates": (lambda: ReduceLROnPlateau(patience=-1), ValueError, "^patience must be >= 0"),
    "a negative min_delta": (lambda: EarlyStopping(min_delta=-0.1), ValueError, "^min_delta must be >= 0, got -0.1"),
    "min_delta of NaN": (lambda: ReduceLROnPlateau(min_delta=NAN), ValueError, "^min_delta must be"),
    "an unknown mode": (lambda: EarlyStopping(mode="up"), ValueError, "^unknown mode 'up'.*auto, max, min"),
    "mode no string": (lambda: ReduceLROnPlateau(mode=None), TypeError, "^mode must be a name"),
    "restoring in words": (
        lambda: EarlyStopping(restore_best_weights="yes"),
        TypeError,
        "^restore_best_weights must be True or False, got 'yes'",
    ),
    "a factor above 1": (lambda: ReduceLROnPlateau(factor=1.5), ValueError, "^factor must be > 0 and < 1, got 1.5"),
    "a factor of 1": (lambda: ReduceLROnPlateau(factor=1), ValueError, "^factor must be"),
    "a factor of 0": (lambda: ReduceLROnPlateau(factor=0.0), ValueError, "^factor must be"),
    "a negative cooldown": (lambda: ReduceLROnPlateau(cooldown=-1), ValueError, "^cooldown must be >= 0, got -1"),
    "a negative least rate": (lambda: ReduceLROnPlateau(min_lr=-1e-3), ValueError, "^min_lr must be >= 0"),
    "no time": (lambda: TimeLimit(0), ValueError, "^seconds must be > 0, got 0"),
    "time without end": (lambda: TimeLimit(math.inf), ValueError, "^seconds must be > 0"),
    "time in words": (lambda: TimeLimit("1 h"), TypeError, "^seconds must be a number, got '1 h'"),
    "a rate for a function": (lambda: LearningRateScheduler(0.1), TypeError, "^function must be a function.*got 0.1"),
    "a function of nothing": (
        lambda: LearningRateScheduler(lambda: 0.1),
        TypeError,
        r"^function must take \(epoch\) or",
    ),
    "a function of three": (
        lambda: LearningRateScheduler(lambda epoch, rate, more: 0.1),
        TypeError,
        r"^function must take \(epoch\) or \(epoch, rate\)",
    ),
    "a path of numbers": (lambda: CSVLogger(3), TypeError, "^path must be that of a file, got 3"),
    "append in words": (lambda: CSVLogger("log.csv", "no"), TypeError, "^append must be True or False, got 'no'"),
    "no separator": (
        lambda: CSVLogger("log.csv", separator=""),
        ValueError,
        "^separator must be one character, got ''",
    ),
    "two separators": (lambda: CSVLogger("log.csv", separator=", "), ValueError, "^separator must be one character"),
    "no function": (lambda: LambdaCallback(3), TypeError, "^on_epoch_end must be a function, got 3"),
    "no function at the end": (lambda: LambdaCallback(on_fit_end="x"), TypeError, "^on_fit_end must be a function"),
    "a class": (lambda: callbacks.get(EarlyStopping), TypeError, "^callbacks must be Callback objects or functions"),
    "a name": (lambda: callbacks.get("early_stopping"), TypeError, "^callbacks must be Callback objects or functions"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_refused_by_name(case):
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call()
