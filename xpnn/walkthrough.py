"""One training step, watched: the program of the step runs with pieces that note what they take and give.

A piece that is watched is a copy of the network's own with the same functions, so that the numbers are those of the
step, to the bit where that runs eagerly; layers, losses and optimizers know nothing of it. Formulas are those of their
docstrings.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from operator import is_
from typing import Any

import numpy as np

from xpnn import formulas
from xpnn.backend import Backend, to_host
from xpnn.inputs import Data
from xpnn.layers import Array, Layer, walk
from xpnn.losses import Penalized
from xpnn.losses.base import Loss
from xpnn.optimizers import Optimizer
from xpnn.parameters import Layout
from xpnn.program import Program, StepNumbers
from xpnn.progress import Progress
from xpnn.walk import PARTS, StepValue, Walk


def walk_through(net: Any, program: Program, now: Progress, data: Data, numbers: StepNumbers) -> Walk:
    """The step that `program` makes from `now` on `data`; nothing that it is given changes."""
    notes, xp = _Notes(net.backend, penalized=bool(numbers.penalty)), net.backend.xp
    notes.add("forward", "x", data.x, "the rows of the batch")
    loss, layer = _WatchedLoss(program.loss, notes), _watched(program.layer, (), notes)
    watched = replace(program, layer=layer, loss=loss)
    value, gradient, _ = watched.value_and_grad(now.carry.params, now.carry.state, data, numbers, xp=xp)
    _note_link(notes, net.layer, program)
    if program.layer.penalizes or numbers.penalty:
        notes.add("loss", "objective", value, "loss + penalties")
    _note_gradients(notes, program, gradient, loss.slope, xp)
    for name, number in numbers.optimizer.items():
        notes.add("update", name, number, "the number in this step", formulas.name(program.optimizer))
    watched = replace(program, optimizer=_watched_optimizer(program.optimizer, notes, program.learned))
    carry, _ = watched.step(now.carry, data, numbers, xp=xp)
    _note_updates(notes, program, now, carry, numbers, xp)
    lead = data.x.shape[: data.x.ndim - len(net.shapes.sample)]
    title = f"A training step on {lead[-1]} rows, {formulas.name(program.loss)} and {formulas.name(program.optimizer)}"
    return Walk(
        f"{title}, on {net.backend.label}, {net.backend.dtype}",
        sorted(notes.found, key=lambda value: PARTS.index(value.part)),
    )


class _Notes:
    """What has been seen so far, and which formula made the gradient that comes next."""

    def __init__(self, backend: Backend, penalized: bool):
        self.backend = backend
        self.gradient = "loss_gradient" if penalized else "gradient"  # what a layer's gradients are called
        self.found: list[StepValue] = []
        self.source: tuple[str, str] = ("", "")

    def add(self, part: str, name: str, value: Array, formula: str, by: str = "", before: Array | None = None) -> None:
        before = None if before is None else self.backend.copy(before)
        self.found.append(StepValue(name, self.backend.copy(value), formula, by, part, before))


def _watched(layer: Layer, path: tuple[int, ...], notes: _Notes) -> Layer:
    """A copy of `layer` whose functions note what they compute, its children likewise."""
    children = layer.children  # before the copy, which then has those that are computed once
    twin, kind = copy.copy(layer), type(layer)
    watched = [_watched(child, (*path, index), notes) for index, child in enumerate(children)]
    for name, value in vars(twin).items():
        vars(twin)[name] = _exchanged(value, children, watched)
    if not path:
        return twin
    label, by, busy = ".".join(map(str, path)), f"layer {'.'.join(map(str, path))}, {layer!r}", []

    def forward(params: Any, x: Array, *, xp: Any, step: Any = None) -> tuple[Array, Any]:
        y, cache = kind.forward(twin, params, x, xp=xp, step=step)
        notes.add("forward", f"{label}.output", y, formulas.forward(layer), by)
        return y, cache

    def watch(function: Any, params: Any, cache: Any, dy: Array, xp: Any) -> Any:
        if busy:  # a layer that makes one of its two functions of the other
            return function(twin, params, cache, dy, xp=xp)
        busy.append(True)
        try:
            notes.add("backward", f"{label}.delta", dy, *notes.source)
            found = function(twin, params, cache, dy, xp=xp)
        finally:
            busy.clear()
        grads = found[1] if isinstance(found, tuple) else found
        own = grads if isinstance(grads, dict) else {}  # a container has a list, of its children's
        for name, array in own.items():
            formula = formulas.backward(layer, *formulas.names_of(name))
            notes.add("backward", f"{label}.{name}.{notes.gradient}", array, formula, by)
        notes.source = formulas.backward(layer, "x"), by
        return found

    def penalty(params: Any, cache: Any, *, xp: Any) -> Array:
        value = kind.penalty(twin, params, cache, xp=xp)
        if not children:
            notes.add("loss", f"{label}.penalty", value, formulas.forward(layer), by)
        return value

    vars(twin).update(
        forward=forward,
        backward=lambda params, cache, dy, *, xp: watch(kind.backward, params, cache, dy, xp),
        gradients=lambda params, cache, dy, *, xp: watch(kind.gradients, params, cache, dy, xp),
        penalty=penalty,
    )
    return twin


def _exchanged(value: Any, children: Sequence[Layer], watched: Sequence[Layer]) -> Any:
    """A field of a container with the watched children in the place of its own."""
    if isinstance(value, tuple | list) and len(value) == len(children) and all(map(is_, value, children)):
        return type(value)(watched)  # by position: one layer may stand at several
    if isinstance(value, tuple | list) and any(isinstance(one, Layer) for one in value):
        return type(value)(_exchanged(one, children, watched) for one in value)
    return next((twin for child, twin in zip(children, watched, strict=True) if child is value), value)


class _WatchedLoss:
    """A loss that notes its value and gradient, and the penalties that may stand beside it."""

    def __init__(self, loss: Any, notes: _Notes):
        self.loss, self.notes, self.slope = loss, notes, None

    def holding(self, numbers: Any) -> _WatchedLoss:
        return _WatchedLoss(self.loss.holding(numbers), self.notes)

    def __call__(self, prediction: Array, target: Array, *, xp: Any, weight: Array | None = None) -> Any:
        value, gradient = self.loss(prediction, target, xp=xp, weight=weight)
        inner = self.loss.loss if isinstance(self.loss, Penalized) else self.loss
        by, formula, slope = formulas.name(inner), formulas.forward(inner), formulas.backward(inner, "p", "z")
        if isinstance(inner, Loss) and type(inner).__call__ is Loss.__call__:  # which says what a row costs
            formula = f"the {'mean' if weight is None else 'weighted mean'} over the rows of {formula}"
            share = "the number of rows" if weight is None else "the sum of the weights, times the row's own"
            slope = f"{slope}; divided by {share}"
        self.notes.add("loss", "y", target, "the targets")
        if weight is not None:
            self.notes.add("loss", "sample_weight", weight, "the weight of each row")
        self.notes.add("loss", "loss", value, formula, by)
        self.notes.source = slope, by
        return value, gradient

    def penalty(self, *args: Any, **options: Any) -> Any:
        value, self.slope = self.loss.penalty(*args, **options)
        self.notes.add("loss", "penalty", value, formulas.forward(self.loss), formulas.name(self.loss))
        return value, self.slope


def _watched_optimizer(optimizer: Any, notes: _Notes, learned: Layout) -> Any:
    """A copy of `optimizer` that notes the gradient that its rule takes where that was clipped before."""
    clips = [name for name in ("clip_value", "clip_norm") if getattr(optimizer, name, None) is not None]
    if not clips or not hasattr(optimizer, "rule"):
        return optimizer
    twin = copy.copy(optimizer)

    def rule(params: Array, grads: Array, state: Any, hyper: Any, *, xp: Any) -> Any:
        formula = ",  ".join(formulas.option(Optimizer, name) for name in clips)
        for entry, array in learned.pairs(learned.unflatten(grads, xp=xp)):
            notes.add("update", f"{entry.label}.clipped", array, formula, formulas.name(optimizer))
        return type(optimizer).rule(twin, params, grads, state, hyper, xp=xp)

    vars(twin)["rule"] = rule
    return twin


def _note_gradients(notes: _Notes, program: Program, gradient: Array, slope: Array | None, xp: Any) -> None:
    """The gradients as the optimizer gets them, where they are not those noted already."""
    learned, formula, by = program.learned, "dL/dp, as the layer around it computes it", ""
    if slope is not None:
        formula, by = "loss_gradient + penalty_gradient", formulas.name(program.loss)
        for entry, array in learned.pairs(learned.unflatten(slope, xp=xp)):
            notes.add("backward", f"{entry.label}.penalty_gradient", array, "the penalty's slope", by)
    for entry, array in learned.pairs(learned.unflatten(gradient, xp=xp)):
        name = f"{entry.label}.gradient"
        places = [i for i, value in enumerate(notes.found) if value.name == name]
        noted = [notes.backend.to_host(notes.found[i].value) for i in places]
        if len(noted) == 1 and np.array_equal(noted[0], notes.backend.to_host(array), equal_nan=True):
            continue
        for i in places:  # what a container makes of several parts, as where two places share a weight
            notes.found[i] = notes.found[i]._replace(name=f"{entry.label}.part_of_gradient")
        notes.add("backward", name, array, formula, by)


def _note_link(notes: _Notes, layer: Layer, program: Program) -> None:
    """The output of a last activation that the loss computes together with itself."""
    if program.layer is layer:
        return
    path, link = list(walk(layer))[-1]
    logits = next(value.value for value in reversed(notes.found) if value.name.endswith(".output"))
    y, _ = link.forward({}, logits, xp=notes.backend.xp)
    label = ".".join(map(str, path))
    note = "; the loss takes its input z, and computes the two together"
    notes.add("forward", f"{label}.output", y, formulas.forward(link) + note, f"layer {label}, {link!r}")


def _note_updates(notes: _Notes, program: Program, now: Progress, carry: Any, numbers: StepNumbers, xp: Any) -> None:
    """What the step replaced: each parameter, its average, and what layers carry along."""
    optimizer: Any = program.optimizer
    formula, learned = formulas.forward(optimizer), program.learned
    if getattr(optimizer, "weight_decay", 0.0) != 0.0 and "weight_decay" not in formula:
        formula += f",  then {formulas.option(Optimizer, 'weight_decay')}"
    if numbers.multiplier is not None:
        for entry, array in learned.pairs(learned.unflatten(numbers.multiplier, xp=xp)):
            label, by = f"{entry.label}.multiplier", formulas.name(optimizer)
            notes.add("update", label, array, "factor on the learning rate", by)
    before, after = (learned.unflatten(part.params, xp=xp) for part in (now.carry, carry))
    for (entry, old), (_, new) in zip(learned.pairs(before), learned.pairs(after), strict=True):
        notes.add("update", entry.label, new, formula, formulas.name(optimizer), old)
    if getattr(optimizer, "average", None) is not None:
        averages = (learned.unflatten(optimizer.shown(p.params, p.memory), xp=xp) for p in (now.carry, carry))
        for (entry, old), (_, new) in zip(*map(learned.pairs, averages), strict=True):
            notes.add("update", f"{entry.label}.average", new, formulas.option(Optimizer, "average"), "", old)
    layers, states = dict(walk(program.layer)), (program.state.unflatten(p.state, xp=xp) for p in (now.carry, carry))
    for (entry, old), (_, new) in zip(*map(program.state.pairs, states), strict=True):
        layer = layers.get(entry.path)
        if not np.array_equal(to_host(old), to_host(new)):
            by = f"layer {'.'.join(map(str, entry.path))}, {layer!r}"
            notes.add("update", entry.label, new, formulas.state(layer), by, old)
