"""What a compiled step takes of memory, planned beside measured: `python -m tests.benchmarks.peak`.

The network is that of W4. Planned are the buffers of the step's program; measured is the most that a fit of some epochs
holds at once, all of xpnn's Python objects included and the data not: NumPy tells tracemalloc of every array. Beside
both stands what the model's four vectors (parameters, gradient, Adam's two moments), the epoch's safety copy of three
of them and 2.5 batches of activations take.
"""

from __future__ import annotations

import tracemalloc
from typing import NamedTuple

import numpy as np

import xpnn

WIDTHS, BATCH = (100, 512, 512, 10), 1024


class Peak(NamedTuple):
    """Bytes: of the program's buffers, of those with the vectors that stand beside them, measured, and allowed."""

    buffers: int
    planned: int
    measured: int
    allowed: int


def peak() -> Peak:
    """The peak of a fit on four batches."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * BATCH, WIDTHS[0])).astype(np.float32)
    y = rng.integers(0, WIDTHS[-1], 4 * BATCH).astype(np.int32)
    tracemalloc.start()
    net = xpnn.Network(xpnn.mlp(WIDTHS, "relu", "softmax"))
    options = {"loss": "cross_entropy", "optimizer": xpnn.Adam(), "batch_size": BATCH}
    net.fit(x, y, **options, epochs=1)  # libraries are loaded, the program is made
    tracemalloc.reset_peak()
    net.fit(x, y, **options, epochs=3)
    measured = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    vector = 4 * net.n_params
    (traced,) = net._prepared[0].traced.values()
    buffers = traced.plan.memory  # the gradient is one of them
    allowed = 7 * vector + int(2.5 * BATCH * sum(WIDTHS) * 4)
    return Peak(buffers, buffers + 6 * vector, measured, allowed)


def main() -> None:
    found = peak()
    for name, size in found._asdict().items():
        print(f"{name:<8} {size / 2**20:6.2f} MiB")


if __name__ == "__main__":
    main()
