"""The pure training step: what it changes, the numbers that it takes, and the structure that stands still.

A step is a function of what it changes (`Carry`), a batch, and the numbers and random keys of that step; it reads no
value on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpnn import optimizers, schedules
from xpnn._arguments import AT_LEAST_ZERO, bounds_of
from xpnn.backend import Backend
from xpnn.batches import INITIAL, generator, step_keys, take_rows
from xpnn.inputs import Data
from xpnn.layers import Layer, Sequential, Step, map_layers, walk
from xpnn.optimizers import Optimizer
from xpnn.parameters import Layout, merge, multiplier_table, weight_table

Array = Any


class Carry(NamedTuple):
    """What a training step changes, and all of it."""

    params: Array  # (*members, n_params)
    state: Array  # (*members, n_state): what layers carry along without learning it
    memory: Any  # the optimizer's state


@dataclass(frozen=True)
class Program:
    """The structure of a step, all of it that is no array: layers, where their arrays lie, loss, optimizer."""

    layer: Sequential
    learned: Layout
    state: Layout
    loss: Callable
    optimizer: Optimizer | None = None

    def tree(self, params: Array, state: Array, *, xp: Any) -> Any:
        """Each layer's arrays by name."""
        return tree_of((self.learned, self.state), Carry(params, state, None), xp=xp)

    def value_and_grad(
        self, params: Array, state: Array, batch: Data, numbers: StepNumbers, *, xp: Any
    ) -> tuple[Array, Array, Array]:
        """The objective, its gradient in the layout of `params`, and the layers' state after the pass."""
        tree = self.tree(params, state, xp=xp)
        step = Step(numbers.layers, numbers.keys, xp)
        prediction, cache = self.layer.forward(tree, batch.x, xp=xp, step=step)
        value, dy = self.loss(prediction, batch.y, xp=xp, weight=batch.weight)
        grads = self.learned.flatten(self.layer.gradients(tree, cache, dy, xp=xp), xp=xp)
        if self.layer.penalizes:
            value = value + self.layer.penalty(tree, cache, xp=xp)
        if numbers.penalty:
            cost, slope = self.loss.penalty(  # type: ignore[attr-defined]
                params, numbers.penalty, numbers.prices, dy.shape[-2], batch.weight, xp=xp
            )
            value, grads = value + cost, grads + slope
        if self.state.size:
            state = self.state.flatten(self.layer.update_state(tree, cache, xp=xp), xp=xp)
        return value, grads, state

    def step(self, carry: Carry, batch: Data, numbers: StepNumbers, *, xp: Any) -> tuple[Carry, Array]:
        """One update: the objective before it, and what it changed."""
        value, grads, state = self.value_and_grad(carry.params, carry.state, batch, numbers, xp=xp)
        hyper = numbers.optimizer
        if numbers.multiplier is not None:
            rate = hyper["learning_rate"] * numbers.multiplier
            hyper = {**hyper, "learning_rate": rate, "multiplier": numbers.multiplier}
        params, memory = self.optimizer.update(carry.params, grads, carry.memory, hyper, xp=xp)  # type: ignore
        return Carry(params, state, memory), value

    def train(
        self,
        carry: Carry,
        data: Data | None,
        rows: Array | None,
        batch: Data | None,
        numbers: StepNumbers,
        *,
        rank: int,
        weighed: bool,
        xp: Any,
    ) -> tuple[Carry, Array, Array | None]:
        """One update on `batch`, on the given rows of `data` or on all of it, and the batch's weight where `weighed`.

        A sample of x has `rank` axes. Batches that have no weights, and so weigh as many as their rows, give None.
        """
        if batch is None:
            batch = data if rows is None else take_rows(data, rows, rank, xp=xp)  # type: ignore[arg-type]
        carry, value = self.step(carry, batch, numbers, xp=xp)  # type: ignore[arg-type]
        weight = batch.weight if weighed else None  # type: ignore[union-attr]
        return carry, value, None if weight is None else xp.sum(weight, axis=-1)


def tree_of(layouts: Sequence[Layout], carry: Carry, *, xp: Any) -> Any:
    """Each layer's arrays by name: what `carry` holds of parameters and state."""
    learned, state = layouts
    tree = learned.unflatten(carry.params, xp=xp)
    return merge(tree, state.unflatten(carry.state, xp=xp)) if state.size else tree


