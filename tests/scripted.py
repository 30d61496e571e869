"""Fits whose course is written down, and what each epoch leaves of a network, for the tests of callbacks."""

import math

import xpnn
from tests.trained import X, Y
from xpnn import SGD, Adam, BatchNorm, Dense, Dropout, Network, mlp
from xpnn.callbacks import Callback

NAN = math.nan
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
    arrays = [net.backend.to_host(array) for array in xpnn.progress.leaves(net.progress.carry)]
    if net.members is None:
        return [[array.tobytes() for array in arrays]]
    return [[array[k].tobytes() for array in arrays] for k in range(net.members)]


def raises_at(epoch, error=RuntimeError):
    def callback(net, number, logs):
        if number == epoch:
            raise error("stop")

    return callback
