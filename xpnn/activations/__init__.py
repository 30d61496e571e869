"""The functions between layers, each beside its derivative: the tutorial's pair, grown up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnn._arguments import lookup
from xpnn._lazy import attach
from xpnn.layers.base import Layer

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.activations.base import Activation
    from xpnn.activations.basic import (
        Identity,
        ReLU,
        Sigmoid,
        Softmax,
        Tanh,
        identity,
        relu,
        sigmoid,
        softmax,
        tanh,
    )

_HOME = {
    "base": "Activation",
    "basic": "Identity ReLU Sigmoid Softmax Tanh identity relu sigmoid softmax tanh",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["get"]

_NAMES = {
    "identity": "identity",
    "linear": "identity",
    "sigmoid": "sigmoid",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
}


def get(activation: str | Layer | type[Layer]) -> Any:
    """The activation of that name, or the object itself.

    >>> get("relu")
    ReLU()
    >>> get("relo")
    Traceback (most recent call last):
        ...
    ValueError: unknown activation 'relo': did you mean 'relu'? The names are identity, linear, logistic, relu, ...
    """
    if isinstance(activation, type) and issubclass(activation, Layer):
        return activation()
    if isinstance(activation, Layer):
        return activation
    return __getattr__(lookup("activation", activation, _NAMES))
