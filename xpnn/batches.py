"""The order in which rows are seen: shuffling, mini-batches and the split that is held out for validation.

Nothing keeps a generator's state: epoch e's order is drawn from a Philox generator keyed by (seed, e), so training can
be resumed at any epoch, and lane k of a stack sees the rows in the order that the lone network with its seed would.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xpnn import random
from xpnn._arguments import check_count
from xpnn.backend import Backend
from xpnn.inputs import Data, class_labels
from xpnn.layers import Layer, map_layers, walk

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


class Batches:
    """The batches of each epoch of rows that lie on the device, as Data.

    The whole set as one batch is handed on as it is. Else one order is drawn an epoch, uploaded once, and rows are
    gathered with `take`; the last batch is short where the size does not divide the rows.
    """

    def __init__(
        self,
        data: Data,
        rank: int,
        batch_size: int | None,
        shuffle: bool,
        seeds: Sequence[int],
        stacked: bool,
        backend: Backend,
    ):
        self.data, self.shuffle, self.seeds, self.stacked, self.backend = data, shuffle, seeds, stacked, backend
        self.rows = data.x.shape[data.x.ndim - rank - 1]
        self.batch_size = self.rows if batch_size is None else min(batch_size, self.rows)
        self.steps = math.ceil(self.rows / self.batch_size)
        self.rank = rank
        if self.steps > 1:  # NumPy's take copies an array whole in every call where its rows do not lie one by one
            self.data = Data(*(np.ascontiguousarray(a) if isinstance(a, np.ndarray) else a for a in data))

    def items(self, number: int) -> Iterator[Array | None]:
        """The numbers of the rows of each batch of epoch `number`; None stands for all of them, as they lie."""
        if self.steps == 1:
            yield None
            return
        draws = [generator(seed, ORDER, number) for seed in self.seeds]
        order = row_order(draws, self.rows, self.shuffle, self.stacked, self.backend)
        for start in range(0, self.rows, self.batch_size):
            yield order[..., start : min(start + self.batch_size, self.rows)]

    def epoch(self, number: int) -> Iterator[Data]:
        """The batches of epoch `number`."""
        for rows in self.items(number):
            yield self.data if rows is None else take_rows(self.data, rows, self.rank, xp=self.backend.xp)

    def parts(self) -> Iterator[Data]:
        """All rows once, in any order."""
        yield self.data


class Blocks:
    """The batches of each epoch of rows that are read in blocks, for what does not fit in memory.

    An epoch draws an order of the blocks, by its number alone, so that the members of a stack share what is read and
    lane k still sees what the lone network with its seed would. Some blocks at a time, a pool, are read in the order in
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

    def epoch(self, number: int) -> Iterator[Data]:
        """The batches of epoch `number`."""
        xp, parts, wanting = self.backend.xp, [], self.batch_size
        draws = [generator(seed, ORDER, number) for seed in self.seeds]
        for spans in self._pools(number):
            pool, rows = upload(self.source.read(spans), self.backend), sum(stop - start for start, stop in spans)
            order = row_order(draws, rows, self.shuffle, self.stacked, self.backend)
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


def row_order(draws: Sequence[np.random.Generator], rows: int, shuffle: bool, stacked: bool, backend: Backend) -> Array:
    """Row numbers on the device in each member's order: (rows,), or (members, rows) for a stack."""
    lanes = [draw.permutation(rows) if shuffle else np.arange(rows) for draw in draws]
    return backend.asarray(np.stack(lanes) if stacked else lanes[0], dtype=None)


def upload(data: Data, backend: Backend) -> Data:
    """Data of the host, as `inputs.data` gives it there, on the device."""
    return Data(*(None if array is None else backend.asarray(array, dtype=None) for array in data))  # type: ignore


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
    shares = shares.reshape(*shares.shape, *(1,) * (values.ndim - shares.ndim))
    total = np.sum(shares, axis=0)
    return np.sum(values * shares, axis=0) / np.where(total == 0.0, 1.0, total)


def gather(array: Array, rows: Array, own: bool, *, xp: Any) -> Array:
    """The chosen rows: `rows` is (b,), or (members, b) for a stack, whose `array` is shared or each one's own.

    >>> gather(np.asarray([10, 11, 12]), np.asarray([[2, 0], [1, 1]]), own=False, xp=np)
    array([[12, 10],
           [11, 11]])
    """
    if rows.ndim == 1:
        return xp.take(array, rows, axis=0)
    members, count = rows.shape
    if own:
        lane = xp.arange(members, dtype=rows.dtype, device=getattr(rows, "device", None)) * array.shape[1]
        rows = rows + xp.expand_dims(lane, axis=-1)
        array = xp.reshape(array, (members * array.shape[1], *array.shape[2:]))
    return xp.reshape(xp.take(array, xp.reshape(rows, (-1,)), axis=0), (members, count, *array.shape[1:]))


def take_rows(data: Data, rows: Array, rank: int, *, xp: Any) -> Data:
    """The chosen rows of x, y and weight, where each may be shared by all members or be each one's own."""
    y_rank = 1 if xp.isdtype(data.y.dtype, "integral") else 2  # class indices, or a row of numbers
    own = (data.x.ndim == rank + 2, data.y.ndim > y_rank, data.weight is not None and data.weight.ndim == 2)
    return Data(
        *(
            None if array is None else gather(array, rows, mine, xp=xp)  # type: ignore[misc]
            for array, mine in zip(data, own, strict=True)
        )
    )


def step_keys(layer: Layer, seeds: Sequence[int], epoch: int, steps: range, stacked: bool, backend: Backend) -> Any:
    """The keys of an epoch's random bits, one array of shape (steps, *members, 2) for each layer that draws, else None.

    Mixed on the host from (seed, epoch, step, layer), with the numbering of steps by all updates made so far, and
    uploaded once an epoch.
    """
    numbers = {path: index for index, (path, leaf) in enumerate(walk(layer)) if leaf.random}
    if not numbers:
        return map_layers(lambda path, leaf: None, layer)
    words = np.asarray([[seed & 0xFFFFFFFF, seed >> 32] for seed in seeds], dtype=np.uint32).view(np.int32)
    key = random.fold(words, np.full(len(seeds), epoch, dtype=np.int32), xp=np)  # (members, 2)
    key = np.broadcast_to(key, (len(steps), *key.shape))
    count = np.asarray(steps, dtype=np.int32)[:, None]
    key = random.fold(key, np.broadcast_to(count, key.shape[:-1]), xp=np)  # (steps, members, 2)

    def leaf_key(path, leaf):
        if path not in numbers:
            return None
        own = random.fold(key, np.full(key.shape[:-1], numbers[path], dtype=np.int32), xp=np)
        return backend.asarray(own if stacked else own[:, 0, :], dtype=None)

    return map_layers(leaf_key, layer)


def hold_out(data: Data, rank: int, fraction: float, seeds: Sequence[int], stacked: bool, backend: Backend):
    """Data to train on and to validate on; each member's rows are chosen by its seed, by class where y is classes."""
    labels = class_labels(data.y, backend)
    parts = split(data.x.shape[data.x.ndim - rank - 1], fraction, seeds, labels)
    chosen = (backend.asarray(rows if stacked else rows[0], dtype=None) for rows in parts)
    return tuple(take_rows(data, rows, rank, xp=backend.xp) for rows in chosen)


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
