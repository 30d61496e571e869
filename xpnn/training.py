"""Training: an epoch of steps, what is recorded of it, and the way back where something goes wrong.

Losses stay on the device and are read once an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn import inputs
from xpnn._arguments import check_count, check_number
from xpnn.batches import Batches, hold_out
from xpnn.callbacks import Callback
from xpnn.diagnosis import explain_non_finite
from xpnn.evaluation import ROWS
from xpnn.history import History
from xpnn.metrics import choose
from xpnn.program import Carry, Numbers, Program, StepNumbers, leaves


class NonFiniteLoss(FloatingPointError):
    """The loss, or a parameter, became NaN or infinite; the network is as it was before that epoch."""


class Asked(NamedTuple):
    """What the caller of `fit` asks for besides data, loss and optimizer."""

    batch_size: int | None
    validation_data: Any
    validation_split: float
    sample_weight: Any
    class_weight: Any
    metrics: Any
    shuffle: bool


class Plan(NamedTuple):
    """What `fit` has prepared and checked before the first epoch."""

    program: Program
    numbers: Numbers
    batches: Batches
    measure: Callable[[], dict[str, Any]]  # metrics and validation after an epoch
    watchers: Sequence[Callback]


def plan(net: Any, x: Any, y: Any, program: Program, numbers: Numbers, asked: Asked, watchers: Any) -> Plan:
    """Everything checked and moved to the device; raises before anything has changed."""
    if asked.batch_size is not None:
        check_count("batch_size", asked.batch_size)
    check_number("validation_split", asked.validation_split, low=0.0, high=1.0, open_high=True)
    loss, chosen, (shapes, backend) = program.loss, choose(asked.metrics), (net.shapes, net.backend)
    train = inputs.data(x, y, asked.sample_weight, loss, shapes, backend, check=True, class_weight=asked.class_weight)
    held, rank, stacked = None, len(shapes.sample), shapes.members is not None
    if asked.validation_data is not None:
        given = inputs.validation(asked.validation_data, asked.validation_split)
        held = inputs.data(*given, loss, shapes, backend, check=True, of="validation ")
    elif asked.validation_split:
        train, held = hold_out(train, rank, asked.validation_split, net.seeds, stacked, backend)
    source = Batches(train, rank, asked.batch_size, asked.shuffle, net.seeds, stacked, backend)
    rows = max(asked.batch_size or 0, ROWS)

    def measure() -> dict[str, Any]:
        logs = net.measured(train, loss, chosen, rows) if chosen else {}
        logs.pop("loss", None)
        if held is not None:
            logs |= {f"val_{name}": value for name, value in net.measured(held, loss, chosen, rows).items()}
        return logs

    return Plan(program, numbers, source, measure, watchers)


class Epoch(NamedTuple):
    """What an epoch of steps gave: what it changed, and the mean loss on the host (the members' shape)."""

    carry: Carry
    loss: np.ndarray
    finite: bool


def run_epoch(program: Program, carry: Carry, batches: Batches, numbers: list[StepNumbers], number: int) -> Epoch:
    """One pass over the batches. The loss is the weighted mean over all rows, each batch's taken before its update."""
    backend, xp = batches.backend, batches.backend.xp
    values, totals = [], []
    for batch, row in zip(batches.epoch(number), numbers, strict=True):
        carry, value = program.step(carry, batch, row, xp=xp)
        values.append(value)
        if batch.weight is not None and batches.steps > 1:
            totals.append(xp.sum(batch.weight, axis=-1))
    # One array, read once: the losses and, since a finite loss says nothing of the last update, the sums of what
    # was updated, which are finite only where all of it is.
    updated = carry[:2] if program.state.size else carry[:1]
    sums = [xp.sum(array, axis=-1) for array in (*updated, *leaves(carry.memory))]
    host = backend.to_host(xp.stack([*values, *sums]))
    losses, finite = host[: -len(sums)].astype(np.float64), bool(np.isfinite(host).all())
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


def fit_epochs(net: Any, plan: Plan, epochs: int, history: History) -> None:
    """Train `net` for `epochs` epochs, recording each. Whatever is raised puts back the last finished epoch first."""
    for watcher in plan.watchers:
        watcher.on_fit_begin(net, epochs)
    try:
        for _ in range(epochs):
            before, recorded = net.progress, len(history.epoch)
            try:
                asked = _fit_epoch(net, plan, history)
            except BaseException:
                net.progress = before
                history.truncate(recorded)
                raise
            if asked:
                break
    finally:
        for watcher in plan.watchers:
            watcher.on_fit_end(net, history)


def _fit_epoch(net: Any, plan: Plan, history: History) -> bool:
    """One epoch, its record and its callbacks; whether one of them asks to stop."""
    batches, program = plan.batches, plan.program
    now = net.progress.started(program.loss, program.optimizer, xp=batches.backend.xp)
    steps = range(now.step, now.step + batches.steps)
    numbers = plan.numbers.epoch(now.epoch, steps, now.first, now.learning_rate)
    done = run_epoch(program, now.carry, batches, numbers, now.epoch)
    if not done.finite:
        where = explain_non_finite(program, now.carry, batches, numbers, now.epoch)
        raise NonFiniteLoss(f"training went non-finite in {where} The network is as it was before that epoch.")
    net.progress = now._replace(carry=done.carry, epoch=now.epoch + 1, step=steps.stop)
    logs = {"loss": done.loss} | plan.measure()
    logs = {name: float(value) if np.ndim(value) == 0 else value for name, value in logs.items()}
    history.append(now.epoch, logs)
    answers = [watcher.on_epoch_end(net, now.epoch, logs) for watcher in plan.watchers]  # each is asked
    return any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)
