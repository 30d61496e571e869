"""Elementwise and reducing operations as CUDA C, in the form that CuPy's ElementwiseKernel and ReductionKernel take.

C is made to mean what the array API standard and NumPy mean: maximum and minimum hand NaN on, integers wrap around
(through unsigned numbers, where C leaves nothing undefined), remainders have the sign of the divisor, halves are
rounded to even numbers, and what is float32 is computed in float32. Nothing here needs CuPy, and a C++ compiler can
run the text on a CPU.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn.compile.namespace import COMPARISONS, TESTS
from xpnn.compile.plan import Unit
from xpnn.compile.simplify import uniform
from xpnn.compile.trace import Node, Untraceable

TYPES = {
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
    "float32": "float",
    "float64": "double",
}
"""The dtypes as C calls them."""
INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "bitwise_xor": "^",
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "logical_and": "&&",
    "logical_or": "||",
}
"""Operations that C writes between its operands."""
WRAPPED = {
    "add": "({T})(({U}){0} + ({U}){1})",
    "subtract": "({T})(({U}){0} - ({U}){1})",
    "multiply": "({T})(({U}){0} * ({U}){1})",
    "square": "({T})(({U}){0} * ({U}){0})",
    "negative": "({T})(0 - ({U}){0})",
    "abs": "({T})({0} < 0 ? 0 - ({U}){0} : ({U}){0})",
    "positive": "{0}",
    "bitwise_invert": "({T})~{0}",
    "isnan": "false",
    "isinf": "false",
    "isfinite": "true",
}
"""What is written otherwise for integers; T is the type, U the unsigned type that C computes it in."""
PLAIN = {
    "abs": "fabs({0})",
    "negative": "-{0}",
    "positive": "{0}",
    "square": "{0} * {0}",
    "reciprocal": "{T}(1) / {0}",
    "round": "rint({0})",
    "where": "{0} ? {1} : {2}",
    "logical_not": "!{0}",
    "logical_xor": "!{0} != !{1}",
} | {name: f"{{0}} {sign} {{1}}" for name, sign in INFIX.items()}
"""The others that are no function of C under their own name."""
OPTIONS = ("--fmad=false",)
"""For the compiler: a product and a sum are rounded one after the other, as they are when computed eagerly."""
PARAMETERS = 4096
"""How many bytes of parameters every CUDA kernel may have; an array takes 16, and 16 for each of its axes."""

_HEAD = "template <typename T> __device__ T xpnn_"
HELPERS = {
    "sign": "sign(T a) { return a > T(0) ? T(1) : a < T(0) ? T(-1) : a == T(0) ? T(0) : a; }",
    "maximum": "maximum(T a, T b) { return a >= b || a != a ? a : b; }",
    "minimum": "minimum(T a, T b) { return a <= b || a != a ? a : b; }",
    "logaddexp": """logaddexp(T a, T b) {
  if (a == b) return a + T(0.69314718055994530942);  // infinities too
  T d = a - b;
  return d > T(0) ? a + log1p(exp(-d)) : d <= T(0) ? b + log1p(exp(d)) : d;
}""",
    "floor_divide": """floor_divide(T a, T b) {
  if (b == T(0)) return a / b;
  T rest = fmod(a, b), exact = (a - rest) / b;
  if (rest != T(0) && (rest < T(0)) != (b < T(0))) exact -= T(1);
  if (exact == T(0)) return copysign(T(0), a / b);
  T down = floor(exact);
  return exact - down > T(0.5) ? down + T(1) : down;
}""",
    "remainder": """remainder(T a, T b) {
  T rest = fmod(a, b);
  if (rest == T(0)) return copysign(T(0), b);
  return (rest < T(0)) != (b < T(0)) && b != T(0) ? rest + b : rest;
}""",
    "integer floor_divide": """floor_divide(T a, T b) {
  if (b == T(0)) return T(0);
  if (T(-1) < T(0) && b == T(-1)) return T(0 - (unsigned long long)a);
  return a / b - (a % b != 0 && (a < T(0)) != (b < T(0)));
}""",
    "integer remainder": """remainder(T a, T b) {
  if (b == T(0) || (T(-1) < T(0) && b == T(-1))) return T(0);
  T rest = a % b;
  return rest != T(0) && (rest < T(0)) != (b < T(0)) ? rest + b : rest;
}""",
    "integer pow": """pow(T a, T b) {
  if (b < T(0)) return a == T(1) || (a == T(-1) && b % 2 == 0) ? T(1) : a == T(-1) ? a : T(0);
  unsigned long long power = 1, base = a;
  for (; b > T(0); b >>= 1, base *= base) power *= b & 1 ? base : 1;
  return T(power);
}""",
    "bitwise_left_shift": """bitwise_left_shift(T a, T b) {
  return b < T(0) || b >= T(8 * sizeof(T)) ? T(0) : T((unsigned long long)a << b);
}""",
    "bitwise_right_shift": """bitwise_right_shift(T a, T b) {
  return b < T(0) || b >= T(8 * sizeof(T)) ? T(a < T(0) ? -1 : 0) : T(a >> b);
}""",
}
"""Functions that C lacks, or has with another meaning."""


class Cluster(NamedTuple):
    """An ElementwiseKernel: the arrays that it reads, those that it writes, and its parts as CuPy takes them."""

    reads: tuple[Node, ...]
    writes: tuple[Node, ...]
    operations: str
    in_params: str
    out_params: str
    operation: str
    preamble: str

    @property
    def name(self) -> str:
        """A name that says what it does, the same for the same text, so that CuPy's cache on disk finds it again."""
        return name_of(self.operations[:48], *self[3:])

    def __str__(self) -> str:
        return listing(self.name, self.in_params, self.out_params, self.preamble, self.operation)


