"""A plan as a program whose loops numba compiles: the optional kernels, asked for by compile="jit".

Every cluster of elementwise operations becomes one loop in which inner results need no memory; products stay
NumPy's. The smallest steps, whose time is the calls of functions and not their arithmetic, become one function as a
whole. numba comes with `pip install xpnn[jit]`; it is imported when the first program is made.
"""

import re
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from xpnn.compile import loops, numpy
from xpnn.compile.loops import Place, literal
from xpnn.compile.memory import Home, part
from xpnn.compile.namespace import ELEMENTWISE
from xpnn.compile.plan import Plan, Unit
from xpnn.compile.simplify import apply, uniform
from xpnn.compile.trace import Node

FEW = 256
"""Of up to so many numbers numba computes exponentials and the like as fast as NumPy."""
WHOLE = 200_000
"""A step of up to so many operations is compiled as a whole."""
COST = 32
"""For how many operations an exponential and the like counts."""
KEPT = 1024
"""How many compiled functions are kept; their programs keep theirs."""

_compiled: dict[str, Any] = {}
_lock = Lock()


def require() -> Any:
    """numba; raises what to install where it is missing."""
    try:
        import numba
    except ImportError as error:
        raise ImportError('compile="jit" needs numba: pip install "xpnn[jit]"') from error
    return numba


def compiled(source: str) -> Any:
    """The function `kernel` of a text, made by numba once in a process: compiling takes seconds.

    `@exact` keeps every rounding; under `@fast`, for products and sums, additions may change their order as in BLAS.
    """
    with _lock:
        if source not in _compiled:
            options = {"nogil": True, "error_model": "numpy"}
            fast = require().njit(**options, fastmath={"contract", "reassoc"})
            scope = {**loops.NAMES, "exact": require().njit(**options), "fast": fast}
            exec(compile(source, "<xpnn kernel>", "exec"), scope)
            kernel = _compiled[source] = scope["kernel"]
            if len(_compiled) > KEPT:
                del _compiled[next(iter(_compiled))]
            return kernel
        return _compiled[source]


