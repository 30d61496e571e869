"""The search for hyper-parameters: scikit-learn's GridSearchCV and RandomizedSearchCV, with networks as stacks."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from math import ceil, floor, log
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import ParameterGrid, ParameterSampler, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params

from xpnn.sklearn import tables
from xpnn.sklearn.base import BaseMLP
from xpnn.sklearn.trials import Asked, Trials, copied, network_of


class MLPSearchCV(BaseSearchCV):
    """Cross-validated search over hyper-parameters of `MLPClassifier`, `MLPRegressor` or a Pipeline that ends in one.

    It takes the place of scikit-learn's GridSearchCV and RandomizedSearchCV, with their attributes and the same scores,
    and trains all candidates on all folds together, as stacks of networks: those of one shape in one stack, whatever
    their learning rates, penalties, dropout rates, seeds and rows. What no stack takes (solver="lbfgs", an ensemble, a
    time_limit of its own, another estimator in the place of a pipeline's last step, rows that are sparse or of another
    array library than NumPy) is fitted one by one.

    Parameters
    ----------
    estimator : the MLPClassifier, MLPRegressor or Pipeline. Transformers of a pipeline are fitted once for each fold
        and each setting of their own parameters.
    param_grid : {name: values} or a list of such, every combination of which is tried; or
    param_distributions : {name: values or distribution} or a list of such, of which `n_iter` are drawn by
        `random_state`.
    scoring, cv, refit, error_score, return_train_score, verbose : as in GridSearchCV.
    time_limit : seconds for all training but the refit, None for no limit. Stacks get shares of it by their size, which
        begin when they do. Whatever is left to it, each network is trained for one epoch; it stops after that in which
        the share is over, and is scored as it is then. Reading, transformers and scores are on top.
    halving : a factor > 1 (True is 3): successive halving. All candidates are trained for few epochs, the best
        1 / factor of them for `factor` times as many, and so on until the last are trained for about the estimator's
        max_iter, over which schedules of the learning rate run.
        The schedule and the results are those of HalvingGridSearchCV(resource="max_iter", max_resources=max_iter), but
        that who survives is trained on from where it stood, where that would begin anew.
    max_memory : bytes that the networks of one stack may take; None for no bound. Each process has one stack at a time.
    n_jobs : processes that the candidates are dealt out to, as in GridSearchCV: None is 1 unless joblib's
        `parallel_config` says otherwise, -1 all processors. Each gets the whole of `time_limit`, which begins when it
        does. With `halving` it stays one process, as survivors are trained on.

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_, multimetric_,
    classes_, n_features_in_, feature_names_in_ : as in GridSearchCV. The fit times in cv_results_ are a trial's share
        of the time of all. With `halving`, cv_results_ has "iter" and "n_resources" too.
    n_resources_, n_candidates_, n_iterations_, n_required_iterations_, n_possible_iterations_, n_remaining_candidates_,
    min_resources_, max_resources_ : with `halving`, as in HalvingGridSearchCV.

    Jamieson and Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter optimization".

    >>> from sklearn.datasets import load_iris
    >>> from xpnn.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16,), random_state=0, early_stopping=True, n_iter_no_change=5, batch_size=20)
    >>> search = MLPSearchCV(model, {"learning_rate_init": [1e-5, 1e-2], "alpha": [1e-4, 1e-1]}, cv=3)
    >>> search.fit(X, y).best_params_["learning_rate_init"]
    0.01
    >>> bool(search.best_score_ > 0.9), search.predict(X[:1])
    (True, array([0]))
    """

    if TYPE_CHECKING:  # parameters are set by name

        def __getattr__(self, name: str) -> Any: ...

    _parameter_constraints = BaseSearchCV._parameter_constraints | {
        "param_grid": [dict, list, None],
        "param_distributions": [dict, list, None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "halving": ["boolean", Interval(Real, 1, None, closed="neither")],
        "random_state": ["random_state"],
        "max_memory": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator,
        param_grid=None,
        *,
        param_distributions=None,
        n_iter=10,
        scoring=None,
        cv=None,
        refit=True,
        time_limit=None,
        halving: Any = False,
        random_state=None,
        error_score=np.nan,
        return_train_score=False,
        verbose=0,
        max_memory=None,
        n_jobs=None,
    ):
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        vars(self).update(given)

    @_fit_context(prefer_skip_nested_validation=False)  # the estimator's parameters are not validated yet
    def fit(self, X, y=None, **params):
        """Search, and fit the best candidate on all of (X, y).

        Parameters
        ----------
        X, y : as the estimator's `fit` takes them.
        **params : for the `fit` of the estimator (sample_weight), `groups` for the splitter, as in GridSearchCV.

        Raises
        ------
        ValueError, TypeError for unusable parameters, and where a fold has no row of a class to train on: before
        anything is trained.
        """
        candidates = self._candidates()
        scorers, refit_metric = self._get_scorers()
        if self.halving and isinstance(scorers, _MultimetricScorer):
            raise ValueError(f"halving takes one metric to halve by, got scoring={self.scoring!r}")
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        context = self._init_callback_context().call_on_fit_task_begin(estimator=self, X=X, y=y)
        given: Any = self.cv
        cv: Any = check_cv(given, y, classifier=is_classifier(self.estimator))
        self.n_splits_ = cv.get_n_splits(X, y, **routed.splitter.split)
        splits = list(cv.split(X, y, **routed.splitter.split))
        if len(splits) != self.n_splits_:
            raise ValueError(
                f"cv.split and cv.get_n_splits return inconsistent results. Expected {self.n_splits_} splits, got "
                f"{len(splits)}"
            )
        if not splits or not candidates:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        if is_classifier(self.estimator):
            check_classes(y, [train for train, _ in splits])
        base: Any = clone(self.estimator)
        asked = Asked(self.error_score, self.return_train_score, self.verbose, self.max_memory)
        begin = partial(Trials, asked, base, X, y, splits, routed, scorers, epochs=bool(self.halving))
        until = None if self.time_limit is None else time.monotonic() + self.time_limit
        results = self._halved(begin(), candidates, until) if self.halving else self._whole(begin, candidates, until)
        self._choose(results, refit_metric)
        if self.refit:
            self._refit(base, X, y, routed.estimator.fit)
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = results
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    def _candidates(self) -> list[dict[str, Any]]:
        """All settings that are tried."""
        model = network_of(self.estimator)
        if not isinstance(model, BaseMLP):
            raise TypeError(
                "estimator must be an MLPClassifier or MLPRegressor of xpnn.sklearn, or a Pipeline that ends in one, "
                f"got {self.estimator!r}: for others take sklearn.model_selection.GridSearchCV"
            )
        if (self.param_grid is None) == (self.param_distributions is None):
            given = "neither" if self.param_grid is None else "both"
            raise ValueError(f"give param_grid or param_distributions, got {given}")
        if self.param_grid is not None:
            found = list(ParameterGrid(self.param_grid))
        else:
            found = list(ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state))
        known = self.estimator.get_params()
        for name in {name for params in found for name in params}:
            if name not in known and name.partition("__")[0] not in known:
                raise ValueError(f"{name!r} is no parameter of {self.estimator!r}: they are {sorted(known)}")
        return found

    def _whole(
        self, begin: Callable[[], Trials], candidates: list[dict[str, Any]], until: float | None
    ) -> dict[str, Any]:
        """The results of all candidates, each trained as far as it asks for, in so many processes as `n_jobs` asks."""
        self._tell(len(candidates))
        given: Any = self.n_jobs
        jobs = min(effective_n_jobs(given), len(candidates))
        if jobs == 1:
            return self._collected(
                candidates, begin().run(dict(enumerate(candidates)), None, until), {}, len(candidates)
            )
        left = None if until is None else max(until - time.monotonic(), 1e-3)
        # in turn, as those of one shape, which take as long, stand beside each other
        dealt = [dict(list(enumerate(candidates))[start::jobs]) for start in range(jobs)]
        made: Any = Parallel(n_jobs=jobs)(delayed(_part)(begin, part, left) for part in dealt)
        folds, out = self.n_splits_, []
        for number in range(len(candidates)):
            start = number // jobs * folds
            out += made[number % jobs][start : start + folds]
        return self._collected(candidates, out, {}, len(candidates))

    def _tell(self, candidates: int) -> None:
        if self.verbose:
            count = self.n_splits_
            print(f"Fitting {count} folds for each of {candidates} candidates, totalling {count * candidates} fits")

    def _collected(
        self, params: list[dict[str, Any]], out: list[dict[str, Any]], more: Any, new: int
    ) -> dict[str, Any]:
        """Results in scikit-learn's form; the last `new` candidates are those of which nothing has been told yet."""
        _warn_or_raise_about_fit_failures(out[-new * self.n_splits_ :], self.error_score)
        if callable(self.scoring):
            _insert_error_scores(out, self.error_score)
        self.multimetric_ = isinstance(out[0]["test_scores"], dict)
        return self._format_results(params, self.n_splits_, out, more)

    def _halved(self, trials: Trials, candidates: list[dict[str, Any]], until: float | None) -> dict[str, Any]:
        """The results of each iteration of successive halving, one after the other."""
        factor = 3 if self.halving is True else self.halving
        model, name = network_of(self.estimator), "max_iter"
        if isinstance(self.estimator, Pipeline):
            name = f"{self.estimator.steps[-1][0]}__max_iter"
        if any(name in params for params in candidates):
            raise ValueError(f"{name} cannot be searched with halving: it is the resource, up to the estimator's own")
        self.max_resources_, required = model.max_iter, 1 + floor(log(len(candidates), factor))
        self.min_resources_ = max(1, int(self.max_resources_ // factor ** (required - 1)))
        possible = 1 + floor(log(self.max_resources_ // self.min_resources_, factor))
        self.n_required_iterations_, self.n_possible_iterations_ = required, possible
        self.n_iterations_, self.n_resources_, self.n_candidates_ = min(required, possible), [], []
        left, params, out, more, results = dict(enumerate(candidates)), [], [], defaultdict(list), {}
        for number in range(self.n_iterations_):
            epochs = min(int(factor**number * self.min_resources_), self.max_resources_)
            self.n_resources_.append(epochs)
            self.n_candidates_.append(len(left))
            self._tell(len(left))
            now, part = time.monotonic(), until
            if until is not None:
                part = now + max(until - now, 0.0) / (self.n_iterations_ - number)
            out += trials.run(left, epochs, part)
            params += [own | {name: epochs} for own in left.values()]
            more["iter"] += [number] * len(left)
            more["n_resources"] += [epochs] * len(left)
            results = self._collected(params, out, more, len(left))
            if "mean_test_score" not in results:  # of a function, whose metrics are known once it was called
                raise ValueError(
                    f"halving takes one metric to halve by, got {sorted(out[0]['test_scores'])} of scoring"
                )
            scores = results["mean_test_score"][-len(left) :]
            order = np.roll(np.argsort(scores), np.count_nonzero(np.isnan(scores)))  # the best last, NaN first
            chosen = [list(left)[i] for i in order[-ceil(len(left) / factor) :]]
            left = {candidate: left[candidate] for candidate in chosen}
        self.n_remaining_candidates_ = len(left)
        return results

    def _choose(self, results: dict[str, Any], refit_metric: Any) -> None:
        """The best candidate."""
        if self.multimetric_ and callable(self.scoring):
            names = [key.removeprefix("mean_test_") for key in results if key.startswith("mean_test_")]
            self._check_refit_for_multimetric(dict.fromkeys(names))
            refit_metric = self.refit
        if not self.refit and self.multimetric_:
            return
        if self.halving and not callable(self.refit):
            last = np.flatnonzero(results["iter"] == self.n_iterations_ - 1)
            scores = results["mean_test_score"][last]
            self.best_index_ = last[0 if np.isnan(scores).all() else np.nanargmax(scores)]
        else:
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _refit(self, base: Any, X: Any, y: Any, fit_params: dict[str, Any]) -> None:
        """The best candidate on all rows."""
        began = time.time()
        best: Any = clone(base)
        self.best_estimator_ = best.set_params(**copied(self.best_params_))
        self.best_estimator_.fit(X, y, **fit_params)
        self.refit_time_ = time.time() - began
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_


def _part(begin: Callable[[], Trials], candidates: dict[int, Any], seconds: float | None) -> list[dict[str, Any]]:
    """The results of some of the candidates, in a process of their own."""
    return begin().run(candidates, None, None if seconds is None else time.monotonic() + seconds)


def check_classes(y: Any, folds: list[Any]) -> None:
    """Raise where one of the folds, row numbers to train on, has no row of one of the classes of y (n,)."""
    labels = np.asarray(tables.on_host(y))
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if type_of_target(labels) not in ("binary", "multiclass"):  # the estimator has its words for these
        return
    classes, codes = np.unique(labels, return_inverse=True)
    for number, rows in enumerate(folds):
        counts = np.bincount(codes[rows], minlength=len(classes))
        if not counts.all():
            raise ValueError(
                f"fold {number} has no row of class {classes[counts.argmin()].item()!r} to train on: give more rows of "
                "it, fewer folds, or a cv that spreads the classes, such as StratifiedKFold"
            )
