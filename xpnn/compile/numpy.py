"""A plan as a straight-line Python function for NumPy: every buffer and every function bound, nothing allocated.

The program that is written is plain Python, one line an operation; `Program.source` is what runs. `bind` looks up the
views of arrays that stand for many calls once and gives `run`, which takes what changes from call to call.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnn.compile.memory import Home, empty
from xpnn.compile.namespace import ELEMENTWISE
from xpnn.compile.plan import Plan, Unit
from xpnn.compile.simplify import apply, constant, uniform
from xpnn.compile.text import VIEW_TEXTS, constant_name, identifier, suffix
from xpnn.compile.trace import Node

_UFUNCS = {"abs": "absolute", "round": "rint"}
_REDUCE = {
    "sum": "add",
    "mean": "add",
    "prod": "multiply",
    "max": "maximum",
    "min": "minimum",
    "any": "logical_or",
    "all": "logical_and",
}
_FUNCTIONS = ("copyto", "empty", "ndarray", "broadcast_to")
PIECE = 1 << 18
"""Bytes of each piece of a vector that a cluster computes at once."""
FILLED = 1 << 18
"""Up to so many bytes a number is written out as an array where that is faster."""
LABELLED = ("carry.params", "params")
"""The inputs whose parts have labels: the flat vector of parameters."""
STATIC, BOUND, CALL = range(3)


class Program:
    """What `plan` computes, for NumPy arrays.

    Parameters
    ----------
    bound : names of the inputs that `bind` is given; the others are the arguments of `run`, in the plan's order of
        `arguments`.
    """

    def __init__(self, plan: Plan, bound: Sequence[str]):
        self.plan = plan
        self.bound = [name for name in plan.inputs if name in bound]
        self.arguments = [name for name in plan.inputs if name not in bound]
        self._static: dict[str, Any] = {name: getattr(np, name) for name in _FUNCTIONS}
        self._written = set(plan.places.values())
        self._blocks = [np.empty(size, np.uint8) for size in plan.blocks]
        self._names: dict[Node, str] = {}
        self._level: dict[str, int] = {}
        self._prologue: list[str] = []
        self._lines: list[str] = []
        self._derived: dict[tuple[str, str], str] = {}
        self.kept: dict[str, np.ndarray] = {}
        self._arrays: dict[Any, str] = {}  # the names of blocks as arrays of a shape
        for name, node in plan.inputs.items():
            self._take(node, self._unique(identifier(name)), BOUND if name in self.bound else CALL)
        for unit in plan.units:
            first, *more = unit.nodes
            self._cluster(unit) if more else self._operation(first)
        self._finish()
        self.source = self._text()
        scope = dict(self._static)
        exec(compile(self.source, "<xpnn program>", "exec"), scope)
        self.bind: Callable[..., Callable[..., Any]] = scope.pop("bind")  # or scope would hold itself, and the buffers

    # names

    def _take(self, node: Node, name: str, level: int) -> str:
        self._names[node], self._level[name] = name, level
        return name

    def _unique(self, name: str) -> str:
        """The name, or one like it that is not taken."""
        name = re.sub(r"\W", "_", name)
        found, count = name, 2
        while found in self._level or found in self._static:
            found, count = f"{name}_{count}", count + 1
        return found

    def _static_name(self, value: Any, like: str) -> str:
        name = self._unique(like)
        self._static[name] = value
        self._level[name] = STATIC
        return name

    def _function(self, name: str) -> str:
        """A function of NumPy by its name in the program."""
        if name not in self._static:
            if name == "erf":
                from scipy.special import erf as function
            else:
                function: Any = getattr(np, name.removesuffix("_reduce"))
                function = function.reduce if name.endswith("_reduce") else function
            self._static[name] = function
        return name

    def _name(self, node: Node, whole: bool = False) -> str:
        """The name of a node's array; of a constant, which is one number where it may be."""
        if node.op == "constant" and node not in self._names:  # a piece of one has a name
            return self._constant(node, () if uniform(node) and not whole else None)
        if node not in self._names:
            self._view(node) if node in self.plan.views else self._home(node)
        return self._names[node]

    def _swapped(self, node: Node) -> str:
        """The name of a matrix with its axes exchanged."""
        root = self.plan.root(node)
        if self._lies_in_carry(root):
            return self._window(node, root, self.plan.form(node).swapaxes(-1, -2), swapped=True)
        return self._derive(self._name(node, whole=True), "{}.swapaxes(-1, -2)")

    def _constant(self, node: Node, shape: Any) -> str:
        key = (str(id(node)), str(shape))
        if key not in self._derived:
            self._derived[key] = self._static_name(constant(node, shape), constant_name(node, shape))
        return self._derived[key]

    def _derive(self, name: str, expression: str, like: str = "") -> str:
        """The name, `like` this, of what is made of `name` once, as early as that can be: "{}.T" of a weight, say."""
        key, like = (name, expression), like or name + suffix(expression)
        if key in self._derived:
            return self._derived[key]
        made, level = expression.format(name), self._level[name]
        if level == STATIC:
            self._derived[key] = self._static_name(eval(made, dict(self._static)), like)
        else:
            new = self._derived[key] = self._unique(like)
            (self._prologue if level == BOUND else self._lines).append(f"{new} = {made}")
            self._level[new] = level
        return self._derived[key]

    # memory

    def _home(self, node: Node) -> str:
        home = self.plan.home[node]
        if home.kind == "block":
            key = (home, node.shape, node.dtype)
            if key not in self._arrays:
                array = empty(node, home.turned, self._blocks[home.where])
                self._arrays[key] = self._static_name(array, f"t{len(self._arrays)}")
            return self._take(node, self._arrays[key], STATIC)
        if home.kind == "kept":
            return self._take(node, self._static_name(empty(node, home.turned), "kept"), STATIC)
        if home.kind == "input":
            return self._take(node, self._names[self.plan.inputs[home.where]], BOUND)
        if home.kind == "part":
            concat, axis, start, stop = home.where
            slot = f"{_part(axis, start, stop)}.reshape({node.shape})"
            label = self.plan.labels.get((start, stop)) if axis == concat.ndim - 1 else None
            name = self._derive(self._name(concat), slot, "" if label is None else f"d_{label}")
            self._names[node] = name
            return name
        name = self._take(node, self._unique("y"), CALL)  # fresh in every call
        self._lines.append(f"{name} = empty({node.shape}, '{node.dtype}')")
        return name

    def _view(self, node: Node) -> None:
        root = self.plan.root(node)
        if self._lies_in_carry(root):
            self._names[node] = self._window(node, root, self.plan.form(node))
        else:
            self._names[node] = self._derive(self._name(node.args[0], whole=True), VIEW_TEXTS[node.op](node))

    def _lies_in_carry(self, root: Node) -> bool:
        """Whether a node is a bound input that is written, which lies in a row: it is a copy of our own."""
        return root.op == "input" and root.options["name"] in self.bound and root.options["name"] in self._written

    def _window(self, node: Node, root: Node, form: np.ndarray, swapped: bool = False) -> str:
        """A view of such an input, made in one call."""
        base = self.plan.form(root)
        offset = form.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        expression = f"ndarray({form.shape}, '{node.dtype}', {{}}, {offset}, {form.strides})"
        start, lanes = offset // node.dtype.itemsize, 1 if root.ndim == 1 else root.shape[0]
        label = self.plan.labels.get((start, start + node.size // lanes)) if root.options["name"] in LABELLED else None
        turned = "_T" * (swapped != (node.op == "permute_dims"))
        return self._derive(self._names[root], expression, "" if label is None else label + turned)

    # operations

    def _operation(self, node: Node) -> None:
        op, out = node.op, self._name(node)
        kinds = {"matmul": self._product, "concat": self._concat, "where": self._where, "take": self._chosen}
        if op in kinds:
            kinds[op](node, out)
        elif op == "astype":
            self._write(f"copyto({out}, {self._name(node.args[0])}, 'unsafe')", node)
        elif op in ELEMENTWISE:
            extreme = op in ("maximum", "minimum")
            args = [self._filled(arg, node) if extreme else self._name(arg) for arg in node.args]
            function = self._function(_UFUNCS.get(op, op))
            keyword = "out=" if extreme else ""  # the third by position is deprecated there
            self._write(f"{function}({', '.join(args)}, {keyword}{out})", node)
        elif op in _REDUCE:
            self._reduction(node, out)
        elif op == "reshape":  # of what does not lie in a row
            x = node.args[0]
            self._write(f"copyto({self._derive(out, f'{{}}.reshape({x.shape})')}, {self._name(x, whole=True)})", node)
        else:
            function = self._static_name(_caller(node), node.op)
            args = ", ".join(self._name(arg, whole=True) for arg in node.args)
            self._write(f"copyto({out}, {function}({args}))", node)

    def _filled(self, arg: Node, node: Node) -> str:
        """A number as an array of the result's shape, or of one member's: the extremes then take half the time."""
        shape = node.shape[1:] if node.ndim > 2 else node.shape
        if not uniform(arg) or arg.ndim or math.prod(shape) * node.dtype.itemsize > FILLED:
            return self._name(arg)
        key = (f"filled {arg.options['value']!r}", f"{shape} {node.dtype} {node in self.plan.turned}")
        if key not in self._derived:
            array = empty(node, node in self.plan.turned)
            array = array[0].copy("K") if node.ndim > 2 else array
            array[...] = arg.options["value"]
            self._derived[key] = self._static_name(array, f"{self._name(arg)}_{'x'.join(map(str, shape))}")
        return self._derived[key]

    def _cluster(self, unit: Unit) -> None:
        """Operations on long vectors, piece by piece: what one gives is in the cache when the next reads it."""
        inner, shape = _temporaries(unit), unit.nodes[0].shape
        read = dict.fromkeys(one for node in unit.nodes for one in (*node.args, node))
        outer = [one for one in read if one.shape == shape and one not in inner and not uniform(one)]
        whole = {f"{self._name(one)}_i": self._name(one) for one in outer}
        lines, names, self._lines = self._lines, dict(self._names), []
        for one in outer:
            self._take(one, f"{self._name(one)}_i", CALL)
        for node, number in inner.items():
            self._take(node, f"piece{number}", CALL)
        for node in unit.nodes:
            self._operation(node)
        body, self._lines = self._lines, lines
        self._names = names
        size, step = unit.nodes[0].size, PIECE // unit.nodes[0].dtype.itemsize
        cut = f"[{{}}[i : i + {step}] for i in range(0, {size}, {step})]"
        lists = {piece: self._derive(name, cut, f"{name}_pieces") for piece, name in whole.items()}
        for node, number in inner.items():
            own = np.empty(step, node.dtype)
            lengths = [min(step, size - start) for start in range(0, size, step)]
            lists[f"piece{number}"] = self._static_name([own[:length] for length in lengths], f"piece{number}_pieces")
        self._lines.append(f"for {', '.join(lists)} in zip({', '.join(lists.values())}):")
        self._lines += _indent(body)

    def _write(self, line: str, node: Node) -> None:
        home = self.plan.home.get(node, Home("piece"))
        where = f", block {home.where}" if home.kind == "block" else ""
        self._lines.append(f"{line}  # {node.op} {node.shape} {node.dtype}{where}")

    def _product(self, node: Node, out: str) -> None:
        turned = self.plan.home[node].turned
        if turned:  # (A B)^T = B^T A^T, whose result lies row by row
            first, second = (self._swapped(arg) for arg in reversed(node.args))
            out = self._derive(out, "{}.swapaxes(-1, -2)")
        else:
            first, second = (self._name(arg, whole=True) for arg in node.args)
        if node.ndim == 2 and all(arg.ndim == 2 for arg in node.args) and (turned or self._in_a_row(node)):
            self._write(f"{self._derive(first, '{}.dot')}({second}, {out})", node)
        else:
            self._write(f"{self._function('matmul')}({first}, {second}, {out})", node)

    def _in_a_row(self, node: Node) -> bool:
        home = self.plan.home[node]
        if home.kind == "part":
            concat, axis, *_ = home.where
            return axis == 0 and self._in_a_row(concat)
        return True

    def _concat(self, node: Node, out: str) -> None:
        for arg, start, stop in self.plan.to_copy(node):
            slot = self._derive(out, _part(node.options["axis"], start, stop))
            self._lines.append(f"copyto({slot}, {self._name(arg)})  # into its part of {node.shape}")

    def _where(self, node: Node, out: str) -> None:
        condition, first, second = (self._name(arg) for arg in node.args)
        if second != out:
            self._write(f"copyto({out}, {second})", node)
        self._write(f"copyto({out}, {first}, 'no', {condition})", node)

    def _reduction(self, node: Node, out: str) -> None:
        x, axis = node.args[0], node.options["axis"]
        axis = axis[0] if len(axis) == 1 else axis
        function = self._function(f"{_REDUCE[node.op]}_reduce")
        self._write(f"{function}({self._name(x, whole=True)}, {axis}, None, {out}, {node.options['keepdims']})", node)
        if node.op == "mean":
            count = self._static_name(np.asarray(x.size / max(node.size, 1), node.dtype), "count")
            self._write(f"{self._function('divide')}({out}, {count}, {out})", node)

    def _chosen(self, node: Node, out: str) -> None:
        x, rows = node.args
        mode = "clip" if self.plan.within_range(rows) else "raise"
        function = self._derive(self._name(x, whole=True), "{}.take")
        self._write(f"{function}({self._name(rows, whole=True)}, {node.options['axis']}, {out}, '{mode}')", node)

    # the end

    def _finish(self) -> None:
        plan = self.plan
        fresh, ready = self._results(), []
        for node, target in plan.copies:
            source = self._name(node)
            if plan.lies_in_an_input(node):  # which may be overwritten below
                self._lines.append(f"s{len(ready)} = {source}.copy()")
                source = f"s{len(ready)}"
            ready.append((source, self._names[plan.inputs[target]]))
        self._lines += [f"copyto({target}, {source})" for source, target in ready]
        self._lines.append(f"return ({', '.join(fresh)}{',' * (len(fresh) == 1)})" if fresh else "return None")

    def _results(self) -> list[str]:
        """The names of what is returned; of what is kept the buffers. What only looks at others is copied."""
        fresh: list[str] = []
        for name, node in self.plan.outputs.items():
            place = self.plan.places[name]
            if place not in ("fresh", "kept"):
                continue
            array = self._name(node, whole=True)
            own = self.plan.home.get(self.plan.root(node), Home("")).kind == place
            if place == "kept":
                kept = array if own else self._static_name(empty(node, False), "kept")
                self.kept[name] = self._static[kept]
                if not own:
                    self._lines.append(f"copyto({kept}, {array})")
            elif own and array not in fresh:
                fresh.append(array)
            else:
                copied = self._unique("y")
                self._level[copied] = CALL
                self._lines.append(f"{copied} = {array}.copy()")
                fresh.append(copied)
        return fresh

    def reader(self, name: str) -> Callable[[], Any]:
        """What gives a kept result so that the next call does not overwrite it: a single number as a float."""
        return self.kept[name].copy if self.kept[name].ndim else self.kept[name].item

    def _text(self) -> str:
        names = {name: self._names[node] for name, node in self.plan.inputs.items()}
        head = [f"def bind({', '.join(names[name] for name in self.bound)}):", *_indent(self._prologue)]
        body = [f"    def run({', '.join(names[name] for name in self.arguments)}):", *_indent(_indent(self._lines))]
        return "\n".join([*head, *body, "    return run"]) + "\n"


def _temporaries(unit: Unit) -> dict[Node, int]:
    """Numbers of buffers for what nobody outside of a cluster reads; one is used again after the last who reads it."""
    last = {arg: i for i, node in enumerate(unit.nodes) for arg in node.args}
    found, free, made = dict[Node, int](), dict[Any, list[int]](), 0
    written = set(unit.writes)
    for i, node in enumerate(unit.nodes):
        done = {arg for arg in node.args if arg in found and last[arg] == i}
        chosen = done & set(node.args[:2]) if node.op == "where" else set()  # read when the result is half written
        for arg in done - chosen:
            free.setdefault(arg.dtype, []).append(found[arg])
        if node not in written:
            pool = free.setdefault(node.dtype, [])
            made += not pool
            found[node] = pool.pop() if pool else made - 1
        for arg in chosen:
            free.setdefault(arg.dtype, []).append(found[arg])
    return found


def _part(axis: int, start: int, stop: int) -> str:
    """The text of a slice along one axis."""
    return f"{{}}[{', '.join([':'] * axis + [f'{start}:{stop}'])}]"


def _caller(node: Node) -> Callable[..., Any]:
    return lambda *args: apply(node, args, np)


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
