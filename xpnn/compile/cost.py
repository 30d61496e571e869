"""What a planned program costs: how many operations on numbers it makes, how many bytes it moves, and how fast it could
be at most on a machine of which two rates are known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from xpnn.compile.namespace import REDUCTIONS
from xpnn.compile.plan import Plan
from xpnn.compile.simplify import uniform
from xpnn.compile.trace import Node


class Cost(NamedTuple):
    """Floating-point operations, those of them in matrix products, and bytes read and written."""

    flops: int
    product_flops: int
    bytes: int

    def __add__(self, other: Cost) -> Cost:  # type: ignore[override]
        return Cost(*(one + another for one, another in zip(self, other, strict=True)))

    def floor(self, flops_per_second: float, bytes_per_second: float) -> float:
        """The seconds below which no program can stay that makes these operations and moves these bytes.

        >>> Cost(2000, 1000, 400).floor(1e9, 1e8)
        4e-06
        """
        return max(self.flops / flops_per_second, self.bytes / bytes_per_second)


def cost_of(node: Node) -> Cost:
    """An elementwise function counts as one operation a number, a multiplication with an addition as two.

    >>> from xpnn.compile.trace import Graph
    >>> graph = Graph()
    >>> cost_of(graph.input("x", (4, 3), "float32") @ graph.input("w", (3, 2), "float32"))
    Cost(flops=48, product_flops=48, bytes=104)
    """
    moved = node.nbytes + sum(arg.nbytes for arg in set(node.args) if not uniform(arg))
    if node.op == "matmul":
        flops = 2 * node.size * node.args[0].shape[-1]
        return Cost(flops, flops, moved)
    if node.op in ("take", "concat", "reshape", "astype"):
        return Cost(0, 0, 2 * node.nbytes)  # a copy
    return Cost(node.args[0].size if node.op in REDUCTIONS else node.size, 0, moved)


def total(nodes: Iterable[Node]) -> Cost:
    """What all of them cost together."""
    return sum(map(cost_of, nodes), Cost(0, 0, 0))


def cost(plan: Plan) -> Cost:
    """What a planned program costs: its views and what is written where it is wanted cost nothing."""
    placed = {home.where[0] for home in plan.home.values() if home.kind == "part"}
    return total(node for node in plan.steps if node not in placed)
