"""How a gradient becomes a step: pure functions on the flat vector of all parameters.

`init(params) -> state` and `update(params, grads, state, hyper) -> (params, state)`, with params and grads of shape
(*members, n_params), whatever the depth of the network. `hyper` holds the numbers that may change from step to step,
of shape (*members, 1); whether momentum, say, is there at all is the optimizer's structure and not a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

from xpnn._arguments import AT_LEAST_ZERO, BELOW_ONE, Number, bounds_of, check_number, hyper_parameter, lookup
from xpnn.layers.base import Array


@dataclass(frozen=True)
class Optimizer:
    """The contract. `numbers` names the fields that go into `hyper`, with the bounds of each (or as a plain tuple): a
    field is a number, one number a member, or a schedule.

    `multipliers` scales the learning rate by parameter name ("bias"), by layer (0, -1) or both ("0.bias"); 0 freezes.
    """

    numbers: ClassVar[Mapping[str, Any] | tuple[str, ...]] = {"learning_rate": AT_LEAST_ZERO}

    def __post_init__(self):
        for name in self.numbers:
            bounds = bounds_of(self.numbers, name)
            object.__setattr__(self, name, hyper_parameter(name, getattr(self, name), **bounds))
        multipliers = getattr(self, "multipliers", {})
        if not isinstance(multipliers, Mapping):
            raise TypeError(f"multipliers must be a dict of factors by parameter name or layer, got {multipliers!r}")
        for key, factor in multipliers.items():
            check_number(f"multipliers[{key!r}]", factor, low=0.0)
        if hasattr(self, "multipliers"):
            object.__setattr__(self, "multipliers", dict(multipliers))  # the caller's may change, an optimizer not

    def init(self, params: Array, *, xp: Any) -> Any:
        """The state before the first update: a NamedTuple of arrays, or () for none."""
        return ()

    def update(self, params: Array, grads: Array, state: Any, hyper: Mapping[str, Array], *, xp: Any):
        """The parameters and the state after one step."""
        raise NotImplementedError(f"{type(self).__name__} has no update")


class SGDState(NamedTuple):
    velocity: Array  # (*members, n_params)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum mu where it is not 0:

        v <- mu v + g,   p <- p - learning_rate v

    Parameters
    ----------
    learning_rate : step size, >= 0.
    momentum : mu, 0 <= mu < 1; 0 leaves the velocity out.
    multipliers : factors on the learning rate, by parameter name or layer.

    Polyak (1964), "Some methods of speeding up the convergence of iteration methods", in PyTorch's form (the learning
    rate multiplies the velocity and is not kept in it).

    >>> import numpy as np
    >>> sgd = SGD(learning_rate=0.5)
    >>> sgd.update(np.asarray([1.0]), np.asarray([2.0]), (), {"learning_rate": np.asarray([0.5])}, xp=np)
    (array([0.]), ())
    """

    learning_rate: Number = 0.01
    momentum: Number = 0.0
    multipliers: Mapping[Any, float] = field(default_factory=dict, hash=False)

    numbers: ClassVar = {"learning_rate": AT_LEAST_ZERO, "momentum": BELOW_ONE}

    def init(self, params, *, xp):
        return () if self.momentum == 0.0 else SGDState(xp.zeros_like(params))

    def update(self, params, grads, state, hyper, *, xp):
        if state != ():
            grads = hyper["momentum"] * state.velocity + grads
            state = SGDState(grads)
        return params - hyper["learning_rate"] * grads, state


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


_NAMES = {"sgd": SGD, "adam": Adam}


def get(optimizer: str | Optimizer | type[Optimizer]) -> Optimizer:
    """The optimizer of that name with its defaults, or the object itself.

    >>> get("adam").learning_rate
    0.001
    """
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer()
    if isinstance(optimizer, Optimizer):
        return optimizer
    return lookup("optimizer", optimizer, _NAMES)()


def number_fields(optimizer: Optimizer) -> dict[str, Number]:
    """The optimizer's numbers by name, as they go into `hyper`."""
    return {f.name: getattr(optimizer, f.name) for f in fields(optimizer) if f.name in optimizer.numbers}