class Progress(NamedTuple):
    """Where training stands. A value: keeping it is a safety copy, putting it back undoes what came after."""

    carry: Carry
    loss: Any = None
    optimizer: Optimizer | None = None
    epoch: int = 0  # epochs that `fit` has finished
    step: int = 0  # updates made
    first: int = 0  # updates made when the optimizer's state began
    learning_rate: Any = None  # what stands in the place of the optimizer's own, where a callback has set one

    def started(self, loss: Any, optimizer: Optimizer, *, xp: Any) -> Progress:
        """Where training goes on from: with the optimizer's state, or with a new one for another optimizer."""
        if self.carry.memory is None or (optimizer is not self.optimizer and optimizer != self.optimizer):
            memory = optimizer.init(self.shown.params, xp=xp)
            return self._replace(
                carry=self.shown._replace(memory=memory),
                loss=loss,
                optimizer=optimizer,
                first=self.step,
                learning_rate=self.learning_rate if self.carry.memory is None else None,
            )
        same = loss is self.loss and optimizer is self.optimizer
        return self if same else self._replace(loss=loss, optimizer=optimizer)

    @property
    def shown(self) -> Carry:
        """What the network shows and predicts with: the average of its parameters where the optimizer keeps one."""
        params, _, memory = self.carry
        return self.carry if memory is None else self.carry._replace(params=self.optimizer.shown(params, memory))  # type: ignore

    def replaced(self, params: Array, state: Array) -> Progress:
        """The same with other parameters and layer state, from which an average of parameters starts anew."""
        memory = self.carry.memory
        memory = memory if memory is None else self.optimizer.restarted(params, memory)  # type: ignore[union-attr]
        return self._replace(carry=Carry(params, state, memory))

    def carry_of(self, chosen: Sequence[bool], rest: Carry | None, backend: Backend) -> Carry:
        """The carry, for the members that are not `chosen` that of `rest`. One bool stands for a lone network."""
        if rest is None or all(chosen):
            return self.carry
        if not any(chosen):
            return rest
        mine = backend.asarray([[one] for one in chosen], dtype=None)  # (members, 1)
        return map_arrays(lambda own, other: backend.xp.where(mine, own, other), self.carry, rest)

    def map(self, function: Callable[[Array], Array]) -> Progress:
        """The same with every array replaced by `function` of it: copied, or moved elsewhere."""
        return self._replace(carry=map_arrays(function, self.carry))


