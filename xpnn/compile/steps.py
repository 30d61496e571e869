"""How the steps and the outputs of a network are computed: by a compiled program where there can be one, else eagerly.

On NumPy and CuPy a function is traced and planned when arrays of new shapes come, and its program kept; on JAX it is
jitted; elsewhere, and where it cannot be traced, it runs as it is. Programs write into buffers of their own: each has
a lock, belongs to one network, and is never copied or pickled.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from threading import Lock
from typing import Any

from xpnn.backend import Backend
from xpnn.compile.plan import Plan
from xpnn.compile.trace import Graph, Node, Untraceable
from xpnn.inputs import Data
from xpnn.layers import Sequential, walk
from xpnn.program import Carry, Program, StepNumbers, map_arrays, tree_of

Array = Any

KEPT = 16
"""For how many shapes of arrays programs are kept; what comes in still others runs eagerly."""
ROWS = 1024
"""How many rows a program computes the output of at once, where the layers are known to treat each row alone."""


class Traced:
    """A function of trees of arrays as a program: traced, planned, and written for the backend.

    `places` gives for the name of each result where it lies (see `Plan`); `bound` names the arguments that stand for
    many calls; `exact` keeps every rounding of the function.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        trees: dict[str, Any],
        places: Callable[[str], str],
        bound: tuple[str, ...],
        backend: Backend,
        exact: bool = False,
    ):
        graph, self.paths, found = Graph(), dict[str, tuple[Any, ...]](), dict[str, Any]()

        def given(path: tuple[Any, ...], array: Array) -> Node:
            self.paths[name := ".".join(map(str, path))] = path
            return graph.input(name, array.shape, str(array.dtype).rpartition(".")[2])

        def result(path: tuple[Any, ...], array: Any) -> None:
            found[".".join(map(str, path))] = graph.xp.asarray(array)

        nodes = {name: map_tree(given, tree, (name,)) for name, tree in trees.items()}
        map_tree(result, function(**nodes, xp=graph.xp))
        self.plan = Plan(found, {name: places(name) for name in found}, exact=exact, **_emission(backend)[1])
        inputs = [name for name in self.plan.inputs if name.startswith(bound)] if bound else []
        self.program = _emission(backend)[0](self.plan, inputs)
        graph.close()
        self.arguments = [self.paths[name] for name in self.program.arguments]
        self.lock = Lock()

    def bind(self, **trees: Any) -> Callable[..., Any]:
        """The program with the arguments that stand."""
        return self.program.bind(*(lookup(trees, self.paths[name]) for name in self.program.bound))


def _emission(backend: Backend) -> tuple[Any, dict[str, bool]]:
    """What writes programs for a backend, and how it wants them planned."""
    if backend.name == "cupy":
        from xpnn.compile.cupy import Program

        return Program, {"products": False, "cluster": True}
    from xpnn.compile.numpy import Program

    return Program, {}


