"""Refusals that no other table of errors provokes: each says what was given, what is wanted, and what to do."""

import numpy as np
import pytest

import xpnn
from tests.trained import INDICES, X, Y, trained
from xpnn import Network, mlp
from xpnn.activations.base import Activation
from xpnn.availability import BackendUnavailable, status
from xpnn.callbacks import LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from xpnn.datasets import circles
from xpnn.initializers import Initializer
from xpnn.layers import Dense, Layer, Standardize
from xpnn.losses import Loss, Quantile, SoftmaxCrossEntropy
from xpnn.metrics import MeanAbsoluteError, Metric
from xpnn.metrics.classification import _Found
from xpnn.metrics.regression import _MeanOfRows
from xpnn.metrics.seen import check
from xpnn.optimizers import Optimizer
from xpnn.schedules import CosineDecay, Schedule
from xpnn.testing import assert_close, check_gradients

COLUMN = X[:, 0]


def made(base, **fields):
    """An object of a class that defines nothing."""
    return type("Bare", (base,), fields)()


class Bent(Dense):
    """A layer that does not give what it promises."""

    def output_shape(self, shape):
        return (99,)


class Narrow(Dense):
    """A layer whose gradient has not the shape of its input."""

    def backward(self, params, cache, dy, *, xp):
        dx, grads = super().backward(params, cache, dy, xp=xp)
        return dx[..., :1], grads


class Read:
    """Rows that are read by slices, as of a file."""

    def __init__(self, rows):
        self.rows, self.shape, self.dtype = rows, rows.shape, rows.dtype

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        return self.rows[key]


def called_loss(prediction, target, *, xp, weight=None):
    return xp.mean(prediction)


called_loss.__name__ = "loss"


def fitted(optimizer):
    net = Network(mlp([2, 3, 1]))
    net.fit(X, Y, optimizer=optimizer, epochs=1)
    return net


def untrained_and_trained():
    return Network.stack([trained("plain"), Network(mlp([2, 3, 1]))])


def rated(loss_of_rate):
    return lambda: trained("plain").fit(X, Y, callbacks=[LearningRateScheduler(loss_of_rate)])


STACK = lambda: trained("three members")  # noqa: E731
PLAIN = lambda: trained("plain")  # noqa: E731

