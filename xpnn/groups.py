"""The members of a stack, trained some at a time: an epoch of one group after the other, or at once in threads.

Members know nothing of one another, so which are trained together changes no number. It changes how fast they are: a
group whose arrays stay in the processor's cache is faster than all members as one stack, each thread can have a group
of its own, and members that have stopped are left out.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import Any, NamedTuple

import numpy as np

from xpnn.batches import Batches, mean, of_members
from xpnn.compile.steps import KEPT, Steps
from xpnn.epochs import BrokenOff, Epoch, epoch_numbers, read_all, read_joined, run_epoch, until, updated
from xpnn.numbers import Numbers, map_tree
from xpnn.program import Program, StepNumbers
from xpnn.progress import Carry, Progress, count, counted, map_arrays
from xpnn.threads import blas_threads

CACHE = 12 << 20
"""How many bytes the arrays of a group may take. 64 networks of 30-64-64-1 in batches of 128 took, a network's step,
128 us one by one, and in groups of 4, 8, 16 and 32 members 82, 79, 74 and 76. With two threads twice 6 MiB is better
still: larger arrays, fewer quarrels over the interpreter."""
BUSY = 20_000_000
"""Operations of an epoch of all members from which a second thread is worth its beginning."""


class Done(NamedTuple):
    """What an epoch made of a stack. A member that was not trained, or is not finite, has what it had before."""

    progress: Progress
    loss: np.ndarray  # (members,), NaN for those that were not trained
    diverged: np.ndarray  # (members,), of those that were
    trained: np.ndarray  # (members,), those that were and are finite


class Group(NamedTuple):
    """Members that are trained as one stack."""

    lanes: np.ndarray
    numbers: Numbers
    batches: Any


class Groups:
    """The members of a stack in groups; `active` says which are still trained."""

    def __init__(self, steps: Steps, numbers: Numbers, batches: Any, members: int, compile: bool | str):
        self.numbers, self.batches, self.compile = numbers, batches, compile
        self.active = np.ones(members, dtype=bool)
        self.apart = isinstance(batches, Batches)  # others give their batches to all members at once
        self.workers = steps.workers(self._threads(steps))
        if self.apart and not batches.even:  # as many shapes of last batches as there are members
            for worker in self.workers:
                worker.kept = max(worker.kept, KEPT + members)
        self._form()

    def _threads(self, steps: Steps) -> int:
        """How many threads the groups are spread over."""
        if self.batches.backend.name != "numpy" or not self.apart:
            return 1
        work = 6 * self.batches.rows * steps.program.learned.size * len(self.active)
        return min(blas_threads(), len(self.active)) if work >= BUSY else 1

    def _form(self) -> None:
        """Groups of the members that are active."""
        lanes, program, batches = np.flatnonzero(self.active), self.workers[0].program, self.batches
        if not self.apart:
            self.groups = [Group(np.arange(len(self.active)), self.numbers, batches)]
            return
        if not batches.even:  # those that have about as many rows go together
            lanes = lanes[np.argsort(-np.asarray(batches.counts)[lanes], kind="stable")]
        size = len(lanes)
        if batches.backend.name == "numpy":
            size = max(1, CACHE // member_bytes(program, batches.batch_size, batches.backend))
        workers = len(self.workers)
        count = math.ceil(math.ceil(len(lanes) / size) / workers) * workers
        parts = np.array_split(lanes, min(count, len(lanes)))
        self.groups = [Group(part, self._numbers(part), batches.of(part)) for part in parts]

    def _numbers(self, lanes: np.ndarray) -> Numbers:
        return self.numbers if np.array_equal(lanes, np.arange(len(self.active))) else self.numbers.of(lanes.tolist())

    @property
    def together(self) -> bool:
        """Whether all members are trained as one stack."""
        return len(self.groups) == 1 and np.array_equal(self.groups[0].lanes, np.flatnonzero(self.active))

    def stop(self, lanes: np.ndarray) -> None:
        """Train these members, a mask, no further. The others are grouped anew once half of those trained are done."""
        self.active = self.active & ~lanes
        running = sum(len(group.lanes) for group in self.groups)
        if self.apart and self.active.any() and 2 * self.active.sum() <= running:
            self._form()

    def epoch(self, now: Progress) -> Done:
        """One epoch of the members that are active."""
        groups = [group for group in self.groups if self.active[group.lanes].any()]
        found = self._run(groups, now)
        members = len(self.active)
        loss, finite, steps = np.full(members, np.nan), np.zeros(members, bool), np.zeros(members, np.int64)
        place = np.arange(members)  # where each member's arrays are then, counted over those of before and of groups
        start = members
        for group, done in zip(groups, found, strict=True):
            loss[group.lanes], finite[group.lanes], steps[group.lanes] = done.loss, done.finite, done.steps
            place[group.lanes] = np.arange(start, start + len(group.lanes))
            start += len(group.lanes)
        trained = self.active & finite
        place = np.where(trained, place, np.arange(members))
        carry = self._merged(now.carry, [done.carry for done in found], place)
        progress = now.advanced(carry, trained.astype(np.int64), np.where(trained, steps, 0))
        return Done(progress, np.where(trained, loss, np.nan), self.active & ~finite, trained)

    def _merged(self, before: Carry, parts: Sequence[Carry], place: np.ndarray) -> Carry:
        """Each member's arrays from where `place` says that they are."""
        members, backend = len(place), self.batches.backend
        if len(parts) == 1 and (place == np.arange(members, 2 * members)).all():
            return parts[0]
        index = backend.asarray(place, dtype=None)
        xp = backend.xp

        def merged(old: Any, *new: Any) -> Any:
            return xp.take(xp.concat([old, *new], axis=0), index, axis=0)

        return map_arrays(merged, before, *parts)

    def _run(self, groups: Sequence[Group], now: Progress) -> list[Epoch]:
        """An epoch of each group, those of one worker one after the other."""
        if len(self.workers) == 1 or len(groups) == 1:
            return [self._epoch(group, now, self.workers[0], None) for group in groups]
        broken, found = Event(), {}
        count = min(len(self.workers), len(groups))

        def work(number: int) -> None:
            try:
                with self.batches.backend.current():
                    for i in range(number, len(groups), count):
                        found[i] = self._epoch(groups[i], now, self.workers[number], broken)
            except BaseException:
                broken.set()  # the others need not finish theirs
                raise

        with ThreadPoolExecutor(count - 1) as pool:
            others = [pool.submit(work, number) for number in range(1, count)]
            try:
                with suppress(BrokenOff):  # what broke is told by the thread in which it did
                    work(0)
                for other in others:
                    other.result()
            except BaseException:
                broken.set()
                raise
        return [found[i] for i in range(len(groups))]

    def _epoch(self, group: Group, now: Progress, steps: Steps, broken: Event | None) -> Epoch:
        lanes, carry = group.lanes, now.carry
        now = now.of(lanes)
        if not np.array_equal(lanes, np.arange(len(self.active))):
            carry = map_arrays(lambda array: of_members(array, lanes, self.batches.backend), carry)
        numbers, number = epoch_numbers(group.numbers, now, group.batches.steps), now.epoch
        if not self.apart:  # one that has stopped sees what the others do, and is undone
            last = np.max(counted(number, self.active))
            number = count(np.where(self.active, number, last))
        if isinstance(group.batches, Batches) and not group.batches.even:
            return run_parts(steps, carry, group.batches, numbers, number, self.compile, broken)
        return run_epoch(steps, carry, group.batches, numbers, number, self.compile, broken)


