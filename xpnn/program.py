"""The pure training step, and the structure of it that stands still.

A step is a function of what it changes (`Carry`), a batch, and the numbers and random keys of that step; it reads no
value on the host.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpnn.backend import Backend
from xpnn.batches import INITIAL, generator, take_rows
from xpnn.inputs import Data
from xpnn.layers import Layer, Sequential, Step
from xpnn.optimizers import Optimizer
from xpnn.parameters import Layout, merge
from xpnn.progress import Carry

Array = Any


class StepNumbers(NamedTuple):
    """The inputs of one step that are neither its batch nor what it changes."""

    optimizer: dict[str, Array]  # of shape (*members, 1)
    layers: Any  # by layer, of shape (*members, 1, 1)
    keys: Any  # by layer, int32 of shape (*members, 2)
    penalty: dict[str, Array]  # of shape (*members, 1)
    loss: dict[str, Array]  # of shape (*members, 1, 1)
    multiplier: Array | None  # (n_params,), of the learning rate; one array for all steps, as the next
    prices: Array | None  # (n_params,), of the penalties


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
        loss: Any = self.loss.holding(numbers.loss) if numbers.loss else self.loss
        value, dy = loss(prediction, batch.y, xp=xp, weight=batch.weight)
        grads = self.learned.flatten(self.layer.gradients(tree, cache, dy, xp=xp), xp=xp)
        if self.layer.penalizes:
            value = value + self.layer.penalty(tree, cache, xp=xp)
        if numbers.penalty:
            cost, slope = self.loss.penalty(params, numbers.penalty, numbers.prices, dy.shape[-2], batch.weight, xp=xp)
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
            batch = data if rows is None else take_rows(data, rows, rank, xp=xp)  # type: ignore
        carry, value = self.step(carry, batch, numbers, xp=xp)  # type: ignore
        weight = batch.weight if weighed else None  # type: ignore
        return carry, value, None if weight is None else xp.sum(weight, axis=-1)


def tree_of(layouts: Sequence[Layout], carry: Carry, *, xp: Any) -> Any:
    """Each layer's arrays by name: what `carry` holds of parameters and state."""
    learned, state = layouts
    tree = learned.unflatten(carry.params, xp=xp)
    return merge(tree, state.unflatten(carry.state, xp=xp)) if state.size else tree


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
