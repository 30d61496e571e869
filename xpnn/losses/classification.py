"""Losses of predictions that are classes, taken from logits where there is a probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn.activations.basic import sigmoid, softmax
from xpnn.losses.base import Loss, one_hot


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


binary_cross_entropy = BinaryCrossEntropy()
softmax_cross_entropy = SoftmaxCrossEntropy()
