"""Plans of steps, and an interpreter that checks after each operation that nothing still to be read is lost."""

from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from tests.compiled import Prepared
from xpnn.compile.memory import part
from xpnn.compile.namespace import ELEMENTWISE
from xpnn.compile.numpy import Program
from xpnn.compile.plan import Plan
from xpnn.compile.simplify import apply, constant
from xpnn.compile.trace import Node

KINDS = {
    "numpy": None,
    "clusters": {"products": False, "cluster": True},
    "clusters of products": {"products": True, "cluster": True},
    "exact": {"products": False},
}
"""How plans are made: as NumPy's are, as CuPy's are, and otherwise."""


def trees_of(ready: Prepared, role: str) -> dict[str, Any]:
    """What a step is given: as a whole, or by the numbers of its rows."""
    if role == "step":
        return {"carry": ready.carry, "batch": ready.data, "numbers": ready.numbers}
    count = ready.data.x.shape[ready.data.x.ndim - ready.steps.rank - 1]
    rows = np.arange(count) if ready.net.members is None else np.stack([np.arange(count)[::-1]] * ready.net.members)
    given = {"rows": rows, "batch": None, "data": ready.data} if role == "rows" else {"rows": None, "batch": None}
    return {"carry": ready.carry, "data": ready.data, "numbers": ready.numbers} | given


def plan_of(ready: Prepared, role: str = "rows", kind: str = "numpy") -> tuple[Plan, dict[str, np.ndarray]]:
    """The plan of a "step", an epoch's step on "all" or on "rows" of the data, and its inputs by name."""
    trees, options = trees_of(ready, role), KINDS[kind]

    def emitter(plan, bound):
        return SimpleNamespace(bound=bound, arguments=[name for name in plan.inputs if name not in bound])

    if options is None:
        traced = ready.steps.trace("step" if role == "step" else "epoch", trees, weighed=True)
        assert isinstance(traced.program, Program)
    else:
        with mock.patch("xpnn.compile.traced._emitter", lambda *asked: (emitter, options)):
            traced = ready.steps.trace("step" if role == "step" else "epoch", trees, weighed=True)
    return traced.plan, {name: np.array(eval(name, dict(trees))) for name in traced.plan.inputs}


def evaluated(plan: Plan, given: dict[str, np.ndarray]) -> dict[Node, np.ndarray]:
    """Every node's numbers, each in memory of its own."""
    found = {node: given[name] for name, node in plan.inputs.items()}
    found |= {node: constant(node) for node in plan.constants}
    with np.errstate(all="ignore"):
        for node in plan.order:
            found[node] = np.array(apply(node, [found[arg] for arg in node.args], np), node.dtype)
    return found


