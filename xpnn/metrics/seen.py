"""What a metric sees of a network: its output and the target in the form that the metric declares in `needs`.

The loss and the last layer say whether the outputs are classes, answers of yes or no, or numbers. All refusals stand
in `check`, which looks at structure alone: it can be asked before the first step of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnn.activations.base import Activation
from xpnn.activations.basic import log_softmax, sigmoid, softmax
from xpnn.layers.base import Array
from xpnn.losses.base import one_hot
from xpnn.metrics.base import Metric, name_of
from xpnn.metrics.columns import OF_CLASSES, hard, no_and_yes


def problem(loss: Any, ending: Any) -> str:
    """What a network's outputs are, by the loss and the last layer: "classes", yes-or-no "answers" or "numbers"."""
    link = getattr(loss, "link", None)
    if getattr(loss, "targets", "float") == "classes" or softmax in (link, ending):
        return "classes"
    decides = getattr(loss, "threshold", None) is not None or _is_probability(link, ending)
    return "answers" if decides else "numbers"


def check(metric: Callable, loss: Any, ending: Any, outputs: int, target: Array, *, xp: Any) -> None:
    """Raise ValueError where a network cannot show `metric` what it needs: before training, as `convert` would after.

    Parameters
    ----------
    metric : as `choose` gives it.
    loss, ending : the loss, and the last layer (a probability or not).
    outputs : how many numbers the network gives a row.
    target : as the loss takes it; only its shape and dtype are looked at.

    >>> import numpy as np, xpnn
    >>> check(xpnn.metrics.f1, xpnn.losses.get("mse"), xpnn.Dense(3, 1), 1, np.zeros((5, 1)), xp=np)
    Traceback (most recent call last):
        ...
    ValueError: metric f1 needs classes, but under MeanSquaredError a network that ends in Dense(3, 1) predicts \
numbers: take a loss of classes, or end in a probability
    """
    needs, kind, name = getattr(metric, "needs", "probabilities"), problem(loss, ending), name_of(metric)
    label = getattr(loss, "__name__", type(loss).__name__)
    if needs in ("scores", "probabilities"):
        return
    if needs == "predictions":
        _check_numbers(metric, loss, label, outputs, target, xp)
    elif needs == "labels":
        if kind != "classes" and target.shape[-1] != outputs:
            raise ValueError(f"metric {name} needs an output for each target, got {outputs} for {target.shape[-1]}")
    elif needs not in OF_CLASSES:
        known = ", ".join(("scores", "probabilities", "predictions", "labels", *OF_CLASSES))
        raise ValueError(f"metric {name} has unknown needs, {needs!r}: there are {known}")
    else:
        ends = f"under {label} a network that ends in {ending}"
        if kind == "numbers":
            raise ValueError(
                f"metric {name} needs classes, but {ends} predicts numbers: take a loss of classes, or end in a "
                "probability"
            )
        if needs == "class_probabilities" and not _is_probability(getattr(loss, "link", None), ending):
            raise ValueError(f"metric {name} needs probabilities, but {ends} gives scores")
        several = kind == "answers" and outputs > 1
        if several and not getattr(metric, "multilabel", False):
            raise ValueError(f"metric {name} takes one class a row, not {outputs} yes-or-no outputs at once")
        if isinstance(metric, Metric):
            metric.check_columns(outputs if several or kind == "classes" else 2, several)


def convert(
    metric: Callable, output: Array, target: Array, loss: Any, ending: Any, *, xp: Any
) -> tuple[Array, Array, dict[str, Any]]:
    """The network's `output` and the target as `metric` needs to see them, and the keywords that it is given besides.

    `output` is what the loss takes: logits where it has a link. Raises ValueError as `check` does.
    """
    check(metric, loss, ending, output.shape[-1], target, xp=xp)
    needs, link = getattr(metric, "needs", "probabilities"), getattr(loss, "link", None)
    if needs == "scores":
        return output, target, {}
    if needs == "predictions" and (place := _level_at(metric, loss)) is not None:
        width = loss.target_width(output.shape[-1])
        return output[..., place * width : (place + 1) * width], target, {}
    if needs == "predictions" and hasattr(loss, "point"):
        return loss.point(output, xp=xp), target, {}
    value = output if link is None else link.value(output, xp=xp)[0]
    if needs in ("probabilities", "predictions"):
        return value, target, {}
    kind = problem(loss, ending)
    if needs == "labels":
        return *_labels(output, value, target, kind, loss, xp), {}
    if kind == "classes":
        return *_class_columns(output, value, target, needs, link, xp), {}
    return _answer_columns(output, value, target, needs, loss, xp)


def _check_numbers(metric, loss, label, outputs, target, xp) -> None:
    """Raise unless there is one number for each target, at the metric's level where the outputs are quantiles."""
    name, levels, level = name_of(metric), getattr(loss, "levels", None), getattr(metric, "level", None)
    if levels is not None and level is not None and _level_at(metric, loss) is None:
        raise ValueError(
            f"metric {name} needs the quantile of level {level:g}, but {label} has the levels "
            f"{', '.join(f'{one:g}' for one in levels)}: take one of them, or train the level too"
        )
    if not isinstance(metric, Metric) or (hasattr(loss, "point") and not hasattr(loss, "target_width")):
        return
    if xp.isdtype(target.dtype, "integral"):
        raise ValueError(f"metric {name} needs a number for each target, but under {label} the targets are classes")
    width = loss.target_width(outputs) if hasattr(loss, "target_width") else outputs
    if target.shape[-1] != width:
        raise ValueError(f"metric {name} needs a number for each target, got {width} for {target.shape[-1]}")


def _level_at(metric: Callable, loss: Any) -> int | None:
    """Which of the loss's levels is the metric's, if it is one of a level and they hold it."""
    level, levels = getattr(metric, "level", None), getattr(loss, "levels", None)
    if level is None or levels is None:
        return None
    return next((k for k, one in enumerate(levels) if math.isclose(one, level)), None)


def _labels(output, value, target, kind, loss, xp) -> tuple[Array, Array]:
    """The class of each row; of one yes-or-no output 0 or 1; of several 1 where all are right, as the target's is."""
    if kind == "classes":
        truth = target if xp.isdtype(target.dtype, "integral") else xp.argmax(target, axis=-1)
        return xp.astype(xp.argmax(output, axis=-1), output.dtype), xp.astype(truth, output.dtype)
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
    return no_and_yes(yes, both, xp=xp), no_and_yes(target, 1.0, xp=xp), {}


def _score(output, value, loss) -> tuple[Array, float]:
    """What ranks yes-or-no outputs, and above which number it says yes.

    A logit tells apart what its probability rounds to 1, above 17 in float32.
    """
    logits = getattr(loss, "link", None) == sigmoid
    threshold = getattr(loss, "threshold", None)
    return (output if logits else value), (0.0 if logits else 0.5) if threshold is None else threshold


def _is_probability(link: Activation | None, ending: Any) -> bool:
    return any(getattr(one, "probability", False) for one in (link, ending))
