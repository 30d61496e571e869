"""A function of trees of arrays as a program: traced, planned, and written for a backend.

A tree is dicts, lists and NamedTuples of arrays and None. Each array's name is what one would write in Python to get
it: "numbers.optimizer['learning_rate']".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from threading import Lock
from typing import Any

from xpnn.backend import Backend
from xpnn.compile.plan import Plan
from xpnn.compile.trace import Graph, Node, Untraceable

Array = Any

LONG = 1 << 24
"""Vectors of as many bytes are computed piece by piece in NumPy: Adam on 25,000,000 parameters then takes 49 ms for 60;
at 1,000,000 it made no difference."""


def map_tree(function: Callable[[str, Any], Any], tree: Any, name: str = "") -> Any:
    """The tree with `function(name, array)` in the place of each array."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {key: map_tree(function, child, f"{name}[{key!r}]") for key, child in tree.items()}
    if hasattr(tree, "_fields"):
        fields = zip(tree._fields, tree, strict=True)
        return type(tree)(*(map_tree(function, child, f"{name}.{field}") for field, child in fields))
    if isinstance(tree, tuple | list):
        return type(tree)(map_tree(function, child, f"{name}[{i}]") for i, child in enumerate(tree))
    return function(name, tree)


def getter(names: Iterable[str], arguments: Iterable[str]) -> Callable[..., tuple[Array, ...]]:
    """The function of `arguments` that gives what has these names.

    >>> getter(["numbers['rate']"], ["numbers"])({"rate": 0.5})
    (0.5,)
    """
    return eval(f"lambda {', '.join(arguments)}: ({''.join(f'{name}, ' for name in names)})")


class Traced:
    """`function(**trees, xp=)` as a program for arrays of the shapes in `trees`.

    `places` gives for the name of each result where it lies (see `Plan`), a result being named as the entry of the dict
    that `function` gives. `bound` begins the names of arguments that stand for many calls, which go to `bind`; all
    others go to the function that this gives. `exact` keeps every rounding. `labels` name parts of the parameters in
    the program's text. `jit` asks for loops that numba compiles, where not every rounding must be kept.

    Raises whatever `function` does with arrays that hold no numbers.
    """

    def __init__(
        self,
        function: Callable[..., dict[str, Any]],
        trees: dict[str, Any],
        places: Callable[[str], str],
        backend: Backend,
        bound: tuple[str, ...] = (),
        exact: bool = False,
        labels: Mapping[tuple[int, int], str] | None = None,
        jit: bool = False,
    ):
        graph, found = Graph(), dict[str, Node]()

        def given(name: str, array: Array) -> Node:
            return graph.input(name, array.shape, str(array.dtype).rpartition(".")[2])

        def result(name: str, array: Any) -> None:
            found[name] = graph.xp.asarray(array)

        nodes = {name: map_tree(given, tree, name) for name, tree in trees.items()}
        for name, tree in function(**nodes, xp=graph.xp).items():
            map_tree(result, tree, name)
        emitter, options = _emitter(backend, jit and not exact)
        self.plan = Plan(found, {name: places(name) for name in found}, exact=exact, labels=labels, **options)
        graph.close()
        self.program = emitter(self.plan, [name for name in self.plan.inputs if bound and name.startswith(bound)])
        self.plan.forget()
        self._bound = getter(self.program.bound, trees)
        self._arguments: dict[tuple[str, ...], Callable[..., tuple[Array, ...]]] = {}
        self.lock = Lock()
        self.held: Any = None  # what the holder of the lock keeps for the next

    def bind(self, **trees: Any) -> Callable[..., Any]:
        """The program with the arguments that stand; `trees` are all, or as many as hold these."""
        return self.program.bind(*self._bound(**trees))

    def arguments(self, *of: str) -> Callable[..., tuple[Array, ...]]:
        """What gives the program's further arguments from these trees, which come in this order."""
        if of not in self._arguments:
            self._arguments[of] = getter([name for name in self.program.arguments if name.startswith(of)], of)
        return self._arguments[of]


def _emitter(backend: Backend, jit: bool) -> tuple[Any, dict[str, Any]]:
    """What writes programs for a backend, and how it wants them planned."""
    if backend.name == "cupy":
        from xpnn.compile.cupy import Program
        from xpnn.compile.rows import together

        options = {"products": False, "cluster": True, "rows": together}
        return partial(Program, precision=backend.precision), options
    if jit:
        from xpnn.compile.jit import Program

        return Program, {"cluster": True}
    from xpnn.compile.numpy import Program

    return Program, {"cluster": LONG}


class Attempts:
    """Programs are made until one cannot be: `reason` then says why, and is told once the function has run as it is."""

    def __init__(self, what: str):
        self.what, self.reason = what, ""

    def make(self, make: Callable[[], Traced]) -> Traced | None:
        """A program, or None where it cannot be made."""
        try:
            return make()
        except MemoryError:
            raise
        except Exception as error:
            self.reason = str(error) if isinstance(error, Untraceable) else f"{type(error).__name__}: {error}"
            return None

    def tell(self) -> None:
        """Warn of it: what raises when it runs as it is has told more by then."""
        reason, self.reason = self.reason, ""
        if reason:
            text = f"the {self.what} is not compiled and runs more slowly, because of {reason}; compile=False asks for"
            warnings.warn(f"{text} that", RuntimeWarning, stacklevel=2)
