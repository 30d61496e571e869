"""Metrics of probabilities: how much is believed in what then is true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn.metrics.base import Metric
from xpnn.metrics.sums import mean_of_rows


@dataclass(frozen=True)
class LogLoss(Metric):
    """-sum_k t_k log p_k, the mean over rows, with p between eps and 1 - eps of its type: never infinite.

    t is the row of the class, or of probabilities. scikit-learn's log_loss.

    >>> float(log_loss([[0.5, 0.5], [0.0, 1.0]], [0, 1]).round(4))
    0.3466
    """

    needs: ClassVar = "class_probabilities"
    title: ClassVar = "log_loss"

    def value(self, prediction, target, *, xp, weight=None):
        eps = float(xp.finfo(prediction.dtype).eps)
        inside = xp.minimum(xp.maximum(prediction, eps), 1.0 - eps)
        return mean_of_rows(-xp.sum(target * xp.log(inside), axis=-1), xp=xp, weight=weight)


@dataclass(frozen=True)
class BrierScore(Metric):
    """sum_k (t_k - p_k)^2, the mean over rows; of two classes half of it, which is (t_1 - p_1)^2.

    Brier (1950), "Verification of forecasts expressed in terms of probability"; scikit-learn's brier_score_loss with
    its default `scale_by_half`.

    >>> float(brier_score([[0.5, 0.5], [0.0, 1.0]], [0, 1]))
    0.125
    """

    needs: ClassVar = "class_probabilities"
    title: ClassVar = "brier_score"

    def value(self, prediction, target, *, xp, weight=None):
        error = target - prediction
        rows = xp.sum(error * error, axis=-1) * (0.5 if prediction.shape[-1] == 2 else 1.0)
        return mean_of_rows(rows, xp=xp, weight=weight)


log_loss = LogLoss()
brier_score = BrierScore()
