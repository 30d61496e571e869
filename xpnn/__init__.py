"""Neural networks written once against the array API standard: NumPy on a CPU, CuPy on a GPU.

The public names, found when first used, so that `import xpnn` costs no more than NumPy.

>>> import xpnn
>>> x, y = xpnn.datasets.circles()
>>> net = xpnn.Network(xpnn.mlp([2, 4, 8, 1], activation="relu", output="sigmoid"), backend="numpy", seed=0)
>>> history = net.fit(x / 10, y, loss="binary_cross_entropy", epochs=5)
>>> len(history["loss"])
5
"""

from typing import TYPE_CHECKING

from xpnn._lazy import attach
from xpnn._version import __version__

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn import (
        activations,
        callbacks,
        datasets,
        initializers,
        layers,
        losses,
        metrics,
        optimizers,
        plotting,
        schedules,
        testing,
    )
    from xpnn.activations import Activation, ReLU, Sigmoid, Softmax, Tanh, identity, relu, sigmoid, softmax, tanh
    from xpnn.availability import BackendUnavailable, backends
    from xpnn.backend import Backend
    from xpnn.callbacks import Callback
    from xpnn.history import History
    from xpnn.initializers import truncated_normal
    from xpnn.layers import BatchNorm, Dense, Dropout, Layer, Sequential, Standardize
    from xpnn.losses import BinaryCrossEntropy, Loss, MeanSquaredError, SoftmaxCrossEntropy
    from xpnn.network import Network, mlp
    from xpnn.optimizers import SGD, Adam, Optimizer
    from xpnn.schedules import ExponentialDecay, InverseTimeDecay, Schedule
    from xpnn.training import NonFiniteLoss

_MODULES = (
    "activations",
    "callbacks",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "plotting",
    "schedules",
    "testing",
)
_HOME = {
    "activations": "Activation ReLU Sigmoid Softmax Tanh identity relu sigmoid softmax tanh",
    "availability": "BackendUnavailable backends",
    "backend": "Backend",
    "callbacks": "Callback",
    "initializers": "truncated_normal",
    "layers": "BatchNorm Dense Dropout Layer Sequential Standardize",
    "losses": "BinaryCrossEntropy Loss MeanSquaredError SoftmaxCrossEntropy",
    "network": "Network mlp",
    "optimizers": "SGD Adam Optimizer",
    "schedules": "ExponentialDecay InverseTimeDecay Schedule",
    "history": "History",
    "training": "NonFiniteLoss",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME, _MODULES)
__all__ += ["__version__"]
