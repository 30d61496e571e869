"""The objective of training where large weights cost something: a loss plus L1 and L2 penalties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from xpnn._arguments import AT_LEAST_ZERO, Number, check_multipliers, hyper_parameter, settle
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
    per_row : divide the penalties by a batch's sum of weights, or its rows: l2 is then scikit-learn's `alpha`.

    Tibshirani (1996), "Regression shrinkage and selection via the lasso"; Hoerl and Kennard (1970), "Ridge
    regression". Under plain SGD l2 is PyTorch's `weight_decay`.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([1, 1], weight_init="zeros"))
    >>> net.fit([[1.0]], [[1.0]], xpnn.Penalized("mse", l2=1.0), xpnn.SGD(0.1), epochs=200)["loss"][-1].__round__(4)
    0.0
    """

    loss: Any
    l1: Number = 0.0
    l2: Number = 0.0
    multipliers: Mapping[Any, float] = field(default_factory=dict, hash=False)
    per_row: bool = False

    numbers: ClassVar = {"l1": AT_LEAST_ZERO, "l2": AT_LEAST_ZERO}

    def __post_init__(self):
        object.__setattr__(self, "loss", get(self.loss))
        if isinstance(self.loss, Penalized):
            raise TypeError("loss is penalized already: give the factors of both in one")
        for name, bounds in self.numbers.items():
            settle(self, hyper_parameter, name, **bounds)
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

    def penalty(
        self,
        params: Array,
        hyper: Mapping[str, Array],
        prices: Array,
        rows: int,
        weight: Array | None,
        *,
        xp: Any,
    ) -> tuple[Array, Array]:
        """Value (*members,) and gradient of the penalties of the flat vector `params`, (*members, n_params).

        `hyper` has the factors that are `present`, (*members, 1), `prices` (n_params,) the multiplier of each weight
        and 0 for what costs nothing; `rows` and `weight` are those of the batch.
        """
        costs, slopes, priced = [], [], prices * params
        if "l1" in hyper:
            costs.append(hyper["l1"][..., 0] * xp.sum(xp.abs(priced), axis=-1))
            slopes.append(hyper["l1"] * (prices * xp.sign(params)))
        if "l2" in hyper:
            costs.append(0.5 * hyper["l2"][..., 0] * xp.sum(priced * params, axis=-1))
            slopes.append(hyper["l2"] * priced)
        value, gradient = sum(costs[1:], costs[0]), sum(slopes[1:], slopes[0])
        if not self.per_row:
            return value, gradient
        if weight is None:
            return value * (1.0 / rows), gradient * (1.0 / rows)
        total = xp.sum(weight, axis=-1)
        share = 1.0 / xp.where(total == 0.0, xp.ones_like(total), total)  # (*members,)
        return value * share, gradient * share[..., None]
