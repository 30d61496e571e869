"""What training makes small: a loss gives its value and the gradient of exactly that value from one function.

`loss(prediction, target, weight=None) -> (value, gradient)`. prediction is (*members, batch, outputs), the gradient
has its shape, the value has the shape of the members: () for one network. The value is the mean over batch and
outputs; with weights (batch,) or (*members, batch) it is the weighted mean, sum(w l) / sum(w), and zero where all
weights are zero.

A loss may have a `link`, the activation that turns its logits into probabilities. Such a loss takes logits; the two
are computed together, which is stable where the probability itself would round to 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn._arguments import lookup
from xpnn.activations import Activation, sigmoid, softmax
from xpnn.layers.base import Array
from xpnn.special import by_hand


@dataclass(frozen=True)
class Loss:
    """The contract of a loss. Subclasses write `terms(prediction, target)`.

    It gives the terms whose mean is the loss, (*members, batch, outputs) or (*members, batch, 1), and the gradient of
    each row's mean with respect to the prediction, (*members, batch, outputs). `targets` is "float" (target of the
    prediction's shape) or "classes" (class indices (*, batch) of an integer type, or class probabilities
    (*, batch, outputs) of the prediction's type). `target_range` bounds a floating-point target's values.
    """

    link: ClassVar[Activation | None] = None
    targets: ClassVar[str] = "float"
    target_range: ClassVar[tuple[float, float] | None] = None

    def __call__(
        self, prediction: Array, target: Array, *, xp: Any = None, weight: Array | None = None
    ) -> tuple[Array, Array]:
        """The value and its gradient with respect to `prediction`; `xp` is inferred where it is left out."""
        if xp is None:
            prediction, xp = by_hand(prediction)
            target = _like(target, prediction, self.targets, xp)
            weight = None if weight is None else _like(weight, prediction, "float", xp)
        self.check_shapes(prediction, target, weight, xp=xp)
        terms, gradient = self.terms(prediction, target, xp=xp)
        if weight is None:
            rows, width = terms.shape[-2:]
            return xp.sum(terms, axis=(-2, -1)) * (1.0 / (rows * width)), gradient * (1.0 / rows)
        share = shares(weight, xp=xp)
        rows = xp.mean(terms, axis=-1)  # (*members, batch)
        return xp.sum(share * rows, axis=-1), gradient * share[..., None]

    def terms(self, prediction: Array, target: Array, *, xp: Any) -> tuple[Array, Array]:
        raise NotImplementedError(f"{type(self).__name__} does not say what an error costs")

    def check_shapes(self, prediction: Array, target: Array, weight: Array | None, *, xp: Any) -> None:
        """Raise where the shapes would broadcast to something that nobody meant."""
        if prediction.ndim < 2:
            raise ValueError(f"prediction must be (batch, outputs), got shape {tuple(prediction.shape)}")
        indices = self.targets == "classes" and xp.isdtype(target.dtype, "integral")
        given = target.shape[-1:] if indices else target.shape[-2:]
        wanted = prediction.shape[-2:-1] if indices else prediction.shape[-2:]
        if tuple(given) != tuple(wanted):
            raise ValueError(
                f"{type(self).__name__}: target of shape {tuple(target.shape)} does not fit prediction of shape "
                f"{tuple(prediction.shape)}"
            )
        if weight is not None and (weight.ndim >= prediction.ndim or weight.shape[-1] != prediction.shape[-2]):
            raise ValueError(f"weight must be ({prediction.shape[-2]},), one a row, got shape {tuple(weight.shape)}")


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """l = mean over the outputs of (p - t)^2; dl/dp = 2 (p - t) / outputs. By name also "mse".

    >>> value, gradient = mean_squared_error([[1.0], [0.0]], [[0.0], [0.0]])
    >>> float(value), gradient
    (0.5, array([[1.],
           [0.]]))
    """

    def terms(self, prediction, target, *, xp):
        error = prediction - target
        return error * error, error * (2.0 / prediction.shape[-1])


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """l = mean over the outputs of -t log s(z) - (1 - t) log(1 - s(z)), of logits z and targets t in [0, 1].

    Computed as max(z, 0) - z t + log(1 + exp(-|z|)), which is stable for every z; dl/dz = (s(z) - t) / outputs, with
    s the sigmoid, its link. Bishop (2006), "Pattern Recognition and Machine Learning", eq. 4.90-4.91. By name also
    "bce".

    >>> value, gradient = binary_cross_entropy([[0.0], [1000.0]], [[1.0], [1.0]])
    >>> round(float(value), 4), gradient
    (0.3466, array([[-0.25],
           [ 0.  ]]))
    """

    link: ClassVar = sigmoid
    target_range: ClassVar = (0.0, 1.0)

    def terms(self, prediction, target, *, xp):
        loss = xp.maximum(prediction, 0.0) - prediction * target + xp.log1p(xp.exp(-xp.abs(prediction)))
        probability, _ = sigmoid.value(prediction, xp=xp)
        return loss, (probability - target) * (1.0 / prediction.shape[-1])


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """l = -sum_k t_k log softmax(z)_k, of logits z and a class index or a row of class probabilities t.

    log softmax(z)_k = z_k - max z - log sum_j exp(z_j - max z); dl/dz = softmax(z) sum_k t_k - t. Softmax is its link.
    Bishop (2006), eq. 4.108-4.109. By name also "cross_entropy".

    >>> value, gradient = softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> round(float(value), 4), gradient
    (0.6931, array([[ 0.5, -0.5]]))
    """

    link: ClassVar = softmax
    targets: ClassVar = "classes"
    target_range: ClassVar = (0.0, 1.0)

    def terms(self, prediction, target, *, xp):
        shifted = prediction - xp.max(prediction, axis=-1, keepdims=True)
        powers = xp.exp(shifted)
        total = xp.sum(powers, axis=-1, keepdims=True)
        if xp.isdtype(target.dtype, "integral"):
            target = one_hot(target, prediction, xp=xp)
            mass = 1.0
        else:
            mass = xp.sum(target, axis=-1, keepdims=True)
        loss = -xp.sum(target * (shifted - xp.log(total)), axis=-1, keepdims=True)
        return loss, powers * (mass / total) - target


def shares(weight: Array, *, xp: Any) -> Array:
    """Weights (*, batch) as each row's share of their sum; zeros where all are zero."""
    total = xp.sum(weight, axis=-1, keepdims=True)
    return weight / xp.where(total == 0.0, xp.ones_like(total), total)


