"""What both estimators are: scikit-learn's parameters and attributes round a Network, which does the work."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._array_api import check_same_namespace
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from xpnn import activations, layers, losses, optimizers, schedules
from xpnn.architecture import mlp
from xpnn.backend import Backend, resolve
from xpnn.evaluation import ROWS
from xpnn.network import Network
from xpnn.sklearn import ensemble, tables
from xpnn.sklearn.coefficients import Coefficients
from xpnn.sklearn.epochs import Epochs
from xpnn.sklearn.lbfgs import minimize
from xpnn.sklearn.scales import EpsHatAdam, GlorotOfFans, StepSGD
from xpnn.training import NonFiniteLoss

Array = Any

SOLVERS = ("sgd", "adam", "lbfgs")
_STRUCTURE = ("hidden_layer_sizes", "activation", "dropout", "norm", "backend", "dtype", "ensemble")
_SCHEDULES = ("cosine_decay", "polynomial_decay", "one_cycle")  # whose horizon is that of max_iter epochs
_OPEN, _FROM_ZERO = Interval(Real, 0, None, closed="neither"), Interval(Real, 0, None, closed="left")
_SHARE = Interval(Real, 0, 1, closed="left")
_COUNT = Interval(Integral, 1, None, closed="left")


def _stochastic(estimator: Any) -> bool:
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
    return True


class BaseMLP(Coefficients, BaseEstimator):
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
        "dtype": [None, StrOptions({"float32", "float64"}), type, np.dtype],
        "dropout": [_SHARE],
        "norm": [None, StrOptions({"batch", "layer"})],
        "weight_decay": [_FROM_ZERO],
        "clip_norm": [None, _OPEN],
        "clip_value": [None, _OPEN],
        "scoring": [None, str, callable],
        "callbacks": [None, "array-like", tuple, list],
        "time_limit": [None, _OPEN],
        "ensemble": [None, _COUNT],
        "bootstrap": ["boolean"],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None, resume=None):
        """Train on (X, y), afresh unless `warm_start`.

        Parameters
        ----------
        X : (n, features), an array of any library, a data frame or a sparse matrix.
        y : (n,) labels or numbers, or (n, outputs).
        sample_weight : (n,) weight of each row.
        X_val, y_val, sample_weight_val : rows to validate on after each epoch, in the place of a split.
        resume : a folder in which a `ModelCheckpoint` among the `callbacks` has written, to go on from there with the
            same data and parameters (`random_state` a number); as in `Network.fit`.

        Raises
        ------
        ValueError, with scikit-learn's words, for parameters and data that cannot be used.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=False, resume=resume)

    def _fit(self, X, y, sample_weight, held, incremental: bool, resume: Any = None):
        if resume is not None and self.solver == "lbfgs":
            raise ValueError("solver='lbfgs' takes no epochs that could be resumed: leave `resume` out, or take 'adam'")
        given, (X, y, labels, weight) = X, self._prepare(X, y, sample_weight, held, incremental)
        given, X, y, labels, weight, aside = self._reserved(given, X, y, labels, weight)
        if held[0] is not None:
            held = self._own(*held)
        elif self.early_stopping and self.solver != "lbfgs":
            X, labels, weight, held = self._split(X, (given, y), labels, weight)
        else:
            held = None
        loss = self._objective()
        try:
            if self.solver == "lbfgs":
                self.loss_, self.n_iter_ = minimize(self, tables.dense(X), labels, loss, weight)
            else:
                self._descend(X, labels, weight, held, loss, incremental, resume)
        except NonFiniteLoss as error:
            raise self._exploded(error) from error
        self._calibrate(aside)
        return self

    def _reserved(self, *rows):
        """The rows to train on, and last those set aside to calibrate by once the network is trained, or None."""
        return *rows, None

    def _calibrate(self, aside) -> None:
        """Learn from rows set aside how far predictions are off."""

    def _prepare(self, X, y, sample_weight, held, incremental: bool, read: Any = None):
        """X and y as they are read, targets and weights as the network takes them; the network, begun where it must be.

        `read` are X and y as another estimator has read them in the same way.
        """
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if (held[0] is None) != (held[1] is None) or (held[0] is None and held[2] is not None):
            raise ValueError("X_val and y_val must be given together, and sample_weight_val only with them")
        ensemble.check(self)
        if self.solver == "lbfgs":
            self._check_whole(held)
        sizes = self._sizes()
        first = not hasattr(self, "network_") or not (self.warm_start or incremental)
        structure = self._structure(sizes)
        if not first:
            self._check_structure(structure)
        X, y = self._read(X, y, reset=first) if read is None else read
        labels = self._targets(y, first, incremental)
        weight = self._weighted(labels, tables.weights(sample_weight, X), incremental)
        if first:
            self._begin(X, labels, sizes)
            self._built = structure
        return X, y, labels, weight

    def _sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
        if np.any(np.asarray(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [operator.index(size) for size in sizes]

    def _check_whole(self, held) -> None:
        """Raise where "lbfgs", which sees all rows at once and takes no steps, would pass over what is asked for."""
        asked = {name: getattr(self, name) for name in ("dropout", "weight_decay", "clip_norm", "clip_value")}
        asked |= {"norm='batch'": self.norm == "batch", "callbacks": self.callbacks, "X_val": held[0] is not None}
        for name, given in asked.items():
            if given:
                raise ValueError(
                    f"solver='lbfgs' sees all rows at once and takes no steps of its own: it does not go with {name}"
                )

    def _structure(self, sizes: list[int]) -> dict[str, Any]:
        """What a network is built of, which cannot change while it is trained further."""
        read = {"hidden_layer_sizes": sizes, "activation": self._activations()}
        return {name: getattr(self, name) for name in _STRUCTURE} | read

    def _activations(self) -> list[Any]:
        given = self.activation
        return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]

    def _check_structure(self, structure: dict[str, Any]) -> None:
        for name, before in self._built.items():
            if structure[name] != before:
                raise ValueError(
                    f"{name} was {before!r} when the network was built and is {structure[name]!r} now, but warm_start "
                    "and partial_fit train that network further: leave it as it was, or fit with warm_start=False"
                )

    def _begin(self, X, labels, sizes: list[int]) -> None:
        """A new network, and attributes that begin with it."""
        dtype = self.dtype or ("float32" if str(X.dtype).endswith("float32") else "float64")
        where = tables.backend_for(X, dtype) if self.backend is None else resolve(self.backend, dtype)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        logistic = all(name in ("logistic", "sigmoid") for name in self._activations())
        start = GlorotOfFans(2.0 if logistic else 6.0)
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
        self.network_ = Network(chain, where, dtype, seed, self.ensemble)
        self.n_outputs_, self.n_layers_, self.n_iter_, self.t_ = widths[-1], len(widths), 0, 0
        if self.ensemble is not None:
            self.diverged_ = []
        if self.solver != "lbfgs":
            self._begin_curves()

    def _begin_curves(self) -> None:
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

    def _descend(self, X, labels, weight, held, loss, incremental: bool, resume: Any) -> None:
        """Epochs of updates, with scikit-learn's rules of when to stop."""
        watcher, asked = self._asked(X.shape[0], held, loss, incremental)
        error: Any = None
        try:
            X = tables.dense(X) if self.bootstrap else tables.readable(X)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "members .* diverged: their", RuntimeWarning)  # the watcher tells it
                self.network_.fit(X, labels, loss, sample_weight=weight, resume=resume, **asked)
        except KeyboardInterrupt as interrupt:
            error = interrupt
            warnings.warn("Training interrupted by user.", stacklevel=5)
        except BaseException as raised:
            error = raised
            if not isinstance(raised, NonFiniteLoss):
                raise
        finally:
            self._finish(watcher, incremental, error)

    def _exploded(self, error: Exception) -> ValueError:
        return ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            f"preprocessed. ({error})"
        )

    def _asked(self, rows: int, held, loss, incremental: bool) -> tuple[Epochs, dict[str, Any]]:
        """What watches the epochs, and how `Network.fit` is called for so many rows; a record is begun where needed."""
        if not hasattr(self, "loss_curve_"):  # begun by "lbfgs"
            self._begin_curves()
        batch = 200 if self.batch_size == "auto" else int(self.batch_size)
        if batch > rows and self.batch_size != "auto":
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=6
            )
        watcher: Any = Epochs(self, rows, held, loss)
        watcher.reads_weights = held is not None or bool(self.early_stopping)
        self.n_iter_ = 0
        return watcher, {
            "optimizer": self._optimizer(self.max_iter * math.ceil(rows / batch)),
            "epochs": 1 if incremental else self.max_iter,
            "batch_size": batch,
            "callbacks": [watcher, *(self.callbacks or ())],
            "shuffle": bool(self.shuffle),
            **ensemble.options(self, rows),
        }

    def _finish(self, watcher: Epochs, incremental: bool, error: BaseException | None) -> None:
        """After training, which `error` has ended where it is not None: warnings, and the best weights put back."""
        net = self.network_
        if watcher.best is not None:
            net.progress = net.progress._replace(carry=watcher.best)
        if isinstance(error, NonFiniteLoss):
            if watcher.best is None or not self.n_iter_:
                raise error
            self.validation_scores_.append(math.nan)
            warnings.warn(f"Stopped early: {error}", ConvergenceWarning, stacklevel=6)
        elif error is None and not incremental and not watcher.stopped and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _own(self, X, y, weight):
        """The rows to validate on that the caller gives, as `_split` gives them."""
        read, labels = self._read(X, y, reset=False)
        labels = self._targets(labels, False, True)
        return read, labels, self._weighted(labels, tables.weights(weight, read), False), X, y

    def _split(self, X, given, labels, weight):
        """Rows to train on, and rows to validate on, followed by these as the caller gave them, for a scorer."""
        train, val = self._held_out(X.shape[0], labels)
        parts = [[None if a is None else tables.take(a, rows) for a in (X, labels, weight)] for rows in (train, val)]
        return *parts[0], (*parts[1], *(tables.take(values, val) for values in given))

    def _held_out(self, count: int, labels) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the rows to train on, and of those to validate on."""
        train, val = tables.split(count, self.validation_fraction, self.network_.seeds[0], *self._strata(labels))
        if len(val) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return train, val

    def _outputs(self, X, method: str = "predict") -> Array:
        """What the network gives for X, an ensemble on average, in the library of X and on its device."""
        found, net = self._each(X, method), self.network_
        if net.members is not None:
            with net.backend.current():
                found = net.backend.xp.mean(found, axis=0)
        return self._beside(X, found)

    def _each(self, X, method: str) -> Array:
        """What the network gives for X, where it is; of an ensemble each member that counts, (members, n, outputs)."""
        check_is_fitted(self)
        if self.backend is None and sklearn.get_config()["array_api_dispatch"]:  # refuses another library's, as there
            check_same_namespace(X, self, attribute="_first_weight", method=method)
        return self._members(tables.rows(self, X, reset=False))

    def _members(self, X) -> Array:
        """The same for rows that have been read."""
        net = self.network_
        found = net.predict(tables.readable(X), batch_size=ROWS)
        if net.members is None:
            return found
        with net.backend.current():
            return self._comparable(ensemble.remaining(found, self.diverged_, net.backend), xp=net.backend.xp)

    def _comparable(self, outputs: Array, *, xp: Any) -> Array:
        """The members' outputs on a scale on which they can be averaged."""
        return outputs

    def _beside(self, X, found: Array) -> Array:
        """What the network has found, in the library of X and on its device."""
        back = tables.backend_for(X, self.network_.backend.dtype)
        return found if back.owns(found) else back.asarray(found)

    def export_onnx(self, path: Any, *, opset: int = 20, metadata: Any = None) -> None:
        """Write `predict` and `predict_proba` into one ONNX file, as `xpnn.sklearn.export_onnx` says."""
        from xpnn.sklearn.export import export_onnx

        export_onnx(self, path, opset=opset, metadata=metadata)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


if_stochastic = available_if(_stochastic)
