"""Adam with another momentum (NAdam), and with a step that begins cautiously (RAdam)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from xpnn._arguments import AT_LEAST_ZERO, BELOW_ONE, Number
from xpnn.layers.base import Array
from xpnn.optimizers.base import ABOVE_ZERO, Optimizer


class NAdamState(NamedTuple):
    first: Array  # M = m / (1 - beta1), (*members, n_params)
    second: Array  # V = v / (1 - beta2), likewise
    product: Array  # mu_1 ... mu_t, (*members, 1)
    t: Array  # (*members, 1)


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum, which begins at about half of beta1 and grows to it: with m and v as in `Adam`,

        mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2),        c_t = mu_1 ... mu_t
        step = mu_(t+1) m / (1 - c_t mu_(t+1)) + (1 - mu_t) g / (1 - c_t)
        p <- p - learning_rate * step / (sqrt(v / (1 - beta2^t)) + eps),   t = 1, 2, ...

    computed with M = m / (1 - beta1), V = v / (1 - beta2) and s = sqrt((1 - beta2^t) / (1 - beta2)), as there.

    Parameters
    ----------
    learning_rate : step size, >= 0.
    beta1, beta2 : decay of the moments, 0 <= beta < 1.
    eps : added to the root, > 0.
    momentum_decay : how fast the momentum grows, >= 0; 0 keeps it at half of beta1.
    weight_decay, clip_value, clip_norm, average, multipliers : as for every `Optimizer`.

    Dozat (2016), "Incorporating Nesterov momentum into Adam"; form and defaults as in PyTorch.

    >>> import numpy as np
    >>> from xpnn.optimizers import number_fields
    >>> nadam = NAdam(learning_rate=0.5, beta1=0.0)
    >>> p, hyper = np.asarray([1.0]), {name: np.asarray([value]) for name, value in number_fields(nadam).items()}
    >>> nadam.update(p, np.asarray([2.0]), nadam.init(p, xp=np), hyper, xp=np)[0].round(6)
    array([0.5])
    """

    learning_rate: Number = 0.002
    beta1: Number = 0.9
    beta2: Number = 0.999
    eps: float = 1e-8
    momentum_decay: Number = 0.004

    numbers: ClassVar = {
        "learning_rate": AT_LEAST_ZERO,
        "beta1": BELOW_ONE,
        "beta2": BELOW_ONE,
        "momentum_decay": AT_LEAST_ZERO,
    }
    constants: ClassVar = {"eps": ABOVE_ZERO}

    def start(self, params, *, xp):
        one = params[..., :1]
        return NAdamState(xp.zeros_like(params), xp.zeros_like(params), xp.ones_like(one), xp.zeros_like(one))

    def rule(self, params, grads, state, hyper, *, xp):
        beta1, beta2, decay = hyper["beta1"], hyper["beta2"], hyper["momentum_decay"]
        t = state.t + 1.0
        now = beta1 * (1.0 - 0.5 * 0.96 ** (t * decay))
        following = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1.0) * decay))
        product = state.product * now
        first = beta1 * state.first + grads
        second = beta2 * state.second + grads * grads
        scale = xp.sqrt((1.0 - beta2**t) / (1.0 - beta2))
        # The gradient's own factor goes to the rate, so that the moment's alone is a pass over the parameters.
        own = (1.0 - now) / (1.0 - product)
        share = following * (1.0 - beta1) / (1.0 - product * following) / own
        rate = hyper["learning_rate"] * scale * own
        step = (share * first + grads) / (xp.sqrt(second) + self.eps * scale)
        return params - rate * step, NAdamState(first, second, product, t)


class RAdamState(NamedTuple):
    first: Array  # M, (*members, n_params)
    second: Array  # V, likewise
    first_weight: Array  # u, the sum of the weights in M, (*members, 1)
    second_weight: Array  # w, the sum of the weights in V, likewise
    lag: Array  # l, the sum of their weights times their ages 1, 2, ..., likewise


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Adam that trusts its second moment by how much that has seen: with m and v as in `Adam`,

        rho_inf = 2 / (1 - beta2) - 1,        rho = rho_inf - 2 t beta2^t / (1 - beta2^t)
        r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
        p <- p - learning_rate r m / (1 - beta1^t) * sqrt(1 - beta2^t) / (sqrt(v) + eps)     where rho > 5
        p <- p - learning_rate m / (1 - beta1^t)                                             else,   t = 1, 2, ...

    computed from sums of positive terms alone. In float32 rho as that difference, of two numbers near 2000, is off by
    0.01 where rho_5 is 0.004 below the bound; as twice the mean age of what is in v, less 1, it is good to 1e-6:

        M <- beta1 M + g,     u <- beta1 u + 1,                            m / (1 - beta1^t) = M / u
        V <- beta2 V + g^2,   w <- beta2 w + 1,    l <- beta2 l + w,       rho = 2 l / w - 1

    Parameters
    ----------
    learning_rate : step size, >= 0.
    beta1, beta2 : decay of the moments, 0 <= beta < 1; up to beta2 = 2/3 rho never exceeds 5.
    eps : added to the root, > 0.
    weight_decay, clip_value, clip_norm, average, multipliers : as for every `Optimizer`.

    Liu et al. (2020), "On the variance of the adaptive learning rate and beyond", algorithm 2; bound (5 for the paper's
    4) and defaults as in PyTorch.

    >>> import numpy as np
    >>> from xpnn.optimizers import number_fields
    >>> radam = RAdam(learning_rate=0.5)
    >>> p, hyper = np.asarray([1.0]), {name: np.asarray([value]) for name, value in number_fields(radam).items()}
    >>> radam.update(p, np.asarray([2.0]), radam.init(p, xp=np), hyper, xp=np)[0]
    array([0.])
    """

    learning_rate: Number = 0.001
    beta1: Number = 0.9
    beta2: Number = 0.999
    eps: float = 1e-8

    numbers: ClassVar = {"learning_rate": AT_LEAST_ZERO, "beta1": BELOW_ONE, "beta2": BELOW_ONE}
    constants: ClassVar = {"eps": ABOVE_ZERO}

    def start(self, params, *, xp):
        one = params[..., :1]
        return RAdamState(*(xp.zeros_like(like) for like in (params, params, one, one, one)))

    def rule(self, params, grads, state, hyper, *, xp):
        beta1, beta2 = hyper["beta1"], hyper["beta2"]
        first = beta1 * state.first + grads
        second = beta2 * state.second + grads * grads
        u, w = beta1 * state.first_weight + 1.0, beta2 * state.second_weight + 1.0
        lag = beta2 * state.lag + w
        rho = 2.0 * lag / w - 1.0  # (*members, 1)
        trusted = rho > 5.0
        # Where it is not, the formula is not used, but must not divide by zero nor take the root of what is negative.
        rho, rho_inf = xp.maximum(rho, 5.0), xp.maximum(2.0 / (1.0 - beta2) - 1.0, 5.0)
        r = xp.sqrt((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho))
        one, zero = xp.ones_like(w), xp.zeros_like(w)
        rate = hyper["learning_rate"] / u * xp.where(trusted, r * xp.sqrt(w), one)
        root = xp.where(trusted, one, zero) * xp.sqrt(second)
        stepped = params - rate * (first / (root + xp.where(trusted, self.eps / xp.sqrt(1.0 - beta2), one)))
        return stepped, RAdamState(first, second, u, w, lag)
