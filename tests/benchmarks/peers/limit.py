"""The matrix products alone, on buffers of their own: no step that calls them can be faster.

They are those of the forward pass, of the gradients of all weights, and of the gradients of all inputs but the data,
which nobody asks for; at inference those of the forward pass. Those of many networks are those of each, one after
another.

On a card they are cuBLAS's, and those of an epoch one CUDA graph, so that the time is the card's and not the host's;
those of many networks are products of stacks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from tests.benchmarks.peers import Run
from tests.benchmarks.workloads import Workload

Array = Any


def products(work: Workload, place: str) -> Run:
    if place not in ("numpy", "cupy"):
        raise RuntimeError(f"it is measured in NumPy and CuPy, which are no limit for {place}")
    return (_on_processor if place == "numpy" else _on_card)(work)


def _on_processor(work: Workload) -> Run:
    """Each product by the bound method, which spares the dispatch of `matmul`; transposes are flags of the BLAS."""
    full, last = (
        [(first.dot, second, out) for first, second, out in _operands(work, rows, (), np, lambda array: array)]
        for rows in (work.batch, work.rest)
    )

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


def _on_card(work: Workload) -> Run:
    """By xpnn's handle of cuBLAS, since CuPy's own may not be captured; where there is none, CuPy's without a graph."""
    from xpnn.backend import resolve
    from xpnn.compile import cublas
    from xpnn.compile.capture import Replay

    cupy, kind = import_module("cupy"), resolve("cupy", work.dtype)
    own, lead = cublas.products(cupy, None, large=True), (work.members,) * (work.members > 1)
    full, last = (list(_operands(work, rows, lead, kind.xp, kind.asarray)) for rows in (work.batch, work.rest))
    calls = full * (work.rows // work.batch) + last

    def launch() -> None:
        if own is not None:
            own.begin(cupy.cuda.get_current_stream())
        for first, second, out in calls:
            if own is not None:
                own(first, second, out)
            else:
                cupy.matmul(first, second, out=out)

    replay = Replay(cupy)
    once = launch if own is None else partial(replay, "epoch", launch)

    def run(n: int) -> tuple[float, list[float]]:
        start = perf_counter()
        for _ in range(n):
            once()
        cupy.cuda.get_current_stream().synchronize()
        seconds = perf_counter() - start
        if replay.reason:
            warnings.warn(f"no CUDA graph of the products: {replay.reason}", RuntimeWarning, stacklevel=2)
        return seconds, []

    return run


def _operands(
    work: Workload, rows: int, lead: tuple[int, ...], xp: Any, own: Callable[[np.ndarray], Array]
) -> Iterator[tuple[Array, Array, Array]]:
    """The products of a step of so many rows: both operands, and where the product goes; none without rows."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Array:
        return own(rng.standard_normal((*lead, *shape), dtype=np.dtype(work.dtype).type))

    for index, (n_in, n_out) in enumerate(pairwise(work.widths) if rows else ()):
        x, weight, y = drawn(rows, n_in), drawn(n_in, n_out), drawn(rows, n_out)
        yield x, weight, xp.empty_like(y)
        if work.optimizer:
            yield xp.matrix_transpose(x), y, xp.empty_like(weight)
            if index > 0:
                yield y, xp.matrix_transpose(weight), xp.empty_like(x)