# The call, the error, and what its message must say.
REFUSED = {
    # a piece of one's own that lacks something
    "no value": (lambda: made(Activation)(1.0), NotImplementedError, r"Bare must define value\(self, x, \*, xp\)"),
    "no slope": (lambda: made(Activation).slope(0, xp=np), NotImplementedError, r"Bare must define slope\(self, kept"),
    "no forward": (lambda: made(Layer).forward({}, X, xp=np), NotImplementedError, r"Bare must define forward\(.*step"),
    "no backward": (lambda: made(Layer).backward({}, 0, X, xp=np), NotImplementedError, r"Bare must define backward\("),
    "no penalty": (lambda: made(Layer).penalty({}, 0, xp=np), NotImplementedError, r"Bare must define penalty\("),
    "no terms": (lambda: made(Loss)(Y, Y), NotImplementedError, r"Bare must define terms\(self, prediction, target"),
    "no metric": (lambda: made(Metric)(Y, Y), NotImplementedError, r"Bare must define value\(.*weight"),
    "no cost": (
        lambda: made(_MeanOfRows)(Y, Y),
        NotImplementedError,
        r"Bare must define cost\(self, prediction, target, \*, xp\)",
    ),
    "no share": (
        lambda: made(_Found).share_of_said(),
        NotImplementedError,
        r"Bare must define share_of_said\(self\)",
    ),
    "no rule": (
        lambda: PLAIN().fit(X, Y, optimizer=made(Optimizer, numbers={})),
        NotImplementedError,
        r"Bare must define rule\(self, params, grads, state, hyper, \*, xp\)",
    ),
    "no schedule": (lambda: made(Schedule)(0), NotImplementedError, r"Bare must define __call__\(self, step\)"),
    "no draw": (
        lambda: Network([Dense(2, 1, weight_init=made(Initializer))]),
        NotImplementedError,
        r"Bare must define __call__\(self, rng, shape, \*, fan_in, fan_out\)",
    ),
    # layers and stacks
    "no width": (lambda: Network(["relu"]), ValueError, r"layers must say how wide x is, as Dense.*\[ReLU\(\)\]"),
    "stack of numbers": (lambda: Network.stack([3]), ValueError, r"networks must be at least one Network.*\[3\]"),
    "stack of a stack": (lambda: Network.stack([STACK()]), ValueError, r"networks must be.*each with members=None"),
    "stack of unlike": (untrained_and_trained, ValueError, r"network 1 has not been trained and others have"),
    "stack of unlike numbers": (
        lambda: Network.stack([fitted(xpnn.Adam(clip_norm=most)) for most in (None, 0.1)]),
        ValueError,
        r"clip_norm cannot be one stack's: members have \[None, 0\.1\]",
    ),
    "member of a lone network": (lambda: PLAIN()[0], TypeError, r"net\[k\] is a member of a stack.*use it as it is"),
    "standardize no rows": (lambda: Standardize.fit(X[:0]), ValueError, r"x must be \(n, features\).*\(0, 2\)"),
    "standardize a column": (lambda: Standardize.fit(COLUMN), ValueError, r"x must be \(n, features\).*\(12,\)"),
    # losses and metrics
    "a number that is a schedule": (
        lambda: SoftmaxCrossEntropy(label_smoothing=CosineDecay(0.1, 10)),
        TypeError,
        r"label_smoothing must be a number, or one for each member, got CosineDecay",
    ),
    "own numbers by hand": (
        lambda: SoftmaxCrossEntropy(label_smoothing=(0.1, 0.2))(X, INDICES),
        ValueError,
        r"label_smoothing of Softmax.* must be one number in a call by hand, got one for each member",
    ),
    "a metric twice": (
        lambda: PLAIN().evaluate(X, Y, metrics=["mae", "mae"]),
        ValueError,
        r"metrics must differ in name.*\['mean_absolute_error'\].*`name`",
    ),
    "a metric called loss": (
        lambda: PLAIN().evaluate(X, Y, metrics=[called_loss]),
        ValueError,
        r"metrics must not be called 'loss'",
    ),
    "a metric of more numbers": (
        lambda: check(MeanAbsoluteError(), Quantile((0.1, 0.9)), None, 2, np.ones((4, 3)), xp=np),
        ValueError,
        r"metric mean_absolute_error needs a number for each target, got 1 for 3",
    ),
    # data
    "three radii": (lambda: circles(radii=(1, 2, 3)), ValueError, r"radii must be two numbers.*\(1, 2, 3\)"),
    "a member without rows": (
        lambda: STACK().fit(X, Y, rows=[[0], [1], []]),
        (TypeError, ValueError),
        r"rows\[2\]",
    ),
    "a mask of no rows": (
        lambda: STACK().fit(X, Y, rows=[[0], [1], np.zeros(12, bool)]),
        ValueError,
        r"rows\[2\] chooses no rows: there would be nothing to train on",
    ),
    "rows of what is read": (
        lambda: STACK().fit(Read(X), Y, rows=[[0]] * 3),
        ValueError,
        r"rows chooses from arrays in memory: x is read in blocks",
    ),
    "own rows that are read": (
        lambda: STACK().fit(Read(np.stack([X] * 3)), Y),
        ValueError,
        r"x must be \(n, 2\), got \(3, 12, 2\): rows that are read in blocks are shared by all members",
    ),
    "own weights that are read": (
        lambda: STACK().fit(Read(X), Y, sample_weight=Read(np.ones((3, 12)))),
        ValueError,
        r"sample_weight, read in blocks, must begin with the axis of rows, got \(3, 12\)",
    ),
    # records and callbacks
    "what was not recorded": (lambda: PLAIN().history["acc"], KeyError, r"'acc' was not recorded; there are"),
    "checkpoints in a number": (lambda: ModelCheckpoint(3), TypeError, r"directory must be the path of a folder"),
    "no rate to reduce": (
        lambda: PLAIN().fit(X, Y, optimizer=made(Optimizer, numbers={}), callbacks=[ReduceLROnPlateau("loss")]),
        ValueError,
        r"ReduceLROnPlateau.* needs an optimizer with a learning rate, got ",
    ),
    "no rate given": (rated(lambda epoch: None), TypeError, r"must give a number, got None for epoch \d"),
    # backends
    "a backend that nobody knows": (lambda: status("dask"), ValueError, r"name must be one of numpy, cupy.*got 'dask'"),
    "a device without int64": (
        lambda: Network(mlp([2, 1]), "array-api-strict:no_x64"),
        BackendUnavailable,
        r"'no_x64'\) has no int64, which the order of rows is in: take another device",
    ),
    # checks of one's own pieces
    "another dtype": (
        lambda: assert_close(np.float32([1]), np.float64([1]), name="y"),
        AssertionError,
        r"y: dtype float32 is not float64",
    ),
    "another shape": (
        lambda: assert_close(np.ones(2), np.ones(3), name="y"),
        AssertionError,
        r"y: shape \(2,\) is not \(3,\)",
    ),
    "a promise not kept": (
        lambda: check_gradients(Bent(2, 3), np.ones((4, 2))),
        AssertionError,
        r"Bent\(2, 3\): output of shape \(4, 3\) is not what output_shape promises",
    ),
    "a gradient of another shape": (
        lambda: check_gradients(Narrow(2, 3), np.ones((4, 2))),
        AssertionError,
        r"Narrow\(2, 3\): gradient of x: shape .* is not \(4, 2\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_told(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()
