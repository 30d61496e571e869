"""Samples of several axes, pictures say, as rows of features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from xpnn._arguments import as_list, check_count
from xpnn.layers.base import Layer


@dataclass(frozen=True)
class Flatten(Layer):
    """y = the elements of each sample in one axis, the last axis fastest; backward gives dy its axes back.

    Parameters
    ----------
    shape : shape of one sample, such as (28, 28); x is (*members, batch, *shape).

    >>> import numpy as np
    >>> Flatten((2, 3)).forward({}, np.ones((10, 2, 3)), xp=np)[0].shape
    (10, 6)
    """

    shape: tuple[int, ...]

    learns: ClassVar = False

    def __post_init__(self):
        shape = tuple(check_count(f"shape[{i}]", size) for i, size in enumerate(as_list("shape", self.shape)))
        if not shape:
            raise ValueError("shape must have at least one axis, got ()")
        object.__setattr__(self, "shape", shape)

    @property
    def input_shape(self):
        return self.shape

    def output_shape(self, shape):
        super().output_shape(shape)
        return (math.prod(self.shape),)

    def forward(self, params, x, *, xp, step=None):
        return xp.reshape(x, (*x.shape[: -len(self.shape)], math.prod(self.shape))), None

    def backward(self, params, cache, dy, *, xp):
        return xp.reshape(dy, (*dy.shape[:-1], *self.shape)), {}
