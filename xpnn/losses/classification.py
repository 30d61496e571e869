"""Losses of predictions that are classes, taken from logits where there is a probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn._arguments import ABOVE_ZERO, BELOW_ONE, Number, check_number, settle
from xpnn.activations.basic import sigmoid, softmax
from xpnn.losses.base import Loss, class_rows


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """l = mean over the outputs of -t log s(z) - (1 - t) log(1 - s(z)), of logits z and targets t in [0, 1].

    Computed as max(z, 0) - z t + log(1 + exp(-|z|)), which is stable for every z; dl/dz = (s(z) - t) / outputs, with
    s the sigmoid, its link. By name also "bce".

    Parameters
    ----------
    label_smoothing : share a of the target that is one half: t becomes (1 - a) t + a / 2. 0 <= a < 1.

    Bishop (2006), "Pattern Recognition and Machine Learning", eq. 4.90-4.91; Szegedy et al. (2016), "Rethinking the
    inception architecture", section 7.

    >>> value, gradient = binary_cross_entropy([[0.0], [1000.0]], [[1.0], [1.0]])
    >>> round(float(value), 4), gradient
    (0.3466, array([[-0.25],
           [ 0.  ]]))
    """

    label_smoothing: Number = 0.0

    link: ClassVar = sigmoid
    target_range: ClassVar = (0.0, 1.0)

    numbers: ClassVar = {"label_smoothing": BELOW_ONE}

    def terms(self, prediction, target, *, xp):
        if "label_smoothing" in self.held:
            target = (1.0 - self.label_smoothing) * target + 0.5 * self.label_smoothing
        probability, _ = sigmoid.value(prediction, xp=xp)
        return _cross_entropy(prediction, target, xp), (probability - target) * (1.0 / prediction.shape[-1])


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """l = -sum_k t_k log softmax(z)_k, of logits z and a class index or a row of class probabilities t.

    log softmax(z)_k = z_k - max z - log sum_j exp(z_j - max z); dl/dz = softmax(z) sum_k t_k - t. Softmax is its link.
    By name also "cross_entropy".

    Parameters
    ----------
    label_smoothing : share a of the target that is spread over all K classes: t becomes (1 - a) t + a / K. 0 <= a < 1.

    Bishop (2006), eq. 4.108-4.109; Szegedy et al. (2016), "Rethinking the inception architecture", section 7.

    >>> value, gradient = softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> round(float(value), 4), gradient
    (0.6931, array([[ 0.5, -0.5]]))
    """

    label_smoothing: Number = 0.0

    link: ClassVar = softmax
    targets: ClassVar = "classes"
    target_range: ClassVar = (0.0, 1.0)

    numbers: ClassVar = {"label_smoothing": BELOW_ONE}

    def terms(self, prediction, target, *, xp):
        target, mass = class_rows(target, prediction, xp=xp)
        if "label_smoothing" in self.held:
            smoothing = self.label_smoothing
            target = (1.0 - smoothing) * target + smoothing / prediction.shape[-1]
            mass = (1.0 - smoothing) * mass + smoothing
        logarithm, powers, total = _log_softmax(prediction, xp)
        return -xp.sum(target * logarithm, axis=-1, keepdims=True), powers * (mass / total) - target


@dataclass(frozen=True)
class KLDivergence(Loss):
    """l = sum_k t_k (log t_k - log softmax(z)_k): how far softmax(z) is from the distribution t, 0 where they agree.

    The cross-entropy less the entropy of t, which no z changes: dl/dz = softmax(z) sum_k t_k - t. 0 log 0 is 0.
    Softmax is its link. By name "kl_divergence".

    Kullback and Leibler (1951), "On information and sufficiency"; PyTorch's kl_div with reduction "batchmean".

    >>> value, gradient = kl_divergence([[0.0, 0.0]], [[0.5, 0.5]])
    >>> float(value), gradient
    (0.0, array([[0., 0.]]))
    """

    link: ClassVar = softmax
    targets: ClassVar = "classes"
    target_range: ClassVar = (0.0, 1.0)

    def terms(self, prediction, target, *, xp):
        target, mass = class_rows(target, prediction, xp=xp)
        logarithm, powers, total = _log_softmax(prediction, xp)
        own = xp.log(xp.where(target > 0.0, target, xp.ones_like(target)))
        return xp.sum(target * (own - logarithm), axis=-1, keepdims=True), powers * (mass / total) - target


@dataclass(frozen=True)
class Focal(Loss):
    """l = mean over the outputs of a q^gamma c: the cross-entropy c, weighted by how far q the prediction is off.

    c is the binary cross-entropy of the logit z, q = p (1 - t) + (1 - p) t the probability given to the wrong answer,
    with p = s(z), and a = alpha t + (1 - alpha) (1 - t). With dp/dz = p (1 - p):

        dl/dz = a q^gamma (gamma (1 - 2 t) p (1 - p) c / q + p - t) / outputs

    Examples that are already right hardly count, which helps where one class is rare. The sigmoid is its link.

    Parameters
    ----------
    gamma : how strongly they are played down, >= 0.
    alpha : weight of the class 1, between 0 and 1, or None to weight neither.

    Lin et al. (2017), "Focal loss for dense object detection", eq. 5; torchvision's sigmoid_focal_loss.

    >>> value, gradient = focal([[0.0]], [[1.0]])
    >>> round(float(value), 4), gradient.round(4)
    (0.0433, array([[-0.0746]]))
    """

    gamma: float = 2.0
    alpha: float | None = 0.25

    link: ClassVar = sigmoid
    target_range: ClassVar = (0.0, 1.0)

    def __post_init__(self):
        settle(self, check_number, "gamma", low=0.0)
        if self.alpha is not None:
            settle(self, check_number, "alpha", low=0.0, high=1.0)

    def terms(self, prediction, target, *, xp):
        p, _ = sigmoid.value(prediction, xp=xp)
        entropy, wrong = _cross_entropy(prediction, target, xp), p * (1.0 - target) + (1.0 - p) * target
        least = xp.finfo(prediction.dtype).smallest_normal  # where q is 0 so is p (1 - p), and 0 / least is 0
        change = (1.0 - 2.0 * target) * p * (1.0 - p) / xp.maximum(wrong, float(least))
        weight = wrong**self.gamma
        if self.alpha is not None:
            weight = weight * (self.alpha * target + (1.0 - self.alpha) * (1.0 - target))
        return weight * entropy, weight * (self.gamma * change * entropy + p - target) * (1.0 / prediction.shape[-1])


@dataclass(frozen=True)
class Hinge(Loss):
    """l = mean over the outputs of max(0, margin - y z), of scores z and y = 2 t - 1: targets t are 0 or 1.

    dl/dz = -y / outputs where y z < margin, else 0. A score above 0 says yes; it is no probability, so the network
    ends in no activation.

    Parameters
    ----------
    margin : how far on the right side a score must lie to cost nothing, > 0.

    Cortes and Vapnik (1995), "Support-vector networks".

    >>> value, gradient = hinge([[0.5], [2.0]], [[1.0], [1.0]])
    >>> float(value), gradient
    (0.25, array([[-0.5],
           [-0. ]]))
    """

    margin: float = 1.0

    target_range: ClassVar = (0.0, 1.0)
    threshold: ClassVar = 0.0

    def __post_init__(self):
        settle(self, check_number, "margin", **ABOVE_ZERO)

    def terms(self, prediction, target, *, xp):
        sign = 2.0 * target - 1.0
        loss = xp.maximum(self.margin - sign * prediction, 0.0)
        return loss, -sign * xp.astype(loss > 0.0, prediction.dtype) * (1.0 / prediction.shape[-1])


def _cross_entropy(logit, target, xp):
    """-t log s(z) - (1 - t) log(1 - s(z))"""
    return xp.maximum(logit, 0.0) - logit * target + xp.log1p(xp.exp(-xp.abs(logit)))


def _log_softmax(logits, xp):
    """The logarithm of the softmax, and the softmax as powers / total."""
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    powers = xp.exp(shifted)
    total = xp.sum(powers, axis=-1, keepdims=True)
    return shifted - xp.log(total), powers, total


binary_cross_entropy = BinaryCrossEntropy()
softmax_cross_entropy = SoftmaxCrossEntropy()
kl_divergence = KLDivergence()
focal = Focal()
hinge = Hinge()
