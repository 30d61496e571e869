"""Several networks as one estimator: the rows that each is trained on, and what they say together.

The members are one stack, trained at once. Each begins from a seed of its own, which alone makes them differ (deep
ensembles), or is trained on a sample of its own as well (bagging). What they predict is averaged.

Lakshminarayanan, Pritzel and Blundell (2017), "Simple and scalable predictive uncertainty estimation using deep
ensembles"; Breiman (1996), "Bagging predictors".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnn.batches import generator

__all__ = ["check", "options", "remaining", "resampled", "spread"]

Array = Any

RESAMPLED = 64  # what a host generator is for, beside the purposes of `xpnn.batches`


def check(estimator: Any) -> None:
    """Raise where what is asked for takes an ensemble that is not there, or does not go with one."""
    if estimator.bootstrap and estimator.ensemble is None:
        raise ValueError("bootstrap=True draws rows for each member of an ensemble: give ensemble=16, say")
    if estimator.solver == "lbfgs" and estimator.ensemble is not None:
        raise ValueError(
            f"solver='lbfgs' trains one network alone: it does not go with ensemble={estimator.ensemble}, take 'adam'"
        )


def options(estimator: Any, rows: int) -> dict[str, Any]:
    """What `Network.fit` is asked for besides, for so many rows."""
    return {"rows": resampled(estimator.network_.seeds, rows)} if estimator.bootstrap else {}


def resampled(seeds: Sequence[int], rows: int) -> np.ndarray:
    """As many row numbers for each seed as there are rows, (members, rows), drawn with replacement.

    A member's draw depends on its seed and the number of rows alone, so that training goes on with the same sample.

    >>> resampled([0, 1], 5)
    array([[3, 1, 1, 4, 1],
           [1, 4, 3, 0, 4]])
    """
    return np.stack([generator(seed, RESAMPLED).integers(0, rows, rows) for seed in seeds])


def remaining(outputs: Array, diverged: Sequence[int], backend: Any) -> Array:
    """What the members that have not diverged give, of outputs (members, n, outputs)."""
    if not diverged:
        return outputs
    index = backend.asarray(np.setdiff1d(np.arange(outputs.shape[0]), diverged), dtype=None)
    return backend.xp.take(outputs, index, axis=0)


def spread(outputs: Array, *, xp: Any) -> Array:
    """The standard deviation between the members, (n, outputs), of outputs (members, n, outputs).

    That of the members themselves, sqrt(mean_k (p_k - mean p)^2), which are all there are: no n - 1.
    """
    return xp.std(outputs, axis=0)
