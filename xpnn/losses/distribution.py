"""Losses of predictions that describe a distribution: its rate, its quantiles, its mean and variance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn._arguments import ABOVE_ZERO, check_number, settle
from xpnn.activations.basic import sigmoid
from xpnn.activations.smooth import exponential
from xpnn.losses.base import Loss


@dataclass(frozen=True)
class Poisson(Loss):
    """l = mean over the outputs of exp(z) - t z, of log rates z and counts t; dl/dz = (exp(z) - t) / outputs.

    The negative log-likelihood of counts with rate exp(z), without log t!, which no z changes. The exponential is its
    link: a network that ends in it, `mlp(..., output="exponential")`, predicts rates.

    McCullagh and Nelder (1989), "Generalized linear models", chapter 6; PyTorch's poisson_nll_loss with log_input.

    >>> value, gradient = poisson([[0.0]], [[3.0]])
    >>> float(value), gradient
    (1.0, array([[-2.]]))
    """

    link: ClassVar = exponential
    target_range: ClassVar = (0.0, math.inf)

    def terms(self, prediction, target, *, xp):
        rate = xp.exp(prediction)
        return rate - target * prediction, (rate - target) * (1.0 / prediction.shape[-1])


@dataclass(frozen=True)
class Quantile(Loss):
    """l = mean over outputs of max(q e, (q - 1) e), with e = t - p: p becomes the quantile of level q of t.

    Computed as |e| / 2 + (q - 1/2) e; dl/dp = (1/2 - q - sign(e) / 2) / outputs. Also called the pinball loss.

    Several levels take an output each: a network for d targets has Q d outputs, first the d of the lowest level, then
    those of the next. Nothing keeps them in order unless the network ends in `Increasing(Q d, Q)`.

    Parameters
    ----------
    levels : a level or several increasing ones, each between 0 and 1.

    Koenker and Bassett (1978), "Regression quantiles".

    >>> value, gradient = Quantile((0.1, 0.9))([[0.0, 0.0]], [[1.0]])
    >>> float(value), gradient
    (0.5, array([[-0.05, -0.45]]))
    """

    levels: Any = (0.5,)

    def __post_init__(self):
        given = self.levels.tolist() if hasattr(self.levels, "tolist") else self.levels
        levels = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
        inside = {"low": 0.0, "high": 1.0, "open_low": True, "open_high": True}
        levels = tuple(check_number(f"levels[{i}]", level, **inside) for i, level in enumerate(levels))
        if not levels or any(b <= a for a, b in itertools.pairwise(levels)):
            raise ValueError(f"levels must be one or several that increase, got {given!r}")
        object.__setattr__(self, "levels", levels)

    def target_width(self, outputs):
        count = len(self.levels)
        if outputs % count:
            raise ValueError(f"Quantile of {count} levels needs {count} outputs for each target, got {outputs} outputs")
        return outputs // count

    def point(self, prediction, *, xp):
        """The quantile nearest to the median."""
        width, levels = self.target_width(prediction.shape[-1]), self.levels
        nearest = min(range(len(levels)), key=lambda k: abs(levels[k] - 0.5))
        return prediction[..., nearest * width : (nearest + 1) * width]

    def terms(self, prediction, target, *, xp):
        width, terms, gradients = target.shape[-1], [], []
        for k, level in enumerate(self.levels):
            error = target - prediction[..., k * width : (k + 1) * width]
            terms.append(0.5 * xp.abs(error) + (level - 0.5) * error)
            gradients.append((0.5 - level) - 0.5 * xp.sign(error))
        return xp.concat(terms, axis=-1), xp.concat(gradients, axis=-1) * (1.0 / prediction.shape[-1])


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """l = mean over the targets of (log v + (t - m)^2 / v) / 2, v = exp(s) + eps, of a mean m and a log variance s.

    The negative log-likelihood of t under N(m, v) without log(2 pi) / 2. A network for d targets has 2 d outputs:
    first the d means, then the d log variances; `predict` gives them as they are. With r = (t - m)^2:

        dl/dm = (m - t) / v,   dl/ds = exp(s) / v * (1 - r / v) / 2,   both divided by d

    log v is computed as logaddexp(s, log eps), which neither overflows nor rounds to log 0.

    Parameters
    ----------
    eps : the least variance, > 0, in the squared units of the target.

    Nix and Weigend (1994), "Estimating the mean and variance of the target probability distribution"; PyTorch's
    gaussian_nll_loss of the variance v.

    >>> value, gradient = gaussian_nll([[0.0, 0.0]], [[2.0]])
    >>> round(float(value), 4), gradient.round(4)
    (2.0, array([[-2. , -1.5]]))
    """

    eps: float = 1e-6

    def __post_init__(self):
        settle(self, check_number, "eps", **ABOVE_ZERO)

    def target_width(self, outputs):
        if outputs % 2:
            raise ValueError(f"GaussianNLL needs two outputs for each target, mean and log variance, got {outputs}")
        return outputs // 2

    def point(self, prediction, *, xp):
        """The mean."""
        return prediction[..., : self.target_width(prediction.shape[-1])]

    def terms(self, prediction, target, *, xp):
        width, floor = target.shape[-1], math.log(self.eps)
        error, log_variance = prediction[..., :width] - target, prediction[..., width:]
        log_v = _logaddexp(log_variance, floor, xp)
        scaled = error * xp.exp(-log_v)  # (m - t) / v
        surprise = error * scaled  # (m - t)^2 / v
        slope = sigmoid.value(log_variance - floor, xp=xp)[0] * (0.5 - 0.5 * surprise)
        return 0.5 * (log_v + surprise), xp.concat([scaled, slope], axis=-1) * (1.0 / width)


def _logaddexp(x: Any, constant: float, xp: Any) -> Any:
    return xp.maximum(x, constant) + xp.log1p(xp.exp(-xp.abs(x - constant)))


poisson = Poisson()
quantile = Quantile()
gaussian_nll = GaussianNLL()
