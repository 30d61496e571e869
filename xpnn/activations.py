"""The functions between layers, each beside its derivative: the tutorial's pair, grown up.

An activation is a layer without parameters. By hand, `relu(x)` is the function and `relu.derivative(x)` its
derivative, both of the input x; in a network its derivative is taken from what the forward pass kept, from the output
where it can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn._arguments import lookup
from xpnn.layers.base import Array, Layer
from xpnn.special import by_hand


@dataclass(frozen=True)
class Activation(Layer):
    """A function applied to each element. Subclasses write two formulas:

    `value(x) -> (y, kept)`, the function and what its derivative is written in, and `slope(kept) -> dy/dx`.

    `probability` says that the outputs are probabilities, which ties the last activation to its loss.
    """

    learns: ClassVar = False
    probability: ClassVar[bool] = False

    def value(self, x: Array, *, xp: Any) -> tuple[Array, Any]:
        raise NotImplementedError(f"{type(self).__name__} has no value")

    def slope(self, kept: Any, *, xp: Any) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no slope")

    def forward(self, params, x, *, xp, step=None):
        return self.value(x, xp=xp)

    def backward(self, params, kept, dy, *, xp):
        return dy * self.slope(kept, xp=xp), {}

    def __call__(self, x: Any) -> Array:
        """The function of `x`, an array of any library, a list or a number."""
        x, xp = by_hand(x)
        return self.value(x, xp=xp)[0]

    def derivative(self, x: Any) -> Array:
        """The derivative at `x`, in the shape of `x`; `x` itself is left as it is."""
        x, xp = by_hand(x)
        return self.slope(self.value(x, xp=xp)[1], xp=xp)


@dataclass(frozen=True)
class Identity(Activation):
    """y = x; dy/dx = 1. By name also "linear".

    >>> identity([1.0, -2.0]), identity.derivative([1.0, -2.0])
    (array([ 1., -2.]), array([1., 1.]))
    """

    def value(self, x, *, xp):
        return x, x

    def slope(self, y, *, xp):
        return xp.ones_like(y)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)), computed as (tanh(x/2) + 1) / 2, which cannot overflow; dy/dx = y (1 - y).

    By name also "logistic".

    >>> sigmoid([-1000.0, 0.0, 1000.0]), sigmoid.derivative([-1000.0, 0.0, 1000.0])
    (array([0. , 0.5, 1. ]), array([0.  , 0.25, 0.  ]))
    """

    probability: ClassVar = True

    def value(self, x, *, xp):
        y = 0.5 * (xp.tanh(0.5 * x) + 1.0)
        return y, y

    def slope(self, y, *, xp):
        return y * (1.0 - y)


@dataclass(frozen=True)
class Tanh(Activation):
    """y = tanh(x); dy/dx = 1 - y^2.

    >>> tanh([0.0, 1000.0]), tanh.derivative([0.0, 1000.0])
    (array([0., 1.]), array([1., 0.]))
    """

    def value(self, x, *, xp):
        y = xp.tanh(x)
        return y, y

    def slope(self, y, *, xp):
        return 1.0 - y * y


@dataclass(frozen=True)
class ReLU(Activation):
    """y = max(x, 0); dy/dx = 1 where y > 0, else 0 (at the kink 0, as in PyTorch).

    >>> relu([-2.0, 0.0, 3.0]), relu.derivative([-2.0, 0.0, 3.0])
    (array([0., 0., 3.]), array([0., 0., 1.]))
    """

    def value(self, x, *, xp):
        y = xp.maximum(x, 0.0)
        return y, y

    def slope(self, y, *, xp):
        return xp.astype(y > 0.0, y.dtype)


@dataclass(frozen=True)
class Softmax(Activation):
    """y_i = exp(x_i) / sum_j exp(x_j) over the last axis; the largest x is taken off first: exp cannot overflow.

    Each output depends on every input: dy_i/dx_j = y_i (1[i = j] - y_j), so that dL/dx = y (dy - sum_j dy_j y_j).
    `softmax.derivative(x)` is that matrix, of shape (*x.shape, n).

    >>> softmax([[0.0, 0.0, 1000.0]])
    array([[0., 0., 1.]])
    >>> softmax.derivative([0.0, 0.0])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """

    probability: ClassVar = True

    def value(self, x, *, xp):
        powers = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        y = powers / xp.sum(powers, axis=-1, keepdims=True)
        return y, y

    def slope(self, y, *, xp):
        column, row = xp.expand_dims(y, axis=-1), xp.expand_dims(y, axis=-2)
        one = xp.eye(y.shape[-1], dtype=y.dtype, device=getattr(y, "device", None))
        return column * (one - row)

    def backward(self, params, y, dy, *, xp):
        return y * (dy - xp.sum(dy * y, axis=-1, keepdims=True)), {}


identity = Identity()
sigmoid = Sigmoid()
tanh = Tanh()
relu = ReLU()
softmax = Softmax()

_NAMES = {
    "identity": identity,
    "linear": identity,
    "sigmoid": sigmoid,
    "logistic": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "softmax": softmax,
}


def get(activation: str | Activation | type[Activation]) -> Activation:
    """The activation of that name, or the object itself.

    >>> get("relu")
    ReLU()
    >>> get("relo")
    Traceback (most recent call last):
        ...
    ValueError: unknown activation 'relo': did you mean 'relu'? The names are identity, linear, logistic, relu, ...
    """
    if isinstance(activation, type) and issubclass(activation, Activation):
        return activation()
    if isinstance(activation, Activation):
        return activation
    return lookup("activation", activation, _NAMES)
