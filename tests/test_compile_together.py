"""Epochs of one step that run under one safety copy, the number of BLAS threads, and what a step is said to cost."""

import threading

import numpy as np
import pytest

import xpnn
from tests.networks import EVERY, LABELS, X, Y, same, state_of
from xpnn import SGD, Network, mlp, training
from xpnn.compile.cost import Cost
from xpnn.compile.steps import Bound
from xpnn.threads import PAYS, _controller, largest_product, one_thread
from xpnn.training import NonFiniteLoss

PLAIN = mlp([3, 4, 2], "tanh")


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("epochs", [1, 31, 32, 33, 70])
def test_epochs_together_are_epochs_one_by_one(members, epochs, monkeypatch):
    together, single = (Network(PLAIN, members=members) for _ in range(2))
    found = together.fit(X, Y, "mse", "adam", epochs=epochs, batch_size=None)
    monkeypatch.setattr(training, "_unwatched", lambda plan: False)
    expected = single.fit(X, Y, "mse", "adam", epochs=epochs, batch_size=None)
    assert same(state_of(together), state_of(single))
    assert np.array_equal(found["loss"], expected["loss"])
    assert (found.epoch, found.stop_reason) == (expected.epoch, expected.stop_reason)
    assert found.stop_reason == ("finished" if members is None else ["finished"] * 3)
    assert (together.epoch, together.updates) == (epochs, epochs)


def test_what_is_looked_at_in_between_is_not_trained_together(monkeypatch):
    def refuse(*args):
        raise AssertionError("trained together")

    monkeypatch.setattr(training, "_fit_together", refuse)
    seen = []
    Network(PLAIN).fit(X, Y, epochs=3, batch_size=None, callbacks=[lambda net, epoch, logs: seen.append(net.epoch)])
    assert seen == [1, 2, 3]
    Network(PLAIN).fit(X, Y, epochs=2, batch_size=None, metrics=["r2"])
    Network(PLAIN).fit(X, Y, epochs=2, batch_size=None, validation_data=(X, Y))
    Network(PLAIN).fit(X, Y, optimizer=SGD(lambda step: 0.1 / (1 + step)), epochs=2, batch_size=None)
    Network(EVERY).fit(X, Y, epochs=2, batch_size=None)  # its masks are other ones in each step
    Network(PLAIN).fit(X, Y, epochs=2, batch_size=None, compile=False)
    net = Network(PLAIN)
    net.learning_rate = 0.1
    net.fit(X, Y, epochs=2, batch_size=None)
    with pytest.raises(AssertionError, match="together"):
        Network(PLAIN).fit(X, Y, epochs=2, batch_size=None)


def test_ctrl_c_among_epochs_together_keeps_those_that_were_finished(monkeypatch):
    broken, whole = Network(PLAIN), Network(PLAIN)
    whole.fit(X, Y, "mse", "adam", epochs=40, batch_size=None)
    calls, call = [], Bound.__call__

    def interrupted(self, item, numbers):
        calls.append(0)
        if len(calls) == 41:
            raise KeyboardInterrupt
        return call(self, item, numbers)

    monkeypatch.setattr(Bound, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, "mse", "adam", epochs=100, batch_size=None)
    assert broken.epoch == len(broken.history["loss"]) == 40
    assert same(state_of(broken), state_of(whole))


def test_a_loss_gone_non_finite_among_epochs_together_is_found_where_it_was():
    nets = [Network(PLAIN, dtype="float64") for _ in range(2)]
    for net, compile in zip(nets, (True, False), strict=True):
        with pytest.raises(NonFiniteLoss) as told:
            net.fit(X, Y, "mse", SGD(1e6), epochs=500, batch_size=None, compile=compile)
        assert f"epoch {net.epoch}" in str(told.value)
    assert nets[0].epoch == nets[1].epoch > 0
    np.testing.assert_allclose(nets[0].history["loss"], nets[1].history["loss"], rtol=1e-9)


def threads():
    """Of the BLAS that NumPy's products go to: another, such as SciPy's, may be loaded later."""
    return [library.num_threads for library in _controller().lib_controllers]


def test_the_number_of_threads_is_put_back_whoever_ends_last():
    before, inner, outer, seen = threads(), threading.Event(), threading.Event(), []

    def other():
        with one_thread(True):
            inner.set()
            outer.wait(10)
        seen.append(threads())

    with one_thread(True):
        assert set(threads()) == {1}
        thread = threading.Thread(target=other)
        thread.start()
        inner.wait(10)
    outer.set()
    thread.join()
    assert threads() == before == seen[0]
    with one_thread(False):
        assert threads() == before


def test_small_products_take_one_thread(monkeypatch):
    assert largest_product(128, [(64, 64), (64,)]) < PAYS < largest_product(128, [(784, 256)])
    before, seen = threads(), []
    look = [lambda net, epoch, logs: seen.append(set(threads()))]
    Network(PLAIN).fit(X, Y, epochs=1, callbacks=look)
    assert seen == [{1}]
    assert threads() == before


def test_a_step_is_explained_and_nothing_changes():
    net = Network(mlp([3, 4, 2], output="softmax"), members=2)
    before = state_of(net)
    text = net.explain(64, "cross_entropy", "adam")
    assert text.startswith("A training step on 64 rows, SoftmaxCrossEntropy() and Adam()")
    for part in ("MFLOP", "kFLOP"):
        if part in text:
            break
    else:
        raise AssertionError("no cost")
    for word in ("block 0", "def bind(params", "def run(learning_rate, beta1, beta2, x, y)", "weight_2", "d_bias_0"):
        assert word in text
    assert same(state_of(net), before)
    assert net.progress.optimizer is None
    with pytest.raises(ValueError, match="batch_size"):
        net.explain(0)


def test_what_cannot_be_compiled_cannot_be_explained():
    def loss(prediction, target, *, xp, weight=None):
        return xp.mean(prediction) if float(prediction[0, 0]) > 0 else xp.sum(prediction), prediction

    with pytest.raises(TypeError, match=r"float\(\) of an array"):
        Network(PLAIN).explain(loss=loss)
    assert "rows to train on" not in Network([Looking(), *PLAIN]).summary()


class Looking(xpnn.Layer):
    def forward(self, params, x, *, xp, step=None):
        return (x if float(xp.max(x)) > 0 else -x), None

    def backward(self, params, cache, dy, *, xp):
        return dy, {}


def test_the_cost_of_a_network_is_that_of_its_products():
    text = Network(mlp([784, 256, 128, 10], output="softmax")).summary()
    assert "32 rows to predict: 15.1 MFLOP, 100 % of it in matrix products" in text
    assert Cost(2, 1, 4) + Cost(3, 1, 4) == Cost(5, 2, 8)


def test_the_peak_of_w4_is_within_what_was_allowed():
    from tests.benchmarks.peak import peak

    found = peak()
    assert found.planned <= found.allowed
    assert found.measured <= 1.1 * found.allowed  # a few megabytes are Python's own


def test_labels_train_together_too():
    net = Network(mlp([3, 4, 2], output="softmax"))
    history = net.fit(X, LABELS, "cross_entropy", "adam", epochs=50, batch_size=None)
    assert history["loss"][-1] < history["loss"][0]
