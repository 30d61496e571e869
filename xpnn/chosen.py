"""The rows that each member of a stack has of its own: folds, bootstraps, or data sets of unequal length.

No row is copied for a member and none is padded: data are there once, and each member has the numbers of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn import inputs
from xpnn.backend import Backend, describe, to_host
from xpnn.batches import join, owned, split, take_rows
from xpnn.inputs import Data, Shapes

Array = Any


class Chosen(NamedTuple):
    """Rows of data by member. Where `data` has an axis of members, a member's numbers are those of its own rows."""

    data: Data
    rows: Sequence[np.ndarray]

    @property
    def even(self) -> bool:
        """Whether all members have as many rows."""
        return len({len(rows) for rows in self.rows}) == 1

    def of(self, member: int, rank: int, backend: Backend) -> Data:
        """The rows of one member, gathered."""
        kinds = owned(self.data, rank, xp=backend.xp)
        lone: Any = Data(*(a[member, ...] if own else a for a, own in zip(self.data, kinds, strict=True)))  # type: ignore
        return take_rows(lone, backend.asarray(self.rows[member], dtype=None), rank, xp=backend.xp)

    def weighed(self, class_weight: Any, backend: Backend) -> Chosen:
        """The same with each row's class weight, by the classes among a member's own rows."""
        labels = inputs.labels_to_weigh(self.data.y, backend)
        weight, each = self.data.weight, np.zeros((len(self.rows), labels.shape[-1]))
        given = 1.0 if weight is None else backend.to_host(weight)
        for k, rows in enumerate(self.rows):
            mine = (labels if labels.ndim == 1 else labels[k])[rows]
            each[k, rows] = inputs.class_factors(class_weight, mine, f"rows[{k}] of ")
        return Chosen(self.data._replace(weight=backend.asarray(each * given)), self.rows)

    def numbers(self, backend: Backend) -> Array:
        """The numbers on the device, (members, n), where all members have as many rows."""
        return backend.asarray(np.stack(self.rows), dtype=None)


def own_rows(rows: Any, members: int | None, count: int) -> list[np.ndarray]:
    """Row numbers by member from index arrays or masks, one each.

    >>> own_rows([[2, 0, 0], [True, False, True]], 2, 3)
    [array([2, 0, 0]), array([0, 2])]

    Raises
    ------
    ValueError, TypeError where there is not one for each member, or a number is none of the `count` rows.
    """
    if members is None:
        raise ValueError("rows gives each member of a stack its rows: of a lone network give x[rows] and y[rows]")
    lanes = rows if isinstance(rows, list | tuple) else np.atleast_1d(to_host(rows, "rows"))
    if len(lanes) != members:
        raise ValueError(f"rows must have one array of row numbers for each of the {members} members, got {len(lanes)}")
    return [row_numbers(given, count, f"rows[{k}]") for k, given in enumerate(lanes)]


def row_numbers(given: Any, count: int, name: str) -> np.ndarray:
    """Row numbers from numbers or a mask of `count` rows; raises TypeError or ValueError where it is neither."""
    lane = to_host(given, name)
    if lane.ndim != 1 or lane.dtype.kind not in "biu":
        raise TypeError(f"{name} must be row numbers (n,) or a mask ({count},), got {describe(given)}")
    if lane.dtype.kind == "b":
        if len(lane) != count:
            raise ValueError(f"{name} is a mask of {len(lane)} entries for {count} rows of x")
        lane = np.flatnonzero(lane)
    if not len(lane):
        raise ValueError(f"{name} chooses no rows: there would be nothing to train on")
    if lane.min() < 0 or lane.max() >= count:
        wrong = lane[(lane < 0) | (lane >= count)][0]
        raise ValueError(f"{name} holds {wrong}, but rows of x go from 0 to {count - 1}")
    return lane.astype(np.int64)


def is_list_of_data(x: Any, shapes: Shapes) -> bool:
    """Whether x is a list of arrays of rows, one for each member."""
    if shapes.members is None or not isinstance(x, list | tuple) or not x:
        return False
    return all(len(getattr(one, "shape", ())) == len(shapes.sample) + 1 for one in x)


def own_data(
    x: Sequence[Any],
    y: Any,
    weight: Any,
    loss: Any,
    shapes: Shapes,
    backend: Backend,
    *,
    class_weight: Any = None,
    of: str = "",
) -> Chosen:
    """Lists of each member's data as one array of all rows, each checked as the lone network's would be."""
    for name, values in (("x", x), ("y", y), ("sample_weight", weight)):
        if values is None and name == "sample_weight":
            continue
        if not isinstance(values, list | tuple) or len(values) != shapes.members:
            got = f"{len(values)}" if isinstance(values, list | tuple) else describe(values)
            wanted = f"{of}{name} must be a list with one array for each of the {shapes.members} members"
            raise ValueError(f"{wanted}{', as x is' * (name != 'x')}, got {got}")
    lone, parts = shapes._replace(members=None), []
    for k, (xs, ys) in enumerate(zip(x, y, strict=True)):
        own = None if weight is None else weight[k]
        options: dict[str, Any] = {"check": True, "class_weight": class_weight, "of": f"{of}member {k}: "}
        parts.append(inputs.data(xs, ys, own, loss, lone, backend, **options))
    stops = np.cumsum([part.x.shape[0] for part in parts])
    rows = [np.arange(stop - part.x.shape[0], stop) for stop, part in zip(stops, parts, strict=True)]
    return Chosen(join(parts, len(shapes.sample), xp=backend.xp), rows)


def hold_out_each(
    given: Data | Chosen, rank: int, fraction: float, seeds: Sequence[int], backend: Backend
) -> list[Chosen]:
    """The rows to train on and those to validate on, each member's chosen by its seed, by class where y is classes."""
    data, rows = given if isinstance(given, Chosen) else (given, [np.arange(given.x.shape[-1 - rank])] * len(seeds))
    labels, parts = inputs.class_labels(data.y, backend), []
    for k, (seed, lane) in enumerate(zip(seeds, rows, strict=True)):
        mine = None if labels is None else (labels if labels.ndim == 1 else labels[k])[lane]
        try:
            parts.append([lane[part[0]] for part in split(len(lane), fraction, [seed], mine)])
        except ValueError as error:
            raise ValueError(f"member {k}: {error}") from None
    return [Chosen(data, list(part)) for part in zip(*parts, strict=True)]
