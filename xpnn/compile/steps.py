"""How the steps of training are run: by a compiled program where there can be one, else as they are written.

On NumPy and CuPy a step is traced and planned when arrays of new shapes come, and its program kept; on JAX it is
jitted; elsewhere, and where it cannot be traced, it runs as it is. Programs write into buffers of their own: each has
a lock, belongs to one network, and is never copied or pickled.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from xpnn.backend import Backend
from xpnn.batches import owned
from xpnn.compile.traced import Attempts, Traced
from xpnn.inputs import Data
from xpnn.parameters import Layout
from xpnn.program import Program, StepNumbers
from xpnn.progress import Carry, map_arrays

Array = Any

KEPT = 16
"""For how many shapes of arrays programs are kept; what comes in still others runs eagerly."""
LARGE = 1 << 26
"""Programs with more bytes of buffers are kept for one `fit` alone, and not made for outputs."""


def labels_of(layout: Layout) -> dict[tuple[int, int], str]:
    """Each parameter's name in the text of a program, by where it lies: "weight_0" for the weight of layer 0."""
    return {(e.start, e.stop): "_".join([e.name, *map(str, e.path)]) for e in layout.entries}


def how(backend: Backend) -> str:
    """How a backend's steps are compiled: "traced", "jitted" or "" for not at all (XPNN_COMPILE=0 asks for that)."""
    kinds = {"numpy": "traced", "cupy": "traced", "jax": "jitted"}
    return kinds.get(backend.name, "") if os.environ.get("XPNN_COMPILE", "1") != "0" else ""


def by_loops(compile: bool | str, backend: Backend) -> bool:
    """Whether loops that numba compiles are asked for: on NumPy by compile="jit", or everywhere by XPNN_COMPILE=jit.

    Raises ImportError, which says what to install, where numba is missing.
    """
    if compile not in (True, False, "jit"):
        raise ValueError(f'compile must be True, False or "jit", got {compile!r}')
    asked = backend.name == "numpy" and bool(compile) and "jit" in (compile, os.environ.get("XPNN_COMPILE"))
    if asked:
        from xpnn.compile.jit import require

        require()
    return asked


class Steps:
    """The steps of one `Program`.

    `compiled` says how they are run: "traced", "jitted" or "" for eagerly.
    """

    def __init__(self, program: Program, rank: int, backend: Backend):
        self.program, self.rank, self.backend = program, rank, backend
        self.compiled, self.attempts = how(backend), Attempts("training step")
        self.traced: dict[Any, Traced] = {}
        self._jitted: dict[bool, Callable[..., Any]] = {}
        self._asked: tuple[Any, Any, dict[Any, Traced | None]] = (None, None, {})
        self.kept, self._others = KEPT, list[Steps]()

    def workers(self, count: int) -> list[Steps]:
        """These steps, and as many more of the same as there are further threads: a program is run by one at a time."""
        while len(self._others) < count - 1:
            self._others.append(Steps(self.program, self.rank, self.backend))
        return [self, *self._others[: count - 1]]

    def epoch(self, carry: Carry, data: Data | None, weighed: bool, compile: bool | str = True) -> EagerEpoch:
        """What runs the steps of an epoch that begins with `carry`.

        `data` is what the batches are rows of, None where they come as they are; `weighed` says whether the weight of
        each batch is wanted.
        """
        jit, compiled = by_loops(compile, self.backend), self.compiled if compile else ""
        if compiled == "traced":
            return TracedEpoch(self, carry, data, weighed, jit)
        return (JittedEpoch if compiled == "jitted" else EagerEpoch)(self, carry, data, weighed)

    def programs(self, data: Data | None, weighed: bool, jit: bool) -> dict[Any, Traced | None]:
        """The programs for batches of the same data, by the shapes of the batch: those of the last call at once."""
        if self._asked[0] is not data or self._asked[1] != (weighed, jit) or data is None:
            self._asked = data, (weighed, jit), {}
        return self._asked[2]

    def release(self) -> None:
        """Let go of the data of the last epoch, and of programs with large buffers, which are soon made again."""
        self._asked = (None, None, {})
        self.traced = {key: traced for key, traced in self.traced.items() if traced.plan.memory <= LARGE}
        for other in self._others:
            other.release()

    def step(self, carry: Carry, batch: Data, numbers: StepNumbers, compile: bool | str = True) -> tuple[Carry, Array]:
        """One update, which leaves `carry` as it is."""
        jit, xp, compiled = by_loops(compile, self.backend), self.backend.xp, self.compiled if compile else ""
        if compiled == "jitted":
            return self.jitted(False)(carry, None, None, batch, numbers)[:2]
        trees = {"carry": carry, "batch": batch, "numbers": numbers}
        traced = self.program_of(("step", _shapes(batch)), trees, jit=jit) if compiled == "traced" else None
        if traced is None:
            done = self.program.step(carry, batch, numbers, xp=xp)
            self.attempts.tell()
            return done
        with traced.lock:
            *new, value = traced.bind(**trees)(*traced.arguments(*trees)(*trees.values()))
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

    def program_of(
        self, key: tuple[Any, ...], trees: dict[str, Any], weighed: bool = False, jit: bool = False
    ) -> Traced | None:
        """The program for a role and the shapes of what comes with it, all else being the same for all steps.

        None where there is none, of which `attempts` knows the reason.
        """
        role, key = key[0], (*key, jit)
        if self.compiled and key not in self.traced and len(self.traced) < self.kept:
            found = self.attempts.make(lambda: self.trace(role, trees, weighed, jit))
            if found is None:
                self.compiled = ""
                return None
            self.traced[key] = found
        return self.traced.get(key)

    def trace(self, role: str, trees: dict[str, Any], weighed: bool = False, jit: bool = False) -> Traced:
        """The program of a "step", or of those of an "epoch", for arrays of these shapes."""

        def step(carry: Carry, batch: Data, numbers: StepNumbers, *, xp: Any) -> Any:
            new, value = self.program.step(carry, batch, numbers, xp=xp)
            return {"carry": new, "value": value}

        def train(carry: Carry, data: Any, rows: Any, batch: Any, numbers: StepNumbers, *, xp: Any) -> Any:
            options = {"rank": self.rank, "weighed": weighed, "xp": xp}
            new, value, share = self.program.train(carry, data, rows, batch, numbers, **options)
            return {"carry": new, "value": value, "share": share}

        labels = labels_of(self.program.learned)
        if role == "step":
            return Traced(step, trees, lambda name: "fresh", self.backend, labels=labels, jit=jit)

        def place(name: str) -> str:
            return name if name.startswith("carry.") else "kept"

        bound = ("carry.", "data.", "numbers.multiplier", "numbers.prices")
        return Traced(train, trees, place, self.backend, bound, labels=labels, jit=jit)


