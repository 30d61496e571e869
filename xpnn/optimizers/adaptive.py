"""Steps divided by the size that each parameter's gradient has had: RMSprop and Adagrad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from xpnn._arguments import ABOVE_ZERO, AT_LEAST_ZERO, BELOW_ONE, Number
from xpnn.layers.base import Array
from xpnn.optimizers.base import Optimizer


class RMSpropState(NamedTuple):
    second: Array  # v, (*members, n_params)
    mean: Any  # m, likewise, or () where not centered
    velocity: Any  # u, likewise, or () without momentum


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """The gradient g over the root of its running mean square v; with momentum mu where it is not 0:

        v <- rho v + (1 - rho) g^2
        p <- p - learning_rate g / (sqrt(v) + eps)
        u <- mu u + g / (sqrt(v) + eps),   p <- p - learning_rate u            momentum

    `centered` divides by the root of the running variance instead, v - m^2 with m <- rho m + (1 - rho) g. That
    difference is computed without being one, which rounding could turn negative: for d = g - m,

        v <- rho (v + (1 - rho) d^2),   m <- m + (1 - rho) d

    Parameters
    ----------
    learning_rate : step size, >= 0.
    rho : decay of the means, 0 <= rho < 1 (PyTorch's alpha).
    eps : added to the root, > 0.
    momentum : mu, 0 <= mu < 1; 0 leaves it out.
    centered : divide by the deviation. It vanishes with a gradient that stands still, whose steps then grow.
    weight_decay, clip_value, clip_norm, average, multipliers : as for every `Optimizer`.

    Tieleman and Hinton (2012), "Neural networks for machine learning", lecture 6.5; centered after Graves (2013),
    "Generating sequences with recurrent neural networks", equations 38-41; defaults as in PyTorch.

    >>> import numpy as np
    >>> rms = RMSprop(learning_rate=0.5, rho=0.75)
    >>> p, hyper = np.asarray([1.0]), {"learning_rate": np.asarray([0.5]), "rho": np.asarray([0.75])}
    >>> rms.update(p, np.asarray([3.0]), rms.init(p, xp=np), hyper, xp=np)[0].round(6)
    array([0.])
    """

    learning_rate: Number = 0.01
    rho: Number = 0.99
    eps: float = 1e-8
    momentum: Number = 0.0
    centered: bool = False

    numbers: ClassVar = {"learning_rate": AT_LEAST_ZERO, "rho": BELOW_ONE, "momentum": BELOW_ONE}
    constants: ClassVar = {"eps": ABOVE_ZERO}

    def start(self, params, *, xp):
        mean = xp.zeros_like(params) if self.centered else ()
        return RMSpropState(xp.zeros_like(params), mean, () if self.momentum == 0.0 else xp.zeros_like(params))

    def rule(self, params, grads, state, hyper, *, xp):
        rho, mean, velocity = hyper["rho"], state.mean, state.velocity
        if self.centered:
            off = grads - mean
            second = rho * (state.second + (1.0 - rho) * (off * off))
            mean = mean + (1.0 - rho) * off
        else:
            second = rho * state.second + (1.0 - rho) * (grads * grads)
        step = grads / (xp.sqrt(second) + self.eps)
        if self.momentum != 0.0:
            velocity = step = hyper["momentum"] * velocity + step
        return params - hyper["learning_rate"] * step, RMSpropState(second, mean, velocity)


class AdagradState(NamedTuple):
    total: Array  # s, (*members, n_params)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """The gradient g over the root of the sum s of all its squares so far, so that steps shorten by themselves:

        s <- s + g^2,   p <- p - learning_rate g / (sqrt(s) + eps)

    PyTorch's `lr_decay` is the schedule `InverseTimeDecay(learning_rate, rate=lr_decay, steps=1)`.

    Parameters
    ----------
    learning_rate : step size, >= 0.
    initial_accumulator_value : s before the first step, >= 0.
    eps : added to the root, > 0.
    weight_decay, clip_value, clip_norm, average, multipliers : as for every `Optimizer`.

    Duchi, Hazan and Singer (2011), "Adaptive subgradient methods for online learning and stochastic optimization", the
    diagonal form; defaults as in PyTorch.

    >>> import numpy as np
    >>> adagrad = Adagrad(learning_rate=0.5)
    >>> p = np.asarray([1.0])
    >>> adagrad.update(p, np.asarray([3.0]), adagrad.init(p, xp=np), {"learning_rate": np.asarray([0.5])}, xp=np)[0]
    array([0.5])
    """

    learning_rate: Number = 0.01
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    numbers: ClassVar = {"learning_rate": AT_LEAST_ZERO}
    constants: ClassVar = {"initial_accumulator_value": AT_LEAST_ZERO, "eps": ABOVE_ZERO}

    def start(self, params, *, xp):
        return AdagradState(xp.full_like(params, self.initial_accumulator_value))

    def rule(self, params, grads, state, hyper, *, xp):
        total = state.total + grads * grads
        return params - hyper["learning_rate"] * (grads / (xp.sqrt(total) + self.eps)), AdagradState(total)
