"""The classifier: scikit-learn's MLPClassifier, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from xpnn import losses
from xpnn.metrics import accuracy
from xpnn.sklearn import tables
from xpnn.sklearn.base import BaseMLP, if_stochastic
from xpnn.sklearn.ensemble import spread
from xpnn.sklearn.scales import Summed


def _has_probabilities(estimator: Any) -> bool:
    loss = estimator._loss()
    if getattr(loss, "link", None) is None and estimator.loss != "log_loss":
        raise AttributeError(f"loss={estimator.loss!r} gives scores and no probabilities")
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multilayer perceptron for classes: two, several, or several yes-or-no answers a row.

    All of scikit-learn's parameters, with their names, defaults and meanings, those that `MLPRegressor` lists (without
    `calibration_fraction`), and:

    Parameters
    ----------
    loss : "log_loss", or a loss of `xpnn.losses` by name or as a function, such as "focal" or "hinge".
        Of three classes or more, one that has no class indices as targets tells each class from all others.
    class_weight : {label: weight} or "balanced", multiplied into sample_weight, also that of the rows to validate on;
        of several answers a row a list with one {0: weight, 1: weight} each, or "balanced".

    Attributes
    ----------
    classes_ : the labels, in order.
    network_ : the fitted `xpnn.Network`; and all of scikit-learn's attributes.
    diverged_ : of an ensemble the numbers of the members that are left out.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16,), solver="lbfgs", alpha=0.1, random_state=0, max_iter=500).fit(X, y)
    >>> model.score(X, y) > 0.95, model.predict_proba(X[:1]).shape
    (True, (1, 3))

    Of sixteen networks that are trained at once the probabilities are averaged:

    >>> model = MLPClassifier((16,), ensemble=16, learning_rate_init=0.02, tol=1e-2, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, model.coefs_[0].shape
    (True, (16, 4, 16))
    """

    _parameter_constraints = BaseMLP._parameter_constraints | {
        "loss": [StrOptions({"log_loss", *losses._NAMES}), callable],
        "class_weight": [None, StrOptions({"balanced"}), dict, list],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha=0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state: Any = None,
        tol=1e-4,
        verbose: Any = False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change: Any = 10,
        max_fun=15000,
        loss: Any = "log_loss",
        class_weight: Any = None,
        backend: Any = None,
        dtype: Any = None,
        dropout=0.0,
        norm: Any = None,
        weight_decay=0.0,
        clip_norm: Any = None,
        clip_value: Any = None,
        scoring: Any = None,
        callbacks: Any = None,
        time_limit: Any = None,
        ensemble: Any = None,
        bootstrap=False,
    ):
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        vars(self).update(given)

    @if_stochastic
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """One epoch more over (X, y), going on exactly where the last stopped; the first call names all `classes`."""
        if _check_partial_fit_first_call(self, classes) and type_of_target(tables.on_host(y)).startswith("multilabel"):
            self.classes_ = unique_labels(tables.on_host(y))
        return self._fit(X, y, sample_weight, (None, None, None), incremental=True)

    def predict(self, X) -> Any:
        """The predicted labels, (n,) or (n, outputs) of 0 and 1, sparse if y was.

        Numbers are in the library of X, other labels NumPy's.
        """
        outputs = self._outputs(X)
        xp = tables.backend_for(X, self.network_.backend.dtype).xp
        index = self._chosen(outputs, xp=xp)
        if self._kind == "multilabel":
            return scipy.sparse.csr_matrix(index) if self._sparse and not tables.is_foreign(X) else index
        if not tables.is_foreign(X):
            return self.classes_[index]
        if self.classes_.dtype.kind not in "iufb":
            return self.classes_[tables.backend_for(X, "float32").to_host(index)]
        labels = xp.asarray(self.classes_, device=getattr(X, "device", None))
        return xp.take(labels, index, axis=0)

    def _chosen(self, outputs, *, xp) -> Any:
        """The index in `classes_` that each row's outputs choose, (n,); of several answers 0 or 1 for each."""
        if self._kind == "multilabel":
            return xp.astype(outputs > self._threshold(), xp.int64)
        if self._kind == "binary":
            return xp.astype(outputs[:, 0] > self._threshold(), xp.int64) * (len(self.classes_) - 1)
        return xp.argmax(outputs, axis=-1)

    @available_if(_has_probabilities)
    def predict_proba(self, X, return_std=False) -> Any:
        """The probability of each class, (n, classes), in the order of `classes_`; of an ensemble the mean.

        With `return_std` a pair: those, and the standard deviation between the members of the ensemble.

        Raises
        ------
        ValueError for `return_std` without an ensemble.
        """
        found = self._probabilities(X, "predict_proba")
        if not return_std:
            return found
        net = self.network_
        if net.members is None:
            raise ValueError("return_std=True is the spread between the members of an ensemble: give ensemble=16, say")
        with net.backend.current():
            std = self._beside(X, spread(self._each(X, "predict_proba"), xp=net.backend.xp))
        xp = tables.backend_for(X, net.backend.dtype).xp
        return found, xp.concat([std, std], axis=-1) if self._kind == "binary" else std

    def _probabilities(self, X, method: str) -> Any:
        outputs = self._outputs(X, method)
        return self._as_probabilities(outputs, xp=tables.backend_for(X, self.network_.backend.dtype).xp)

    def _as_probabilities(self, outputs, *, xp) -> Any:
        """The probability of each class, (n, classes), by the network's outputs."""
        if self._kind == "binary":
            return xp.concat([1.0 - outputs, outputs], axis=-1)
        return self._comparable(outputs, xp=xp)

    def _comparable(self, outputs, *, xp) -> Any:
        if self._kind != "multiclass" or self.out_activation_ != "logistic":
            return outputs
        total = xp.sum(outputs, axis=-1, keepdims=True)  # each class against all others
        even = xp.full_like(outputs, 1.0 / outputs.shape[-1])
        return xp.where(total > 0.0, outputs / xp.where(total > 0.0, total, xp.ones_like(total)), even)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X) -> Any:
        """The logarithm of `predict_proba`."""
        found = self._probabilities(X, "predict_log_proba")
        with np.errstate(divide="ignore"):
            return tables.backend_for(X, self.network_.backend.dtype).xp.log(found)

    def score(self, X, y, sample_weight=None) -> float:
        """The accuracy; of several answers a row, the share of rows where all are right."""
        if tables.is_foreign(X):
            found = self.predict(X)
            X, y = None, tables.on_host(y)
            from sklearn.metrics import accuracy_score

            return accuracy_score(
                y, tables.on_host(found), sample_weight=None if sample_weight is None else tables.on_host(sample_weight)
            )
        return super().score(X, y, sample_weight)

    def _read(self, X, y, *, reset):
        tables.require(self, y)
        X, y = tables.rows(self, X, reset=reset, y=tables.on_host(y), multi_output=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError("Multioutput target data is not supported with label binarization")
        if kind not in ("binary", "multiclass"):  # of which it would warn that they are many
            check_classification_targets(y)
        return X, y

    def _targets(self, y, first, incremental):
        """Class indices (n,), or (n, outputs) of 0.0 and 1.0 for one or several yes-or-no answers."""
        multilabel, classes = type_of_target(y).startswith("multilabel"), unique_labels(y)
        if not first and multilabel != (self._kind == "multilabel"):
            raise ValueError(f"The object was {'not ' if multilabel else ''}fitted with multilabel input.")
        if not hasattr(self, "classes_") or (first and not incremental):
            self.classes_ = classes
        elif self.warm_start and not incremental and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        if first:
            two = len(self.classes_) <= 2 and (self.loss == "log_loss" or not self._by_index())
            self._kind = "multilabel" if multilabel else "binary" if two else "multiclass"
            self._sparse = scipy.sparse.issparse(y)
        if multilabel:
            return tables.dense(y).astype(np.float64)
        index = np.searchsorted(self.classes_, y)
        if self._kind == "binary":
            return index[:, None].astype(np.float64)
        return index if self._by_index() else np.eye(len(self.classes_))[index]

    def _by_index(self) -> bool:
        """Whether the loss takes class indices; any other takes a number for each output."""
        return getattr(self._loss(), "targets", None) == "classes"

    def _index(self, labels) -> Any:
        """The class indices (n,) of the targets of one answer a row."""
        return np.argmax(labels, axis=-1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.astype(int).ravel()

    def _width(self, labels) -> int:
        return len(self.classes_) if self._kind == "multiclass" else labels.shape[1]

    def _weighted(self, labels, weight, incremental):
        if self.class_weight is None:
            return weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit: give the weights of the classes as a dict"
            )
        if self._kind == "multilabel":
            factors = compute_sample_weight(self.class_weight, labels)
        else:
            index = self._index(labels)
            if self.class_weight == "balanced":
                factors = compute_sample_weight("balanced", index)
            else:  # checked against all classes, of which these rows need not have each
                factors = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)[index]
        return factors if weight is None else factors * tables.on_host(weight)

    def _strata(self, labels):
        """The class of each row, by which a validation split is drawn; of several answers their combination."""
        if self._kind == "multilabel":
            return np.unique(labels, axis=0, return_inverse=True)[1].ravel(), False
        if self._kind == "binary":  # refused where one is rare, by its name of True or False as there
            return labels.astype(bool), True
        return self._index(labels), False

    def _metrics(self):
        apart = self._kind == "multiclass" and not self._by_index()  # where the metric asks whether all are right
        return [] if self.scoring is not None or apart else [accuracy]

    def _threshold(self) -> float:
        found = getattr(self._loss(), "threshold", None)
        return 0.5 if found is None else found

    def _loss(self):
        if self.loss != "log_loss":
            return losses.get(self.loss)
        if getattr(self, "_kind", None) == "multiclass":
            return losses.softmax_cross_entropy
        return Summed(losses.binary_cross_entropy)

    def _ending(self):
        link = getattr(self._loss(), "link", None)
        self.out_activation_ = {"Sigmoid": "logistic", "Softmax": "softmax"}.get(type(link).__name__, "identity")
        return link or "identity"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