class EagerEpoch:
    """The steps of one epoch, each run as it is written. `carry` is what they have made of that of the beginning."""

    def __init__(self, steps: Steps, carry: Carry, data: Data | None, weighed: bool):
        self.steps, self.carry, self.data, self.weighed = steps, carry, data, weighed

    def of(self, start: int, stop: int) -> EagerEpoch:
        """The same of some members of a stack: what changes their arrays where they lie changes these."""
        part, data = copy(self), self.data
        part.carry = map_arrays(lambda array: array[start:stop, ...], self.carry)
        if data is not None and any(own := owned(data, self.steps.rank, xp=self.steps.backend.xp)):
            pairs: Any = zip(data, own, strict=True)
            part.data = Data(*(array[start:stop, ...] if mine else array for array, mine in pairs))
        return part

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

    def __init__(self, steps: Steps, carry: Carry, data: Data | None, weighed: bool, jit: bool):
        (params, state, memory), host = carry, steps.backend.name == "numpy"
        own: Any = partial(np.array, order="C") if host else steps.backend.copy  # programs count on rows one by one
        carry = Carry(own(params), own(state) if steps.program.state.size else state, map_arrays(own, memory))
        super().__init__(steps, carry, data, weighed)
        self._bound: dict[Any, Bound | None] = {}
        self._programs, self.jit = steps.programs(data, weighed, jit), jit

    def of(self, start: int, stop: int) -> EagerEpoch:
        part: Any = super().of(start, stop)
        part._bound, part._programs = {}, self.steps.programs(part.data, self.weighed, self.jit)
        return part

    def __call__(self, item: Any, numbers: StepNumbers) -> tuple[Any, Any]:
        key = None if item is None else item.shape if self.data is not None else _shapes(item)
        if key not in self._bound:
            self._bound[key] = self._bind(key, item, numbers)
        bound = self._bound[key]
        if bound is not None:
            return bound(item, numbers)
        done = super().__call__(item, numbers)
        self.steps.attempts.tell()
        return done

    def _bind(self, key: Any, item: Any, numbers: StepNumbers) -> Bound | None:
        rows, batch = (item, None) if self.data is not None else (None, item)
        trees = {"carry": self.carry, "data": self.data, "numbers": numbers, "rows": rows, "batch": batch}
        key = self.carry.params.shape, key
        if key not in self._programs:
            full = ("epoch", self.weighed, _shapes(self.data), key)
            self._programs[key] = self.steps.program_of(full, trees, self.weighed, self.jit)
        traced = self._programs[key]
        return None if traced is None else Bound(traced, traced.bind(**trees), self._count(rows, batch))


class Bound:
    """A program bound to the arrays of an epoch, with what it needs to be handed in each step."""

    def __init__(self, traced: Traced, run: Callable[..., Any], count: int):
        self.run, self.lock = run, traced.lock
        program = traced.program
        self.value = program.reader("value")
        self.share = program.reader("share") if "share" in program.kept else lambda: count
        self.asked, self.given = traced.arguments("numbers"), traced.arguments("rows", "batch")
        self.numbers: Any = None
        self.args: tuple[Array, ...] = ()

    def __call__(self, item: Any, numbers: StepNumbers) -> tuple[Any, Any]:
        if numbers is not self.numbers:
            self.numbers, self.args = numbers, self.asked(numbers)
        with self.lock:
            self.run(*self.args, *self.given(item, item))
            return self.value(), self.share()


def _shapes(data: Data | None) -> tuple[Any, ...]:
    return tuple((array.shape, array.dtype) for array in data or () if array is not None)
