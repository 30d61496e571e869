"""What both estimators are: scikit-learn's parameters and attributes round a Network, which does the work."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from xpnn import activations, inputs, layers, losses, optimizers, schedules
from xpnn.architecture import mlp
from xpnn.backend import Backend, resolve
from xpnn.callbacks import Callback
from xpnn.evaluation import ROWS
from xpnn.network import Network
from xpnn.sklearn import tables
from xpnn.sklearn.lbfgs import minimize
from xpnn.sklearn.scales import EpsHatAdam, GlorotOfFans, StepSGD
from xpnn.training import NonFiniteLoss

Array = Any

SOLVERS = ("sgd", "adam", "lbfgs")
_SCHEDULES = ("cosine_decay", "polynomial_decay", "one_cycle")  # whose horizon is that of max_iter epochs
_OPEN, _FROM_ZERO = Interval(Real, 0, None, closed="neither"), Interval(Real, 0, None, closed="left")
_SHARE = Interval(Real, 0, 1, closed="left")
_COUNT = Interval(Integral, 1, None, closed="left")


def _stochastic(estimator: Any) -> bool:
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
    return True


class BaseMLP(BaseEstimator):
    """The part that classification and regression share. Subclasses say what targets, loss and outputs are."""

    if TYPE_CHECKING:  # parameters are set by name, attributes by fitting

        def __getattr__(self, name: str) -> Any: ...

        network_: Any
        best_loss_: Any
        best_validation_score_: Any
        validation_scores_: Any
        validation_loss_curve_: Any

    _parameter_constraints: dict = {  # noqa: RUF012
        "hidden_layer_sizes": ["array-like", _COUNT],
        "activation": [StrOptions(set(activations._NAMES)), "array-like", layers.Layer, type],
        "solver": [StrOptions({*SOLVERS, *optimizers._NAMES}), optimizers.Optimizer],
        "alpha": [_FROM_ZERO],
        "batch_size": [StrOptions({"auto"}), _COUNT],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", *_SCHEDULES}), callable],
        "learning_rate_init": [_OPEN],
        "power_t": [_FROM_ZERO],
        "max_iter": [_COUNT],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [_FROM_ZERO],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [_SHARE],
        "beta_1": [_SHARE],
        "beta_2": [_SHARE],
        "epsilon": [_OPEN],
        "n_iter_no_change": [_COUNT, Options(Real, {np.inf})],
        "max_fun": [_COUNT],
        "backend": [None, str, Backend, type(np)],
        "dtype": [None, StrOptions({"float32", "float64"}), type],
        "dropout": [_SHARE],
        "norm": [None, StrOptions({"batch", "layer"})],
        "weight_decay": [_FROM_ZERO],
        "clip_norm": [None, _OPEN],
        "clip_value": [None, _OPEN],
        "scoring": [None, str, callable],
        "callbacks": [None, "array-like", tuple, list],
        "time_limit": [None, _OPEN],
    }

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Train on (X, y), afresh unless `warm_start`.

        Parameters
        ----------
        X : (n, features), an array of any library, a data frame or a sparse matrix.
        y : (n,) labels or numbers, or (n, outputs).
        sample_weight : (n,) weight of each row.
        X_val, y_val, sample_weight_val : rows to validate on after each epoch, in the place of a split.

        Raises
        ------
        ValueError, with scikit-learn's words, for parameters and data that cannot be used.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=False)

    def _fit(self, X, y, sample_weight, held, incremental: bool):
        self._validate_params()
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if (held[0] is None) != (held[1] is None):
            raise ValueError("X_val and y_val must be given together")
        if self.solver == "lbfgs" and (self.dropout or self.norm == "batch"):
            raise ValueError("solver='lbfgs' sees all rows at once: it goes with neither dropout nor norm='batch'")
        sizes = self._sizes()
        first = not hasattr(self, "network_") or not (self.warm_start or incremental)
        given = X
        X, y = self._read(X, y, reset=first)
        labels = self._targets(y, first, incremental)
        weight = tables.weights(sample_weight, X)
        if first:
            self._begin(X, labels, sizes)
        weight = self._weighted(labels, weight, incremental)
        if held[0] is not None:
            other = self._read(held[0], held[1], reset=False)
            labelled = (held[0], held[1])
            held = (other[0], self._targets(other[1], False, True), tables.weights(held[2], other[0]), *labelled)
        elif self.early_stopping and self.solver != "lbfgs":
            X, labels, weight, held = self._split(X, (given, y), labels, weight)
        else:
            held = None
        net, loss = self.network_, self._objective()
        try:
            if self.solver == "lbfgs":
                self.loss_, self.n_iter_ = minimize(
                    net, tables.dense(X), labels, loss, weight, self.max_iter, self.max_fun, self.tol, self.verbose
                )
            else:
                self._descend(X, labels, weight, held, loss, incremental)
        except NonFiniteLoss as error:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                f"preprocessed. ({error})"
            ) from error
        return self

    def _sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
        if np.any(np.asarray(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(size) for size in sizes]

    def _begin(self, X, labels, sizes: list[int]) -> None:
        """A new network, and attributes that begin with it."""
        dtype = self.dtype or ("float32" if str(X.dtype).endswith("float32") else "float64")
        where = tables.backend_for(X, dtype) if self.backend is None else resolve(self.backend, dtype)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        start = GlorotOfFans(2.0 if self.activation == "logistic" else 6.0)
        widths = [X.shape[1], *sizes, self._width(labels)]
        chain = mlp(
            widths,
            self.activation,
            self._ending(),
            dropout=self.dropout,
            norm=self.norm,
            weight_init=start,
            bias_init=start,
        )
        self.network_ = Network(chain, where, dtype, seed)
        self.n_outputs_, self.n_layers_, self.n_iter_, self.t_ = widths[-1], len(widths), 0, 0
        if self.solver == "lbfgs":
            return
        self.loss_curve_, self.best_loss_, self._no_improvement_count = [], np.inf, 0
        self.validation_scores_ = self.validation_loss_curve_ = self.best_validation_score_ = None
        if self.early_stopping:
            self.best_loss_, self.validation_scores_, self.best_validation_score_ = None, [], -np.inf

    def _objective(self) -> Any:
        """The loss, with scikit-learn's penalty."""
        loss = self._loss()
        return losses.Penalized(loss, l2=float(self.alpha), per_row=True) if self.alpha else loss

    def _optimizer(self, steps: int) -> optimizers.Optimizer:
        """The optimizer; `steps` updates are those of `max_iter` epochs."""
        options: dict[str, Any] = {"weight_decay": self.weight_decay} if self.weight_decay else {}
        options |= {name: getattr(self, name) for name in ("clip_norm", "clip_value") if getattr(self, name)}
        rate = self.learning_rate if callable(self.learning_rate) else float(self.learning_rate_init)
        if self.learning_rate in _SCHEDULES:
            start = "peak" if self.learning_rate == "one_cycle" else "initial"
            rate = schedules.get(self.learning_rate, steps=steps, **{start: rate})
        if isinstance(self.solver, optimizers.Optimizer):
            return replace(self.solver, **options)
        if self.solver == "sgd":
            nesterov = self.nesterovs_momentum and self.momentum > 0
            return StepSGD(rate, momentum=float(self.momentum), nesterov=nesterov, **options)
        if self.solver == "adam":
            betas = {"beta1": float(self.beta_1), "beta2": float(self.beta_2), "eps": float(self.epsilon)}
            return EpsHatAdam(rate, **betas, **options)
        return optimizers.get(self.solver, learning_rate=rate, **options)

    def _descend(self, X, labels, weight, held, loss, incremental: bool) -> None:
        """Epochs of updates, with scikit-learn's rules of when to stop."""
        net, rows = self.network_, X.shape[0]
        batch = min(200, rows) if self.batch_size == "auto" else self.batch_size
        if batch > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=3
            )
        batch = int(min(batch, rows))
        watcher = Epochs(self, rows, held, loss, incremental)
        self.n_iter_ = 0
        try:
            net.fit(
                tables.readable(X),
                labels,
                loss,
                self._optimizer(self.max_iter * math.ceil(rows / batch)),
                epochs=1 if incremental else self.max_iter,
                batch_size=batch,
                sample_weight=weight,
                callbacks=[watcher, *(self.callbacks or ())],
                shuffle=bool(self.shuffle),
            )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=3)
        except NonFiniteLoss as error:
            if watcher.best is None:
                raise
            self.validation_scores_.append(math.nan)
            warnings.warn(f"Stopped early: {error}", ConvergenceWarning, stacklevel=3)
        else:
            if not incremental and not watcher.stopped and self.n_iter_ == self.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                    "converged yet.",
                    ConvergenceWarning,
                    stacklevel=3,
                )
        finally:
            if watcher.best is not None:  # restore the best weights
                net.progress = net.progress._replace(carry=watcher.best)

    def _split(self, X, given, labels, weight):
        """Rows to train on, and rows to validate on, followed by these as the caller gave them, for a scorer."""
        train, val = tables.split(X.shape[0], self.validation_fraction, self.network_.seed, *self._strata(labels))
        if len(val) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        parts = [[None if a is None else tables.take(a, rows) for a in (X, labels, weight)] for rows in (train, val)]
        return *parts[0], (*parts[1], *(tables.take(values, val) for values in given))

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrix of each fully connected layer."""
        return self._dense("weight")

    @property
    def intercepts_(self) -> list[Array]:
        """The bias of each fully connected layer; one before a batch norm, which has none, is left out."""
        return self._dense("bias")

    @property
    def _first_weight(self) -> Array:
        return self.coefs_[0]

    def _dense(self, name: str) -> list[Array]:
        if not hasattr(self, "network_"):
            raise AttributeError(f"{type(self).__name__} has no weights before it is fitted")
        pairs = zip(self.network_.layers, self.network_.params, strict=True)
        return [params[name] for layer, params in pairs if isinstance(layer, layers.Dense) and name in params]

    def _outputs(self, X, method: str = "predict") -> Array:
        """What the network gives for X, in the library of X and on its device."""
        check_is_fitted(self)
        if self.backend is None and sklearn.get_config()["array_api_dispatch"]:  # refuses another library's, as there
            check_same_namespace(X, self, attribute="_first_weight", method=method)
        X = tables.rows(self, X, reset=False)
        found = self.network_.predict(tables.readable(X), batch_size=ROWS)
        back = tables.backend_for(X, self.network_.backend.dtype)
        return found if back.owns(found) else back.asarray(found)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


class Epochs(Callback):
    """After each epoch: the attributes that people read, the score of the validation rows, and whether to go on."""

    def __init__(self, estimator: BaseMLP, rows: int, held: Any, loss: Any, incremental: bool):
        self.estimator, self.rows, self.loss, self.incremental = estimator, rows, loss, incremental
        self.best: Any = None
        self.stopped, self.began, self.held = False, time.monotonic(), held
        if held is not None:
            net = estimator.network_
            self.data = inputs.data(
                tables.dense(held[0]), held[1], held[2], loss, net.shapes, net.backend, of="validation "
            )
            for name in ("validation_scores_", "validation_loss_curve_"):
                if getattr(estimator, name) is None:
                    setattr(estimator, name, [])

    def on_fit_begin(self, net, epochs):
        self._rate(net)

    def on_epoch_end(self, net, epoch, logs):
        me = self.estimator
        me.n_iter_, me.loss_, me.t_ = me.n_iter_ + 1, float(logs["loss"]), me.t_ + self.rows
        me.loss_curve_.append(me.loss_)
        if me.verbose:
            print(f"Iteration {me.n_iter_}, loss = {me.loss_:.8f}")
        if self.held is not None:
            self._validate(net)
        if me.early_stopping:
            self._improved(net, me.validation_scores_[-1])
        else:
            best = np.inf if me.best_loss_ is None else me.best_loss_  # None after a fit with early stopping
            me._no_improvement_count = me._no_improvement_count + 1 if me.loss_ > best - me.tol else 0
            me.best_loss_ = min(best, me.loss_)
        self._rate(net)
        self.stopped = self._given_up(net) or self._late()
        return self.stopped

    def _validate(self, net: Network) -> None:
        me = self.estimator
        found = net.measured(self.data, self.loss, me._metrics(), ROWS)
        me.validation_loss_curve_.append(float(found.pop("loss")))
        if me.scoring is not None or not found:
            scorer: Any = check_scoring(me, scoring=me.scoring)
            weight = {} if self.held[2] is None else {"sample_weight": self.held[2]}
            score = float(scorer(me, self.held[3], self.held[4], **weight))
        else:
            score = float(next(iter(found.values())))
        me.validation_scores_.append(score)
        if me.verbose:
            print(f"Validation score: {score:f}")

    def _improved(self, net: Network, score: float) -> None:
        me = self.estimator
        best = -np.inf if me.best_validation_score_ is None else me.best_validation_score_
        me._no_improvement_count = me._no_improvement_count + 1 if score < best + me.tol else 0
        if score > best or self.best is None:
            me.best_validation_score_, self.best = max(score, best), net.progress.carry

    def _rate(self, net: Network) -> None:
        me = self.estimator
        if me.solver == "sgd" and me.learning_rate == "invscaling":
            net.learning_rate = me.learning_rate_init / (me.t_ + 1) ** me.power_t if me.t_ else me.learning_rate_init

    def _given_up(self, net: Network) -> bool:
        """Whether nothing has improved for too long; an adaptive learning rate is lowered first."""
        me = self.estimator
        if me._no_improvement_count <= me.n_iter_no_change:
            return False
        what = "Validation score" if me.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={me.tol:f} for {me.n_iter_no_change} consecutive epochs."
        if me.solver != "sgd" or me.learning_rate != "adaptive":
            stop, then = True, "Stopping."
        elif net.learning_rate <= 1e-6:
            stop, then = True, "Learning rate too small. Stopping."
        else:
            me._no_improvement_count, stop = 0, False
            net.learning_rate = net.learning_rate / 5.0
            then = f"Setting learning rate to {net.learning_rate:f}"
        if me.verbose:
            print(message, then)
        return stop

    def _late(self) -> bool:
        limit = self.estimator.time_limit
        return limit is not None and time.monotonic() - self.began >= limit


if_stochastic = available_if(_stochastic)
