"""What the estimators do after each epoch: attributes, the score of the rows held out, and whether to go on.

An ensemble is one model there: its loss is the mean over its members, its score that of what they predict together, and
all of them stop at once. A member that diverges is left out.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.metrics._scorer import _BaseScorer

from xpnn import inputs
from xpnn.callbacks import Callback
from xpnn.evaluation import ROWS
from xpnn.network import Network
from xpnn.sklearn import tables
from xpnn.training import NonFiniteLoss

__all__ = ["Epochs"]


_SEEN = (
    *("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "_no_improvement_count", "diverged_"),
    *("validation_scores_", "validation_loss_curve_", "best_validation_score_"),
)
"""The estimator's attributes that epochs change."""


class Epochs(Callback):
    """After each epoch: the attributes that people read, the score of the validation rows, and whether to go on.

    `held` are the rows to validate on, their targets and weights, then rows and labels as the caller gave them.
    """

    def __init__(self, estimator: Any, rows: int, held: Any, loss: Any):
        self.estimator, self.rows, self.loss = estimator, rows, loss
        self.best: Any = None
        self.out: list[int] = []  # the members that had diverged when `best` was made
        self._before: Any = None  # the epoch that is being looked at, and what was known before it
        self.stopped, self.began, self.held = False, time.monotonic(), held
        if held is not None:
            net = estimator.network_
            self.scorer: Any = check_scoring(estimator, scoring=estimator.scoring)
            if isinstance(self.scorer, _BaseScorer) and not sklearn.get_config()["array_api_dispatch"]:
                # metrics of scikit-learn that know no other arrays than NumPy's
                self.held = (*held[:2], *(tables.on_host(values) for values in held[2:]))
            self.data = inputs.data(
                tables.dense(held[0]), held[1], held[2], loss, net.shapes, net.backend, of="validation "
            )
            for name in ("validation_scores_", "validation_loss_curve_"):
                if getattr(estimator, name) is None:
                    setattr(estimator, name, [])

    def on_fit_begin(self, net, epochs):
        if net.members is not None:
            self.estimator.diverged_ = []
        if self.estimator.early_stopping:  # what it starts from is best until an epoch scores higher
            self.best = net.progress.carry
        self._rate(net)

    def on_epoch_end(self, net, epoch, logs):
        me = self.estimator
        known = {name: getattr(me, name) for name in _SEEN if hasattr(me, name)}
        known = {name: len(value) if isinstance(value, list) else value for name, value in known.items()}
        self._before = epoch, known, (self.best, self.out)
        if net.members is not None:
            me.diverged_ = net.history.members_that("diverged")
            if np.isnan(logs["loss"]).all():
                return True  # no member made this epoch
        me.n_iter_, me.loss_, me.t_ = me.n_iter_ + 1, _mean(logs["loss"]), me.t_ + self.rows
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

    def state(self):
        me = self.estimator
        names = [name for name in _SEEN if hasattr(me, name)]
        best = None if self.best is None else self.best.arrays()
        seconds = time.monotonic() - self.began
        return {"of": {name: getattr(me, name) for name in names}, "best": best, "out": self.out, "seconds": seconds}

    def restore(self, net, state):
        vars(self.estimator).update(state["of"])
        self.best = state["best"] and net.progress.carry.made_of(state["best"], net.backend)
        self.out, self.began = state["out"], self.began - state["seconds"]

    def on_fit_end(self, net, history):
        """Back to the last epoch that was finished; and, of an ensemble, which members count from here on."""
        if self._before is not None and history.epoch[-1:] != [self._before[0]]:
            self._undo()
        if net.members is None:
            return
        me, diverged = self.estimator, history.members_that("diverged")
        gone = len(diverged) == net.members  # then the network is as it was before
        me.diverged_ = diverged if self.best is None and not gone else self.out
        if gone:
            raise NonFiniteLoss(f"training went non-finite in all {net.members} members of the ensemble")
        if me.diverged_:
            warnings.warn(
                f"members {me.diverged_} of the ensemble of {net.members} diverged, their loss or a parameter became "
                "NaN or infinite: they are left out of what it predicts",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _undo(self) -> None:
        """Forget the epoch that was broken off while it was looked at."""
        _, known, (self.best, self.out) = self._before
        for name, value in known.items():
            if isinstance(now := getattr(self.estimator, name), list):
                del now[value:]
            else:
                setattr(self.estimator, name, value)

    def _validate(self, net: Network) -> None:
        me, lone = self.estimator, net.members is None
        found = net._measured(self.data, self.loss, me._metrics() if lone else [], ROWS)
        loss = found.pop("loss")
        me.validation_loss_curve_.append(loss if lone else float(np.delete(loss, me.diverged_).mean()))
        if me.scoring is not None or not found:
            weight = {} if self.held[2] is None else {"sample_weight": self.held[2]}
            score = float(self.scorer(me, self.held[3], self.held[4], **weight))
        else:
            score = float(next(iter(found.values())))
        me.validation_scores_.append(score)
        if me.verbose:
            print(f"Validation score: {score:f}")

    def _improved(self, net: Network, score: float) -> None:
        me = self.estimator
        best = -np.inf if me.best_validation_score_ is None else me.best_validation_score_
        me._no_improvement_count = me._no_improvement_count + 1 if score < best + me.tol else 0
        me.best_validation_score_ = best
        if score > best:
            me.best_validation_score_, self.best = score, net.progress.carry
            self.out = [] if net.members is None else me.diverged_

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


def _mean(loss: Any) -> float:
    """The loss, of an ensemble the mean over those of its members that were trained."""
    return float(np.nanmean(loss)) if np.ndim(loss) else float(loss)
