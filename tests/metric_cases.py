"""Every metric beside scikit-learn's function of the same predictions and targets, with many ties."""

import functools
from typing import NamedTuple

import numpy as np
import pytest

from xpnn import metrics
from xpnn.backend import resolve
from xpnn.metrics import AveragePrecision, FBeta, Pinball, Precision, Recall, RocAuc, TopK

theirs = pytest.importorskip("sklearn.metrics")


class Case(NamedTuple):
    """Predictions and targets of one kind, with many ties; `seen` is the prediction as class columns or numbers."""

    seen: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def case(kind, rows=30, seed=0, members=None):
    rng = np.random.default_rng(seed)
    lead = (rows,) if members is None else (members, rows)
    weight = rng.choice([0.0, 0.5, 1.0, 2.75], size=rows)
    weight[:4] = 1.0, 0.25, 2.0, 0.75  # each class has some
    if kind == "numbers":
        target = rng.integers(-3, 4, size=(rows, 2)) * 0.7
        target[:2] = [[0.0, 0.7], [2.1, -1.4]]
        return Case(rng.integers(-3, 4, size=(*lead, 2)) * 0.7, target, weight)
    if kind == "labels":
        target = rng.integers(0, 2, size=(rows, 3)).astype(float)
        target[:2] = [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
        return Case(rng.integers(0, 9, size=(*lead, 3)) / 8.0, target, weight)
    classes = {"two": 2, "four": 4}[kind]
    target = rng.integers(0, classes, size=rows)
    target[:classes] = range(classes)
    return Case(rng.multinomial(8, [1.0 / classes] * classes, size=lead) / 8.0, target, weight)


def given_to(metric, kind, case):
    """Prediction and target in the form that the metric declares."""
    seen, target = case.seen, case.target
    if kind == "labels" and metric.needs == "one_hot":
        return (seen > 0.5).astype(float), target
    if metric.needs == "one_hot":
        return np.eye(seen.shape[-1])[seen.argmax(-1)], target
    return (seen.argmax(-1).astype(float), target.astype(float)) if metric.needs == "labels" else (seen, target)


def of_labels(function, **options):
    """scikit-learn's function of the labels that are said."""

    def score(seen, target, weight):
        said = (seen > 0.5).astype(float) if target.ndim == 2 else seen.argmax(-1)
        return function(target, said, sample_weight=weight, **options)

    return score


def of_scores(function, **options):
    """scikit-learn's function of scores, of two classes those of the second."""

    def score(seen, target, weight):
        column = seen[:, 1] if target.ndim == 1 and seen.shape[1] == 2 else seen
        return function(target, column, sample_weight=weight, **options)

    return score


def of_rows(function, **options):
    return lambda seen, target, weight: function(target, seen, sample_weight=weight, **options)


def top_k(k):
    def score(seen, target, weight):
        column = seen[:, 1] if seen.shape[1] == 2 else seen
        return theirs.top_k_accuracy_score(target, column, k=k, sample_weight=weight)

    return score


def averaged(metric, function, **options):
    """A metric of the classes that are said, with every average that scikit-learn has for the kind."""
    for average in (None, "binary", "macro", "micro", "weighted"):
        for kind in ("two", "four", "labels"):
            if average == "binary" and kind != "two":
                continue
            usual = "binary" if kind == "two" else "macro"
            score = of_labels(function, average=average or usual, zero_division=0.0, **options)
            yield metric(average=average), kind, score


# Ours, the kind of problem, and scikit-learn's function of (seen, target, weight).
TABLE = [
    *((metrics.accuracy, kind, of_labels(theirs.accuracy_score)) for kind in ("two", "four")),
    *((metrics.balanced_accuracy, kind, of_labels(theirs.balanced_accuracy_score)) for kind in ("two", "four")),
    *((metrics.matthews_corrcoef, kind, of_labels(theirs.matthews_corrcoef)) for kind in ("two", "four")),
    *averaged(Precision, theirs.precision_score),
    *averaged(Recall, theirs.recall_score),
    *averaged(FBeta, theirs.f1_score),
    *averaged(functools.partial(FBeta, 2.5), theirs.fbeta_score, beta=2.5),
    *averaged(functools.partial(FBeta, 0.0), theirs.precision_score),
    (metrics.roc_auc, "two", of_scores(theirs.roc_auc_score)),
    (metrics.roc_auc, "four", of_scores(theirs.roc_auc_score, multi_class="ovr")),
    (metrics.roc_auc, "labels", of_scores(theirs.roc_auc_score)),
    (RocAuc(multi_class="ovo"), "two", of_scores(theirs.roc_auc_score)),
    (RocAuc(multi_class="ovo"), "labels", of_scores(theirs.roc_auc_score)),
    *(
        (RocAuc(average=average), kind, of_scores(theirs.roc_auc_score, multi_class="ovr", average=average))
        for average in ("weighted", "micro")
        for kind in ("two", "four", "labels")
    ),
    *(
        (AveragePrecision(average), kind, of_scores(theirs.average_precision_score, average=average))
        for average in ("macro", "weighted", "micro")
        for kind in ("two", "four", "labels")
    ),
    *((TopK(k), kind, top_k(k)) for kind, k in (("two", 1), ("four", 1), ("four", 2), ("four", 3))),
    *((metrics.log_loss, kind, of_rows(theirs.log_loss)) for kind in ("two", "four")),
    (metrics.brier_score, "two", of_scores(theirs.brier_score_loss)),
    (metrics.brier_score, "four", of_rows(theirs.brier_score_loss)),
    (metrics.r2, "numbers", of_rows(theirs.r2_score)),
    (metrics.mean_absolute_error, "numbers", of_rows(theirs.mean_absolute_error)),
    (metrics.mean_squared_error, "numbers", of_rows(theirs.mean_squared_error)),
    (metrics.root_mean_squared_error, "numbers", of_rows(theirs.root_mean_squared_error)),
    (metrics.mean_absolute_percentage_error, "numbers", of_rows(theirs.mean_absolute_percentage_error)),
    (metrics.median_absolute_error, "numbers", of_rows(theirs.median_absolute_error)),
    *((Pinball(a), "numbers", of_rows(theirs.mean_pinball_loss, alpha=a)) for a in (0.0, 0.1, 0.5, 0.9, 1.0)),
]
IDS = [f"{metric.name}-{kind}" for metric, kind, _ in TABLE]
NUMPY = resolve("numpy", "float64")


EVERY = pytest.mark.parametrize(("metric", "kind", "score"), TABLE, ids=IDS)


def measured(metric, kind, case, weight, backend):
    """The metric on the backend's own arrays."""
    prediction, target = given_to(metric, kind, case)
    target = backend.asarray(target, dtype=None if target.dtype.kind == "i" else "float")
    weight = None if weight is None else backend.asarray(weight)
    more = {"multilabel": True} if kind == "labels" else {}
    return metric(backend.asarray(prediction), target, xp=backend.xp, weight=weight, **more)
