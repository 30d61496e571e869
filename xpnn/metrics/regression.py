"""Metrics of predictions that are numbers: how far they lie from the target, in its units or beside its spread.

With several outputs each is the mean over them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from xpnn._arguments import check_number, settle
from xpnn.metrics.base import Metric
from xpnn.metrics.sums import column_means, mean_of_rows, ratio, running_sums


@dataclass(frozen=True)
class R2(Metric):
    """1 - sum (t - p)^2 / sum (t - mean t)^2, the share of the target's variance that is explained.

    1 is perfect, 0 no better than the mean. Of a constant target 1 where all is exact and else 0, of fewer than two
    rows NaN, as in scikit-learn's r2_score.

    >>> float(r2([[1.0], [2.0], [3.0]], [[1.0], [2.0], [4.0]]).round(4))
    0.7857
    """

    needs: ClassVar = "predictions"
    title: ClassVar = "r2"
    greater_is_better: ClassVar = True

    def value(self, prediction, target, *, xp, weight=None):
        error = prediction - target
        left = column_means(error * error, xp=xp, weight=weight)
        if target.shape[-2] < 2:
            return xp.full_like(xp.sum(left, axis=-1), math.nan)
        mean = column_means(target, xp=xp, weight=weight)[..., None, :]
        least, most = xp.min(target, axis=-2, keepdims=True), xp.max(target, axis=-2, keepdims=True)
        spread = target - xp.minimum(xp.maximum(mean, least), most)  # exactly 0 where the target is constant
        whole = column_means(spread * spread, xp=xp, weight=weight) + xp.zeros_like(left)
        exact = left == 0.0 if weight is None else (left == 0.0) & (xp.sum(weight, axis=-1)[..., None] > 0.0)
        return xp.mean(xp.where(whole == 0.0, xp.astype(exact, left.dtype), 1.0 - ratio(left, whole, xp=xp)), axis=-1)


@dataclass(frozen=True)
class _MeanOfRows(Metric):
    """The mean over rows and outputs of what `cost` gives for each."""

    needs: ClassVar = "predictions"

    def cost(self, prediction, target, *, xp):
        raise NotImplementedError(f"{type(self).__name__} must define cost(self, prediction, target, *, xp)")

    def value(self, prediction, target, *, xp, weight=None):
        cost = self.cost(prediction, target, xp=xp)
        return mean_of_rows(xp.mean(cost, axis=-1), xp=xp, weight=weight)


@dataclass(frozen=True)
class MeanAbsoluteError(_MeanOfRows):
    """mean |p - t|. By name also "mae"; scikit-learn's mean_absolute_error.

    >>> float(mean_absolute_error([[1.0], [2.0]], [[1.0], [4.0]]))
    1.0
    """

    title: ClassVar = "mean_absolute_error"

    def cost(self, prediction, target, *, xp):
        return xp.abs(prediction - target)


@dataclass(frozen=True)
class MeanSquaredError(_MeanOfRows):
    """mean (p - t)^2. By name also "mse"; scikit-learn's mean_squared_error.

    >>> float(mean_squared_error([[1.0], [2.0]], [[1.0], [4.0]]))
    2.0
    """

    title: ClassVar = "mean_squared_error"

    def cost(self, prediction, target, *, xp):
        error = prediction - target
        return error * error


@dataclass(frozen=True)
class RootMeanSquaredError(Metric):
    """sqrt(mean (p - t)^2) of each output, in the target's units. By name also "rmse".

    scikit-learn's root_mean_squared_error.

    >>> float(root_mean_squared_error([[1.0], [2.0]], [[1.0], [4.0]]).round(4))
    1.4142
    """

    needs: ClassVar = "predictions"
    title: ClassVar = "root_mean_squared_error"

    def value(self, prediction, target, *, xp, weight=None):
        error = prediction - target
        return xp.mean(xp.sqrt(column_means(error * error, xp=xp, weight=weight)), axis=-1)


@dataclass(frozen=True)
class MeanAbsolutePercentageError(_MeanOfRows):
    """mean |p - t| / max(|t|, eps), eps = 2^-52; a share, not in percent. By name also "mape".

    A target of 0 makes it very large. scikit-learn's mean_absolute_percentage_error.

    >>> float(mean_absolute_percentage_error([[1.0], [2.0]], [[1.0], [4.0]]))
    0.25
    """

    title: ClassVar = "mean_absolute_percentage_error"

    def cost(self, prediction, target, *, xp):
        return xp.abs(prediction - target) / xp.maximum(xp.abs(target), 2.0**-52)


@dataclass(frozen=True)
class Pinball(_MeanOfRows):
    """mean max(a e, (a - 1) e), with e = t - p: least where p is the quantile of level a of t.

    Parameters
    ----------
    alpha : level a of the quantile, 0 <= alpha <= 1; 1/2 gives half of the mean absolute error.

    Of a network trained with `Quantile` p is its output of that level, which must be one of the loss's `levels`.

    Koenker and Bassett (1978), "Regression quantiles"; scikit-learn's mean_pinball_loss.

    >>> float(Pinball(0.9)([[1.0], [2.0]], [[1.0], [4.0]]))
    0.9
    """

    alpha: float = 0.5

    title: ClassVar = "pinball"

    def __post_init__(self):
        settle(self, check_number, "alpha", low=0.0, high=1.0)

    @property
    def level(self) -> float:
        """Which quantile it is of."""
        return self.alpha

    def cost(self, prediction, target, *, xp):
        error = target - prediction
        return xp.maximum(self.alpha * error, (self.alpha - 1.0) * error)


@dataclass(frozen=True)
class MedianAbsoluteError(Metric):
    """The median of |p - t| of each output: half of the (weight of the) rows are off by no more.

    Where the halves meet between two rows it is the mean of theirs. scikit-learn's median_absolute_error.

    >>> float(median_absolute_error([[1.0], [2.0], [3.0], [4.0]], [[1.0], [3.0], [5.0], [9.0]]))
    1.5
    """

    needs: ClassVar = "predictions"
    title: ClassVar = "median_absolute_error"

    def value(self, prediction, target, *, xp, weight=None):
        error = xp.abs(prediction - target)
        unknown = xp.any(xp.isnan(error), axis=-2)  # NaN has no place in an order
        rows, outputs = error.shape[-2:]
        weight = xp.ones_like(error) if weight is None else xp.broadcast_to(weight[..., None], error.shape)
        lines = [xp.stack([one[..., k] for k in range(outputs)], axis=-2) for one in (error, weight)]
        error, weight = (xp.reshape(line, (-1, rows)) for line in lines)
        order = xp.argsort(error, axis=-1)
        error = xp.take_along_axis(error, order, axis=-1)
        below = running_sums(xp.take_along_axis(weight, order, axis=-1), xp=xp)  # (lines, rows + 1)
        slack = 2.0 * math.sqrt(rows) * float(xp.finfo(error.dtype).eps)  # of the sums: equal weights halve exactly
        medians = []
        for k in range(error.shape[0]):
            half = 0.5 * below[k, -1:]
            places = (
                xp.searchsorted(below[k, 1:], half * (1.0 - slack), side="left"),
                xp.searchsorted(below[k, 1:], half * (1.0 + slack), side="right"),
            )
            low, high = (xp.take(error[k, ...], xp.minimum(place, rows - 1)) for place in places)
            medians.append(xp.where(half == 0.0, xp.zeros_like(half), 0.5 * (low + high)))
        median = xp.reshape(xp.stack(medians), lines[0].shape[:-1])
        return xp.mean(xp.where(unknown, xp.full_like(median, math.nan), median), axis=-1)


r2 = R2()
mean_absolute_error = MeanAbsoluteError()
mean_squared_error = MeanSquaredError()
root_mean_squared_error = RootMeanSquaredError()
mean_absolute_percentage_error = MeanAbsolutePercentageError()
pinball = Pinball()
median_absolute_error = MedianAbsoluteError()
