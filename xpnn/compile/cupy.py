"""A plan as a program for CuPy: clusters and reductions are kernels of our own, products go to cuBLAS.

Everything runs on the caller's current stream, into buffers that are allocated once, and nothing waits for the
device. What is launched to the same places a second time is captured, and replayed as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from threading import get_ident
from typing import Any

from xpnn.compile.capture import Replay
from xpnn.compile.cublas import products
from xpnn.compile.cublaslt import Epilogues, wanted
from xpnn.compile.cuda import OPTIONS, Cluster, Reduction
from xpnn.compile.launches import Joined, Step, parts, source, steps
from xpnn.compile.memory import Home, part
from xpnn.compile.plan import Plan
from xpnn.compile.rows import Rows
from xpnn.compile.simplify import apply, constant
from xpnn.compile.trace import Node

Array = Any
Arrays = dict[Node, Array]

OWN, BOUND, CALL = range(3)
"""How long an array stays where it is: as long as the program, as long as what was bound, or for one call."""
LARGE = 8 << 20
"""Operands of more bytes are worth a large workspace of cuBLAS's."""
COPIED = 1 << 20
"""Arguments of up to so many bytes are copied to a place of their own, so that a graph finds them there; for what is
larger the launches themselves are cheap beside the work."""


class Program:
    """What `plan` computes, for CuPy arrays on the device that was current when it was made.

    Parameters
    ----------
    plan : one made with `cluster=True` and `products=False`.
    bound : names of the inputs that `bind` is given; the others are the arguments of `run`, in the plan's order of
        `arguments`.
    precision : what products of float32 numbers are computed in: None, "tf32" or "bfloat16".
    """

    def __init__(self, plan: Plan, bound: Sequence[str], precision: str | None = None):
        self._cupy = cupy = import_module("cupy")
        self._xp = import_module("array_api_compat.cupy")
        self.plan = plan
        self.bound = [name for name in plan.inputs if name in bound]
        self.arguments = [name for name in plan.inputs if name not in bound]
        operands = [arg.nbytes for node in plan.steps if node.op == "matmul" for arg in (*node.args, node)]
        self._products = products(cupy, precision, max(operands) > LARGE) if operands else None
        self._epilogues = Epilogues(self._products) if self._products is not None and wanted() else None
        made = steps(plan, self._epilogues is not None)
        self.source = source(plan, self._epilogues is not None)
        launches = [one for step in made for one in parts(step)]
        self.kernels = {one.kernel.name: str(one.kernel) for one in launches if one.kernel is not None}
        self._levels: dict[Node, int] = {}
        touched = [node for one in launches for node in (*one.reads, *one.writes)]
        touched += [*plan.outputs.values(), *(node for node, _ in plan.copies)]
        self._touched = {
            level: [node for node in dict.fromkeys(touched) if self._level(node) == level] for level in range(3)
        }
        self._blocks = [cupy.cuda.alloc(size) for size in plan.blocks]
        self._own: Arrays = {}
        for node in self._touched[OWN]:
            self._resolve(node, self._own)
        self._calls = [self._call(step) for step in made]
        kept = [node for name, node in plan.outputs.items() if plan.places[name] == "kept"]
        self._kept = {node: self._own[node] if node in self._own else self._empty(node) for node in kept}
        self.kept = {name: self._kept[node] for name, node in plan.outputs.items() if plan.places[name] == "kept"}
        self._taken: dict[str, Array] = {}  # copies of what is kept
        stream, self._done = cupy.cuda.get_current_stream(), cupy.cuda.Event(disable_timing=True)
        self._done.record(stream)
        self._used = stream.ptr, get_ident()
        prepare = () if self._products is None else (self._products.prepare,)
        self.replay = Replay(cupy, *prepare) if self._can_be_replayed() else None
        self._given: list[Array] = []  # where a graph finds the arguments
        self._stands = [name.startswith("numbers") for name in self.arguments]  # nobody writes to these
        self._last: list[Array | None] = [None] * len(self.arguments)  # what was copied there last

    def bind(self, *arrays: Array) -> Callable[..., Any]:
        """The program with the inputs that stand for many calls: `run`, which takes the others."""
        inputs = self.plan.inputs
        standing = self._own | {inputs[name]: array for name, array in zip(self.bound, arrays, strict=True)}
        for node in self._touched[BOUND]:
            self._resolve(node, standing)

        def placed(arguments: Iterable[Array]) -> Arrays:
            now = standing | {inputs[name]: array for name, array in zip(self.arguments, arguments, strict=True)}
            for node in self._touched[CALL]:
                self._resolve(node, now)
            return now

        def plainly(*arguments: Array) -> tuple[Array, ...] | None:
            now = placed(arguments)
            self._launch(now)
            found = self._handed(now, own=True)
            self._settle(now)
            return found

        if self.replay is None:
            return partial(self._on_stream, plainly)
        replay, now = self.replay, placed(self._places_of_arguments())
        places = tuple((array.data.ptr, array.strides) for node, array in now.items() if self._level(node) != OWN)

        def launch() -> None:
            self._launch(now)
            self._settle(now)

        def replayed(*arguments: Array) -> tuple[Array, ...] | None:
            for i, (place, array) in enumerate(zip(self._given, arguments, strict=True)):
                if self._last[i] is not array:
                    self._cupy.copyto(place, array)
                    self._last[i] = array if self._stands[i] else None
            replay(places, launch)
            return self._handed(now, own=False)

        return partial(self._on_stream, replayed)

    def _on_stream(self, run: Callable[..., Any], *arguments: Array) -> Any:
        """Run after what is in the buffers, which may still be in use on another stream."""
        stream = self._cupy.cuda.get_current_stream()
        used = stream.ptr, get_ident()  # a thread's default stream has the number of every other thread's
        if used != self._used:
            stream.wait_event(self._done)
            self._used = used
        try:
            found = run(*arguments)
            self._taken = {name: array.copy() for name, array in self.kept.items()}
            return found
        finally:
            self._done.record(stream)

    def reader(self, name: str) -> Callable[[], Array]:
        """What gives a kept result of the last call, which no later one overwrites."""
        return lambda: self._taken[name]

    def _launch(self, now: Arrays) -> None:
        """Everything that is computed, on the current stream."""
        if self._products is not None:
            self._products.begin(self._cupy.cuda.get_current_stream())
        for call in self._calls:
            call(now)
        for node, buffer in self._kept.items():
            if buffer is not now[node]:
                self._cupy.copyto(buffer, now[node])

    # replaying

    def _can_be_replayed(self) -> bool:
        """Whether cuBLAS can be captured, arguments are worth a copy, and results are not written over in the end."""
        multiplies = any(node.op == "matmul" for node in self.plan.steps)
        arguments = sum(self.plan.inputs[name].nbytes for name in self.arguments)
        spoiled = self.plan.copies and "fresh" in self.plan.places.values()
        return (self._products is not None or not multiplies) and arguments <= COPIED and not spoiled

    def _places_of_arguments(self) -> list[Array]:
        """The arrays that arguments are copied to, the same for all that is bound."""
        if not self._given:
            self._given = [self._empty(self.plan.inputs[name]) for name in self.arguments]
        return self._given

    # memory

    def _level(self, node: Node) -> int:
        """How long the node's array stays where it is."""
        if node not in self._levels:
            plan, home = self.plan, self.plan.home.get(node, Home(""))
            if node.op == "input":
                level = BOUND if node.options["name"] in self.bound else CALL
            elif node in plan.views:
                level = self._level(node.args[0])
            elif home.kind == "part":
                level = self._level(home.where[0])
            elif home.kind == "input":
                level = self._level(plan.inputs[home.where])
            else:
                level = CALL if home.kind == "fresh" else OWN
            self._levels[node] = level
        return self._levels[node]

    def _resolve(self, node: Node, now: Arrays) -> Array:
        """The node's array, which is put into `now`."""
        if node not in now:
            home = self.plan.home.get(node, Home(""))
            if node.op == "constant":
                now[node] = self._cupy.asarray(constant(node))
            elif node in self.plan.views:
                now[node] = self._view(node, self._resolve(node.args[0], now))
            elif home.kind == "block":
                now[node] = self._cupy.ndarray(node.shape, node.dtype, self._blocks[home.where])
            elif home.kind == "input":
                now[node] = now[self.plan.inputs[home.where]]
            elif home.kind == "part":
                concat, axis, start, stop = home.where
                now[node] = _reshaped(part(self._resolve(concat, now), axis, start, stop), node)
            else:
                now[node] = self._empty(node)
        return now[node]

    def _empty(self, node: Node) -> Array:
        return self._cupy.empty(node.shape, node.dtype)

    def _view(self, node: Node, base: Array) -> Array:
        if node.op == "reshape" and self.plan.root(node).op not in ("input", "constant"):
            return _reshaped(base, node)  # what is written later must not be copied now
        return apply(node, [base], self._xp)

    # operations

    def _call(self, step: Step) -> Callable[[Arrays], Any]:
        """What computes a step, given where all arrays are."""
        cupy, node, args, kernel = self._cupy, step.node, step.node.args, step.kernel
        if isinstance(kernel, Cluster | Rows):
            parts = kernel.in_params, kernel.out_params, kernel.operation, kernel.name
            function = cupy.ElementwiseKernel(*parts, preamble=kernel.preamble, no_return=True, options=OPTIONS)
            both, size = (*step.reads, *step.writes), {"size": kernel.rows} if isinstance(kernel, Rows) else {}
            return lambda now: function(*[now[one] for one in both], **size)
        if isinstance(kernel, Reduction):
            return self._reduction(kernel)
        if isinstance(kernel, Joined):
            return self._joined(kernel)
        if node.op == "matmul" and self._products is not None:
            multiply, (first, second) = self._products, args
            return lambda now: multiply(now[first], now[second], now[node])
        if node.op == "matmul":
            first, second = args
            flat = all(one.ndim == 2 for one in args) and self._in_a_row(node)
            product = cupy.dot if flat else cupy.matmul
            return lambda now: product(now[first], now[second], out=now[node])
        if node.op == "take":
            values, indices = args
            return lambda now: cupy.take(now[values], now[indices], node.options["axis"], now[node])
        if node.op == "concat":
            return self._concat(node)
        return lambda now: cupy.copyto(now[node], apply(node, [now[arg] for arg in args], self._xp))

    def _joined(self, joined: Joined) -> Callable[[Arrays], None]:
        epilogues, plainly = self._epilogues, [self._call(step) for step in (joined.first, joined.second)]
        a, b = next(step for step in (joined.first, joined.second) if step.kernel is None).reads

        def both(now: Arrays) -> None:
            if not epilogues(joined.epilogue, now[a], now[b], now[joined.out], now[joined.vector]):  # type: ignore
                for call in plainly:
                    call(now)

        return both

    def _reduction(self, kernel: Reduction) -> Callable[[Arrays], Any]:
        cupy, node, x = self._cupy, kernel.node, kernel.node.args[0]
        options: dict[str, Any] = {"keepdims": node.options["keepdims"]}
        function = cupy.ReductionKernel(
            kernel.in_params,
            kernel.out_params,
            kernel.map_expr,
            kernel.reduce_expr,
            kernel.post_map_expr,
            kernel.identity,
            kernel.name,
            kernel.reduce_type,
        )
        axes = options["axis"] = node.options["axis"]
        last = axes == tuple(range(x.ndim - len(axes), x.ndim))

        def reduce(now: Arrays) -> None:
            array = now[x]
            if node.ndim > 1 and array.flags.f_contiguous:
                array = cupy.ascontiguousarray(array)  # CuPy would change the strides of `out` to Fortran's
            to = now[node]
            if last and not to.flags.c_contiguous:  # CUB, which CuPy takes for these, writes as if it were
                to = cupy.empty(to.shape, to.dtype)
            function(array, out=to, **options)
            if to is not now[node]:
                cupy.copyto(now[node], to)

        return reduce

    def _in_a_row(self, node: Node) -> bool:
        """Whether the node's array is known to be C-contiguous."""
        home = self.plan.home[node]
        if home.kind == "part":
            concat, axis, *_ = home.where
            return axis == 0 and self._in_a_row(concat)
        return home.kind != "input"

    def _concat(self, node: Node) -> Callable[[Arrays], None]:
        axis, missing = node.options["axis"], self.plan.to_copy(node)

        def concat(now: Arrays) -> None:
            for arg, start, stop in missing:
                self._cupy.copyto(part(now[node], axis, start, stop), now[arg])

        return concat

    # the end

    def _handed(self, now: Arrays, own: bool) -> tuple[Array, ...] | None:
        """The results that are the caller's to keep; `own` where those of this call are in memory of their own."""
        plan, given, handed = self.plan, list[Array](), set[Node]()
        for name, node in plan.outputs.items():
            if plan.places[name] == "fresh":
                root = plan.root(node)
                lone = own and plan.home.get(root, Home("")).kind == "fresh" and root not in handed
                given.append(now[node] if lone else now[node].copy())
                handed.add(root)
        return tuple(given) or None

    def _settle(self, now: Arrays) -> None:
        """Results put into the inputs that they are to replace."""
        plan, copyto = self.plan, self._cupy.copyto
        staged = [now[node].copy() if plan.lies_in_an_input(node) else now[node] for node, _ in plan.copies]
        for (_, target), array in zip(plan.copies, staged, strict=True):
            copyto(now[plan.inputs[target]], array)


def _reshaped(array: Array, node: Node) -> Array:
    """The array in the node's shape, in the same memory."""
    view = array.view()
    view.shape = node.shape
    return view
