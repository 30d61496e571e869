"""The order in which rows are seen: shuffling, mini-batches and the split that is held out for validation.

Nothing keeps a generator's state: epoch e's order is drawn from a Philox generator keyed by (seed, e), so training can
be resumed at any epoch, and lane k of a stack sees the rows in the order that the lone network with its seed would.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn import random
from xpnn._arguments import check_count
from xpnn.backend import Backend
from xpnn.inputs import Data, class_labels
from xpnn.layers import Layer, map_layers, walk
from xpnn.transfer import uploaded

Array = Any

INITIAL, ORDER, SPLIT, BLOCKS = 0, 1, 2, 3  # what a host generator is for: other purposes, other numbers


def generator(seed: int, purpose: int, number: int = 0) -> np.random.Generator:
    """The host generator for one purpose and one number (the epoch) of the network with that seed."""
    return np.random.Generator(np.random.Philox(key=np.asarray([seed, (purpose << 56) | number], dtype=np.uint64)))


def member_seeds(seed: Any, members: int | None, lone: bool = False) -> tuple[tuple[int, ...], int | None]:
    """One seed a member, each from 0 to 2^64 - 1, and how many members are stacked (None for a lone network)."""
    if members is not None:
        check_count("members", members)
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1, np.uint32)[0])
    seed = seed.tolist() if hasattr(seed, "tolist") else seed
    if isinstance(seed, Sequence) and not isinstance(seed, str):
        seeds, wanted = [check_count(f"seed[{i}]", one, low=0) for i, one in enumerate(seed)], members
        members = len(seeds)
        if not seeds or wanted not in (None, members):
            raise ValueError(f"seed must have one entry for each of the {wanted or 1} members, got {members}")
    else:
        seeds = [check_count("seed", seed, low=0) + k for k in range(members or 1)]
    if lone and members is not None:
        raise ValueError(f"seed must be one number for a lone network, got {seed}")
    if max(seeds) >= 1 << 64:
        raise ValueError(f"seed must be < 2**64 for every member, got {max(seeds)}")
    return tuple(seeds), members


class Part(NamedTuple):
    """A batch of some members of a stack, those from `start` to `stop`."""

    start: int
    stop: int
    rows: Array  # (stop - start, b)


class Batches:
    """The batches of each epoch of rows that lie on the device.

    The whole set as one batch is handed on as it is. Else one order is drawn an epoch, uploaded once, and rows are
    gathered with `take`; the last batch is short where the size does not divide the rows.

    `shuffle` is False, True, or "shared" for the order of the first member's seed in all members. `rows` are each
    member's own row numbers on the host; where these are unequally many each batch is a `Part`.
    """

    def __init__(
        self,
        data: Data,
        rank: int,
        batch_size: int | None,
        shuffle: bool | str,
        seeds: Sequence[int],
        stacked: bool,
        backend: Backend,
        rows: Sequence[np.ndarray] | None = None,
        first: int | None = None,
    ):
        self.data, self.shuffle, self.seeds, self.stacked, self.backend = data, shuffle, seeds, stacked, backend
        self.own, self.first = rows, seeds[0] if first is None else first
        self.counts = [data.x.shape[data.x.ndim - rank - 1]] if rows is None else [len(lane) for lane in rows]
        self.rows = max(self.counts)
        self.even = min(self.counts) == self.rows
        self.batch_size = self.rows if batch_size is None else min(batch_size, self.rows)
        self.steps = math.ceil(self.rows / self.batch_size)
        self.rank, self._asked = rank, batch_size
        if self.steps > 1 or rows is not None:
            # NumPy's take copies an array whole in every call where its rows do not lie one by one
            self.data = Data(*(np.ascontiguousarray(a) if isinstance(a, np.ndarray) else a for a in data))

    def of(self, lanes: np.ndarray) -> Batches:
        """The batches of some members, which come by falling numbers of rows."""
        if np.array_equal(lanes, np.arange(len(self.seeds))):
            return self
        kinds = owned(self.data, self.rank, xp=self.backend.xp)
        pairs = zip(self.data, kinds, strict=True)
        data = Data(*(of_members(array, lanes, self.backend) if mine else array for array, mine in pairs))
        own = None if self.own is None else [self.own[lane] for lane in lanes]
        seeds = [self.seeds[lane] for lane in lanes]
        # a batch of all rows is of each member's own, also where those of others were more
        size = self._asked if self._asked is None else self.batch_size
        return Batches(data, self.rank, size, self.shuffle, seeds, True, self.backend, own, self.first)

    def items(self, number: Any) -> Iterator[Array | Part | None]:
        """The numbers of the rows of each batch of epoch `number`; None stands for all of them, as they lie.

        `number` is one, or one for each member.
        """
        if self.own is None and self.steps == 1:
            yield None
            return
        if not self.even:
            yield from self._parts(number)
            return
        order = self._order(number)
        for start in range(0, self.rows, self.batch_size):
            yield order[..., start : min(start + self.batch_size, self.rows)]

    def _order(self, number: Any) -> Array:
        """Row numbers on the device: (rows,), or (members, rows) padded with zeros for members that have fewer."""
        lanes: list[Any]
        if self.shuffle == "shared":
            order = row_order(generator(self.first, ORDER, int(np.max(number))), self.rows, self.steps > 1)
            lanes = [order] * len(self.counts)
            if self.own is None:
                return self.backend.asarray(lanes[0], dtype=None)
        else:
            counts = self.counts if self.own is not None else self.counts * len(self.seeds)
            epochs = np.broadcast_to(np.asarray(number), (len(counts),)).tolist()
            lanes, drawn = list(zip(self.seeds, epochs, counts, strict=True)), dict[Any, np.ndarray]()
            for seed, epoch, count in set(lanes):  # members of one seed may see the same order
                shuffled = bool(self.shuffle) and count > self.batch_size
                drawn[seed, epoch, count] = row_order(generator(seed, ORDER, epoch), count, shuffled)
            lanes = [drawn[lane] for lane in lanes]
        if self.own is not None:
            lanes = [own[lane] for own, lane in zip(self.own, lanes, strict=True)]
            lanes = lanes if self.even else [np.pad(lane, (0, self.rows - len(lane))) for lane in lanes]
        return self.backend.asarray(np.stack(lanes) if self.stacked else lanes[0], dtype=None)

    def _parts(self, number: Any) -> Iterator[Part]:
        """The batches of members that have unequally many rows, the most first: none of them has a row too many.

        In each round those that have as many rows left are stacks of 1, 2, 4, 8 ... members, so that few programs serve
        all rounds.
        """
        order, counts, size = self._order(number), np.asarray(self.counts), self.batch_size
        for start in range(0, self.rows, size):
            left = np.minimum(counts - start, size)
            for part in np.split(np.arange(len(left)), np.flatnonzero(np.diff(left)) + 1):
                low, high, rows = int(part[0]), int(part[-1]) + 1, int(left[part[0]])
                while rows > 0 and low < high:
                    stop = low + (1 << ((high - low).bit_length() - 1))
                    yield Part(low, stop, order[low:stop, start : start + rows])
                    low = stop

    def epoch(self, number: int) -> Iterator[Data]:
        """The batches of epoch `number` of a lone network, or of a stack whose members have equally many rows."""
        for rows in self.items(number):
            yield self.data if rows is None else take_rows(self.data, rows, self.rank, xp=self.backend.xp)

    def parts(self) -> Iterator[Data]:
        """All rows once, in any order."""
        yield self.data


class Blocks:
    """The batches of each epoch of rows that are read in blocks, for what does not fit in memory.

    An epoch draws an order of the blocks, by its number alone, so that the members of a stack share what is read and
    lane k still sees what the lone network with its seed would. (Where members begin a fit at different epochs the
    order of the blocks is that of the last of these.) Some blocks at a time, a pool, are read in the order in
    which they lie, and their rows come in an order that each member's seed draws. What is left of one pool begins
    the first batch of the next, so that only the epoch's last batch is short. Rows that fit into one pool come in the
    very order of `Batches`.

    `source` has `rows`, `block`, the rows of a block, `pool`, the blocks of a pool, `parts()`, and `read(spans)`, which
    gives the rows from start to stop of each span as Data on the host.
    """

    def __init__(
        self,
        source: Any,
        rank: int,
        batch_size: int,
        shuffle: bool,
        seeds: Sequence[int],
        stacked: bool,
        backend: Backend,
    ):
        self.source, self.rank, self.seeds, self.stacked, self.backend = source, rank, seeds, stacked, backend
        self.batch_size = min(batch_size, source.rows)
        self.steps = math.ceil(source.rows / self.batch_size)
        self.shuffle = shuffle and self.steps > 1

    def epoch(self, number: Any) -> Iterator[Data]:
        """The batches of epoch `number`, which is one, or one for each member."""
        xp, parts, wanting = self.backend.xp, [], self.batch_size
        draws = draws_of(self.seeds, number)
        for spans, pool in uploaded(self.source.read, self._pools(int(np.max(number))), self.backend):
            rows = sum(stop - start for start, stop in spans)
            lanes = [row_order(draw, rows, self.shuffle) for draw in draws]
            order = self.backend.asarray(np.stack(lanes) if self.stacked else lanes[0], dtype=None)
            start = 0
            while start < rows:
                stop = min(start + wanting, rows)
                parts.append(take_rows(pool, order[..., start:stop], self.rank, xp=xp))
                start, wanting = stop, wanting - (stop - start)
                if wanting == 0:
                    yield join(parts, self.rank, xp=xp)
                    parts, wanting = [], self.batch_size
            del pool  # before the next one is read
        if parts:
            yield join(parts, self.rank, xp=xp)

    def parts(self) -> Iterator[Data]:
        """All rows once, in the order in which they lie."""
        return self.source.parts()

    def _pools(self, number: int) -> Iterator[list[tuple[int, int]]]:
        """Where the blocks of each pool start and stop."""
        starts = np.arange(0, self.source.rows, self.source.block)
        if self.shuffle:
            starts = generator(0, BLOCKS, number).permutation(starts)
        for first in range(0, len(starts), self.source.pool):
            chosen = np.sort(starts[first : first + self.source.pool]).tolist()
            yield [(start, min(start + self.source.block, self.source.rows)) for start in chosen]


def of_members(array: Array, lanes: np.ndarray, backend: Backend) -> Array:
    """What an array has of some members: a view where these lie one after the other."""
    if (np.diff(lanes) == 1).all():
        return array[int(lanes[0]) : int(lanes[-1]) + 1, ...]
    return backend.xp.take(array, backend.asarray(lanes, dtype=None), axis=0)


def draws_of(seeds: Sequence[int], number: Any) -> list[np.random.Generator]:
    """The generator that draws the order of epoch `number`, or of each member's own, for each seed."""
    numbers = np.broadcast_to(np.asarray(number), (len(seeds),)).tolist()
    return [generator(seed, ORDER, epoch) for seed, epoch in zip(seeds, numbers, strict=True)]


