"""How good predictions are, in numbers that people read: metric(prediction, target, weight=None) -> value.

A metric declares in `needs` how it wants to see the network's output and the target; `convert` makes that by the loss
and the last layer, which say whether the outputs are classes, answers of yes or no, or numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from xpnn.activations.base import Activation
from xpnn.activations.basic import log_softmax, sigmoid, softmax
from xpnn.layers.base import Array
from xpnn.losses.base import one_hot
from xpnn.special import by_hand

OF_CLASSES = ("one_hot", "class_scores", "class_probabilities")


@dataclass(frozen=True)
class Metric:
    """The contract. Subclasses write `value(prediction, target, *, xp, weight)`, which has the members' shape.

    `needs` says what prediction and target are:

    * "labels": one number a row, (*members, batch), equal to the target's where the row is right.
    * "one_hot": rows of zeros with a one, (*members, batch, classes); one yes-or-no output is two classes, no and yes.
    * "class_scores": columns likewise, the likelier the larger, both within a row and within a column.
    * "class_probabilities": columns likewise, of probabilities. Targets stay soft where they are, here and above.
    * "probabilities": what `predict` gives, by the loss's link; the target as it is.
    * "predictions": one number for each target, by the loss's `point`; the target as it is.
    * "scores": the network's raw output; the target as it is.

    Where `multilabel` is True, columns may also be several yes-or-no outputs, (*members, batch, outputs); `value` then
    has the keyword `multilabel`, True where they are. `title` is the metric's name where all options stand at their
    defaults. Called by hand, a metric of columns takes class indices as its target too.
    """

    needs: ClassVar[str] = "scores"
    multilabel: ClassVar[bool] = False
    title: ClassVar[str] = "metric"

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
            prediction, xp = by_hand(prediction)
            target = _beside(prediction, target, xp, indices=self.needs in OF_CLASSES)
            weight = None if weight is None else _beside(prediction, weight, xp)
        if self.needs in OF_CLASSES and target.ndim < prediction.ndim and xp.isdtype(target.dtype, "integral"):
            target = one_hot(target, prediction, xp=xp)
        self.check_shapes(prediction, target, weight, multilabel)
        return self.value(prediction, target, xp=xp, weight=weight, **({"multilabel": True} if multilabel else {}))

    def value(self, prediction: Array, target: Array, *, xp: Any, weight: Array | None = None) -> Array:
        raise NotImplementedError(f"{type(self).__name__} does not say what it measures")

    def check_shapes(self, prediction: Array, target: Array, weight: Array | None, multilabel: bool = False) -> None:
        """Raise where the shapes would broadcast to something that nobody meant."""
        if self.needs not in (*OF_CLASSES, "labels", "predictions"):
            return
        axes = 1 if self.needs == "labels" else 2
        given, wanted = tuple(target.shape), tuple(prediction.shape)
        if len(wanted) < axes or given[-axes:] != wanted[-axes:]:
            raise ValueError(f"{self.name}: target of shape {given} does not fit prediction of shape {wanted}")
        if self.needs in OF_CLASSES and wanted[-1] < 2 and not multilabel:
            raise ValueError(
                f"{self.name}: prediction must have a column for each class, for one yes-or-no output the two "
                f"(no, yes), got shape {wanted}"
            )
        if weight is not None and (weight.ndim > len(wanted) - axes + 1 or weight.shape[-1] != wanted[-axes]):
            raise ValueError(f"weight must be ({wanted[-axes]},), one a row, got shape {tuple(weight.shape)}")


def problem(loss: Any, ending: Any) -> str:
    """What a network's outputs are, by the loss and the last layer: "classes", yes-or-no "answers" or "numbers"."""
    link = getattr(loss, "link", None)
    if getattr(loss, "targets", "float") == "classes" or softmax in (link, ending):
        return "classes"
    decides = getattr(loss, "threshold", None) is not None or _is_probability(link, ending)
    return "answers" if decides else "numbers"


