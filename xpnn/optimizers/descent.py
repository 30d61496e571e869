"""Descent along the gradient itself, with or without momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from xpnn._arguments import AT_LEAST_ZERO, BELOW_ONE, Number
from xpnn.layers.base import Array
from xpnn.optimizers.base import Optimizer


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
