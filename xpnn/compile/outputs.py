"""How a network's outputs are computed: by a program where one is worth its making, else by the layers themselves."""

from typing import Any

from xpnn.backend import Backend
from xpnn.compile.steps import KEPT, LARGE, how, labels_of
from xpnn.compile.traced import Attempts, Traced
from xpnn.layers import Sequential, walk
from xpnn.program import tree_of
from xpnn.progress import Carry

Array = Any

ROWS = {"numpy": 1024, "cupy": 16384}
"""How many rows a program computes at once, where the layers are known to treat each row alone: what stays in a CPU's
cache, and what keeps a GPU busy in little memory."""


class Outputs:
    """The outputs at inference of a network's layers: all of them, or as many as a loss asks for.

    A program is made when arrays of one shape come for the second time, and gives the same bits as the layers; on a
    GPU, where it rounds otherwise, when they come for the first time, so that equal calls have equal answers.
    """

    def __init__(self, layouts: Any, rank: int, backend: Backend):
        self.layouts, self.rank, self.backend = layouts, rank, backend
        self.compiled, self.attempts = how(backend) == "traced", Attempts("output")
        self.traced: dict[Any, Traced | None] = {}
        self._large: set[Any] = set()

    def release(self) -> None:
        """Let go of the parameters of the last calls."""
        for traced in list(self.traced.values()):
            if traced is not None:
                traced.held = None

    def __call__(self, layer: Sequential, carry: Carry, x: Array, compile: bool = True) -> Array:
        """The output for `x`, in memory of its own or, where it is `x` itself, in that."""
        if not (compile and self.compiled):
            return self._forward(layer, carry.params, carry.state, x, xp=self.backend.xp)
        axis = x.ndim - self.rank - 1
        rows = x.shape[axis] if axis <= carry.params.ndim - 1 else 0
        most = ROWS.get(self.backend.name, rows)
        if rows <= most or not _apart(layer):
            return self._at_once(layer, carry, x)
        y, before = None, (slice(None),) * axis
        for start in range(0, rows, most):
            piece = slice(start, start + most)
            found = self._at_once(layer, carry, x[(*before, piece, ...)], worth=rows >= 2 * most)
            if y is None:
                shape, xp = (*found.shape[:-2], rows, found.shape[-1]), self.backend.xp
                y = xp.empty(shape, dtype=found.dtype, device=self.backend.device)
            y[..., piece, :] = found
        return y

    def _at_once(self, layer: Sequential, carry: Carry, x: Array, worth: bool = False) -> Array:
        key, (params, state, _) = (len(layer.layers), x.shape), carry
        traced = self.traced.get(key) or self._program(key, layer, carry, x, worth)
        if traced is None or not traced.lock.acquire(blocking=False):  # another thread is in it
            y = self._forward(layer, params, state, x, xp=self.backend.xp)
            self.attempts.tell()
            return y
        try:
            held = traced.held  # of this very program: another thread may put its own in the place of it
            if held is None or held[0] is not params or held[1] is not state:
                held = traced.held = params, state, traced.bind(params=params, state=state, x=None)
            return held[2](*traced.arguments("x")(x))[0]
        finally:
            traced.lock.release()

    def _program(self, key: Any, layer: Sequential, carry: Carry, x: Array, worth: bool) -> Traced | None:
        if key not in self.traced and not (worth or self.backend.name == "cupy"):
            if len(self.traced) < KEPT:
                self.traced[key] = None  # seen once
            return None
        if self.traced.get(key) is None and self.compiled and key not in self._large:

            def forward(params: Array, state: Array, x: Array, *, xp: Any) -> dict[str, Any]:
                return {"y": self._forward(layer, params, state, x, xp=xp)}

            trees = {"params": carry.params, "state": carry.state, "x": x}
            place, bound, labels = (lambda name: "fresh"), ("params", "state"), labels_of(self.layouts[0])
            made = self.attempts.make(lambda: Traced(forward, trees, place, self.backend, bound, True, labels))
            self.compiled = made is not None
            if made is not None and made.plan.memory > LARGE:
                self._large.add(key)
            else:
                self.traced[key] = made
        return self.traced.get(key)

    def _forward(self, layer: Sequential, params: Array, state: Array, x: Array, *, xp: Any) -> Array:
        return layer.forward(tree_of(self.layouts, Carry(params, state, None), xp=xp), x, xp=xp)[0]


def _apart(layer: Sequential) -> bool:
    """Whether each row is known to be treated by itself: so it is by the package's own layers at inference."""
    return all(type(one).__module__.startswith("xpnn.") for _, one in walk(layer))
