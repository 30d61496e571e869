"""How a gradient becomes a step: pure functions on the flat vector of all parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnn._arguments import lookup
from xpnn._lazy import attach
from xpnn.optimizers.base import Optimizer, number_fields

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.optimizers.adam import Adam, AdamState
    from xpnn.optimizers.descent import SGD, SGDState

_HOME = {"adam": "Adam AdamState", "descent": "SGD SGDState"}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["Optimizer", "get", "number_fields"]

_NAMES = {"sgd": "SGD", "adam": "Adam"}


def get(optimizer: str | Optimizer | type[Optimizer]) -> Optimizer:
    """The optimizer of that name with its defaults, or the object itself.

    >>> get("adam").learning_rate
    0.001
    """
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer()
    if isinstance(optimizer, Optimizer):
        return optimizer
    return __getattr__(lookup("optimizer", optimizer, _NAMES))()