class Machine:
    """Runs a plan in the memory that it asks for, and raises where an operation reads what is no longer there.

    After the last who reads it, each block is filled with what no number is.
    """

    def __init__(self, plan: Plan, given: dict[str, np.ndarray]):
        self.plan = plan
        self.inputs = {name: array.copy() for name, array in given.items()}
        self.blocks = [np.full(size, 255, np.uint8) for size in plan.blocks]
        self.own: dict[Node, np.ndarray] = {}
        self.known: dict[Node, np.ndarray] = {node: given[name] for name, node in plan.inputs.items()}
        self.holder: dict[Any, Node] = {("input", name): node for name, node in plan.inputs.items()}
        self.last = self._last_reads()

    def _last_reads(self) -> dict[Node, int]:
        last = {}
        for number, unit in enumerate(self.plan.units):
            for node in unit.nodes:
                for arg in node.args:
                    last[self.plan.root(arg)] = number
        for node in self.plan.outputs.values():
            last[self.plan.root(node)] = len(self.plan.units)
        for node in reversed(self.plan.steps):  # what lies in a part of another one is read there
            home = self.plan.home.get(node)
            if home is not None and home.kind == "part":
                last[home.where[0]] = max(last.get(home.where[0], 0), last.get(node, 0))
        return last

    def memory(self, node: Node) -> np.ndarray:
        """Where a node's numbers lie."""
        if node.op == "constant":
            return constant(node)
        if node in self.plan.views:
            base = self.memory(node.args[0])
            found = apply(node, [base], np)
            assert not base.size or np.may_share_memory(found, base), f"{node} is no view"
            return found
        if node.op == "input":
            return self.inputs[node.options["name"]]
        home = self.plan.home[node]
        if home.kind == "input":
            found = self.inputs[home.where]
        elif home.kind == "part":
            slot = part(self.memory(home.where[0]), *home.where[1:])
            found = slot.reshape(node.shape)
            assert np.may_share_memory(slot, found), f"{node} is not in its part"
        elif home.kind == "block":
            assert self.plan.blocks[home.where] >= node.nbytes
            flat = self.blocks[home.where][: node.nbytes].view(node.dtype)
            shape = node.shape if not home.turned else (*node.shape[:-2], node.shape[-1], node.shape[-2])
            found = flat.reshape(shape).swapaxes(-1, -2) if home.turned else flat.reshape(shape)
        else:
            found = self.own.setdefault(node, np.empty_like(self.plan.form(node)))
        assert (found.shape, found.dtype) == (node.shape, node.dtype), f"{node} lies in {found.shape} {found.dtype}"
        return found

    def run(self) -> dict[str, np.ndarray]:
        """The results by name."""
        for number, unit in enumerate(self.plan.units):
            self._unit(unit)
            for node in unit.writes:
                while self.plan.home[node].kind == "part":
                    node = self.plan.home[node].where[0]  # which has its place before the first of its parts
                if self.plan.home[node].kind in ("block", "input"):
                    self.holder[self.plan.home[node][:2]] = node
            self._check(number)
            self._poison(number)
        ready = [(self.memory(node).copy(), target) for node, target in self.plan.copies]
        results = {name: self.memory(node).copy() for name, node in self.plan.outputs.items()}
        for array, target in ready:
            self.inputs[target][...] = array
        places = self.plan.places
        return {name: self.inputs[places[name]] if places[name] in self.inputs else results[name] for name in places}

    def _unit(self, unit: Any) -> None:
        inside, own = dict[Node, np.ndarray](), set(unit.nodes)
        read = {arg: self.memory(arg) for node in unit.nodes for arg in node.args if arg not in own}
        with np.errstate(all="ignore"):
            for node in unit.nodes:  # all is read before anything is written
                args = [inside[arg] if arg in own else read[arg] for arg in node.args]
                if node.op == "concat":
                    args = [self.known[arg] if arg in self.known else np.array(read[arg]) for arg in node.args]
                inside[node] = np.array(apply(node, args, np), node.dtype)
        for node in unit.writes:
            out = self.memory(node)
            if node.op != "concat":
                self._apart(node, out, unit, read)
                out[...] = inside[node]
            else:
                widths = [arg.shape[node.options["axis"]] for arg in node.args]
                for arg, start in zip(node.args, np.cumsum([0, *widths[:-1]]), strict=True):
                    home = self.plan.home.get(self.plan.root(arg))
                    if home is None or home.kind != "part" or home.where[0] is not node or home.where[2] != start:
                        slot = part(out, node.options["axis"], start, start + arg.shape[node.options["axis"]])
                        assert not np.shares_memory(slot, self.memory(arg))
                        slot[...] = self.memory(arg)
            self.known[node] = inside[node]

    def _apart(self, node: Node, out: np.ndarray, unit: Any, read: dict[Node, np.ndarray]) -> None:
        """Operations write over what they read only number by number, in the very same places."""
        for arg, array in read.items():
            if out.size and array.size and np.shares_memory(out, array):
                assert all(one.op in ELEMENTWISE for one in unit.nodes), f"{node} is written over {arg}"
                alike = (out.__array_interface__["data"], out.strides) == (
                    array.__array_interface__["data"],
                    array.strides,
                )
                assert alike and out.itemsize == array.itemsize, f"{node} is written across {arg}"
                if len(unit.nodes) == 1 and node.op == "where":
                    assert all(arg is not one for one in node.args[:2]), f"{node} is written over what chooses"

    def _check(self, number: int) -> None:
        """Whatever will be read still is as it was computed."""
        for node, value in self.known.items():
            if self.last.get(node, -1) > number and node.op != "constant":
                held = self.memory(node)
                assert held.tobytes() == value.tobytes(), f"{node} is lost at {self.plan.units[number]}"

    def _poison(self, number: int) -> None:
        for (kind, where), node in self.holder.items():
            if kind == "block" and self.last.get(node, number) <= number:
                self.blocks[where][...] = 255


def check(ready: Prepared, role: str, kind: str) -> Plan:
    """Checks a plan's memory; its results must be those of the plan in memory without end."""
    plan, given = plan_of(ready, role, kind)
    found, expected = Machine(plan, given).run(), evaluated(plan, given)
    for name, node in plan.outputs.items():
        exact = np.dtype(node.dtype).kind != "f"
        tolerance = 0.0 if exact else (1e-3 if node.dtype == np.float32 else 1e-9)
        np.testing.assert_allclose(found[name], expected[node], rtol=tolerance, atol=tolerance, err_msg=name)
    return plan
