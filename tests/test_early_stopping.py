"""Early stopping: it stops when it should, and puts back the best epoch bit for bit, each member's own."""

import math
import pickle

import numpy as np
import pytest

import xpnn
from tests.scripted import NAN, OPTIONS, STOCHASTIC, Recording, by_member, raises_at, scripted
from tests.trained import X, Y, state_of, trained
from xpnn import SGD, Adam, Network, mlp
from xpnn.callbacks import EarlyStopping, LambdaCallback

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
    assert all(backend.owns(one) and one.dtype == backend.float for one in xpnn.progress.leaves(net.progress.carry))
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
    assert (history.stop_reason, history.epoch[-1]) == (["early"] * 3, 7)
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
    assert net.history.stop_reason == (None if members is None else [None, None])
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
