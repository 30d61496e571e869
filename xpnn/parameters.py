"""The flat vector: every learned parameter of a network in one array of shape (*members, n_params).

A `Layout` remembers where each named array lies in it. `unflatten` gives the arrays back as slices (views, where the
array library has them), `flatten` writes a tree of arrays of the same names, gradients for one, in the same order. An
optimizer is then a few whole-array operations whatever the depth, and a checkpoint is one array.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Array = Any
Tree = Any  # a dict of arrays, or a list of trees


class Entry(NamedTuple):
    """One array: its path of positions among the layers, its name, its shape (of one member) and its slice."""

    path: tuple[int, ...]
    name: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def label(self) -> str:
        """As people write it: "0.weight"."""
        return ".".join([*map(str, self.path), self.name])


class Layout:
    """Where each array of a tree lies in the flat vector; `tree` needs only shapes, of one member.

    >>> import numpy as np
    >>> layout = Layout([{"weight": np.zeros((2, 3)), "bias": np.zeros(3)}, {}])
    >>> layout.size, [entry.label for entry in layout.entries]
    (9, ['0.weight', '0.bias'])
    >>> tree = layout.unflatten(np.arange(9.0), xp=np)
    >>> tree[0]["bias"]
    array([6., 7., 8.])
    >>> layout.flatten(tree, xp=np)
    array([0., 1., 2., 3., 4., 5., 6., 7., 8.])
    """

    def __init__(self, tree: Tree):
        self.entries: list[Entry] = []
        self.size = 0
        self._template = self._place(tree, ())

    def _place(self, tree: Tree, path: tuple[int, ...]) -> Tree:
        if isinstance(tree, list):
            return [self._place(child, (*path, index)) for index, child in enumerate(tree)]
        placed = {}
        for name, array in tree.items():
            shape = tuple(array.shape)
            placed[name] = Entry(path, name, shape, self.size, self.size + math.prod(shape))
            self.entries.append(placed[name])
            self.size = placed[name].stop
        return placed

    def unflatten(self, vector: Array, *, xp: Any) -> Tree:
        """The tree of arrays of shape (*members, *shape) that `vector`, (*members, size), holds."""
        return _views(self._template, vector, tuple(vector.shape[:-1]), xp)

    def flatten(self, tree: Tree, *, xp: Any) -> Array:
        """The vector of shape (*lead, size) of a tree of arrays (*lead, *shape), any names beyond the layout's left."""
        parts = []
        for entry, array in self.pairs(tree):
            rank = len(entry.shape)
            shape = (*array.shape[: array.ndim - rank], entry.stop - entry.start)
            parts.append(array if rank == 1 else xp.reshape(array, shape))
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)

    def pairs(self, tree: Tree) -> Iterator[tuple[Entry, Array]]:
        """Each entry with its array of `tree`."""
        for entry in self.entries:
            node = tree
            for index in entry.path:
                node = node[index]
            yield entry, node[entry.name]


def _views(template: Tree, vector: Array, lead: tuple[int, ...], xp: Any) -> Tree:
    """The tree of slices. No closure that calls itself: its cycle would keep each step's vector until a collection."""
    if isinstance(template, list):
        return [_views(child, vector, lead, xp) for child in template]
    return {
        name: part if len(shape) == 1 else xp.reshape(part, (*lead, *shape))
        for name, (_, _, shape, start, stop) in template.items()
        for part in (vector[..., start:stop],)
    }


def merge(first: Tree, second: Tree) -> Tree:
    """Two trees of the same nesting as one: the learned entries and the state of each layer in one dict.

    >>> merge([{"weight": 1}, {}], [{"running_mean": 2}, {}])
    [{'weight': 1, 'running_mean': 2}, {}]
    """
    if isinstance(first, list):
        return [merge(a, b) for a, b in zip(first, second, strict=True)]
    return {**first, **second}


def multiplier_table(layout: Layout, depth: int, multipliers: Any) -> list[float] | None:
    """A factor for each element of the flat vector from `{"bias": 0.1, 0: 0.0, "1.weight": 2.0}`; None where all are 1.

    A key is a parameter's name, a layer's number (negative from the end of `depth` layers) or both as "0.weight". An
    element that several keys reach takes the product of their factors.

    Raises
    ------
    ValueError for a key that names no parameter.
    """
    if not multipliers:
        return None
    factors = [1.0] * len(layout.entries)
    for key, factor in multipliers.items():
        layer = key + depth if isinstance(key, int) and key < 0 else key
        reached = [
            i
            for i, entry in enumerate(layout.entries)
            if key == entry.name or str(layer) == entry.label or (entry.path and str(layer) == str(entry.path[0]))
        ]
        if not reached:
            known = sorted({entry.name for entry in layout.entries}) + [entry.label for entry in layout.entries]
            raise ValueError(f"multipliers: {key!r} is no parameter or layer with parameters; there are {known}")
        for i in reached:
            factors[i] *= float(factor)
    return [f for f, entry in zip(factors, layout.entries, strict=True) for _ in range(entry.stop - entry.start)]


def weight_table(layout: Layout) -> list[float]:
    """1 for each element of the flat vector that belongs to a weight, an array of two axes or more, 0 for the others.

    >>> import numpy as np
    >>> weight_table(Layout({"weight": np.zeros((1, 2)), "bias": np.zeros(2)}))
    [1.0, 1.0, 0.0, 0.0]
    """
    return [float(len(entry.shape) > 1) for entry in layout.entries for _ in range(entry.stop - entry.start)]


def checked(values: Any, template: Tree, shapes: dict[str, tuple[int, ...]], convert: Any, path: tuple = ()) -> Tree:
    """`values` as a tree of the nesting, names and shapes wanted; a difference is a ValueError that names the place.

    `template` has the nesting and the names, `shapes` the shape by label, and `convert(array, name)` makes an array of
    the right kind.
    """
    at = f"params{''.join(f'[{i}]' for i in path)}"
    if isinstance(template, list):
        if not isinstance(values, Sequence) or len(values) != len(template):
            given = f"{type(values).__name__} of {len(values)}" if isinstance(values, Sequence) else repr(values)
            raise ValueError(f"{at} must be a list of {len(template)} layers, got {given}")
        pairs = zip(values, template, strict=True)
        return [checked(value, part, shapes, convert, (*path, i)) for i, (value, part) in enumerate(pairs)]
    if not isinstance(values, dict) or set(values) != set(template):
        given = sorted(values) if isinstance(values, dict) else repr(values)
        raise ValueError(f"{at} must have the entries {sorted(template)}, got {given}")
    tree = {}
    for name in template:
        tree[name], wanted = convert(values[name], f"{at}[{name!r}]"), shapes[".".join([*map(str, path), name])]
        if tuple(tree[name].shape) != wanted:
            raise ValueError(f"{at}[{name!r}] must have shape {wanted}, got {tuple(tree[name].shape)}")
    return tree
