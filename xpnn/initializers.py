"""Initial values of weights and biases, drawn on the host from a NumPy Generator.

An initializer is called with the generator and the shape, and gives a float64 host array; the network casts and moves
it, so every backend starts from the same numbers.
"""

from __future__ import annotations

import inspect
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnn._arguments import ABOVE_ZERO, BELOW_ONE, Shown, check_count, check_number, lookup, named, settle


@dataclass(frozen=True)
class Initializer(Shown):
    """A rule for initial values. Subclasses write `__call__(rng, shape, *, fan_in, fan_out)`.

    `fan_in` and `fan_out` are the widths that the layer connects; a bias is given those of its layer's weight.
    """

    def __call__(self, rng: Any, shape: tuple[int, ...], *, fan_in: int, fan_out: int) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, rng, shape, *, fan_in, fan_out)")


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
        settle(self, check_number, "value")

    def __call__(self, rng, shape, *, fan_in=1, fan_out=1):
        return np.full(shape, self.value)


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
        settle(self, check_number, "std", "bound", **ABOVE_ZERO)
        if self.decimals is not None:
            settle(self, check_count, "decimals", low=0)

    def __call__(self, rng, shape, *, fan_in=1, fan_out=1):
        from scipy.special import ndtr, ndtri

        low, high = ndtr(-self.bound / self.std), ndtr(self.bound / self.std)
        values = self.std * ndtri(low + rng.random(shape) * (high - low))
        return values if self.decimals is None else np.round(values, self.decimals)


@dataclass(frozen=True)
class Normal(Initializer):
    """The normal distribution N(mean, std^2). Keras' default spread; PyTorch's normal_ has std 1.

    >>> import numpy as np
    >>> Normal(std=1.0)(np.random.default_rng(0), (2,)).round(3)
    array([ 0.126, -0.132])
    """

    mean: float = 0.0
    std: float = 0.05

    def __post_init__(self):
        settle(self, check_number, "mean")
        settle(self, check_number, "std", **ABOVE_ZERO)

    def __call__(self, rng, shape, *, fan_in=1, fan_out=1):
        return rng.normal(self.mean, self.std, shape)


@dataclass(frozen=True)
class Uniform(Initializer):
    """The uniform distribution on [low, high). Keras' default bounds; PyTorch's uniform_ has 0 and 1.

    >>> import numpy as np
    >>> Uniform(-1.0, 1.0)(np.random.default_rng(0), (2,)).round(3)
    array([ 0.274, -0.46 ])
    """

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self):
        settle(self, check_number, "low", "high")
        if self.high <= self.low:
            raise ValueError(f"high must be > low ({self.low:g}), got {self.high:g}")

    def __call__(self, rng, shape, *, fan_in=1, fan_out=1):
        return rng.uniform(self.low, self.high, shape)


_GAINS = {
    "identity": 1.0,
    "linear": 1.0,
    "sigmoid": 1.0,
    "logistic": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "leaky_relu": None,
    "selu": 0.75,
}


def gain(activation: str, slope: float = 0.01) -> float:
    """The recommended factor on the spread of the weights before an activation, that of PyTorch's calculate_gain.

    1 for identity and sigmoid, 5/3 for tanh, sqrt(2) for relu, sqrt(2 / (1 + slope^2)) for leaky_relu, 3/4 for selu
    (whose own paper wants 1).

    >>> gain("tanh"), gain("leaky_relu", slope=1.0)
    (1.6666666666666667, 1.0)
    """
    check_number("slope", slope)
    found = lookup("gain", activation, _GAINS)
    return math.sqrt(2.0 / (1.0 + slope**2)) if found is None else found


def _factor(value: Any) -> float:
    """A field `gain` as a number."""
    return gain(value) if isinstance(value, str) else value