class Reduction(NamedTuple):
    """A ReductionKernel and its parts as CuPy takes them."""

    node: Node
    in_params: str
    out_params: str
    map_expr: str
    reduce_expr: str
    post_map_expr: str
    identity: str
    reduce_type: str

    @property
    def name(self) -> str:
        """A name that says what it does, the same for the same text."""
        return name_of(self.node.op, *self[1:])

    def __str__(self) -> str:
        start = f"{self.reduce_type} a = {self.identity};"
        body = f"{start}\nfor each: b = {self.map_expr}; a = {self.reduce_expr};\n{self.post_map_expr};"
        return listing(self.name, self.in_params, self.out_params, "", body)


def cluster_source(unit: Unit) -> Cluster:
    """The kernel of a cluster of elementwise operations.

    What is handed from one operation to the next is a local variable. All is read before anything is written, since
    a result may lie where an operand lay.

    >>> from xpnn.compile.trace import Graph
    >>> graph = Graph()
    >>> x, y = graph.input("x", (4, 3), "float32"), graph.input("y", (3,), "float32")
    >>> total = x + y
    >>> largest = graph.xp.maximum(total, 0.0)
    >>> kernel = cluster_source(Unit((total, largest), (largest,)))
    >>> kernel.in_params, kernel.out_params
    ('float32 a0, float32 a1', 'float32 y0')
    >>> print(kernel.operation)
    const float t0 = a0 + a1;
    const float t1 = xpnn_maximum(t0, 0.0f);
    y0 = t1;
    """
    reads = arrays_read(unit)
    names = {node: f"a{i}" for i, node in enumerate(reads)} | {node: f"t{i}" for i, node in enumerate(unit.nodes)}
    helpers = dict[str, str]()
    lines = [
        f"const {TYPES[node.dtype.name]} {names[node]} = {expression(node, names, helpers)};" for node in unit.nodes
    ]
    lines += [f"y{i} = {names[node]};" for i, node in enumerate(unit.writes)]
    return Cluster(
        reads,
        unit.writes,
        "_".join(dict.fromkeys(node.op for node in unit.nodes)),
        ", ".join(f"{node.dtype} a{i}" for i, node in enumerate(reads)),
        ", ".join(f"{node.dtype} y{i}" for i, node in enumerate(unit.writes)),
        "\n".join(lines),
        "\n".join(helpers.values()),
    )


def arrays_read(unit: Unit) -> tuple[Node, ...]:
    """What a unit's kernel reads; raises Untraceable where it would have more arrays than a kernel takes."""
    arrays = len(unit.reads) + len(unit.writes)
    if arrays * (16 + 16 * unit.nodes[0].ndim) > PARAMETERS - 64:  # where the indices are
        raise Untraceable(f"{arrays} arrays in one kernel, more than it takes")
    return unit.reads


def reduction_source(node: Node) -> Reduction:
    """The kernel of a sum, product, mean, max, min, any or all.

    CuPy puts other names for `given` and `found` by replacing text, so no other word may hold these.

    >>> from xpnn.compile.trace import Graph
    >>> graph = Graph()
    >>> kernel = reduction_source(graph.xp.mean(graph.input("x", (4, 3), "float32"), axis=0))
    >>> kernel.map_expr, kernel.reduce_expr, kernel.post_map_expr, kernel.identity
    ('given', 'a + b', 'found = a / 4.0f', '0.0f')
    """
    x, dtype = node.args[0], node.dtype
    kept, given, result = TYPES[dtype.name], "given", "found = a"
    if node.op in ("sum", "mean", "prod"):
        combined, start = ("a * b", 1) if node.op == "prod" else ("a + b", 0)
        if node.op == "mean":
            result += f" / {literal(x.size / max(node.size, 1), dtype)}"
        kept, start = (kept, literal(start, dtype)) if dtype.kind == "f" else (_unsigned(dtype), str(start))
    elif node.op in ("max", "min"):
        combined = f"a {'>=' if node.op == 'max' else '<='} b || a != a ? a : b"
        start = literal(_extreme(dtype, lowest=node.op == "max"), dtype)
    else:
        given = given if x.dtype.kind == "b" else "given != 0"
        combined, start = ("a || b", "false") if node.op == "any" else ("a && b", "true")
    return Reduction(node, f"{x.dtype} given", f"{dtype} found", given, combined, result, start, kept)


