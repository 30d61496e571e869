"""The matrix products alone, in NumPy on buffers of their own: no step that calls them can be faster.

They are those of the forward pass, of the gradients of all weights, and of the gradients of all inputs but the data,
which nobody asks for; at inference those of the forward pass. Those of many networks are those of each, one after
another.
"""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from tests.benchmarks.peers import Run
from tests.benchmarks.workloads import Workload


def products(work: Workload, place: str) -> Run:
    """Each product by the bound method, which spares the dispatch of `matmul`; transposes are flags of the BLAS."""
    if place != "numpy":
        raise RuntimeError(f"it is measured in NumPy, which is no limit for {place}")
    full, last = (_calls(work, rows) if rows else [] for rows in (work.batch, work.rest))

    def run(n: int) -> tuple[float, list[float]]:
        start = perf_counter()
        for _ in range(n * work.members):
            for _ in range(work.rows // work.batch):
                for dot, other, out in full:
                    dot(other, out)
            for dot, other, out in last:
                dot(other, out)
        return perf_counter() - start, []

    return run


def _calls(work: Workload, rows: int) -> list[tuple[Any, np.ndarray, np.ndarray]]:
    """The products of a step of so many rows: the method, its argument and where the product goes."""
    rng, calls = np.random.default_rng(0), []

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.dtype(work.dtype).type)

    for index, (n_in, n_out) in enumerate(pairwise(work.widths)):
        x, weight, y = drawn(rows, n_in), drawn(n_in, n_out), drawn(rows, n_out)
        calls.append((x.dot, weight, np.empty_like(y)))
        if work.optimizer:
            calls.append((x.T.dot, y, np.empty_like(weight)))
            calls += [(y.dot, weight.T, np.empty_like(x))] * (index > 0)
    return calls
