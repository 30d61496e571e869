"""What training makes small: a loss gives its value and the gradient of exactly that value from one function.

`loss(prediction, target, weight=None) -> (value, gradient)`. prediction is (*members, batch, outputs), the gradient
has its shape, the value has the shape of the members: () for one network. The value is the mean over batch and
outputs; with weights (batch,) or (*members, batch) it is the weighted mean, sum(w l) / sum(w), and zero where all
weights are zero.

A loss may have a `link`, the activation that turns its logits into probabilities. Such a loss takes logits; the two
are computed together, which is stable where the probability itself would round to 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn._arguments import Shown, hyper_parameter
from xpnn.activations.base import Activation
from xpnn.layers.base import Array
from xpnn.special import by_hand


@dataclass(frozen=True)
class Loss(Shown):
    """The contract of a loss. Subclasses write `terms(prediction, target)`.

    It gives the terms whose mean is the loss, (*members, batch, outputs) or (*members, batch, 1), and the gradient of
    each row's mean with respect to the prediction, (*members, batch, outputs). `targets` is "float" (target of the
    prediction's shape, or of the width that `target_width` says) or "classes" (class indices (*, batch) of an integer
    type, or class probabilities (*, batch, outputs) of the prediction's type). `target_range` bounds a floating-point
    target's values; `threshold` is where a score without a link says yes. `numbers` names the fields that are a number,
    or one for each member of a stack, with the bounds of each.
    """

    link: ClassVar[Activation | None] = None
    targets: ClassVar[str] = "float"
    target_range: ClassVar[tuple[float, float] | None] = None
    threshold: ClassVar[float | None] = None
    numbers: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self):
        for name, bounds in self.numbers.items():
            value = hyper_parameter(name, getattr(self, name), **bounds)
            if callable(value):
                raise TypeError(f"{name} must be a number, or one for each member, got {value!r}")
            object.__setattr__(self, name, value)

    @property
    def held(self) -> dict[str, Any]:
        """The numbers that are not 0: whether one is, is structure and no number."""
        found = {name: getattr(self, name) for name in self.numbers}
        return {name: value for name, value in found.items() if not isinstance(value, float) or value != 0.0}

    def holding(self, numbers: Mapping[str, Array]) -> Loss:
        """The same with arrays of shape (*members, 1, 1) in the place of its numbers."""
        held = copy(self)
        for name, array in numbers.items():
            object.__setattr__(held, name, array)
        return held

    def __call__(
        self, prediction: Array, target: Array, *, xp: Any = None, weight: Array | None = None
    ) -> tuple[Array, Array]:
        """The value and its gradient with respect to `prediction`.

        By hand, `xp` is left out: it is inferred, and class indices are checked, which waits for the device and
        cannot be traced by jax.jit.
        """
        look = xp is None
        if own := [name for name in self.numbers if isinstance(getattr(self, name), tuple)]:
            raise ValueError(f"{own[0]} of {self} must be one number in a call by hand, got one for each member")
        if xp is None:
            prediction, xp = by_hand(prediction)
            target = _like(target, prediction, self.targets, xp)
            weight = None if weight is None else _like(weight, prediction, "float", xp)
        self.check_shapes(prediction, target, weight, xp=xp)
        if look and self.targets == "classes":
            _check_indices(target, prediction.shape[-1], xp)
        terms, gradient = self.terms(prediction, target, xp=xp)
        if weight is None:
            rows, width = terms.shape[-2:]
            return xp.sum(terms, axis=(-2, -1)) * (1.0 / (rows * width)), gradient * (1.0 / rows)
        share = shares(weight, xp=xp)
        rows = xp.mean(terms, axis=-1)  # (*members, batch)
        return xp.sum(share * rows, axis=-1), gradient * share[..., None]

    def terms(self, prediction: Array, target: Array, *, xp: Any) -> tuple[Array, Array]:
        raise NotImplementedError(f"{type(self).__name__} must define terms(self, prediction, target, *, xp)")

    def target_width(self, outputs: int) -> int:
        """How many targets a row has for so many outputs; raises ValueError where they do not go together."""
        return outputs

    def point(self, prediction: Array, *, xp: Any) -> Array:
        """The one number that is forecast for each target, (*members, batch, targets)."""
        return prediction if self.link is None else self.link.value(prediction, xp=xp)[0]

    def check_shapes(self, prediction: Array, target: Array, weight: Array | None, *, xp: Any) -> None:
        """Raise where the shapes would broadcast to something that nobody meant."""
        if prediction.ndim < 2:
            raise ValueError(f"prediction must be (batch, outputs), got shape {tuple(prediction.shape)}")
        indices = self.targets == "classes" and xp.isdtype(target.dtype, "integral") and target.ndim < prediction.ndim
        given = target.shape[-1:] if indices else target.shape[-2:]
        rows, outputs = prediction.shape[-2:]
        wanted = (rows,) if indices else (rows, outputs if self.targets == "classes" else self.target_width(outputs))
        if tuple(given) != tuple(wanted):
            raise ValueError(
                f"{type(self).__name__}: target of shape {tuple(target.shape)} does not fit prediction of shape "
                f"{tuple(prediction.shape)}"
            )
        if weight is not None and (weight.ndim >= prediction.ndim or weight.shape[-1] != prediction.shape[-2]):
            raise ValueError(f"weight must be ({prediction.shape[-2]},), one a row, got shape {tuple(weight.shape)}")


def shares(weight: Array, *, xp: Any) -> Array:
    """Weights (*, batch) as each row's share of their sum; zeros where all are zero."""
    total = xp.sum(weight, axis=-1, keepdims=True)
    return weight / xp.where(total == 0.0, xp.ones_like(total), total)


def one_hot(index: Array, like: Array, *, xp: Any) -> Array:
    """Class indices (*, batch) as rows of zeros with a one, of the width and dtype of `like` (*, batch, classes)."""
    classes = xp.arange(like.shape[-1], dtype=index.dtype, device=getattr(index, "device", None))
    return xp.astype(index[..., None] == classes, like.dtype)


def class_rows(target: Array, like: Array, *, xp: Any) -> tuple[Array, Any]:
    """Class indices or rows of probabilities as rows of the width of `like`, and the sum of each."""
    if not xp.isdtype(target.dtype, "integral"):
        return target, xp.sum(target, axis=-1, keepdims=True)
    if target.ndim < like.ndim:
        return one_hot(target, like, xp=xp), 1.0
    return xp.astype(target, like.dtype), xp.sum(xp.astype(target, like.dtype), axis=-1, keepdims=True)


def _like(values: Any, prediction: Array, kind: str, xp: Any) -> Array:
    """What is given by hand as an array beside `prediction`: indices stay integers, all else takes its dtype."""
    values = xp.asarray(values, device=getattr(prediction, "device", None))
    if kind == "classes" and xp.isdtype(values.dtype, "integral") and values.ndim < prediction.ndim:
        return values
    return xp.astype(values, prediction.dtype)


def _check_indices(target: Array, classes: int, xp: Any) -> None:
    """Raise where an index names no class: its row of the one-hot target would be all zeros, and its loss 0."""
    if not xp.isdtype(target.dtype, "integral") or 0 in target.shape:
        return
    low, high = int(xp.min(target)), int(xp.max(target))
    if low < 0 or high >= classes:
        raise ValueError(f"target must hold class indices from 0 to {classes - 1}, got {low} to {high}")
