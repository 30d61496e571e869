"""Neural networks written once against the array API standard: NumPy on a CPU, CuPy on a GPU.

The public names, found when first used, so that `import xpnn` costs no more than NumPy.

>>> import xpnn
>>> x, y = xpnn.datasets.circles()
>>> net = xpnn.Network(xpnn.mlp([2, 4, 8, 1], activation="relu", output="sigmoid"), backend="numpy", seed=0)
>>> history = net.fit(x / 10, y, loss="binary_cross_entropy", epochs=5)
>>> len(history["loss"])
5
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
_NAMES = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"xpnn.{name}")
    if name in _NAMES:
        value = getattr(import_module(f"xpnn.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'xpnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
