"""The functions made after ReLU, bent where it is bent: leaky, exponential, smooth, and cut off at both ends.

Where a derivative differs on the two sides of zero it is put together by arithmetic with a mask of zeros and ones:
on NumPy `where` takes several times as long as that, as no processor foresees signs that are random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnn._arguments import check_number, settle
from xpnn.activations.base import Activation
from xpnn.layers.base import Array
from xpnn.layers.prelu import PReLU

_SCALE, _ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # of SELU


def _sides(y: Array, right: Any, left: Any, *, xp: Any) -> Array:
    """`right` where y > 0, else `left`; both finite."""
    positive = xp.astype(y > 0.0, y.dtype)
    return positive * right + (1.0 - positive) * left


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """y = max(x, a x), with a = `negative_slope`; dy/dx = 1 where y > 0, else a (at the kink a, as in PyTorch).

    `negative_slope` lies between 0 (ReLU) and 1 (the identity). Maas, Hannun and Ng (2013), "Rectifier nonlinearities
    improve neural network acoustic models"; the default is PyTorch's.

    >>> leaky_relu([-2.0, 0.0, 3.0]), leaky_relu.derivative([-2.0, 0.0, 3.0])
    (array([-0.02,  0.  ,  3.  ]), array([0.01, 0.01, 1.  ]))
    """

    negative_slope: float = 0.01

    def __post_init__(self):
        settle(self, check_number, "negative_slope", low=0.0, high=1.0)

    def value(self, x, *, xp):
        y = xp.maximum(x, self.negative_slope * x)
        return y, y

    def slope(self, y, *, xp):
        return xp.maximum(xp.astype(y > 0.0, y.dtype), self.negative_slope)


@dataclass(frozen=True)
class ELU(Activation):
    """y = x where x > 0, else alpha (exp(x) - 1); dy/dx = 1 where y > 0, else y + alpha (PyTorch's at the kink too).

    `alpha` >= 0: the function falls to -alpha. Clevert, Unterthiner and Hochreiter (2016), "Fast and accurate deep
    network learning by exponential linear units (ELUs)".

    >>> elu([-1000.0, 0.0, 1000.0]), elu.derivative([-1000.0, 0.0, 1000.0])
    (array([  -1.,    0., 1000.]), array([0., 1., 1.]))
    """

    alpha: float = 1.0

    def __post_init__(self):
        settle(self, check_number, "alpha", low=0.0)

    def value(self, x, *, xp):
        y = xp.maximum(x, 0.0) + self.alpha * xp.expm1(xp.minimum(x, 0.0))
        return y, y

    def slope(self, y, *, xp):
        return _sides(y, 1.0, y + self.alpha, xp=xp)


@dataclass(frozen=True)
class SELU(Activation):
    """y = s x where x > 0, else s a (exp(x) - 1); dy/dx = s where y > 0, else y + s a (PyTorch's at the kink too).

    s = 1.0507... and a = 1.6732... are such that mean 0 and variance 1 pass through deep networks unchanged where
    weights are drawn with variance 1 / fan_in. Klambauer et al. (2017), "Self-normalizing neural networks".

    >>> selu([-1000.0, 0.0, 1.0]).round(4), selu.derivative([-1000.0, 0.0, 1.0]).round(4)
    (array([-1.7581,  0.    ,  1.0507]), array([0.    , 1.7581, 1.0507]))
    """

    def value(self, x, *, xp):
        y = _SCALE * xp.maximum(x, 0.0) + (_SCALE * _ALPHA) * xp.expm1(xp.minimum(x, 0.0))
        return y, y

    def slope(self, y, *, xp):
        return _sides(y, _SCALE, y + _SCALE * _ALPHA, xp=xp)


@dataclass(frozen=True)
class Softplus(Activation):
    """y = log(1 + exp(x)), computed as max(x, 0) + log(1 + exp(-|x|)); dy/dx = 1 - exp(-y), which is sigmoid(x).

    This is the logarithm itself for every x; PyTorch's gives x above 20, which is off by 2e-9 there. Dugas et al.
    (2001), "Incorporating second-order functional knowledge for better option pricing".

    >>> softplus([-1000.0, 0.0, 1000.0]), softplus.derivative([-1000.0, 0.0, 1000.0])
    (array([0.00000000e+00, 6.93147181e-01, 1.00000000e+03]), array([0. , 0.5, 1. ]))
    """

    def value(self, x, *, xp):
        # logaddexp(x, 0) is the same number and takes NumPy ten times as long.
        y = xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))
        return y, y

    def slope(self, y, *, xp):
        return -xp.expm1(-y)


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """y = min(max(x + 3, 0), 6) / 6; dy/dx = 1/6 where |x| < 3, else 0 (at the kinks 0, as in PyTorch).

    A sigmoid of straight lines. Howard et al. (2019), "Searching for MobileNetV3", section 5.2.

    >>> hard_sigmoid([-3.0, 0.0, 3.0]), hard_sigmoid.derivative([-3.0, 0.0, 3.0]).round(3)
    (array([0. , 0.5, 1. ]), array([0.   , 0.167, 0.   ]))
    """

    def value(self, x, *, xp):
        return xp.minimum(xp.maximum(x + 3.0, 0.0), 6.0) / 6.0, x

    def slope(self, x, *, xp):
        return xp.astype(xp.abs(x) < 3.0, x.dtype) / 6.0


@dataclass(frozen=True)
class HardSwish(Activation):
    """y = x h(x), with h the hard sigmoid; dy/dx = h + x h', 0 at the kink -3 and 1 at the kink 3, as in PyTorch.

    Howard et al. (2019), "Searching for MobileNetV3", section 5.2.

    >>> hard_swish([-3.0, 1.5, 3.0]), hard_swish.derivative([-3.0, 1.5, 3.0])
    (array([-0.   ,  1.125,  3.   ]), array([0., 1., 1.]))
    """

    def value(self, x, *, xp):
        gate, _ = hard_sigmoid.value(x, xp=xp)
        return x * gate, (x, gate)

    def slope(self, kept, *, xp):
        x, gate = kept
        return gate + x * hard_sigmoid.slope(x, xp=xp)


leaky_relu = LeakyReLU()
elu = ELU()
selu = SELU()
softplus = Softplus()
hard_sigmoid = HardSigmoid()
hard_swish = HardSwish()
prelu = PReLU()  # a layer, as it learns; people look for it among the activations
