"""What a step takes beside its batch and what it changes: hyper-parameters, and the keys of random bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn import optimizers, schedules
from xpnn._arguments import AT_LEAST_ZERO, bounds_of
from xpnn.backend import Backend
from xpnn.batches import step_keys
from xpnn.layers import map_layers, walk
from xpnn.parameters import multiplier_table, weight_table
from xpnn.program import Program, StepNumbers
from xpnn.progress import START, Progress

Array = Any


class Numbers:
    """The numbers of each step of an epoch, on the device: those that stand still uploaded once, the others by epoch.

    `lanes` chooses some members of a stack, whose numbers alone are given then.

    Raises, before anything is trained, where a number of values is not that of the members or a multiplier's name is
    unknown.
    """

    def __init__(
        self,
        program: Program,
        seeds: Sequence[int],
        members: int | None,
        backend: Backend,
        lanes: Sequence[int] | None = None,
    ):
        self.program, self.members, self.backend = program, members, backend
        self.seeds, self.lanes = seeds, None if lanes is None else np.asarray(lanes)
        learned, depth = program.learned, len(program.layer.layers)
        self._optimizer = optimizers.number_fields(program.optimizer)  # type: ignore
        factors = multiplier_table(learned, depth, getattr(program.optimizer, "multipliers", {}))
        self._multiplier = None if factors is None else backend.asarray(factors)
        self._penalty, self._prices = getattr(program.loss, "present", {}), None
        if self._penalty:
            factors = multiplier_table(learned, depth, program.loss.multipliers)
            factors = np.ones(learned.size) if factors is None else np.asarray(factors)
            self._prices = backend.asarray(factors * weight_table(learned))
        self._loss = getattr(program.loss, "held", {})
        self._fixed: dict[Any, Array] = {}
        self._still = None
        rows = self.epoch(START)
        moving = any(callable(value) for value in (*self._optimizer.values(), *self._penalty.values()))
        for _, layer in walk(program.layer):
            moving = moving or layer.random or any(callable(getattr(layer, name)) for name in layer.tunable)
        self._still = None if moving else rows

    def of(self, lanes: Sequence[int]) -> Numbers:
        """The numbers of some members."""
        return Numbers(self.program, self.seeds, self.members, self.backend, lanes)

    @property
    def stands_still(self) -> bool:
        """Whether every step has the same numbers, unless a learning rate is given beside them."""
        return self._still is not None

    def epoch(self, now: Progress, start: int = 0, stop: int = 1) -> list[StepNumbers]:
        """The numbers for the steps from `start` to `stop` of the epoch that follows `now`.

        Random keys count the steps of the network's life, schedules those since the optimizer's state began.
        `now.learning_rate` stands in the place of the optimizer's own.
        """
        rate = now.learning_rate
        if self._still is not None and rate is None:
            return self._still * (stop - start)
        since = _Steps(now.step - now.first, start, stop)
        declared, costs = self.program.optimizer.numbers, getattr(self.program.loss, "numbers", {})  # type: ignore
        optimizer = {
            name: self._rows("optimizer", name, value, since, (1,), bounds_of(declared, name))
            for name, value in self._optimizer.items()
        }
        if rate is not None:
            optimizer["learning_rate"] = self._upload("learning_rate", rate, since, (1,), AT_LEAST_ZERO)
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
        loss = {name: self._rows("loss", name, value, since, (1, 1), {}) for name, value in self._loss.items()}
        seeds = self.seeds if self.lanes is None else [self.seeds[lane] for lane in self.lanes]
        steps, stacked = np.arange(start, stop)[:, None] + now.step, self.members is not None
        keys = step_keys(self.program.layer, seeds, now.epoch, steps, stacked, self.backend)
        tables = (self._multiplier, self._prices)
        return [
            StepNumbers(pick(optimizer, i), pick(layers, i), pick(keys, i), pick(penalty, i), pick(loss, i), *tables)
            for i in range(stop - start)
        ]

    def _rows(self, of: Any, name: str, value: Any, since: _Steps, shape: tuple[int, ...], bounds: Any) -> Array:
        """The number `name` of something by step; one that stands still is uploaded once."""
        if callable(value):
            return self._upload(name, value, since, shape, bounds)
        if (of, name) not in self._fixed:
            self._fixed[of, name] = self._upload(name, value, since, shape, bounds)
        return self._fixed[of, name]

    def _upload(self, name: str, value: Any, since: _Steps, shape: tuple[int, ...], bounds: Any) -> Array:
        """An array (steps, *members, *shape), or (1, *members, *shape) for a number that stands still."""

        def values(offset: Any) -> np.ndarray:
            steps = range(int(offset) + since.start, int(offset) + since.stop)
            found = np.asarray(schedules.values(name, value, steps, self.members, bounds))
            return found if self.lanes is None else found[:, self.lanes]

        if isinstance(since.offset, np.ndarray) and callable(value):  # members that have made unequally many steps
            offsets, which = np.unique(since.offset, return_inverse=True)
            each = np.stack([values(offset) for offset in offsets])
            found = np.moveaxis(each[which, :, np.arange(len(which))], 0, 1)
        else:
            found = values(since.offset if isinstance(since.offset, int) else 0)
        return self.backend.asarray(found.reshape(*found.shape, *shape))


class _Steps(NamedTuple):
    """Steps from start to stop, counted from an offset, of which each member may have its own."""

    offset: Any
    start: int
    stop: int


def pick(tree: Any, step: int) -> Any:
    """The entries of one step of a tree of arrays with an axis of steps, or of one row that stands for all."""
    return map_tree(lambda rows: rows[step if rows.shape[0] > 1 else 0, ...], tree)


def map_tree(function: Callable[[Array], Array], tree: Any) -> Any:
    """A tree of lists and dicts with every array in it replaced by `function` of it; None stays."""
    if tree is None:
        return None
    if isinstance(tree, list):
        return [map_tree(function, child) for child in tree]
    if isinstance(tree, dict):
        return {name: map_tree(function, child) for name, child in tree.items()}
    return function(tree)
