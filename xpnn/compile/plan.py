"""Planning: which operations are computed, in which order, and where each result lies.

What a traced function needs is simplified first. Numbers that serve all rows then come as soon as they can be had, all
else as it was asked for. Views are no operations: they lie in what they look at. A plan holds no arrays and knows no
library; `numpy.py` and `cupy.py` write programs from it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from xpnn.compile.memory import Home, Memory, empty
from xpnn.compile.namespace import ELEMENTWISE, VIEWS
from xpnn.compile.simplify import apply, constant, live, simplified, uniform
from xpnn.compile.trace import Node

SMALL = 64
"""Results of up to so many numbers are computed as soon as they can be."""
NARROW = 16
"""Matrices of up to so many columns lie column by column, so that inner loops run over the rows."""


class Unit(NamedTuple):
    """What is computed in one go: one operation, or a cluster of elementwise ones."""

    nodes: tuple[Node, ...]
    writes: tuple[Node, ...]  # those that others read

    @property
    def reads(self) -> tuple[Node, ...]:
        """The arrays of others that it reads: numbers that are known stand in its text."""
        own = set(self.nodes)
        found = dict.fromkeys(arg for node in self.nodes for arg in node.args)
        return tuple(arg for arg in found if arg not in own and not uniform(arg))


class Plan:
    """The program of a traced function, before it is written for a library.

    Parameters
    ----------
    outputs : the function's results by name.
    places : of each result the name of the input in whose memory it is put; "fresh" for memory of its own in every
        call, "kept" for a buffer that the next call writes again.
    exact : keep every rounding of the function as it stands.
    products : sums as matrix products with ones, which BLAS computes faster than NumPy, and narrow matrices by column.
    cluster : compute runs of elementwise operations on one shape as one; a number of bytes does so for vectors that
        take as many, without other operands than such vectors and single numbers.
    rows : joins clusters and reductions that compute the same rows; it is given all groups of operations, in their
        order, which are views, and in whose memory each lies.
    labels : what parts of the parameters are called in a program's text, by where in the flat vector they lie.
    """

    def __init__(
        self,
        outputs: Mapping[str, Node],
        places: Mapping[str, str],
        exact: bool = False,
        products: bool = True,
        cluster: bool | int = False,
        labels: Mapping[tuple[int, int], str] | None = None,
        rows: Callable[[list[list[Node]], set[Node], Mapping[Node, Node]], list[list[Node]]] | None = None,
    ):
        self.labels = dict(labels or {})
        self.places, products = dict(places), products and not exact
        nodes = next(iter(outputs.values())).graph.nodes
        targets = [n for n in nodes if n.op == "input" and n.options["name"] in self.places.values()]
        simple = simplified({f"to {n.options['name']}": n for n in targets} | dict(outputs), exact, products)
        self.outputs = {name: simple[name] for name in outputs}
        needed = live(simple.values())
        next(iter(simple.values())).graph.close()
        self.inputs = {node.options["name"]: node for node in needed if node.op == "input"}
        self.constants = [node for node in needed if node.op == "constant"]
        computed = [node for node in needed if node.op not in ("input", "constant")]
        self.turned = _turned(computed, self.outputs.values()) if products else set()
        self._forms: dict[Node, np.ndarray] = {}
        self.views = {node for node in computed if self._is_view(node)}
        self.order = _ordered(needed)
        self.steps = [node for node in self.order if node not in self.views]
        groups = self._groups(_joining(cluster))
        if rows is not None:
            groups = rows(groups, self.views, {view: self.root(view) for view in self.views})
            self.order = self._in_order(groups)
            self.steps = [node for node in self.order if node not in self.views]
        self._settle(groups)

    def regroup(self, joins: Callable[[Node], bool]) -> None:
        """Compute other runs of operations as one: those on one shape that `joins` is true of."""
        self._settle(self._groups(joins))

    def _settle(self, groups: Sequence[Sequence[Node]]) -> None:
        self.units = self._units_of(groups)
        memory = Memory(self)
        self.home: dict[Node, Home] = memory.home
        self.blocks: list[int] = memory.blocks
        self.copies: list[tuple[Node, str]] = memory.copies

    def _is_view(self, node: Node) -> bool:
        """Whether a node only looks at what others hold, which hangs on how that lies in memory."""
        if node.op not in VIEWS:
            return False
        base = self.form(node.args[0])
        form = apply(node, [base], np)
        if not np.may_share_memory(form, base):
            return False
        self._forms[node] = form
        return True

    def form(self, node: Node) -> np.ndarray:
        """An array without numbers that lies in memory as the node does."""
        if node not in self._forms:
            self._forms[node] = empty(node, node in self.turned)
        return self._forms[node]

    def forget(self) -> None:
        """Let go of the forms, which are as large as what they stand for, though nobody writes to them."""
        self._forms = {}

    def root(self, node: Node) -> Node:
        """The node whose memory this one looks at; itself where it has its own."""
        while node in self.views:
            node = node.args[0]
        return node

    def lies_in_an_input(self, node: Node) -> bool:
        """Whether another result may be put where the node lies."""
        root = self.root(node)
        return root.op == "input" or self.home.get(root, Home("")).kind == "input"

    def within_range(self, indices: Node) -> bool:
        """Whether indices are known to be within range: the rows of a batch are, which the library draws."""
        root = self.root(indices)
        return root.op == "input" and root.options["name"] == "rows"

    def to_copy(self, concat: Node) -> list[tuple[Node, int, int]]:
        """The operands of a `concat` that are not computed in their part of it, and where along the axis that is."""
        found, stop = [], 0
        for arg in concat.args:
            start, stop = stop, stop + arg.shape[concat.options["axis"]]
            home = self.home.get(self.root(arg), Home(""))
            if home.kind != "part" or home.where[0] is not concat or home.where[2] != start:
                found.append((arg, start, stop))
        return found

    def _groups(self, joins: Callable[[Node], bool]) -> list[list[Node]]:
        """The operations in their order, those together that are computed as one."""
        groups: list[list[Node]] = []
        for node in self.steps:
            last = groups[-1][-1] if groups else node
            alike = groups and joins(node) and joins(last) and node.shape == last.shape
            # a view of what the cluster itself computes would be read where others have yet to write
            if alike and not any(arg in self.views and self.root(arg) in set(groups[-1]) for arg in node.args):
                groups[-1].append(node)
            else:
                groups.append([node])
        return groups

    def _in_order(self, groups: list[list[Node]]) -> list[Node]:
        """All that is computed or looked at, in the order of these groups, each view right after what it looks at."""
        looking: dict[Node, list[Node]] = {}
        for view in self.order:
            if view in self.views:
                looking.setdefault(view.args[0], []).append(view)
        order: list[Node] = []

        def put(node: Node) -> None:
            order.extend([node] if node.op not in ("input", "constant") else [])
            for view in looking.get(node, ()):
                put(view)

        for node in (*self.inputs.values(), *self.constants, *(node for group in groups for node in group)):
            put(node)
        return order

    def _units_of(self, groups: Sequence[Sequence[Node]]) -> list[Unit]:
        """The groups with what of each is read outside of it."""
        number = {node: i for i, group in enumerate(groups) for node in group}
        outside = {self.root(node) for node in self.outputs.values()}
        for node in self.order:
            for arg in node.args:
                root = self.root(arg)
                if node in self.views or number[node] != number.get(root):
                    outside.add(root)
        return [Unit(tuple(group), tuple(node for node in group if node in outside)) for group in groups]

    @property
    def memory(self) -> int:
        """The bytes of all buffers and constants; the inputs are not counted."""
        own = sum(node.nbytes for node, home in self.home.items() if home.kind in ("fresh", "kept"))
        return sum(self.blocks) + own + sum(constant(node, ()).nbytes for node in self.constants)


def _joining(cluster: bool | int) -> Callable[[Node], bool]:
    """Whether an operation may be computed together with others on its shape (`Plan` says what `cluster` means)."""

    def joins(node: Node) -> bool:
        if isinstance(cluster, bool) or node.op not in ELEMENTWISE:
            return node.op in ELEMENTWISE and cluster is True
        alike = all(arg.size == 1 or arg.shape == node.shape for arg in node.args)
        return node.ndim == 1 and node.nbytes >= cluster and alike

    return joins


def _ordered(needed: Sequence[Node]) -> list[Node]:
    """All that is computed or looked at, small results as early as can be."""
    done = {node: None for node in needed if node.op in ("input", "constant")}
    given = len(done)
    small = [node for node in needed if node.size <= SMALL and node not in done]
    for node in needed:
        for early in small:
            if all(arg in done for arg in early.args):
                done[early] = None
        small = [early for early in small if early not in done]
        done[node] = None
    return list(done)[given:]


def _turned(computed: Sequence[Node], outputs: Iterable[Node]) -> set[Node]:
    """Matrices of few columns and many rows, but for those that must lie row by row: results, and what is reshaped."""
    found = {
        node
        for node in computed
        if (node.op in ELEMENTWISE or node.op == "matmul")
        and node.ndim >= 2
        and 1 < node.shape[-1] <= NARROW
        and node.shape[-2] >= 4 * node.shape[-1]
    }
    fixed = {arg for node in computed if node.op in ("reshape", "concat") for arg in node.args}
    return found - fixed - set(outputs)
