"""Metrics of the classes that are named: how often they are right, and in which direction they are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn._arguments import check_choice, check_number, settle
from xpnn.metrics.base import Metric, brief
from xpnn.metrics.sums import column_sums, mean_of_rows, ratio, weighted_mean


@dataclass(frozen=True)
class Accuracy(Metric):
    """The share of rows whose label is right; with several yes-or-no outputs, the rows where all are right.

    scikit-learn's accuracy_score. Under a loss of numbers, as the mean squared error of a network that ends in no
    probability, a number above one half counts as yes: right for targets of 0 and 1, but no values are looked at to
    refuse others, of which it then says nothing.

    >>> float(accuracy([0, 1, 2], [0, 1, 1]).round(4))
    0.6667
    """

    needs: ClassVar = "labels"
    title: ClassVar = "accuracy"
    greater_is_better: ClassVar = True

    def value(self, prediction, target, *, xp, weight=None):
        return mean_of_rows(xp.astype(prediction == target, prediction.dtype), xp=xp, weight=weight)


@dataclass(frozen=True)
class BalancedAccuracy(Metric):
    """The mean over the classes that occur of the share of their rows that is named right (their recall).

    Guessing gives 1 / classes however rare a class is. scikit-learn's balanced_accuracy_score.

    >>> float(balanced_accuracy([[1, 0], [1, 0], [1, 0], [0, 1]], [0, 0, 1, 1]))
    0.75
    """

    needs: ClassVar = "one_hot"
    title: ClassVar = "balanced_accuracy"
    greater_is_better: ClassVar = True

    def value(self, prediction, target, *, xp, weight=None):
        hit, _, true = _counts(prediction, target, weight, xp)
        occurs = xp.astype(true > 0.0, true.dtype)
        return weighted_mean(ratio(hit, true, xp=xp), occurs, xp=xp)


@dataclass(frozen=True)
class MatthewsCorrelation(Metric):
    """The correlation of prediction and target, both as one-hot rows: 1 where all are right, 0 for guessing.

    With n rows, c of them right, t_k of class k and p_k named so (sums of weights):

        (c n - sum_k t_k p_k) / sqrt((n^2 - sum_k p_k^2) (n^2 - sum_k t_k^2)),   0 where the root is

    Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient". By name
    "matthews_corrcoef", as in scikit-learn.

    >>> float(matthews_corrcoef([[0, 1], [1, 0], [0, 1], [0, 1]], [1, 1, 1, 0]).round(4))
    -0.3333
    """

    needs: ClassVar = "one_hot"
    title: ClassVar = "matthews_corrcoef"
    greater_is_better: ClassVar = True

    def value(self, prediction, target, *, xp, weight=None):
        hit, said, true = _counts(prediction, target, weight, xp)
        rows = xp.sum(true, axis=-1, keepdims=True)
        together = xp.sum(hit * rows - true * said, axis=-1)
        # sum_k p_k (n - p_k) is n^2 - sum_k p_k^2 without its cancellation: exactly 0 where one class has all rows.
        apart = [xp.sum(one * (xp.sum(one, axis=-1, keepdims=True) - one), axis=-1) for one in (said, true)]
        scale = xp.sqrt(apart[0]) * xp.sqrt(apart[1])
        value = xp.where(scale == 0.0, xp.zeros_like(scale), ratio(together, scale, xp=xp))
        return xp.minimum(xp.maximum(value, -1.0), 1.0)  # which rounding can pass


@dataclass(frozen=True)
class _Found(Metric):
    """hit / (a said + (1 - a) true): of the rows that are said or truly of a class, the part that are both.

    a is 1 for the precision, 0 for the recall and between them for F-beta; 0 where the denominator is.
    """

    average = None  # a field of the subclasses, after their own

    needs: ClassVar = "one_hot"
    multilabel: ClassVar = True
    greater_is_better: ClassVar = True

    def __post_init__(self):
        if self.average is not None:
            settle(self, check_choice, "average", among=("binary", "micro", "macro", "weighted"))

    def share_of_said(self) -> float:
        """The a of the formula."""
        raise NotImplementedError(f"{type(self).__name__} must define share_of_said(self)")

    def check_columns(self, columns, multilabel):
        super().check_columns(columns, multilabel)
        if self.average == "binary" and (multilabel or columns != 2):
            of = f"{columns} {'yes-or-no outputs' if multilabel else 'classes'}"
            raise ValueError(f"{self.name}: average must be 'micro', 'macro' or 'weighted' for {of}, got 'binary'")

    def value(self, prediction, target, *, xp, weight=None, multilabel=False):
        two = prediction.shape[-1] == 2 and not multilabel
        average = self.average or ("binary" if two else "macro")
        hit, said, true = _counts(prediction, target, weight, xp)
        if average == "micro":
            hit, said, true = (xp.sum(one, axis=-1) for one in (hit, said, true))
        a = self.share_of_said()
        # hit is in both sums, and stands alone here so that rounding makes no more of it than of the whole.
        found = ratio(hit, hit + a * (said - hit) + (1.0 - a) * (true - hit), xp=xp)
        if average == "micro":
            return found
        if average == "binary":
            return found[..., 1]
        if average == "macro":
            # As in scikit-learn: a class that occurs neither in the target nor in the prediction does not count.
            rows = column_sums(prediction, xp=xp) + column_sums(target, xp=xp)
            true = xp.ones_like(found) if multilabel else xp.astype(rows > 0.0, found.dtype)
        return weighted_mean(found, true, xp=xp)


@dataclass(frozen=True)
class Precision(_Found):
    """Of the rows that are said to be of a class, the share that truly is; 0 where none is.

    Parameters
    ----------
    average : over classes: "binary" is the second of two (the default for two), "macro" the mean over the classes that
        occur (else the default), "weighted" the mean weighted by how often they do, "micro" counts all rows together.

    scikit-learn's precision_score.

    >>> float(precision([[0, 1], [0, 1], [1, 0]], [1, 0, 1]))
    0.5
    """

    average: str | None = None

    title: ClassVar = "precision"

    def share_of_said(self):
        return 1.0


@dataclass(frozen=True)
class Recall(_Found):
    """Of the rows that truly are of a class, the share that is said to be; 0 where there is none.

    Parameters
    ----------
    average : over classes, as in `Precision`.

    scikit-learn's recall_score.

    >>> float(recall([[0, 1], [1, 0], [1, 0]], [1, 0, 1]))
    0.5
    """

    average: str | None = None

    title: ClassVar = "recall"

    def share_of_said(self):
        return 0.0


@dataclass(frozen=True)
class FBeta(_Found):
    """(1 + beta^2) p r / (beta^2 p + r), the harmonic mean of precision p and recall r, r counting beta times as much.

    Computed as hit / (a said + (1 - a) true), a = 1 / (1 + beta^2), from the rows rightly said to be of a class, those
    said to be, and those truly of it. By name "f1".

    Parameters
    ----------
    beta : weight of the recall, >= 0; 0 is the precision.
    average : over classes, as in `Precision`.

    van Rijsbergen (1979), "Information retrieval", chapter 7; scikit-learn's fbeta_score.

    >>> float(f1([[0, 1], [0, 1], [1, 0]], [1, 0, 0]).round(4))
    0.6667
    """

    beta: float = 1.0
    average: str | None = None

    def __post_init__(self):
        super().__post_init__()
        settle(self, check_number, "beta", low=0.0)

    @property
    def name(self):
        return "_".join([f"f{brief(self.beta)}", *([self.average] if self.average else [])])

    def share_of_said(self):
        return 1.0 / (1.0 + self.beta * self.beta)


def _counts(prediction, target, weight, xp):
    """The rows (*members, classes) rightly said to be of each class, those said to be, and those truly of it."""
    hit = column_sums(prediction * target, xp=xp, weight=weight)
    return hit, column_sums(prediction, xp=xp, weight=weight), column_sums(target, xp=xp, weight=weight)


accuracy = Accuracy()
balanced_accuracy = BalancedAccuracy()
matthews_corrcoef = MatthewsCorrelation()
precision = Precision()
recall = Recall()
f1 = FBeta()
