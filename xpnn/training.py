"""Training: the pure step, an epoch of steps, and the record of what came of them.

A step is a function of what it changes (`Carry`), a batch, and the numbers and random keys of that step; it reads no
value on the host. Losses stay on the device and are read once an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpnn import optimizers, schedules
from xpnn.backend import Backend
from xpnn.batches import Batches, step_keys
from xpnn.inputs import Data
from xpnn.layers import Sequential, Step, map_layers, walk
from xpnn.optimizers import Optimizer
from xpnn.parameters import Layout, merge, multiplier_table

Array = Any


class NonFiniteLoss(FloatingPointError):
    """The loss, or a parameter, became NaN or infinite; the network is as it was before that epoch."""


class Carry(NamedTuple):
    """What a training step changes, and all of it."""

    params: Array  # (*members, n_params)
    state: Array  # (*members, n_state): what layers carry along without learning it
    memory: Any  # the optimizer's state


@dataclass(frozen=True)
class Program:
    """The structure of a step, everything about it that is no array: layers, where their arrays lie, loss, optimizer."""

    layer: Sequential
    learned: Layout
    state: Layout
    loss: Callable
    optimizer: Optimizer | None = None

    def tree(self, params: Array, state: Array, *, xp: Any) -> Any:
        """Each layer's arrays by name."""
        tree = self.learned.unflatten(params, xp=xp)
        return merge(tree, self.state.unflatten(state, xp=xp)) if self.state.size else tree

    def value_and_grad(
        self, params: Array, state: Array, batch: Data, step: Step | None, *, xp: Any
    ) -> tuple[Array, Array, Array]:
        """The loss, its gradient in the layout of `params`, and the layers' state after the pass."""
        tree = self.tree(params, state, xp=xp)
        prediction, cache = self.layer.forward(tree, batch.x, xp=xp, step=step)
        value, dy = self.loss(prediction, batch.y, xp=xp, weight=batch.weight)
        grads = self.learned.flatten(self.layer.gradients(tree, cache, dy, xp=xp), xp=xp)
        if self.state.size and step is not None:
            state = self.state.flatten(self.layer.update_state(tree, cache, xp=xp), xp=xp)
        return value, grads, state

    def step(self, carry: Carry, batch: Data, numbers: StepNumbers, *, xp: Any) -> tuple[Carry, Array]:
        """One update: the loss before it, and what it changed."""
        step = Step(numbers.layers, numbers.keys, xp)
        value, grads, state = self.value_and_grad(carry.params, carry.state, batch, step, xp=xp)
        params, memory = self.optimizer.update(carry.params, grads, carry.memory, numbers.optimizer, xp=xp)  # type: ignore
        return Carry(params, state, memory), value


class StepNumbers(NamedTuple):
    """The inputs of one step that are neither its batch nor what it changes."""

    optimizer: dict[str, Array]  # of shape (*members, 1); the multiplier (n_params,) is folded into learning_rate
    layers: Any  # by layer, of shape (*members, 1, 1)
    keys: Any  # by layer, int32 of shape (*members, 2)


class Numbers:
    """The numbers of each step of an epoch, on the device: those that stand still uploaded once, the others by epoch.

    Raises, before anything is trained, where a number of values is not that of the members or a multiplier's name is
    unknown.
    """

    def __init__(self, program: Program, seeds: Sequence[int], members: int | None, backend: Backend):
        self.program, self.seeds, self.members, self.backend = program, seeds, members, backend
        factors = multiplier_table(program.learned, len(program.layer.layers), getattr(program.optimizer, "multipliers", {}))
        self._multiplier = None if factors is None else backend.asarray(factors)
        self._fixed: dict[Any, Array] = {}
        self._still = None
        rows = self.epoch(0, range(1), 0)
        moving = any(callable(value) for value in optimizers.number_fields(program.optimizer).values())  # type: ignore
        for _, layer in walk(program.layer):
            moving = moving or layer.random or any(callable(getattr(layer, name)) for name in layer.tunable)
        self._still = None if moving else rows

    def epoch(self, number: int, steps: range, first: int) -> list[StepNumbers]:
        """The numbers for `steps`, counted over the network's life; the optimizer's schedules count from `first`."""
        if self._still is not None:
            return self._still * len(steps)
        since = range(steps.start - first, steps.stop - first)
        optimizer = {
            name: self._rows(name, value, since, (1,))
            for name, value in optimizers.number_fields(self.program.optimizer).items()  # type: ignore[arg-type]
        }
        layers = map_layers(
            lambda path, layer: {
                name: self._rows((path, name), getattr(layer, name), since, (1, 1)) for name in layer.tunable
            },
            self.program.layer,
        )
        keys = step_keys(self.program.layer, self.seeds, number, steps, self.members is not None, self.backend)
        rows = []
        for i in range(len(steps)):
            row = StepNumbers(_pick(optimizer, i), _pick(layers, i), _pick(keys, i))
            if self._multiplier is not None:
                row.optimizer["learning_rate"] = row.optimizer["learning_rate"] * self._multiplier
            rows.append(row)
        return rows

    def _rows(self, key: Any, value: Any, steps: range, shape: tuple[int, ...]) -> Array:
        """An array (steps, *members, *shape), or (1, *members, *shape) for a number that stands still."""
        if key in self._fixed:
            return self._fixed[key]
        values = np.asarray(schedules.values(key if isinstance(key, str) else key[1], value, steps, self.members))
        rows = self.backend.asarray(values.reshape(*values.shape, *shape))
        if not callable(value):
            self._fixed[key] = rows
        return rows


