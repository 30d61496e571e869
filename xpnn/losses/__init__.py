"""What training makes small: a loss gives its value and the gradient of exactly that value from one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnn._arguments import named
from xpnn._lazy import attach

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.losses.base import Loss
    from xpnn.losses.classification import (
        BinaryCrossEntropy,
        Focal,
        Hinge,
        KLDivergence,
        SoftmaxCrossEntropy,
        binary_cross_entropy,
        focal,
        hinge,
        kl_divergence,
        softmax_cross_entropy,
    )
    from xpnn.losses.distribution import GaussianNLL, Poisson, Quantile, gaussian_nll, poisson, quantile
    from xpnn.losses.penalized import Penalized
    from xpnn.losses.regression import (
        CosineDistance,
        Huber,
        LogCosh,
        MeanAbsoluteError,
        MeanSquaredError,
        cosine_distance,
        huber,
        log_cosh,
        mean_absolute_error,
        mean_squared_error,
    )

_HOME = {
    "base": "Loss",
    "regression": "MeanSquaredError MeanAbsoluteError Huber LogCosh CosineDistance mean_squared_error "
    "mean_absolute_error huber log_cosh cosine_distance",
    "classification": "BinaryCrossEntropy SoftmaxCrossEntropy KLDivergence Focal Hinge binary_cross_entropy "
    "softmax_cross_entropy kl_divergence focal hinge",
    "distribution": "Poisson Quantile GaussianNLL poisson quantile gaussian_nll",
    "penalized": "Penalized",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["get"]

_ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "bce": "binary_cross_entropy",
    "cross_entropy": "softmax_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy",  # Keras's, which asks from_logits for what the link says here
    "sparse_categorical_crossentropy": "softmax_cross_entropy",
    "cosine": "cosine_distance",
    "pinball": "quantile",
}
_NAMES = {name: name for names in _HOME.values() for name in names.split() if name.islower()} | _ALIASES


def get(loss: Any, **options: Any) -> Any:
    """The loss of that name with `options`, or the callable itself.

    A loss may be any function `(prediction, target, *, xp, weight) -> (value, gradient)`.

    >>> get("mse"), get("quantile", levels=(0.1, 0.9))
    (MeanSquaredError(), Quantile(levels=(0.1, 0.9)))
    """
    return named("loss", loss, options, _NAMES, find=__getattr__)
