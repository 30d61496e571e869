"""The operations of a plan as loops over flat memory, in the Python that numba compiles.

Every array is one row of numbers in memory, of which a `Place` says where a result's lie; shapes and strides are
numbers in the text. What numba would compute otherwise than NumPy, or more slowly, is not here.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn.compile.cuda import INFIX, TYPES, operand_dtypes
from xpnn.compile.namespace import ELEMENTWISE, FLOATING
from xpnn.compile.plan import Unit
from xpnn.compile.simplify import uniform
from xpnn.compile.trace import Node

COSTLY = frozenset(["pow", "atan2", "hypot", "logaddexp", *FLOATING]) - {"sqrt", "reciprocal"}
"""What NumPy computes for many numbers at once and numba one after the other."""
_SIGNS = INFIX | {"logical_and": "&", "logical_or": "|", "logical_xor": "!="}
_FORMS = {name: f"{{0}} {sign} {{1}}" for name, sign in _SIGNS.items() if name != "divide"} | {
    "negative": "-{0}",
    "positive": "{0}",
    "square": "{0} * {0}",
    "abs": "abs({0})",
    "logical_not": "not {0}",
    "where": "{1} if {0} else {2}",
    "maximum": "{0} if ({0} >= {1}) | ({0} != {0}) else {1}",
    "minimum": "{0} if ({0} <= {1}) | ({0} != {0}) else {1}",
}
_FLOATS = {
    "divide": "{0} / {1}",
    "reciprocal": "{T}(1.0) / {0}",
    "pow": "{0} ** {1}",
    "isnan": "{0} != {0}",
    "isinf": "abs({0}) == {T}(inf)",
    "isfinite": "abs({0}) < {T}(inf)",
    "erf": "math.erf({0})",
    "round": "np.rint({0})",
    "sign": "{T}(1) if {0} > {T}(0) else {T}(-1) if {0} < {T}(0) else {T}(0) if {0} == {T}(0) else {0}",
    "acos": "np.arccos({0})",
    "acosh": "np.arccosh({0})",
    "asin": "np.arcsin({0})",
    "asinh": "np.arcsinh({0})",
    "atan": "np.arctan({0})",
    "atanh": "np.arctanh({0})",
    "atan2": "np.arctan2({0}, {1})",
}
_FLOATS |= {name: f"np.{name}({{0}})" for name in [*FLOATING, "ceil", "floor", "trunc"] if name not in _FLOATS}
_FLOATS |= {name: f"np.{name}({{0}}, {{1}})" for name in ["copysign", "hypot", "logaddexp"]}
_SHIFTS = {"bitwise_left_shift": "<<", "bitwise_right_shift": ">>"}
TILE = 16
"""So many numbers of a product are summed at once, and so many factors of one number written out."""


class Place(NamedTuple):
    """Where an array lies: the name of the memory, where in it the first number is, the steps along the axes."""

    memory: str
    start: int
    strides: tuple[int, ...]

    def at(self, *indices: Any) -> str:
        """The number at these indices, names or numbers, one an axis."""
        start = self.start + sum(i * step for i, step in zip(indices, self.strides, strict=True) if type(i) is int)
        steps = [(i, step) for i, step in zip(indices, self.strides, strict=True) if type(i) is str and step]
        terms = [i if step == 1 else f"{i} * {step}" for i, step in steps]
        return f"{self.memory}[{' + '.join([*terms, *([str(start)] if start or not terms else [])])}]"


def expression(node: Node, names: Mapping[Node, str]) -> str | None:
    """An elementwise operation on named numbers; None for others, and where numba has no equal of NumPy's.

    >>> from xpnn.compile.trace import Graph
    >>> graph = Graph()
    >>> x, y = graph.input("x", (3,), "float32"), graph.input("y", (3,), "int32")
    >>> print(expression(x * 0.1, {x: "a"}), expression(y + 1, {y: "b"}), sep=", ")
    a * float32(0.10000000149011612), int32(b + int32(1))
    """
    op, dtype, kinds = node.op, node.dtype, operand_dtypes(node)
    if op not in ELEMENTWISE:
        return None
    args = [_operand(arg, kind, names) for arg, kind in zip(node.args, kinds, strict=True)]
    wanted = kinds[-1]
    if op == "astype":
        if wanted.kind == "f" and dtype.kind in "iu":
            if dtype.name not in ("int32", "int64"):
                return None
            end = float(2 ** (8 * dtype.itemsize - 1))  # beyond it the compiler may do as it likes; here as x86 does
            within = f"({args[0]} >= {wanted}({-end})) & ({args[0]} < {wanted}({end}))"
            return f"{dtype}({args[0]}) if {within} else {dtype}({-int(end)})"
        return f"{args[0]} != {wanted}(0)" if dtype.kind == "b" else f"{dtype}({args[0]})"
    if op in ("maximum", "minimum") and uniform(node.args[1]) and not math.isnan(node.args[1].options["value"]):
        return f"{args[1]} if {args[0]} {'<' if op == 'maximum' else '>'} {args[1]} else {args[0]}"
    if op in _SHIFTS:
        by = node.args[1]
        within = uniform(by) and 0 <= by.options["value"] < 8 * dtype.itemsize
        return f"{dtype}({args[0]} {_SHIFTS[op]} {args[1]})" if within else None
    form = _FORMS.get(op) or (_FLOATS.get(op) if wanted.kind == "f" else None)
    if form is None or (wanted.kind == "b" and op in ("add", "subtract", "multiply", "negative", "abs")):
        return None
    text = form.format(*args, T=wanted)
    plain = dtype.kind == "b" or op in ("where", "maximum", "minimum") or (dtype.kind == "f" and op not in _FLOATS)
    return text if plain else f"{dtype}({text})"


def _operand(arg: Node, dtype: np.dtype, names: Mapping[Node, str]) -> str:
    if uniform(arg):
        return literal(arg.options["value"], dtype)
    name = names.get(arg, "x")
    return name if arg.dtype == dtype else f"{dtype}({name})"


def literal(value: Any, dtype: np.dtype) -> str:
    """A number of a dtype, exactly.

    >>> literal(0.1, np.dtype("float32")), literal(-2, np.dtype("int64")), literal(True, np.dtype("bool"))
    ('float32(0.10000000149011612)', 'int64(-2)', 'True')
    """
    with np.errstate(over="ignore"):
        value = dtype.type(value).item()
    return repr(value) if dtype.kind == "b" else f"{dtype}({value!r})"


def elementwise(unit: Unit, place: Callable[[Node, Sequence[int]], Place]) -> list[str]:
    """A cluster as one loop: what is handed from one operation to the next is a local variable."""
    shape, reads, arrays = unit.nodes[0].shape, unit.reads, [*unit.writes, *unit.reads]
    places = [place(node, shape) for node in arrays]
    sizes, strides = _merged(shape, [one.strides for one in places])
    indices = [f"i{axis}" for axis in range(len(sizes))]
    places = [one._replace(strides=tuple(s)) for one, s in zip(places, strides, strict=True)]
    names = {node: f"x{i}" for i, node in enumerate(reads)} | {node: f"y{i}" for i, node in enumerate(unit.nodes)}
    lines = [list[str]() for _ in range(len(sizes) + 1)]  # what is read is read in the outermost loop that it hangs on
    for node, one in zip(reads, places[len(unit.writes) :], strict=True):
        depth = max((axis + 1 for axis, step in enumerate(one.strides) if step), default=0)
        lines[depth].append(f"{names[node]} = {one.at(*indices)}")
    for node in unit.nodes:
        lines[-1].append(f"{names[node]} = {expression(node, names)}")
    lines[-1] += [f"{one.at(*indices)} = {names[node]}" for node, one in zip(unit.writes, places, strict=False)]
    return _nested(sizes, indices, lines)


def _merged(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """The axes over which loops go, the widest steps of the first array outermost; two that follow each other in every
    array are one."""
    merged: list[tuple[int, list[int]]] = []
    for axis in sorted((i for i, n in enumerate(shape) if n != 1), key=lambda i: -abs(strides[0][i])):
        now = [one[axis] for one in strides]
        if merged and all(outer == shape[axis] * inner for outer, inner in zip(merged[-1][1], now, strict=True)):
            merged[-1] = (merged[-1][0] * shape[axis], now)
        else:
            merged.append((shape[axis], now))
    return [size for size, _ in merged], [[steps[i] for _, steps in merged] for i in range(len(strides))]


def _nested(sizes: Sequence[int], indices: Sequence[str], lines: Sequence[Iterable[str]]) -> list[str]:
    """Loops one in the other, with the lines that stand before the first, in the first and so on."""
    text = []
    for depth, block in enumerate(lines):
        text += ["    " * depth + line for line in block]
        if depth < len(sizes):
            text.append("    " * depth + f"for {indices[depth]} in range({sizes[depth]}):")
    return text


def copied(shape: Sequence[int], source: Place | str, target: Place) -> list[str]:
    """A copy, or one number everywhere."""
    sizes, steps = _merged(shape, [target.strides, source.strides if isinstance(source, Place) else target.strides])
    indices = [f"i{axis}" for axis in range(len(sizes))]
    text = source._replace(strides=tuple(steps[1])).at(*indices) if isinstance(source, Place) else source
    line = f"{target._replace(strides=tuple(steps[0])).at(*indices)} = {text}"
    return _nested(sizes, indices, [*([] for _ in sizes), [line]])


def product(node: Node, a: Place | str, b: Place | str, out: Place) -> list[str]:
    """A matrix product, or one for every matrix of a stack. A factor that is one number everywhere is a text."""
    *stack, rows, columns = node.shape
    inner = node.args[0].shape[-1]
    lanes = [f"l{axis}" for axis in range(len(stack))]

    def at(one: Place | str, i: Any, j: Any) -> str:
        return one if isinstance(one, str) else one.at(*lanes, i, j)

    by_column = out.strides[-2] == 1 and rows > columns
    long, short = (rows, columns) if by_column else (columns, rows)
    if rows * columns <= 4 * TILE and inner >= long:
        lines = []
        for first in range(0, rows * columns, TILE):  # sums over the inner axis, some at once
            mine = [divmod(n, columns) for n in range(first, min(first + TILE, rows * columns))]
            lines += [f"s{i}_{j} = {node.dtype}(0)" for i, j in mine]
            lines += [f"for k in range({inner}):"]
            lines += [f"    s{i}_{j} += {at(a, i, 'k')} * {at(b, 'k', j)}" for i, j in mine]
            lines += [f"{at(out, i, j)} = s{i}_{j}" for i, j in mine]
        return _nested(stack, lanes, [*([] for _ in stack), lines])
    i, j = ("j", "i") if by_column else ("i", "j")

    def added(ks: Sequence[int | str], more: bool) -> list[str]:  # the innermost loop runs over results in a row
        pairs = [(at(a, i, k), at(b, k, j)) for k in ks]
        lines = [f"f{n} = {pair[by_column]}" for n, pair in enumerate(pairs)]
        terms = [at(out, i, j)] * more + [f"f{n} * {pair[not by_column]}" for n, pair in enumerate(pairs)]
        return [*lines, f"for j in range({long}):", f"    {at(out, i, j)} = {' + '.join(terms)}"]

    rest = inner % TILE or min(inner, TILE)
    lines = added(range(rest), False)
    if inner > rest:
        block = added([f"(k + {n})" for n in range(TILE)], True)
        lines += [f"for k in range({rest}, {inner}, {TILE}):", *(f"    {line}" for line in block)]
    return _nested([*stack, short], [*lanes, "i"], [*([] for _ in stack), [], lines])


def reduction(node: Node, x: Place, out: Place) -> list[str] | None:
    """A sum, mean, product, maximum or minimum of floating-point numbers; `out` has the axes of x, with steps of 0."""
    if node.dtype.kind != "f" or node.op not in ("sum", "mean", "prod", "max", "min"):
        return None
    shape, axes = node.args[0].shape, node.options["axis"]
    order = [i for i in range(len(shape)) if i not in axes] + list(axes)
    indices = [f"i{axis}" for axis in range(len(shape))]
    start = {"prod": "1", "max": "-inf", "min": "inf"}.get(node.op, "0")
    value = x.at(*indices)
    step = {"prod": f"s *= {value}", "sum": f"s += {value}", "mean": f"s += {value}"}.get(node.op)
    sign = ">=" if node.op == "max" else "<="
    steps = [f"x = {value}", f"s = s if (s {sign} x) | (s != s) else x"] if step is None else [step]
    kept = len(order) - len(axes)
    last = f"s / {literal(node.args[0].size / max(node.size, 1), node.dtype)}" if node.op == "mean" else "s"
    blocks: list[list[str]] = [[] for _ in range(len(order) + 1)]
    blocks[kept] = [f"s = {node.dtype}({start})"]
    blocks[-1] += steps
    text = _nested([shape[i] for i in order], [indices[i] for i in order], blocks)
    return [*text, "    " * kept + f"{out.at(*indices)} = {last}"]


def chosen(node: Node, x: Place, rows: Place, out: Place) -> list[str]:
    """What `take` takes along an axis; every index is known to be within range, and none negative."""
    axis, count = node.options["axis"], node.args[1].ndim
    indices = [f"i{i}" for i in range(node.ndim)]
    picked = f"r = {rows.at(*indices[axis : axis + count])}"
    source = x.at(*indices[:axis], "r", *indices[axis + count :])
    blocks: list[list[str]] = [[] for _ in range(node.ndim + 1)]
    blocks[axis + count].append(picked)
    blocks[-1].append(f"{out.at(*indices)} = {source}")
    return _nested(node.shape, indices, blocks)


NAMES: dict[str, Any] = {"np": np, "math": math, "inf": math.inf, "nan": math.nan}
NAMES |= {dtype: np.dtype(dtype).type for dtype in TYPES}
"""What the text of loops refers to."""
