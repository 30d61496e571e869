"""Dropout: in training every input is left out with a given probability, so that no unit relies on one other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn._arguments import BELOW_ONE, Number, hyper_parameter, settle
from xpnn.layers.base import Layer, one_axis


@dataclass(frozen=True)
class Dropout(Layer):
    """y = x m / (1 - rate) in training, with m 0 with probability `rate` and else 1; y = x at inference.

    Backward: dL/dx = dy m / (1 - rate). An element is dropped where its random bits, uniform on [0, 2^31), lie below
    rate * 2^31: an integer comparison, so every array library draws the same mask.

    Parameters
    ----------
    rate : probability of being dropped, 0 <= rate < 1; can be scheduled, or a sequence with one a member.

    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from overfitting", in the inverted
    form that scales in training.

    >>> import numpy as np
    >>> Dropout(0.5).forward({}, np.ones((1, 4)), xp=np)[0]
    array([[1., 1., 1., 1.]])
    """

    rate: Number

    tunable: ClassVar = {"rate": BELOW_ONE}
    random: ClassVar = True
    learns: ClassVar = False

    def __post_init__(self):
        settle(self, hyper_parameter, "rate", **BELOW_ONE)

    def output_shape(self, shape):
        return one_axis(shape)

    def forward(self, params, x, *, xp, step=None):
        if step is None:
            return x, None
        rate = step.hyper["rate"]  # (*members, 1, 1)
        threshold = xp.astype(rate * 2.0**31, xp.int32)  # exact: a product with a power of two
        kept = step.bits(x.shape[-2:]) >= threshold  # (*members, batch, features)
        mask = xp.astype(kept, x.dtype) / (1.0 - rate)
        return x * mask, mask

    def backward(self, params, mask, dy, *, xp):
        return (dy if mask is None else dy * mask), {}
