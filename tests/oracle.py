"""Every layer, activation and loss a second time, from its definition, for JAX and PyTorch to differentiate.

It shares no code with the library and has no derivatives: `value` gives the objective of a network, an automatic
differentiation its gradient. `Kinks` collects the numbers that must stay away from zero for the gradient to be well
defined and well conditioned: distances to corners, variances that something is divided by, room below an overflow.
"""

import numpy as np


class Kinks:
    """The least of all distances noted; nothing is noted under an automatic differentiation."""

    def __init__(self):
        self.least = np.inf

    def __call__(self, *distances):
        for distance in distances:
            self.least = min(self.least, float(np.abs(np.asarray(distance)).min(initial=np.inf)))


def nothing(*distances):
    """In the place of Kinks."""


class JAX:
    """What JAX calls the functions of the catalogue."""

    def __init__(self):
        import jax

        self.xp, nn = jax.numpy, jax.nn
        self.asarray = jax.numpy.asarray
        self.one_hot = nn.one_hot
        self.functions = {
            "Sigmoid": nn.sigmoid,
            "Tanh": self.xp.tanh,
            "ReLU": nn.relu,
            "Softmax": nn.softmax,
            "LogSoftmax": nn.log_softmax,
            "SELU": nn.selu,
            "Softplus": nn.softplus,
            "SiLU": nn.silu,
            "Mish": nn.mish,
            "HardSigmoid": nn.hard_sigmoid,
            "HardSwish": nn.hard_swish,
            "Softsign": nn.soft_sign,
            "GELU": lambda x: nn.gelu(x, approximate=False),
            "GELUTanh": lambda x: nn.gelu(x, approximate=True),
            "log sigmoid": nn.log_sigmoid,
        }


class PyTorch:
    """What PyTorch calls them."""

    def __init__(self):
        import array_api_compat.torch as xp
        import torch

        f = torch.nn.functional
        self.xp = xp
        self.asarray = lambda values: torch.as_tensor(np.array(values))
        self.one_hot = lambda index, classes: f.one_hot(index, classes).double()
        self.functions = {
            "Sigmoid": torch.sigmoid,
            "Tanh": torch.tanh,
            "ReLU": torch.relu,
            "Softmax": lambda x: torch.softmax(x, -1),
            "LogSoftmax": lambda x: torch.log_softmax(x, -1),
            "SELU": torch.selu,
            "Softplus": f.softplus,
            "SiLU": f.silu,
            "Mish": f.mish,
            "HardSigmoid": lambda x: f.relu6(x + 3.0) / 6.0,  # hardsigmoid's derivative is rounded to float32
            "HardSwish": f.hardswish,
            "Softsign": f.softsign,
            "GELU": f.gelu,
            "GELUTanh": lambda x: f.gelu(x, approximate="tanh"),
            "log sigmoid": f.logsigmoid,
        }


# Where an activation has a corner, or grows without bound.
CORNERS = {"ReLU": (0.0,), "LeakyReLU": (0.0,), "ELU": (0.0,), "SELU": (0.0,), "PReLU": (0.0,)}
CORNERS |= {"HardSigmoid": (-3.0, 3.0), "HardSwish": (-3.0, 3.0)}
STEEP = {"Exponential": 4.0}


def output(layer, params, x, step, lib, note):
    """A layer's output in training, and what it adds to the objective."""
    xp, name = lib.xp, type(layer).__name__
    note(*(x - corner for corner in CORNERS.get(name, ())))
    if name in STEEP:
        note(xp.maximum(STEEP[name] - x, x * 0.0))
    if name in lib.functions:
        return lib.functions[name](x), 0.0
    return globals()[f"_{name.lower()}"](layer, params, x, step, lib, note)


def _identity(layer, params, x, step, lib, note):
    return x, 0.0


def _leakyrelu(layer, params, x, step, lib, note):
    return lib.xp.where(x > 0, x, layer.negative_slope * x), 0.0


def _elu(layer, params, x, step, lib, note):
    return lib.xp.where(x > 0, x, layer.alpha * lib.xp.expm1(lib.xp.where(x > 0, x * 0.0, x))), 0.0


def _exponential(layer, params, x, step, lib, note):
    return lib.xp.exp(x), 0.0


def _sine(layer, params, x, step, lib, note):
    return lib.xp.sin(layer.frequency * x), 0.0