class Program(numpy.Program):
    """What `plan` computes, for NumPy arrays, by loops that numba has compiled where these are faster.

    As the class of `xpnn.compile.numpy`; `whole` says whether the step is one function.
    """

    def __init__(self, plan: Plan, bound: Sequence[str]):
        require()
        self.whole = _small(plan) and all(_known(plan, node) for node in plan.steps) and _apart(plan)
        plan.regroup(self._fits)
        if self.whole and sum(plan.lies_in_an_input(node) for node, _ in plan.copies) > 1:
            self.whole = False  # one copy might overwrite what the next one reads
            plan.regroup(self._fits)
        self._parameters: dict[str, tuple[str, np.dtype]] = {}  # of the kernel: what each is given
        self._body: list[str] = []  # of the step as one function
        self._texts: list[str] = []
        starts = np.cumsum([0, *(-(-size // 64) * 64 for size in plan.blocks)])
        self._starts, self._work = starts.tolist(), np.zeros(int(starts[-1]) if self.whole else 0, np.uint8)
        super().__init__(plan, bound)
        self.source = "\n\n".join([*self._texts, self.source])

    def _fits(self, node: Node) -> bool:
        """Whether an operation becomes part of a loop."""
        fast = self.whole or node.size <= FEW or node.op not in loops.COSTLY
        return fast and loops.expression(node, {}) is not None

    def _operation(self, node: Node) -> None:
        if self.whole:
            self._body += self._loops(Unit((node,), (node,)))
        else:
            super()._operation(node)

    def _cluster(self, unit: Unit) -> None:
        lines = loops.elementwise(unit, self._place)
        if self.whole:
            self._body += lines
            return
        name = "_".join(dict.fromkeys(node.op for node in unit.nodes))[:48]
        size = f"{len(unit.nodes)} operations {unit.nodes[0].shape} {unit.nodes[0].dtype}"
        self._lines.append(f"{self._kernel(f'{name}_loop', lines, [])}  # {size}")

    def _kernel(self, name: str, lines: list[str], helpers: list[str]) -> str:
        """The call of a function of these lines, compiled for what it is given here."""
        names = list(self._parameters)
        text = "\n\n".join([*helpers, _function("exact", "kernel", names, lines)])
        kernel, numba = compiled(text), require()
        types = [numba.types.Array(numba.from_dtype(dtype), 1, "C") for _, dtype in self._parameters.values()]
        kernel.compile(tuple(types))
        self._texts.append(text)
        given = ", ".join(array for array, _ in self._parameters.values())
        self._parameters = {}
        return f"{self._static_name(kernel, name)}({given})"

    # where arrays lie

    def _lies(self, node: Node) -> tuple[Node, np.ndarray]:
        """The node in whose memory a node lies, and an array without numbers that lies as it does."""
        home = self.plan.home.get(node, Home(""))
        if node in self.plan.views:
            holder, form = self._lies(node.args[0])
            return holder, apply(node, [form], np)
        if home.kind == "part":
            concat, axis, start, stop = home.where
            holder, form = self._lies(concat)
            return holder, part(form, axis, start, stop).reshape(node.shape)
        holder = self.plan.inputs[home.where] if home.kind == "input" else node
        return holder, self.plan.form(holder)

    def _place(self, node: Node, shape: Sequence[int]) -> Place:
        """Where a node's numbers lie as an array of a shape to which it broadcasts."""
        holder, form = self._lies(node)
        base, dtype = self.plan.form(holder), holder.dtype
        size = dtype.itemsize
        start = (form.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // size if form.size else 0
        strides = tuple(step // size for step in np.broadcast_to(form, tuple(shape)).strides)
        home = self.plan.home.get(holder, Home(""))
        if self.whole and home.kind == "block":
            name = f"work_{dtype}"
            if name not in self._static:
                self._static_name(self._work.view(dtype), name)
            return self._named(name, f"_{name}", self._starts[home.where] // size + start, strides, dtype)
        name = self._name(holder, whole=True)
        if home.turned:
            name = self._derive(name, "{}.swapaxes(-1, -2).reshape(-1)")
        elif holder.ndim != 1:
            name = self._derive(name, "{}.reshape(-1)")
        if not self.whole and start and min(strides, default=0) >= 0:  # so that one function serves every layer
            name, start = self._derive(name, f"{{}}[{start}:]"), 0
        return self._named(name, f"_{name}" if self.whole else f"a{len(self._parameters)}", start, strides, dtype)

    def _named(self, array: str, like: str, start: int, strides: tuple[int, ...], dtype: np.dtype) -> Place:
        """The place in a parameter of the kernel; one array is one parameter, or its loops would fear an overlap."""
        for name, (given, _) in self._parameters.items():
            if given == array:
                return Place(name, start, strides)
        self._parameters[like] = array, dtype
        return Place(like, start, strides)

    # the step as one function

    def _loops(self, unit: Unit) -> list[str]:
        """The lines of one operation or cluster."""
        node = unit.nodes[0]
        if node.op in ELEMENTWISE:
            return loops.elementwise(unit, self._place)
        if node.op == "concat":
            return self._concatenated(node)
        x = node.args[0]
        if node.op == "reshape":
            out = self._place(node, node.shape)
            form = self._lies(node)[1]
            return loops.copied(x.shape, self._operand(x, x.shape), out._replace(strides=_steps(form.reshape(x.shape))))
        if node.op == "take":
            source, rows, out = (self._place(one, one.shape) for one in (x, node.args[1], node))
            return loops.chosen(node, source, rows, out)
        if node.op != "matmul":
            kept = tuple(1 if i in node.options["axis"] else n for i, n in enumerate(x.shape))
            out = self._place(node, node.shape)
            form = self._lies(node)[1].reshape(kept)
            steps = tuple(0 if n == 1 else step for n, step in zip(kept, _steps(form), strict=True))
            return loops.reduction(node, self._place(x, x.shape), out._replace(strides=steps)) or []
        stack = node.shape[:-2]
        a, b = (self._operand(arg, (*stack, *arg.shape[-2:])) for arg in node.args)
        return self._helper(loops.product(node, a, b, self._place(node, node.shape)))

    def _helper(self, lines: list[str]) -> list[str]:
        name = f"product_{len(self._texts)}"
        names = [name for name in self._parameters if any(re.search(rf"\b{name}\[", line) for line in lines)]
        self._texts.append(_function("fast", name, names, lines))
        return [f"{name}({', '.join(names)})"]

    def _operand(self, node: Node, shape: Sequence[int]) -> Place | str:
        """Where an operand lies, or the text of the number that it is everywhere."""
        return literal(node.options["value"], node.dtype) if uniform(node) else self._place(node, shape)

    def _concatenated(self, concat: Node) -> list[str]:
        """The copies of what is not computed in its part of a `concat`."""
        lines = []
        for arg, start, _ in self.plan.to_copy(concat):
            out = self._place(concat, concat.shape)
            out = out._replace(start=out.start + start * out.strides[concat.options["axis"]])
            lines += loops.copied(arg.shape, self._operand(arg, arg.shape), out)
        return lines

    def _finish(self) -> None:
        if not self.whole:
            return super()._finish()
        plan = self.plan
        for node, target in sorted(plan.copies, key=lambda copy: not plan.lies_in_an_input(copy[0])):
            aim = plan.inputs[target]
            self._body += loops.copied(aim.shape, self._operand(node, node.shape), self._place(aim, aim.shape))
        helpers, self._texts = self._texts, []
        for name, node in plan.outputs.items():  # so that arrays for results are made before they are written
            if plan.places[name] == "fresh":
                self._name(node)
        self._lines.append(self._kernel("step", self._body, helpers))
        self._blocks, copies = [], plan.copies
        plan.copies = []
        super()._finish()
        plan.copies = copies
        return None


def _steps(form: np.ndarray) -> tuple[int, ...]:
    return tuple(step // form.itemsize for step in form.strides)


def _function(kind: str, name: str, names: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join([f"@{kind}", f"def {name}({', '.join(names)}):", *(f"    {line}" for line in lines)])


def _known(plan: Plan, node: Node) -> bool:
    """Whether an operation can be written as loops."""
    op, alike = node.op, all(arg.dtype == node.dtype for arg in node.args)
    if op in ELEMENTWISE:
        return loops.expression(node, {}) is not None
    if op == "take":
        return plan.within_range(node.args[1])
    if op in ("matmul", "sum", "mean", "prod", "max", "min"):
        return alike and node.dtype.kind == "f" and all(arg.size for arg in node.args)
    return op in ("concat", "reshape") and alike


def _apart(plan: Plan) -> bool:
    """Whether every result that is handed out has memory of its own or is given."""
    roots = [(plan.root(node), node) for name, node in plan.outputs.items() if plan.places[name] in ("fresh", "kept")]
    return all(root.op in ("input", "constant") or root.size == node.size for root, node in roots)


def _small(plan: Plan) -> bool:
    """Whether a step is so small that calls of functions take most of its time."""
    cost = 0
    for node in plan.steps:
        cost += node.size * (COST if node.op in loops.COSTLY else 1)
        cost += 2 * node.size * node.args[0].shape[-1] if node.op == "matmul" else 0
    return cost <= WHOLE
