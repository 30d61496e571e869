"""What a search tries: each candidate on each fold, prepared one by one, trained together, then finished and scored.

What a lone `fit` reads is read once: rows and labels are shared by all trials, each of which has the numbers of its
rows. A trial that cannot be trained in a stack is fitted by itself, as scikit-learn would fit it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from traceback import format_exc, format_exception
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score, _score
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

from xpnn.callbacks import Callback
from xpnn.jobs import TooLittleMemory
from xpnn.members import fit_many
from xpnn.sklearn import tables
from xpnn.sklearn.base import BaseMLP
from xpnn.training import NonFiniteLoss

Array = Any
NONE = (None, None, None)  # no rows of the caller's own to validate on


def network_of(estimator: Any) -> Any:
    """The estimator that has a network: itself, or the last step of a pipeline."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def copied(params: Mapping[str, Any]) -> Any:
    """Parameters, those that are estimators as clones: a search does not fit its caller's."""
    return clone(dict(params), safe=False)


def is_stackable(model: Any, fit_params: Mapping[str, Any]) -> bool:
    """Whether what `fit` would do is what trials do together."""
    if not isinstance(model, BaseMLP) or (type(model).fit, type(model)._fit) != (BaseMLP.fit, BaseMLP._fit):
        return False
    alone = model.solver == "lbfgs", model.ensemble is not None, getattr(model, "calibration_fraction", 0)
    return not any(alone) and model.time_limit is None and not fit_params.keys() - {"sample_weight"}


class Asked(NamedTuple):
    """What a search says of its trials, which may be another process's."""

    error_score: Any
    return_train_score: bool
    verbose: int
    max_memory: int | None


@dataclass(eq=False)
class Table:
    """Rows that several trials are trained on, and their targets and weights, each once."""

    X: Array
    kept: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def whole(self, values: Any, rows: np.ndarray | None) -> Any:
        """Values of all rows, of which those of `rows` are the given ones; the same array for all with which it agrees.

        In other rows there may be anything.
        """
        if values is None:
            return None
        rows = np.arange(len(values)) if rows is None else rows
        for array, known in self.kept:
            if array.shape[1:] == values.shape[1:] and array.dtype == values.dtype:
                both = known[rows]
                if np.array_equal(array[rows][both], values[both]):
                    array[rows], known[rows] = values, True
                    return array
        count = self.X.shape[0]
        array, known = np.zeros((count, *values.shape[1:]), values.dtype), np.zeros(count, bool)
        array[rows], known[rows] = values, True
        self.kept.append((array, known))
        return array


@dataclass(eq=False)
class Read:
    """Rows of a fold as an estimator has read them."""

    table: Table
    rows: np.ndarray | None  # the numbers of the fold's rows in the table, None for all
    X: Array  # those of the fold
    y: Any
    given: Any  # X of the fold as it came
    names: dict[str, Any]  # attributes that reading gives
    head: Sequence[Any] = ()  # the fitted transformers of a pipeline


@dataclass(eq=False)
class Fold:
    """The rows of one split, as the caller gave them, and what trials share there."""

    number: int
    train: np.ndarray
    test: np.ndarray
    reads: dict[Any, Any] = field(default_factory=dict)  # its rows as they were read, or the error
    held: dict[Any, Any] = field(default_factory=dict)  # rows to validate on, and their numbers


@dataclass(eq=False)
class Trial:
    """A candidate on a fold."""

    params: dict[str, Any]
    fold: Fold
    estimator: Any
    model: Any = None  # the one with a network
    job: dict[str, Any] | None = None  # what `fit_many` takes; None for what is fitted alone
    watcher: Any = None
    progress: Any = None  # where training goes on
    stopped: bool = False
    epochs: int = 0
    error: str | None = None
    seconds: float = 0.0


class Going(Callback):
    """A watcher in further epochs of the training that it has seen begin."""

    def __init__(self, watcher: Any):
        self.watcher, self.reads_weights = watcher, watcher.reads_weights

    def on_epoch_end(self, net, epoch, logs):
        return self.watcher.on_epoch_end(net, epoch, logs)


