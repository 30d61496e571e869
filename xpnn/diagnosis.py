"""Why training went wrong: the epoch is replayed to find the layer whose output went non-finite first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xpnn.batches import Batches, Blocks
from xpnn.layers import Step
from xpnn.program import Program, StepNumbers
from xpnn.progress import Carry, leaves
from xpnn.sources import Stream

Array = Any
Source = Batches | Blocks | Stream


def explain_non_finite(
    program: Program, carry: Carry, batches: Source, numbers: Iterable[StepNumbers], number: int
) -> str:
    """Where values went non-finite first, found by replaying epoch `number` from `carry`, and the likely cause."""
    if isinstance(batches, Stream) and batches.once:
        return f"epoch {number}. Where it began cannot be found by a replay, as {batches.serves}."
    step, where, weights_finite = _replayed(program, carry, batches, numbers, number)
    cause = _cause(program, batches, number > 0 or step > 0 or not weights_finite, weights_finite)
    of = "" if batches.steps is None else f" of {batches.steps}"
    return f"epoch {number}, step {step + 1}{of}: {where}. {cause}"


def _replayed(program: Program, carry: Carry, batches: Source, numbers: Iterable[StepNumbers], number: int):
    """The step, what in it was the first that is not finite, and whether the weights before it were finite."""
    xp, layers = batches.backend.xp, program.layer.layers

    def finite(array: Array) -> bool:
        return bool(xp.all(xp.isfinite(array)))

    index = 0
    for index, (batch, inputs) in enumerate(zip(batches.epoch(number), numbers, strict=False)):
        tree, step, x = program.tree(carry.params, carry.state, xp=xp), Step(inputs.layers, inputs.keys, xp), batch.x
        for position, layer in enumerate(layers):
            x, _ = layer.forward(tree[position], x, xp=xp, step=step.child(position))
            if not finite(x):
                where = f"the output of layer {position}, {layer}, was the first that was not finite"
                return index, where, finite(carry.params)
        carry, value = program.step(carry, batch, inputs, xp=xp)
        if not finite(value):
            return index, "every layer's output was finite, the loss was not", True
    for entry, array in program.learned.pairs(program.learned.unflatten(carry.params, xp=xp)):
        if not finite(array):
            where = f"layer {entry.path[0]}, {layers[entry.path[0]]}"
            return index, f"the update left values that are not finite in the {entry.name} of {where}", False
    if not all(finite(array) for array in leaves(carry.memory)):
        return index, "the optimizer's state overflowed, and with it every later step would be nought", False
    if not finite(carry.state):
        return index, "a layer's state, such as the running statistics of a BatchNorm, overflowed", True
    same = "an operation of the backend is not deterministic"
    same += ", or the batches were not those of the epoch" if isinstance(batches, Stream) else ""
    return index, f"the replay stayed finite, so {same}", True


def _cause(program: Program, batches: Source, trained: bool, weights_finite: bool) -> str:
    """The likely cause in a sentence: numbers out of proportion, or steps too long."""
    xp = batches.backend.xp
    scale = max(
        float(xp.max(xp.abs(array)))
        for part in batches.parts()
        for array in part[:2]
        if xp.isdtype(array.dtype, "real floating")
    )
    if scale > 1e4:
        return f"Likely cause: the scale of the data (its largest value is {scale:.3g}); standardize it."
    if not trained:
        return "Likely cause: that layer itself or its initial weights, as nothing has been learned yet."
    rate = getattr(program.optimizer, "learning_rate", None)
    which = "scheduled" if callable(rate) else rate
    grown = "grew until they overflowed" if weights_finite else "overflowed in an update"
    return f"Likely cause: a learning rate that is too large ({which}): the weights {grown}."
