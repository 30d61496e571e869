"""Rows in one kernel: a softmax with its loss, say, where each row's maximum and sum are taken on the way.

A thread computes a row of few columns from beginning to end and holds it in registers; what would be a dozen kernels is
one. What depends on several rows, as the mean of a loss, stays outside and comes after.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from xpnn.compile.cuda import TYPES, arrays_read, expression, listing, name_of, reduction_source
from xpnn.compile.namespace import ELEMENTWISE, REDUCTIONS
from xpnn.compile.plan import Unit
from xpnn.compile.trace import Node

COLUMNS = 32
"""Rows of up to so many columns are one thread's."""
HELD = 2048
"""Bytes of a row, over all results of the width, that a thread holds at most."""
PASSED = 12
"""How many results of another kind are looked past for more of the row."""


class Rows(NamedTuple):
    """An ElementwiseKernel over `rows` rows, whose arrays are all raw, and its parts as CuPy takes them."""

    reads: tuple[Node, ...]
    writes: tuple[Node, ...]
    rows: int
    operations: str
    in_params: str
    out_params: str
    operation: str
    preamble: str

    @property
    def name(self) -> str:
        """A name that says what it does, the same for the same text."""
        return name_of(f"rows_{self.operations[:43]}", *self[4:])

    def __str__(self) -> str:
        return listing(self.name, self.in_params, self.out_params, self.preamble, self.operation)


def lead_of(node: Node) -> tuple[int, ...] | None:
    """The axes before the last of what can be computed row by row; None for all else."""
    if node.ndim < 2:
        return None
    if node.op in ELEMENTWISE:
        return node.shape[:-1]
    if node.op in REDUCTIONS and node.args[0].ndim == node.ndim and node.options["keepdims"]:
        return node.shape[:-1] if node.options["axis"] == (node.ndim - 1,) else None
    return None


def together(groups: Sequence[list[Node]], views: set[Node], inside: Mapping[Node, Node]) -> list[list[Node]]:
    """Groups of operations, each run as one, with those joined that compute the same rows around a reduction of them.

    `inside` gives for a view the node whose memory it looks at. Groups that are looked past come after those joined.
    """
    waiting, found = list(groups), list[list[Node]]()
    while waiting:
        first, *waiting = waiting
        joined, rest = _joined(first, waiting, views, inside)
        if any(node.op in REDUCTIONS for node in joined) and len(joined) > 1:
            found.append(joined)
            waiting = rest
        else:
            found.append(first)
    return found


def _joined(
    first: list[Node], waiting: list[list[Node]], views: set[Node], inside: Mapping[Node, Node]
) -> tuple[list[Node], list[list[Node]]]:
    """A group with what of those that wait belongs to its rows, and what is left of them."""
    joined, passed = list(first), list[Node]()
    if not _fits(first, first, views, inside):
        return joined, waiting
    rest = list[list[Node]]()
    for number, group in enumerate(waiting):
        free = not any(inside.get(arg, arg) in set(passed) for node in group for arg in node.args)
        if free and _fits(joined, group, views, inside):
            joined += group
            continue
        rest.append(group)
        passed += group
        if len(passed) > PASSED or any(node.op not in ELEMENTWISE | REDUCTIONS for node in group):
            return joined, rest + waiting[number + 1 :]
    return joined, rest


def _fits(joined: list[Node], group: list[Node], views: set[Node], inside: Mapping[Node, Node]) -> bool:
    """Whether the group computes, of the rows of those joined, what a thread can hold."""
    every = [*joined, *(node for node in group if node not in set(joined))]
    leads = {lead_of(node) for node in every}
    wide = [node for node in every if node.shape[-1:] != (1,)]
    widths = {arg.shape[-1] for node in every if node.op in REDUCTIONS for arg in node.args}
    widths |= {node.shape[-1] for node in wide if node.ndim}
    if len(leads) != 1 or None in leads or len(widths - {1}) > 1 or max(widths, default=1) > COLUMNS:
        return False
    looks = any(arg in views and inside[arg] in set(every) for node in every for arg in node.args)
    return not looks and sum(node.nbytes for node in wide) // max(1, math.prod(every[0].shape[:-1])) <= HELD


