"""What is computed: a network, the rows it sees and how it is updated, the same for every peer.

A workload names only structure and sizes; the data are drawn from a fixed seed, since what the labels mean does not
change what a step costs. They can be learned, though, so that no peer runs into the slow arithmetic of overflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A perceptron with ReLU between its layers, and its training, or its use where `optimizer` is None.

    `loss` is "mean_squared_error" of a sigmoid, "binary_cross_entropy" or "softmax_cross_entropy", both of logits; at
    inference the output is what the loss's link makes of the logits. `batch_size=None` is all rows as one batch,
    without a gather. The learning rate is SGD's or Adam's. `circles`: the tutorial's data and not drawn ones.

    `members`: so many such networks, each from its own weights, all on the same rows. Each sees them in an order of its
    own, or with `shared` all in one order. A peer that trains all of them at once is always given all. One that trains
    one after another is given the first `lone` of them, since each costs it the same, and its time is scaled to that of
    `members`. What is measured is a step of one network: the time of an epoch of all by `members` times `steps`.
    """

    name: str
    widths: tuple[int, ...]
    rows: int
    batch_size: int | None
    loss: str
    optimizer: str | None
    learning_rate: float
    dtype: str
    circles: bool = False
    members: int = 1
    lone: int = 1
    shared: bool = False

    @property
    def label(self) -> str:
        """The network and the batch, for tables."""
        rows = f"{self.rows:,} row{'s' * (self.rows > 1)}" if self.batch_size is None else f"batch {self.batch_size}"
        use = {"sgd": "SGD", "adam": "Adam", None: "inference"}[self.optimizer]
        many = f"{self.members} x " * (self.members > 1)
        order = f", {'one order for all' if self.shared else 'own orders'}" * (self.members > 1)
        return f"{self.name} {many}{'-'.join(map(str, self.widths))}, {rows}, {use}, {self.dtype}{order}"

    @property
    def batch(self) -> int:
        """Rows of one step."""
        return self.batch_size or self.rows

    @property
    def steps(self) -> int:
        """Updates of a network in one epoch; at inference an epoch is one call."""
        return math.ceil(self.rows / self.batch)

    @property
    def rest(self) -> int:
        """Rows of the last step of an epoch, where the others do not use up all; else 0."""
        return self.rows % self.batch

    @property
    def output(self) -> str:
        """The activation that turns the last layer's output into what the labels are."""
        return "softmax" if self.loss == "softmax_cross_entropy" else "sigmoid"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """x (rows, features) of the workload's dtype and labels (rows,), int64: 0 and 1, or classes.

        Where rows are many enough every class is there, since scikit-learn makes an output for each one that it sees.
        """
        if self.circles:
            from xpnn.datasets import circles

            x, y = circles(n=self.rows // 2)
            return x.astype(self.dtype), y[:, 0].astype(np.int64)
        rng, classes = np.random.default_rng(0), max(2, self.widths[-1])
        x = rng.standard_normal((self.rows, self.widths[0]), dtype=np.dtype(self.dtype).type)
        y = (x @ rng.standard_normal((self.widths[0], classes), dtype=x.dtype.type)).argmax(axis=1)
        y[:classes] = np.arange(classes)[: self.rows]
        return x, y

    def seed(self, member: int) -> int:
        """From which a peer draws the order of a member's rows: where that is shared, it is the first one's."""
        return 0 if self.shared else member

    def initial(self, member: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weight (inputs, outputs) and bias (outputs,) of each layer, by He, Zhang, Ren and Sun (2015), from which all
        peers start that let their weights be set."""
        rng, layers = np.random.default_rng(1 + member), []
        for n_in, n_out in pairwise(self.widths):
            weight = rng.standard_normal((n_in, n_out)) * math.sqrt(2.0 / n_in)
            layers.append((weight.astype(self.dtype), np.zeros(n_out, self.dtype)))
        return layers

    def stacked(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same of all members, one after another along a first axis."""
        layers = zip(*(self.initial(member) for member in range(self.members)), strict=True)
        return [(np.stack([weight for weight, _ in layer]), np.stack([bias for _, bias in layer])) for layer in layers]


_W2 = Workload("W2", (30, 64, 64, 1), 128 * 40, 128, "binary_cross_entropy", "adam", 0.001, "float32")
_IMAGES = (784, 256, 128, 10)
WORKLOADS = {
    work.name: work
    for work in (
        Workload("W1", (2, 4, 8, 1), 300, None, "mean_squared_error", "sgd", 0.15, "float64", circles=True),
        _W2,
        Workload("W3", _IMAGES, 128 * 40, 128, "softmax_cross_entropy", "adam", 0.001, "float32"),
        Workload("W4", (100, 512, 512, 10), 1024 * 8, 1024, "softmax_cross_entropy", "adam", 0.001, "float32"),
        Workload("W5", (1024, 4096, 4096, 1000), 1024 * 4, 1024, "softmax_cross_entropy", "adam", 0.001, "float32"),
        Workload("W6a", _IMAGES, 1, None, "softmax_cross_entropy", None, 0.0, "float32"),
        Workload("W6b", _IMAGES, 100_000, None, "softmax_cross_entropy", None, 0.0, "float32"),
        replace(_W2, name="W7o", rows=20_000, members=64, lone=8),
        replace(_W2, name="W7s", rows=20_000, members=64, lone=8, shared=True),
    )
}
