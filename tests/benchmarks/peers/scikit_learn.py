"""scikit-learn: `MLPClassifier.fit`, kept from stopping early, and its `predict_proba`.

It has no squared error for a sigmoid, so on W1 it minimizes the cross-entropy, which costs its step a tenth more. It
adds an L2 penalty in every step, here of strength 0. And by default it shuffles and gathers even where all rows are one
batch, which doubles its step on W1; as no other peer does so, it is told not to. Its initial weights and the order of
its rows are its own. Of many networks they are those of one seed each, also where others share one order, which would
cost it the same.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from tests.benchmarks.peers import CannotRun, Run, of_all
from tests.benchmarks.workloads import Workload


def estimator(work: Workload, place: str) -> Run:
    """Many networks one after another, in this process."""
    make = _estimator(work)
    x, y = work.data()
    if work.optimizer is None:
        classes = work.widths[-1]
        model = _fitted(work, make, x[:1].repeat(classes, axis=0), range(classes), 1, 0)
        for index, (weight, bias) in enumerate(work.initial()):
            model.coefs_[index][...], model.intercepts_[index][...] = weight, bias

        def predict(n: int) -> tuple[float, list[float]]:
            start = perf_counter()
            for _ in range(n):
                out = model.predict_proba(x)
            return perf_counter() - start, out[0].tolist()

        return predict

    def train(n: int) -> tuple[float, list[float]]:
        start = perf_counter()
        models = [_fitted(work, make, x, y, n, member) for member in range(work.lone)]
        return of_all(work, perf_counter() - start, (model.loss_curve_ for model in models))

    return train


def jobs(work: Workload, place: str) -> Run:
    """Many networks in processes of joblib's, as many as there are threads, each of one thread.

    The processes stay from one run to the next; each run hands the data to them. What they do is not in `busy`.
    """
    from joblib import Parallel, delayed, parallel_config

    processes = int(os.environ.get("OMP_NUM_THREADS", "1"))
    if work.members == 1 or processes == 1:
        raise CannotRun("it is for more than one network and more than one thread")
    make = _estimator(work)
    x, y = work.data()

    def train(n: int) -> tuple[float, list[float]]:
        with parallel_config("loky", inner_max_num_threads=1):
            start = perf_counter()
            calls = (delayed(_fitted)(work, make, x, y, n, member) for member in range(work.lone))
            models: Any = Parallel(processes)(calls)
            return of_all(work, perf_counter() - start, (model.loss_curve_ for model in models))

    return train


def _estimator(work: Workload) -> Callable[..., Any]:
    from sklearn.neural_network import MLPClassifier

    options: dict[str, Any] = {"momentum": 0.0} if work.optimizer == "sgd" else {}
    options |= {"solver": work.optimizer or "adam", "learning_rate_init": work.learning_rate or 1e-9}
    options |= {"batch_size": work.batch if work.optimizer else "auto", "shuffle": work.batch_size is not None}
    options |= {"alpha": 0.0, "tol": 0.0, "n_iter_no_change": 10**9, "early_stopping": False}
    return partial(MLPClassifier, work.widths[1:-1], **options)


def _fitted(work: Workload, make: Callable[..., Any], x: Any, y: Any, epochs: int, member: int) -> Any:
    """A fitted estimator, in this process or in another."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)  # that it stopped at max_iter is what is wanted here
    model = make(max_iter=epochs, random_state=member).fit(x, y)
    assert model.n_iter_ == epochs and model.coefs_[0].dtype == work.dtype, "another job than the other peers'"
    assert tuple(len(w) for w in model.coefs_) == work.widths[:-1] and model.n_outputs_ == work.widths[-1]
    return model
