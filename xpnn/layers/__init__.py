"""The layers: each a frozen dataclass with its forward and backward on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnn._lazy import attach
from xpnn.layers.base import Array, Layer, Step, map_layers, walk

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.layers.containers import Container, Residual, Sequential
    from xpnn.layers.dense import Dense
    from xpnn.layers.dropout import Dropout
    from xpnn.layers.embedding import Embedding, FeatureEmbedding
    from xpnn.layers.flatten import Flatten
    from xpnn.layers.increasing import Increasing
    from xpnn.layers.maxout import Maxout
    from xpnn.layers.noise import GaussianNoise
    from xpnn.layers.normalization import BatchNorm, LayerNorm, RMSNorm, Standardize
    from xpnn.layers.penalty import ActivityPenalty
    from xpnn.layers.prelu import PReLU

_HOME = {
    "containers": "Container Residual Sequential",
    "dense": "Dense",
    "dropout": "Dropout",
    "embedding": "Embedding FeatureEmbedding",
    "flatten": "Flatten",
    "increasing": "Increasing",
    "maxout": "Maxout",
    "noise": "GaussianNoise",
    "normalization": "BatchNorm LayerNorm RMSNorm Standardize",
    "penalty": "ActivityPenalty",
    "prelu": "PReLU",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["Array", "Layer", "Step", "map_layers", "walk"]
