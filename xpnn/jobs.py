"""What many networks are asked to learn, and which of them can be one stack."""

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np

from xpnn import inputs
from xpnn._arguments import as_list, check_count
from xpnn.callbacks import watchers
from xpnn.chosen import row_numbers
from xpnn.groups import member_bytes
from xpnn.network import Network
from xpnn.own import numbers_of
from xpnn.progress import Progress, leaves

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


def jobs_of(networks: Sequence[Network], asked: Mapping[str, Any], data: tuple[Any, ...], callbacks: Any) -> list[Job]:
    """What is asked for, by network; raises for what no network could take."""
    if isinstance(networks, Network):
        raise TypeError("networks must be a list of lone networks, got one Network: train it by its own fit")
    networks = as_list("networks", networks)
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
    for k in range(count):
        _check_lengths(x[k], y[k], weight[k], data, k)
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
        wanted = f"{name} must be one for all, or a list with one for each of {count} networks"
        raise ValueError(f"{wanted}, got {len(value)}")
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


def _check_lengths(x: Any, y: Any, weight: Any, data: tuple[Any, ...], k: int) -> None:
    """Raise where the network has not as many targets or weights as rows."""
    if (count := length(x)) is None:
        raise TypeError(f"x{_at(data[0], k)} must be rows that can be read again and have a length, got {x!r}")
    for name, values, given in (("y", y, data[1]), ("sample_weight", weight, data[2])):
        if (found := length(values)) not in (count, None):
            raise ValueError(f"{name}{_at(given, k)} must have one entry for each of {count} rows, got {found}")


def length(values: Any) -> Any:
    """The number of rows; None where there is none. The standard's arrays need not have `len`."""
    if hasattr(values, "__len__"):
        return len(values)
    shape = getattr(values, "shape", ())
    return shape[0] if shape else None


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
    return [
        None if given is None else row_numbers(given, length(data), f"rows[{k}]" if several else "rows")
        for k, (given, data) in enumerate(zip(each, x, strict=True))
    ]


def _watchers(callbacks: Any, count: int) -> list[list[Any]]:
    """The callbacks of each network: its own, or copies."""
    given = as_list("callbacks", callbacks or ())
    if given and all(one is None or isinstance(one, list | tuple) for one in given):
        found = [watchers(own or (), 0) for own in _each("callbacks", given, count)]
        _check_apart(found)
        return found
    found = watchers(given, 0)
    return [copy.deepcopy(found) for _ in range(count)] if found else [[] for _ in range(count)]


def _check_apart(found: list[list[Any]]) -> None:
    """Raise where one callback is asked for by two networks, which are trained at once: each would change its state."""
    owners: dict[int, int] = {}
    for k, own in enumerate(found):
        for watcher in own:
            if (first := owners.setdefault(id(watcher), k)) != k:
                raise ValueError(
                    f"callbacks[{first}] and callbacks[{k}] hold the same {type(watcher).__name__}, and what it keeps "
                    "is of one network: give each its own, or one list for all, of which each gets copies"
                )


def groups_of(jobs: Sequence[Job]) -> list[list[int]]:
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


def parts_of(jobs: Sequence[Job], group: list[int], max_memory: int | None) -> list[list[int]]:
    """The group in parts that stay within `max_memory` each."""
    if max_memory is None:
        return [group]
    first = jobs[group[0]]
    steps, _ = first.net._prepare(first.progress.loss, first.progress.optimizer)
    count = max(rows_of(jobs[k]) for k in group)
    each = member_bytes(steps.program, min(first.batch_size or count, count), first.net.backend)
    size = check_count("max_memory", max_memory) // each
    if not size:
        raise TooLittleMemory(
            f"max_memory={max_memory} bytes is too small for one network of {first.net.n_params} parameters, whose "
            f"training takes about {each}: give more, or a smaller batch_size"
        )
    return [group[start : start + size] for start in range(0, len(group), size)]


def rows_of(job: Job) -> int:
    return length(job.x if job.rows is None else job.rows)


def work_of(job: Job) -> int:
    return rows_of(job) * job.net.n_params * max(job.epochs, 1)
