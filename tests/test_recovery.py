"""A training that goes wrong, by an overflow, by Ctrl-C or by a callback, loses its unfinished epoch and no more."""

import re

import numpy as np
import pytest

import xpnn
from tests.trained import X, Y, state_of, trained
from xpnn import SGD, Adam, BatchNorm, Dense, Dropout, Network, mlp
from xpnn.availability import status
from xpnn.callbacks import Callback
from xpnn.training import NonFiniteLoss


def watched(net: Network, **options) -> tuple[list, NonFiniteLoss]:
    """The states before `fit` and after each epoch that it finished, and the error that ended it."""
    states = [state_of(net)]
    with pytest.raises(NonFiniteLoss) as caught:
        net.fit(
            **{"x": X, "epochs": 60, "callbacks": [lambda net, epoch, logs: states.append(state_of(net))]} | options
        )
    return states, caught.value


DIVERGING = {
    "one batch": ("plain", {"y": Y, "optimizer": SGD(1e25), "batch_size": None}, r"epoch {}, .*layer 2, Dense\(3, 1\)"),
    "several batches": ("plain", {"y": Y, "optimizer": SGD(5.0), "batch_size": 4}, r"epoch {}, step \d of 3"),
    "the last update": (
        "plain",
        {"y": 1e3 * Y, "optimizer": SGD(1e38), "batch_size": None, "epochs": 1},
        r"epoch {}, .*update .*layer \d, Dense",
    ),
    "the last update of several": (
        "plain",
        {"y": 1e3 * Y, "optimizer": SGD(lambda step: 1e38 if step == 5 else 1e-3), "batch_size": 4, "epochs": 2},
        r"epoch {}, .*update .*layer \d, Dense",
    ),
    "the loss alone": ("plain", {"y": 1e22 * Y, "optimizer": SGD(0.1)}, r"epoch {}, .*\bloss\b"),
    "under batch norm": ("two", {"y": X, "optimizer": SGD(1e30), "batch_size": 4}, r"epoch {}, step \d of 3.*layer \d"),
    "with validation": (
        "plain",
        {"y": Y, "optimizer": SGD(1e15), "batch_size": None, "validation_data": (X, Y), "metrics": ["accuracy"]},
        r"epoch {}, .*(layer \d, Dense|\bloss\b)",
    ),
}


@pytest.mark.parametrize("case", DIVERGING)
def test_a_loss_gone_non_finite_names_epoch_and_layer_and_puts_back_the_last_good_epoch(case):
    kind, options, message = DIVERGING[case]
    net = trained(kind)
    states, error = watched(net, **options)
    assert net.epoch == states[-1]["progress"].epoch
    assert net.history.epoch == list(range(2, net.epoch))
    if len(states) > 1:
        assert state_of(net) == states[-1]
    else:
        assert (state_of(net)["params"], state_of(net)["state"]) == (states[0]["params"], states[0]["state"])
    assert re.search(message.format(net.epoch), str(error)), str(error)


@pytest.mark.parametrize("place", ["torch", "jax", "array-api-strict:device1"])
def test_a_loss_gone_non_finite_puts_back_the_last_good_epoch_elsewhere(place):
    if not status(place.partition(":")[0]).usable:
        pytest.skip(f"{place} is not usable")
    net = Network(mlp([2, 1]), place)
    states, error = watched(net, y=Y, optimizer=SGD(20.0), batch_size=6)
    assert len(states) > 1
    assert state_of(net) == states[-1]
    assert f"epoch {net.epoch}," in str(error)


@pytest.mark.parametrize(("scale", "rate", "cause"), [(1.0, 10.0, "learning rate"), (1e22, 1e-3, "scale of the data")])
def test_the_likely_cause_that_is_named_is_the_cause(scale, rate, cause):
    _, error = watched(Network(mlp([2, 3, 1])), y=scale * Y, optimizer=SGD(rate), batch_size=4)
    assert cause in str(error)


def failing(*_, **__):
    raise RuntimeError("no")


class FailingAtTheBeginning(Callback):
    def on_fit_begin(self, net, epochs):
        raise RuntimeError("no")


