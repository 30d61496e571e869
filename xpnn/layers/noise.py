"""Gaussian noise: in training every input is moved a little at random, so that its exact value cannot be learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn._arguments import AT_LEAST_ZERO, Number, hyper_parameter, settle
from xpnn.layers.base import Layer, one_axis


@dataclass(frozen=True)
class GaussianNoise(Layer):
    """y = x + std n in training, with n standard normal and drawn anew each step; y = x at inference.

    Backward: dL/dx = dy. The normal numbers come from the same random bits on every array library.

    Parameters
    ----------
    std : standard deviation of the noise, >= 0; can be scheduled, or a sequence with one a member.

    Bishop (1995), "Training with noise is equivalent to Tikhonov regularization".

    >>> import numpy as np
    >>> GaussianNoise(0.5).forward({}, np.ones((1, 4)), xp=np)[0]
    array([[1., 1., 1., 1.]])
    """

    std: Number

    tunable: ClassVar = {"std": AT_LEAST_ZERO}
    random: ClassVar = True
    learns: ClassVar = False

    def __post_init__(self):
        settle(self, hyper_parameter, "std", **AT_LEAST_ZERO)

    def output_shape(self, shape):
        return one_axis(shape)

    def forward(self, params, x, *, xp, step=None):
        if step is None:
            return x, None
        return x + step.hyper["std"] * step.normal(x.shape[-2:], x.dtype), None  # (*members, batch, features)

    def backward(self, params, cache, dy, *, xp):
        return dy, {}