def member_bytes(program: Program, rows: int, backend: Any) -> int:
    """About how many bytes one member takes in a step: its vectors, and what is kept between forward and backward."""
    entries = [entry.shape for entry in program.learned.entries if len(entry.shape) > 1]
    widths = sum(shape[-1] for shape in entries) + max((shape[-2] for shape in entries), default=0)
    return (5 * program.learned.size + 3 * rows * widths) * np.dtype(backend.dtype).itemsize


def run_parts(
    steps: Steps,
    carry: Carry,
    batches: Batches,
    numbers: Any,
    number: Any,
    compile: bool | str,
    broken: Event | None = None,
) -> Epoch:
    """One epoch of members that have unequally many rows: each batch is one of some of the members."""
    backend, members, runs = batches.backend, len(batches.counts), {}
    whole, seen, rows, row = steps.epoch(carry, batches.data, True, compile), [], iter(numbers), None
    items: Any = batches.items(number)
    for part in items if broken is None else until(broken, items):
        if part.start == 0:  # every round begins with the first
            row = next(rows)
        where = part.start, part.stop
        run = runs[where] = runs.get(where) or whole.of(*where)
        before = run.carry
        value, share = run(part.rows, _of_part(row, *where))  # type: ignore
        seen.append((part, value, share))
        if run.carry is not before:  # it was not changed where it lies
            whole.carry, runs = _put(whole.carry, run.carry, *where, xp=backend.xp), {}
    lanes = np.concatenate([np.arange(part.start, part.stop) for part, _, _ in seen])
    losses = read_joined([value for _, value, _ in seen], backend)
    if isinstance(seen[0][2], int):
        shares = np.concatenate([np.full(part.stop - part.start, float(share)) for part, _, share in seen])
    else:
        shares = read_joined([share for _, _, share in seen], backend)
    order, each = np.argsort(lanes, kind="stable"), np.cumsum(np.bincount(lanes, minlength=members))[:-1]
    pairs = zip(np.split(losses[order], each), np.split(shares[order], each), strict=True)
    loss = np.asarray([value[0] if len(value) == 1 else mean(value, share) for value, share in pairs])  # as alone
    _, finite = read_all([whole.carry.params[:, 0]], updated(steps, whole.carry), backend)
    return Epoch(whole.carry, loss, finite & np.isfinite(loss), np.bincount(lanes, minlength=members))


def _of_part(row: StepNumbers, start: int, stop: int) -> StepNumbers:
    """The numbers of some members of a step."""

    def part(name: str) -> Any:
        return map_tree(lambda array: array[start:stop, ...], getattr(row, name))

    return row._replace(**{name: part(name) for name in ("optimizer", "layers", "keys", "penalty", "loss")})


def _put(carry: Carry, part: Carry, start: int, stop: int, *, xp: Any) -> Carry:
    """The carry with that of some members in its place."""

    def put(whole: Any, new: Any) -> Any:
        return xp.concat([whole[:start, ...], new, whole[stop:, ...]], axis=0)

    return map_arrays(put, carry, part)
