"""Classes as columns: what metrics of classes look at, a column for each class and a row for each prediction."""

from __future__ import annotations

from typing import Any

from xpnn.layers.base import Array
from xpnn.losses.base import one_hot

OF_CLASSES = ("one_hot", "class_scores", "class_probabilities")
"""The needs of metrics that look at columns."""


def hard(rows: Array, *, xp: Any) -> Array:
    """Rows (*, classes) as zeros with a one at the largest, the first of equals.

    >>> import numpy as np
    >>> hard(np.asarray([[0.2, 0.8], [0.5, 0.5]]), xp=np)
    array([[0., 1.],
           [1., 0.]])
    """
    return one_hot(xp.argmax(rows, axis=-1), rows, xp=xp)


def no_and_yes(yes: Array, both: float, *, xp: Any) -> Array:
    """One column of yes, (*, 1), as the two of no and yes, which add up to `both`: 1 for probabilities.

    >>> import numpy as np
    >>> no_and_yes(np.asarray([[0.25], [1.0]]), 1.0, xp=np)
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    return xp.concat([both - yes, yes], axis=-1)
