"""How good predictions are, in numbers that people read: metric(prediction, target, weight=None) -> value.

A metric declares in `needs` how it wants to see the network's output and the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from xpnn.layers.base import Array
from xpnn.losses.base import one_hot
from xpnn.metrics.columns import OF_CLASSES
from xpnn.metrics.given import given


@dataclass(frozen=True)
class Metric:
    """The contract. Subclasses write `value(prediction, target, *, xp, weight)`, which has the members' shape.

    `needs` says what prediction and target are:

    * "labels": one number a row, (*members, batch), equal to the target's where the row is right.
    * "one_hot": rows of zeros with a one, (*members, batch, classes); one yes-or-no output is two classes, no and yes.
    * "class_scores": columns likewise, the likelier the larger, both within a row and within a column.
    * "class_probabilities": columns likewise, of probabilities. Targets stay soft where they are, here and above.
    * "probabilities": what `predict` gives, by the loss's link; the target as it is.
    * "predictions": one number for each target, by the loss's `point`, or its quantile of the metric's `level` where
      both have one; the target as it is.
    * "scores": the network's raw output; the target as it is.

    Where `multilabel` is True, columns may also be several yes-or-no outputs, (*members, batch, outputs); `value` then
    has the keyword `multilabel`, True where they are. `title` is the metric's name where all options stand at their
    defaults; `greater_is_better` tells a score from an error.

    Called by hand, without `xp`, it takes what `predict` gives: of columns the largest is the label, one number a row
    is the score or probability of yes (or, for "one_hot", the label itself), (n,) is one output; the target of columns
    may be class labels (n,). What cannot be meant, as a class that has no column, is refused by its values.
    """

    needs: ClassVar[str] = "scores"
    multilabel: ClassVar[bool] = False
    title: ClassVar[str] = "metric"
    greater_is_better: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What the history calls it: the title and the options that differ from their defaults."""
        options = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        return "_".join([self.title, *map(brief, options.values())])

    def __call__(
        self, prediction: Any, target: Any, *, xp: Any = None, weight: Any = None, multilabel: bool = False
    ) -> Array:
        """The value; `xp` is inferred where it is left out."""
        if xp is None:
            prediction, target, weight, xp = given(self.name, self.needs, prediction, target, weight, multilabel)
        if self.needs in OF_CLASSES and target.ndim < prediction.ndim and xp.isdtype(target.dtype, "integral"):
            target = one_hot(target, prediction, xp=xp)
        self.check_shapes(prediction, target, weight, multilabel)
        return self.value(prediction, target, xp=xp, weight=weight, **({"multilabel": True} if multilabel else {}))

    def value(self, prediction: Array, target: Array, *, xp: Any, weight: Array | None = None) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define value(self, prediction, target, *, xp, weight)")

    def check_shapes(self, prediction: Array, target: Array, weight: Array | None, multilabel: bool = False) -> None:
        """Raise where the shapes would broadcast to something that nobody meant."""
        if self.needs not in (*OF_CLASSES, "labels", "predictions"):
            return
        axes = 1 if self.needs == "labels" else 2
        given, wanted = tuple(target.shape), tuple(prediction.shape)
        if len(wanted) < axes:
            form = {"labels": "(batch,)", "predictions": "(batch, outputs)"}.get(self.needs, "(batch, columns)")
            raise ValueError(f"{self.name}: prediction must be {form}, got shape {wanted}")
        if given[-axes:] != wanted[-axes:]:
            raise ValueError(f"{self.name}: target of shape {given} does not fit prediction of shape {wanted}")
        if self.needs in OF_CLASSES:
            self.check_columns(wanted[-1], multilabel)
        if weight is not None and (weight.ndim > len(wanted) - axes + 1 or weight.shape[-1:] != wanted[-axes:][:1]):
            raise ValueError(f"weight must be ({wanted[-axes]},), one a row, got shape {tuple(weight.shape)}")

    def check_columns(self, columns: int, multilabel: bool) -> None:
        """Raise where the metric cannot be of so many columns: of classes, or of yes-or-no outputs if `multilabel`."""
        if columns < 2 and not multilabel:
            raise ValueError(
                f"{self.name}: prediction must have a column for each class, for one yes-or-no output the two "
                f"(no, yes), got {columns}"
            )


def name_of(metric: Callable) -> str:
    """What the history calls it."""
    return getattr(metric, "name", None) or getattr(metric, "__name__", type(metric).__name__)


def brief(option: Any) -> str:
    """An option as it stands in a metric's name."""
    return str(option).removesuffix(".0")
