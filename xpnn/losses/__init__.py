"""What training makes small: a loss gives its value and the gradient of exactly that value from one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnn._arguments import lookup
from xpnn._lazy import attach

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.losses.base import Loss
    from xpnn.losses.classification import (
        BinaryCrossEntropy,
        SoftmaxCrossEntropy,
        binary_cross_entropy,
        softmax_cross_entropy,
    )
    from xpnn.losses.regression import MeanSquaredError, mean_squared_error

_HOME = {
    "base": "Loss",
    "regression": "MeanSquaredError mean_squared_error",
    "classification": "BinaryCrossEntropy SoftmaxCrossEntropy binary_cross_entropy softmax_cross_entropy",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["get"]

_NAMES = {
    "mean_squared_error": "mean_squared_error",
    "mse": "mean_squared_error",
    "binary_cross_entropy": "binary_cross_entropy",
    "bce": "binary_cross_entropy",
    "softmax_cross_entropy": "softmax_cross_entropy",
    "cross_entropy": "softmax_cross_entropy",
}


def get(loss: Any) -> Any:
    """The loss of that name, or the callable itself: any `(prediction, target, *, xp, weight) -> (value, gradient)`.

    >>> get("mse")
    MeanSquaredError()
    """
    if isinstance(loss, type) and hasattr(loss, "terms"):
        return loss()
    return loss if callable(loss) else __getattr__(lookup("loss", loss, _NAMES))
