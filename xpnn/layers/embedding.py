"""Categories as learned vectors: a table with a row for each, alone or side by side with plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from xpnn import initializers
from xpnn._arguments import as_list, check_count, settle
from xpnn.layers.base import Layer
from xpnn.layers.containers import Container

MOST = 1 << 24
"""How many categories can be told apart: above, float32 no longer holds every whole number."""
FEW = 500
"""Up to how many categories a matrix product of one-hot rows gives the gradient sooner than sorting does."""


@dataclass(frozen=True)
class Embedding(Layer):
    """y = the rows of the table W, of shape (count, features), that the category indices in x name, side by side.

    x holds indices 0, 1, ... count - 1 as numbers, (*members, batch, columns); y is (*members, batch,
    columns * features). All columns share the table. Backward: a row's gradient is the sum of dy over all places where
    it was taken: of few categories the matrix product of x as one-hot rows, (count, batch * columns) numbers, with dy;
    of many the sums over runs of equal indices, sorted. dL/dx is zero.

    An index that is out of range or no whole number gives NaN where its vector would stand, since looking for one
    would wait for the device; `fit` and `evaluate` check the values first and refuse them.

    Parameters
    ----------
    count : how many categories a column has, 2^24 at most.
    features : length of each category's vector.
    columns : width of the input.
    weight_init : initializer, by name or as an object, with fan_in=count and fan_out=features; N(0, 1) by default.

    Guo and Berkhahn (2016), "Entity embeddings of categorical variables"; numbers as in PyTorch's Embedding.

    >>> import numpy as np
    >>> layer, params = Embedding(3, 2), {"weight": np.asarray([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])}
    >>> y, cache = layer.forward(params, np.asarray([[2.0], [0.0], [2.0]]), xp=np)
    >>> y
    array([[4., 5.],
           [0., 1.],
           [4., 5.]])
    >>> layer.gradients(params, cache, np.ones((3, 2)), xp=np)["weight"]
    array([[1., 1.],
           [0., 0.],
           [2., 2.]])
    """

    count: int
    features: int
    columns: int = 1
    weight_init: Any = field(default=initializers.Normal(std=1.0), repr=False)

    def __post_init__(self):
        settle(self, _check_categories, "count")
        settle(self, check_count, "features", "columns")
        initializers.get(self.weight_init)

    @property
    def input_shape(self):
        return (self.columns,)

    @property
    def categories(self):
        return dict.fromkeys(range(self.columns), self.count)

    def output_shape(self, shape):
        super().output_shape(shape)
        return (self.columns * self.features,)

    def init(self, rng):
        fans = {"fan_in": self.count, "fan_out": self.features}
        return {
            "weight": initializers.draw(self.weight_init, rng, (self.count, self.features), **fans, name="weight_init")
        }

    def forward(self, params, x, *, xp, step=None):
        device = getattr(x, "device", None)
        valid, rows = self._rows(x, xp)
        rows = xp.where(valid, rows, xp.zeros_like(rows))  # (*members, batch, columns)
        table, members = params["weight"], params["weight"].shape[:-2]
        if members:
            lanes = xp.arange(math.prod(members), device=device) * self.count  # int64 where there is one
            rows = rows + xp.reshape(lanes, (*members, 1, 1))
            table = xp.reshape(table, (-1, self.features))
        found = xp.take(table, xp.reshape(rows, (-1,)), axis=0)
        found = xp.reshape(found, (*rows.shape, self.features))
        y = xp.where(valid[..., None], found, xp.asarray(math.nan, dtype=found.dtype, device=device))
        return xp.reshape(y, (*rows.shape[:-1], self.columns * self.features)), x

    def backward(self, params, x, dy, *, xp):
        dx = xp.zeros((*dy.shape[:-1], self.columns), dtype=dy.dtype, device=getattr(dy, "device", None))
        return dx, self.gradients(params, x, dy, xp=xp)

    def gradients(self, params, x, dy, *, xp):
        places = x.shape[-2] * self.columns
        dy = xp.reshape(dy, (*dy.shape[:-2], places, self.features))
        if self.count > FEW:
            return {"weight": self._sum_by_row(x, dy, xp)}
        every = xp.arange(self.count, dtype=x.dtype, device=getattr(x, "device", None))[:, None]
        one_hot = xp.astype(xp.reshape(x, (*x.shape[:-2], 1, places)) == every, dy.dtype)  # (*members, count, places)
        return {"weight": one_hot @ dy}

    def _rows(self, x, xp):
        """Which entries of x are indices, and the rows that they name; `count`, one past the last, for the others."""
        valid = (x >= 0.0) & (x < float(self.count)) & (x == xp.floor(x))
        return valid, xp.astype(xp.where(valid, x, xp.full_like(x, float(self.count))), xp.int32)

    def _sum_by_row(self, x, dy, xp):
        """The sum of dy (*members, places, features) over the places of each row, in as many steps as log2(places).

        Sorted by row, each place takes in the sum of the `reach` places before it where those belong to its row, then
        of twice as many: the last place of a row ends with the sum of all. Each member sorts and sums by itself.
        """
        (*members, places, _), device = dy.shape, getattr(x, "device", None)
        rows = xp.reshape(self._rows(x, xp)[1], (*x.shape[:-2], places))
        lanes = xp.arange(math.prod(members), device=device)[:, None] * (self.count + 1)
        keys = xp.reshape(xp.reshape(xp.broadcast_to(rows, (*members, places)), (-1, places)) + lanes, (-1,))
        order = xp.argsort(keys, stable=True)  # so that a row adds up in one order in every stack
        keys, sums = xp.take(keys, order), xp.take(xp.reshape(dy, (-1, self.features)), order, axis=0)
        reach = 1
        while reach < places:
            before = xp.where(
                (keys[reach:] == keys[:-reach])[:, None], sums[:-reach, :], xp.zeros_like(sums[reach:, :])
            )
            sums, reach = xp.concat([sums[:reach, :], sums[reach:, :] + before], axis=0), 2 * reach
        wanted = xp.reshape(lanes + xp.arange(self.count, device=device), (-1,))
        last = xp.maximum(xp.searchsorted(keys, wanted, side="right") - 1, 0)
        found = xp.take(sums, last, axis=0)
        found = xp.where((xp.take(keys, last) == wanted)[:, None], found, xp.zeros_like(found))
        return xp.reshape(found, (*members, self.count, self.features))


@dataclass(frozen=True)
class FeatureEmbedding(Container):
    """y = the columns of x side by side: a number as it is, a category as its vector, for tables that hold both.

    Each categorical column has an Embedding of its own, in the order of the columns, and params is the list of theirs.
    It comes first in a network, as layers before it would change the indices: columns of numbers are standardized
    before they become x, or all columns of y by a BatchNorm after it.

    Parameters
    ----------
    columns : for each column of x None where it holds numbers, or how many categories it holds the indices of.
    features : the length of every vector, or a list with one for each categorical column; None takes
        min(50, (count + 1) // 2), the rule of thumb of fast.ai's first tabular models.
    weight_init : initializer of the tables.

    Raises
    ------
    ValueError where there is no column, or `features` are not as many as the categorical columns.

    Guo and Berkhahn (2016), "Entity embeddings of categorical variables".

    >>> import numpy as np
    >>> layer = FeatureEmbedding([None, 3], features=2)
    >>> params = [{"weight": np.asarray([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])}]
    >>> layer.forward(params, np.asarray([[0.5, 2.0], [1.5, 0.0]]), xp=np)[0]
    array([[0.5, 4. , 5. ],
           [1.5, 0. , 1. ]])
    """

    columns: tuple[int | None, ...]
    features: int | tuple[int, ...] | None = None
    weight_init: Any = field(default=initializers.Normal(std=1.0), repr=False)

    def __post_init__(self):
        columns = enumerate(as_list("columns", self.columns))
        columns = tuple(None if count is None else _check_categories(f"columns[{i}]", count) for i, count in columns)
        if not columns:
            raise ValueError("columns must name at least one column, got none")
        object.__setattr__(self, "columns", columns)
        initializers.get(self.weight_init)
        if self.features is None:
            return
        if not hasattr(self.features, "__len__"):
            settle(self, check_count, "features")
            return
        widths = enumerate(as_list("features", self.features))
        widths = tuple(check_count(f"features[{i}]", width) for i, width in widths)
        if len(widths) != len(self.categories):
            raise ValueError(
                f"features must have one width for each of the {len(self.categories)} categorical columns, "
                f"got {len(widths)}"
            )
        object.__setattr__(self, "features", widths)

    @property
    def categories(self):
        return {column: count for column, count in enumerate(self.columns) if count is not None}

    @cached_property
    def children(self):  # type: ignore[override]
        counts = self.categories.values()
        if self.features is None:
            widths = [min(50, (count + 1) // 2) for count in counts]
        else:
            widths = self.features if isinstance(self.features, tuple) else [self.features] * len(counts)
        pairs = zip(counts, widths, strict=True)
        return tuple(Embedding(count, width, weight_init=self.weight_init) for count, width in pairs)

    @cached_property
    def _pieces(self):
        """Runs of numbers and single categories: their columns of x, their columns of y, and which child takes them."""
        pieces, inside, outside = [], 0, 0
        for child, column in enumerate((*self.categories, len(self.columns))):
            numbers = column - inside
            if numbers:
                pieces.append((slice(inside, column), slice(outside, outside + numbers), None))
            outside += numbers
            if child < len(self.children):
                width = self.children[child].features
                pieces.append((slice(column, column + 1), slice(outside, outside + width), child))
                outside += width
            inside = column + 1
        return pieces

    @property
    def input_shape(self):
        return (len(self.columns),)

    def output_shape(self, shape):
        super().output_shape(shape)
        return (self._pieces[-1][1].stop,)

    def forward(self, params, x, *, xp, step=None):
        parts, caches = [], []
        for inside, _, child in self._pieces:
            part = x[..., inside]
            if child is not None:
                part, cache = self.children[child].forward(params[child], part, xp=xp)
                caches.append(cache)
            parts.append(part)
        lead = max((tuple(part.shape[:-1]) for part in parts), key=len)  # with the members' axis where x is shared
        parts = [xp.broadcast_to(part, (*lead, part.shape[-1])) for part in parts]
        return xp.concat(parts, axis=-1), caches

    def backward(self, params, caches, dy, *, xp):
        parts, grads = [], []
        for _, outside, child in self._pieces:
            part = dy[..., outside]
            if child is not None:
                part, found = self.children[child].backward(params[child], caches[child], part, xp=xp)
                grads.append(found)
            parts.append(part)
        return xp.concat(parts, axis=-1), grads

    def gradients(self, params, caches, dy, *, xp):
        return [
            self.children[child].gradients(params[child], caches[child], dy[..., outside], xp=xp)
            for _, outside, child in self._pieces
            if child is not None
        ]


def _check_categories(name: str, value: Any) -> int:
    """`value` as a count of categories, at most 2^24; raises unless it is one."""
    if check_count(name, value) > MOST:
        raise ValueError(f"{name} must be <= {MOST} (2^24), up to which float32 holds every index, got {value!r}")
    return int(value)
