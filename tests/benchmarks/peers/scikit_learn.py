"""scikit-learn: `MLPClassifier.fit`, kept from stopping early, and its `predict_proba`.

It has no squared error for a sigmoid, so on W1 it minimizes the cross-entropy, which costs its step a tenth more. It
adds an L2 penalty in every step, here of strength 0. And by default it shuffles and gathers even where all rows are one
batch, which doubles its step on W1; as no other peer does so, it is told not to. Its initial weights are its own.
"""

from __future__ import annotations

import warnings
from time import perf_counter
from typing import Any

from tests.benchmarks.peers import Run
from tests.benchmarks.workloads import Workload


def estimator(work: Workload, place: str) -> Run:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)  # that it stopped at max_iter is what is wanted here
    x, y = work.data()
    options: dict[str, Any] = {"momentum": 0.0} if work.optimizer == "sgd" else {}
    options |= {"solver": work.optimizer or "adam", "learning_rate_init": work.learning_rate or 1e-9}
    options["batch_size"] = work.batch if work.optimizer else "auto"
    options |= {"alpha": 0.0, "tol": 0.0, "n_iter_no_change": 10**9, "early_stopping": False, "random_state": 0}

    def checked(model: MLPClassifier, epochs: int) -> MLPClassifier:
        assert model.n_iter_ == epochs and model.coefs_[0].dtype == work.dtype, "another job than the other peers'"
        assert tuple(len(w) for w in model.coefs_) == work.widths[:-1] and model.n_outputs_ == work.widths[-1]
        return model

    if work.optimizer is None:
        classes = work.widths[-1]
        model: Any = MLPClassifier(work.widths[1:-1], max_iter=1, **options)
        checked(model.fit(x[:1].repeat(classes, axis=0), range(classes)), 1)
        for index, (weight, bias) in enumerate(work.initial()):
            model.coefs_[index][...], model.intercepts_[index][...] = weight, bias

        def predict(n: int) -> tuple[float, list[float]]:
            start = perf_counter()
            for _ in range(n):
                out = model.predict_proba(x)
            return perf_counter() - start, out[0].tolist()

        return predict

    def train(n: int) -> tuple[float, list[float]]:
        shuffle = work.batch_size is not None
        model = MLPClassifier(work.widths[1:-1], max_iter=n, shuffle=shuffle, **options)
        start = perf_counter()
        model.fit(x, y)
        seconds = perf_counter() - start
        return seconds, checked(model, n).loss_curve_

    return train
