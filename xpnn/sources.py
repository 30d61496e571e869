"""Rows that are no arrays in memory: what lies on a disk is read in blocks, and batches come as somebody makes them.

A `numpy.memmap`, or anything with a `shape` and a length that is cut by slices (`h5py.Dataset`, `zarr.Array`, a class
of one's own), is never in memory whole: `Rows` reads a slice of it when that is needed. An iterable of (x, y) is a
`Stream`. Both give `parts()`, every row once, which is all that an evaluation needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from xpnn import evaluation, inputs
from xpnn._arguments import check_count
from xpnn.backend import Backend, describe, resolve, to_host
from xpnn.batches import gather, join, mean, owned
from xpnn.chosen import Chosen, is_list_of_data, own_data, own_rows
from xpnn.inputs import Data, Shapes
from xpnn.layers import Sequential
from xpnn.transfer import upload, uploaded

Array = Any

NUMBERS, ROWS, BLOCKS = 1 << 23, 1 << 17, 128
"""The most numbers, of inputs and outputs, and the most rows that are in memory at once, and from how many blocks.

8 million numbers are 32 MiB in float32; an order of 131,072 rows is drawn for each member of a stack. The blocks come
from all over the data, so that a batch holds many kinds of rows where they lie sorted; a 128th of 32 MiB is still much
to read at once. As neither the dtype nor the batch size counts, the same rows meet on every backend.
"""


def given(
    x: Any,
    y: Any,
    weight: Any,
    loss: Any,
    shapes: Shapes,
    backend: Backend,
    *,
    class_weight: Any = None,
    of: str = "",
    rows: Any = None,
) -> Data | Chosen | Rows | Stream:
    """What somebody hands to `fit` or `evaluate`, checked: whole where it is in memory, else as far as can be known."""
    if is_list_of_data(x, shapes):
        if rows is not None:
            raise ValueError("rows chooses rows of one x: leave it out where x is a list with the rows of each member")
        return own_data(x, y, weight, loss, shapes, backend, class_weight=class_weight, of=of)
    if y is None and hasattr(x, "shape"):
        raise TypeError(f"{of}y must have a target for each row of x, got None")
    read = any(is_read(values, backend) for values in (x, y, weight))
    if rows is not None:
        if read or y is None:  # then x alone gives the batches
            raise ValueError(f"rows chooses from arrays in memory: {of}x is read in blocks, or gives batches itself")
        data = inputs.data(x, y, weight, loss, shapes, backend, check=True, of=of)
        found = Chosen(data, own_rows(rows, shapes.members, data.x.shape[-1 - len(shapes.sample)]))
        return found if class_weight is None else found.weighed(class_weight, backend)
    if read:
        return Rows(x, y, weight, loss, shapes, backend, class_weight, of)
    if y is None and not hasattr(x, "shape"):
        if weight is not None or class_weight is not None:
            name = "class_weight" if weight is None else "sample_weight"
            raise ValueError(f"{name} cannot be given with an iterable of batches: let it give (x, y, sample_weight)")
        return Stream(x, loss, shapes, backend, of)
    return inputs.data(x, y, weight, loss, shapes, backend, check=True, class_weight=class_weight, of=of)


def is_read(values: Any, backend: Backend) -> bool:
    """Whether `values` are read by slices: a memmap, or what has a shape and slices and is no array in memory.

    >>> numpy = resolve("numpy")
    >>> is_read([[1.0]], numpy), is_read(np.ones((2, 1)), numpy)
    (False, False)
    """
    if isinstance(values, np.memmap):
        return True
    if not isinstance(getattr(values, "shape", None), tuple) or backend.owns(values):
        return False
    in_memory = ("__array_interface__", "__cuda_array_interface__", "__dlpack__", "iloc")  # the last is pandas'
    library = type(values).__module__.partition(".")[0]
    if library in ("builtins", "pandas", "polars", "scipy") or any(hasattr(values, name) for name in in_memory):
        return False
    return hasattr(values, "__getitem__") and hasattr(values, "__len__")


class Column:
    """One argument of which slices of rows are taken: read from where it lies, or cut from an array in memory."""

    def __init__(self, values: Any, name: str, backend: Backend):
        self.name, self.is_read = name, is_read(values, backend)
        self.values = values if self.is_read else to_host(values, name)
        self.shape, self.ndim = tuple(int(n) for n in self.values.shape), len(self.values.shape)
        if self.is_read and self.shape and len(values) != self.shape[0]:
            raise ValueError(f"{name} must be as long as its shape {self.shape} says, got a length of {len(values)}")

    def read(self, start: int, stop: int, axis: int = 0, dtype: Any = None) -> np.ndarray:
        """The rows from `start` to `stop`; what is read is in memory of its own, of `dtype` where one is given."""
        if not self.is_read:
            return self.values[(*(slice(None),) * axis, slice(start, stop))]
        rows = to_host(self.values[start:stop], f"{self.name}[{start}:{stop}]")
        if rows.shape != (stop - start, *self.shape[1:]):
            wanted = f"{(stop - start, *self.shape[1:])}, as its shape {self.shape} says"
            raise ValueError(f"{self.name}[{start}:{stop}] must have shape {wanted}, got {rows.shape}")
        return np.array(rows, dtype=dtype)


class Rows:
    """Rows with their targets and weights, of which one or more are read from where they lie.

    Lengths, widths, by the first row types, and targets and weights that are in memory are checked here; what is read
    is checked whenever it is. `which` is the name of the first argument that is.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        weight: Any,
        loss: Any,
        shapes: Shapes,
        backend: Backend,
        class_weight: Any = None,
        of: str = "",
    ):
        self.loss, self.shapes, self.backend, self.of = loss, shapes, backend, of
        self._host = resolve("numpy", backend.dtype)
        self.x = column_of_features(x, shapes, backend, f"{of}x")
        self.y = Column(y, f"{of}y", backend)
        self.weight = None if weight is None else Column(weight, f"{of}sample_weight", backend)
        self.rows, (self.block, self.pool) = self.x.shape[0], blocks_of(self.x, shapes)
        columns = (self.x, self.y, self.weight)
        self.which = next(column.name for column in columns if column is not None and column.is_read)
        self._prepare(class_weight)

    def read(self, spans: Sequence[tuple[int, int]]) -> Data:
        """The rows from start to stop of each span on the host, checked; errors count them from the first of all."""
        parts = [self._cut(*span) for span in spans]
        x, y, weight = (  # laid out row by row, as `take` needs them
            None if of[0] is None else np.ascontiguousarray(of[0] if len(of) == 1 else np.concatenate(of, axis=axis))
            for of, axis in zip(zip(*parts, strict=True), (0, *self._axes), strict=True)
        )
        try:
            return self._checked(x, y, weight)
        except (TypeError, ValueError):
            for (x, y, weight), (start, _) in zip(parts, spans, strict=True):
                self._checked(x, y, weight, start)  # which says where
            raise

    def _cut(self, start: int, stop: int) -> tuple[Any, ...]:
        x = self.x.read(start, stop, dtype=self._host.dtype)
        y = self.y.read(start, stop, self._axes[0])
        return x, y, None if self.weight is None else self.weight.read(start, stop, self._axes[1])

    def _checked(self, x: Any, y: Any, weight: Any, start: int = 0) -> Data:
        options = {"check": True, "of": self.of, "start": start}
        return inputs.data(x, y, weight, self.loss, self.shapes, self._host, **options)

    def parts(self) -> Iterator[Data]:
        """All rows once, in the order in which they lie, some blocks at a time on the device."""
        every = ([span] for span in spans(self.x, self.shapes))
        yield from (rows for _, rows in uploaded(self.read, every, self.backend))

    def _prepare(self, class_weight: Any) -> None:
        """Check what can be known, and bring targets and weights that are in memory into the form that steps take."""
        host, lead, name = self._host, self.x.shape[:1], f"{self.of}sample_weight"
        inputs.target_shape(self.y.shape, lead, self.loss, self.shapes, self.y.name)
        if self.weight is not None:
            inputs.check_weight_shape(self.weight.shape, lead, self.shapes, name)
        for column, axes in ((self.y, 2), (self.weight, 1)):
            if column is None or not column.is_read:
                continue
            if column.ndim > axes:
                raise ValueError(f"{column.name}, read in blocks, must begin with the axis of rows, got {column.shape}")
            if class_weight is not None:
                raise ValueError(f"class_weight needs all of {column.name}, and it is read in blocks: give an array")
        if not self.y.is_read:
            y = inputs.targets(self.y.values, self.x, self.loss, self.shapes, host, name=self.y.name)
            self.y = Column(y, self.y.name, host)
        if class_weight is not None:
            weight = None if self.weight is None else self.weight.values
            weight = inputs.class_weights(class_weight, weight, self.y.values, host)
            self.weight = Column(host.asarray(weight), name, host)
        # An axis of members stands before the rows only in what is in memory.
        indices = not self.y.is_read and self.y.values.dtype.kind in "iu"
        self._axes = (int(self.y.ndim == 3 - indices), 0 if self.weight is None else self.weight.ndim - 1)
        first = self.read([(0, 1)])
        y = first.y if self.y.is_read else self.y.values
        weight = first.weight if self.weight is None or self.weight.is_read else host.asarray(self.weight.values)
        names = (self.x.name, self.y.name, name)
        inputs.check_values(Data(first.x, y, weight), self.loss, self.shapes, host, names)