def convert(
    metric: Callable, output: Array, target: Array, loss: Any, ending: Any, *, xp: Any
) -> tuple[Array, Array, dict[str, Any]]:
    """The network's `output` and the target as `metric` needs to see them, and the keywords that it is given besides.

    `output` is what the loss takes: logits where it has a link. `ending` is the last layer (a probability or not).
    Raises ValueError where there is no such thing to see, or the metric does not take several yes-or-no outputs.
    """
    needs, link = getattr(metric, "needs", "probabilities"), getattr(loss, "link", None)
    if needs == "scores":
        return output, target, {}
    if needs == "predictions" and hasattr(loss, "point"):
        return loss.point(output, xp=xp), target, {}
    value = output if link is None else link.value(output, xp=xp)[0]
    if needs in ("probabilities", "predictions"):
        return value, target, {}
    kind, name, label = problem(loss, ending), name_of(metric), getattr(loss, "__name__", type(loss).__name__)
    if needs == "labels":
        return *_labels(output, value, target, kind, loss, name, xp), {}
    if needs not in OF_CLASSES:
        raise ValueError(f"metric {name} has unknown needs, {needs!r}")
    ends = f"under {label} a network that ends in {ending}"
    if kind == "numbers":
        raise ValueError(
            f"metric {name} needs classes, but {ends} predicts numbers: take a loss of classes, or end in a probability"
        )
    if needs == "class_probabilities" and not _is_probability(link, ending):
        raise ValueError(f"metric {name} needs probabilities, but {ends} gives scores")
    if kind == "classes":
        return *_class_columns(output, value, target, needs, link, xp), {}
    if output.shape[-1] > 1 and not getattr(metric, "multilabel", False):
        raise ValueError(f"metric {name} takes one class a row, not {output.shape[-1]} yes-or-no outputs at once")
    return _answer_columns(output, value, target, needs, loss, xp)


def hard(rows: Array, *, xp: Any) -> Array:
    """Rows (*, classes) as zeros with a one at the largest, the first of equals."""
    return one_hot(xp.argmax(rows, axis=-1), rows, xp=xp)


def name_of(metric: Callable) -> str:
    """What the history calls it."""
    return getattr(metric, "name", None) or getattr(metric, "__name__", type(metric).__name__)


def _labels(output, value, target, kind, loss, name, xp) -> tuple[Array, Array]:
    """The class of each row; of one yes-or-no output 0 or 1; of several 1 where all are right, as the target's is."""
    if kind == "classes":
        truth = target if xp.isdtype(target.dtype, "integral") else xp.argmax(target, axis=-1)
        return xp.astype(xp.argmax(output, axis=-1), output.dtype), xp.astype(truth, output.dtype)
    if target.shape[-1] != output.shape[-1]:
        raise ValueError(
            f"metric {name} needs an output for each target, got {output.shape[-1]} for {target.shape[-1]}"
        )
    score, threshold = _score(output, value, loss)
    label, truth = score > threshold, target > 0.5
    if output.shape[-1] > 1:
        right = xp.all(label == truth, axis=-1)
        return xp.astype(right, output.dtype), xp.ones_like(right, dtype=output.dtype)
    return xp.astype(label[..., 0], output.dtype), xp.astype(truth[..., 0], output.dtype)


def _class_columns(output, value, target, needs, link, xp) -> tuple[Array, Array]:
    """Columns (*members, batch, classes) of one class a row."""
    target = one_hot(target, output, xp=xp) if xp.isdtype(target.dtype, "integral") else target
    if needs == "one_hot":
        return hard(output, xp=xp), hard(target, xp=xp)
    if needs == "class_scores" and link == softmax:  # the logarithm tells apart what the probability rounds to 0
        value, _ = log_softmax.value(output, xp=xp)
    return value, target


def _answer_columns(output, value, target, needs, loss, xp) -> tuple[Array, Array, dict[str, Any]]:
    """One yes-or-no output as two columns, no and yes; several as they are, with the keyword that says so."""
    score, threshold = _score(output, value, loss)
    yes, both = value, 1.0  # the column of yes, and what it and the column of no add up to
    if needs == "class_scores":
        yes, both = score, 2.0 * threshold
    elif needs == "one_hot":
        yes, target = xp.astype(score > threshold, output.dtype), xp.astype(target > 0.5, output.dtype)
    if output.shape[-1] > 1:
        return yes, target, {"multilabel": True}
    return xp.concat([both - yes, yes], axis=-1), xp.concat([1.0 - target, target], axis=-1), {}


def _score(output, value, loss) -> tuple[Array, float]:
    """What ranks yes-or-no outputs, and above which number it says yes.

    A logit tells apart what its probability rounds to 1, above 17 in float32.
    """
    logits = getattr(loss, "link", None) == sigmoid
    threshold = getattr(loss, "threshold", None)
    return (output if logits else value), (0.0 if logits else 0.5) if threshold is None else threshold


def _is_probability(link: Activation | None, ending: Any) -> bool:
    return any(getattr(one, "probability", False) for one in (link, ending))


def _beside(prediction: Array, values: Any, xp: Any, indices: bool = False) -> Array:
    """What is given by hand as an array of the prediction's dtype; class indices stay integers."""
    values = xp.asarray(values, device=getattr(prediction, "device", None))
    if indices and values.ndim < prediction.ndim and xp.isdtype(values.dtype, "integral"):
        return values
    return xp.astype(values, prediction.dtype)


def brief(option: Any) -> str:
    """An option as it stands in a metric's name."""
    return str(option).removesuffix(".0")
