"""How good predictions are, in numbers that people read: metric(prediction, target, weight=None) -> value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xpnn._arguments import as_list, named
from xpnn._lazy import attach
from xpnn.losses import Loss, Penalized
from xpnn.metrics.base import Metric, name_of
from xpnn.metrics.seen import check, convert, problem

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.metrics.classification import (
        Accuracy,
        BalancedAccuracy,
        FBeta,
        MatthewsCorrelation,
        Precision,
        Recall,
        accuracy,
        balanced_accuracy,
        f1,
        matthews_corrcoef,
        precision,
        recall,
    )
    from xpnn.metrics.probability import BrierScore, LogLoss, brier_score, log_loss
    from xpnn.metrics.ranking import AveragePrecision, RocAuc, TopK, average_precision, roc_auc, top_k_accuracy
    from xpnn.metrics.regression import (
        R2,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredError,
        MedianAbsoluteError,
        Pinball,
        RootMeanSquaredError,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_error,
        median_absolute_error,
        pinball,
        r2,
        root_mean_squared_error,
    )

_HOME = {
    "classification": "Accuracy BalancedAccuracy FBeta MatthewsCorrelation Precision Recall "
    "accuracy balanced_accuracy f1 matthews_corrcoef precision recall",
    "probability": "BrierScore LogLoss brier_score log_loss",
    "ranking": "AveragePrecision RocAuc TopK average_precision roc_auc top_k_accuracy",
    "regression": "MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError MedianAbsoluteError Pinball R2 "
    "RootMeanSquaredError mean_absolute_error mean_absolute_percentage_error mean_squared_error "
    "median_absolute_error pinball r2 root_mean_squared_error",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["Metric", "better_end", "check", "choose", "convert", "get", "name_of", "problem"]

_ALIASES = {
    "mae": "mean_absolute_error",
    "mse": "mean_squared_error",
    "rmse": "root_mean_squared_error",
    "mape": "mean_absolute_percentage_error",
    "fbeta": "f1",
}
_NAMES = {name: name for names in _HOME.values() for name in names.split() if name.islower()} | _ALIASES


def get(metric: Any, **options: Any) -> Callable:
    """The metric of that name with `options`, or the callable itself: metric(prediction, target, *, xp, weight).

    >>> get("accuracy"), get("f1", beta=2.0)
    (Accuracy(), FBeta(beta=2.0, average=None))
    """
    found = named("metric", metric, options, _NAMES, find=__getattr__)
    _check_form(found)
    return found


def better_end(metric: Callable) -> str:
    """Which of its values are better, by its `greater_is_better`: "max" or "min".

    A function that does not say counts as the metric whose name it has, else as an error.

    >>> better_end(get("f1")), better_end(get("mae"))
    ('max', 'min')
    """
    says = getattr(metric, "greater_is_better", None)
    if says is None and name_of(metric) in _NAMES:
        says = get(name_of(metric)).greater_is_better  # type: ignore[attr-defined]
    return "max" if says else "min"


def choose(given: Any) -> list[Callable]:
    """A list of metrics by name or as callables, each with a name of its own."""
    chosen = [get(one) for one in as_list("metrics", given)]
    names = [name_of(metric) for metric in chosen]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"metrics must differ in name, but {sorted(twice)} stands there twice: give one a `name`")
    if "loss" in names:
        raise ValueError("metrics must not be called 'loss', which stands for the loss itself")
    return chosen


def _check_form(metric: Callable) -> None:
    """Raise where `metric` is a loss, or says that it takes no `xp` or no `weight`."""
    if isinstance(metric, Loss | Penalized):
        raise TypeError(
            f"metrics must not hold a loss, which gives a gradient too, got {metric!r}: take a metric by name, "
            "or a function of the form metric(prediction, target, *, xp, weight) -> value"
        )
    try:
        taken = inspect.signature(metric).parameters
    except (TypeError, ValueError):  # a compiled function may not say what it takes
        return
    by_name = {name for name, one in taken.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    if not {"xp", "weight"} <= by_name and not any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        raise TypeError(
            f"a metric must be of the form metric(prediction, target, *, xp, weight) -> value, "
            f"got {name_of(metric)}({', '.join(map(str, taken))})"
        )