class Stream:
    """Batches from an iterable of (x, y) or (x, y, sample_weight), which is begun anew in each epoch.

    `once` says that it cannot be: it is an iterator, which gives its batches to whoever asks first.
    """

    steps = None  # nobody knows beforehand
    serves = "an iterator serves one: give a list, or an object whose __iter__ begins anew"

    def __init__(self, batches: Any, loss: Any, shapes: Shapes, backend: Backend, of: str = ""):
        iterates = hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")
        if isinstance(batches, str | bytes | Mapping | type) or not iterates:
            call = ": call it, and give what it returns" if isinstance(batches, Callable) else ""
            wanted = f"{of}x must be rows with their y or, alone, an iterable of (x, y) batches"
            raise TypeError(f"{wanted}, got {describe(batches)}{call}")
        self.batches, self.once, self.of = batches, isinstance(batches, Iterator), of
        self.loss, self.shapes, self.backend, self.rank = loss, shapes, backend, len(shapes.sample)
        self._host = resolve("numpy", backend.dtype)

    def epoch(self, number: int) -> Iterator[Data]:
        """The batches of an epoch, checked; raises where there are none."""
        index, kind = -1, None
        for index, batch in enumerate(self.batches):
            data = self._checked(batch, f"{self.of}batch {index}")
            own = None if data.weight is None else data.weight.ndim
            if index and own != kind:
                alike = "give all one, with an axis of members or without, or none"
                raise ValueError(f"{self.of}batch {index} differs from those before it in its sample_weight: {alike}")
            kind = own
            yield data
        if index < 0:
            raise ValueError(f"{self.of}x gave no batches: it must have some, and begin anew whenever it is iterated")

    def parts(self) -> Iterator[Data]:
        """All batches once."""
        return self.epoch(0)

    def _checked(self, batch: Any, name: str) -> Data:
        """A batch on the device, looked at on the host where it comes from there."""
        x, y, weight = inputs.triple(name, batch)
        if any(isinstance(part, Real) for part in batch):
            raise TypeError(f"{name} must be (x, y), each with rows, got {batch}: are these rows, and y was left out?")
        place = self.backend if any(self.backend.owns(array) for array in batch) else self._host
        try:
            data = inputs.data(x, y, weight, self.loss, self.shapes, place, check=True)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{name}: {error}") from None
        return upload(data, self.backend)


