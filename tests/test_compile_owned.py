"""Programs keep to themselves: no thread, copy or later call sees what is another's, and none outlives its network."""

import copy
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.networks import EVERY, LABELS, OTHER, X, Y, host, same, state_of
from xpnn import SGD, Adam, Network, mlp
from xpnn.callbacks import Callback
from xpnn.compile import outputs, steps
from xpnn.compile.steps import Bound
from xpnn.training import NonFiniteLoss

RNG = np.random.default_rng(0)
LAYERS = mlp([3, 16, 16, 2], "tanh", norm="batch")
FIT = {"x": X, "y": Y, "optimizer": Adam(0.05), "batch_size": 5}


def in_threads(work, count):
    """What `work(k)` gives in as many threads at once, all of which begin together."""
    ready = threading.Barrier(count)

    def one(k):
        ready.wait()
        return work(k)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_two_networks_trained_in_two_threads():
    def train(k, net=None):
        net = Network(LAYERS, seed=k)
        net.fit(**FIT, epochs=40)
        return state_of(net)

    alone = [train(k) for k in range(2)]
    assert all(same(one, two) for one, two in zip(in_threads(train, 2), alone, strict=True))


def test_one_network_stepped_in_two_threads_hands_out_numbers_of_one_step_or_another():
    """Whose update stands is nobody's promise; that no numbers of two steps are mixed is."""
    net = Network(LAYERS, dtype="float64")
    net.step(X, Y, optimizer=SGD(0.0))
    expected = [[float(net.step(x, Y)) for _ in range(2)][1] for x in (X, OTHER)]
    found = in_threads(lambda k: [float(net.step((X, OTHER)[k % 2], Y)) for _ in range(200)], 4)
    assert all(set(losses) == {expected[k % 2]} for k, losses in enumerate(found))


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("rows", [1, 64])
def test_one_network_predicting_in_eight_threads(rows, members):
    net = Network(LAYERS, members=members)
    inputs = RNG.normal(size=(8, rows, 3)).astype(np.float32)
    alone = [net.predict(x, compile=False) for x in inputs]
    found = in_threads(lambda k: [net.predict(inputs[(k + i) % 8]) for i in range(200)], 8)
    for k, predictions in enumerate(found):
        assert all(np.array_equal(y, alone[(k + i) % 8]) for i, y in enumerate(predictions))


def test_predictions_while_another_thread_trains():
    """Each is that of one of the networks after an epoch, never of one in the middle of it."""
    net, shown = Network(LAYERS), []
    shown.append(net.predict(X, compile=False).tobytes())

    def work(k):
        if k == 0:
            watch = lambda net, epoch, logs: shown.append(net.copy().predict(X, compile=False).tobytes())  # noqa: E731
            net.fit(**FIT, epochs=60, callbacks=[watch])
            return []
        return [net.predict(X).tobytes() for _ in range(300)]

    found = in_threads(work, 3)
    assert {one for predictions in found for one in predictions} <= set(shown)


WAYS = {
    "copy": Network.copy,
    "copy.deepcopy": copy.deepcopy,
    "copy.copy": copy.copy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "to": lambda net: net.to("numpy"),
    "to and back": lambda net: net.to("numpy", "float64").to("numpy", "float32"),
}


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("way", WAYS)
def test_a_network_copied_in_the_middle_of_training_keeps_its_own_buffers(way, members):
    unbroken, net, taken = Network(EVERY, members=members), Network(EVERY, members=members), []

    def take(net, epoch, logs):
        if epoch == 1:
            taken.append(WAYS[way](net))

    unbroken.fit(**FIT, epochs=4)
    net.fit(**FIT, epochs=3, callbacks=[take])
    net.fit(**FIT, epochs=1)
    (other,) = taken
    assert (other.epoch, other.updates) == (2, 6)
    before, seen = state_of(net), net.predict(OTHER)
    for _ in range(3):
        other.predict(OTHER)
    other.fit(**FIT, epochs=2)
    assert same(state_of(other), state_of(unbroken))
    assert same([state_of(net), net.predict(OTHER)], [before, seen])
    assert same(before, state_of(unbroken))
    other.step(X, Y)
    net.step(OTHER, Y)
    unbroken.step(X, Y)
    assert same(state_of(other), state_of(unbroken))
    assert other._prepared[0] is not net._prepared[0]
    assert other._outputs is not net._outputs


class Keeping(Callback):
    """What a callback may hold of each epoch, beside copies made at once."""

    def __init__(self):
        self.held, self.copies = [], []

    def keep(self, *trees):
        self.held.append(trees)
        self.copies.append([host(tree) for tree in trees])

    def on_epoch_begin(self, net, epoch):
        now = net.progress.carry
        self.keep([now.params, now.state, *(now.memory or ())])

    def on_epoch_end(self, net, epoch, logs):
        now = net.progress.carry
        self.keep([now.params, now.state, *now.memory], [np.asarray(one) for one in logs.values()])
        self.keep(net.params, net.weights, net.predict(X), net.predict(X[:2]), net.outputs(X))
        self.keep(net.value_and_grad(X, Y)[1], net.vjp(X)[0], [np.asarray(net.history["loss"])])


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("batch_size", [5, None])
def test_nothing_that_was_handed_out_is_overwritten(members, batch_size):
    net, keeping = Network(EVERY, members=members), Keeping()
    options = FIT | {"batch_size": batch_size}
    net.fit(**options, epochs=3, callbacks=[keeping], validation_data=(X, Y))
    for _ in range(3):
        value = net.step(X, Y)
        now = net.progress.carry
        keeping.keep([np.asarray(value), now.params, now.state, *now.memory], net.predict(X), net.predict(X))
    for _ in range(2):
        net.fit(**options, epochs=2, sample_weight=np.ones(12))
        net.step(OTHER, Y)
        net.predict(OTHER)
        net.predict(OTHER[:2])
    for held, copies in zip(keeping.held, keeping.copies, strict=True):
        assert all(same(one, two) for one, two in zip(held, copies, strict=True))


