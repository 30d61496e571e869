"""Compiled steps beside eager ones: problems with every piece of the tables, and how far two results are apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import xpnn
from tests.tables import ACTIVATIONS, LAYERS, LOSSES, TUNED_ACTIVATIONS
from tests.test_losses import KINDS, case
from xpnn import Dense, Network, PReLU, inputs
from xpnn.inputs import Data
from xpnn.optimizers import Optimizer
from xpnn.program import StepNumbers
from xpnn.progress import START, Carry, leaves

ROWS = 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 5))
WEIGHT = np.asarray([1.0, 0.0, 2.5, 0.5, 1.0, 3.0, 0.25, 1.5])
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


class Recorded(NamedTuple):
    gradient: Any


@dataclass(frozen=True)
class Recording(Optimizer):
    """Gradient descent whose state is the gradient, so that a step gives it to the bit."""

    learning_rate: Any = 0.1

    def start(self, params, *, xp):
        return Recorded(xp.zeros_like(params))

    def rule(self, params, grads, state, hyper, *, xp):
        return params - hyper["learning_rate"] * grads, Recorded(grads)


class Problem(NamedTuple):
    """Layers, rows and targets, and a loss."""

    name: str
    layers: list
    x: np.ndarray
    y: np.ndarray | None  # None for numbers drawn as the outputs are shaped
    loss: Any = "mse"

    def __str__(self):
        return self.name

    def target(self, net: Network, lead: tuple[int, ...] = ()) -> np.ndarray:
        rng = np.random.default_rng(7)
        return rng.normal(size=(*lead, len(self.x), *net.shapes.output)) if self.y is None else self.y


def _stack(entry) -> Problem:
    layer, x = entry if isinstance(entry, tuple) else (entry, X)
    layers = [Dense(5, 5), layer]
    if isinstance(entry, tuple):
        layers = [layer, PReLU(layer.output_shape(layer.input_shape)[0])]
    return Problem(f"layer {layer}", layers, np.asarray(x, float), None)


def _activated(activation) -> Problem:
    return Problem(f"activation {activation}", [Dense(5, 4), activation, Dense(4, 2)], X, None)


def _lossy(loss, kind) -> Problem:
    outputs = case(loss, kind)[0].shape[-1]
    y = KINDS[kind](np.random.default_rng(3), (ROWS, 3))
    return Problem(f"loss {loss} of {kind}", [Dense(5, 4), "tanh", Dense(4, outputs)], X, y, loss)


PROBLEMS = [
    *map(_stack, LAYERS),
    *map(_activated, ACTIVATIONS),
    *(_activated(activation) for activation, *_ in TUNED_ACTIVATIONS),
    *(_lossy(loss, kind) for loss, _, kind in LOSSES),
]


class Prepared(NamedTuple):
    """A network with all that one step of it takes."""

    net: Network
    steps: Any
    carry: Carry
    data: Data
    numbers: StepNumbers


def prepared(net: Network, x, y, loss: Any = "mse", optimizer: Any = None, weight=None, step: int = 0) -> Prepared:
    """What `net.step` and `net.fit` would run."""
    loss = xpnn.losses.get(loss)
    optimizer = Recording() if optimizer is None else optimizer
    steps, numbers = net._prepare(loss, optimizer)
    data = inputs.data(x, y, weight, loss, net.shapes, net.backend)
    carry = net.progress.started(loss, optimizer, xp=np).carry
    return Prepared(net, steps, carry, data, numbers.epoch(START, step, step + 1)[0])


def problem(case: Problem, members=None, own=False, weighted=False, dtype="float64", optimizer=None) -> Prepared:
    """One of the problems above; a stack's rows, targets and weights are shared, or each member's `own`."""
    net = Network(case.layers, dtype=dtype, seed=3, members=members)
    lead = (members,) if own and members else ()
    x, y, weight = case.x, case.target(net, lead), WEIGHT[: len(case.x)] if weighted else None
    if own:
        x = np.stack([x, x[::-1], x[[1, 0, *range(2, len(x))]]])
        y = y if case.y is None else np.stack([y, y[::-1], y])
        weight = weight if weight is None else np.stack([weight, weight[::-1], weight])
    return prepared(net, x, y, case.loss, optimizer, weight)


WAYS = ("step", "all", "rows", "batch")


def ways(ready: Prepared, among: Sequence[str] = WAYS) -> dict[str, tuple[Carry, Any]]:
    """Carry and value after one step from the same carry, for every way in which a batch reaches a program.

    "eager" is what all others are compared with.
    """
    net, steps, carry, data, numbers = ready
    found = {"eager": steps.step(carry, data, numbers, compile=False)}
    if "step" in among:
        found["step"] = steps.step(carry, data, numbers)
    count = data.x.shape[data.x.ndim - steps.rank - 1]
    rows = np.arange(count)[::-1] if net.members is None else np.stack([np.arange(count)[::-1]] * net.members)
    for name, (held, item) in {"all": (data, None), "rows": (data, rows), "batch": (None, data)}.items():
        if name in among:
            run = steps.epoch(carry, held, True)
            value, _ = run(item, numbers)
            found[name] = run.carry, value
    assert steps.compiled == "traced", steps.attempts.reason
    return found


def far(found, expected) -> float:
    """The greatest distance of two trees of arrays (..., n), of lanes, by the norm of the expected or 1e-3."""
    found, expected = leaves(found), leaves(expected)
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in expected]
    worst = 0.0
    for one, two in zip(found, expected, strict=True):
        one, two = np.asarray(one, np.float64), np.asarray(two, np.float64)
        if one.size:
            scale = np.maximum(np.linalg.norm(two, axis=-1), 1e-3)
            worst = max(worst, float(np.max(np.linalg.norm(one - two, axis=-1) / scale)))
            assert np.isfinite(one).all() == np.isfinite(two).all()
    return worst
