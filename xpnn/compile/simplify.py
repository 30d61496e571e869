"""Simplifying a traced function: what is known is computed beforehand, and some operations become cheaper ones."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from xpnn.compile.namespace import ELEMENTWISE, VIEWS
from xpnn.compile.trace import Graph, Node

FOLDED = 1 << 22
"""Constants of up to so many bytes are computed beforehand."""
SUMMED = 1 << 16
"""Sums over up to so many rows become products; longer ones keep NumPy's order, which rounds less."""


def apply(node: Node, args: Sequence[Any], xp: Any) -> Any:
    """What an operation gives, computed on arrays by any namespace of the standard."""
    op, options = node.op, node.options
    if op == "index":
        return args[0][options["key"]]
    if op == "concat":
        return xp.concat(list(args), **options)
    if op == "astype":
        return xp.astype(args[0], getattr(xp, options["dtype"].name))
    if op == "erf":
        from xpnn.special import erf

        return erf(args[0], xp=xp)
    if op in VIEWS:
        return getattr(xp, op)(args[0], *options.values())  # NumPy 2.0 calls the shape otherwise
    named = {name: value for name, value in options.items() if name not in ("first", "second")}
    return getattr(xp, op)(*args, *(value for name, value in options.items() if name not in named), **named)


def constant(node: Node, shape: Sequence[int] | None = None) -> np.ndarray:
    """The host array of a constant; `shape=()` gives the one number that fills it."""
    value = np.asarray(node.options["value"], dtype=node.dtype)
    return value if value.shape == node.shape else np.full(node.shape if shape is None else shape, value)


def uniform(node: Node) -> bool:
    """Whether the node is one number everywhere, known beforehand."""
    return node.op == "constant" and not isinstance(node.options["value"], np.ndarray)


def times_one(node: Node) -> Node | None:
    """What a product with 1 leaves as it is, but for its dtype; None for all else."""
    for one, other in (node.args, node.args[::-1]) if node.op == "multiply" else ():
        if uniform(one) and one.options["value"] == 1.0 and other.shape == node.shape:
            return other
    return None


def live(outputs: Iterable[Node]) -> list[Node]:
    """Every node that the outputs need, in the order in which they were asked for."""
    waiting = list(outputs)
    nodes, seen = waiting[0].graph.nodes, set[Node]()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(node.args)
    return [node for node in nodes if node in seen]


def counted(nodes: Iterable[Node]) -> dict[Node, int]:
    """How often each node is an operand."""
    uses: dict[Node, int] = {}
    for node in nodes:
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    return uses


def simplified(outputs: Mapping[str, Node], exact: bool, products: bool) -> dict[str, Node]:
    """The outputs again, of a graph of its own in which nothing is without use.

    `exact` keeps every rounding; `products` makes sums matrix products with ones. Of a stack of networks that is left
    for vectors of its members, as a lone network's have no axis beside that of the sum: lane k then is network k.
    """
    graph, nodes = Graph(), live(outputs.values())
    members = next((node.shape[0] for node in nodes if _named(node, "carry.params") and node.ndim == 2), None)
    uses, new = counted(nodes), dict[Node, Node]()
    for node in nodes:
        made = graph.record(node.op, tuple(new[arg] for arg in node.args), node.options, node.shape, node.dtype)
        lone = {new[arg] for arg in node.args if uses[arg] == 1}
        found = _folded(made)
        found = _without(made) if found is None else found
        found = _one_factor(made, lone) if found is None and not exact else found
        found = _outer(made) if found is None and not exact else found
        vectors = bool(made.args) and made.args[0].ndim == 2 and made.args[0].shape[0] == members
        found = _as_product(made) if found is None and products and not vectors else found
        new[node] = made if found is None else found
    return {name: new[node] for name, node in outputs.items()}


def _named(node: Node, name: str) -> bool:
    return node.op == "input" and node.options["name"] == name


def _folded(node: Node) -> Node | None:
    """The constant that an operation on constants gives."""
    args = node.args
    if not args or any(arg.op != "constant" for arg in args) or node.nbytes > FOLDED:
        return None
    with np.errstate(all="ignore"):
        if node.op in ELEMENTWISE and all(map(uniform, args)):  # remains one number
            value = np.asarray(apply(node, [constant(arg, ()) for arg in args], np), node.dtype)
            return node.graph.constant(value.item(), node.dtype, node.shape)
        value = np.asarray(apply(node, [constant(arg) for arg in args], np))
    return node.graph.constant(value, node.dtype, node.shape)


def _without(node: Node) -> Node | None:
    """The operand, where the operation changes none of its numbers; a power as what it is."""
    xp, args = node.graph.xp, node.args
    if node.op in ("sum", "mean", "max", "min", "prod") and args[0].size == node.size:
        return xp.reshape(args[0], node.shape)
    if (other := times_one(node)) is not None:
        return xp.astype(other, node.dtype)
    if node.op == "pow" and uniform(args[1]) and args[0].shape == node.shape:
        x, power = xp.astype(args[0], node.dtype), args[1].options["value"]
        return x if power == 1 else xp.multiply(x, x) if power == 2 else xp.sqrt(x) if power == 0.5 else None
    return None


def _one_factor(node: Node, lone: set[Node]) -> Node | None:
    """a (b x) as (a b) x, where nobody else reads b x."""
    if node.op != "multiply" or node.dtype.kind != "f":
        return None
    for one, inner in (node.args, node.args[::-1]):
        if uniform(one) and not one.ndim and inner in lone and inner.op == "multiply":
            for other, rest in (inner.args, inner.args[::-1]):
                if uniform(other) and not other.ndim:
                    factor = node.graph.constant(one.options["value"] * other.options["value"], node.dtype)
                    return node.graph.xp.multiply(factor, rest)
    return None


def _outer(node: Node) -> Node | None:
    """The product of a column and a row element by element: BLAS takes five times as long for it."""
    if node.op != "matmul" or any(arg.ndim < 2 for arg in node.args) or node.args[0].shape[-1] != 1:
        return None
    return node.graph.xp.multiply(*node.args)


def _as_product(node: Node) -> Node | None:
    """A sum over one or both of the last two axes as a product with a row or a column of ones."""
    if node.op not in ("sum", "mean"):
        return None
    x, axes, graph = node.args[0], node.options["axis"], node.graph
    rows, columns = (axis in axes for axis in (x.ndim - 2, x.ndim - 1))
    if x.ndim < 2 or not x.size or x.dtype.kind != "f" or len(axes) != rows + columns or max(x.shape[-2:]) > SUMMED:
        return None
    share = node.size / x.size if node.op == "mean" else 1.0
    if rows and x.shape[-2] > 1:
        x = graph.xp.matmul(graph.constant(share, x.dtype, (1, x.shape[-2])), x)
        share = 1.0
    if columns and x.shape[-1] > 1:
        x = graph.xp.matmul(x, graph.constant(share, x.dtype, (x.shape[-1], 1)))
    return graph.xp.reshape(x, node.shape)
