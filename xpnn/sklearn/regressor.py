"""The regressor: scikit-learn's MLPRegressor, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions

from xpnn import losses
from xpnn._arguments import check_number
from xpnn.backend import to_host
from xpnn.metrics import r2
from xpnn.sklearn import intervals, tables
from xpnn.sklearn.base import _SHARE, BaseMLP, if_stochastic
from xpnn.sklearn.intervals import Forecast
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
    ensemble : how many networks are trained, at once, as one stack; their predictions are averaged. Their seeds follow
        one another, so that each begins elsewhere and sees the rows in an order of its own. None is one network.
        `tol` looks at the mean of their losses, early stopping at the score of what they predict together, and the best
        epoch of all is put back. A member that diverges is left out, with a warning. Not with solver="lbfgs".
    bootstrap : train each member on as many rows as there are, drawn with replacement by its seed.
    calibration_fraction : share of the rows that is held out, by the seed, and not trained on: on these
        `predict_interval` sees how far off the model is. Their sample weights count for nothing. Under `warm_start`
        give the same rows again, lest it be calibrated by rows that it was trained on before.

    Attributes
    ----------
    network_ : the fitted `xpnn.Network`.
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, n_iter_, t_,
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_ : as in scikit-learn.
    validation_loss_curve_ : loss of the validation rows after each epoch, of an ensemble the mean over its members, as
        `loss_curve_`.
    diverged_ : of an ensemble the numbers of the members that are left out. `coefs_` and `intercepts_` have the
        members' axis in front, and `network_` is the stack.

    >>> import numpy as np
    >>> X = np.linspace(-1.0, 1.0, 50)[:, None]
    >>> model = MLPRegressor((16,), solver="lbfgs", random_state=0, max_iter=500).fit(X, X[:, 0] ** 2)
    >>> bool(abs(model.predict([[0.5]]) - 0.25) < 0.05)
    True

    Five networks that each predict a mean and a variance, and for each row an interval that holds nine of ten truths:

    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1.0, 1.0, (1000, 1))
    >>> y = X[:, 0] ** 2 + 0.1 * rng.normal(size=1000)
    >>> model = MLPRegressor((16,), loss="gaussian_nll", ensemble=5, calibration_fraction=0.2, learning_rate_init=0.01,
    ...                      batch_size=50, tol=1e-2, random_state=0).fit(X, y)
    >>> mean, std = model.predict(X, return_std=True)
    >>> low, high = model.predict_interval(X, coverage=0.9).T
    >>> bool(0.08 < std.mean() < 0.13), bool(0.86 < ((low <= y) & (y <= high)).mean() < 0.94)
    (True, True)
    """

    _parameter_constraints = BaseMLP._parameter_constraints | {
        "loss": [StrOptions({"squared_error", "poisson", *losses._NAMES}), callable],
        "calibration_fraction": [_SHARE],
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
        ensemble: Any = None,
        bootstrap=False,
        calibration_fraction=0.0,
    ):
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        vars(self).update(given)

    @if_stochastic
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """One epoch more over (X, y), going on exactly where the last one stopped. A calibration before it is lost."""
        if self.calibration_fraction:
            raise ValueError("partial_fit does not support calibration_fraction > 0")
        return self._fit(X, y, sample_weight, (None, None, None), incremental=True)

    def predict(self, X, return_std=False) -> Any:
        """The predicted numbers, (n,) or (n, outputs), in the library of X and on its device.

        With `return_std` a pair: those, and the standard deviation of each. With loss="gaussian_nll" that is the one
        of the target, from the variances v_k and the means m_k that the members k of an ensemble predict (a lone
        network being the only one): std^2 = mean_k v_k + mean_k (m_k - mean m)^2, the law of total variance. With
        another loss it is the spread between the members alone, which says how far training has left them in doubt of
        the prediction, and nothing of the noise in the target.

        Lakshminarayanan, Pritzel and Blundell (2017), "Simple and scalable predictive uncertainty estimation using deep
        ensembles".

        Raises
        ------
        ValueError where neither an ensemble nor the loss gives a standard deviation.
        """
        if not return_std:
            return _flat(self._loss_point(self._outputs(X)))
        found = self._forecast(self._each(X, "predict"), X)
        if found.std is None:
            raise ValueError(
                "return_std=True takes what a standard deviation can come from: ensemble=16, say, for the spread "
                "between its members, or loss='gaussian_nll', which predicts a variance"
            )
        if isinstance(intervals.head(self._loss()), losses.Quantile):
            found = Forecast(*map(self._loss_point, found))
        return tuple(map(_flat, found))

    def predict_interval(self, X, coverage=0.9) -> Any:
        """An interval for each row that holds its target with probability `coverage`: (n, 2), or (n, outputs, 2).

        It begins as what the loss says of the target:

        * quantiles (loss=xpnn.losses.Quantile(levels)): the two levels nearest to (1 - coverage) / 2 and
          (1 + coverage) / 2. An ensemble averages each over its members, and its bounds go on from the middle by
          sqrt(h^2 + (z s)^2), h being half of the width and s the spread of that bound between the members;
        * mean and variance (loss="gaussian_nll"): mean -+ z std, with the std of `predict`;

        where z = Phi^-1((1 + coverage) / 2) is the normal distribution's. That holds as often as stated only if the
        model is right. With `calibration_fraction` the rows held out correct it: each of these n gets a score e, and
        q is the ceil((n + 1) coverage)-th smallest of them. Then at least that share of new rows lies inside, whatever
        the model and the distribution, as long as new rows come from where those came from, and on average over what is
        held out (Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"):

        * quantiles lo and hi as above: e = max(lo - y, y - hi), and the interval is lo - q to hi + q (conformalized
          quantile regression, Romano, Patterson and Candes 2019), also for a coverage far from their levels;
        * mean and variance: e = |y - mean| / std, and mean -+ q std (Lei, G'Sell, Rinaldo, Tibshirani and Wasserman
          2018, "Distribution-free predictive inference for regression", section 5.2);
        * an ensemble with any other loss: the same with std^2 = s^2 + r^2, s being the spread between the members and
          r^2 the mean squared error on the rows that were trained on, which stands for the noise. (The spread alone,
          which is all but 0 where members happen to agree, gave intervals up to 40 percent wider.)
        * one network with any other loss: e = |y - mean|, and mean -+ q.

        Of several outputs each is calibrated alone: all of a row are inside less often.

        Raises
        ------
        ValueError where neither the loss nor a calibration gives an interval of that coverage, saying what would.
        """
        coverage = check_number("coverage", coverage, low=0.0, high=1.0, open_low=True, open_high=True)
        found, loss = self._forecast(self._each(X, "predict_interval"), X), self._loss()
        back = tables.backend_for(X, self.network_.backend.dtype)
        if (calibration := getattr(self, "_calibration", None)) is None:
            bounds = intervals.stated(loss, found, coverage, xp=back.xp)
        else:
            centre, std, targets, noise = calibration  # of the rows set aside, on the host
            if noise is not None:
                found = found._replace(std=back.xp.hypot(found.std, back.asarray(noise)))
            known = intervals.band(loss, Forecast(centre, std), coverage, xp=np)
            shift = back.asarray(intervals.conformal(intervals.scores(known, targets), coverage))
            bounds = intervals.calibrated(intervals.band(loss, found, coverage, xp=back.xp), shift, xp=back.xp)
        both = back.xp.stack(bounds, axis=-1)
        return both[:, 0, :] if both.shape[1] == 1 else both

    def _forecast(self, outputs, X) -> Forecast:
        """What the network, or the members of an ensemble together, forecast by these outputs, in the library of X."""
        loss, backend = self._loss(), self.network_.backend
        if lone := self.network_.members is None:
            outputs = outputs[None, ...]
        if intervals.head(loss) is None:
            outputs = self._loss_point(outputs)
        with backend.current():
            found = intervals.forecast(loss, outputs, xp=backend.xp, lone=lone)
        return Forecast(*(None if part is None else self._beside(X, part) for part in found))

    def _reserved(self, *rows):
        self._calibration, count = None, rows[1].shape[0]
        if not self.calibration_fraction:
            return *rows, None
        if math.ceil(count * self.calibration_fraction) >= count:
            raise ValueError(
                f"calibration_fraction={self.calibration_fraction} leaves nothing to train on of n_samples={count}"
            )
        train, held = tables.split(count, self.calibration_fraction, self.network_.seeds[0])
        given, X, y, targets, weight = rows
        rows = given if self.early_stopping else None, X, y, targets, weight  # as given they are for a scorer alone
        kept = tuple(None if part is None else tables.take(part, train) for part in rows)
        return *kept, (tables.take(X, held), tables.take(targets, held), kept[1], kept[3])

    def _calibrate(self, aside):
        if aside is None:
            return
        X, targets, trained, known = aside
        (centre, std), noise = self._forecast_on_host(X), None
        if self.network_.members is not None and intervals.head(self._loss()) is None:
            off = self._forecast_on_host(trained)[0] - _float64(known)
            noise = np.sqrt(np.mean(off * off, axis=0))
            std = np.hypot(std, noise)
        self._calibration = centre, std, _float64(targets), noise

    def _forecast_on_host(self, X) -> Any:
        return [None if part is None else _float64(part) for part in self._forecast(self._members(X), X)]

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
        raise ValueError(f"loss {self.loss!r} has no number of outputs for {wanted} targets, by its target_width")

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


def _flat(found: Any) -> Any:
    """(n,) of one output."""
    return found[:, 0] if found.shape[1] == 1 else found


def _float64(values: Any) -> np.ndarray:
    return np.asarray(tables.on_host(values), dtype=np.float64)
