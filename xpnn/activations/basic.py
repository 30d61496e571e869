"""The activations of every textbook: sigmoid, tanh, ReLU, softmax and its logarithm, and none at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xpnn.activations.base import Activation


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


@dataclass(frozen=True)
class LogSoftmax(Activation):
    """y_i = x_i - log(sum_j exp(x_j)) over the last axis, the logarithm of softmax; the largest x is taken off first.

    dy_i/dx_j = 1[i = j] - exp(y_j), so that dL/dx = dy - exp(y) sum_j dy_j. `log_softmax.derivative(x)` is that matrix,
    of shape (*x.shape, n). The outputs are logits too, of the same probabilities: before the softmax cross-entropy
    this layer changes nothing but what `predict` gives.

    >>> log_softmax([[0.0, 0.0, 1000.0]])
    array([[-1000., -1000.,     0.]])
    >>> log_softmax.derivative([0.0, 0.0])
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """

    def value(self, x, *, xp):
        shifted = x - xp.max(x, axis=-1, keepdims=True)
        y = shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
        return y, y

    def slope(self, y, *, xp):
        one = xp.eye(y.shape[-1], dtype=y.dtype, device=getattr(y, "device", None))
        return one - xp.expand_dims(xp.exp(y), axis=-2)

    def backward(self, params, y, dy, *, xp):
        return dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True), {}


identity = Identity()
sigmoid = Sigmoid()
tanh = Tanh()
relu = ReLU()
softmax = Softmax()
log_softmax = LogSoftmax()
