"""Many lone networks at once: those that can be are trained as the members of one stack, the others one by one.

Each network, its history and its callbacks are afterwards as its own `fit` would have left them.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from xpnn import inputs
from xpnn._arguments import check_count, check_number
from xpnn.backend import Backend, to_host
from xpnn.callbacks import TimeLimit, watchers
from xpnn.groups import bytes_of
from xpnn.history import History
from xpnn.lanes import Lane, Lanes, close
from xpnn.network import Network
from xpnn.own import numbers_of
from xpnn.progress import Progress, leaves
from xpnn.training import NonFiniteLoss

Array = Any


class TooLittleMemory(ValueError):
    """`max_memory` is too small for one network."""


class Job(NamedTuple):
    """One network and what it is asked to learn."""

    net: Network
    progress: Progress  # where it stands with this loss and this optimizer
    watchers: list[Any]
    epochs: int
    batch_size: int | None
    shuffle: Any
    x: Any
    y: Any
    weight: Any
    rows: np.ndarray | None  # numbers of the rows of x, None for all


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
    callbacks : a list with a list for each network; or one list, of which each network gets copies. They see the
        network itself, its own epochs and numbers; one that asks to stop stops that network alone.
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
    ValueError, TypeError for unusable arguments, before anything is trained. Where a callback raises, or Ctrl-C is
    pressed, each network keeps its last finished epoch.

    >>> from xpnn import SGD, mlp
    >>> nets = [Network(mlp([1, width, 1]), seed=width) for width in (2, 2, 3)]
    >>> found = fit_many(nets, [[0.0], [1.0]], [0.0, 1.0], optimizer=[SGD(0.1), SGD(0.2), SGD(0.3)], epochs=5)
    >>> [len(history["loss"]) for history in found]
    [5, 5, 5]
    """
    asked = {"loss": loss, "optimizer": optimizer, "epochs": epochs, "batch_size": batch_size, "shuffle": shuffle}
    jobs = _jobs(networks, asked, (x, y, sample_weight, rows), callbacks)
    if time_limit is not None:
        check_number("time_limit", time_limit, low=0.0, open_low=True)
    if threads is not None:
        check_count("threads", threads)
    groups = [part for group in _groups(jobs) for part in _parts(jobs, group, max_memory)]
    found: dict[int, History] = {}
    began, work = time.monotonic(), [sum(_work(jobs[k]) for k in group) for group in groups]
    with threadpool_limits(threads, "blas") if threads is not None else nullcontext():
        for i, group in enumerate(groups):
            left = None
            if time_limit is not None:
                left = max(time_limit - (time.monotonic() - began), 1e-9) * work[i] / sum(work[i:])
            found |= zip(group, _train([jobs[k] for k in group], left, compile), strict=True)
    histories = [found[k] for k in range(len(jobs))]
    if diverged := [k for k, history in enumerate(histories) if history.stop_reason == "diverged"]:
        warnings.warn(
            f"networks {diverged} diverged: the loss or a parameter became NaN or infinite. They are as they were "
            "before that epoch; the others were trained on.",
            RuntimeWarning,
            stacklevel=2,
        )
    return histories


def _jobs(networks: Sequence[Network], asked: Mapping[str, Any], data: tuple[Any, ...], callbacks: Any) -> list[Job]:
    """What is asked for, by network; raises for what no network could take."""
    networks = list(networks)
    for k, net in enumerate(networks):
        if not isinstance(net, Network) or net.members is not None:
            raise TypeError(f"networks[{k}] must be a lone Network, got {net!r}")
    if len({id(net) for net in networks}) < len(networks):
        raise ValueError("networks must name each network once: one of them stands there twice")
    count = len(networks)
    loss, optimizer, epochs, batch_size, shuffle = (_each(name, value, count) for name, value in asked.items())
    x, y, weight = (
        _arrays(name, values, count) for name, values in zip(("x", "y", "sample_weight"), data[:3], strict=True)
    )
    rows, own = _rows(data[3], x), _watchers(callbacks, count)
    jobs = []
    for k, net in enumerate(networks):
        check_count(f"epochs{_at(asked['epochs'], k)}", epochs[k], low=0)
        if batch_size[k] is not None:
            check_count(f"batch_size{_at(asked['batch_size'], k)}", batch_size[k])
        if hasattr(x[k], "ndim"):
            inputs.check_features(x[k], net.shapes, f"x{_at(data[0], k)}")
        chosen = net._loss_of(loss[k]), net._optimizer_of(optimizer[k])
        progress = net.progress.started(*chosen, xp=net.backend.xp)
        shared = epochs[k], batch_size[k], shuffle[k], x[k], y[k], weight[k]
        jobs.append(Job(net, progress, own[k], *shared, rows[k]))
    return jobs


