"""How a gradient becomes a step: pure functions on the flat vector of all parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnn._arguments import named
from xpnn._lazy import attach
from xpnn.optimizers.base import Averaged, Optimizer, number_fields

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.optimizers.adam import Adam, AdamState, AdamW, AMSGradState
    from xpnn.optimizers.adam_variants import NAdam, NAdamState, RAdam, RAdamState
    from xpnn.optimizers.adaptive import Adagrad, AdagradState, RMSprop, RMSpropState
    from xpnn.optimizers.descent import SGD, Lion, LionState, SGDState

_HOME = {
    "adam": "Adam AdamW AdamState AMSGradState",
    "adam_variants": "NAdam RAdam NAdamState RAdamState",
    "adaptive": "Adagrad RMSprop AdagradState RMSpropState",
    "descent": "Lion SGD LionState SGDState",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["Averaged", "Optimizer", "get", "number_fields"]

_FLAGS = {"nesterov": {"momentum": 0.9, "nesterov": True}, "amsgrad": {"amsgrad": True}}  # names that are options
_NAMES = {name.lower(): name for name in ("SGD", "Lion", "RMSprop", "Adagrad", "Adam", "AdamW", "NAdam", "RAdam")}
_NAMES |= {"nesterov": "SGD", "amsgrad": "Adam"}


def get(optimizer: str | Optimizer | type[Optimizer], **options: Any) -> Optimizer:
    """The optimizer of that name with `options`, or the object itself.

    >>> get("adam", learning_rate=0.1), get("nesterov")
    (Adam(learning_rate=0.1), SGD(momentum=0.9, nesterov=True))
    """
    if isinstance(optimizer, str):
        options = _FLAGS.get(optimizer.strip().lower(), {}) | options
    return named("optimizer", optimizer, options, _NAMES, _is_optimizer, __getattr__)


def _is_optimizer(given: Any) -> bool:
    return isinstance(given, Optimizer) or (isinstance(given, type) and issubclass(given, Optimizer))
