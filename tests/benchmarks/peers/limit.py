"""The matrix products alone, in NumPy on buffers of their own: no step that calls them can be faster.

They are those of the forward pass, of the gradients of all weights, and of the gradients of all inputs but the data,
which nobody asks for; at inference those of the forward pass.
"""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter

import numpy as np

from tests.benchmarks.peers import Run
from tests.benchmarks.workloads import Workload


def products(work: Workload, place: str) -> Run:
    """Each product by the bound method, which spares the dispatch of `matmul`; transposes are flags of the BLAS."""
    if place != "numpy":
        raise RuntimeError(f"it is measured in NumPy, which is no limit for {place}")
    rng, calls = np.random.default_rng(0), []

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.dtype(work.dtype).type)

    for index, (n_in, n_out) in enumerate(pairwise(work.widths)):
        x, weight, y = drawn(work.batch, n_in), drawn(n_in, n_out), drawn(work.batch, n_out)
        calls.append((x.dot, weight, np.empty_like(y)))
        if work.optimizer:
            calls.append((x.T.dot, y, np.empty_like(weight)))
            calls += [(y.dot, weight.T, np.empty_like(x))] * (index > 0)

    def run(n: int) -> tuple[float, list[float]]:
        start = perf_counter()
        for _ in range(n * work.steps):
            for dot, other, out in calls:
                dot(other, out)
        return perf_counter() - start, []

    return run
