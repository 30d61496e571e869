"""Metrics of labels: how often the right class is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn.metrics.base import Metric, mean_of_rows


@dataclass(frozen=True)
class Accuracy(Metric):
    """The share of rows whose label is right; with several yes-or-no outputs, the rows where all are right.

    >>> import numpy as np
    >>> float(accuracy(np.asarray([0.0, 1.0, 2.0]), np.asarray([0.0, 1.0, 1.0]), xp=np).round(4))
    0.6667
    """

    needs: ClassVar = "labels"
    name: ClassVar = "accuracy"

    def __call__(self, prediction, target, *, xp, weight=None):
        return mean_of_rows(xp.astype(prediction == target, prediction.dtype), xp=xp, weight=weight)


accuracy = Accuracy()