def map_tree(function: Callable[[tuple[Any, ...], Any], Any], tree: Any, path: tuple[Any, ...] = ()) -> Any:
    """A tree of dicts, lists and tuples with `function(path, leaf)` in the place of each leaf; None stays None."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {key: map_tree(function, child, (*path, key)) for key, child in tree.items()}
    if isinstance(tree, tuple | list):
        names = getattr(tree, "_fields", range(len(tree)))
        parts = [map_tree(function, child, (*path, name)) for name, child in zip(names, tree, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return function(path, tree)


def lookup(tree: Any, path: tuple[Any, ...]) -> Any:
    """The leaf of a tree at a path."""
    for key in path:
        tree = tree[key] if isinstance(tree, dict | list) or isinstance(key, int) else getattr(tree, key)
    return tree


class Steps:
    """The steps of one `Program`.

    `compiled` says how they are run: "traced", "jitted" or "" for eagerly.
    """

    def __init__(self, program: Program, rank: int, backend: Backend):
        self.program, self.rank, self.backend = program, rank, backend
        self.compiled, self.attempts = how(backend), Attempts("training step")
        self.traced: dict[Any, Traced] = {}
        self._jitted: dict[bool, Callable[..., Any]] = {}

    def epoch(self, carry: Carry, data: Data | None, weighed: bool, compile: bool = True) -> EagerEpoch:
        """What runs the steps of an epoch that begins with `carry`.

        `data` is what the batches are rows of, None where they come as they are; `weighed` says whether the weight of
        each batch is wanted.
        """
        kind = {"traced": TracedEpoch, "jitted": JittedEpoch}.get(self.compiled if compile else "", EagerEpoch)
        return kind(self, carry, data, weighed)

    def step(self, carry: Carry, batch: Data, numbers: StepNumbers, compile: bool = True) -> tuple[Carry, Array]:
        """One update, which leaves `carry` as it is."""
        xp, compiled = self.backend.xp, self.compiled if compile else ""
        if compiled == "jitted":
            return self.jitted(False)(carry, None, None, batch, numbers)[:2]
        trees = {"carry": carry, "batch": batch, "numbers": numbers}
        traced = self.program_of("step", trees) if compiled == "traced" else None
        if traced is None:
            done = self.program.step(carry, batch, numbers, xp=xp)
            self.attempts.tell()
            return done
        with traced.lock:
            *new, value = traced.bind()(*(lookup(trees, path) for path in traced.arguments))
        new = iter(new)
        return map_arrays(lambda array: next(new), carry), value

    def jitted(self, weighed: bool) -> Callable[..., Any]:
        """The step as `jax.jit` makes it."""
        if weighed not in self._jitted:
            import jax

            def step(carry: Carry, data: Any, rows: Any, batch: Any, numbers: StepNumbers) -> Any:
                return self.program.train(
                    carry, data, rows, batch, numbers, rank=self.rank, weighed=weighed, xp=self.backend.xp
                )

            self._jitted[weighed] = jax.jit(step)
        return self._jitted[weighed]

    def program_of(self, role: str, trees: dict[str, Any], weighed: bool = False) -> Traced | None:
        """The program for arrays of these shapes; None where there is none, which is warned of once."""
        shapes: list[Any] = [role, weighed]
        map_tree(lambda path, array: shapes.append((path, tuple(array.shape), array.dtype)), trees)
        key = tuple(shapes)
        if key not in self.traced and len(self.traced) < KEPT:
            found = self.attempts.make(lambda: self._trace(role, trees, weighed))
            if found is None:
                self.compiled = ""
                return None
            self.traced[key] = found
        return self.traced.get(key)

    def _trace(self, role: str, trees: dict[str, Any], weighed: bool) -> Traced:
        def step(carry: Carry, batch: Data, numbers: StepNumbers, *, xp: Any) -> Any:
            new, value = self.program.step(carry, batch, numbers, xp=xp)
            return {"carry": new, "value": value}

        def train(carry: Carry, data: Any, rows: Any, batch: Any, numbers: StepNumbers, *, xp: Any) -> Any:
            options = {"rank": self.rank, "weighed": weighed, "xp": xp}
            new, value, share = self.program.train(carry, data, rows, batch, numbers, **options)
            return {"carry": new, "value": value, "share": share}

        if role == "step":
            return Traced(step, trees, lambda name: "fresh", (), self.backend)
        places = lambda name: name if name.startswith("carry.") else "kept"  # noqa: E731
        return Traced(train, trees, places, ("carry.", "data.", "numbers.multiplier", "numbers.prices"), self.backend)


class EagerEpoch:
    """The steps of one epoch, each run as it is written. `carry` is what they have made of that of the beginning."""

    def __init__(self, steps: Steps, carry: Carry, data: Data | None, weighed: bool):
        self.steps, self.carry, self.data, self.weighed = steps, carry, data, weighed

    def __call__(self, item: Any, numbers: StepNumbers) -> tuple[Any, Any]:
        """The objective before one update, and the batch's weight or how many rows it has.

        `item` is a batch, or the numbers of its rows; None stands for all of `data`.
        """
        rows, batch = (item, None) if self.data is not None else (None, item)
        self.carry, value, share = self._train(rows, batch, numbers)
        return value, self._count(rows, batch) if share is None else share

    def _train(self, rows: Any, batch: Any, numbers: StepNumbers) -> tuple[Carry, Array, Any]:
        options = {"rank": self.steps.rank, "weighed": self.weighed, "xp": self.steps.backend.xp}
        return self.steps.program.train(self.carry, self.data, rows, batch, numbers, **options)

    def _count(self, rows: Any, batch: Data | None) -> int:
        if rows is not None:
            return rows.shape[-1]
        x = (self.data if batch is None else batch).x  # type: ignore[union-attr]
        return x.shape[x.ndim - self.steps.rank - 1]


class JittedEpoch(EagerEpoch):
    """The same by `jax.jit`."""

    def _train(self, rows: Any, batch: Any, numbers: StepNumbers) -> tuple[Carry, Array, Any]:
        return self.steps.jitted(self.weighed)(self.carry, self.data, rows, batch, numbers)


class TracedEpoch(EagerEpoch):
    """The same by programs that write into one copy of the carry, so that the epoch can be undone."""

    def __init__(self, steps: Steps, carry: Carry, data: Data | None, weighed: bool):
        super().__init__(steps, map_arrays(steps.backend.copy, carry), data, weighed)
        self._bound: dict[Any, Bound | None] = {}

    def __call__(self, item: Any, numbers: StepNumbers) -> tuple[Any, Any]:
        key = None if item is None else item.shape if self.data is not None else _shapes(item)
        if key not in self._bound:
            self._bound[key] = self._bind(item, numbers)
        bound = self._bound[key]
        if bound is not None:
            return bound(item, numbers)
        done = super().__call__(item, numbers)
        self.steps.attempts.tell()
        return done

    def _bind(self, item: Any, numbers: StepNumbers) -> Bound | None:
        rows, batch = (item, None) if self.data is not None else (None, item)
        trees = {"carry": self.carry, "data": self.data, "numbers": numbers, "rows": rows, "batch": batch}
        traced = self.steps.program_of("epoch", trees, self.weighed)
        return None if traced is None else Bound(traced, traced.bind(**trees), self._count(rows, batch))


class Bound:
    """A program bound to the arrays of an epoch, with what it needs to be handed in each step."""

    def __init__(self, traced: Traced, run: Callable[..., Any], count: int):
        self.run, self.lock, self.count = run, traced.lock, count
        self.value, self.share = (traced.program.kept.get(name) for name in ("value", "share"))
        self.asked = [path[1:] for path in traced.arguments if path[0] == "numbers"]
        self.given = [path[1:] for path in traced.arguments if path[0] != "numbers"]
        self.numbers: Any = None
        self.args: list[Array] = []

    def __call__(self, item: Any, numbers: StepNumbers) -> tuple[Any, Any]:
        if numbers is not self.numbers:
            self.numbers, self.args = numbers, [lookup(numbers, path) for path in self.asked]
        with self.lock:
            self.run(*self.args, *[lookup(item, path) for path in self.given])
            return _read(self.value), self.count if self.share is None else _read(self.share)


def _read(array: Array) -> Any:
    """What the next step will not overwrite: on the host a number, where it is one."""
    return array.item() if type(array).__module__ == "numpy" and not array.ndim else array + 0.0


def _shapes(batch: Data) -> tuple[Any, ...]:
    return tuple(None if array is None else (array.shape, array.dtype) for array in batch)


class Outputs:
    """The outputs at inference of a network's layers, all of them or those that a loss asks for."""

    def __init__(self, layouts: Any, rank: int, backend: Backend):
        self.layouts, self.rank, self.backend = layouts, rank, backend
        self.compiled, self.attempts = how(backend) == "traced", Attempts("output")
        self.traced: dict[Any, Traced | None] = {}

    def __call__(self, layer: Sequential, carry: Carry, x: Array, compile: bool = True) -> Array:
        """The output for `x`, in memory of its own or that of `x`.

        A program is made when arrays of the same shape come for the second time, and gives the same bits as the layers.
        """
        if not (compile and self.compiled):
            return self._forward(layer, carry, x, xp=self.backend.xp)
        rows = x.shape[0] if x.ndim == self.rank + 1 else 0
        if self.backend.name != "numpy" or rows <= ROWS or carry.params.ndim > 1 or not _apart(layer):
            return self._whole(layer, carry, x)
        y = None
        for start in range(0, rows, ROWS):
            found = self._whole(layer, carry, x[start : start + ROWS, ...], at_once=True)
            y = self.backend.xp.empty((rows, *found.shape[1:]), dtype=found.dtype) if y is None else y
            y[start : start + ROWS, ...] = found
        return y

    def _whole(self, layer: Sequential, carry: Carry, x: Array, at_once: bool = False) -> Array:
        params, state, _ = carry
        key = (len(layer.layers), x.shape, params.shape)
        if key not in self.traced and (at_once or len(self.traced) < KEPT):
            self.traced[key] = self._trace(layer, carry, x) if at_once else None
            return self._whole(layer, carry, x) if at_once else self._forward(layer, carry, x, xp=self.backend.xp)
        traced = self.traced.get(key)
        if traced is None and key in self.traced:
            traced = self.traced[key] = self._trace(layer, carry, x)
        if traced is None or not traced.lock.acquire(blocking=False):  # another thread is in it
            y = self._forward(layer, carry, x, xp=self.backend.xp)
            self.attempts.tell()
            return y
        try:
            trees = {"params": params, "state": state, "x": x}
            return traced.bind()(*[lookup(trees, path) for path in traced.arguments])[0]
        finally:
            traced.lock.release()

    def _forward(self, layer: Sequential, carry: Carry, x: Array, *, xp: Any) -> Array:
        return layer.forward(tree_of(self.layouts, carry, xp=xp), x, xp=xp)[0]

    def _trace(self, layer: Sequential, carry: Carry, x: Array) -> Traced | None:
        def forward(params: Array, state: Array, x: Array, *, xp: Any) -> dict[str, Any]:
            return {"y": self._forward(layer, Carry(params, state, None), x, xp=xp)}

        trees = {"params": carry.params, "state": carry.state, "x": x}
        made = lambda: Traced(forward, trees, lambda name: "fresh", (), self.backend, exact=True)  # noqa: E731
        found = self.attempts.make(made)
        self.compiled = found is not None
        return found