def _each(name: str, value: Any, count: int) -> list[Any]:
    """One for each network: the entries of a list, or the same for all."""
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} must be one for all, or a list with one for each of {count} networks, got {len(value)}"
        )
    return list(value)


def _at(value: Any, k: int) -> str:
    return f"[{k}]" if isinstance(value, list | tuple) else ""


def _arrays(name: str, values: Any, count: int) -> list[Any]:
    """The array of each network: those of a list of arrays, or the same for all."""
    least = 2 if name == "x" else 1
    several = isinstance(values, list | tuple) and len(values) > 0
    if several and all(getattr(one, "ndim", 0) >= least or (one is None and name == "sample_weight") for one in values):
        return _each(name, values, count)
    return [values] * count


def _rows(rows: Any, x: list[Any]) -> list[np.ndarray | None]:
    """The row numbers of each network; None for all rows."""
    if rows is None:
        return [None] * len(x)
    several = getattr(rows, "ndim", 1) == 2 or (
        isinstance(rows, list | tuple) and any(one is None or hasattr(one, "__len__") for one in rows)
    )
    each = list(rows) if several else [rows] * len(x)
    if len(each) != len(x):
        raise ValueError(f"rows must be one array for all, or one for each of {len(x)} networks, got {len(each)}")
    found: list[np.ndarray | None] = []
    for k, (given, data) in enumerate(zip(each, x, strict=True)):
        name = f"rows[{k}]" if several else "rows"
        lane = None if given is None else to_host(given, name)
        if lane is not None:
            if lane.ndim != 1 or lane.dtype.kind not in "biu":
                raise TypeError(f"{name} must be row numbers (n,) or a mask, got {given!r}")
            count = len(data)
            if lane.dtype.kind == "b" and len(lane) != count:
                raise ValueError(f"{name} is a mask of {len(lane)} entries for {count} rows of x")
            lane = np.flatnonzero(lane) if lane.dtype.kind == "b" else lane
            if not len(lane) or lane.min() < 0 or lane.max() >= count:
                raise ValueError(f"{name} must choose among the {count} rows of x, at least one, got {lane}")
        found.append(lane)
    return found


def _watchers(callbacks: Any, count: int) -> list[list[Any]]:
    """The callbacks of each network: its own, or copies."""
    given = list(callbacks or ())
    if given and all(one is None or isinstance(one, list | tuple) for one in given):
        return [watchers(own or (), 0) for own in _each("callbacks", given, count)]
    found = watchers(given, 0)
    return [copy.deepcopy(found) for _ in range(count)] if found else [[] for _ in range(count)]


def _groups(jobs: Sequence[Job]) -> list[list[int]]:
    """Numbers of networks that can be one stack."""
    found: dict[Hashable, list[int]] = {}
    for k, job in enumerate(jobs):
        net, (carry, loss, optimizer, *_) = job.net, job.progress
        y = getattr(job.y, "ndim", None), getattr(getattr(job.y, "dtype", None), "kind", None)
        memory = tuple((type(array), array.shape, str(array.dtype)) for array in leaves(carry))
        settings = structure(net.layer), structure(loss), structure(optimizer), memory, net.backend, type(net)
        asked = job.epochs, job.batch_size, job.shuffle, y, job.weight is None
        found.setdefault((settings, asked), []).append(k)
    return list(found.values())


