"""The functions between layers, each beside its derivative: the tutorial's pair, grown up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnn._arguments import named
from xpnn._lazy import attach
from xpnn.layers.base import Layer

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.activations.base import Activation
    from xpnn.activations.basic import (
        Identity,
        LogSoftmax,
        ReLU,
        Sigmoid,
        Softmax,
        Tanh,
        identity,
        log_softmax,
        relu,
        sigmoid,
        softmax,
        tanh,
    )
    from xpnn.activations.rectifiers import (
        ELU,
        SELU,
        HardSigmoid,
        HardSwish,
        LeakyReLU,
        Softplus,
        elu,
        hard_sigmoid,
        hard_swish,
        leaky_relu,
        prelu,
        selu,
        softplus,
    )
    from xpnn.activations.smooth import (
        GELU,
        Exponential,
        GELUTanh,
        Mish,
        SiLU,
        Sine,
        Softsign,
        exponential,
        gelu,
        gelu_tanh,
        mish,
        silu,
        sine,
        softsign,
    )

_HOME = {
    "base": "Activation",
    "basic": "Identity LogSoftmax ReLU Sigmoid Softmax Tanh identity log_softmax relu sigmoid softmax tanh",
    "rectifiers": "ELU HardSigmoid HardSwish LeakyReLU SELU Softplus "
    "elu hard_sigmoid hard_swish leaky_relu prelu selu softplus",
    "smooth": "Exponential GELU GELUTanh Mish SiLU Sine Softsign exponential gelu gelu_tanh mish silu sine softsign",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["get"]

_ALIASES = {"linear": "identity", "logistic": "sigmoid", "swish": "silu", "exp": "exponential", "sin": "sine"}
_NAMES = {name: name for names in _HOME.values() for name in names.split() if name.islower()} | _ALIASES


def get(activation: str | Layer | type[Layer], **options: Any) -> Any:
    """The activation of that name with `options`, or the object itself.

    >>> get("relu")
    ReLU()
    >>> get("relo")
    Traceback (most recent call last):
        ...
    ValueError: unknown activation 'relo': did you mean 'relu' or 'prelu'? The names are elu, exp, ...
    """
    return named("activation", activation, options, _NAMES, _is_layer, __getattr__)


def _is_layer(given: Any) -> bool:
    return isinstance(given, Layer) or (isinstance(given, type) and issubclass(given, Layer))
