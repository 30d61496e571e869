"""Training: an epoch of steps, what is recorded of it, and the way back where something goes wrong.

Losses stay on the device and are read once an epoch, in one of more than `PIECE` steps once in so many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from xpnn import inputs, sources
from xpnn._arguments import check_count, check_number
from xpnn.architecture import last_layer
from xpnn.backend import Backend
from xpnn.batches import Batches, Blocks, hold_out, mean
from xpnn.callbacks import Callback
from xpnn.compile.steps import Steps
from xpnn.diagnosis import explain_non_finite
from xpnn.evaluation import ROWS
from xpnn.history import History
from xpnn.inputs import Data
from xpnn.metrics import better_end, check, choose, name_of
from xpnn.program import Carry, Numbers, Progress, StepNumbers, leaves
from xpnn.sources import Rows, Stream
from xpnn.threads import PAYS, largest_product, one_thread

PIECE, AHEAD = 1024, 32
"""For how many steps numbers are made at once, and losses stay on the device; and numbers where an epoch's end is not
known."""
TOGETHER = 32
"""How many epochs of one step run under one safety copy where nobody looks in between."""


class NonFiniteLoss(FloatingPointError):
    """The loss, or a parameter, became NaN or infinite; the network is as it was before that epoch."""


class Asked(NamedTuple):
    """What the caller of `fit` asks for besides data, loss and optimizer."""

    epochs: int
    batch_size: int | None
    validation_data: Any
    validation_split: float
    sample_weight: Any
    class_weight: Any
    metrics: Any
    shuffle: bool
    compile: bool | str


class Plan(NamedTuple):
    """What `fit` has prepared and checked before the first epoch."""

    steps: Steps
    numbers: Numbers
    batches: Batches | Blocks | Stream
    measure: Callable[[], dict[str, Any]]  # metrics and validation after an epoch
    better: dict[str, str]  # what an epoch records, and which end of it is better
    watchers: Sequence[Callback]
    compile: bool | str


def plan(net: Any, x: Any, y: Any, steps: Steps, numbers: Numbers, asked: Asked, watchers: Any) -> Plan:
    """Everything in memory checked and moved to the device; raises before anything has changed."""
    if asked.batch_size is not None:
        check_count("batch_size", asked.batch_size)
    check_number("validation_split", asked.validation_split, low=0.0, high=1.0, open_high=True)
    loss, chosen, (shapes, backend) = steps.program.loss, choose(asked.metrics), (net.shapes, net.backend)
    train: Any = sources.given(x, y, asked.sample_weight, loss, shapes, backend, class_weight=asked.class_weight)
    held, rank, stacked = None, len(shapes.sample), shapes.members is not None
    if asked.validation_data is not None:
        given = inputs.validation(asked.validation_data, asked.validation_split)
        held = sources.given(*given, loss, shapes, backend, of="validation ")
    check_use(train, held, asked, chosen)
    if isinstance(train, Data):
        for metric in chosen:
            check(metric, loss, last_layer(net.layer), shapes.output[-1], train.y, xp=backend.xp)
    if asked.validation_split:
        train, held = hold_out(train, rank, asked.validation_split, net.seeds, stacked, backend)
    batches: Any = train
    if not isinstance(train, Stream):
        kind: Any = Batches if isinstance(train, Data) else Blocks
        batches = kind(train, rank, asked.batch_size, asked.shuffle, net.seeds, stacked, backend)
    rows = max(asked.batch_size or 0, ROWS)

    def measure() -> dict[str, Any]:
        how = (loss, chosen, rows, bool(asked.compile))
        logs = net.measured(train, *how) if chosen else {}
        logs.pop("loss", None)
        if held is not None:
            logs |= {f"val_{name}": value for name, value in net.measured(held, *how).items()}
        return logs

    better = {"loss": "min"} | {name_of(metric): better_end(metric) for metric in chosen}
    if held is not None:
        better |= {f"val_{name}": end for name, end in better.items()}
    return Plan(steps, numbers, batches, measure, better, watchers, asked.compile)


def check_use(train: Data | Rows | Stream, held: Any, asked: Asked, chosen: Sequence[Any]) -> None:
    """Raise where something is asked for that rows which are read in blocks, or an iterable of batches, cannot give."""
    if isinstance(train, Rows):
        fits = f"{train.which} is read in blocks, or np.asarray({train.which}) where it fits in memory"
        if asked.batch_size is None:
            raise ValueError(f"batch_size=None takes all rows at once: give a number, as {fits}")
        if asked.validation_split:
            raise ValueError(f"validation_split draws from all rows at once: give validation_data, as {fits}")
    if isinstance(train, Stream):
        decided = {
            "batch_size": asked.batch_size != 32,  # the default of `fit`
            "shuffle": not asked.shuffle,
            "validation_split": asked.validation_split,
        }
        if given := [name for name, is_given in decided.items() if is_given]:
            raise ValueError(f"{', '.join(given)} cannot be given with an iterable of batches, which decides that")
        if train.once and chosen:
            raise ValueError(f"metrics take a pass of their own over the batches of x, and {train.serves}")
    for one, name in ((train, "x"), (held, "validation_data")):
        if isinstance(one, Stream) and one.once and asked.epochs > 1:
            raise ValueError(f"epochs={asked.epochs} take as many passes over the batches of {name}, and {one.serves}")


class Epoch(NamedTuple):
    """What an epoch of steps gave: what it changed, the mean loss on the host (the members' shape), how many steps."""

    carry: Carry
    loss: np.ndarray
    finite: bool
    steps: int


def run_epoch(
    steps: Steps,
    carry: Carry,
    batches: Batches | Blocks | Stream,
    numbers: Iterable[StepNumbers],
    number: int,
    compile: bool | str = True,
) -> Epoch:
    """One pass over the batches. The loss is the weighted mean over all rows, each batch's taken before its update."""
    backend, several, values, weights, losses, shares = batches.backend, batches.steps != 1, [], [], [], []
    gathered = isinstance(batches, Batches)
    run = steps.epoch(carry, batches.data if gathered else None, several, compile)
    items = batches.items(number) if gathered else batches.epoch(number)
    for item, row in zip(items, numbers, strict=batches.steps is not None):
        value, share = run(item, row)
        values.append(value)
        if several:
            weights.append(share)
        if len(values) == PIECE:
            losses.append(_read(values, backend))
            if not np.isfinite(losses[-1]).all():
                return Epoch(run.carry, losses[-1][-1], False, 0)
            shares.append(_read(weights, backend))
            values, weights = [], []
    carry = run.carry
    last, finite = _read_all(values, _updated(steps, carry), backend)
    if len(last) == 1 and not losses:
        return Epoch(carry, last[0], finite, 1)
    losses = np.concatenate([*losses, last] if len(last) else losses)
    shares += [_read(weights, backend)] if weights else []
    return Epoch(carry, mean(losses, np.concatenate(shares)), finite, len(losses))


def _updated(steps: Steps, carry: Carry) -> list[Any]:
    """The arrays that a step changes."""
    return [*(carry[:2] if steps.program.state.size else carry[:1]), *leaves(carry.memory)]


def _read_all(values: Sequence[Any], updated: Sequence[Any], backend: Backend) -> tuple[np.ndarray, bool]:
    """The losses on the host, and whether they and all that was updated are finite (a finite loss says nothing of the
    last update). From a device one array is read, once: of what was updated sums, which are finite only where all of it
    is (of parts of it: the sum of large numbers may overflow)."""
    xp = backend.xp
    if backend.name == "numpy":
        last = _read(values, backend)
        return last, _is_finite(last) and all(map(_is_finite, updated))
    sums = [xp.sum(array * (1.0 / array.shape[-1]), axis=-1) for array in updated]
    host = backend.to_host(xp.stack([*values, *sums]))
    return host[: -len(sums)].astype(np.float64), bool(np.isfinite(host).all())


def _is_finite(array: np.ndarray) -> bool:
    """Whether all numbers are finite: so they are where their sum is, which is the faster question."""
    return math.isfinite(np.add.reduce(array, None)) or bool(np.isfinite(array).all())


def _read(found: Sequence[Any], backend: Backend) -> np.ndarray:
    """Numbers, or arrays of one shape, as one host array."""
    on_host = backend.name == "numpy" or isinstance(found[0], int | float)
    host = np.asarray(found, np.float64) if on_host else backend.to_host(backend.xp.stack(found))
    return host.astype(np.float64, copy=False)


def epoch_numbers(numbers: Numbers, now: Progress, steps: int | None) -> Iterable[StepNumbers]:
    """The numbers of each step of the coming epoch, made some steps ahead; without end where `steps` is unknown."""

    def made(start: int, stop: int) -> list[StepNumbers]:
        return numbers.epoch(now.epoch, range(start, stop), now.first, now.learning_rate)

    if steps is None:
        return _without_end(made, now.step)
    stop = now.step + steps
    if steps <= PIECE:
        return made(now.step, stop)
    return chain.from_iterable(made(start, min(start + PIECE, stop)) for start in range(now.step, stop, PIECE))


def _without_end(made: Callable[[int, int], list[StepNumbers]], start: int) -> Iterator[StepNumbers]:
    ahead = AHEAD
    while True:
        try:
            piece = made(start, start + ahead)
        except Exception:
            if ahead == 1:
                raise
            ahead = 1  # a schedule need not be good for steps that no batch will ask for
            continue
        yield from piece
        start += ahead


def fit_epochs(net: Any, plan: Plan, epochs: int) -> History:
    """Train `net` for `epochs` epochs, recording each. Whatever is raised puts back the last finished epoch first."""
    history, begun = History(plan.better), []
    kept, shown, finished = net.progress, net.history, 0
    try:
        net.progress, net.history = _started(net, plan), history
        for watcher in plan.watchers:
            watcher.on_fit_begin(net, epochs)
            begun.append(watcher)
        shown = history
        with one_thread(_small(plan)):
            together = _unwatched(plan) and kept.learning_rate is None
            while finished < epochs and history.stop_reason is None:
                error = None
                if together:
                    together, error = _fit_together(net, plan, history, min(TOGETHER, epochs - finished))
                if not together:
                    history.stop_reason = _fit_epoch(net, plan, history)
                kept, finished = net.progress, len(history.epoch)
                if error is not None:
                    raise error
            history.stop_reason = history.stop_reason or "finished"
    finally:
        net.progress, net.history = kept, shown
        plan.steps.release()
        history.truncate(finished)
        with ExitStack() as ending:  # each is called, in their order, also where one of them raises
            for watcher in reversed(begun):
                ending.callback(watcher.on_fit_end, net, history)
    return history


def _small(plan: Plan) -> bool:
    """Whether the products of a step on NumPy are too small to be shared by threads."""
    shapes = [entry.shape for entry in plan.steps.program.learned.entries]
    rows = getattr(plan.batches, "batch_size", None)
    return plan.batches.backend.name == "numpy" and rows is not None and largest_product(rows, shapes) < PAYS


def _started(net: Any, plan: Plan) -> Progress:
    return net.progress.started(plan.steps.program.loss, plan.steps.program.optimizer, xp=plan.batches.backend.xp)


def _unwatched(plan: Plan) -> bool:
    """Whether epochs are single compiled steps with the same numbers, and nobody looks in between."""
    asked = plan.watchers or len(plan.better) > 1  # metrics and validation have names there
    alone = plan.batches.steps == 1 and plan.numbers.stands_still and isinstance(plan.batches, Batches)
    return alone and not asked and bool(plan.compile) and plan.steps.compiled == "traced"


def _fit_together(net: Any, plan: Plan, history: History, epochs: int) -> tuple[bool, BaseException | None]:
    """Some epochs under one safety copy and one check; False, and nothing changed, where a number is not finite.

    Where they are broken off those that were finished are trained again, which gives the same numbers; what broke in
    is the second that is given.
    """
    now, values, row = _started(net, plan), [], plan.numbers.epoch(0, range(1), 0)[0]
    run = plan.steps.epoch(now.carry, plan.batches.data, False, plan.compile)  # type: ignore[union-attr]
    try:
        while len(values) < epochs:
            values.append(run(None, row)[0])
        losses, finite = _read_all(values, _updated(plan.steps, run.carry), plan.batches.backend)
    except BaseException as error:
        for _ in values:
            _fit_epoch(net, plan, history)
        return True, error
    if finite:
        net.progress = now._replace(carry=run.carry, epoch=now.epoch + epochs, step=now.step + epochs)
        for i, loss in enumerate(losses):
            history.append(now.epoch + i, {"loss": float(loss) if now.carry.params.ndim == 1 else loss})
    return finite, None


def _fit_epoch(net: Any, plan: Plan, history: History) -> str | None:
    """One epoch, its record and its callbacks; the reason of the first of them that asks to stop."""
    batches, program = plan.batches, plan.steps.program
    for watcher in plan.watchers:
        watcher.on_epoch_begin(net, net.epoch)
    now = net.progress = _started(net, plan)
    numbers = epoch_numbers(plan.numbers, now, batches.steps)
    done = run_epoch(plan.steps, now.carry, batches, numbers, now.epoch, plan.compile)
    if not done.finite:
        numbers = epoch_numbers(plan.numbers, now, batches.steps)
        where = explain_non_finite(program, now.carry, batches, numbers, now.epoch)
        raise NonFiniteLoss(f"training went non-finite in {where} The network is as it was before that epoch.")
    net.progress = now._replace(carry=done.carry, epoch=now.epoch + 1, step=now.step + done.steps)
    logs = {"loss": done.loss} | plan.measure()
    if now.carry.params.ndim == 1:
        logs = {name: float(value) for name, value in logs.items()}
    history.append(now.epoch, logs)
    asking = [watcher for watcher in plan.watchers if _is_true(watcher.on_epoch_end(net, now.epoch, logs))]
    return asking[0].reason if asking else None


def _is_true(answer: Any) -> bool:
    return isinstance(answer, bool | np.bool_) and bool(answer)
