"""How far a number may be off: its standard deviation, and an interval that holds it as often as is asked for.

What is known of that comes from the head of the network (quantiles, or a Gaussian's variance), from the spread between
the members of an ensemble, and from rows held out, on which one sees how far the forecast was off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from xpnn.losses import GaussianNLL, Quantile
from xpnn.sklearn.ensemble import spread

__all__ = ["Band", "Forecast", "band", "calibrated", "conformal", "forecast", "head", "scores", "stated"]

Array = Any

LEAST = 1e-18
"""The least unit in which an error is counted: members that agree to the bit would be a division by zero."""


class Forecast(NamedTuple):
    """What the members say of each row together.

    centre : (n, targets) means; of a quantile head the quantiles (n, levels * targets), the lowest level first.
    std : of the same shape: of a Gaussian head that of the target, else that between the members; None of a lone
        network without a Gaussian head, which says nothing of it.
    """

    centre: Array
    std: Array


class Band(NamedTuple):
    """An interval, and the unit in which its bounds are moved apart, all (n, targets); None is the target's own."""

    low: Array
    high: Array
    unit: Array


def head(loss: Any) -> Any:
    """The loss of which a network's outputs are quantiles, or mean and log variance; None where they are numbers."""
    inner = getattr(loss, "loss", loss)  # of a penalized one
    return inner if isinstance(inner, Quantile | GaussianNLL) else None


def forecast(loss: Any, outputs: Array, *, xp: Any, lone: bool = False) -> Forecast:
    """What members with these outputs, (members, n, outputs), forecast together.

    Of a Gaussian head, with member k's mean m_k and variance v_k, the mean and variance of the members' mixture:

        m = mean_k m_k,   std^2 = mean_k v_k + mean_k (m_k - m)^2

    the law of total variance. Else the mean over the members, and the spread between them, of which a `lone` network
    has none: an ensemble of one, or with one left, has a spread of 0.

    Lakshminarayanan, Pritzel and Blundell (2017), "Simple and scalable predictive uncertainty estimation using deep
    ensembles", section 2.4.

    >>> found = forecast(GaussianNLL(), np.asarray([[[0.0, 0.0]], [[2.0, np.log(3.0)]]]), xp=np)
    >>> found.centre, found.std.round(6)  # variances 1 and 3, means 0 and 2
    (array([[1.]]), array([[1.732051]]))
    """
    kind = head(loss)
    if isinstance(kind, GaussianNLL):
        width = kind.target_width(outputs.shape[-1])
        means, own = outputs[..., :width], xp.mean(_variance(kind, outputs[..., width:], xp), axis=0)
        return Forecast(xp.mean(means, axis=0), xp.hypot(xp.sqrt(own), spread(means, xp=xp)))
    return Forecast(xp.mean(outputs, axis=0), None if lone else spread(outputs, xp=xp))


def _variance(kind: GaussianNLL, log_variance: Array, xp: Any) -> Array:
    """exp(s) + eps, as the loss has it, kept so far below the largest number that a mean of them is finite."""
    most = math.log(xp.finfo(log_variance.dtype).max) - 20.0
    log_v = xp.logaddexp(log_variance, xp.full_like(log_variance, math.log(kind.eps)))
    return xp.exp(xp.minimum(log_v, most))


def band(loss: Any, found: Forecast, coverage: float, *, xp: Any) -> Band:
    """The interval for `coverage` as the forecast has it, before `stated` or `calibrated` moves its bounds.

    Of a quantile head it lies between the quantiles a and b of the two levels nearest to (1 - coverage) / 2 and
    (1 + coverage) / 2. An ensemble averages each and adds the spreads s_a and s_b between its members, as independent
    normal errors add:

        (a + b) / 2 - sqrt((b - a)^2 / 4 + z^2 s_a^2)   to   (a + b) / 2 + sqrt((b - a)^2 / 4 + z^2 s_b^2)

    with z as in `stated`. Quantiles that have crossed are exchanged. Any other forecast is its mean, and its unit the
    standard deviation, where it has one.

    Lichtendahl, Grushka-Cockayne and Winkler (2013), "Is it better to average probabilities or quantiles?";
    Chernozhukov, Fernandez-Val and Galichon (2010), "Quantile and probability curves without crossing".
    """
    kind = head(loss)
    if not isinstance(kind, Quantile):
        return Band(found.centre, found.centre, found.std)
    width = kind.target_width(found.centre.shape[-1])
    columns = [slice(k * width, (k + 1) * width) for k in _nearest(kind.levels, coverage)]
    low, high = (found.centre[..., chosen] for chosen in columns)
    if found.std is None:
        return Band(xp.minimum(low, high), xp.maximum(low, high), None)
    z, half, middle = normal(coverage), 0.5 * (high - low), 0.5 * low + 0.5 * high
    below, above = (xp.hypot(half, z * found.std[..., chosen]) for chosen in columns)
    return Band(middle - below, middle + above, None)


