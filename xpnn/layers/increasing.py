"""Outputs in increasing order by construction: quantiles that cannot cross."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn._arguments import check_count, settle
from xpnn.layers.base import Layer


@dataclass(frozen=True)
class Increasing(Layer):
    """y_1 = x_1 and y_k = y_(k-1) + softplus(x_k), for the `count` blocks x_1, x_2, ... of d columns each.

    softplus(x) = ln(1 + e^x) is positive, so that every level lies above the one before it, or on it where rounding
    leaves nothing of the step. With three quantiles of two targets, features = 6 and count = 3: the first two columns
    are the lowest quantile of each target, the next two the middle one.

    Backward, with g_k = dy_k + dy_(k+1) + ... + dy_count:

        dL/dx_1 = g_1,   dL/dx_k = g_k sigmoid(x_k)

    Parameters
    ----------
    features : width of the input and the output, count * d.
    count : how many levels there are.

    Raises
    ------
    ValueError where `count` does not divide `features`.

    Park et al. (2022), "Learning quantile functions without quantile crossing for distribution-free time series
    forecasting", whose incremental quantile functions add up steps that are not negative.

    >>> import numpy as np
    >>> Increasing(3, 3).forward({}, np.asarray([[1.0, 0.0, -1000.0]]), xp=np)[0].round(3)
    array([[1.   , 1.693, 1.693]])
    """

    features: int
    count: int

    learns: ClassVar = False

    def __post_init__(self):
        settle(self, check_count, "features", "count")
        if self.features % self.count:
            raise ValueError(f"features must be a multiple of count={self.count}, got {self.features}")

    @property
    def input_shape(self):
        return (self.features,)

    def _blocks(self, values):
        """The columns of each level, (*members, batch, d)."""
        width = self.features // self.count
        return [values[..., start : start + width] for start in range(0, self.features, width)]

    def forward(self, params, x, *, xp, step=None):
        steps = self._blocks(xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x))))  # NumPy's logaddexp takes ten times it
        # Level by level: a library's cumulative sum may add in another order, and rounding could cross two levels.
        levels = self._blocks(x)[:1]
        for k in range(1, self.count):
            levels.append(levels[-1] + steps[k])
        return xp.concat(levels, axis=-1), x

    def backward(self, params, x, dy, *, xp):
        blocks, slopes = self._blocks(dy), self._blocks(0.5 * (xp.tanh(0.5 * x) + 1.0))  # the sigmoid
        g, parts = blocks[-1], []
        for k in range(self.count - 1, 0, -1):
            parts.append(g * slopes[k])
            g = g + blocks[k - 1]
        return xp.concat([g, *parts[::-1]], axis=-1), {}
