"""Losses of predictions that are numbers: how far they lie from the target."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xpnn._arguments import ABOVE_ZERO, check_number, settle
from xpnn.losses.base import Loss


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """l = mean over the outputs of (p - t)^2; dl/dp = 2 (p - t) / outputs. By name also "mse".

    >>> value, gradient = mean_squared_error([[1.0], [0.0]], [[0.0], [0.0]])
    >>> float(value), gradient
    (0.5, array([[1.],
           [0.]]))
    """

    def terms(self, prediction, target, *, xp):
        error = prediction - target
        return error * error, error * (2.0 / prediction.shape[-1])


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """l = mean over the outputs of |p - t|; dl/dp = sign(p - t) / outputs, 0 where p = t. By name also "mae".

    >>> value, gradient = mean_absolute_error([[1.0], [0.0]], [[0.0], [0.0]])
    >>> float(value), gradient
    (0.5, array([[0.5],
           [0. ]]))
    """

    def terms(self, prediction, target, *, xp):
        error = prediction - target
        return xp.abs(error), xp.sign(error) * (1.0 / prediction.shape[-1])


@dataclass(frozen=True)
class Huber(Loss):
    """l = mean over the outputs of e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), with e = p - t.

    Quadratic near the target, linear far from it, so that outliers pull with a bounded force:
    dl/dp = min(max(e, -delta), delta) / outputs. With c that bounded error, l = c (e - c / 2).

    Parameters
    ----------
    delta : where the quadratic part ends, > 0, in the units of the target.

    Huber (1964), "Robust estimation of a location parameter"; delta 1 and no further factor, as in PyTorch.

    >>> value, gradient = Huber(delta=1.0)([[0.5], [3.0]], [[0.0], [0.0]])
    >>> float(value), gradient
    (1.3125, array([[0.25],
           [0.5 ]]))
    """

    delta: float = 1.0

    def __post_init__(self):
        settle(self, check_number, "delta", **ABOVE_ZERO)

    def terms(self, prediction, target, *, xp):
        error = prediction - target
        bounded = xp.minimum(xp.maximum(error, -self.delta), self.delta)
        return bounded * (error - 0.5 * bounded), bounded * (1.0 / prediction.shape[-1])


@dataclass(frozen=True)
class LogCosh(Loss):
    """l = mean over the outputs of log cosh e, with e = p - t; dl/dp = tanh(e) / outputs.

    Nearly e^2 / 2 near the target and |e| - log 2 far from it: a Huber loss without a corner in its derivative.
    Computed as |e| + log(1 + exp(-2 |e|)) - log 2, which cannot overflow.

    Green (1990), "Bayesian reconstructions from emission tomography data using a modified EM algorithm", section II.

    >>> value, gradient = log_cosh([[1.0], [-1000.0]], [[0.0], [0.0]])
    >>> round(float(value), 4), gradient.round(4)
    (499.8703, array([[ 0.3808],
           [-0.5   ]]))
    """

    def terms(self, prediction, target, *, xp):
        error = prediction - target
        size = xp.abs(error)
        return size + xp.log1p(xp.exp(-2.0 * size)) - math.log(2.0), xp.tanh(error) * (1.0 / prediction.shape[-1])


@dataclass(frozen=True)
class CosineDistance(Loss):
    """l = 1 - p . t / (|p| |t|) over a row's outputs: the direction counts, not the length.

    With the unit vectors u = p / |p|, v = t / |t| and c = u . v: dl/dp = (c u - v) / |p|. A length below `eps` counts
    as eps, and as a constant. By name "cosine".

    Parameters
    ----------
    eps : the least length, > 0.

    As 1 - torch.nn.functional.cosine_similarity.

    >>> value, gradient = cosine_distance([[2.0, 0.0]], [[1.0, 1.0]])
    >>> round(float(value), 4), gradient.round(4)
    (0.2929, array([[ 0.    , -0.3536]]))
    """

    eps: float = 1e-8

    def __post_init__(self):
        settle(self, check_number, "eps", **ABOVE_ZERO)

    def terms(self, prediction, target, *, xp):
        length = xp.sqrt(xp.sum(prediction * prediction, axis=-1, keepdims=True))  # (*members, batch, 1)
        divisor = xp.maximum(length, self.eps)
        aim = target / xp.maximum(xp.sqrt(xp.sum(target * target, axis=-1, keepdims=True)), self.eps)
        own = prediction / divisor
        cosine = xp.sum(own * aim, axis=-1, keepdims=True)
        turn = xp.where(length > self.eps, cosine, xp.zeros_like(cosine))  # a length that counts as eps stands still
        return 1.0 - cosine, (turn * own - aim) / divisor


mean_squared_error = MeanSquaredError()
mean_absolute_error = MeanAbsoluteError()
huber = Huber()
log_cosh = LogCosh()
cosine_distance = CosineDistance()
