"""How good predictions are, in numbers that people read: metric(prediction, target, weight=None) -> value.

A metric declares what it wants to see: "labels" (one number a row, (*members, batch), equal to the target's where the
row is right), "probabilities", or "scores" (the network's raw output); `convert` makes it by the loss's link.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn.activations.base import Activation
from xpnn.activations.basic import sigmoid, softmax
from xpnn.layers.base import Array
from xpnn.losses.base import shares


@dataclass(frozen=True)
class Metric:
    """The contract. `needs` is "labels", "probabilities" or "scores"; the value has the members' shape."""

    needs: ClassVar[str] = "scores"
    name: ClassVar[str] = "metric"

    def __call__(self, prediction: Array, target: Array, *, xp: Any, weight: Array | None = None) -> Array:
        raise NotImplementedError(f"{type(self).__name__} does not say what it measures")


def mean_of_rows(rows: Array, *, xp: Any, weight: Array | None) -> Array:
    """The (weighted) mean of one number a row, (*members, batch); zero where all weights are."""
    return xp.mean(rows, axis=-1) if weight is None else xp.sum(rows * shares(weight, xp=xp), axis=-1)


def convert(output: Array, target: Array, needs: str, link: Activation | None, ending: Any, *, xp: Any):
    """The network's `output` and the target as a metric wants to see them.

    `link` is the loss's (then `output` is logits), `ending` the last layer (a probability or not). Labels are the
    index of the largest output where the outputs are classes, else the outputs above one half (logits above 0) as 0
    and 1; with several such outputs, all must be right, so that the row's label is 1 where they are.
    """
    if needs == "scores":
        return output, target
    if needs == "probabilities":
        return (link.value(output, xp=xp)[0] if link is not None else output), target
    indices = xp.isdtype(target.dtype, "integral")
    if indices or link == softmax or ending == softmax:
        label = xp.argmax(output, axis=-1)
        truth = target if indices else xp.argmax(target, axis=-1)
        return xp.astype(label, output.dtype), xp.astype(truth, output.dtype)
    label, truth = output > (0.0 if link == sigmoid else 0.5), target > 0.5
    if output.shape[-1] > 1:  # several yes-or-no outputs: the row's label is 1 where all are right, as it should be
        right = xp.all(label == truth, axis=-1)
        return xp.astype(right, output.dtype), xp.ones_like(right, dtype=output.dtype)
    return xp.astype(label[..., 0], output.dtype), xp.astype(truth[..., 0], output.dtype)


def name_of(metric: Callable) -> str:
    """What the history calls it."""
    return getattr(metric, "name", None) or getattr(metric, "__name__", type(metric).__name__)
