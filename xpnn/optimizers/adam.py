"""Adam: steps scaled by running moments of the gradient; AdamW is Adam with weight decay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from xpnn._arguments import ABOVE_ZERO, AT_LEAST_ZERO, BELOW_ONE, Number
from xpnn.layers.base import Array
from xpnn.optimizers.base import Optimizer


class AdamState(NamedTuple):
    first: Array  # M = m / (1 - beta1), or m where beta1 is a schedule, (*members, n_params)
    second: Array  # V = v / (1 - beta2), or v where beta2 is a schedule, likewise
    t: Array  # (*members, 1), on the device: reading it would stop the step


class AMSGradState(NamedTuple):
    first: Array
    second: Array
    t: Array
    largest: Array  # the largest V, or v, so far, (*members, n_params)


def moment(setting: Number, beta: Array, kept: Array, value: Array) -> tuple[Array, Any]:
    """A running moment of `value` after one step, as it is kept, and the unit by which that is the moment itself:

        m <- beta m + (1 - beta) value
        M <- beta M + value,   m = (1 - beta) M          where beta is the same in every step: a pass less

    `setting` is what the optimizer has for beta, a schedule or not, and `beta` the number that stands in this step.

    >>> moment(0.75, 0.75, 4.0, 2.0), moment(lambda step: 0.75, 0.75, 1.0, 2.0)
    ((5.0, 0.25), (1.25, 1.0))
    """
    if callable(setting):
        return beta * kept + (1.0 - beta) * value, 1.0
    return beta * kept + value, 1.0 - beta


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, with first and second moments m and v of the gradient g:

        m <- beta1 m + (1 - beta1) g,        v <- beta2 v + (1 - beta2) g^2
        p <- p - learning_rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps),   t = 1, 2, ...

    computed with M = m / (1 - beta1) and V = v / (1 - beta2), which take all factors out of the passes over the
    parameters (the paper's section 2): with s = sqrt((1 - beta2^t) / (1 - beta2)),

        M <- beta1 M + g,        V <- beta2 V + g^2
        p <- p - learning_rate * s (1 - beta1) / (1 - beta1^t) * M / (sqrt(V) + eps s)

    Where a beta is a schedule its moment is kept as it is, and beta^t is of the beta of step t, as in PyTorch.
    `amsgrad` puts the largest V so far in the place of V in the last line.

    Parameters
    ----------
    learning_rate : step size, >= 0.
    beta1, beta2 : decay of the moments, 0 <= beta < 1.
    eps : added to the root, > 0.
    amsgrad : never divide by less than before.
    weight_decay, clip_value, clip_norm, average, multipliers : as for every `Optimizer`.

    Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1; defaults as there and in PyTorch.
    Amsgrad: Reddi, Kale and Kumar (2018), "On the convergence of Adam and beyond", in PyTorch's form (the largest of
    the moments as they are, corrected for their start afterwards).

    >>> import numpy as np
    >>> from xpnn.optimizers import number_fields
    >>> adam = Adam(learning_rate=0.5)
    >>> p, hyper = np.asarray([1.0]), {name: np.asarray([value]) for name, value in number_fields(adam).items()}
    >>> adam.update(p, np.asarray([2.0]), adam.init(p, xp=np), hyper, xp=np)[0]
    array([0.5])
    """

    learning_rate: Number = 0.001
    beta1: Number = 0.9
    beta2: Number = 0.999
    eps: float = 1e-8
    amsgrad: bool = False

    numbers: ClassVar = {"learning_rate": AT_LEAST_ZERO, "beta1": BELOW_ONE, "beta2": BELOW_ONE}
    constants: ClassVar = {"eps": ABOVE_ZERO}

    def start(self, params, *, xp):
        state = AdamState(xp.zeros_like(params), xp.zeros_like(params), xp.zeros_like(params[..., :1]))
        return AMSGradState(*state, xp.zeros_like(params)) if self.amsgrad else state

    def rule(self, params, grads, state, hyper, *, xp):
        beta1, beta2 = hyper["beta1"], hyper["beta2"]
        t = state.t + 1.0
        first, first_unit = moment(self.beta1, beta1, state.first, grads)
        second, second_unit = moment(self.beta2, beta2, state.second, grads * grads)
        scale = xp.sqrt((1.0 - beta2**t) / second_unit)  # (*members, 1)
        rate = hyper["learning_rate"] * scale * first_unit / (1.0 - beta1**t)
        largest = second
        if self.amsgrad:
            largest = xp.maximum(state.largest, second)
            state = AMSGradState(first, second, t, largest)
        else:
            state = AdamState(first, second, t)
        return params - rate * (first / (xp.sqrt(largest) + self.eps * scale)), state


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay: `Adam` whose weight_decay is 0.01 where it is not given.

        p <- p - learning_rate (step + weight_decay p),   step as in Adam

    Parameters
    ----------
    learning_rate, beta1, beta2, eps, amsgrad : as for `Adam`.
    weight_decay, clip_value, clip_norm, average, multipliers : as for every `Optimizer`.

    Loshchilov and Hutter (2019), "Decoupled weight decay regularization", algorithm 2, without a schedule; defaults as
    in PyTorch.

    >>> AdamW(), AdamW(0.1, weight_decay=0.5)
    (AdamW(), AdamW(learning_rate=0.1, weight_decay=0.5))
    >>> AdamW().weight_decay, Adam().weight_decay
    (0.01, 0.0)
    """

    weight_decay: Number = field(default=0.01, kw_only=True)