def _wanted(coverage: float) -> tuple[float, float]:
    return (1.0 - coverage) / 2.0, (1.0 + coverage) / 2.0


def _nearest(levels: Sequence[float], coverage: float) -> list[int]:
    return [min(range(len(levels)), key=lambda k: abs(levels[k] - wanted)) for wanted in _wanted(coverage)]


def normal(coverage: float) -> float:
    """z, where a normal variable lies within z standard deviations of its mean with probability `coverage`."""
    return NormalDist().inv_cdf(_wanted(coverage)[1])


def stated(loss: Any, found: Forecast, coverage: float, *, xp: Any) -> tuple[Array, Array]:
    """The bounds for `coverage` where the head itself states them: its quantiles, or m -+ z std of a Gaussian.

    Raises ValueError where it does not, saying what would.
    """
    kind = head(loss)
    low, high, unit = band(loss, found, coverage, xp=xp)
    if isinstance(kind, GaussianNLL):
        z = normal(coverage)
        return low - z * unit, high + z * unit
    levels = tuple(round(level, 9) for level in _wanted(coverage))
    if kind is None:
        raise ValueError(
            "predict_interval knows nothing of how far a number is off: fit with calibration_fraction=0.2, say, with "
            f"loss='gaussian_nll', or with loss=xpnn.losses.Quantile({levels}) for coverage={coverage}. (The spread "
            "between the members of an ensemble is no more than what they do not know of the mean.)"
        )
    if any(
        abs(kind.levels[k] - level) > 1e-6 for k, level in zip(_nearest(kind.levels, coverage), levels, strict=True)
    ):
        raise ValueError(
            f"coverage={coverage} takes the quantiles of levels {levels[0]:g} and {levels[1]:g}, and the loss has "
            f"{', '.join(f'{level:g}' for level in kind.levels)}: fit with calibration_fraction > 0, after which any "
            f"coverage can be asked for, or with loss=xpnn.losses.Quantile({levels})"
        )
    return low, high


def scores(given: Band, target: np.ndarray) -> np.ndarray:
    """How far each target lies outside, in units (less than 0: inside): max(low - t, t - high) / unit, (n, targets).

    >>> scores(Band(np.asarray([[1.0], [1.0]]), np.asarray([[3.0], [3.0]]), None), np.asarray([[2.5], [5.0]]))
    array([[-0.5],
           [ 2. ]])
    """
    out = np.maximum(given.low - target, target - given.high)
    return out if given.unit is None else out / np.maximum(given.unit, LEAST)


def conformal(found: np.ndarray, coverage: float) -> np.ndarray:
    """The ceil((n + 1) coverage)-th smallest of n scores, of each target: (n, targets) -> (targets,).

    The score of one row more is at most that with probability `coverage` or greater, whatever the distribution, where
    it is exchangeable with those n.

    Vovk, Gammerman and Shafer (2005), "Algorithmic learning in a random world"; Lei, G'Sell, Rinaldo, Tibshirani and
    Wasserman (2018), "Distribution-free predictive inference for regression".

    >>> conformal(np.asarray([[4.0], [1.0], [3.0], [2.0]]), 0.6)
    array([3.])
    """
    count = len(found)
    rank = math.ceil(round((count + 1) * coverage, 9))  # 100 * 0.55 is a bit more than 55
    if rank > count:
        least = math.ceil(round(coverage / (1.0 - coverage), 9))
        raise ValueError(
            f"coverage={coverage} takes at least {least} rows to be calibrated by, and {count} were held out: fit with "
            "more rows or a larger calibration_fraction"
        )
    return np.sort(found, axis=0)[rank - 1]


def calibrated(given: Band, shift: Array, *, xp: Any) -> tuple[Array, Array]:
    """The bounds moved apart by `shift` (targets,) units; where that is less than 0 and they would cross, both between.

    Romano, Patterson and Candes (2019), "Conformalized quantile regression", for quantiles.
    """
    move = shift if given.unit is None else shift * xp.maximum(given.unit, LEAST)
    low, high = given.low - move, given.high + move
    middle = 0.5 * low + 0.5 * high
    return xp.minimum(low, middle), xp.maximum(high, middle)
