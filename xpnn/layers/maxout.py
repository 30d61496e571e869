"""The layer that learns its activation: each output is the largest of a few weighted sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xpnn import initializers
from xpnn._arguments import check_count, settle
from xpnn.layers.base import Layer


@dataclass(frozen=True)
class Maxout(Layer):
    """y = max_k (x W_k + b_k), for k = 1 ... pieces: a convex function of x, piecewise linear.

    W_1, W_2, ... stand side by side in one weight of shape (in_features, pieces * out_features), and so do the b_k, so
    that all pieces are one matrix product. Backward: dy goes to the piece that was the largest, to the first of equals.

    Parameters
    ----------
    in_features, out_features : widths of the input and the output.
    pieces : how many weighted sums an output is chosen from.
    weight_init, bias_init : initializers, by name or as objects; each piece is drawn as a Dense layer is.

    Goodfellow, Warde-Farley, Mirza, Courville and Bengio (2013), "Maxout networks".

    >>> import numpy as np
    >>> params = {"weight": np.asarray([[1.0, -1.0]]), "bias": np.zeros(2)}
    >>> Maxout(1, 1).forward(params, np.asarray([[-3.0], [2.0]]), xp=np)[0]  # |x|
    array([[3.],
           [2.]])
    """

    in_features: int
    out_features: int
    pieces: int = 2
    weight_init: Any = field(default="glorot_uniform", repr=False)
    bias_init: Any = field(default="zeros", repr=False)

    def __post_init__(self):
        settle(self, check_count, "in_features", "out_features", "pieces")
        initializers.get(self.weight_init)
        initializers.get(self.bias_init)

    @property
    def input_shape(self):
        return (self.in_features,)

    def output_shape(self, shape):
        super().output_shape(shape)
        return (self.out_features,)

    def init(self, rng):
        shape = (self.in_features, self.out_features)
        draws = {"fan_in": self.in_features, "fan_out": self.out_features, "pieces": self.pieces}
        return {
            "weight": initializers.draw(self.weight_init, rng, shape, **draws, name="weight_init"),
            "bias": initializers.draw(self.bias_init, rng, shape[1:], **draws, name="bias_init"),
        }

    def forward(self, params, x, *, xp, step=None):
        z = x @ params["weight"] + params["bias"][..., None, :]  # (*members, batch, pieces * out)
        y, larger = z[..., : self.out_features], []
        for k in range(1, self.pieces):
            piece = z[..., k * self.out_features : (k + 1) * self.out_features]
            larger.append(piece > y)  # than every piece before it
            y = xp.maximum(y, piece)
        return y, (x, larger)

    def backward(self, params, cache, dy, *, xp):
        dz = self._pieces_gradient(cache[1], dy, xp)
        return dz @ xp.matrix_transpose(params["weight"]), self._gradients(cache[0], dz, xp)

    def gradients(self, params, cache, dy, *, xp):
        return self._gradients(cache[0], self._pieces_gradient(cache[1], dy, xp), xp)

    def _gradients(self, x, dz, xp):
        return {"weight": xp.matrix_transpose(x) @ dz, "bias": xp.sum(dz, axis=-2)}

    def _pieces_gradient(self, larger, dy, xp):
        """dL/dz, (*members, batch, pieces * out): from the last piece on, the first that was larger takes dy."""
        none, parts = xp.zeros_like(dy), []
        for mask in reversed(larger):
            parts.append(xp.where(mask, dy, none))
            dy = xp.where(mask, none, dy)
        return xp.concat([dy, *reversed(parts)], axis=-1)