def _prelu(layer, params, x, step, lib, note):
    return lib.xp.where(x > 0, x, params["slope"] * x), 0.0


def _dense(layer, params, x, step, lib, note):
    y = x @ params["weight"]
    return (y + params["bias"] if layer.bias else y), 0.0


def _maxout(layer, params, x, step, lib, note):
    pieces = x @ params["weight"] + params["bias"]
    pieces = lib.xp.reshape(pieces, (x.shape[0], layer.pieces, layer.out_features))
    best = lib.xp.max(pieces, axis=1)
    if note is not nothing:
        ordered = np.sort(np.asarray(pieces), axis=1)
        note(ordered[:, -1] - ordered[:, -2])
    return best, 0.0


def _embedding(layer, params, x, step, lib, note):
    index = lib.xp.astype(lib.xp.reshape(x, (-1,)), lib.xp.int64)
    return lib.xp.reshape(params["weight"][index], (x.shape[0], layer.columns * layer.features)), 0.0


def _featureembedding(layer, params, x, step, lib, note):
    parts, child = [], 0
    for column, count in enumerate(layer.columns):
        part = x[:, column : column + 1]
        if count is not None:
            part, _ = _embedding(layer.children[child], params[child], part, None, lib, note)
            child += 1
        parts.append(part)
    return lib.xp.concat(parts, axis=-1), 0.0


def _flatten(layer, params, x, step, lib, note):
    return lib.xp.reshape(x, (x.shape[0], -1)), 0.0


def _standardize(layer, params, x, step, lib, note):
    mean, scale = lib.asarray(layer.mean), lib.asarray(layer.scale)
    return (x * scale + mean if layer.inverse else (x - mean) / scale), 0.0


def _normal(x, axis, eps, lib, note):
    centred = x - lib.xp.mean(x, axis=axis, keepdims=True)
    variance = lib.xp.mean(centred**2, axis=axis, keepdims=True)
    if note is not nothing:
        note(0.01 * variance)  # dividing by almost nothing multiplies rounding by hundreds
    return centred / (variance + eps) ** 0.5


def _batchnorm(layer, params, x, step, lib, note):
    return _normal(x, 0, layer.eps, lib, note) * params["weight"] + params["bias"], 0.0


def _layernorm(layer, params, x, step, lib, note):
    y = _normal(x, -1, layer.eps, lib, note) * params["weight"]
    return (y + params["bias"] if "bias" in params else y), 0.0


def _rmsnorm(layer, params, x, step, lib, note):
    square = lib.xp.mean(x**2, axis=-1, keepdims=True)
    note(0.01 * square)
    eps = 2.220446049250313e-16 if layer.eps is None else layer.eps
    return x / (square + eps) ** 0.5 * params["weight"], 0.0


def _dropout(layer, params, x, step, lib, note):
    mask, _ = layer.forward({}, np.ones(tuple(x.shape)), xp=np, step=step)  # the draw itself is tested elsewhere
    return x * lib.asarray(mask), 0.0


def _gaussiannoise(layer, params, x, step, lib, note):
    noise, _ = layer.forward({}, np.zeros(tuple(x.shape)), xp=np, step=step)
    return x + lib.asarray(noise), 0.0


def _activitypenalty(layer, params, x, step, lib, note):
    note(x)
    cost = lib.xp.sum(layer.l1 * lib.xp.abs(x) + 0.5 * layer.l2 * x**2, axis=-1)
    return x, lib.xp.mean(cost)


def _increasing(layer, params, x, step, lib, note):
    width = layer.features // layer.count
    blocks = [x[:, :width]]
    for k in range(1, layer.count):
        blocks.append(blocks[-1] + lib.functions["Softplus"](x[:, k * width : (k + 1) * width]))
    return lib.xp.concat(blocks, axis=-1), 0.0


def _sequential(layer, params, x, step, lib, note):
    total = 0.0
    for index, child in enumerate(layer.layers):
        x, cost = output(child, params[index], x, step.child(index), lib, note)
        total = total + cost
    return x, total


def _residual(layer, params, x, step, lib, note):
    y, cost = _sequential(layer, params, x, step, lib, note)
    return x + y, cost


