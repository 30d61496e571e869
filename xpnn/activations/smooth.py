"""The functions without a kink: gates of x by a probability (SiLU, GELU, Mish), and softsign, exponential and sine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xpnn._arguments import ABOVE_ZERO, check_number, settle
from xpnn.activations.base import Activation
from xpnn.special import erf


@dataclass(frozen=True)
class SiLU(Activation):
    """y = x s, with s = 1 / (1 + e) the sigmoid and e = exp(-x); dy/dx = s + y (1 - s), with 1 - s as e s.

    By name also "swish". Elfwing, Uchibe and Doya (2018), "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning"; Ramachandran, Zoph and Le (2017), "Searching for activation functions".

    >>> silu([-1000.0, 0.0, 1.0]).round(4), silu.derivative([-1000.0, 0.0, 1.0]).round(4)
    (array([-0.    ,  0.    ,  0.7311]), array([-0.    ,  0.5   ,  0.9277]))
    """

    def value(self, x, *, xp):
        near = xp.maximum(x, -80.0)  # y is within 1e-32 of 0 from there on, and e cannot overflow
        e = xp.exp(-near)
        s = 1.0 / (1.0 + e)
        y = near * s
        return y, (y, e, s)

    def slope(self, kept, *, xp):
        y, e, s = kept
        return s + y * (e * s)


@dataclass(frozen=True)
class GELU(Activation):
    """y = x P(x), with P(x) = (1 + erf(x / sqrt(2))) / 2 the normal distribution; dy/dx = P(x) + x p(x).

    p(x) = exp(-x^2 / 2) / sqrt(2 pi) is the density. This is the exact function; `gelu_tanh` is its approximation.
    Hendrycks and Gimpel (2016), "Gaussian error linear units (GELUs)".

    >>> gelu([-1000.0, 0.0, 1.0]).round(4), gelu.derivative([-1000.0, 0.0, 1.0]).round(4)
    (array([-0.    ,  0.    ,  0.8413]), array([0.    , 0.5   , 1.0833]))
    """

    def value(self, x, *, xp):
        p = 0.5 * (erf(x * math.sqrt(0.5), xp=xp) + 1.0)
        return x * p, (x, p)

    def slope(self, kept, *, xp):
        x, p = kept
        near = xp.minimum(xp.abs(x), 40.0)  # the density is 0 there, and no square overflows
        return p + x * (xp.exp(-0.5 * near * near) * (1.0 / math.sqrt(2.0 * math.pi)))


@dataclass(frozen=True)
class GELUTanh(Activation):
    """y = x s, with s = (1 + tanh(u)) / 2 and u = sqrt(2 / pi) (x + 0.044715 x^3); dy/dx = s + 2 y (1 - s) du/dx.

    Computed as s = 1 / (1 + e), with e = exp(-2 u), and 1 - s = e s. The approximation of `gelu` within 5e-4, PyTorch's
    GELU(approximate="tanh"), with which published transformers were trained. Hendrycks and Gimpel (2016), "Gaussian
    error linear units (GELUs)".

    >>> gelu_tanh([-1000.0, 0.0, 1.0]).round(4), gelu_tanh.derivative([-1000.0, 0.0, 1.0]).round(4)
    (array([-0.    ,  0.    ,  0.8412]), array([-0.   ,  0.5  ,  1.083]))
    """

    def value(self, x, *, xp):
        above = xp.maximum(x, -9.0)  # y is within 1e-27 of 0 from there on, and of x from 9 on
        near = xp.minimum(above, 9.0)
        square = near * near
        e = xp.exp(near * (-2.0 * _K - (2.0 * _K * _C) * square))
        s = 1.0 / (1.0 + e)
        return above * s, (near, square, e, s)

    def slope(self, kept, *, xp):
        near, square, e, s = kept
        return s * (1.0 + near * (e * s) * (2.0 * _K + (6.0 * _K * _C) * square))


_K, _C = math.sqrt(2.0 / math.pi), 0.044715


@dataclass(frozen=True)
class Mish(Activation):
    """y = x tanh(log(1 + e)), with e = exp(x); with n = e (e + 2) that is x n / (n + 2), which cancels nowhere.

    dy/dx = r (n + 4 x (n - e) r), with r = 1 / (n + 2). Misra (2019), "Mish: a self regularized non-monotonic neural
    activation function".

    >>> mish([-1000.0, 0.0, 1.0]).round(4), mish.derivative([-1000.0, 0.0, 1.0]).round(4)
    (array([-0.    ,  0.    ,  0.8651]), array([0.   , 0.6  , 1.049]))
    """

    def value(self, x, *, xp):
        near = xp.minimum(x, 20.0)  # n / (n + 2) rounds to 1 there in either precision
        e = xp.exp(near)
        n = e * (e + 2.0)
        r = 1.0 / (n + 2.0)
        return x * (n * r), (near, e, n, r)

    def slope(self, kept, *, xp):
        near, e, n, r = kept
        return r * (n + 4.0 * (near * ((n - e) * r)))  # in this order, as 4 near could overflow


@dataclass(frozen=True)
class Softsign(Activation):
    """y = x r, with r = 1 / (1 + |x|); dy/dx = r^2. A tanh that goes to its ends slowly.

    Glorot and Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks".

    >>> softsign([-1.0, 0.0, 3.0]), softsign.derivative([-1.0, 0.0, 3.0])
    (array([-0.5 ,  0.  ,  0.75]), array([0.25  , 1.    , 0.0625]))
    """

    def value(self, x, *, xp):
        r = 1.0 / (1.0 + xp.abs(x))
        return x * r, r

    def slope(self, r, *, xp):
        return r * r


@dataclass(frozen=True)
class Exponential(Activation):
    """y = exp(x); dy/dx = y. By name also "exp"; the link of the Poisson loss.

    Its true value is infinite, in the arithmetic of computers, above x = 709 (88 in float32): that is what it gives,
    and by hand NumPy warns of it as of its own exp.

    >>> exponential([-1000.0, 0.0, 1.0]), exponential.derivative([-1000.0, 0.0, 1.0])
    (array([0.        , 1.        , 2.71828183]), array([0.        , 1.        , 2.71828183]))
    """

    def value(self, x, *, xp):
        y = xp.exp(x)
        return y, y

    def slope(self, y, *, xp):
        return y


@dataclass(frozen=True)
class Sine(Activation):
    """y = sin(w x), with w = `frequency` > 0; dy/dx = w cos(w x). By name also "sin".

    For networks that represent signals and solve differential equations: there w = 30 in the first layer. Sitzmann et
    al. (2020), "Implicit neural representations with periodic activation functions".

    >>> sine([0.0, 0.5]).round(4), Sine(frequency=30.0).derivative([0.0, 0.5]).round(4)
    (array([0.    , 0.4794]), array([ 30.    , -22.7906]))
    """

    frequency: float = 1.0

    def __post_init__(self):
        settle(self, check_number, "frequency", **ABOVE_ZERO)

    def value(self, x, *, xp):
        phase = self.frequency * x
        return xp.sin(phase), phase

    def slope(self, phase, *, xp):
        return self.frequency * xp.cos(phase)


silu = SiLU()
gelu = GELU()
gelu_tanh = GELUTanh()
mish = Mish()
softsign = Softsign()
exponential = Exponential()
sine = Sine()
