"""Layers that put features on a common scale: by the batch, by each sample, or by fixed numbers (Standardize)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn import initializers
from xpnn._arguments import ABOVE_ZERO, check_count, check_flag, check_number, settle
from xpnn.layers.base import Layer
from xpnn.special import by_hand


@dataclass(frozen=True)
class BatchNorm(Layer):
    """y = weight * (x - mu) / sqrt(var + eps) + bias, with mu and var each feature's mean and variance.

    In training mu and var are the batch's (the variance biased, divided by n), and the running statistics move to
    them: running <- (1 - momentum) * running + momentum * batch, the variance there unbiased (divided by n - 1). At
    inference the running statistics stand for mu and var.

    Backward in training, with xhat the normalized input, s = weight / sqrt(var + eps) and means over the batch:

        dL/dweight = sum(dy * xhat),  dL/dbias = sum(dy),  dL/dx = s * (dy - mean(dy) - xhat * mean(dy * xhat))

    Parameters
    ----------
    features : width of the input.
    eps : added to the variance.
    momentum : share of the batch in the running statistics.

    Ioffe and Szegedy (2015), "Batch normalization", algorithms 1 and 2; constants and conventions as in PyTorch's
    BatchNorm1d.

    >>> import numpy as np
    >>> layer = BatchNorm(2)
    >>> params = layer.init(None) | layer.init_state()
    >>> layer.forward(params, np.asarray([[1.0, 2.0]]), xp=np)[0].round(3)
    array([[1., 2.]])
    """

    features: int
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self):
        settle(self, check_count, "features")
        settle(self, check_number, "eps", **ABOVE_ZERO)
        settle(self, check_number, "momentum", low=0.0, high=1.0)

    @property
    def input_shape(self):
        return (self.features,)

    def init(self, rng):
        shape = (self.features,)
        return {"weight": initializers.Constant(1.0)(rng, shape), "bias": initializers.Zeros()(rng, shape)}

    def init_state(self):
        shape = (self.features,)
        return {
            "running_mean": initializers.Zeros()(None, shape),
            "running_var": initializers.Constant(1.0)(None, shape),
        }

    def forward(self, params, x, *, xp, step=None):
        if step is None:
            batch = None
            mean = params["running_mean"][..., None, :]
            var = params["running_var"][..., None, :]
            centred = x - mean
        else:
            mean = xp.mean(x, axis=-2, keepdims=True)  # (*members, 1, features)
            centred = x - mean
            var = xp.mean(centred * centred, axis=-2, keepdims=True)
            batch = (mean, var, x.shape[-2])
        inverse_std = 1.0 / xp.sqrt(var + self.eps)
        normal = centred * inverse_std
        weight, bias = params["weight"][..., None, :], params["bias"][..., None, :]
        return weight * normal + bias, (normal, inverse_std, batch)

    def backward(self, params, cache, dy, *, xp):
        normal, inverse_std, batch = cache
        grads = {"weight": xp.sum(dy * normal, axis=-2), "bias": xp.sum(dy, axis=-2)}
        dx = dy
        if batch is not None:
            dx = dy - xp.mean(dy, axis=-2, keepdims=True) - normal * xp.mean(dy * normal, axis=-2, keepdims=True)
        return params["weight"][..., None, :] * inverse_std * dx, grads

    def update_state(self, params, cache, *, xp):
        mean, var, n = cache[2]
        unbiased = var * (n / max(n - 1, 1))
        old = 1.0 - self.momentum
        return {
            "running_mean": old * params["running_mean"] + self.momentum * xp.squeeze(mean, axis=-2),
            "running_var": old * params["running_var"] + self.momentum * xp.squeeze(unbiased, axis=-2),
        }


@dataclass(frozen=True)
class LayerNorm(Layer):
    """y = weight * (x - mu) / sqrt(var + eps) + bias, with mu and var the mean and variance of each sample's features.

    The variance is biased (divided by the number of features). Training and inference are the same.

    Backward, with xhat the normalized input, s = 1 / sqrt(var + eps), g = weight * dy and means over the features:

        dL/dweight = sum(dy * xhat),  dL/dbias = sum(dy),  dL/dx = s * (g - mean(g) - xhat * mean(g * xhat))

    Parameters
    ----------
    features : width of the input.
    eps : added to the variance.
    bias : whether the bias is there.

    Ba, Kiros and Hinton (2016), "Layer normalization"; constants as in PyTorch's LayerNorm.

    >>> import numpy as np
    >>> layer = LayerNorm(3)
    >>> layer.forward(layer.init(None), np.asarray([[1.0, 2.0, 3.0]]), xp=np)[0].round(3)
    array([[-1.225,  0.   ,  1.225]])
    """

    features: int
    eps: float = 1e-5
    bias: bool = True

    def __post_init__(self):
        settle(self, check_count, "features")
        settle(self, check_number, "eps", **ABOVE_ZERO)
        settle(self, check_flag, "bias")

    @property
    def input_shape(self):
        return (self.features,)

    def init(self, rng):
        params = {"weight": initializers.Constant(1.0)(rng, (self.features,))}
        return params | ({"bias": initializers.Zeros()(rng, (self.features,))} if self.bias else {})

    def forward(self, params, x, *, xp, step=None):
        centred = x - xp.mean(x, axis=-1, keepdims=True)
        var = xp.mean(centred * centred, axis=-1, keepdims=True)  # (*members, batch, 1)
        inverse_std = 1.0 / xp.sqrt(var + self.eps)
        normal = centred * inverse_std
        y = params["weight"][..., None, :] * normal
        return (y + params["bias"][..., None, :] if self.bias else y), (normal, inverse_std)

    def backward(self, params, cache, dy, *, xp):
        normal, inverse_std = cache
        g = params["weight"][..., None, :] * dy
        dx = g - xp.mean(g, axis=-1, keepdims=True) - normal * xp.mean(g * normal, axis=-1, keepdims=True)
        return inverse_std * dx, self.gradients(params, cache, dy, xp=xp)

    def gradients(self, params, cache, dy, *, xp):
        grads = {"weight": xp.sum(dy * cache[0], axis=-2)}  # (*members, features)
        return grads | ({"bias": xp.sum(dy, axis=-2)} if self.bias else {})


@dataclass(frozen=True)
class RMSNorm(Layer):
    """y = weight * x / sqrt(mean(x^2) + eps), with the mean over each sample's features: LayerNorm without centring.

    Backward, with xhat the normalized input, s = 1 / sqrt(mean(x^2) + eps), g = weight * dy, means over the features:

        dL/dweight = sum(dy * xhat),  dL/dx = s * (g - xhat * mean(g * xhat))

    Parameters
    ----------
    features : width of the input.
    eps : added to the mean square; None is the machine epsilon of x.

    Zhang and Sennrich (2019), "Root mean square layer normalization"; constants as in PyTorch's RMSNorm.

    >>> import numpy as np
    >>> layer = RMSNorm(2)
    >>> layer.forward(layer.init(None), np.asarray([[3.0, 4.0]]), xp=np)[0].round(3)
    array([[0.849, 1.131]])
    """

    features: int
    eps: float | None = None

    def __post_init__(self):
        settle(self, check_count, "features")
        if self.eps is not None:
            settle(self, check_number, "eps", **ABOVE_ZERO)

    @property
    def input_shape(self):
        return (self.features,)

    def init(self, rng):
        return {"weight": initializers.Constant(1.0)(rng, (self.features,))}

    def forward(self, params, x, *, xp, step=None):
        eps = float(xp.finfo(x.dtype).eps) if self.eps is None else self.eps  # a NumPy scalar in some libraries
        inverse_rms = 1.0 / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + eps)  # (*members, batch, 1)
        normal = x * inverse_rms
        return params["weight"][..., None, :] * normal, (normal, inverse_rms)

    def backward(self, params, cache, dy, *, xp):
        normal, inverse_rms = cache
        g = params["weight"][..., None, :] * dy
        dx = inverse_rms * (g - normal * xp.mean(g * normal, axis=-1, keepdims=True))
        return dx, self.gradients(params, cache, dy, xp=xp)

    def gradients(self, params, cache, dy, *, xp):
        return {"weight": xp.sum(dy * cache[0], axis=-2)}  # (*members, features)


@dataclass(frozen=True)
class Standardize(Layer):
    """y = (x - mean) / scale, or y = x * scale + mean with `inverse=True`: fixed numbers, not learned.

    As the first layer it scales the features, as the last, inverted, it gives the target its units back; either way
    the scaling is saved, moved and exported with the weights. Backward: dL/dx = dy / scale, or dy * scale.

    Parameters
    ----------
    mean, scale : one number a feature; scale > 0.
    inverse : undo the scaling instead.

    >>> import numpy as np
    >>> layer = Standardize.fit(np.asarray([[0.0, 5.0], [2.0, 5.0]]))
    >>> layer
    Standardize((1, 5), (1, 1))
    >>> layer.forward(layer.init_state(), np.asarray([[4.0, 5.0]]), xp=np)[0]
    array([[3., 0.]])
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    inverse: bool = False

    learns: ClassVar = False

    def __post_init__(self):
        for name in ("mean", "scale"):
            values = getattr(self, name)
            values = values.tolist() if hasattr(values, "tolist") else values
            values = tuple(values) if isinstance(values, list | tuple) else (values,)
            low = {"low": 0.0, "open_low": True} if name == "scale" else {}
            values = tuple(check_number(f"{name}[{i}]", value, **low) for i, value in enumerate(values))
            object.__setattr__(self, name, values)
        if len(self.mean) != len(self.scale):
            raise ValueError(f"mean has {len(self.mean)} features and scale {len(self.scale)}: they must be as many")
        settle(self, check_flag, "inverse")

    @classmethod
    def fit(cls, x: Any, *, inverse: bool = False) -> Standardize:
        """The layer with the mean and the standard deviation of each column of `x` (n, features).

        A column that is constant, but for rounding, gets scale 1. `x` can be an array of any library.
        """
        x, xp = by_hand(x)
        if x.ndim != 2 or x.shape[0] == 0:
            raise ValueError(f"x must be (n, features) with at least one row, got an array of shape {tuple(x.shape)}")
        mean, scale = xp.mean(x, axis=0), xp.std(x, axis=0)
        mean, scale = ([float(column[i]) for i in range(x.shape[1])] for column in (mean, scale))
        rounding = 10.0 * float(xp.finfo(x.dtype).eps)
        spread = (s if s > rounding * abs(m) else 1.0 for m, s in zip(mean, scale, strict=True))
        return cls(tuple(mean), tuple(spread), inverse)

    @property
    def input_shape(self):
        return (len(self.mean),)

    def init_state(self):
        n = len(self.mean)
        mean, scale = initializers.Zeros()(None, (n,)), initializers.Zeros()(None, (n,))
        mean[:], scale[:] = self.mean, self.scale
        return {"mean": mean, "scale": scale}

    def forward(self, params, x, *, xp, step=None):
        mean, scale = params["mean"][..., None, :], params["scale"][..., None, :]
        return (x * scale + mean if self.inverse else (x - mean) / scale), scale

    def backward(self, params, scale, dy, *, xp):
        return (dy * scale if self.inverse else dy / scale), {}

    def update_state(self, params, scale, *, xp):
        return params