class Trials:
    """All trials of a search on (X, y)."""

    def __init__(
        self, search: Asked, base: Any, X: Any, y: Any, splits: Sequence[Any], routed: Any, scorer: Any, epochs: bool
    ):
        self.search, self.base, self.X, self.y, self.routed, self.scorer = search, base, X, y, routed, scorer
        self.folds = [Fold(i, _numbers(train), _numbers(test)) for i, (train, test) in enumerate(splits)]
        self.by_epochs = epochs  # whether candidates are trained for more epochs later
        self.fit_params = {name: value for name, value in routed.estimator.fit.items() if value is not None}
        self.whole: dict[type, Any] = {}  # all rows as an estimator reads them
        self.trials: dict[int, list[Trial]] = {}  # of each candidate

    def run(self, candidates: Mapping[int, Mapping[str, Any]], epochs: int | None, until: float | None) -> list[dict]:
        """Train and score the candidates, by their numbers; results as scikit-learn's `_fit_and_score` gives them.

        `epochs` is how many in all, None for each its own; `until` the time at which training is over.
        """
        new = [number for number in candidates if number not in self.trials]
        for number in new:
            self.trials[number] = [self._trial(candidates[number], fold) for fold in self.folds]
        for fold in self.folds:
            self._prepare([self.trials[number][fold.number] for number in new], fold)
        chosen = [trial for number in candidates for trial in self.trials[number]]
        stacked = [trial for trial in chosen if trial.job is not None and not trial.stopped]
        rest, now = sum(trial.job is None and trial.error is None for trial in chosen), time.monotonic()
        share = len(stacked) / max(len(stacked) + rest, 1)
        self._train(stacked, epochs, None if until is None else now + (until - now) * share)
        alone = [trial for trial in chosen if trial.job is None and trial.error is None]
        apart = set(map(id, alone))
        found = {}
        for fold in self.folds:
            train, test = (_safe_split(self.base, self.X, self.y, rows, fold.train) for rows in (fold.train, fold.test))
            for trial in chosen:
                if trial.fold is fold and id(trial) not in apart:
                    found[id(trial)] = self._scored(trial, train, test)
        for i, trial in enumerate(alone):
            left = None if until is None else max(until - time.monotonic(), 1e-3) / (len(alone) - i)
            found[id(trial)] = self._alone(trial, epochs, left)
        return [found[id(trial)] for trial in chosen]

    def _trial(self, params: Mapping[str, Any], fold: Fold) -> Trial:
        estimator: Any = clone(self.base)
        estimator.set_params(**copied(params))
        return Trial(dict(params), fold, estimator, network_of(estimator))

    def _prepare(self, trials: Sequence[Trial], fold: Fold) -> None:
        """What can be trained in a stack is prepared for it, as its `fit` would begin."""
        if not trials:
            return
        given = _safe_split(self.base, self.X, self.y, fold.train)
        for trial in trials:
            began = time.perf_counter()
            try:
                if is_stackable(trial.model, self.fit_params) and not (self.by_epochs and trial.model.callbacks):
                    trial.model._validate_params()
                    read = self._read(trial, fold, given)
                    if read is not None:
                        vars(trial.model).update(read.names)
                        self._begin(trial, read)
            except Exception:
                if self.search.error_score == "raise":
                    raise
                trial.error = format_exc()
            trial.seconds += time.perf_counter() - began
        fold.reads.clear()
        fold.held.clear()

    def _read(self, trial: Trial, fold: Fold, given: tuple[Any, Any]) -> Read | None:
        """The rows of the trial as its estimator reads them, once for all that read the same; None: fit it alone."""
        model, piped = trial.model, isinstance(trial.estimator, Pipeline) and len(trial.estimator.steps) > 1
        mine = []  # the parameters of transformers
        if piped:
            last = trial.estimator.steps[-1][0]
            mine = [(name, value) for name, value in trial.params.items() if name.partition("__")[0] != last]
        key = type(model), tuple(sorted((name, *_identity(value)) for name, value in mine))
        if key not in fold.reads:
            try:
                fold.reads[key] = self._transformed(trial, given) if piped else self._chosen(model, fold, given[0])
            except Exception as error:  # of all that read this
                fold.reads[key] = error
        read = fold.reads[key]
        if isinstance(read, Exception):
            raise read
        if piped and read is not None:
            trial.estimator.steps[:-1] = read.head
        return read

    def _chosen(self, model: Any, fold: Fold, given: Any) -> Read | None:
        """Rows of the one table that all folds share."""
        if any(scipy.sparse.issparse(values) or tables.is_foreign(values) for values in (self.X, self.y)):
            return None  # sparse rows are made dense as they are needed, and others stay where they are
        kind = type(model)
        if kind not in self.whole:
            reader: Any = clone(model)
            try:
                X, y = reader._read(self.X, self.y, reset=True)
                self.whole[kind] = Table(X), y, _features(reader)
            except Exception:  # the folds that have such rows will say of which
                self.whole[kind] = None
        if self.whole[kind] is None:
            return None
        table, y, names = self.whole[kind]
        return Read(table, fold.train, tables.take(table.X, fold.train), tables.take(y, fold.train), given, names)

    def _transformed(self, trial: Trial, given: tuple[Any, Any]) -> Read | None:
        """What the transformers of a pipeline, fitted, make of the fold's rows: a table of its own."""
        if self.fit_params or any(map(tables.is_foreign, (self.X, self.y))):
            return None
        head, reader = trial.estimator[:-1], network_of(clone(trial.estimator))
        made = head.fit_transform(*given)
        made = made.toarray() if scipy.sparse.issparse(made) else made
        X, y = reader._read(made, given[1], reset=True)
        return Read(Table(X), None, X, y, made, _features(reader), head.steps)

    def _begin(self, trial: Trial, read: Read) -> None:
        """A new network, and what it is to be trained on."""
        model, fold, rows, table = trial.model, trial.fold, read.rows, read.table
        given = _check_method_params(self.X, params=self.fit_params, indices=fold.train)  # one number stands for all
        weight = given.get("sample_weight")
        _, _, labels, weight = model._prepare(None, None, weight, NONE, False, read=(read.X, read.y))
        data = {"x": table.X, "y": table.whole(labels, rows), "sample_weight": table.whole(weight, rows)}
        count, held = read.X.shape[0], None
        if model.early_stopping:
            drawn = id(read), id(data["y"]), type(model), model.validation_fraction, model.network_.seed
            if drawn not in fold.held:
                fold.held[drawn] = model._held_out(count, labels)
            chosen, val = fold.held[drawn]
            key = id(data["sample_weight"]), *drawn
            if key not in fold.held:
                parts = read.X, labels, weight, read.given, read.y
                fold.held[key] = tuple(None if values is None else tables.take(values, val) for values in parts)
            held, count = fold.held[key], len(chosen)
            rows = chosen if rows is None else rows[chosen]
        loss = model._objective()
        trial.watcher, asked = model._asked(count, held, loss, False)
        trial.job = data | {"rows": rows, "networks": model.network_, "loss": loss} | asked
        trial.progress = model.network_.progress

    def _train(self, trials: Sequence[Trial], epochs: int | None, until: float | None) -> None:
        """Train them together; where that fails, each will be fitted alone."""
        if not trials:
            return
        began, jobs = time.perf_counter(), []
        trials = sorted(trials, key=lambda trial: trial.fold.number)  # neighbours have as many rows
        for trial in trials:
            trial.model.network_.progress = trial.progress
            further: dict[str, Any] = {} if epochs is None else {"epochs": epochs - trial.epochs}
            if trial.epochs:
                further["callbacks"] = [Going(trial.watcher)]
            jobs.append(trial.job | further)  # type: ignore[operator]
        asked: dict[str, Any] = {name: [job[name] for job in jobs] for name in jobs[0]}
        left = None if until is None else max(until - time.monotonic(), 1e-3)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "networks .* diverged", RuntimeWarning)  # told by trial below
                histories = fit_many(**asked, max_memory=self.search.max_memory, time_limit=left)
        except TooLittleMemory:
            raise
        except Exception:
            for trial in trials:
                trial.job = None
            return
        work = [max(len(h.epoch), 1) * t.model.network_.n_params for h, t in zip(histories, trials, strict=True)]
        seconds = time.perf_counter() - began
        for trial, history, part in zip(trials, histories, work, strict=True):
            trial.progress, trial.epochs = trial.model.network_.progress, trial.epochs + len(history.epoch)
            trial.stopped = history.stop_reason not in ("finished", "time")  # another round has time of its own
            trial.seconds += seconds * part / sum(work)
            error = NonFiniteLoss("training went non-finite") if history.stop_reason == "diverged" else None
            try:
                trial.model._finish(trial.watcher, False, error)
            except Exception as error:  # a warning where these are errors, too
                failure = trial.model._exploded(error) if isinstance(error, NonFiniteLoss) else error
                if self.search.error_score == "raise":
                    raise failure from (None if failure is error else error)
                trial.error = "".join(format_exception(failure))

    def _scored(self, trial: Trial, train: tuple[Any, Any], test: tuple[Any, Any]) -> dict[str, Any]:
        search, fold = self.search, trial.fold
        found = {"fit_error": trial.error, "fit_time": trial.seconds, "score_time": 0.0}
        found["n_test_samples"] = _num_samples(test[0])
        params = [
            _check_method_params(self.X, params=self.routed.scorer.score, indices=rows)
            for rows in (fold.train, fold.test)
        ]
        score = search.error_score
        if trial.error is not None:
            names = getattr(self.scorer, "_scorers", None)
            found["test_scores"] = score if names is None else dict.fromkeys(names, score)
            if search.return_train_score:
                found["train_scores"] = score if names is None else dict.fromkeys(names, score)
        else:
            began = time.perf_counter()
            found["test_scores"] = _score(trial.estimator, *test, self.scorer, params[1], score)
            found["score_time"] = time.perf_counter() - began
            if search.return_train_score:
                found["train_scores"] = _score(trial.estimator, *train, self.scorer, params[0], score)
        if search.verbose > 1:
            print(f"[CV] {trial.params} fold {fold.number + 1}/{len(self.folds)}: {found['test_scores']}")
        return found

    def _alone(self, trial: Trial, epochs: int | None, seconds: float | None) -> dict[str, Any]:
        """Fitted and scored by itself, as scikit-learn does it."""
        search, params = self.search, dict(trial.params)
        last = f"{trial.estimator.steps[-1][0]}__" if isinstance(trial.estimator, Pipeline) else ""
        if epochs is not None:
            params[f"{last}max_iter"] = epochs
        limit = getattr(trial.model, "time_limit", None)
        if seconds is not None and hasattr(trial.model, "time_limit"):
            params[f"{last}time_limit"] = seconds if limit is None else min(seconds, limit)
        return _fit_and_score(
            clone(self.base),
            self.X,
            self.y,
            scorer=self.scorer,
            train=trial.fold.train,
            test=trial.fold.test,
            verbose=search.verbose,
            parameters=params,
            fit_params=self.routed.estimator.fit,
            score_params=self.routed.scorer.score,
            return_train_score=search.return_train_score,
            return_n_test_samples=True,
            return_times=True,
            error_score=search.error_score,
            split_progress=(trial.fold.number, len(self.folds)),
        )


def _numbers(rows: Any) -> np.ndarray:
    """Row numbers, of which a mask is another form."""
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def _features(model: Any) -> dict[str, Any]:
    """What reading X has left."""
    return {name: getattr(model, name) for name in ("n_features_in_", "feature_names_in_") if hasattr(model, name)}


def _identity(value: Any) -> Any:
    """What is equal for parameters that are the same."""
    if isinstance(value, tuple):
        return "tuple", tuple(map(_identity, value))
    plain = isinstance(value, str | int | float | bool | type(None))
    return (type(value).__name__, repr(value)) if plain else ("", str(id(value)))
