"""The fully connected layer: every output is a weighted sum of all inputs, plus a bias."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xpnn import initializers
from xpnn._arguments import check_count, check_flag, settle
from xpnn.layers.base import Layer


@dataclass(frozen=True)
class Dense(Layer):
    """y = x W + b, with W of shape (in_features, out_features) and b of shape (out_features,).

    Backward, for dy = dL/dy of shape (*members, batch, out_features):

        dL/dx = dy W^T,   dL/dW = x^T dy,   dL/db = the sum of dy over the batch

    Parameters
    ----------
    in_features, out_features : widths of the input and the output.
    bias : whether b is there.
    weight_init, bias_init : initializers, by name or as objects.

    Raises
    ------
    ValueError for a width below 1, an unknown initializer, or one that draws another shape or no finite numbers.

    Goodfellow, Bengio and Courville (2016), "Deep Learning", section 6.5.

    >>> import numpy as np
    >>> layer = Dense(2, 3)
    >>> params = {"weight": np.ones((2, 3)), "bias": np.zeros(3)}
    >>> y, cache = layer.forward(params, np.asarray([[1.0, 2.0]]), xp=np)
    >>> y
    array([[3., 3., 3.]])
    >>> dx, grads = layer.backward(params, cache, np.ones((1, 3)), xp=np)
    >>> dx, grads["bias"]
    (array([[3., 3.]]), array([1., 1., 1.]))
    """

    in_features: int
    out_features: int
    bias: bool = True
    weight_init: Any = field(default="glorot_uniform", repr=False)
    bias_init: Any = field(default="zeros", repr=False)

    def __post_init__(self):
        settle(self, check_count, "in_features", "out_features")
        hint = "an activation is a layer of its own, after this one"
        settle(self, check_flag, "bias", hint=hint)
        initializers.get(self.weight_init)
        initializers.get(self.bias_init)

    @property
    def input_shape(self):
        return (self.in_features,)

    def output_shape(self, shape):
        super().output_shape(shape)
        return (self.out_features,)

    def init(self, rng):
        fans = {"fan_in": self.in_features, "fan_out": self.out_features}
        shape = (self.in_features, self.out_features)
        params = {"weight": initializers.draw(self.weight_init, rng, shape, **fans, name="weight_init")}
        if self.bias:
            params["bias"] = initializers.draw(self.bias_init, rng, shape[1:], **fans, name="bias_init")
        return params

    def forward(self, params, x, *, xp, step=None):
        y = x @ params["weight"]  # (*members, batch, out)
        if self.bias:
            y = y + params["bias"][..., None, :]  # (*members, 1, out)
        return y, x

    def backward(self, params, x, dy, *, xp):
        dx = dy @ xp.matrix_transpose(params["weight"])  # (*members, batch, in)
        return dx, self.gradients(params, x, dy, xp=xp)

    def gradients(self, params, x, dy, *, xp):
        grads = {"weight": xp.matrix_transpose(x) @ dy}  # (*members, in, out)
        if self.bias:
            grads["bias"] = xp.sum(dy, axis=-2)  # (*members, out)
        return grads
