"""Adam: steps scaled by running moments of the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from xpnn._arguments import AT_LEAST_ZERO, BELOW_ONE, Number, check_number
from xpnn.layers.base import Array
from xpnn.optimizers.base import Optimizer


class AdamState(NamedTuple):
    first: Array  # m / (1 - beta1), (*members, n_params)
    second: Array  # v / (1 - beta2), (*members, n_params)
    t: Array  # (*members, 1), on the device: reading it would stop the step


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, with first and second moments m and v of the gradient g:

        m <- beta1 m + (1 - beta1) g,        v <- beta2 v + (1 - beta2) g^2
        p <- p - learning_rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps),   t = 1, 2, ...

    computed with M = m / (1 - beta1) and V = v / (1 - beta2), which take all factors out of the passes over the
    parameters (the paper's section 2): with s = sqrt((1 - beta2^t) / (1 - beta2)),

        M <- beta1 M + g,        V <- beta2 V + g^2
        p <- p - learning_rate * s (1 - beta1) / (1 - beta1^t) * M / (sqrt(V) + eps s)

    Parameters
    ----------
    learning_rate : step size, >= 0.
    beta1, beta2 : decay of the moments, 0 <= beta < 1.
    eps : added to the root, > 0.
    multipliers : factors on the learning rate, by parameter name or layer.

    Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1; defaults as there and in PyTorch.

    >>> import numpy as np
    >>> adam = Adam(learning_rate=0.5)
    >>> p, hyper = np.asarray([1.0]), {name: np.asarray([getattr(adam, name)]) for name in adam.numbers}
    >>> adam.update(p, np.asarray([2.0]), adam.init(p, xp=np), hyper, xp=np)[0]
    array([0.5])
    """

    learning_rate: Number = 0.001
    beta1: Number = 0.9
    beta2: Number = 0.999
    eps: float = 1e-8
    multipliers: Mapping[Any, float] = field(default_factory=dict, hash=False)

    numbers: ClassVar = {"learning_rate": AT_LEAST_ZERO, "beta1": BELOW_ONE, "beta2": BELOW_ONE}

    def __post_init__(self):
        super().__post_init__()
        check_number("eps", self.eps, low=0.0, open_low=True)

    def init(self, params, *, xp):
        return AdamState(xp.zeros_like(params), xp.zeros_like(params), xp.zeros_like(params[..., :1]))

    def update(self, params, grads, state, hyper, *, xp):
        beta1, beta2 = hyper["beta1"], hyper["beta2"]
        t = state.t + 1.0
        first = beta1 * state.first + grads
        second = beta2 * state.second + grads * grads
        scale = xp.sqrt((1.0 - beta2**t) / (1.0 - beta2))  # (*members, 1)
        rate = hyper["learning_rate"] * scale * (1.0 - beta1) / (1.0 - beta1**t)
        return params - rate * (first / (xp.sqrt(second) + self.eps * scale)), AdamState(first, second, t)