def structure(settings: Any) -> Hashable:
    """What must be equal in layers, losses or optimizers that are to be stacked: all but numbers that members may own.

    Whether a number is there at all, None or 0 or another, is structure too.

    >>> from xpnn import SGD
    >>> structure(SGD(0.1, momentum=0.9)) == structure(SGD(0.2, momentum=0.8)) != structure(SGD(0.1))
    True
    """
    if isinstance(settings, tuple | list):
        return tuple(map(structure, settings))
    if isinstance(settings, Mapping):
        return tuple(sorted((str(name), structure(value)) for name, value in settings.items()))
    if is_dataclass(settings) and not isinstance(settings, type):
        numbers, parts = numbers_of(settings), []
        for field in fields(settings):
            value = getattr(settings, field.name)
            if field.name in numbers and not isinstance(value, tuple):
                parts.append(value is None or (not callable(value) and value == 0.0))
            else:
                parts.append(structure(value))
        return (type(settings), *parts)
    if isinstance(settings, np.ndarray):
        return settings.shape, str(settings.dtype), settings.tobytes()
    return settings if isinstance(settings, Hashable) else id(settings)


def _parts(jobs: Sequence[Job], group: list[int], max_memory: int | None) -> list[list[int]]:
    """The group in parts that stay within `max_memory` each."""
    if max_memory is None:
        return [group]
    first = jobs[group[0]]
    steps, _ = first.net._prepare(first.progress.loss, first.progress.optimizer)
    count = max(_count(jobs[k]) for k in group)
    each = bytes_of(steps.program, min(first.batch_size or count, count), first.net.backend)
    size = check_count("max_memory", max_memory) // each
    if not size:
        raise TooLittleMemory(
            f"max_memory={max_memory} bytes is too small for one network of {first.net.n_params} parameters, whose "
            f"training takes about {each}: give more, or a smaller batch_size"
        )
    return [group[start : start + size] for start in range(0, len(group), size)]


def _count(job: Job) -> int:
    return len(job.x if job.rows is None else job.rows)


def _work(job: Job) -> int:
    return _count(job) * job.net.n_params * max(job.epochs, 1)


def _train(jobs: Sequence[Job], seconds: float | None, compile: bool | str) -> list[History]:
    """Train networks that can be one stack."""
    if len(jobs) > 1:
        try:
            stack = _stacked(jobs)
        except ValueError:  # a layer or a loss whose numbers only it knows
            pass
        else:
            return _train_stack(stack, jobs, seconds, compile)
    return [_train_alone(job, None if seconds is None else seconds / len(jobs), compile) for job in jobs]


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


def _train_alone(job: Job, seconds: float | None, compile: bool | str) -> History:
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
            callbacks=[*job.watchers, *limit],
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
        return tuple(  # type: ignore[return-value]
            None if one is None else backend.xp.take(backend.asarray(one, dtype=None), index, axis=0) for one in data
        )


def _train_stack(stack: Network, jobs: Sequence[Job], seconds: float | None, compile: bool | str) -> list[History]:
    first = jobs[0]
    with stack.backend.current():
        x, y, weight, rows = _together(jobs, stack.backend)
    lanes = [Lane(job.net, job.progress, job.watchers) for job in jobs]
    watched = [Lanes(lanes, seconds)] if seconds is not None or any(job.watchers for job in jobs) else []
    options = {"epochs": first.epochs, "batch_size": first.batch_size, "shuffle": first.shuffle, "compile": compile}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "members .* diverged", RuntimeWarning)
            stack.fit(x, y, sample_weight=weight, rows=rows, callbacks=watched, **options)
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
            y = xp.stack([xp.reshape(backend.asarray(job.y, "y"), (len(job.x), -1)) for job in jobs])
        if not same_weight:
            weight = xp.stack([backend.asarray(job.weight, "sample_weight") for job in jobs])
        return first.x, y, weight, own
    places = [tuple(map(id, (job.x, job.y, job.weight))) for job in jobs]
    tables, starts, start = dict(zip(places, jobs, strict=True)), {}, 0
    for place, job in tables.items():
        starts[place], start = start, start + len(job.x)
    rows = [starts[place] + _numbers(job) for place, job in zip(places, jobs, strict=True)]
    joined = (
        None if parts[0] is None else xp.concat([backend.asarray(one, dtype=None) for one in parts])
        for parts in zip(*((job.x, job.y, job.weight) for job in tables.values()), strict=True)
    )
    return (*joined, rows)  # type: ignore[return-value]


def _numbers(job: Job) -> np.ndarray:
    return np.arange(len(job.x)) if job.rows is None else job.rows
