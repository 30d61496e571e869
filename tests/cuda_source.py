"""What the emitter for CuPy makes of the steps and outputs of networks of every piece, found without CuPy."""

import functools
import warnings
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from tests.tables import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS
from tests.test_losses import case
from xpnn import Adam, Dense, Network, PReLU, mlp
from xpnn.compile import traced
from xpnn.compile.launches import steps
from xpnn.compile.plan import Plan
from xpnn.compile.rows import together
from xpnn.compile.steps import Steps
from xpnn.compile.trace import Untraceable

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5))


class Planned(NamedTuple):
    """A plan of a training step or of outputs, for rows like x."""

    name: str
    plan: Plan
    x: np.ndarray


@functools.cache
def plans() -> list[Planned]:
    """Plans of a training step and of the outputs with every line of the tables, lone and stacked, in both dtypes."""
    return [
        Planned(f"{name}, {members} members, {dtype}", plan, np.asarray(x, dtype))
        for name, layers, x, y, loss, optimizer in _cases()
        for members in (None, 3)
        for dtype in ("float32", "float64")
        for plan in _made(Network(layers, dtype=dtype, members=members), x, y, loss, optimizer)
    ]


@functools.cache
def kernels() -> dict[str, Any]:
    """Every kernel of these by name."""
    made = (step.kernel for planned in plans() for step in steps(planned.plan))
    return {kernel.name: kernel for kernel in made if kernel is not None}


def _cases():
    """Of every piece a name, the layers of a network with it, rows and targets, a loss and an optimizer."""
    for entry in LAYERS:
        layer, x = entry if isinstance(entry, tuple) else (entry, X)
        stack = [layer, PReLU()] if isinstance(entry, tuple) else [Dense(5, 5), layer]
        yield f"layer {layer}", stack, np.asarray(x), None, "mse", Adam()
    for name in ACTIVATIONS:
        yield f"activation {name}", [Dense(5, 4), name, Dense(4, 2)], X, RNG.normal(size=(8, 2)), "mse", Adam()
    for loss, _, kind in LOSSES:
        prediction, target = case(loss, kind)
        yield f"loss {loss} of {kind}", [Dense(5, prediction.shape[-1])], X[:4], target, loss, Adam()
    for optimizer, _ in OPTIMIZERS:
        yield f"optimizer {optimizer}", mlp([5, 4, 2], "relu"), X, RNG.normal(size=(8, 2)), "mse", optimizer


def _made(net: Network, x: Any, y: Any, loss: Any, optimizer: Any) -> list[Plan]:
    """The plans of a step, of a shorter last step and of outputs."""
    y = np.zeros(net.predict(x).shape[-len(net.shapes.output) - 1 :]) if y is None else y
    weight, size = np.arange(len(x)) + 1.0, len(x) // 2 + 1
    made = _recorded(lambda: net.fit(x, y, loss, optimizer, epochs=1, batch_size=size, sample_weight=weight))
    made += _recorded(lambda: [net.predict(x), net.predict(x)])  # made when rows of one shape come again
    assert len(made) == 3
    return made


def _recorded(work: Any) -> list[Plan]:
    """The plans that are made while `work` runs on NumPy, as they would be made for CuPy."""
    found = []

    def program(plan, bound):
        found.append(plan)
        raise Untraceable("the test, which wants the plan alone")

    emitter = program, {"products": False, "cluster": True, "rows": together}
    always = property(lambda self: "traced", lambda self, value: None)  # each shape is tried, whatever came of the last
    patched = (
        mock.patch.object(traced, "_emitter", lambda *asked: emitter),
        mock.patch.object(Steps, "compiled", always, create=True),
    )
    with patched[0], patched[1], warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is not compiled")
        work()
    return found
