"""xpnn: `Network.fit` and `Network.predict`, compiled, as they are without being told or by numba, and eager.

Reading an epoch's loss waits for the device, and so does bringing a prediction to the host: a GPU has finished when the
clock is read.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from tests.benchmarks.peers import CannotRun, Run
from tests.benchmarks.workloads import Workload


def compiled(work: Workload, place: str) -> Run:
    """The step, or the forward pass, as the plan that it was traced to; where that failed, an error and no figure."""
    warnings.filterwarnings("error", message=".* is not compiled")
    return _run(work, place, compile=True)


def jit(work: Workload, place: str) -> Run:
    """The same plan with loops that numba compiles."""
    if find_spec("numba") is None or work.optimizer is None:
        raise CannotRun("numba is not installed" if work.optimizer else "outputs are not computed by loops of numba's")
    return _run(work, place, compile="jit")


def eager(work: Workload, place: str) -> Run:
    """The mathematics as it is written."""
    return _run(work, place, compile=False)


def _run(work: Workload, place: str, compile: bool | str) -> Run:
    import xpnn

    net = xpnn.Network(xpnn.mlp(work.widths, "relu", work.output), backend=place, dtype=work.dtype)
    x, y = work.data()
    x, y = net.backend.asarray(x), net.backend.asarray(y, dtype=None)
    initial = net.params
    learned = [params for params in initial if "weight" in params]
    for params, (weight, bias) in zip(learned, work.initial(), strict=True):
        params["weight"], params["bias"] = net.backend.asarray(weight), net.backend.asarray(bias)
    net.params = initial
    if work.optimizer is None:

        def predict(n: int) -> tuple[float, list[float]]:
            start = perf_counter()
            for _ in range(n):
                out = net.predict(x, compile=bool(compile))
            first = net.backend.to_host(out[:1, :])
            return perf_counter() - start, first[0].tolist()

        return predict
    optimizer = {"sgd": xpnn.SGD, "adam": xpnn.Adam}[work.optimizer](work.learning_rate)
    options: dict[str, Any] = {"loss": work.loss, "optimizer": optimizer, "batch_size": work.batch_size}

    def train(n: int) -> tuple[float, list[float]]:
        net.reset()
        net.params = initial
        # What is compiled is so in an epoch of its own, which no peer's time holds.
        losses = net.fit(x, y, epochs=1, compile=compile, **options)["loss"]
        start = perf_counter()
        losses = losses + net.fit(x, y, epochs=n, compile=compile, **options)["loss"]
        return perf_counter() - start, losses[:n]

    return train
