"""Why training went wrong: the epoch is replayed to find the layer whose output went non-finite first."""

from __future__ import annotations

from typing import Any

from xpnn.batches import Batches
from xpnn.layers import Step
from xpnn.training import Carry, Program, StepNumbers

Array = Any


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
    return (
        f"epoch {number}; a replay of the epoch stayed finite, so the cause is an operation that is not deterministic."
    )


def _cause(program: Program, updates: int, scale: float, params_finite: bool) -> str:
    """The likely cause in a sentence: numbers out of proportion, or steps too long."""
    rate = getattr(program.optimizer, "learning_rate", None)
    if updates == 0 or scale > 1e4:
        return f"Likely cause: the scale of the data (the largest |x| is {scale:.3g}); standardize it."
    grown = "grew until they overflowed" if params_finite else "overflowed in the update before"
    return f"Likely cause: a learning rate that is too large ({rate}): the weights {grown}."
