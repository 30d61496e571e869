"""Each operation of the array API standard as nodes of ONNX that give the same numbers."""

import math
from collections.abc import Callable

import numpy as np

from xpnn.compile.namespace import ELEMENTWISE, REDUCTIONS
from xpnn.compile.onnx_writer import BOOL, FLOAT32, INT32, Writer
from xpnn.compile.simplify import times_one, uniform
from xpnn.compile.trace import Node

_SINGLE = frozenset(["acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "erf", "sinh", "tan"])
"""Of which onnxruntime has float32 alone: float64 is rounded to it for them, and their results are off by 1e-7."""
_SAME = {name: name.capitalize() for name in _SINGLE} | {
    "abs": "Abs",
    "add": "Add",
    "argmax": "ArgMax",
    "argmin": "ArgMin",
    "ceil": "Ceil",
    "cos": "Cos",
    "divide": "Div",
    "equal": "Equal",
    "exp": "Exp",
    "floor": "Floor",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "isinf": "IsInf",
    "isnan": "IsNaN",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "log": "Log",
    "logical_and": "And",
    "logical_not": "Not",
    "logical_or": "Or",
    "logical_xor": "Xor",
    "max": "ReduceMax",
    "maximum": "Max",
    "mean": "ReduceMean",
    "min": "ReduceMin",
    "minimum": "Min",
    "multiply": "Mul",
    "negative": "Neg",
    "positive": "Identity",
    "pow": "Pow",
    "prod": "ReduceProd",
    "reciprocal": "Reciprocal",
    "round": "Round",
    "sign": "Sign",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "subtract": "Sub",
    "sum": "ReduceSum",
    "tanh": "Tanh",
    "where": "Where",
}
"""The standard's operations that are one of ONNX."""
_BITS = {"bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor", "bitwise_invert": "Not"}
_FAR = np.iinfo(np.int64).max


def write(to: Writer, node: Node) -> str:
    """Add the nodes of an operation to the graph; the name of the result.

    Raises TypeError, naming operation and layer, for one that is not written.
    """
    op, args = node.op, node.args
    if op == "onnx":
        return to.add(node.options["operator"], [to.name(arg) for arg in args], **node.options["attributes"])
    if (found := to.gemm(node)) is not None:
        product, bias = found
        return to.add("Gemm", [*_operands(to, product), bias])
    if op in ELEMENTWISE:
        return _elementwise(to, node)
    if op in REDUCTIONS:
        return _reduction(to, node)
    if op in _MOVES:
        return _MOVES[op](to, node)
    options = node.options
    if op == "take_along_axis":
        return to.add("GatherElements", [to.name(arg) for arg in args], axis=options.get("axis", -1))
    if op in ("argmax", "argmin") and options.get("axis") is not None:
        keep = int(options.get("keepdims", False))
        return to.add(_SAME[op], [to.name(args[0])], axis=options["axis"], keepdims=keep)
    if op == "cumulative_sum" and options.keys() <= {"axis"}:
        axis = options.get("axis") or 0
        return to.add("CumSum", [to.cast(to.name(args[0]), args[0].dtype, node.dtype), to.integers(axis)])
    if op in ("tril", "triu") and options.keys() <= {"k"}:
        return to.add("Trilu", [to.name(args[0]), to.integers(options.get("k", 0))], upper=int(op == "triu"))
    raise to.refused(node)


def _operands(to: Writer, node: Node) -> list[str]:
    return [to.cast(to.name(arg), arg.dtype, node.dtype) for arg in node.args]


def _elementwise(to: Writer, node: Node) -> str:
    op, args = node.op, list(node.args)
    if op == "astype":
        return to.cast(to.name(args[0]), args[0].dtype, node.dtype)
    if (other := times_one(node)) is not None:
        return to.cast(to.name(other), other.dtype, node.dtype)
    dtype = np.result_type(*(arg.dtype for arg in (args[1:] if op == "where" else args)))
    shapes = [arg.shape for arg in args if not uniform(arg)]
    covered = bool(shapes) and np.broadcast_shapes(*shapes) == node.shape  # by those that are no single number
    names = []
    for arg in args:
        kind = BOOL if op == "where" and not names else dtype
        lone = uniform(arg) and covered
        names.append(to.scalar(arg, kind) if lone else to.cast(to.name(arg), arg.dtype, kind))
    if op in _SINGLE and dtype != FLOAT32:
        return to.cast(to.add(_SAME[op], [to.cast(names[0], dtype, FLOAT32)]), FLOAT32, dtype)
    if op in _SAME:
        return to.add(_SAME[op], names)
    if op in _BITS:
        return to.add(_BITS[op] if dtype == BOOL else f"Bitwise{_BITS[op]}", names)
    if op not in _FORMULAS or (op not in _OF_INTEGERS and dtype.kind != "f"):
        raise to.refused(node)
    return _FORMULAS[op](to, names, dtype, node)


def _trunc(to: Writer, names: list[str], dtype: np.dtype, node: Node) -> str:
    return to.add("Mul", [to.add("Sign", names), to.add("Floor", [to.add("Abs", names)])])


def _expm1(to: Writer, names: list[str], dtype: np.dtype, node: Node) -> str:
    """tanh(x/2) (exp(x) + 1), which cancels nowhere."""
    half = to.add("Tanh", [to.add("Mul", [*names, to.number(0.5, dtype)])])
    return to.add("Mul", [half, to.add("Add", [to.add("Exp", names), to.number(1.0, dtype)])])


def _log1p(to: Writer, names: list[str], dtype: np.dtype, node: Node) -> str:
    """log u, with u = 1 + x, and (x - (u - 1)) / u, which is what rounding has taken from u, where |x| < 1."""
    inner, one = node.args[0], to.number(1.0, dtype)
    if inner.op == "exp" and dtype == FLOAT32:
        return to.add("Softplus", [to.name(inner.args[0])])
    u = to.add("Add", [*names, one])
    lost = to.add("Div", [to.add("Sub", [*names, to.add("Sub", [u, one])]), u])
    lost = to.add("Where", [to.add("Less", [to.add("Abs", names), one]), lost, to.number(0.0, dtype)])
    return to.add("Add", [to.add("Log", [u]), lost])


def _scaled_log(base: float) -> Callable[..., str]:
    def log(to: Writer, names: list[str], dtype: np.dtype, node: Node) -> str:
        return to.add("Mul", [to.add("Log", names), to.number(1.0 / math.log(base), dtype)])

    return log


def _floor_divide(to: Writer, names: list[str], dtype: np.dtype, node: Node) -> str:
    return to.add("Floor", [to.add("Div", names)])


def _remainder(to: Writer, names: list[str], dtype: np.dtype, node: Node) -> str:
    return to.add("Sub", [names[0], to.add("Mul", [_floor_divide(to, names, dtype, node), names[1]])])


def _hypot(to: Writer, names: list[str], dtype: np.dtype, node: Node) -> str:
    return to.add("Sqrt", [to.add("Add", [to.add("Mul", [name, name]) for name in names])])


def _logaddexp(to: Writer, names: list[str], dtype: np.dtype, node: Node) -> str:
    """The larger one, and log(1 + exp(-|x1 - x2|))."""
    near = to.add("Exp", [to.add("Neg", [to.add("Abs", [to.add("Sub", names)])])])
    return to.add("Add", [to.add("Max", names), to.add("Log", [to.add("Add", [near, to.number(1.0, dtype)])])])


_FORMULAS: dict[str, Callable[[Writer, list[str], np.dtype, Node], str]] = {
    "not_equal": lambda to, names, dtype, node: to.add("Not", [to.add("Equal", names)]),
    "isfinite": lambda to, names, dtype, node: to.add("Less", [to.add("Abs", names), to.number(math.inf, dtype)]),
    "square": lambda to, names, dtype, node: to.add("Mul", names * 2),
    "trunc": _trunc,
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": _scaled_log(2.0),
    "log10": _scaled_log(10.0),
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "hypot": _hypot,
    "logaddexp": _logaddexp,
}
_OF_INTEGERS = frozenset(["not_equal", "square"])


def _reduction(to: Writer, node: Node) -> str:
    op, (arg,), axes = node.op, node.args, node.options["axis"]
    keep = int(node.options["keepdims"])
    if not axes:  # which ONNX takes for all of them
        return to.cast(to.name(arg), arg.dtype, node.dtype)
    if op in ("any", "all"):
        bits = to.cast(to.cast(to.name(arg), arg.dtype, BOOL), BOOL, INT32)
        found = to.add("ReduceMax" if op == "any" else "ReduceMin", [bits, to.integers(axes)], keepdims=keep)
        return to.cast(found, INT32, BOOL)
    return to.add(_SAME[op], [to.name(arg), to.integers(axes)], keepdims=keep)


def _reshape(to: Writer, node: Node) -> str:
    first, second = node.shape, to.twin(node).shape
    unknown = [i != j for i, j in zip(first, second, strict=True)]
    if sum(unknown) == 1 and 0 not in first:
        shape = to.integers([-1 if varies else i for varies, i in zip(unknown, first, strict=True)])
        return to.add("Reshape", [to.name(node.args[0]), shape])
    return to.add("Reshape", [to.name(node.args[0]), to.shape(first, second)], allowzero=1)


def _expand(to: Writer, node: Node) -> str:
    (arg,), shape, other = node.args, list(node.shape), list(to.twin(node).shape)
    for i, length in enumerate(arg.shape, start=node.ndim - arg.ndim):
        if length == shape[i]:  # what it has is kept beside a 1
            shape[i] = other[i] = 1
    return to.add("Expand", [to.name(arg), to.shape(shape, other)])


def _index(to: Writer, node: Node) -> str:
    """Slices, then single numbers from the last axis on, then new axes."""
    (arg,), keys, slices, numbers, new = node.args, node.options["key"], [], [], []
    name, axis, place = to.name(arg), 0, 0  # axes of the operand and of the result
    for key in keys:
        if key is None:
            new.append(place)
            place += 1
        elif key is Ellipsis:
            missing = arg.ndim - sum(one is not None and one is not Ellipsis for one in keys)
            axis, place = axis + missing, place + missing
        elif isinstance(key, slice):
            if key != slice(None):
                step = key.step or 1
                start = (0 if step > 0 else _FAR) if key.start is None else key.start
                stop = (_FAR if step > 0 else -_FAR) if key.stop is None else key.stop
                slices.append((start, stop, axis, step))
            axis, place = axis + 1, place + 1
        else:
            numbers.append((axis, key))
            axis += 1
    if slices:
        name = to.add("Slice", [name, *map(to.integers, zip(*slices, strict=True))])
    for axis, key in reversed(numbers):
        name = to.add("Gather", [name, to.integers(key)], axis=axis)
    return to.add("Unsqueeze", [name, to.integers(new)]) if new else name


_MOVES: dict[str, Callable[[Writer, Node], str]] = {
    "matmul": lambda to, node: to.add("MatMul", _operands(to, node)),
    "concat": lambda to, node: to.add("Concat", _operands(to, node), axis=node.options["axis"]),
    "permute_dims": lambda to, node: to.add("Transpose", [to.name(node.args[0])], perm=node.options["axes"]),
    "take": lambda to, node: to.add("Gather", [to.name(arg) for arg in node.args], axis=node.options["axis"]),
    "reshape": _reshape,
    "broadcast_to": _expand,
    "index": _index,
}