def _apart(layer: Sequential) -> bool:
    """Whether each row is known to be treated by itself: so it is by the package's own layers at inference."""
    return all(type(one).__module__.startswith("xpnn.") for _, one in walk(layer))


def how(backend: Backend) -> str:
    """How a backend's steps are compiled: "traced", "jitted" or "" for not at all (XPNN_COMPILE=0 asks for that)."""
    kinds = {"numpy": "traced", "cupy": "traced", "jax": "jitted"}
    return kinds.get(backend.name, "") if os.environ.get("XPNN_COMPILE", "1") != "0" else ""


class Attempts:
    """Programs are made until one cannot be: `reason` then says why, and is told once the function has run as it is."""

    def __init__(self, what: str):
        self.what, self.reason = what, ""

    def make(self, make: Callable[[], Traced]) -> Traced | None:
        """A program, or None where it cannot be made."""
        try:
            return make()
        except Exception as error:
            self.reason = str(error) if isinstance(error, Untraceable) else f"{type(error).__name__}: {error}"
            return None

    def tell(self) -> None:
        """Warn of it: what raises when it runs as it is has told more by then."""
        reason, self.reason = self.reason, ""
        if reason:
            text = f"the {self.what} is not compiled and runs more slowly, because of {reason} (compile=False asks for"
            warnings.warn(f"{text} that)", RuntimeWarning, stacklevel=2)