def test_what_the_user_gave_is_left_as_it_was():
    x, y, weight = X.astype(np.float32), Y.astype(np.float32), np.ones(12, np.float32)
    given = [x, y, weight]
    before = host(given)
    net = Network(EVERY)
    for batch_size in (None, 5):
        net.fit(x, y, epochs=2, batch_size=batch_size, sample_weight=weight)
        net.step(x, y, sample_weight=weight)
        for _ in range(3):
            net.predict(x)
    assert same(given, before)


def test_a_loss_gone_non_finite_puts_back_the_last_epoch():
    for batch_size in (None, 5):
        net, states = Network(EVERY), []
        options = FIT | {"optimizer": SGD(lambda step: 0.01 if step < 7 else 1e30), "batch_size": batch_size}
        remember = [lambda net, epoch, logs, states=states: states.append(state_of(net))]
        with pytest.raises(NonFiniteLoss):
            net.fit(**options, epochs=30, callbacks=remember)
        assert len(states) == net.epoch > 0
        assert same(state_of(net), states[-1])


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("options", [{}, {"callbacks": [lambda net, epoch, logs: None]}], ids=["alone", "watched"])
@pytest.mark.parametrize("batch_size", [5, None])
def test_ctrl_c_in_the_middle_of_a_compiled_epoch_puts_back_the_last_one(batch_size, options, members, monkeypatch):
    """At the third step of the third epoch; and training goes on from there bit for bit."""
    steps = 3 if batch_size else 1
    unbroken, net = Network(EVERY, members=members), Network(EVERY, members=members)
    unbroken.fit(**FIT | {"batch_size": batch_size}, epochs=2)
    before, calls, step = state_of(unbroken), [], Bound.__call__

    def interrupted(self, *args):
        calls.append(1)
        done = step(self, *args)
        if len(calls) == 3 * steps:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Bound, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.fit(**FIT | {"batch_size": batch_size}, **options, epochs=9)
    monkeypatch.undo()
    assert (net.epoch, net.updates, len(net.history["loss"])) == (2, 2 * steps, 2)
    assert same(state_of(net), before)
    np.testing.assert_array_equal(net.history["loss"], unbroken.history["loss"])
    for one in (net, unbroken):
        one.fit(**FIT | {"batch_size": batch_size}, epochs=2)
    assert same(state_of(net), state_of(unbroken))


def buffers(net):
    """The blocks and kept buffers of every program of a network."""
    made = [*net._prepared[0].traced.values(), *filter(None, net._outputs.traced.values())]
    assert len(made) >= 3
    return [array for traced in made for array in (*traced.program._blocks, *traced.program.kept.values())]


@pytest.mark.parametrize("members", [None, 3])
def test_a_network_that_is_deleted_frees_its_buffers_at_once(members):
    import gc

    net = Network(EVERY, members=members)
    net.fit(**FIT, epochs=2, validation_data=(X, Y), metrics=["r2"])
    for _ in range(3):
        net.step(X, Y)
        net.predict(X)
    gc.collect()
    gc.disable()
    try:
        watched = [weakref.ref(array) for array in buffers(net)]
        assert all(one() is not None for one in watched)
        del net
        assert [one() for one in watched if one() is not None] == []
    finally:
        gc.enable()


def test_a_copied_network_has_no_programs():
    net = Network(mlp([3, 4, 2], output="softmax"))
    net.fit(X, LABELS, "cross_entropy", epochs=2)
    assert not net.copy()._prepared
    assert not net.copy()._outputs.traced


@pytest.mark.parametrize("seed", [None, 5])
def test_a_reset_network_keeps_its_programs_and_is_a_new_one(seed):
    net, new = Network(EVERY, seed=2), Network(EVERY, seed=2 if seed is None else seed)
    net.fit(X, Y, epochs=2, batch_size=5)
    steps, programs = net._prepared[0], dict(net._prepared[0].traced)
    net.reset(seed)
    for one in (net, new):
        one.fit(X, Y, epochs=2, batch_size=5)
    assert net._prepared[0] is steps and steps.traced == programs
    assert same(net.params, new.params)


def test_training_keeps_no_rows():
    """What was trained on is not held by what is kept for the next `fit`."""
    x, net = np.array(X, np.float32), Network(EVERY)
    net.fit(x, Y, epochs=2, batch_size=5)
    net.fit(x, Y, epochs=2, batch_size=None)
    net.step(x, Y)
    net.predict(x)
    net.predict(x)
    held = weakref.ref(x)
    del x
    assert held() is None


def test_large_buffers_are_not_kept(monkeypatch):
    for module in (steps, outputs):
        monkeypatch.setattr(module, "LARGE", 0)
    net, small = Network(EVERY), Network(EVERY)
    net.fit(X, Y, epochs=2, batch_size=5)
    assert not net._prepared[0].traced
    found = [net.predict(OTHER) for _ in range(4)]
    assert not any(net._outputs.traced.values())
    monkeypatch.undo()
    small.fit(X, Y, epochs=2, batch_size=5)
    assert net._prepared[0].compiled == "traced"
    assert same([found, net.params], [[small.predict(OTHER) for _ in range(4)], small.params])
    assert all(small._outputs.traced.values())
