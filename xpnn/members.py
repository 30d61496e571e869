"""Many lone networks at once: those that can be are trained as the members of one stack, the others one by one.

Each network, its history and its callbacks are afterwards as its own `fit` would have left them.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from xpnn._arguments import check_count, check_number
from xpnn.backend import Backend
from xpnn.callbacks import Callback, TimeLimit
from xpnn.history import History
from xpnn.jobs import Job, groups_of, jobs_of, length, parts_of, rows_of, work_of
from xpnn.lanes import Lane, Lanes, close
from xpnn.network import Network
from xpnn.spread import spread
from xpnn.threads import blas_threads
from xpnn.training import NonFiniteLoss

Array = Any


def fit_many(
    networks: Sequence[Network],
    x: Any,
    y: Any,
    loss: Any = None,
    optimizer: Any = None,
    epochs: Any = 100,
    batch_size: Any = 32,
    rows: Any = None,
    callbacks: Any = (),
    sample_weight: Any = None,
    shuffle: Any = True,
    max_memory: int | None = None,
    time_limit: float | None = None,
    threads: int | None = None,
    compile: bool | str = True,
) -> list[History]:
    """Train lone networks of any shapes; the history of each, in their order.

    Networks are stacked where they have the same layers, loss and optimizer but for numbers that members of a stack may
    own (learning rates, schedules, penalties, dropout rates), and the same epochs and batch size. What cannot be
    stacked is trained in a stack of its own or alone; every network ends as its own `fit` would have left it.

    Parameters
    ----------
    networks : lone networks, each once.
    x, y, sample_weight : of all networks, or lists with one array for each. An array that comes several times in such a
        list is not copied for each.
    loss, optimizer, epochs, batch_size, shuffle : as in `Network.fit`, or a list with one for each network.
    rows : row numbers, or a mask, of the rows of x to train on: for all networks, or one for each (folds, bootstraps).
    callbacks : a list with a list for each network, of objects of its own; or one list, of which each gets copies.
        They see the network itself, its own epochs and numbers; one that asks to stop stops that network alone.
    max_memory : bytes that the networks trained as one stack may take together; None for no bound.
    time_limit : seconds, shared among the stacks by how large they are; each network trains one epoch at least, and
        those broken off have stop_reason "time".
    threads : at most so many; None takes those that NumPy's matrix products may take.

    Returns
    -------
    Histories as `Network.fit` returns them. A network that diverged is as it was before that epoch, and its stop_reason
    is "diverged"; a RuntimeWarning names it.

    Raises
    ------
    ValueError, TypeError for unusable arguments, before anything is trained; for values that are NaN or infinite,
    before the stack is trained that has them. Where a callback raises, or Ctrl-C is pressed, each network keeps its
    last finished epoch.

    >>> from xpnn import SGD, mlp
    >>> nets = [Network(mlp([1, width, 1]), seed=width) for width in (2, 2, 3)]
    >>> found = fit_many(nets, [[0.0], [1.0]], [0.0, 1.0], optimizer=[SGD(0.1), SGD(0.2), SGD(0.3)], epochs=5)
    >>> [len(history["loss"]) for history in found]
    [5, 5, 5]
    """
    asked = {"loss": loss, "optimizer": optimizer, "epochs": epochs, "batch_size": batch_size, "shuffle": shuffle}
    jobs = jobs_of(networks, asked, (x, y, sample_weight, rows), callbacks)
    if time_limit is not None:
        check_number("time_limit", time_limit, low=0.0, open_low=True)
    if threads is not None:
        check_count("threads", threads)
    groups = [part for group in groups_of(jobs) for part in parts_of(jobs, group, max_memory)]
    with threadpool_limits(threads, "blas") if threads is not None else nullcontext(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "members .* diverged", RuntimeWarning)  # told of the networks below
        found = _train_all(jobs, groups, time_limit, compile)
    histories = [found[k] for k in range(len(jobs))]
    if diverged := [k for k, history in enumerate(histories) if history.stop_reason == "diverged"]:
        warnings.warn(
            f"networks {diverged} diverged: the loss or a parameter became NaN or infinite. They are as they were "
            "before that epoch; the others were trained on.",
            RuntimeWarning,
            stacklevel=2,
        )
    return histories


def _train_all(
    jobs: Sequence[Job], groups: Sequence[list[int]], time_limit: float | None, compile: bool | str
) -> dict[int, History]:
    """Train group by group, those of few networks at once: a stack of many is spread over the threads by itself."""
    threads = blas_threads() if all(job.net.backend.name == "numpy" for job in jobs) else 1
    few = [group for group in groups if len(group) < 2 * threads]
    few = few if threads > 1 and len(few) > 1 else []
    work = [sum(work_of(jobs[k]) for k in group) for group in groups]
    began, found = time.monotonic(), {}
    for i, group in enumerate(groups):
        if group not in few:
            left = _share(time_limit, began, work[i], sum(work[i:]))
            found |= zip(group, _train([jobs[k] for k in group], left, compile), strict=True)
    rest = sum(sum(work_of(jobs[k]) for k in group) for group in few)

    def task(group: list[int]) -> Callable[[Callback], list[History]]:
        left = _share(time_limit, began, threads * sum(work_of(jobs[k]) for k in group), rest)
        return lambda until: _train([jobs[k] for k in group], left, compile, [until])

    for group, histories in zip(few, spread([task(group) for group in few], threads) if few else [], strict=True):
        found |= zip(group, histories, strict=True)
    return found


def _share(time_limit: float | None, began: float, work: int, of: int) -> float | None:
    """The seconds for some of the work that is left."""
    if time_limit is None:
        return None
    return max(time_limit - (time.monotonic() - began), 1e-9) * min(work / of, 1.0)


def _train(
    jobs: Sequence[Job], seconds: float | None, compile: bool | str, more: Sequence[Callback] = ()
) -> list[History]:
    """Train networks that can be one stack."""
    if len(jobs) > 1:
        try:
            stack = _stacked(jobs)
        except ValueError:  # a layer or a loss whose numbers only it knows
            pass
        else:
            return _train_stack(stack, jobs, seconds, compile, more)
    return [_train_alone(job, None if seconds is None else seconds / len(jobs), compile, more) for job in jobs]


def _stacked(jobs: Sequence[Job]) -> Network:
    """The networks as one stack that stands where each would begin."""
    before = [job.net.progress for job in jobs]
    try:
        for job in jobs:
            job.net.progress = job.progress
        return Network.stack([job.net for job in jobs])
    finally:
        for job, progress in zip(jobs, before, strict=True):
            job.net.progress = progress


def _train_alone(job: Job, seconds: float | None, compile: bool | str, more: Sequence[Callback]) -> History:
    net = job.net
    x, y, weight = _gathered(job)
    limit = [] if seconds is None else [TimeLimit(seconds)]
    options = {"epochs": job.epochs, "batch_size": job.batch_size, "shuffle": job.shuffle, "compile": compile}
    try:
        return net.fit(
            x,
            y,
            job.progress.loss,
            job.progress.optimizer,
            sample_weight=weight,
            callbacks=[*job.watchers, *limit, *more],
            **options,
        )
    except NonFiniteLoss:
        net.history.stop_reason = "diverged"
        return net.history


def _gathered(job: Job) -> tuple[Any, Any, Any]:
    """The rows that the network is trained on."""
    if job.rows is None:
        return job.x, job.y, job.weight
    backend, data = job.net.backend, (job.x, job.y, job.weight)
    with backend.current():
        index = backend.asarray(job.rows, dtype=None)
        return tuple(  # type: ignore
            None if one is None else backend.xp.take(backend.asarray(one, dtype=None), index, axis=0) for one in data
        )


def _train_stack(
    stack: Network, jobs: Sequence[Job], seconds: float | None, compile: bool | str, more: Sequence[Callback]
) -> list[History]:
    first = jobs[0]
    with stack.backend.current():
        x, y, weight, rows = _together(jobs, stack.backend)
    lanes = [Lane(job.net, job.progress, job.watchers, rows_of(job)) for job in jobs]
    watched = [Lanes(lanes, seconds)] if seconds is not None or any(job.watchers for job in jobs) else []
    options = {"epochs": first.epochs, "batch_size": first.batch_size, "shuffle": first.shuffle, "compile": compile}
    try:
        stack.fit(x, y, sample_weight=weight, rows=rows, callbacks=[*watched, *more], **options)
    finally:
        close(lanes, stack)
    return [lane.history for lane in lanes]


def _together(jobs: Sequence[Job], backend: Backend) -> tuple[Any, Any, Any, list[np.ndarray] | None]:
    """The data of all for the `fit` of a stack, and which rows are whose; x, which is largest, is nowhere there twice.

    Where all have the same x, targets and weights that differ are stacked beside it. Else arrays come one after the
    other, each once.
    """
    first, xp = jobs[0], backend.xp
    same_x, same_y, same_weight = (
        all(getattr(job, name) is getattr(first, name) for job in jobs) for name in ("x", "y", "weight")
    )
    own = None if all(job.rows is None for job in jobs) else [_numbers(job) for job in jobs]
    indices = getattr(first.progress.loss, "targets", None) == "classes"  # of which no stack has one column a member
    if same_x and (same_y or not indices):
        y, weight = first.y, first.weight
        if not same_y:
            y = xp.stack([xp.reshape(backend.asarray(job.y, "y"), (length(job.x), -1)) for job in jobs])
        if not same_weight:
            weight = xp.stack([backend.asarray(job.weight, "sample_weight") for job in jobs])
        return first.x, y, weight, own
    places = [tuple(map(id, (job.x, job.y, job.weight))) for job in jobs]
    tables, starts, start = dict(zip(places, jobs, strict=True)), {}, 0
    for place, job in tables.items():
        starts[place], start = start, start + length(job.x)
    rows = [starts[place] + _numbers(job) for place, job in zip(places, jobs, strict=True)]
    joined = (
        None if parts[0] is None else xp.concat([backend.asarray(one, dtype=None) for one in parts])
        for parts in zip(*((job.x, job.y, job.weight) for job in tables.values()), strict=True)
    )
    return (*joined, rows)  # type: ignore


def _numbers(job: Job) -> np.ndarray:
    return np.arange(length(job.x)) if job.rows is None else job.rows
