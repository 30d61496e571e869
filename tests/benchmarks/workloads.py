"""What is trained: a network, the rows it sees and how it is updated, the same for every peer.

A workload names only structure and sizes; the data are drawn from a fixed seed, since what the labels mean does not
change what a step costs. They can be learned, though, so that no peer runs into the slow arithmetic of overflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A perceptron with ReLU between its layers, and its training.

    `loss` is "mean_squared_error" of a sigmoid, "binary_cross_entropy" or "softmax_cross_entropy", both of logits.
    `batch_size=None` is all rows as one batch, without a gather. The learning rate is SGD's or Adam's.
    """

    name: str
    widths: tuple[int, ...]
    rows: int
    batch_size: int | None
    loss: str
    optimizer: str
    learning_rate: float
    dtype: str

    @property
    def label(self) -> str:
        """The network and the batch, for tables."""
        rows = f"{self.rows} rows, SGD" if self.batch_size is None else f"batch {self.batch_size}, Adam"
        return f"{self.name} {'-'.join(map(str, self.widths))}, {rows}, {self.dtype}"

    @property
    def batch(self) -> int:
        """Rows of one step."""
        return self.batch_size or self.rows

    @property
    def steps(self) -> int:
        """Updates in one epoch."""
        return math.ceil(self.rows / self.batch)

    @property
    def output(self) -> str:
        """The activation that turns the last layer's output into what the labels are."""
        return "softmax" if self.loss == "softmax_cross_entropy" else "sigmoid"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """x (rows, features) of the workload's dtype and labels (rows,), int64: 0 and 1, or classes."""
        if self.batch_size is None:
            from xpnn.datasets import circles

            x, y = circles(n=self.rows // 2)
            return x.astype(self.dtype), y[:, 0].astype(np.int64)
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.rows, self.widths[0]))
        scores = x @ rng.standard_normal((self.widths[0], max(2, self.widths[-1])))
        return x.astype(self.dtype), scores.argmax(axis=1)


WORKLOADS = {
    work.name: work
    for work in (
        Workload("W1", (2, 4, 8, 1), 300, None, "mean_squared_error", "sgd", 0.15, "float64"),
        Workload("W2", (30, 64, 64, 1), 128 * 40, 128, "binary_cross_entropy", "adam", 0.001, "float32"),
        Workload("W3", (784, 256, 128, 10), 128 * 40, 128, "softmax_cross_entropy", "adam", 0.001, "float32"),
        Workload("W4", (100, 512, 512, 10), 1024 * 8, 1024, "softmax_cross_entropy", "adam", 0.001, "float32"),
    )
}