def features(x: Any, shapes: Shapes, backend: Backend) -> Array | Column:
    """`x` on the device, as `inputs.features` gives it, or what reads it by slices."""
    if type(x) is not np.ndarray and is_read(x, backend):
        return column_of_features(x, shapes, backend)
    return inputs.features(x, shapes, backend, lead=True)


def column_of_features(x: Any, shapes: Shapes, backend: Backend, name: str = "x") -> Column:
    """The rows of x, checked by their shape."""
    column = Column(x, name, backend)
    inputs.check_features(column, shapes, name)
    if column.ndim > len(shapes.sample) + 1:
        shared = "rows that are read in blocks are shared by all members"
        raise ValueError(f"{name} must be (n, {', '.join(map(str, shapes.sample))}), got {column.shape}: {shared}")
    return column


def blocks_of(x: Column, shapes: Shapes) -> tuple[int, int]:
    """How many rows a block has, and how many blocks are in memory at once.

    A block is a whole number of the chunks in which the data say that they are stored, as no part of a chunk can be
    read without the rest.
    """
    rows = max(1, min(NUMBERS // (math.prod(shapes.sample) + math.prod(shapes.output)), ROWS))
    block, chunks = max(1, rows // BLOCKS), getattr(x.values, "chunks", None)
    if isinstance(chunks, tuple) and chunks and isinstance(chunks[0], int) and 0 < chunks[0] <= rows:
        block = math.ceil(block / chunks[0]) * chunks[0]
    return block, max(1, rows // block)


def spans(x: Column, shapes: Shapes) -> Iterator[tuple[int, int]]:
    """Where the rows that an evaluation reads at once start and stop: an eighth of what training has in memory."""
    block, pool = blocks_of(x, shapes)
    size, rows = block * max(1, pool // 8), x.shape[0]
    return ((start, min(start + size, rows)) for start in range(0, rows, size))


def output(
    forward: evaluation.Forward, x: Array | Column, shapes: Shapes, batch_size: int | None, *, backend: Backend
) -> Array:
    """The output for all rows of `x`, which are read block by block where they are no array."""
    if not isinstance(x, Column):
        return evaluation.output(forward, x, shapes, batch_size, xp=backend.xp)
    size = _at_once(batch_size)
    parts = [
        evaluation.output(forward, backend.asarray(x.read(*span), x.name), shapes, size, xp=backend.xp)
        for span in spans(x, shapes)
    ]
    return parts[0] if len(parts) == 1 else backend.xp.concat(parts, axis=-1 - len(shapes.output))


def evaluate(
    layer: Sequential,
    forward: evaluation.Forward,
    data: Data | Chosen | Rows | Stream,
    loss: Callable,
    chosen: Sequence[Callable],
    shapes: Shapes,
    batch_size: int | None,
    *,
    backend: Backend,
) -> dict[str, Array]:
    """The loss and the chosen metrics on `data`, of the members' shape.

    `forward` gives the outputs that the loss takes. Of what is not in memory the loss is the mean over the parts, each
    weighing what it weighs. A metric needs all outputs and targets at once: these are kept, the inputs are not.
    """
    xp = backend.xp
    if isinstance(data, Data):
        found = evaluation.output(forward, data.x, shapes, batch_size, xp=xp)
        return evaluation.evaluate(layer, found, data.y, data.weight, loss, chosen, xp=xp)
    if isinstance(data, Chosen):
        found, kept = _chosen_output(forward, data, shapes, batch_size, backend)
        return evaluation.evaluate(layer, found, *kept, loss, chosen, xp=xp)
    size, kept, losses, shares = _at_once(batch_size), [], [], []
    for part in data.parts():
        found = evaluation.output(forward, part.x, shapes, size, xp=xp)
        losses.append(backend.to_host(loss(found, part.y, xp=xp, weight=part.weight)[0]).astype(np.float64))
        shares.append(share(part, len(shapes.sample), backend))
        if chosen:
            kept.append(Data(found, part.y, part.weight))
    values: dict[str, Array] = {"loss": mean(np.stack(losses), np.stack(shares))}
    if chosen:
        values |= evaluation.measured(chosen, *join(kept, len(shapes.output), xp=xp), loss, layer, xp=xp)
    return values


def _chosen_output(
    forward: evaluation.Forward, data: Chosen, shapes: Shapes, batch_size: int | None, backend: Backend
) -> tuple[Array, tuple[Array, Array | None]]:
    """The outputs for equally many rows of each member, whose inputs are gathered some at a time, with y and weight."""
    xp, rows, (x, y, weight) = backend.xp, data.numbers(backend), data.data
    own = owned(data.data, len(shapes.sample), xp=xp)

    def output_for(some: Array) -> Array:
        return forward(gather(x, some, own[0], xp=xp))

    found = evaluation.output(output_for, rows, shapes._replace(sample=()), _at_once(batch_size), xp=xp)
    kept = None if weight is None else gather(weight, rows, own[2], xp=xp)
    return found, (gather(y, rows, own[1], xp=xp), kept)


def share(part: Data, rank: int, backend: Backend) -> np.ndarray:
    """What a part weighs in a mean over all: its rows, or the sum of its weights."""
    if part.weight is None:
        return np.asarray(float(part.x.shape[part.x.ndim - rank - 1]))
    return backend.to_host(backend.xp.sum(part.weight, axis=-1)).astype(np.float64)


def _at_once(batch_size: int | None) -> int:
    """How many rows of a block are computed at once, so that a wide network's memory stays bounded too."""
    return evaluation.ROWS if batch_size is None else check_count("batch_size", batch_size)
