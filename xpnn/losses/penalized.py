"""The objective of training where large weights cost something: a loss plus L1 and L2 penalties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from xpnn._arguments import AT_LEAST_ZERO, Number, check_multipliers, hyper_parameter
from xpnn.layers.base import Array
from xpnn.losses import get


@dataclass(frozen=True)
class Penalized:
    """loss + sum over the weights w of l1 |w| + l2 / 2 w^2; its gradient adds l1 sign(w) + l2 w, sign(0) being 0.

    Weights are the learned arrays of two axes or more (of Dense, Maxout, Embedding); biases, the scales of a
    normalization and PReLU's slopes cost nothing. `history["loss"]` is the whole objective; `val_loss` and `evaluate`
    are the data's part, which this object is when it is called as a loss. What a layer's outputs cost is
    `ActivityPenalty`'s part.

    Parameters
    ----------
    loss : by name or as an object.
    l1, l2 : factors, >= 0; can be scheduled, or a sequence with one a member.
    multipliers : further factors by parameter name or layer: {0: 0.0, "2.weight": 10.0}.

    Tibshirani (1996), "Regression shrinkage and selection via the lasso"; Hoerl and Kennard (1970), "Ridge
    regression". Under plain SGD l2 is PyTorch's `weight_decay`; scikit-learn's MLP has l2 = alpha / rows of a batch.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([1, 1], weight_init="zeros"))
    >>> net.fit([[1.0]], [[1.0]], xpnn.Penalized("mse", l2=1.0), xpnn.SGD(0.1), epochs=200)["loss"][-1].__round__(4)
    0.0
    """

    loss: Any
    l1: Number = 0.0
    l2: Number = 0.0
    multipliers: Mapping[Any, float] = field(default_factory=dict, hash=False)

    numbers: ClassVar = {"l1": AT_LEAST_ZERO, "l2": AT_LEAST_ZERO}

    def __post_init__(self):
        object.__setattr__(self, "loss", get(self.loss))
        if isinstance(self.loss, Penalized):
            raise TypeError("loss is penalized already: give the factors of both in one")
        for name, bounds in self.numbers.items():
            object.__setattr__(self, name, hyper_parameter(name, getattr(self, name), **bounds))
        object.__setattr__(self, "multipliers", check_multipliers(self.multipliers))

    @property
    def present(self) -> dict[str, Number]:
        """The factors that are there: whether one is, is structure and no number."""
        return {name: value for name in self.numbers if (value := getattr(self, name)) != 0.0}

    def __call__(self, prediction: Array, target: Array, *, xp: Any = None, weight: Array | None = None):
        """The data's part."""
        return self.loss(prediction, target, xp=xp, weight=weight)

    def __getattr__(self, name: str) -> Any:
        if name == "loss" or name.startswith("__"):  # while it is being copied or unpickled
            raise AttributeError(name)
        return getattr(self.loss, name)  # its link, the targets that it takes ...

    def penalty(self, params: Array, hyper: Mapping[str, Array], *, xp: Any) -> tuple[Array, Array]:
        """Value (*members,) and gradient of the penalties of the flat vector `params`, (*members, n_params).

        `hyper` has the factors that are `present`, of the shape of `params`, zero where nothing is to pay.
        """
        value, gradient = xp.zeros_like(params), xp.zeros_like(params)
        if "l1" in hyper:
            value, gradient = hyper["l1"] * xp.abs(params), hyper["l1"] * xp.sign(params)
        if "l2" in hyper:
            slope = hyper["l2"] * params
            value, gradient = value + 0.5 * slope * params, gradient + slope
        return xp.sum(value, axis=-1), gradient