def rows_source(unit: Unit) -> Rows:
    """The kernel of a unit that computes rows.

    >>> from xpnn.compile.trace import Graph
    >>> graph = Graph()
    >>> x = graph.input("x", (4, 3), "float32")
    >>> high = graph.xp.max(x, axis=-1, keepdims=True)
    >>> less = x - high
    >>> kernel = rows_source(Unit((high, less), (less,)))
    >>> kernel.rows, kernel.in_params, kernel.out_params
    (4, 'raw float32 a0', 'raw float32 y0')
    >>> print(kernel.operation)
    float t1[3];
    float t0; {
      float a = (-CUDART_INF_F);
      for (int j = 0; j < 3; j++) {
        const float given = a0[i * 3 + j]; const float b = given;
        a = a >= b || a != a ? a : b;
      }
      float found; found = a; t0 = found;
    }
    for (int j = 0; j < 3; j++) {
      t1[j] = a0[i * 3 + j] - t0;
    }
    for (int j = 0; j < 3; j++) y0[i * 3 + j] = t1[j];
    """
    nodes, reads, lead = unit.nodes, arrays_read(unit), unit.nodes[0].shape[:-1]
    names = {node: f"a{k}[{_index(node, lead)}]" for k, node in enumerate(reads)}
    names |= {node: f"t{k}{'[j]' if _wide(node) else ''}" for k, node in enumerate(nodes)}
    helpers, lines, loop = dict[str, str](), list[str](), list[str]()
    lines += [f"{TYPES[node.dtype.name]} t{k}[{node.shape[-1]}];" for k, node in enumerate(nodes) if _wide(node)]

    def close() -> None:
        if loop:
            lines.extend([f"for (int j = 0; j < {width}; j++) {{", *loop, "}"])
            loop.clear()

    width = max(node.shape[-1] for node in (*nodes, *(node.args[0] for node in nodes if node.op in REDUCTIONS)))
    for node in nodes:
        if _wide(node):
            loop.append(f"  {names[node]} = {expression(node, names, helpers)};")
            continue
        close()
        if node.op in REDUCTIONS:
            lines += _reduced(node, names)
        else:
            lines.append(f"const {TYPES[node.dtype.name]} {names[node]} = {expression(node, names, helpers)};")
    close()
    for k, node in enumerate(unit.writes):
        each = f"for (int j = 0; j < {width}; j++) " if _wide(node) else ""
        lines.append(f"{each}y{k}[{_index(node, lead)}] = {names[node]};")
    return Rows(
        reads,
        unit.writes,
        math.prod(lead),
        "_".join(dict.fromkeys(node.op for node in nodes)),
        ", ".join(f"raw {node.dtype} a{k}" for k, node in enumerate(reads)),
        ", ".join(f"raw {node.dtype} y{k}" for k, node in enumerate(unit.writes)),
        "\n".join(lines),
        "\n".join(helpers.values()),
    )


def _wide(node: Node) -> bool:
    return node.shape[-1] != 1


def _reduced(node: Node, names: Mapping[Node, str]) -> list[str]:
    """A row's sum, maximum ... as the lone reduction computes it."""
    kernel, (arg,) = reduction_source(node), node.args[:1]
    given, result, kept = TYPES[arg.dtype.name], TYPES[node.dtype.name], kernel.reduce_type
    return [
        f"{result} {names[node]}; {{",
        f"  {kept} a = {kernel.identity};",
        f"  for (int j = 0; j < {arg.shape[-1]}; j++) {{",
        f"    const {given} given = {names[arg]}; const {kept} b = {kernel.map_expr};",
        f"    a = {kernel.reduce_expr};",
        "  }",
        f"  {result} found; {kernel.post_map_expr}; {names[node]} = found;",
        "}",
    ]


def _index(node: Node, lead: tuple[int, ...]) -> str:
    """Where in the node's own order the number at row i and column j lies; axes of length one are stretched."""
    shape = (1,) * (len(lead) + 1 - node.ndim) + node.shape
    across = "j" if shape[-1] != 1 else ""
    if shape[:-1] == lead:
        return f"i * {shape[-1]} + j" if across else "i"
    terms, after, own = [], 1, shape[-1]
    for count, length in zip(reversed(lead), reversed(shape[:-1]), strict=True):
        if length != 1:
            terms.append(f"i / {after} % {count} * {own}")
        after, own = after * count, own * length
    return " + ".join([*reversed(terms), *([across] if across else [])]) or "0"
