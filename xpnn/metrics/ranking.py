"""Metrics of the order that scores put rows or classes in: they need no threshold.

Equal scores count as what they are, neither above nor below: as half of each in the area, as one step of the curve in
the average precision. A score that is NaN has no place in the order: the value is NaN then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn._arguments import check_choice, check_count, settle
from xpnn.layers.base import Array
from xpnn.metrics.base import Metric
from xpnn.metrics.columns import hard
from xpnn.metrics.sums import mean_of_rows, ratio, running_sums, weighted_mean

AVERAGES = ("macro", "weighted", "micro")


@dataclass(frozen=True)
class RocAuc(Metric):
    """The probability that a row of the class scores higher than one that is not of it, ties counting one half.

        sum_i sum_j w_i w_j (1[s_i > s_j] + 1[s_i = s_j] / 2) / (sum_i w_i  sum_j w_j),  i in the class, j not in it

    which is the area under the receiver operating characteristic. NaN where one of the two has no rows.

    Parameters
    ----------
    multi_class : "ovr" sets each class against all others, "ovo" against each other one, among the rows of the two.
        Two classes, or one yes-or-no output, are one question: the second against the first.
    average : over classes, pairs or yes-or-no outputs: "macro" is the plain mean, "weighted" the mean weighted by how
        many rows are of the class, "micro" ranks all columns as one (not for "ovo").

    Hanley and McNeil (1982), "The meaning and use of the area under a receiver operating characteristic (ROC) curve";
    Hand and Till (2001), "A simple generalisation of the area under the ROC curve", for "ovo"; scikit-learn's
    roc_auc_score.

    >>> float(roc_auc([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]], [0, 0, 1, 1]))
    0.75
    """

    multi_class: str = "ovr"
    average: str = "macro"

    needs: ClassVar = "class_scores"
    multilabel: ClassVar = True
    title: ClassVar = "roc_auc"
    greater_is_better: ClassVar = True

    def __post_init__(self):
        settle(self, check_choice, "multi_class", among=("ovr", "ovo"))
        settle(self, check_choice, "average", among=AVERAGES)
        if (self.multi_class, self.average) == ("ovo", "micro"):
            raise ValueError("average must be 'macro' or 'weighted' for multi_class='ovo', got 'micro'")

    def value(self, prediction, target, *, xp, weight=None, multilabel=False):
        score, positive, negative = _columns(prediction, target, weight, self.average, multilabel, xp)
        order = Order(score, xp=xp)
        above, reached = order.standing(positive)
        middle = 0.5 * (above + reached)  # the rows of the class that a row is below, of its equals half
        if self.multi_class == "ovo" and score.shape[-2] > 1 and not multilabel:
            return self._pairs(order, middle, positive, xp)
        area = xp.sum(order.sort(negative) * middle, axis=-1)
        area = _share_of_pairs(area, xp.sum(positive, axis=-1), xp.sum(negative, axis=-1), xp)
        return _averaged(area, positive, self.average, xp)

    def _pairs(self, order, middle, rows, xp):
        """The average over pairs of classes; `middle` and `rows` are (*members, classes, batch)."""
        total, classes = xp.sum(rows, axis=-1), range(rows.shape[-2])
        areas, pairs = [], []
        for b in classes:  # the area of each class a against class b, (*members, classes)
            against = order.sort(xp.broadcast_to(rows[..., b : b + 1, :], rows.shape))
            area = xp.sum(against * middle, axis=-1)
            area = _share_of_pairs(area, total, total[..., b : b + 1], xp)
            pair = total + total[..., b : b + 1] if self.average == "weighted" else xp.ones_like(total)
            areas += [area[..., a] for a in classes if a != b]
            pairs += [pair[..., a] for a in classes if a != b]
        return weighted_mean(xp.stack(areas, axis=-1), xp.stack(pairs, axis=-1), xp=xp)


@dataclass(frozen=True)
class AveragePrecision(Metric):
    """sum_n (R_n - R_(n-1)) P_n over the thresholds n, highest first: the area of steps under precision over recall.

    P_n and R_n are the precision and recall where all that scores at least the n-th highest value is said to be of the
    class. 0 where no row is.

    Parameters
    ----------
    average : over classes or yes-or-no outputs, as in `RocAuc`; two classes, or one such output, are one question.

    scikit-learn's average_precision_score.

    >>> float(average_precision([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]], [0, 0, 1, 1]).round(4))
    0.8333
    """

    average: str = "macro"

    needs: ClassVar = "class_scores"
    multilabel: ClassVar = True
    title: ClassVar = "average_precision"
    greater_is_better: ClassVar = True

    def __post_init__(self):
        settle(self, check_choice, "average", among=AVERAGES)

    def value(self, prediction, target, *, xp, weight=None, multilabel=False):
        score, positive, negative = _columns(prediction, target, weight, self.average, multilabel, xp)
        order = Order(score, xp=xp)
        (_, hit), (_, said) = order.standing(positive), order.standing(positive + negative)
        value = weighted_mean(ratio(hit, said, xp=xp), order.sort(positive), xp=xp)
        return _averaged(value, positive, self.average, xp)


@dataclass(frozen=True)
class TopK(Metric):
    """The share of rows whose class is among the k with the highest scores.

    Of equal scores the later class goes first, as in scikit-learn's top_k_accuracy_score; of two classes the first.

    Parameters
    ----------
    k : how many, >= 1.

    >>> float(TopK(2)([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], [1, 2]))
    0.5
    """

    k: int = 5

    needs: ClassVar = "class_scores"
    title: ClassVar = "top_k_accuracy"
    greater_is_better: ClassVar = True

    def __post_init__(self):
        settle(self, check_count, "k")

    @property
    def name(self):
        return self.title if self.k == 5 else f"top_{self.k}_accuracy"

    def value(self, prediction, target, *, xp, weight=None):
        target = hard(target, xp=xp)
        least = xp.full_like(prediction, -math.inf)
        own = xp.max(xp.where(target > 0.5, prediction, least), axis=-1, keepdims=True)
        seen = xp.cumulative_sum(target, axis=-1)  # 1 from the row's class on
        first = seen > 0.5 if prediction.shape[-1] > 2 else seen < 0.5
        ahead = (prediction > own) | ((prediction == own) & first & (target < 0.5))
        rank = xp.sum(xp.astype(ahead, prediction.dtype), axis=-1)
        right = xp.astype(rank < self.k, prediction.dtype)
        right = xp.where(xp.any(xp.isnan(prediction), axis=-1), xp.full_like(right, math.nan), right)
        return mean_of_rows(right, xp=xp, weight=weight)


class Order:
    """The order of scores (*, n), highest first, each line of n on its own.

    >>> import numpy as np
    >>> order = Order(np.asarray([0.1, 0.5, 0.5]), xp=np)
    >>> order.sort(np.asarray([1.0, 2.0, 3.0])), order.standing(np.ones(3))
    (array([2., 3., 1.]), (array([0., 0., 2.]), array([2., 2., 3.])))

    A line with a NaN stands nowhere: its sums are NaN.
    """

    def __init__(self, score: Array, *, xp: Any):
        self.unknown = xp.any(xp.isnan(score), axis=-1, keepdims=True)
        fall = xp.reshape(-score, (-1, score.shape[-1]))
        self.xp, self.order = xp, xp.argsort(fall, axis=-1)
        ladder = xp.take_along_axis(fall, self.order, axis=-1)
        lines = [ladder[k, ...] for k in range(ladder.shape[0])]  # searchsorted takes one line at a time
        self.above = xp.stack([xp.searchsorted(line, line, side="left") for line in lines])
        self.reached = xp.stack([xp.searchsorted(line, line, side="right") for line in lines])

    def sort(self, values: Array) -> Array:
        """`values` (*, n) in this order."""
        return self._take(values, self.order)

    def standing(self, weight: Array) -> tuple[Array, Array]:
        """In this order, the weight of what scores higher, and of what scores at least as high, itself included."""
        sums = running_sums(self.sort(weight), xp=self.xp)
        sums = self.xp.where(self.unknown, self.xp.full_like(sums, math.nan), sums)
        return self._take(sums, self.above), self._take(sums, self.reached)

    def _take(self, values: Array, places: Array) -> Array:
        xp = self.xp
        found = xp.take_along_axis(xp.reshape(values, (-1, values.shape[-1])), places, axis=-1)
        return xp.reshape(found, (*values.shape[:-1], places.shape[-1]))


def _columns(prediction, target, weight, average, multilabel, xp) -> tuple[Array, Array, Array]:
    """Scores, and the weights of the rows of each class and of those not of it, (*members, columns, batch) each.

    Of two classes there is one column, the second's; under the micro-average one with the rows of all.
    """
    truth = xp.astype(target > 0.5, prediction.dtype) if multilabel else hard(target, xp=xp)
    weight = xp.ones_like(truth) if weight is None else weight[..., None]
    arrays = [prediction, truth * weight, (1.0 - truth) * weight]
    classes = range(prediction.shape[-1])
    classes = classes[1:] if len(classes) == 2 and not multilabel else classes
    lines = []
    for array in arrays:
        array = xp.broadcast_to(array, prediction.shape)
        lines.append(xp.stack([array[..., k] for k in classes], axis=-2))
    if average == "micro":
        lines = [xp.reshape(line, (*line.shape[:-2], 1, -1)) for line in lines]
    return lines[0], lines[1], lines[2]


def _share_of_pairs(part, of_class, of_others, xp):
    """part / (of_class of_others), which rounding must not make more than 1; NaN where one of the two is 0."""
    share = xp.minimum(ratio(ratio(part, of_class, xp=xp), of_others, xp=xp), 1.0)
    return xp.where((of_class == 0.0) | (of_others == 0.0), xp.full_like(share, math.nan), share)


def _averaged(values, positive, average, xp):
    """The mean over columns (*members, columns); one that no row is of has no weight in the weighted one."""
    if average == "weighted" and values.shape[-1] > 1:
        support = xp.sum(positive, axis=-1)
        values = xp.where(support == 0.0, xp.zeros_like(values), values)
        return weighted_mean(values, support, xp=xp)
    return xp.mean(values, axis=-1)


roc_auc = RocAuc()
average_precision = AveragePrecision()
top_k_accuracy = TopK()
