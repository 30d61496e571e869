"""The layers: each a frozen dataclass with its forward and backward on one screen."""

from xpnn.layers.base import Array, Layer, Step, map_layers, walk
from xpnn.layers.containers import Sequential
from xpnn.layers.dense import Dense
from xpnn.layers.dropout import Dropout
from xpnn.layers.normalization import BatchNorm, Standardize

__all__ = ["Array", "BatchNorm", "Dense", "Dropout", "Layer", "Sequential", "Standardize", "Step", "map_layers", "walk"]