def map_arrays(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """A NamedTuple of arrays, of NamedTuples or of nothing, with every array replaced by `function` of it.

    `others` are built alike; `function` then takes the arrays that stand in the same place of each.
    """
    if tree is None:
        return None
    if isinstance(tree, tuple):
        parts = [map_arrays(function, *part) for part in zip(tree, *others, strict=True)]
        return type(tree)(*parts) if parts else tree
    return function(tree, *others)


def leaves(tree: Any) -> list[Array]:
    """Every array of such a NamedTuple."""
    found: list[Array] = []
    map_arrays(found.append, tree)
    return found


class StepNumbers(NamedTuple):
    """The inputs of one step that are neither its batch nor what it changes."""

    optimizer: dict[str, Array]  # of shape (*members, 1)
    layers: Any  # by layer, of shape (*members, 1, 1)
    keys: Any  # by layer, int32 of shape (*members, 2)
    penalty: dict[str, Array]  # of shape (*members, 1)
    multiplier: Array | None  # (n_params,), of the learning rate; one array for all steps, as the next
    prices: Array | None  # (n_params,), of the penalties


class Numbers:
    """The numbers of each step of an epoch, on the device: those that stand still uploaded once, the others by epoch.

    Raises, before anything is trained, where a number of values is not that of the members or a multiplier's name is
    unknown.
    """

    def __init__(self, program: Program, seeds: Sequence[int], members: int | None, backend: Backend):
        self.program, self.seeds, self.members, self.backend = program, seeds, members, backend
        learned, depth = program.learned, len(program.layer.layers)
        self._optimizer = optimizers.number_fields(program.optimizer)  # type: ignore[arg-type]
        factors = multiplier_table(learned, depth, getattr(program.optimizer, "multipliers", {}))
        self._multiplier = None if factors is None else backend.asarray(factors)
        self._penalty, self._prices = getattr(program.loss, "present", {}), None
        if self._penalty:
            factors = multiplier_table(learned, depth, program.loss.multipliers)  # type: ignore[attr-defined]
            factors = np.ones(learned.size) if factors is None else np.asarray(factors)
            self._prices = backend.asarray(factors * weight_table(learned))
        self._fixed: dict[Any, Array] = {}
        self._still = None
        rows = self.epoch(0, range(1), 0)
        moving = any(callable(value) for value in (*self._optimizer.values(), *self._penalty.values()))
        for _, layer in walk(program.layer):
            moving = moving or layer.random or any(callable(getattr(layer, name)) for name in layer.tunable)
        self._still = None if moving else rows

    @property
    def stands_still(self) -> bool:
        """Whether every step has the same numbers, unless a learning rate is given beside them."""
        return self._still is not None

    def epoch(self, number: int, steps: range, first: int, learning_rate: Any = None) -> list[StepNumbers]:
        """The numbers for `steps`, counted over the network's life; the optimizer's schedules count from `first`.

        `learning_rate` stands in the place of the optimizer's own.
        """
        if self._still is not None and learning_rate is None:
            return self._still * len(steps)
        since = range(steps.start - first, steps.stop - first)
        declared, costs = self.program.optimizer.numbers, getattr(self.program.loss, "numbers", {})  # type: ignore
        optimizer = {
            name: self._rows("optimizer", name, value, since, (1,), bounds_of(declared, name))
            for name, value in self._optimizer.items()
        }
        if learning_rate is not None:
            optimizer["learning_rate"] = self._upload("learning_rate", learning_rate, since, (1,), AT_LEAST_ZERO)
        penalty = {
            name: self._rows("penalty", name, value, since, (1,), costs[name]) for name, value in self._penalty.items()
        }
        layers = map_layers(
            lambda path, layer: {
                name: self._rows(path, name, getattr(layer, name), since, (1, 1), bounds_of(layer.tunable, name))
                for name in layer.tunable
            },
            self.program.layer,
        )
        keys = step_keys(self.program.layer, self.seeds, number, steps, self.members is not None, self.backend)
        tables = (self._multiplier, self._prices)
        return [
            StepNumbers(pick(optimizer, i), pick(layers, i), pick(keys, i), pick(penalty, i), *tables)
            for i in range(len(steps))
        ]

    def _rows(self, of: Any, name: str, value: Any, steps: range, shape: tuple[int, ...], bounds: Any) -> Array:
        """The number `name` of something by step; one that stands still is uploaded once."""
        if callable(value):
            return self._upload(name, value, steps, shape, bounds)
        if (of, name) not in self._fixed:
            self._fixed[of, name] = self._upload(name, value, steps, shape, bounds)
        return self._fixed[of, name]

    def _upload(self, name: str, value: Any, steps: range, shape: tuple[int, ...], bounds: Any) -> Array:
        """An array (steps, *members, *shape), or (1, *members, *shape) for a number that stands still."""
        values = np.asarray(schedules.values(name, value, steps, self.members, bounds))
        return self.backend.asarray(values.reshape(*values.shape, *shape))


def pick(tree: Any, step: int) -> Any:
    """The entries of one step of a tree of arrays with an axis of steps, or of one row that stands for all."""
    if tree is None:
        return None
    if isinstance(tree, list):
        return [pick(child, step) for child in tree]
    if isinstance(tree, dict):
        return {name: pick(rows, step) for name, rows in tree.items()}
    return tree[step if tree.shape[0] > 1 else 0, ...]


def initial(
    layer: Layer, seeds: Sequence[int], members: int | None, backend: Backend
) -> tuple[tuple[Layout, Layout], Carry]:
    """The layouts of parameters and layer state, and their values before training, each member's by its seed."""
    learned = [layer.init(generator(seed, INITIAL)) for seed in seeds]
    state = [layer.init_state() for _ in seeds]
    layouts, vectors = (Layout(learned[0]), Layout(state[0])), []
    for layout, trees in zip(layouts, (learned, state), strict=True):
        rows = [layout.flatten(tree, xp=np) if layout.size else np.zeros(0) for tree in trees]
        vectors.append(backend.copy(backend.asarray(rows[0] if members is None else np.stack(rows))))
    return layouts, Carry(vectors[0], vectors[1], None)