def one_hot(index: Array, like: Array, *, xp: Any) -> Array:
    """Class indices (*, batch) as rows of zeros with a one, of the width and dtype of `like` (*, batch, classes)."""
    classes = xp.arange(like.shape[-1], dtype=index.dtype, device=getattr(index, "device", None))
    return xp.astype(index[..., None] == classes, like.dtype)


def _like(values: Any, prediction: Array, kind: str, xp: Any) -> Array:
    """What is given by hand as an array beside `prediction`: indices stay integers, all else takes its dtype."""
    values = xp.asarray(values, device=getattr(prediction, "device", None))
    if kind == "classes" and xp.isdtype(values.dtype, "integral") and values.ndim < prediction.ndim:
        return values
    return xp.astype(values, prediction.dtype)


mean_squared_error = MeanSquaredError()
binary_cross_entropy = BinaryCrossEntropy()
softmax_cross_entropy = SoftmaxCrossEntropy()

_NAMES = {
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "binary_cross_entropy": binary_cross_entropy,
    "bce": binary_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
    "cross_entropy": softmax_cross_entropy,
}


def get(loss: Any) -> Any:
    """The loss of that name, or the callable itself: any `(prediction, target, *, xp, weight) -> (value, gradient)`.

    >>> get("mse")
    MeanSquaredError()
    """
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    return loss if callable(loss) else lookup("loss", loss, _NAMES)