def literal(value: Any, dtype: np.dtype) -> str:
    """A number in C, exactly as the dtype has it.

    >>> literal(0.1, np.dtype("float32")), literal(-2, np.dtype("int64")), literal(True, np.dtype("bool"))
    ('0.10000000149011612f', '(-2LL)', 'true')
    """
    with np.errstate(over="ignore"):
        value = dtype.type(value).item()
    if dtype.kind == "b":
        return str(value).lower()
    if dtype.kind == "f":
        end = "f" if dtype.itemsize == 4 else ""
        if not math.isfinite(value):
            text = ("CUDART_NAN" if math.isnan(value) else "CUDART_INF") + "_F" * bool(end)
            return f"(-{text})" if value < 0 else text
        text = f"{value!r}{end}"  # 17 digits where float32 needs 9: right too where the compiler goes by way of double
        return f"({text})" if math.copysign(1.0, value) < 0 else text
    end = ("u" if dtype.kind == "u" else "") + ("LL" if dtype.itemsize == 8 else "")
    text = f"{value}{end}"
    if value < 0:  # C has no negative literals, and so none for the lowest number
        text = f"(-{-(value + 1)}{end} - 1)" if value == np.iinfo(dtype).min else f"({text})"
    return text if dtype.itemsize >= 4 else f"({TYPES[dtype.name]}){text}"


def expression(node: Node, names: dict[Node, str], helpers: dict[str, str]) -> str:
    op, wanted = node.op, operand_dtypes(node)
    args = [_operand(arg, dtype, names) for arg, dtype in zip(node.args, wanted, strict=True)]
    dtype = wanted[-1]
    kind = TYPES[dtype.name]
    integer = dtype.kind != "f"
    if op == "astype":
        return f"{args[0]} != 0" if node.dtype.kind == "b" else f"({TYPES[node.dtype.name]}){args[0]}"
    if op == "bitwise_invert" and dtype.kind == "b":
        return f"!{args[0]}"
    form = WRAPPED.get(op) if integer else None
    form = PLAIN.get(op) if form is None else form
    if form is not None:
        return form.format(*args, T=kind, U=_unsigned(dtype))
    helper = f"integer {op}" if integer and f"integer {op}" in HELPERS else op
    if helper in HELPERS:
        helpers[helper] = _HEAD + HELPERS[helper]
        return f"xpnn_{op}({', '.join(args)})"
    return f"{op}({', '.join(args)})"


def operand_dtypes(node: Node) -> Sequence[np.dtype]:
    """The dtypes that an operation's operands are to be computed in."""
    given = [arg.dtype for arg in node.args]
    if node.op == "where":
        return [given[0], node.dtype, node.dtype]
    if node.op in ("astype", *TESTS):
        return given
    return [np.result_type(*given) if node.op in COMPARISONS else node.dtype] * len(given)


def _operand(arg: Node, dtype: np.dtype, names: dict[Node, str]) -> str:
    if uniform(arg):
        with np.errstate(over="ignore"):
            return literal(arg.dtype.type(arg.options["value"]), dtype)
    return names[arg] if arg.dtype == dtype else f"({TYPES[dtype.name]}){names[arg]}"


def _unsigned(dtype: np.dtype) -> str:
    """The type that C computes integers in without a care: none smaller than int, which C would make signed."""
    return "unsigned long long" if dtype.itemsize == 8 else "unsigned int"


def _extreme(dtype: np.dtype, lowest: bool) -> Any:
    if dtype.kind == "b":
        return not lowest
    if dtype.kind == "f":
        return -math.inf if lowest else math.inf
    return np.iinfo(dtype).min if lowest else np.iinfo(dtype).max


def name_of(what: str, *parts: str) -> str:
    return f"xpnn_{what}_{zlib.crc32(chr(0).join(parts).encode()):08x}"


def listing(name: str, in_params: str, out_params: str, preamble: str, body: str) -> str:
    lines = "\n".join(f"  {line}" for line in body.splitlines())
    return f"{preamble}{preamble and chr(10)}{name}({in_params}) -> ({out_params}) {{\n{lines}\n}}"
