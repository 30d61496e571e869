"""An epoch of steps. Losses stay on the device and are read once an epoch, in one of more than `PIECE` steps once in so
many."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from threading import Event
from typing import Any, NamedTuple

import numpy as np

from xpnn.backend import Backend
from xpnn.batches import Batches, Blocks, mean
from xpnn.compile.steps import Steps
from xpnn.numbers import Numbers
from xpnn.program import StepNumbers
from xpnn.progress import Carry, Progress, leaves
from xpnn.sources import Stream

PIECE, AHEAD = 1024, 32
"""For how many steps numbers are made at once, and losses stay on the device; and numbers where an epoch's end is not
known."""


class Epoch(NamedTuple):
    """What an epoch of steps gave: what it changed, the mean loss on the host, whether all is finite, how many steps.

    Of a stack, each of these but the first is of each member; the number of steps may be one for all.
    """

    carry: Carry
    loss: Any
    finite: Any
    steps: Any


class BrokenOff(RuntimeError):
    """Another thread of the same fit has failed, or Ctrl-C was pressed there."""


def run_epoch(
    steps: Steps,
    carry: Carry,
    batches: Batches | Blocks | Stream,
    numbers: Iterable[StepNumbers],
    number: Any,
    compile: bool | str = True,
    broken: Event | None = None,
) -> Epoch:
    """One pass over the batches. The loss is the weighted mean over all rows, each batch's taken before its update.

    Raises BrokenOff in the midst of it once `broken` is set.
    """
    backend, several, values, weights, losses, shares = batches.backend, batches.steps != 1, [], [], [], []
    before: Any = True  # whether the losses that were read were finite
    gathered = isinstance(batches, Batches)
    run = steps.epoch(carry, batches.data if gathered else None, several, compile)
    items: Any = batches.items(number) if gathered else batches.epoch(number)
    items = items if broken is None else until(broken, items)
    for item, row in zip(items, numbers, strict=batches.steps is not None):
        value, share = run(item, row)
        values.append(value)
        if several:
            weights.append(share)
        if len(values) == PIECE:
            losses.append(read(values, backend))
            before = before & np.isfinite(losses[-1]).all(axis=0)
            if not before.any():
                return Epoch(run.carry, losses[-1][-1], before, 0)
            shares.append(read(weights, backend))
            values, weights = [], []
    carry = run.carry
    last, finite = read_all(values, updated(steps, carry), backend)
    if len(last) == 1 and not losses:
        return Epoch(carry, last[0], finite, 1)
    losses = np.concatenate([*losses, last] if len(last) else losses)
    shares += [read(weights, backend)] if weights else []
    return Epoch(carry, mean(losses, np.concatenate(shares)), finite & before, len(losses))


def until(broken: Event, items: Iterator[Any]) -> Iterator[Any]:
    """The items; raises BrokenOff once `broken` is set."""
    for item in items:
        if broken.is_set():
            raise BrokenOff("another thread of this fit was broken off")
        yield item


def updated(steps: Steps, carry: Carry) -> list[Any]:
    """The arrays that a step changes."""
    return [*(carry[:2] if steps.program.state.size else carry[:1]), *leaves(carry.memory)]


def read_all(values: Sequence[Any], updated: Sequence[Any], backend: Backend) -> tuple[np.ndarray, Any]:
    """The losses on the host, and whether they and all that was updated are finite, for each member of a stack.

    A finite loss says nothing of the last update. From a device one array is read, once: of what was updated sums,
    which are finite only where all of it is (of parts of it: the sum of large numbers may overflow).
    """
    xp = backend.xp
    if backend.name == "numpy":
        last = read(values, backend)
        if last.ndim == 1:
            return last, _is_finite(last) and all(map(_is_finite, updated))
        return last, np.logical_and.reduce([np.isfinite(last).all(axis=0), *map(_are_finite, updated)])
    sums = [xp.sum(array * (1.0 / array.shape[-1]), axis=-1) for array in updated]
    host = backend.to_host(xp.stack([*values, *sums]))
    return host[: -len(sums)].astype(np.float64), np.isfinite(host).all(axis=0)


def _is_finite(array: np.ndarray) -> bool:
    """Whether all numbers are finite: so they are where their sum is, which is the faster question."""
    return math.isfinite(np.add.reduce(array, None)) or bool(np.isfinite(array).all())


def _are_finite(array: np.ndarray) -> Any:
    """Whether all numbers of each member are finite."""
    found = np.isfinite(np.add.reduce(array, -1))
    return found if found.all() else np.isfinite(array).all(axis=-1)


def read(found: Sequence[Any], backend: Backend) -> np.ndarray:
    """Numbers, or arrays of one shape, as one host array."""
    on_host = backend.name == "numpy" or isinstance(found[0], int | float)
    host = np.asarray(found, np.float64) if on_host else backend.to_host(backend.xp.stack(found))
    return host.astype(np.float64, copy=False)


def read_joined(found: Sequence[Any], backend: Backend) -> np.ndarray:
    """Arrays (n,) of several lengths one after the other, as one host array that is read at once."""
    return backend.to_host(backend.xp.concat(found)).astype(np.float64, copy=False)


def epoch_numbers(numbers: Numbers, now: Progress, steps: int | None) -> Iterable[StepNumbers]:
    """The numbers of each step of the coming epoch, made some steps ahead; without end where `steps` is unknown."""

    def made(start: int, stop: int) -> list[StepNumbers]:
        return numbers.epoch(now, start, stop)

    if steps is None:
        return _without_end(made)
    if steps <= PIECE:
        return made(0, steps)
    return chain.from_iterable(made(start, min(start + PIECE, steps)) for start in range(0, steps, PIECE))


def _without_end(made: Callable[[int, int], list[StepNumbers]]) -> Iterator[StepNumbers]:
    start, ahead = 0, AHEAD
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
