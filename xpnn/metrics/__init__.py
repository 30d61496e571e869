"""How good predictions are, in numbers that people read: metric(prediction, target, weight=None) -> value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xpnn._arguments import as_list, lookup
from xpnn._lazy import attach
from xpnn.metrics.base import Metric, convert, name_of

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.metrics.classification import Accuracy, accuracy

_HOME = {"classification": "Accuracy accuracy"}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["Metric", "choose", "convert", "get", "name_of"]

_NAMES = {"accuracy": "accuracy"}


def get(metric: Any) -> Callable:
    """The metric of that name, or the callable itself.

    >>> get("accuracy")
    Accuracy()
    """
    if isinstance(metric, type) and issubclass(metric, Metric):
        return metric()
    return metric if callable(metric) else __getattr__(lookup("metric", metric, _NAMES))


def choose(given: Any) -> list[Callable]:
    """A list of metrics by name or as callables, each with a name of its own."""
    chosen = [get(one) for one in as_list("metrics", given)]
    names = [name_of(metric) for metric in chosen]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"metrics must differ in name, but {sorted(twice)} stands there twice: give one a `name`")
    if "loss" in names:
        raise ValueError("metrics must not be called 'loss', which stands for the loss itself")
    return chosen
