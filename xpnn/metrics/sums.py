"""Sums and means over rows, weighted where there are weights, and exact enough in float32 for millions of rows.

NumPy adds the rows of an (n, columns) array one after the other, and so does every running sum: a million equal
weights of 0.1 in float32 would be off by a percent. In about sqrt(n) blocks of sqrt(n) rows they are off by 1e-5.
"""

from __future__ import annotations

import math
from typing import Any

from xpnn.layers.base import Array


def mean_of_rows(rows: Array, *, xp: Any, weight: Array | None) -> Array:
    """The (weighted) mean of one number a row, (*members, batch); zero where all weights are."""
    return xp.mean(rows, axis=-1) if weight is None else weighted_mean(rows, _relative(weight, xp), xp=xp)


def weighted_mean(values: Array, weight: Array, *, xp: Any) -> Array:
    """sum w v / sum w over the last axis; zero where all weights are.

    Both sums round alike, so that the mean of ones is exactly 1 and of numbers up to 1 never more, which sums of
    shares w / sum w can be.

    >>> import numpy as np
    >>> weighted_mean(np.asarray([1.0, 0.0]), np.asarray([3.0, 1.0]), xp=np)
    np.float64(0.75)
    """
    total = xp.sum(weight * xp.ones_like(values), axis=-1)
    return ratio(xp.sum(weight * values, axis=-1), total, xp=xp)


def column_sums(values: Array, *, xp: Any, weight: Array | None = None) -> Array:
    """The (weighted) sum of each column of `values` (*members, batch, columns).

    >>> import numpy as np
    >>> column_sums(np.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), xp=np, weight=np.asarray([1.0, 1.0, 0.0]))
    array([4., 6.])
    """
    values = values if weight is None else values * weight[..., None]
    *lead, rows, columns = values.shape
    block = math.isqrt(rows)
    whole = rows - rows % block
    blocks = xp.reshape(values[..., :whole, :], (*lead, whole // block, block, columns))
    return xp.sum(xp.sum(blocks, axis=-2), axis=-2) + xp.sum(values[..., whole:, :], axis=-2)


def column_means(values: Array, *, xp: Any, weight: Array | None = None) -> Array:
    """The (weighted) mean of each column of `values` (*members, batch, columns); zeros where all weights are zero."""
    if weight is None:
        return column_sums(values, xp=xp) * (1.0 / values.shape[-2])
    relative = _relative(weight, xp)
    return ratio(column_sums(values, xp=xp, weight=relative), column_sums(relative[..., None], xp=xp), xp=xp)


def running_sums(values: Array, *, xp: Any) -> Array:
    """The sums of the first 0, 1, ..., n of `values` (*, n), as (*, n + 1).

    >>> import numpy as np
    >>> running_sums(np.asarray([1.0, 2.0, 3.0]), xp=np)
    array([0., 1., 3., 6.])
    """
    *lead, length = values.shape
    block = math.isqrt(length) + 1
    padding = xp.broadcast_to(xp.zeros_like(values[..., :1]), (*lead, block * block - length))
    within = xp.cumulative_sum(xp.reshape(xp.concat([values, padding], axis=-1), (*lead, block, block)), axis=-1)
    before = xp.cumulative_sum(within[..., -1], axis=-1, include_initial=True)
    sums = xp.reshape(within + before[..., :-1, None], (*lead, block * block))
    return xp.concat([before[..., :1], sums[..., :length]], axis=-1)


def ratio(part: Array, whole: Array, *, xp: Any) -> Array:
    """part / whole; where `whole` is 0, `part` as it is: 0 of 0 is 0."""
    return part / xp.where(whole == 0.0, xp.ones_like(whole), whole)


def _relative(weight: Array, xp: Any) -> Array:
    """Weights (*, batch) beside the largest, so that no product with one overflows."""
    return ratio(weight, xp.max(weight, axis=-1, keepdims=True), xp=xp)
