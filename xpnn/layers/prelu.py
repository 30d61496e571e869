"""The rectifier that learns its slope: ReLU's and leaky ReLU's family, with the member chosen by training."""

from __future__ import annotations

from dataclasses import dataclass

from xpnn import initializers
from xpnn._arguments import check_count, check_number, settle
from xpnn.layers.base import Layer, one_axis


@dataclass(frozen=True)
class PReLU(Layer):
    """y = max(x, 0) + a min(x, 0), with the slope a learned, of shape (features,).

    Backward, for dy = dL/dy of shape (*members, batch, width):

        dL/dx = dy where x > 0, else a dy;   dL/da = the sum over the batch of dy min(x, 0)

    at the kink a, as in PyTorch. With one feature there is one slope for inputs of any width, and the sum goes over
    them too.

    Parameters
    ----------
    features : 1, or the width of the input for a slope each.
    initial : the slopes at the start; 0 is ReLU, 1 the identity.

    Raises
    ------
    ValueError for less than one feature, and when the network is built for samples of several axes.

    He, Zhang, Ren and Sun (2015), "Delving deep into rectifiers"; the default is theirs and PyTorch's. They advise
    against weight decay of the slopes, which pulls them to ReLU.

    >>> import numpy as np
    >>> layer = PReLU()
    >>> params = layer.init(None)
    >>> y, cache = layer.forward(params, np.asarray([[-2.0, 0.0, 3.0]]), xp=np)
    >>> y
    array([[-0.5,  0. ,  3. ]])
    >>> layer.backward(params, cache, np.ones((1, 3)), xp=np)
    (array([[0.25, 0.25, 1.  ]]), {'slope': array([-2.])})
    """

    features: int = 1
    initial: float = 0.25

    def __post_init__(self):
        settle(self, check_count, "features")
        settle(self, check_number, "initial")

    @property
    def input_shape(self):
        return None if self.features == 1 else (self.features,)

    def output_shape(self, shape):
        return super().output_shape(one_axis(shape))

    def init(self, rng):
        return {"slope": initializers.Constant(self.initial)(rng, (self.features,))}

    def forward(self, params, x, *, xp, step=None):
        below = xp.minimum(x, 0.0)
        slope = params["slope"][..., None, :]  # (*members, 1, features)
        return xp.maximum(x, 0.0) + slope * below, (x, below)

    def backward(self, params, cache, dy, *, xp):
        positive = xp.astype(cache[0] > 0.0, dy.dtype)
        dx = dy * (positive + (1.0 - positive) * params["slope"][..., None, :])
        return dx, self.gradients(params, cache, dy, xp=xp)

    def gradients(self, params, cache, dy, *, xp):
        slope = xp.sum(dy * cache[1], axis=-2)  # (*members, width)
        return {"slope": xp.sum(slope, axis=-1, keepdims=True) if self.features == 1 else slope}
