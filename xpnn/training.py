"""Training: what `fit` is asked for, its epochs with their records and callbacks, and the way back where it fails."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from xpnn import inputs, sources
from xpnn._arguments import check_count, check_number
from xpnn.architecture import last_layer
from xpnn.batches import Batches, Blocks, hold_out
from xpnn.callbacks import Callback
from xpnn.chosen import Chosen, hold_out_each
from xpnn.compile.steps import Steps
from xpnn.diagnosis import explain_non_finite
from xpnn.epochs import epoch_numbers, read_all, run_epoch, updated
from xpnn.evaluation import ROWS
from xpnn.groups import Groups
from xpnn.history import History
from xpnn.inputs import Data
from xpnn.metrics import better_end, check, choose, name_of
from xpnn.numbers import Numbers
from xpnn.own import own_number
from xpnn.progress import START, Progress
from xpnn.resume import Resumed, Standing, resumed
from xpnn.sources import Rows, Stream
from xpnn.threads import PAYS, largest_product, one_thread

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
    shuffle: bool | str
    compile: bool | str
    rows: Any
    resume: Any


class Plan(NamedTuple):
    """What `fit` has prepared and checked before the first epoch."""

    steps: Steps
    numbers: Numbers
    batches: Batches | Blocks | Stream
    measure: Callable[[], dict[str, Any]]  # metrics and validation after an epoch
    better: dict[str, str]  # what an epoch records, and which end of it is better
    watchers: Sequence[Callback]
    compile: bool | str
    groups: Groups | None  # of a stack's members
    resume: Any  # a checkpoint, or the folder of them, from which to go on


def plan(net: Any, x: Any, y: Any, steps: Steps, numbers: Numbers, asked: Asked, watchers: Any) -> Plan:
    """Everything in memory checked and moved to the device; raises before anything has changed."""
    if asked.batch_size is not None:
        check_count("batch_size", asked.batch_size)
    if not isinstance(asked.shuffle, bool | np.bool_) and asked.shuffle != "shared":
        raise ValueError(f'shuffle must be True, False or "shared", got {asked.shuffle!r}')
    check_number("validation_split", asked.validation_split, low=0.0, high=1.0, open_high=True)
    loss, chosen, (shapes, backend) = steps.program.loss, choose(asked.metrics), (net.shapes, net.backend)
    given = x, y, asked.sample_weight, loss, shapes, backend
    train: Any = sources.given(*given, class_weight=asked.class_weight, rows=asked.rows)
    held, rank, stacked = None, len(shapes.sample), shapes.members is not None
    if asked.validation_data is not None:
        held = inputs.validation(asked.validation_data, asked.validation_split)
        held = sources.given(*held, loss, shapes, backend, of="validation ")
    check_use(train, held, asked, chosen)
    if isinstance(train, Data | Chosen):
        y = train.y if isinstance(train, Data) else train.data.y
        for metric in chosen:
            check(metric, loss, last_layer(net.layer), shapes.output[-1], y, xp=backend.xp)
    if asked.validation_split:
        if stacked:
            train, held = hold_out_each(train, rank, asked.validation_split, net.seeds, backend)
        else:
            train, held = hold_out(train, rank, asked.validation_split, net.seeds[0], backend)  # type: ignore
    batches, compile = batches_of(train, rank, asked, net.seeds, stacked, backend), asked.compile
    groups = Groups(steps, numbers, batches, shapes.members, compile) if shapes.members is not None else None
    rows = max(asked.batch_size or 0, ROWS)

    def measure() -> dict[str, Any]:
        how = (loss, chosen, rows, bool(compile))
        logs = net._measured(train, *how) if chosen else {}
        logs.pop("loss", None)
        if held is not None:
            logs |= {f"val_{name}": value for name, value in net._measured(held, *how).items()}
        return logs

    better = {"loss": "min"} | {name_of(metric): better_end(metric) for metric in chosen}
    if held is not None:
        better |= {f"val_{name}": end for name, end in better.items()}
    return Plan(steps, numbers, batches, measure, better, watchers, compile, groups, asked.resume)


def batches_of(train: Any, rank: int, asked: Asked, seeds: Sequence[int], stacked: bool, backend: Any) -> Any:
    """The batches of each epoch of what is trained on."""
    if isinstance(train, Stream):
        return train
    shared = asked.shuffle == "shared"
    if isinstance(train, Rows):
        seeds = [seeds[0]] * len(seeds) if shared else seeds
        return Blocks(train, rank, asked.batch_size, bool(asked.shuffle), seeds, stacked, backend)  # type: ignore
    data, rows = train if isinstance(train, Chosen) else (train, None)
    if shared and isinstance(train, Chosen) and not train.even:
        raise ValueError('shuffle="shared" gives members one order, but they have unequally many rows: take True')
    return Batches(data, rank, asked.batch_size, asked.shuffle, seeds, stacked, backend, rows)


def check_use(train: Data | Chosen | Rows | Stream, held: Any, asked: Asked, chosen: Sequence[Any]) -> None:
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


def fit_epochs(net: Any, plan: Plan, epochs: int) -> History:
    """Train `net` for `epochs` epochs, recording each. Whatever is raised puts back the last finished epoch first."""
    before, begun = _resumed(net, plan), []
    history = History(plan.better, net.members) if before is None else before.history
    kept, shown, finished, reasons = net.progress, net.history, len(history.epoch), history.stop_reason
    rates: dict[int, Any] = {} if before is None else before.rates  # of members that have stopped, as they were then
    history.samples = samples_of(plan.batches, net.members)
    standing = Standing(net, history, plan.watchers, rates)
    keepers = [one for one in plan.watchers if type(one).on_epoch_kept is not Callback.on_epoch_kept]
    try:
        net.progress = _started(net, plan) if before is None else before.progress
        net.history = history
        for watcher in plan.watchers:
            watcher.on_fit_begin(net, epochs)
            begun.append(watcher)
        if before is not None:
            net.progress = kept = before.progress  # a callback may have set a learning rate to begin with
            before.hand_out(net, plan.watchers)
            if plan.groups is not None:
                plan.groups.stop(history.stopped)
        shown = history
        with one_thread(_small(plan)):
            together = _unwatched(plan) and kept.learning_rate is None
            while finished < epochs and history.runs:
                error, rate = None, net.progress.learning_rate
                if together:
                    together, error = _fit_together(net, plan, history, min(TOGETHER, epochs - finished))
                if not together:
                    _fit_epoch(net, plan, history)
                kept, finished, reasons = net.progress, len(history.epoch), history.stop_reason
                stopped = np.flatnonzero(history.stopped).tolist() if plan.groups is not None else ()
                for k in set(stopped) - set(rates):
                    rates[k] = own_number(rate if reasons[k] == "diverged" else kept.learning_rate, k)
                if error is not None:
                    raise error
                for watcher in keepers:
                    watcher.on_epoch_kept(net, history.epoch[-1], standing)
            history.stop(True, "finished")
            reasons = history.stop_reason
    finally:
        net.progress, net.history = kept.with_rates(rates) if rates else kept, shown
        plan.steps.release()
        history.truncate(finished)
        history.stop_reason = reasons
        with ExitStack() as ending:  # each is called, in their order, also where one of them raises
            for watcher in reversed(begun):
                ending.callback(watcher.on_fit_end, net, history)
    if diverged := history.members_that("diverged"):
        warnings.warn(
            f"members {diverged} diverged: their loss or a parameter became NaN or infinite. They stand as before that "
            "epoch; the others were trained on. history.stop_reason says so too.",
            RuntimeWarning,
            stacklevel=4,
        )
    return history


def samples_of(batches: Batches | Blocks | Stream, members: int | None) -> int | None:
    """How many rows an epoch has; None for an iterable of batches, which does not say."""
    if isinstance(batches, Batches) and batches.own is not None:
        return sum(batches.counts)
    rows = batches.rows if isinstance(batches, Batches) else getattr(getattr(batches, "source", None), "rows", None)
    return None if rows is None else rows * (members or 1)


def _resumed(net: Any, plan: Plan) -> Resumed | None:
    """Where a checkpoint says that the fit stands, if there is one."""
    if plan.resume is None:
        return None
    program = plan.steps.program
    return resumed(net, plan.resume, program.loss, program.optimizer, plan.watchers, plan.better)


def _small(plan: Plan) -> bool:
    """Whether the products of a step on NumPy are too small to be shared by threads, or threads have work as it is."""
    if plan.groups is not None and len(plan.groups.workers) > 1:
        return True
    shapes = [entry.shape for entry in plan.steps.program.learned.entries]
    rows = getattr(plan.batches, "batch_size", None)
    return plan.batches.backend.name == "numpy" and rows is not None and largest_product(rows, shapes) < PAYS


def _started(net: Any, plan: Plan) -> Progress:
    return net.progress.started(plan.steps.program.loss, plan.steps.program.optimizer, xp=plan.batches.backend.xp)


def _unwatched(plan: Plan) -> bool:
    """Whether epochs are single compiled steps with the same numbers, and nobody looks in between."""
    asked = plan.watchers or len(plan.better) > 1  # metrics and validation have names there
    alone = isinstance(plan.batches, Batches) and plan.batches.steps == 1 and plan.batches.own is None
    alone = alone and plan.numbers.stands_still and (plan.groups is None or plan.groups.together)
    return alone and not asked and bool(plan.compile) and plan.steps.compiled == "traced"


def _fit_together(net: Any, plan: Plan, history: History, epochs: int) -> tuple[bool, BaseException | None]:
    """Some epochs under one safety copy and one check; False, and nothing changed, where a number is not finite.

    Where they are broken off those that were finished are trained again, which gives the same numbers; what broke in
    is the second that is given.
    """
    now, values, row = _started(net, plan), [], plan.numbers.epoch(START)[0]
    run = plan.steps.epoch(now.carry, plan.batches.data, False, plan.compile)  # type: ignore
    try:
        while len(values) < epochs:
            values.append(run(None, row)[0])
        losses, finite = read_all(values, updated(plan.steps, run.carry), plan.batches.backend)
    except BaseException as error:
        for _ in values:
            _fit_epoch(net, plan, history)
        return True, error
    if np.all(finite):
        number, net.progress = net.epoch, now.advanced(run.carry, epochs, epochs)
        for i, loss in enumerate(losses):
            history.append(number + i, {"loss": float(loss) if net.members is None else loss})
    return bool(np.all(finite)), None


def _fit_epoch(net: Any, plan: Plan, history: History) -> None:
    """One epoch, its record and its callbacks, and who is trained no further after it."""
    for watcher in plan.watchers:
        watcher.on_epoch_begin(net, net.epoch)
    now, number = _started(net, plan), net.epoch  # one that was reset counts anew
    net.progress = now
    if plan.groups is None:
        net.progress, loss = _lone_epoch(plan, now)
        logs = {name: float(value) for name, value in ({"loss": loss} | plan.measure()).items()}
        history.append(number, logs)
    else:
        done = plan.groups.epoch(now)
        net.progress = done.progress
        measured = {} if not done.trained.any() else plan.measure()
        logs = {"loss": done.loss} | {name: of_trained(value, done.trained) for name, value in measured.items()}
        logs |= {name: np.full(len(done.loss), np.nan) for name in plan.better if name not in logs}
        history.append(number, logs, done.trained)
        history.stop(done.diverged, "diverged")
    for watcher in plan.watchers:
        history.stop(watcher.on_epoch_end(net, number, logs), watcher.reason)
    if plan.groups is not None:
        plan.groups.stop(history.stopped)


def of_trained(value: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """What was measured, NaN for members that were not trained; a metric may give one number for the stack."""
    return np.where(trained, value, np.nan) if value.ndim else value


def _lone_epoch(plan: Plan, now: Progress) -> tuple[Progress, Any]:
    """An epoch of a lone network, and its loss; raises NonFiniteLoss."""
    batches = plan.batches
    numbers = epoch_numbers(plan.numbers, now, batches.steps)
    done = run_epoch(plan.steps, now.carry, batches, numbers, now.epoch, plan.compile)
    if not done.finite:
        numbers = epoch_numbers(plan.numbers, now, batches.steps)
        where = explain_non_finite(plan.steps.program, now.carry, batches, numbers, now.epoch)
        raise NonFiniteLoss(f"training went non-finite in {where} The network is as it was before that epoch.")
    return now.advanced(done.carry, 1, done.steps), done.loss
