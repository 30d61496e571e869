"""Fitted estimators as ONNX models: scaling, network and what `predict` makes of its outputs, in one graph.

The scaling is that of a Pipeline, and for regression also the inverse of a TransformedTargetRegressor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from xpnn import files
from xpnn.backend import describe
from xpnn.compile.onnx import OPSET, Labels, content
from xpnn.sklearn.base import BaseMLP

Array = Any

Affine = tuple[tuple[str, Any], ...]
"""Operations in order, each by its name in the standard, and the numbers that it takes beside x."""

_SCALERS = {
    StandardScaler: lambda s: (("subtract", s.mean_ if s.with_mean else None), ("divide", s.scale_)),
    RobustScaler: lambda s: (
        ("subtract", s.center_ if s.with_centering else None),
        ("divide", s.scale_ if s.with_scaling else None),
    ),
    MaxAbsScaler: lambda s: (("divide", s.scale_), *_limits((-1.0, 1.0) if getattr(s, "clip", False) else None)),
    MinMaxScaler: lambda s: (
        ("multiply", s.scale_),
        ("add", s.min_),
        *_limits(s.feature_range if s.clip else None),
    ),
}
_INVERSE = {"subtract": "add", "add": "subtract", "multiply": "divide", "divide": "multiply"}


class Parts(NamedTuple):
    """What is written: scaling before the network, the estimator, scaling after it, and whether one output is (n,)."""

    before: Affine
    estimator: BaseMLP
    after: Affine = ()
    flat: bool = True


def export_onnx(model: Any, path: Any, *, opset: int = OPSET, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a fitted model's `predict` and `predict_proba` into one ONNX file, which runs without Python.

    The input "X" (batch, features) has the dtype of the network, which is float64 unless the model was fitted on
    float32 or asked for it: give `X.astype(...)`. The outputs are

    * of a classifier "label" (batch,), of the dtype of `classes_` (text for text), or of several answers a row
      (batch, outputs) of 0 and 1 in int64, and "probabilities" (batch, classes), where the loss gives some;
    * of a regressor "variable", (batch,) for one output as `predict` gives it, else (batch, outputs).

    Of an ensemble they are those of all members together.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor; a Pipeline that ends in one, after StandardScaler, MinMaxScaler, MaxAbsScaler
        or RobustScaler; a TransformedTargetRegressor of these; a search, such as MLPSearchCV, for the best of them.
    path : of the file; what is there is replaced.
    opset, metadata : as in `xpnn.Network.export_onnx`.

    Raises
    ------
    TypeError, naming it, for a step or a layer that cannot be written; NotFittedError before `fit`; ImportError without
    onnx.

    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from xpnn.sklearn import MLPClassifier
    >>> model = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=500, tol=1e-2, random_state=0))
    >>> model = model.fit(*load_iris(return_X_y=True))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(model, os.path.join(folder, "iris.onnx"))
    """
    parts = _parts(model)
    estimator, net = parts.estimator, parts.estimator.network_

    def before(x: Array, *, xp: Any) -> Array:
        return _applied(parts.before, x, xp)

    def after(y: Array, *, xp: Any) -> dict[str, Any]:
        if net.members is not None:
            y = xp.mean(estimator._comparable(y, xp=xp), axis=0)
        if hasattr(estimator, "classes_"):
            return _classes(estimator, y, xp)
        y = _applied(parts.after, estimator._loss_point(y), xp)
        return {"variable": xp.reshape(y, (-1,)) if parts.flat and y.shape[-1] == 1 else y}

    diverged = getattr(estimator, "diverged_", ())
    members = None if net.members is None else [k for k in range(net.members) if k not in diverged]
    files.replace(
        path,
        content(net, name="X", before=before, after=after, members=members, opset=opset, metadata=metadata),
    )


def _classes(estimator: Any, outputs: Array, xp: Any) -> dict[str, Any]:
    """The outputs of a classifier."""
    chosen = estimator._chosen(outputs, xp=xp)
    kinds = estimator.classes_.dtype.kind
    if kinds not in "biufUO" or (kinds == "O" and not all(isinstance(label, str) for label in estimator.classes_)):
        raise TypeError(f"labels must be numbers or text to be written as ONNX, got {list(estimator.classes_)!r}")
    found = {"label": chosen if estimator._kind == "multilabel" else Labels(chosen, estimator.classes_)}
    if hasattr(estimator, "predict_proba"):
        found["probabilities"] = estimator._as_probabilities(outputs, xp=xp)
    return found


def _parts(model: Any) -> Parts:
    """What `model` is made of; raises TypeError for what cannot be written."""
    if hasattr(model, "best_estimator_"):  # of a search
        return _parts(model.best_estimator_)
    if isinstance(model, BaseMLP):
        check_is_fitted(model)
        return Parts((), model)
    if isinstance(model, Pipeline):
        check_is_fitted(model)
        steps = [_affine(step, f"step {name!r}") for name, step in model.steps[:-1]]
        inner = _parts(model.steps[-1][1])
        return inner._replace(before=(*(one for step in steps for one in step), *inner.before))
    if isinstance(model, TransformedTargetRegressor):
        check_is_fitted(model)
        inner = _parts(model.regressor_)
        forward = _affine(model.transformer_, "transformer")
        if unknown := [name for name, _ in forward if name not in _INVERSE]:
            raise TypeError(f"transformer {model.transformer_} cannot be undone in ONNX: it takes the {unknown[0]}")
        back = tuple((_INVERSE[name], numbers) for name, numbers in reversed(forward))
        return inner._replace(after=(*inner.after, *back), flat=inner.flat and model._training_dim == 1)
    raise TypeError(
        "export_onnx takes an MLPClassifier or MLPRegressor of xpnn.sklearn, a Pipeline that ends in one, a "
        f"TransformedTargetRegressor of these or a fitted search, got {describe(model)}"
    )


def _affine(step: Any, name: str) -> Affine:
    if step is None or step == "passthrough":
        return ()
    if type(step) not in _SCALERS:
        known = ", ".join(kind.__name__ for kind in _SCALERS)
        raise TypeError(f"{name}, {step}, cannot be written as ONNX: it must be one of {known}")
    return tuple((function, numbers) for function, numbers in _SCALERS[type(step)](step) if numbers is not None)


def _limits(given: Any) -> Affine:
    return () if given is None else (("maximum", given[0]), ("minimum", given[1]))


def _applied(steps: Affine, x: Array, xp: Any) -> Array:
    for function, numbers in steps:
        x = getattr(xp, function)(x, xp.asarray(np.asarray(numbers, x.dtype), dtype=x.dtype))
    return x
