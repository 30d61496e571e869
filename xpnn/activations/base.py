"""The functions between layers, each beside its derivative: the tutorial's pair, grown up.

An activation is a layer without parameters. By hand, `relu(x)` is the function and `relu.derivative(x)` its
derivative, both of the input x; in a network its derivative is taken from what the forward pass kept, from the output
where it can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn.layers.base import Array, Layer
from xpnn.special import by_hand


@dataclass(frozen=True)
class Activation(Layer):
    """A function applied to each element. Subclasses write two formulas:

    `value(x) -> (y, kept)`, the function and what its derivative is written in, and `slope(kept) -> dy/dx`.

    `probability` says that the outputs are probabilities, which ties the last activation to its loss.
    """

    learns: ClassVar = False
    probability: ClassVar[bool] = False

    def value(self, x: Array, *, xp: Any) -> tuple[Array, Any]:
        raise NotImplementedError(f"{type(self).__name__} must define value(self, x, *, xp)")

    def slope(self, kept: Any, *, xp: Any) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define slope(self, kept, *, xp)")

    def forward(self, params, x, *, xp, step=None):
        return self.value(x, xp=xp)

    def backward(self, params, kept, dy, *, xp):
        return dy * self.slope(kept, xp=xp), {}

    def __call__(self, x: Any) -> Array:
        """The function of `x`, an array of any library, a list or a number."""
        x, xp = by_hand(x)
        return self.value(x, xp=xp)[0]

    def derivative(self, x: Any) -> Array:
        """The derivative at `x`, in the shape of `x`; `x` itself is left as it is."""
        x, xp = by_hand(x)
        return self.slope(self.value(x, xp=xp)[1], xp=xp)