def _check_gain(name: str, value: Any) -> float | str:
    known = isinstance(value, str) and gain(value)
    return value if known else check_number(name, value, **ABOVE_ZERO)


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Draws of variance gain^2 scale / fan: what the rules of Glorot, He and LeCun have in common.

    `gain` is a number > 0, or the name of the activation after the weights for its recommended gain, which the function
    `gain` gives. A subclass says the rule: `scale`, which widths make up the fan, and the distribution.
    """

    gain: float | str = 1.0

    scale: ClassVar[float] = 1.0
    both: ClassVar[bool] = False  # whether the fan is fan_in + fan_out, or fan_in
    uniform: ClassVar[bool] = False
    included: ClassVar[float] = 1.0  # the gain that `scale` holds already

    def __post_init__(self):
        settle(self, _check_gain, "gain")

    def __call__(self, rng, shape, *, fan_in, fan_out):
        factor = _factor(self.gain) / (self.included if isinstance(self.gain, str) else 1.0)
        fan = fan_in + fan_out if self.both else fan_in
        if self.uniform:
            limit = factor * math.sqrt(3.0 * self.scale / fan)  # a uniform distribution on (-a, a) has variance a^2/3
            return rng.uniform(-limit, limit, shape)
        return rng.normal(0.0, factor * math.sqrt(self.scale / fan), shape)


@dataclass(frozen=True)
class GlorotUniform(VarianceScaling):
    """Uniform on (-a, a), a = gain sqrt(6 / (fan_in + fan_out)): keeps variance through tanh and sigmoid layers.

    Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks", eq. 16;
    `gain`, a number > 0 or an activation's name, as in PyTorch's xavier_uniform_.

    >>> GlorotUniform(gain="tanh")
    GlorotUniform(gain='tanh')
    """

    scale: ClassVar = 2.0
    both: ClassVar = True
    uniform: ClassVar = True


@dataclass(frozen=True)
class GlorotNormal(VarianceScaling):
    """Normal with variance gain^2 2 / (fan_in + fan_out). Glorot and Bengio (2010), section 4.2.1."""

    scale: ClassVar = 2.0
    both: ClassVar = True


@dataclass(frozen=True)
class HeUniform(VarianceScaling):
    """Uniform on (-a, a), a = gain sqrt(6 / fan_in): keeps variance through ReLU layers.

    The 6 is 3 times the square of ReLU's gain. A number as `gain` multiplies it; a name takes its place, so that
    HeUniform(gain="relu") is HeUniform(), and HeUniform(gain="tanh") PyTorch's kaiming_uniform_(nonlinearity="tanh").

    He, Zhang, Ren and Sun (2015), "Delving deep into rectifiers", eq. 10, by a uniform distribution.
    """

    scale: ClassVar = 2.0
    uniform: ClassVar = True
    included: ClassVar = math.sqrt(2.0)


@dataclass(frozen=True)
class HeNormal(VarianceScaling):
    """Normal with variance gain^2 2 / fan_in; `gain` as in HeUniform. He, Zhang, Ren and Sun (2015), eq. 10."""

    scale: ClassVar = 2.0
    included: ClassVar = math.sqrt(2.0)


@dataclass(frozen=True)
class LeCunUniform(VarianceScaling):
    """Uniform on (-a, a), a = gain sqrt(3 / fan_in): keeps variance through linear and SELU layers.

    LeCun, Bottou, Orr and Müller (1998), "Efficient BackProp", eq. 16, by a uniform distribution.
    """

    uniform: ClassVar = True


@dataclass(frozen=True)
class LeCunNormal(VarianceScaling):
    """Normal with variance gain^2 / fan_in. LeCun, Bottou, Orr and Müller (1998), eq. 16.

    Klambauer, Unterthiner, Mayr and Hochreiter (2017), "Self-normalizing neural networks", start SELU networks so.
    """


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """gain Q, Q with orthonormal columns (rows, where there are fewer of them), drawn uniformly from all such matrices.

    Q R = A of a normal A, each column of Q times the sign of R's diagonal entry, without which Q would not be uniform
    (Mezzadri 2007, "How to generate random matrices from the classical compact groups"). For weights only, shapes of
    two axes. `gain` is a number > 0 or an activation's name.

    Saxe, McClelland and Ganguli (2014), "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks"; PyTorch's orthogonal_.

    >>> import numpy as np
    >>> weight = Orthogonal(gain=2.0)(np.random.default_rng(0), (5, 3))
    >>> np.allclose(weight.T @ weight, 4.0 * np.eye(3))
    True
    """

    gain: float | str = 1.0

    def __post_init__(self):
        settle(self, _check_gain, "gain")

    def __call__(self, rng, shape, *, fan_in=1, fan_out=1):
        _check_matrix(self, shape)
        tall, wide = max(shape), shape[0] < shape[1]
        q, r = np.linalg.qr(rng.normal(size=(tall, min(shape))))
        q = _factor(self.gain) * np.where(np.diagonal(r) < 0.0, -q, q)
        return np.ascontiguousarray(q.T) if wide else q


@dataclass(frozen=True)
class Sparse(Initializer):
    """N(0, std^2) with zeros in ceil(sparsity * fan_in) places of every column, at least one other place left.

    A column holds the weights that come in to one unit: each unit starts with equally many inputs, as the paper wants.
    (PyTorch's sparse_ of the same numbers zeroes the columns of a weight (out, in), which limits what each input
    reaches, and may leave a unit without any.) For weights only, shapes of two axes.

    Parameters
    ----------
    sparsity : share of zeros, 0 <= sparsity < 1.
    std : standard deviation of the others, > 0.

    Martens (2010), "Deep learning via Hessian-free optimization", section 5.

    >>> import numpy as np
    >>> Sparse(sparsity=0.5, std=1.0)(np.random.default_rng(0), (4, 2)).round(2)
    array([[ 0.  , -0.13],
           [ 0.64,  0.  ],
           [-0.54,  0.  ],
           [ 0.  ,  0.95]])
    """

    sparsity: float = 0.9
    std: float = 0.01

    def __post_init__(self):
        settle(self, check_number, "sparsity", **BELOW_ONE)
        settle(self, check_number, "std", **ABOVE_ZERO)

    def __call__(self, rng, shape, *, fan_in=1, fan_out=1):
        _check_matrix(self, shape)
        values = rng.normal(0.0, self.std, shape)
        zeros = min(math.ceil(self.sparsity * shape[0]), shape[0] - 1)
        places = np.argsort(rng.random(shape), axis=0)[:zeros]
        np.put_along_axis(values, places, 0.0, axis=0)
        return values


def _check_matrix(initializer: Initializer, shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        kind = type(initializer).__name__
        raise ValueError(f"{kind} draws weights, of two axes, got the shape {tuple(shape)}: a bias takes zeros, say")


zeros = Zeros
constant = Constant
truncated_normal = TruncatedNormal
normal = Normal
uniform = Uniform
glorot_uniform = GlorotUniform
glorot_normal = GlorotNormal
he_uniform = HeUniform
he_normal = HeNormal
lecun_uniform = LeCunUniform
lecun_normal = LeCunNormal
orthogonal = Orthogonal
sparse = Sparse

_OWN = """zeros constant truncated_normal normal uniform glorot_uniform glorot_normal he_uniform he_normal
lecun_uniform lecun_normal orthogonal sparse"""
_NAMES = {name: globals()[name] for name in _OWN.split()}
_NAMES |= {"xavier_uniform": GlorotUniform, "xavier_normal": GlorotNormal}
_NAMES |= {"kaiming_uniform": HeUniform, "kaiming_normal": HeNormal}


def get(initializer: Any, **options: Any) -> Initializer:
    """The initializer of that name (or class) with `options`; an initializer, or a function like one, as it is.

    >>> get("orthogonal", gain=1.4)
    Orthogonal(gain=1.4)
    >>> get("he_normal", gian=1.4)
    Traceback (most recent call last):
        ...
    ValueError: unknown option of HeNormal 'gian': did you mean 'gain'? The names are gain.
    """
    return named("initializer", initializer, options, _NAMES)


def draw(
    initializer: Any, rng: Any, shape: tuple[int, ...], *, fan_in: int, fan_out: int, name: str, pieces: int = 1
) -> np.ndarray:
    """What an initializer, by name or as an object, draws for a layer whose field `name` it is: float64, of `shape`.

    With several pieces each is a draw of its own, and they stand side by side along the last axis.

    Raises
    ------
    ValueError where it draws another shape or what is not finite, TypeError where it has another form or draws no
    numbers.

    >>> import numpy as np
    >>> draw("zeros", np.random.default_rng(0), (2,), fan_in=3, fan_out=2, name="bias_init")
    array([0., 0.])
    """
    rule, fans, parts = get(initializer), {"fan_in": fan_in, "fan_out": fan_out}, []
    with suppress(ValueError):  # of functions whose signature nobody knows
        try:
            inspect.signature(rule).bind(rng, shape, **fans)
        except TypeError:
            form = "(rng, shape, *, fan_in, fan_out)"
            raise TypeError(f"{name} must be a function of the form {form}, got {rule!r}") from None
    for _ in range(pieces):
        values = np.asarray(rule(rng, shape, **fans))
        if values.dtype.kind not in "fiu":
            raise TypeError(f"{name} must draw real numbers, got values of {values.dtype} from {rule!r}")
        if values.shape != shape:
            raise ValueError(f"{name} must draw an array of shape {shape}, got shape {values.shape} from {rule!r}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must draw finite numbers, got NaN or infinity from {rule!r}")
        parts.append(np.asarray(values, dtype=np.float64))
    return parts[0] if pieces == 1 else np.concatenate(parts, axis=-1)
