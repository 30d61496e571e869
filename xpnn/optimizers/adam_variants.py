"""Adam with another momentum (NAdam), and with a step that begins cautiously (RAdam)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from xpnn._arguments import ABOVE_ZERO, AT_LEAST_ZERO, BELOW_ONE, Number
from xpnn.layers.base import Array
from xpnn.optimizers.adam import moment
from xpnn.optimizers.base import Optimizer


class NAdamState(NamedTuple):
    first: Array  # M = m / (1 - beta1), or m where beta1 is a schedule, (*members, n_params)
    second: Array  # V = v / (1 - beta2), or v where beta2 is a schedule, likewise
    product: Array  # mu_1 ... mu_t, (*members, 1)
    t: Array  # (*members, 1)


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum, which begins at about half of beta1 and grows to it: with m and v as in `Adam`,

        mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2),        c_t = mu_1 ... mu_t
        step = mu_(t+1) m / (1 - c_t mu_(t+1)) + (1 - mu_t) g / (1 - c_t)
        p <- p - learning_rate * step / (sqrt(v / (1 - beta2^t)) + eps),   t = 1, 2, ...

    computed with M = m / (1 - beta1), V = v / (1 - beta2) and s = sqrt((1 - beta2^t) / (1 - beta2)), as there,
    and under schedules with m and v.

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
        first, first_unit = moment(self.beta1, beta1, state.first, grads)
        second, second_unit = moment(self.beta2, beta2, state.second, grads * grads)
        scale = xp.sqrt((1.0 - beta2**t) / second_unit)
        # The gradient's own factor goes to the rate, so that the moment's alone is a pass over the parameters.
        own = (1.0 - now) / (1.0 - product)
        share = following * first_unit / (1.0 - product * following) / own
        rate = hyper["learning_rate"] * scale * own
        step = (share * first + grads) / (xp.sqrt(second) + self.eps * scale)
        return params - rate * step, NAdamState(first, second, product, t)


class RAdamState(NamedTuple):
    first: Array  # M, or m where beta1 is a schedule, (*members, n_params)
    second: Array  # V, or v where beta2 is a schedule, likewise
    t: Array  # (*members, 1)
    weight: Any  # w, the sum of the weights in V, (*members, 1), or () where beta2 is a schedule
    lag: Any  # l, the sum of their weights times their ages 1, 2, ..., likewise


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Adam that trusts its second moment by how much that has seen: with m and v as in `Adam`,

        rho_inf = 2 / (1 - beta2) - 1,        rho = rho_inf - 2 t beta2^t / (1 - beta2^t)
        r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
        p <- p - learning_rate r m / (1 - beta1^t) * sqrt(1 - beta2^t) / (sqrt(v) + eps)     where rho > 5
        p <- p - learning_rate m / (1 - beta1^t)                                             else,   t = 1, 2, ...

    computed with M and V as there. In float32 rho as that difference, of two numbers near 2000, is off by 0.01 where
    rho_5 is 0.004 below the bound; as twice the mean age of what is in v, less 1, from sums of positive terms alone, it
    is good to 1e-6:

        V <- beta2 V + g^2,   w <- beta2 w + 1,   l <- beta2 l + w,   rho = 2 l / w - 1

    That holds for the same beta2 in every step. Under a schedule rho is the difference, good to 0.001 in float32.

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
        sums = ((), ()) if callable(self.beta2) else (xp.zeros_like(one), xp.zeros_like(one))
        return RAdamState(xp.zeros_like(params), xp.zeros_like(params), xp.zeros_like(one), *sums)

    def rule(self, params, grads, state, hyper, *, xp):
        beta1, beta2 = hyper["beta1"], hyper["beta2"]
        t, rho_inf = state.t + 1.0, 2.0 / (1.0 - beta2) - 1.0
        first, first_unit = moment(self.beta1, beta1, state.first, grads)
        second, second_unit = moment(self.beta2, beta2, state.second, grads * grads)
        if callable(self.beta2):
            weight = lag = ()
            # 1 - beta2^t without the rounding of beta2^t, which rho would take in 2000 times over; beta2 may be 0.
            seen = -xp.expm1(t * xp.log(xp.maximum(beta2, 1e-30)))
            rho = rho_inf - 2.0 * t * (1.0 - seen) / seen  # (*members, 1)
        else:
            seen = weight = beta2 * state.weight + 1.0
            lag = beta2 * state.lag + weight
            rho = 2.0 * lag / weight - 1.0
        trusted = rho > 5.0
        # Where it is not, the formula is not used, but must not divide by zero nor take the root of what is negative.
        rho, rho_inf = xp.maximum(rho, 5.0), xp.maximum(rho_inf, 5.0)
        r = xp.sqrt((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho))
        one, zero = xp.ones_like(t), xp.zeros_like(t)
        rate = hyper["learning_rate"] * first_unit / (1.0 - beta1**t) * xp.where(trusted, r * xp.sqrt(seen), one)
        root = xp.where(trusted, one, zero) * xp.sqrt(second)
        eps = xp.where(trusted, self.eps * one / second_unit**0.5, one)
        return params - rate * (first / (root + eps)), RAdamState(first, second, t, weight, lag)
