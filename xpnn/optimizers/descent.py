"""Descent along the gradient itself, with or without momentum, or along its signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from xpnn._arguments import AT_LEAST_ZERO, BELOW_ONE, Number
from xpnn.layers.base import Array
from xpnn.optimizers.base import Optimizer


class SGDState(NamedTuple):
    velocity: Array  # (*members, n_params)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent; with momentum mu, where it is not 0, and with Nesterov's look ahead:

        p <- p - learning_rate g
        v <- mu v + g,   p <- p - learning_rate v                      momentum
        v <- mu v + g,   p <- p - learning_rate (g + mu v)             nesterov

    Parameters
    ----------
    learning_rate : step size, >= 0.
    momentum : mu, 0 <= mu < 1; 0 leaves the velocity out.
    nesterov : take the gradient's step from where the velocity leads; needs a momentum.
    weight_decay, clip_value, clip_norm, average, multipliers : as for every `Optimizer`.

    Polyak (1964), "Some methods of speeding up the convergence of iteration methods", and Nesterov's variant after
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep learning", both in PyTorch's form
    (the learning rate multiplies the velocity and is not kept in it).

    >>> import numpy as np
    >>> sgd = SGD(learning_rate=0.5)
    >>> sgd.update(np.asarray([1.0]), np.asarray([2.0]), (), {"learning_rate": np.asarray([0.5])}, xp=np)
    (array([0.]), ())
    """

    learning_rate: Number = 0.01
    momentum: Number = 0.0
    nesterov: bool = False

    numbers: ClassVar = {"learning_rate": AT_LEAST_ZERO, "momentum": BELOW_ONE}

    def __post_init__(self):
        super().__post_init__()
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov=True needs a momentum > 0, got momentum=0.0")

    def start(self, params, *, xp):
        return () if self.momentum == 0.0 else SGDState(xp.zeros_like(params))

    def rule(self, params, grads, state, hyper, *, xp):
        step = grads
        if self.momentum != 0.0:
            velocity = hyper["momentum"] * state.velocity + grads
            step = grads + hyper["momentum"] * velocity if self.nesterov else velocity
            state = SGDState(velocity)
        return params - hyper["learning_rate"] * step, state


class LionState(NamedTuple):
    momentum: Array  # m, (*members, n_params)


@dataclass(frozen=True)
class Lion(Optimizer):
    """Steps of one length in every parameter, by the sign of the gradient g mixed with its running mean m:

        p <- p - learning_rate sign(beta1 m + (1 - beta1) g)
        m <- beta2 m + (1 - beta2) g

    A step is longer than Adam's at the same rate: the paper takes a learning rate 3 to 10 times smaller and a
    weight_decay as many times larger.

    Parameters
    ----------
    learning_rate : length of a step in each parameter, >= 0.
    beta1, beta2 : share of m in the step and in the next m, 0 <= beta < 1.
    weight_decay, clip_value, clip_norm, average, multipliers : as for every `Optimizer`.

    Chen et al. (2023), "Symbolic discovery of optimization algorithms", algorithm 2; betas as there,
    learning rate as in the authors' code.

    >>> import numpy as np
    >>> lion = Lion(learning_rate=0.5)
    >>> p, g = np.asarray([1.0, 1.0, 1.0]), np.asarray([2.0, 0.0, -0.1])
    >>> hyper = {"learning_rate": np.asarray([0.5]), "beta1": np.asarray([0.9]), "beta2": np.asarray([0.99])}
    >>> lion.update(p, g, lion.init(p, xp=np), hyper, xp=np)[0]
    array([0.5, 1. , 1.5])
    """

    learning_rate: Number = 1e-4
    beta1: Number = 0.9
    beta2: Number = 0.99

    numbers: ClassVar = {"learning_rate": AT_LEAST_ZERO, "beta1": BELOW_ONE, "beta2": BELOW_ONE}

    def start(self, params, *, xp):
        return LionState(xp.zeros_like(params))

    def rule(self, params, grads, state, hyper, *, xp):
        beta1, beta2 = hyper["beta1"], hyper["beta2"]
        towards = xp.sign(beta1 * state.momentum + (1.0 - beta1) * grads)
        return params - hyper["learning_rate"] * towards, LionState(beta2 * state.momentum + (1.0 - beta2) * grads)
