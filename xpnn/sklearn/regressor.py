"""The regressor: scikit-learn's MLPRegressor, and what it refuses."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions

from xpnn import losses
from xpnn.backend import to_host
from xpnn.metrics import r2
from xpnn.sklearn import tables
from xpnn.sklearn.base import BaseMLP, if_stochastic
from xpnn.sklearn.scales import HalfPoissonDeviance, Summed


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multilayer perceptron for numbers.

    All of scikit-learn's parameters, with their names, defaults and meanings, and those under "beyond".

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter,
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping,
    validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun : as in scikit-learn. `activation` may also
        be a list with one for each hidden layer, or any name of `xpnn.activations`; `solver` any name or object of
        `xpnn.optimizers`; `learning_rate` a schedule of `xpnn.schedules`, or
        "cosine_decay", "polynomial_decay" or "one_cycle" over `max_iter` epochs from (or up to) learning_rate_init.
    loss : "squared_error", "poisson", or any loss of `xpnn.losses` by name or as a function.
    backend : where to train: None follows X, else as in `xpnn.Network`.
    dtype : "float32" or "float64"; None follows X.
    dropout : rate of a Dropout after each hidden layer.
    norm : "batch" or "layer" puts that normalization before each hidden activation.
    weight_decay : decoupled weight decay.
    clip_norm, clip_value : bounds of the gradient's norm, and of each of its elements.
    scoring : any scorer of scikit-learn, for early stopping.
    callbacks : `xpnn.callbacks`.
    time_limit : seconds after which training stops at the end of an epoch.

    Attributes
    ----------
    network_ : the fitted `xpnn.Network`.
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, n_iter_, t_,
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_ : as in scikit-learn.
    validation_loss_curve_ : loss of the validation rows after each epoch.

    >>> import numpy as np
    >>> X = np.linspace(-1.0, 1.0, 50)[:, None]
    >>> model = MLPRegressor((16,), solver="lbfgs", random_state=0, max_iter=500).fit(X, X[:, 0] ** 2)
    >>> bool(abs(model.predict([[0.5]]) - 0.25) < 0.05)
    True
    """

    _parameter_constraints = BaseMLP._parameter_constraints | {
        "loss": [StrOptions({"squared_error", "poisson", *losses._NAMES}), callable]
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
        loss: Any = "squared_error",
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
    ):
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        vars(self).update(given)

    @if_stochastic
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """One epoch more over (X, y), going on exactly where the last one stopped."""
        return self._fit(X, y, sample_weight, (None, None, None), incremental=True)

    def predict(self, X) -> Any:
        """The predicted numbers, (n,) or (n, outputs), in the library of X and on its device."""
        found = self._loss_point(self._outputs(X))
        return found[:, 0] if found.shape[1] == 1 else found

    def _loss_point(self, outputs):
        loss = self._loss()
        if not hasattr(loss, "target_width") or loss.target_width(outputs.shape[-1]) == outputs.shape[-1]:
            return outputs
        return loss.point(outputs, xp=None)

    def score(self, X, y, sample_weight=None) -> float:
        """The coefficient of determination R2; for arrays that are not NumPy's, computed where they are."""
        if not tables.is_foreign(X):
            return super().score(X, y, sample_weight)

        found = self.predict(X)
        xp = tables.backend_for(X, self.network_.backend.dtype)
        shape = (found.shape[0], -1)
        weight = None if sample_weight is None else xp.asarray(sample_weight)
        return float(r2(xp.xp.reshape(found, shape), xp.xp.reshape(xp.asarray(y), shape), xp=xp.xp, weight=weight))

    def _read(self, X, y, *, reset):
        tables.require(self, y)
        X, y = tables.rows(self, X, reset=reset, y=y, multi_output=True, y_numeric=True)
        if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1 and not tables.is_foreign(y):
            y = column_or_1d(y, warn=True)
        return X, y

    def _targets(self, y, first, incremental):
        y = y if tables.is_foreign(y) else to_host(y, "y")
        if y.ndim == 1:
            y = y[:, None]
        if self.loss == "poisson" and float(array_namespace(y).min(y)) < 0.0:
            raise ValueError("Some value(s) of y are out of the valid range of the loss 'poisson'.")
        if not first and self._width(y) != self.n_outputs_:
            raise ValueError(f"y has {y.shape[1]} outputs, but the model was fitted on {self.n_outputs_}")
        return y

    def _width(self, labels) -> int:
        loss = self._loss()
        width = getattr(loss, "target_width", lambda outputs: outputs)
        wanted = labels.shape[1]
        for outputs in range(wanted, 100 * wanted + 1):  # as many outputs as the loss needs for so many targets
            try:
                if width(outputs) == wanted:
                    return outputs
            except ValueError:
                continue
        raise ValueError(f"loss {self.loss!r} takes no {wanted} targets")

    def _weighted(self, labels, weight, incremental):
        return weight

    def _strata(self, labels):
        return (None, True)

    def _metrics(self):
        return [] if self.scoring is not None else [r2]

    def _loss(self):
        if self.loss == "squared_error":
            return Summed(losses.mean_squared_error, 0.5)
        return Summed(HalfPoissonDeviance()) if self.loss == "poisson" else losses.get(self.loss)

    def _ending(self):
        self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        return "exponential" if self.loss == "poisson" else "identity"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
