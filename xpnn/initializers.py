"""Initial values of weights and biases, drawn on the host from a NumPy Generator.

An initializer is called with the generator and the shape, and gives a float64 host array; the network casts and moves
it, so every backend starts from the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnn._arguments import check_count, check_number, lookup


@dataclass(frozen=True)
class Initializer:
    """A rule for initial values. Subclasses write `__call__(rng, shape, *, fan_in, fan_out)`.

    `fan_in` and `fan_out` are the widths that the layer connects; a bias is given those of its layer's weight.
    """

    def __call__(self, rng: Any, shape: tuple[int, ...], *, fan_in: int, fan_out: int) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} does not say how to draw initial values")


@dataclass(frozen=True)
class Zeros(Initializer):
    """All zeros, the usual start of a bias."""

    def __call__(self, rng, shape, *, fan_in=1, fan_out=1):
        return np.zeros(shape)


@dataclass(frozen=True)
class Constant(Initializer):
    """`value` everywhere."""

    value: float = 0.0

    def __post_init__(self):
        check_number("value", self.value)

    def __call__(self, rng, shape, *, fan_in=1, fan_out=1):
        return np.full(shape, float(self.value))


@dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """The normal distribution N(0, std^2) restricted to (-bound, bound): the tutorial's initializer by default.

    Draws what scipy.stats.truncnorm(-bound / std, bound / std, scale=std) draws, by inverting the distribution
    function: x = std * Phi^-1(Phi(-bound/std) + u * (Phi(bound/std) - Phi(-bound/std))), u uniform on [0, 1).

    Parameters
    ----------
    std : standard deviation before the truncation.
    bound : where the distribution is cut off, in the units of the values (not in standard deviations).
    decimals : the values are rounded to so many decimals; None keeps them as drawn.

    >>> import numpy as np
    >>> TruncatedNormal(decimals=3)(np.random.default_rng(0), (3,))
    array([ 0.237, -0.405, -0.89 ])
    """

    std: float = 1.0
    bound: float = 1.0
    decimals: int | None = None

    def __post_init__(self):
        check_number("std", self.std, low=0.0, open_low=True)
        check_number("bound", self.bound, low=0.0, open_low=True)
        if self.decimals is not None:
            check_count("decimals", self.decimals, low=0)

    def __call__(self, rng, shape, *, fan_in=1, fan_out=1):
        from scipy.special import ndtr, ndtri

        low, high = ndtr(-self.bound / self.std), ndtr(self.bound / self.std)
        values = self.std * ndtri(low + rng.random(shape) * (high - low))
        return values if self.decimals is None else np.round(values, self.decimals)


@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """Uniform on (-a, a), a = sqrt(6 / (fan_in + fan_out)): keeps variance through tanh and sigmoid layers.

    Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks", eq. 16.
    """

    def __call__(self, rng, shape, *, fan_in, fan_out):
        limit = math.sqrt(6.0 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape)


@dataclass(frozen=True)
class GlorotNormal(Initializer):
    """Normal with variance 2 / (fan_in + fan_out). Glorot and Bengio (2010), section 4.2.1."""

    def __call__(self, rng, shape, *, fan_in, fan_out):
        return rng.normal(0.0, math.sqrt(2.0 / (fan_in + fan_out)), shape)


@dataclass(frozen=True)
class HeUniform(Initializer):
    """Uniform on (-a, a), a = sqrt(6 / fan_in): keeps variance through ReLU layers.

    He, Zhang, Ren and Sun (2015), "Delving deep into rectifiers", eq. 10, by a uniform distribution.
    """

    def __call__(self, rng, shape, *, fan_in, fan_out):
        limit = math.sqrt(6.0 / fan_in)
        return rng.uniform(-limit, limit, shape)


@dataclass(frozen=True)
class HeNormal(Initializer):
    """Normal with variance 2 / fan_in. He, Zhang, Ren and Sun (2015), eq. 10."""

    def __call__(self, rng, shape, *, fan_in, fan_out):
        return rng.normal(0.0, math.sqrt(2.0 / fan_in), shape)


zeros = Zeros
constant = Constant
truncated_normal = TruncatedNormal
glorot_uniform = GlorotUniform
glorot_normal = GlorotNormal
he_uniform = HeUniform
he_normal = HeNormal

_NAMES = {
    "zeros": Zeros,
    "constant": Constant,
    "truncated_normal": TruncatedNormal,
    "glorot_uniform": GlorotUniform,
    "xavier_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "xavier_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
}


def get(initializer: Any) -> Initializer:
    """The initializer of that name, or the object itself.

    >>> get("he_normal")
    HeNormal()
    """
    if isinstance(initializer, type) and issubclass(initializer, Initializer):
        return initializer()
    if callable(initializer):
        return initializer  # type: ignore[return-value]
    return lookup("initializer", initializer, _NAMES)()