LOST = {
    "a loss gone non-finite": {"optimizer": SGD(1e30)},
    "a loss that raises": {"loss": failing},
    "a metric that raises": {"metrics": [failing]},
    "a callback that raises": {"callbacks": [failing]},
    "a callback that raises at the beginning": {"callbacks": [FailingAtTheBeginning()]},
    "a schedule below zero": {"optimizer": SGD(lambda step: 0.1 - step)},
}


@pytest.mark.parametrize("case", LOST)
def test_a_fit_that_fails_in_its_first_epoch_leaves_loss_optimizer_and_its_state_as_they_were(case):
    net = trained("plain")
    before = state_of(net, recorded=False)
    with pytest.raises((RuntimeError, NonFiniteLoss, ValueError)):
        net.fit(**{"x": X, "y": Y, "optimizer": "sgd", "batch_size": 4} | LOST[case])
    assert state_of(net, recorded=False) == before


STOCHASTIC = [Dense(2, 6), BatchNorm(6), xpnn.tanh, Dropout(0.3), Dense(6, 1)]
TRAINING = {"x": X, "y": Y, "loss": "bce", "optimizer": Adam(lambda step: 0.1 / (1 + step)), "batch_size": 5}


def raises_at(epoch: int, error: type[BaseException]):
    def callback(net, number, logs):
        if number == epoch:
            raise error("stop")

    return callback


@pytest.mark.parametrize(("error", "members"), [(RuntimeError, None), (KeyboardInterrupt, 2)])
def test_a_callback_that_raises_undoes_its_epoch_and_training_goes_on_bit_for_bit(backend, error, members):
    if backend.name == "jax":  # compiling each operation of the others takes it 20 seconds
        layers, options, members = mlp([2, 1]), TRAINING | {"batch_size": 6}, None
    else:
        layers, options = STOCHASTIC, TRAINING
    unbroken, broken = (Network(layers, backend, backend.dtype, members=members) for _ in range(2))
    states = []
    unbroken.fit(**options, epochs=4, callbacks=[lambda net, epoch, logs: states.append(state_of(net))])
    with pytest.raises(error, match="stop"):
        broken.fit(**options, epochs=4, callbacks=[raises_at(2, error)])
    assert broken.epoch == 2
    assert broken.history.epoch == [0, 1]
    assert state_of(broken) == states[1]
    broken.fit(**options, epochs=2)
    assert state_of(broken, recorded=False) == state_of(unbroken, recorded=False)
    np.testing.assert_array_equal(broken.history["loss"], unbroken.history["loss"][2:])


class Interrupting:
    """A loss that raises on its n-th call: Ctrl-C in the middle of an epoch."""

    def __init__(self, calls: int):
        self.calls = calls

    def __call__(self, prediction, target, *, xp, weight=None):
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt
        return xpnn.losses.mean_squared_error(prediction, target, xp=xp, weight=weight)


@pytest.mark.parametrize("call", [4, 5, 6])
def test_ctrl_c_within_an_epoch_puts_back_the_last_finished_one(call):
    net, states = Network(STOCHASTIC), []
    remember = [lambda net, epoch, logs: states.append(state_of(net))]
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, Interrupting(call), "adam", batch_size=4, callbacks=remember, compile=False)
    assert len(states) == net.epoch == 1
    assert state_of(net) == states[-1]


def test_what_a_callback_gives_back_stops_training_only_where_it_is_true():
    net = trained("plain")
    net.fit(X, Y, epochs=2, callbacks=[lambda net, epoch, logs: net.params[0]["weight"]])
    assert net.epoch == 4
    net.fit(X, Y, epochs=2, callbacks=[lambda net, epoch, logs: True])
    assert net.epoch == 5


def test_large_finite_parameters_are_no_overflow():
    net = xpnn.Network(xpnn.mlp([1, 300, 1]), dtype="float32")
    net.params = [
        {name: np.full(a.shape, 3e36 * (name == "weight")) for name, a in layer.items()} for layer in net.params
    ]
    history = net.fit([[0.0]], [[0.0]], lambda p, t, *, xp, weight=None: (xp.sum(p * 0.0), p * 0.0), xpnn.SGD(0.0), 1)
    assert np.isfinite(history["loss"]).all()