def _pick(tree: Any, step: int) -> Any:
    """The entries of one step of a tree of arrays with an axis of steps, or of one row that stands for all."""
    if tree is None:
        return None
    if isinstance(tree, list):
        return [_pick(child, step) for child in tree]
    if isinstance(tree, dict):
        return {name: _pick(rows, step) for name, rows in tree.items()}
    return tree[step if tree.shape[0] > 1 else 0, ...]


class Epoch(NamedTuple):
    """What an epoch of steps gave: what it changed, and the mean loss on the host (the members' shape)."""

    carry: Carry
    loss: np.ndarray
    finite: bool


def run_epoch(program: Program, carry: Carry, batches: Batches, numbers: list[StepNumbers], number: int) -> Epoch:
    """One pass over the batches. The loss is the mean over all rows (by their weights), each batch's before its update."""
    backend, xp = batches.backend, batches.backend.xp
    values, totals = [], []
    with backend.quiet():
        for batch, inputs in zip(batches.epoch(number), numbers, strict=True):
            carry, value = program.step(carry, batch, inputs, xp=xp)
            values.append(value)
            if batch.weight is not None and batches.steps > 1:
                totals.append(xp.sum(batch.weight, axis=-1))
        # One array, read once: the losses, and whether the parameters can go on (a finite loss says nothing of the
        # last update).
        good = xp.astype(xp.all(xp.isfinite(carry.params), axis=-1), values[0].dtype)
        host = backend.to_host(xp.stack([*values, good]))
    losses, finite = host[:-1].astype(np.float64), bool(np.isfinite(host).all() and (host[-1] > 0).all())
    if len(losses) == 1:
        return Epoch(carry, losses[0], finite)
    if totals:
        share = backend.to_host(xp.stack(totals)).astype(np.float64)
        share = share.reshape(*share.shape, *(1,) * (losses.ndim - share.ndim))
    else:
        sizes = [min(batches.batch_size, batches.rows - start) for start in range(0, batches.rows, batches.batch_size)]
        share = np.asarray(sizes, dtype=np.float64).reshape(-1, *(1,) * (losses.ndim - 1))
    total = np.sum(share, axis=0)
    return Epoch(carry, np.sum(losses * share, axis=0) / np.where(total == 0.0, 1.0, total), finite)


def explain_non_finite(
    program: Program, carry: Carry, batches: Batches, numbers: list[StepNumbers], number: int
) -> str:
    """Which layer's output went non-finite first, found by replaying the epoch from `carry`, and the likely cause."""
    backend, xp = batches.backend, batches.backend.xp

    def finite(array: Array) -> bool:
        return bool(xp.all(xp.isfinite(array)))

    scale = float(xp.max(xp.abs(batches.data.x)))
    with backend.quiet():
        for index, (batch, inputs) in enumerate(zip(batches.epoch(number), numbers, strict=True)):
            where = f"epoch {number}, step {index + 1} of {batches.steps}"
            tree = program.tree(carry.params, carry.state, xp=xp)
            step, x = Step(inputs.layers, inputs.keys, xp), batch.x
            for position, layer in enumerate(program.layer.layers):
                x, _ = layer.forward(tree[position], x, xp=xp, step=step.child(position))
                if not finite(x):
                    return f"{where}: the output of layer {position}, {layer}, was the first that was not finite. " + (
                        _cause(program, index + number, scale, finite(carry.params))
                    )
            carry, value = program.step(carry, batch, inputs, xp=xp)
            if not finite(value):
                return f"{where}: every layer's output was finite, the loss was not. {_cause(program, 0, scale, True)}"
        where = f"epoch {number}, its last step"
        if not finite(carry.params):
            last = f"layer {len(program.layer.layers) - 1}, {program.layer.layers[-1]}"
            for entry, array in program.learned.pairs(program.learned.unflatten(carry.params, xp=xp)):
                if not finite(array):
                    last = f"layer {entry.path[0]}, {program.layer.layers[entry.path[0]]}, in its {entry.name}"
                    break
            return f"{where}: the update left values that are not finite in {last}. {_cause(program, 1, scale, False)}"
    return f"epoch {number}; a replay of the epoch stayed finite, so the cause is an operation that is not deterministic."


def _cause(program: Program, updates: int, scale: float, params_finite: bool) -> str:
    """The likely cause in a sentence: numbers out of proportion, or steps too long."""
    rate = getattr(program.optimizer, "learning_rate", None)
    if updates == 0 or scale > 1e4:
        return f"Likely cause: the scale of the data (the largest |x| is {scale:.3g}); standardize it."
    grown = "grew until they overflowed" if params_finite else "overflowed in the update before"
    return f"Likely cause: a learning rate that is too large ({rate}): the weights {grown}."


class History:
    """What was recorded after each epoch: `history["loss"]` is a list with an entry an epoch.

    `history.history` is the dict of all lists, `history.epoch` the numbers of the epochs, counted from 0 over the
    network's life. An entry is a float, or for a stack of members an array with one number each.

    >>> history = History()
    >>> history.append(0, {"loss": 0.5})
    >>> history["loss"], history.epoch
    ([0.5], [0])
    """

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self.history:
            raise KeyError(f"{name!r} was not recorded; there are {list(self.history)}")
        return self.history[name]

    def __repr__(self) -> str:
        if not self.epoch:
            return "History(no epochs)"
        last = ", ".join(f"{name} {np.round(values[-1], 6)}" for name, values in self.history.items())
        return f"History({len(self.epoch)} epochs; last: {last})"

    def append(self, epoch: int, logs: dict[str, Any]) -> None:
        """Record one epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def pop(self) -> None:
        """Forget the last epoch."""
        self.epoch.pop()
        for values in self.history.values():
            values.pop()

    def plot(self, ax: Any = None) -> Any:
        """The recorded curves over epochs as a matplotlib Axes."""
        from xpnn.plotting import plot_history

        return plot_history(self, ax=ax)
