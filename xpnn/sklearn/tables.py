"""Tables as users of scikit-learn have them: arrays of any library, data frames, sparse matrices, checked and read.

Lists, NumPy arrays, data frames and sparse matrices go through scikit-learn's own validation, with its words; arrays
of other libraries stay where they are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse
from array_api_compat import array_namespace, is_array_api_obj
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    validate_data,
)

from xpnn.backend import Backend, backend_of, resolve, to_host
from xpnn.batches import split as draw

__all__ = ["backend_for", "dense", "is_foreign", "on_host", "readable", "require", "rows", "split", "take", "weights"]

Array = Any


def is_foreign(values: Any) -> bool:
    """Whether `values` is an array of a library other than NumPy."""
    return is_array_api_obj(values) and not isinstance(values, np.ndarray | np.generic)


def rows(estimator: Any, X: Any, *, reset: bool, y: Any = None, **options: Any) -> Any:
    """X checked (and y, where given): two-dimensional, real, finite, and as wide as when the estimator was fitted."""
    if not is_foreign(X):
        given = {"accept_sparse": ["csr", "csc"], "dtype": (np.float64, np.float32), "reset": reset}
        return validate_data(estimator, X, **given) if y is None else validate_data(estimator, X, y, **given, **options)
    xp, name = array_namespace(X), type(estimator).__name__
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead: shape {tuple(X.shape)}. Reshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a single "
            "sample."
        )
    if 0 in X.shape:
        what = "sample" if X.shape[0] == 0 else "feature"
        raise ValueError(
            f"Found array with 0 {what}(s) (shape={tuple(X.shape)}) while a minimum of 1 is required by {name}."
        )
    if xp.isdtype(X.dtype, "complex floating"):
        raise ValueError(f"Complex data not supported\n{X}\n")
    if not xp.isdtype(X.dtype, "real floating"):
        X = xp.astype(X, xp.float32)
    if not bool(xp.all(xp.isfinite(X))):
        raise ValueError(f"Input X contains NaN or infinity.\n{name} does not accept missing values encoded as NaN.")
    _check_feature_names(estimator, X, reset=reset)
    _check_n_features(estimator, X, reset=reset)
    if y is None:
        return X
    y = y if is_foreign(y) else _check_y(y, estimator=estimator, **options)
    check_consistent_length(X, y)
    return X, y


def require(estimator: Any, y: Any) -> None:
    """Raise where there is no y, in scikit-learn's words."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )


def weights(sample_weight: Any, X: Any) -> Any:
    """(n,) weights, or None."""
    if sample_weight is None:
        return None
    if is_foreign(sample_weight):
        if tuple(sample_weight.shape) != (X.shape[0],):
            raise ValueError(f"sample_weight.shape == {tuple(sample_weight.shape)}, expected {(X.shape[0],)}!")
        return sample_weight
    like = X if not is_foreign(X) else np.empty((X.shape[0], 1))
    return _check_sample_weight(sample_weight, like, ensure_non_negative=True)


def backend_for(X: Any, dtype: str) -> Backend:
    """Where X lives."""
    return backend_of(X, dtype) if is_foreign(X) else resolve("numpy", dtype)


def split(
    count: int, fraction: float, seed: int, strata: np.ndarray | None = None, strict: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to train on and to validate on; by class, where `strict` is scikit-learn's refusal of rare ones."""
    if strict or not fraction:  # which it refuses too
        options = {"test_size": fraction, "random_state": seed % (1 << 32), "stratify": strata}
        chosen, kept = train_test_split(np.arange(count), **options)
        return np.asarray(chosen), np.asarray(kept)
    train, held = draw(count, math.ceil(count * fraction) / count, [seed], strata)  # rounded up as there
    return train[0], held[0]


def take(values: Any, index: np.ndarray) -> Any:
    """The chosen rows, where the values live."""
    if not is_foreign(values):  # of the sparse formats not all can be indexed
        return _safe_indexing(values.tocsr() if scipy.sparse.issparse(values) else values, index)
    xp = array_namespace(values)
    return xp.take(values, xp.asarray(index, device=getattr(values, "device", None)), axis=0)


def on_host(values: Any) -> Any:
    """NumPy arrays of other libraries' arrays; anything else as it is."""
    return to_host(values, "y") if is_foreign(values) else values


def dense(X: Any) -> Any:
    """X without sparseness."""
    return X.toarray() if scipy.sparse.issparse(X) else X


def readable(X: Any) -> Any:
    """X as `Network` takes it: a sparse matrix is made dense a block of rows at a time."""
    return SparseRows(X) if scipy.sparse.issparse(X) else X


class SparseRows:
    """A sparse matrix that is read by slices of rows, as dense ones."""

    def __init__(self, matrix: Any):
        self.matrix, self.shape, self.dtype = matrix.tocsr(), matrix.shape, matrix.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> np.ndarray:
        return self.matrix[chosen].toarray()