def row_order(draw: np.random.Generator, rows: int, shuffle: bool) -> np.ndarray:
    """Row numbers in the order in which they are seen."""
    return draw.permutation(rows) if shuffle else np.arange(rows)


def join(parts: Sequence[Data], rank: int, *, xp: Any) -> Data:
    """The rows of several Data as one; of each all have the same kind, and the members' axis where one has it.

    >>> one = Data(np.ones((2, 3)), np.zeros((2, 1)), None)
    >>> [array if array is None else array.shape for array in join([one, one], 1, xp=np)]
    [(4, 3), (4, 1), None]
    """
    if len(parts) == 1:
        return parts[0]
    y_rank = 0 if xp.isdtype(parts[0].y.dtype, "integral") else 1
    axes = (-1 - rank, -1 - y_rank, -1)
    fields = zip(*parts, strict=True)
    return Data(*(None if of[0] is None else xp.concat(of, axis=a) for of, a in zip(fields, axes, strict=True)))


def mean(values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The mean over the first axis of `values` (batches, *members), by the share of each batch (of each member).

    >>> float(mean(np.asarray([1.0, 4.0]), np.asarray([2, 1])))
    2.0
    """
    values = np.ascontiguousarray(np.moveaxis(values, 0, -1))  # so that a member's is added up as the lone network's
    shares = np.ascontiguousarray(np.moveaxis(shares, 0, -1))
    total = np.sum(shares, axis=-1)
    return np.sum(values * shares, axis=-1) / np.where(total == 0.0, 1.0, total)


def gather(array: Array, rows: Array, own: bool, *, xp: Any) -> Array:
    """The chosen rows: `rows` is (b,), or (members, b) for a stack, whose `array` is shared or each one's own.

    >>> gather(np.asarray([10, 11, 12]), np.asarray([[2, 0], [1, 1]]), own=False, xp=np)
    array([[12, 10],
           [11, 11]])
    """
    if rows.ndim == 1:
        return xp.take(array, rows, axis=1 if own else 0)
    members, count = rows.shape
    if own:
        lane = xp.arange(members, dtype=rows.dtype, device=getattr(rows, "device", None)) * array.shape[1]
        rows = rows + xp.expand_dims(lane, axis=-1)
        array = xp.reshape(array, (members * array.shape[1], *array.shape[2:]))
    return xp.reshape(xp.take(array, xp.reshape(rows, (-1,)), axis=0), (members, count, *array.shape[1:]))


def take_rows(data: Data, rows: Array, rank: int, *, xp: Any) -> Data:
    """The chosen rows of x, y and weight, where each may be shared by all members or be each one's own."""
    own = owned(data, rank, xp=xp)
    return Data(
        *(None if array is None else gather(array, rows, mine, xp=xp) for array, mine in zip(data, own, strict=True))
    )


def owned(data: Data, rank: int, *, xp: Any) -> tuple[bool, bool, bool]:
    """Which of x, y and weight have an axis of members."""
    y_rank = 1 if xp.isdtype(data.y.dtype, "integral") else 2  # class indices, or a row of numbers
    return data.x.ndim == rank + 2, data.y.ndim > y_rank, data.weight is not None and data.weight.ndim == 2


def step_keys(layer: Layer, seeds: Sequence[int], epoch: Any, steps: Any, stacked: bool, backend: Backend) -> Any:
    """The keys of an epoch's random bits, one array of shape (steps, *members, 2) for each layer that draws, else None.

    Mixed on the host from (seed, epoch, step, layer), with the numbering of steps by all updates made so far, and
    uploaded once an epoch. `epoch` is a number or one for each member; `steps` are (steps,), or (steps, members).
    """
    numbers = {path: index for index, (path, leaf) in enumerate(walk(layer)) if leaf.random}
    if not numbers:
        return map_layers(lambda path, leaf: None, layer)
    words = np.asarray([[seed & 0xFFFFFFFF, seed >> 32] for seed in seeds], dtype=np.uint32).view(np.int32)
    key = random.fold(words, np.broadcast_to(np.asarray(epoch, dtype=np.int32), (len(seeds),)), xp=np)  # (members, 2)
    key = np.broadcast_to(key, (len(steps), *key.shape))
    count = np.asarray(steps, dtype=np.int32).reshape(len(steps), -1)
    key = random.fold(key, np.broadcast_to(count, key.shape[:-1]), xp=np)  # (steps, members, 2)

    def leaf_key(path, leaf):
        if path not in numbers:
            return None
        own = random.fold(key, np.full(key.shape[:-1], numbers[path], dtype=np.int32), xp=np)
        return backend.asarray(own if stacked else own[:, 0, :], dtype=None)

    return map_layers(leaf_key, layer)


def hold_out(data: Data, rank: int, fraction: float, seed: int, backend: Backend) -> tuple[Data, Data]:
    """Data to train on and to validate on: rows chosen by the seed, by class where y is classes."""
    rows = split(data.x.shape[data.x.ndim - rank - 1], fraction, [seed], class_labels(data.y, backend))
    train, held = (backend.asarray(part[0], dtype=None) for part in rows)
    return take_rows(data, train, rank, xp=backend.xp), take_rows(data, held, rank, xp=backend.xp)


def split(rows: int, fraction: float, seeds: Sequence[int], labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to train on and to hold out, (members, n - m) and (members, m), each drawn by its member's seed.

    With `labels`, (n,) or (members, n), every class gives its share, rounded so that the counts add up.

    >>> train, held = split(10, 0.2, [0], np.asarray([0] * 5 + [1] * 5))
    >>> train.shape, held.shape, sorted((held[0] >= 5).tolist())
    ((1, 8), (1, 2), [False, True])
    """
    count = round(rows * fraction)
    if not 0 < count < rows:
        raise ValueError(
            f"validation_split={fraction} of {rows} rows leaves {rows - count} to train on and {count} to hold out"
        )
    each = [labels] * len(seeds) if labels is None or labels.ndim == 1 else labels
    held = [_held_out(rows, count, generator(seed, SPLIT), own) for seed, own in zip(seeds, each, strict=True)]
    every = np.arange(rows)
    return np.stack([np.setdiff1d(every, h) for h in held]), np.stack(held)


def _held_out(rows: int, count: int, rng: np.random.Generator, labels: np.ndarray | None) -> np.ndarray:
    if labels is None:
        return np.sort(rng.permutation(rows)[:count])
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes * (count / rows)
    takes = np.floor(shares).astype(int)
    for c in np.argsort(takes - shares, kind="stable")[: count - takes.sum()]:
        takes[c] += 1
    picked = [rng.permutation(np.flatnonzero(labels == c))[:k] for c, k in zip(classes, takes, strict=True)]
    return np.sort(np.concatenate(picked))