def rows(loss, p, t, lib, note):
    """What each row costs, of a prediction without the loss's link."""
    xp, name = lib.xp, type(loss).__name__
    mean = lambda terms: xp.mean(terms, axis=-1)  # noqa: E731
    if name == "MeanSquaredError":
        return mean((p - t) ** 2)
    if name == "MeanAbsoluteError":
        note(p - t)
        return mean(xp.abs(p - t))
    if name == "Huber":
        e = xp.abs(p - t)
        note(e - loss.delta)
        return mean(xp.where(e <= loss.delta, 0.5 * e**2, loss.delta * (e - 0.5 * loss.delta)))
    if name == "LogCosh":
        note(xp.maximum(20.0 - xp.abs(p - t), p * 0.0))
        return mean(xp.log(xp.cosh(p - t)))
    if name == "CosineDistance":
        lengths = [xp.sum(a**2, axis=-1) ** 0.5 for a in (p, t)]
        note(*(0.01 * length for length in lengths))
        return 1.0 - xp.sum(p * t, axis=-1) / (lengths[0] * lengths[1])
    if name == "BinaryCrossEntropy":
        t = t * (1.0 - loss.label_smoothing) + 0.5 * loss.label_smoothing
        log_sigmoid = lib.functions["log sigmoid"]
        return mean(-(t * log_sigmoid(p) + (1.0 - t) * log_sigmoid(-p)))
    if name in ("SoftmaxCrossEntropy", "KLDivergence"):
        t = lib.one_hot(t, p.shape[-1]) if t.ndim == 1 else t
        own = 0.0
        if name == "KLDivergence":
            own = xp.sum(t * xp.log(xp.where(t > 0, t, t * 0.0 + 1.0)), axis=-1)
        else:
            t = t * (1.0 - loss.label_smoothing) + loss.label_smoothing / p.shape[-1]
        return own - xp.sum(t * lib.functions["LogSoftmax"](p), axis=-1)
    if name == "Focal":
        log_sigmoid, probability = lib.functions["log sigmoid"], lib.functions["Sigmoid"](p)
        entropy = -(t * log_sigmoid(p) + (1.0 - t) * log_sigmoid(-p))
        alpha = 1.0 if loss.alpha is None else loss.alpha * t + (1.0 - loss.alpha) * (1.0 - t)
        wrong = 1.0 - (probability * t + (1.0 - probability) * (1.0 - t))
        note(wrong)
        return mean(alpha * wrong**loss.gamma * entropy)
    if name == "Hinge":
        away = loss.margin - (2.0 * t - 1.0) * p
        note(away)
        return mean(xp.where(away > 0, away, away * 0.0))
    if name == "Poisson":
        note(xp.maximum(8.0 - p, p * 0.0))
        return mean(xp.exp(p) - t * p)
    if name == "Quantile":
        width, parts = t.shape[-1], []
        for k, q in enumerate(loss.levels):
            e = t - p[:, k * width : (k + 1) * width]
            note(e)
            parts.append(xp.where(e > 0, q * e, (q - 1.0) * e))
        return mean(xp.concat(parts, axis=-1))
    if name == "GaussianNLL":
        width = t.shape[-1]
        note(xp.maximum(8.0 - xp.abs(p[:, width:]), p[:, width:] * 0.0))
        variance = xp.exp(p[:, width:]) + loss.eps
        return mean(0.5 * (xp.log(variance) + (t - p[:, :width]) ** 2 / variance))
    raise NotImplementedError(f"no definition of {name}")


def value(layer, loss, params, data, step, lib, penalties, note=nothing):
    """The objective of one network: the loss, what layers add, and `penalties` (l1, l2) of the weights."""
    p, cost = _sequential(layer, params, data.x, step, lib, note)
    each = rows(loss, p, data.y, lib, note)
    mean = lib.xp.mean(each) if data.weight is None else lib.xp.sum(data.weight * each) / lib.xp.sum(data.weight)
    return mean + cost + _weights_cost(params, penalties, lib, note)


def _weights_cost(params, penalties, lib, note):
    if isinstance(params, list):
        return sum((_weights_cost(child, penalties, lib, note) for child in params), 0.0)
    total = 0.0
    for array in params.values():
        if array.ndim > 1 and any(penalties):
            note(array)
            total = total + lib.xp.sum(penalties[0] * lib.xp.abs(array) + 0.5 * penalties[1] * array**2)
    return total
