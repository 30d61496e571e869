"""Who is compared: for each library, the epochs of a workload as a user of that library would write them.

A peer is a function `(workload, place) -> train`, and `train(epochs)` trains a fresh network and gives the seconds that
the epochs took. Counted are the shuffling, the gather of each batch, forward, loss, backward, update, and the record of
the loss, which every peer reads once an epoch. Not counted are making the data, the network and the optimizer, but
for scikit-learn, whose `fit` makes them; `worker.py` takes so many epochs that this, and the checking of the input in
`fit`, is below a hundredth.

The networks, batches, types and optimizers are equal. Three things are to know of scikit-learn. It has no squared
error for a sigmoid, so on W1 it minimizes the cross-entropy, which costs its step a tenth more. It adds an L2 penalty
in every step, here of strength 0. And by default it shuffles and gathers even where all rows are one batch, which
doubles its step on W1; as no other peer does so, it is told not to. Libraries are imported where they are used: a
process holds one peer.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from tests.benchmarks.workloads import Workload

Train = Callable[[int], float]


def limit(work: Workload, place: str) -> Train:
    """The matrix products alone, in NumPy on buffers of their own: no step that calls them can be faster."""
    if place != "numpy":
        raise RuntimeError(f"it is measured in NumPy, which is no limit for {place}")
    rng = np.random.default_rng(0)
    products = []
    for index, (n_in, n_out) in enumerate(pairwise(work.widths)):
        x, w, dy = (rng.random(s).astype(work.dtype) for s in ((work.batch, n_in), (n_in, n_out), (work.batch, n_out)))
        products += [(x.dot, w, np.empty_like(dy)), (x.T.dot, dy, np.empty_like(w))]
        products += [(dy.dot, w.T, np.empty_like(x))] * (index > 0)  # nobody asks for the gradient of the data

    def train(epochs: int) -> float:
        start = perf_counter()
        for _ in range(epochs * work.steps):
            for dot, other, out in products:
                dot(other, out)
        return perf_counter() - start

    return train


def xpnn_eager(work: Workload, place: str) -> Train:
    """`Network.fit`; reading an epoch's loss waits for the device, so a GPU has finished when it returns."""
    import xpnn

    net = xpnn.Network(xpnn.mlp(work.widths, "relu", work.output), backend=place, dtype=work.dtype)
    x, y = work.data()
    x, y = net.backend.asarray(x), net.backend.asarray(y, dtype=None)
    kind = {"sgd": xpnn.SGD, "adam": xpnn.Adam}[work.optimizer]
    options: dict[str, Any] = {"optimizer": kind(work.learning_rate), "batch_size": work.batch_size}
    if "compile" in inspect.signature(net.fit).parameters:
        options["compile"] = False  # where a step can be compiled, it is another peer

    def train(epochs: int) -> float:
        net.reset()
        start = perf_counter()
        net.fit(x, y, loss=work.loss, epochs=epochs, **options)
        return perf_counter() - start

    return train


def scikit_learn(work: Workload, place: str) -> Train:
    """`MLPClassifier.fit`, kept from stopping early."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)  # that it stopped at max_iter is what is wanted here
    x, y = work.data()
    options = {"momentum": 0.0} if work.optimizer == "sgd" else {}
    options |= {"solver": work.optimizer, "learning_rate_init": work.learning_rate, "batch_size": work.batch}
    options |= {"alpha": 0.0, "tol": 0.0, "n_iter_no_change": 10**9, "early_stopping": False, "random_state": 0}

    def train(epochs: int) -> float:
        shuffle = work.batch_size is not None
        model = MLPClassifier(work.widths[1:-1], "relu", max_iter=epochs, shuffle=shuffle, **options)
        start = perf_counter()
        model.fit(x, y)
        seconds = perf_counter() - start
        assert model.n_iter_ == epochs and model.coefs_[0].dtype == work.dtype, "another job than the other peers'"
        return seconds

    return train


def pytorch_eager(work: Workload, place: str) -> Train:
    """The loop of PyTorch's tutorials, with the data as one tensor and the fused optimizer."""
    import torch
    from torch import nn

    x, y = (torch.from_numpy(array).to(place) for array in work.data())
    if work.output == "sigmoid":
        y = y.to(x.dtype).unsqueeze(1)
    losses = {"binary_cross_entropy": nn.BCEWithLogitsLoss, "softmax_cross_entropy": nn.CrossEntropyLoss}
    criterion = losses.get(work.loss, nn.MSELoss)()

    def network() -> Any:
        layers = [part for sizes in pairwise(work.widths) for part in (nn.Linear(*sizes), nn.ReLU())]
        last = [nn.Sigmoid()] if work.loss == "mean_squared_error" else []
        return nn.Sequential(*layers[:-1], *last).to(place, x.dtype)

    def batches() -> Any:
        if work.batch_size is None:
            return [(x, y)]
        order = torch.randperm(work.rows, device=place).split(work.batch_size)
        return ((x.index_select(0, rows), y.index_select(0, rows)) for rows in order)

    def train(epochs: int) -> float:
        torch.manual_seed(0)
        net = network()
        kind = torch.optim.SGD if work.optimizer == "sgd" else torch.optim.Adam
        optimizer = kind(net.parameters(), lr=work.learning_rate, fused=True)
        history = []
        start = perf_counter()
        for _ in range(epochs):
            values = []
            for inputs, target in batches():
                optimizer.zero_grad()
                loss = criterion(net(inputs), target)
                loss.backward()
                optimizer.step()
                values.append(loss.detach())
            history.append(torch.stack(values).mean().item())
        return perf_counter() - start

    return train


PEERS = {"limit": limit, "xpnn eager": xpnn_eager, "scikit-learn": scikit_learn, "PyTorch eager": pytorch_eager}
