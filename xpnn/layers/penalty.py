"""A price on activations: what passes through the layer costs, so that networks with small or few of them are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn._arguments import AT_LEAST_ZERO, Number, hyper_parameter, settle
from xpnn.layers.base import Layer, one_axis


@dataclass(frozen=True)
class ActivityPenalty(Layer):
    """y = x; in training the mean over the batch of sum_j (l1 |x_j| + l2/2 x_j^2) is added to the objective.

    Backward in training: dL/dx = dy + (l1 sign(x) + l2 x) / batch, with sign(0) = 0. At inference nothing is added.
    Each row of a batch pays alike, whatever its sample weight.

    Parameters
    ----------
    l1, l2 : prices >= 0 of the absolute value, which makes activations sparse, and of the square, which keeps them
        small; each can be scheduled, or be a sequence with one a member.

    Glorot, Bordes and Bengio (2011), "Deep sparse rectifier neural networks", for the absolute value.

    >>> import numpy as np
    >>> from xpnn.layers import Step
    >>> layer, x = ActivityPenalty(l1=0.1, l2=1.0), np.asarray([[2.0, -4.0]])
    >>> step = Step({name: np.full((1, 1), getattr(layer, name)) for name in layer.tunable}, None, np)
    >>> y, cache = layer.forward({}, x, xp=np, step=step)
    >>> print(layer.penalty({}, cache, xp=np).round(3))
    10.6
    >>> layer.backward({}, cache, np.zeros((1, 2)), xp=np)[0]
    array([[ 2.1, -4.1]])
    """

    l1: Number = 0.0
    l2: Number = 0.0

    tunable: ClassVar = {"l1": AT_LEAST_ZERO, "l2": AT_LEAST_ZERO}
    learns: ClassVar = False
    penalizes: ClassVar = True

    def __post_init__(self):
        settle(self, hyper_parameter, *self.tunable, **AT_LEAST_ZERO)

    def output_shape(self, shape):
        return one_axis(shape)

    def forward(self, params, x, *, xp, step=None):
        return x, None if step is None else (x, step.hyper["l1"], step.hyper["l2"])

    def penalty(self, params, cache, *, xp):
        x, l1, l2 = cache
        size = xp.abs(x)
        costs = size * (l1 + 0.5 * l2 * size)  # (*members, batch, features); the square alone could overflow at l2 = 0
        return xp.sum(costs, axis=(-2, -1)) * (1.0 / x.shape[-2])

    def backward(self, params, cache, dy, *, xp):
        if cache is None:
            return dy, {}
        x, l1, l2 = cache
        return dy + (l1 * xp.sign(x) + l2 * x) * (1.0 / x.shape[-2]), {}
