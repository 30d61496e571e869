"""Losses of predictions that are numbers: how far they lie from the target."""

from __future__ import annotations

from dataclasses import dataclass

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


mean_squared_error = MeanSquaredError()
