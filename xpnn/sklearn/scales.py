"""scikit-learn's scales: losses summed over the outputs, Glorot's initial weights and biases, velocities of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn._arguments import AT_LEAST_ZERO
from xpnn.initializers import Initializer
from xpnn.losses import Poisson
from xpnn.optimizers import SGD, Adam, AdamState, SGDState


@dataclass(frozen=True)
class Summed:
    """factor * outputs * loss: the mean over outputs that a loss is here as the sum that it is in scikit-learn.

    With factor 1/2 the mean squared error becomes half the sum of squares, whose gradient is (p - t) / rows.
    (scikit-learn's own value is that over the number of outputs, which is not the function that it descends:
    scikit-learn#8349.)
    """

    loss: Any
    factor: float = 1.0

    def __call__(self, prediction, target, *, xp=None, weight=None):
        value, gradient = self.loss(prediction, target, xp=xp, weight=weight)
        factor = self.factor * self.loss.target_width(prediction.shape[-1])
        return (value, gradient) if factor == 1.0 else (value * factor, gradient * factor)

    def __getattr__(self, name: str) -> Any:
        if name == "loss" or name.startswith("__"):  # while it is being copied or unpickled
            raise AttributeError(name)
        return getattr(self.loss, name)


@dataclass(frozen=True)
class HalfPoissonDeviance(Poisson):
    """l = mean over the outputs of t log(t / exp(z)) - t + exp(z): the Poisson loss, made 0 where exp(z) = t."""

    def terms(self, prediction, target, *, xp):
        loss, gradient = super().terms(prediction, target, xp=xp)
        return loss + target * xp.log(xp.where(target > 0.0, target, xp.ones_like(target))) - target, gradient


@dataclass(frozen=True)
class GlorotOfFans(Initializer):
    """Uniform on (-a, a), a = sqrt(factor / (fan_in + fan_out)), for biases as for weights; factor 2 with the logistic.

    Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks", as in
    scikit-learn.
    """

    factor: float = 6.0

    def __call__(self, rng, shape, *, fan_in, fan_out):
        limit = math.sqrt(self.factor / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape)


@dataclass(frozen=True)
class StepSGD(SGD):
    """Momentum with the learning rate in the velocity, which differs from `SGD` only while the rate changes:

        v <- mu v - learning_rate g,   p <- p + v                             momentum
        v <- mu v - learning_rate g,   p <- p + mu v - learning_rate g        nesterov

    Sutskever, Martens, Dahl and Hinton (2013), "On the importance of initialization and momentum in deep learning".
    """

    numbers: ClassVar = {"learning_rate": AT_LEAST_ZERO, "momentum": {"low": 0.0, "high": 1.0}}  # 1 is allowed there

    def rule(self, params, grads, state, hyper, *, xp):
        step = -hyper["learning_rate"] * grads
        if self.momentum == 0.0:
            return params + step, state
        velocity = hyper["momentum"] * state.velocity + step
        return params + (hyper["momentum"] * velocity + step if self.nesterov else velocity), SGDState(velocity)


@dataclass(frozen=True)
class EpsHatAdam(Adam):
    """Adam with eps beside the root of the plain second moment, where `Adam` has it beside the corrected one:

        p <- p - learning_rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps)

    It matters to parameters whose gradient is hardly more than eps, as the weights of dead units under a penalty.
    Kingma and Ba (2015), "Adam: a method for stochastic optimization", the remark before section 2.1.
    """

    def rule(self, params, grads, state, hyper, *, xp):
        beta1, beta2, t = hyper["beta1"], hyper["beta2"], state.t + 1.0
        first, second = beta1 * state.first + grads, beta2 * state.second + grads * grads
        root = xp.sqrt(1.0 - beta2)  # m = (1 - beta1) first and sqrt(v) = root sqrt(second)
        rate = hyper["learning_rate"] * xp.sqrt(1.0 - beta2**t) / (1.0 - beta1**t) * (1.0 - beta1) / root
        return params - rate * (first / (xp.sqrt(second) + self.eps / root)), AdamState(first, second, t)
