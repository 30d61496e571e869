"""The layers: each a frozen dataclass with its forward and backward on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnn._lazy import attach
from xpnn.layers.base import Array, Layer, Step, map_layers, walk

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.layers.containers import Sequential
    from xpnn.layers.dense import Dense
    from xpnn.layers.dropout import Dropout
    from xpnn.layers.normalization import BatchNorm, Standardize

_HOME = {
    "containers": "Sequential",
    "dense": "Dense",
    "dropout": "Dropout",
    "normalization": "BatchNorm Standardize",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["Array", "Layer", "Step", "map_layers", "walk"]
