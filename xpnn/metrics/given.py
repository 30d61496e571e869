"""What people give a metric by hand - labels, probabilities, scores, numbers - as the arrays that it takes.

Values are looked at here, to refuse what would give a number that means nothing; on a GPU that waits for it.
"""

from __future__ import annotations

import math
from typing import Any

from xpnn.layers.base import Array
from xpnn.losses.base import one_hot
from xpnn.metrics.columns import OF_CLASSES, hard, no_and_yes
from xpnn.special import by_hand


def given(
    name: str, needs: str, prediction: Any, target: Any, weight: Any, multilabel: bool
) -> tuple[Array, Array, Array | None, Any]:
    """Prediction, target and weight as the metric `name` takes them that has these `needs`, and their namespace.

    >>> given("f1", "one_hot", [[0.4, 0.6], [0.9, 0.1]], [1, 0], None, False)[:2]
    (array([[0., 1.],
           [1., 0.]]), array([[0., 1.],
           [1., 0.]]))
    """
    prediction, xp = by_hand(prediction)
    target = _beside(prediction, target, xp)
    weight = None if weight is None else xp.astype(_beside(prediction, weight, xp), prediction.dtype)
    if not math.prod(prediction.shape):
        raise ValueError(f"{name}: prediction is empty: its shape is {tuple(prediction.shape)}")
    if needs in OF_CLASSES and not multilabel:
        return *_columns(name, needs, prediction, target, xp), weight, xp
    target = xp.astype(target, prediction.dtype)
    if needs == "one_hot":
        _check_yes_or_no(name, prediction, target, xp)
    elif needs == "labels":
        prediction, target = _labels(name, prediction, target, xp)
    elif needs == "predictions":  # (n,) is one output, as in scikit-learn
        prediction = prediction[:, None] if prediction.ndim == 1 else prediction
        target = target[:, None] if target.ndim == 1 and prediction.shape[-1] == 1 else target
    return prediction, target, weight, xp


def _columns(name: str, needs: str, prediction: Array, target: Array, xp: Any) -> tuple[Array, Array]:
    """Columns (*members, batch, classes), and the target's likewise; of class labels as many as there are classes."""
    if prediction.ndim == 0:
        raise ValueError(f"{name}: prediction must have one row at least, got a number")
    shape = tuple(prediction.shape)
    if lone := prediction.ndim == 1 or prediction.shape[-1] == 1:
        target = target[..., 0] if target.ndim > 1 and target.shape[-1] == 1 else target
        prediction = prediction[:, None] if prediction.ndim == 1 else prediction
    rows, index = tuple(prediction.shape[:-1]), None
    # A float target of two axes is rows of probabilities, which (members, batch) could not be told from.
    if tuple(target.shape) == rows[-target.ndim :] and (
        target.ndim == 1 or not xp.isdtype(target.dtype, "real floating")
    ):
        index = _indices(name, "target", target, xp)
    elif target.ndim < 2:
        raise ValueError(f"{name}: target of shape {tuple(target.shape)} does not fit prediction of shape {shape}")
    if needs == "class_probabilities" and bool(xp.any((prediction < -1e-6) | (prediction > 1.0 + 1e-6))):
        raise ValueError(f"{name}: prediction must be probabilities, between 0 and 1: put scores through a softmax")
    if lone and needs == "one_hot":
        label = _indices(name, "prediction", prediction[..., 0], xp)
        known = target.shape[-1] if index is None else _largest(index, xp) + 1
        classes = max(2, _largest(label, xp) + 1, known)
        device = getattr(prediction, "device", None)
        prediction = one_hot(label, xp.zeros((classes,), dtype=prediction.dtype, device=device), xp=xp)
    elif lone:
        prediction = no_and_yes(prediction, 1.0 if needs == "class_probabilities" else 0.0, xp=xp)
    elif needs == "one_hot":
        if bool(xp.any(xp.isnan(prediction))):
            raise ValueError(f"{name}: prediction has NaN, which is of no class")
        prediction = hard(prediction, xp=xp)
    if index is None:
        target = xp.astype(target, prediction.dtype)
        return prediction, hard(target, xp=xp) if needs == "one_hot" else target
    if (largest := _largest(index, xp)) >= (classes := prediction.shape[-1]):
        raise ValueError(f"{name}: target has class {largest}, but prediction has columns for 0 to {classes - 1} only")
    return prediction, one_hot(index, prediction, xp=xp)


def _labels(name: str, prediction: Array, target: Array, xp: Any) -> tuple[Array, Array]:
    """One label a row; of a column for each class the largest's, and (n, 1) is (n,)."""
    if target.ndim > 1 and target.shape[-1] == 1:
        target = target[..., 0]
    if prediction.ndim > 1 and tuple(prediction.shape[:-1]) == tuple(target.shape):
        label = xp.astype(xp.argmax(prediction, axis=-1), prediction.dtype)
        prediction = prediction[..., 0] if prediction.shape[-1] == 1 else label
    if _whole(target, xp) and not _whole(prediction, xp):
        raise ValueError(f"{name}: prediction must be labels like the target's: of probabilities give prediction > 0.5")
    return prediction, target


def _indices(name: str, what: str, values: Array, xp: Any) -> Array:
    """Class labels 0, 1, ... of any type as integers."""
    integral = xp.isdtype(values.dtype, "integral")
    if xp.isdtype(values.dtype, "bool"):
        return xp.astype(values, xp.int32)
    if not (integral or _whole(values, xp)) or bool(xp.any(values < 0)):
        hint = ": of probabilities of yes give prediction > 0.5" if what == "prediction" else ""
        raise ValueError(f"{name}: {what} of one number a row must be classes 0, 1, ...{hint}")
    return values if integral else xp.astype(values, xp.int32)


def _check_yes_or_no(name: str, prediction: Array, target: Array, xp: Any) -> None:
    """Raise unless several yes-or-no outputs are zeros and ones: a score does not say where its yes begins."""
    for what, values in (("prediction", prediction), ("target", target)):
        if bool(xp.any((values != 0.0) & (values != 1.0))):
            raise ValueError(f"{name}: {what} must be zeros and ones: of probabilities give {what} > 0.5")


def _whole(values: Array, xp: Any) -> bool:
    return bool(xp.all(xp.isfinite(values) & (values == xp.floor(values))))


def _largest(index: Array, xp: Any) -> int:
    return int(xp.max(index))


def _beside(prediction: Array, values: Any, xp: Any) -> Array:
    return xp.asarray(values, device=getattr(prediction, "device", None))
