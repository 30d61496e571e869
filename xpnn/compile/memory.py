"""Where the results of a plan lie: in few blocks of memory, or at once in the place where they are wanted.

A block is free again after the last who reads it. An elementwise operation may write over an operand that nobody reads
after it. Gradients are computed in their slice of the flat vector, new parameters and the optimizer's new state in the
place of the old.
"""

from typing import Any, NamedTuple

import numpy as np

from xpnn.compile.namespace import ELEMENTWISE
from xpnn.compile.simplify import apply, counted
from xpnn.compile.trace import Node


class Home(NamedTuple):
    """Where a result lies."""

    kind: str  # "block", "input", "part" (of a concat), "fresh" (made in every call) or "kept" (a buffer of its own)
    where: Any = None  # the block's number, the input's name, or (concat, axis, start, stop)
    turned: bool = False  # the last axis but one is the innermost in memory


class Memory:
    """The home of every result that is written, the sizes of the blocks, and what must be copied in the end.

    Each block, and each input that may be written over, has a holder: the node whose numbers are in it now.
    """

    def __init__(self, plan: Any):
        self.plan = plan
        self.home: dict[Node, Home] = {}
        self.blocks: list[int] = []
        self.copies: list[tuple[Node, str]] = []
        self._number = {node: i for i, unit in enumerate(plan.units) for node in unit.nodes}
        self._free: list[int] = []
        self._holder: dict[tuple[str, Any], Node] = {("input", name): node for name, node in plan.inputs.items()}
        self._results = self._placed_results()
        self._parts = self._parts_of_concats()
        self._last = self._last_reads()
        self._wanted = self._wanted_places()
        for unit, group in enumerate(plan.units):
            for node in group.writes:
                self._place(node, unit)
            self._release(unit)
        for name, node in plan.outputs.items():
            target = plan.places[name]
            there = node is plan.inputs.get(target) or self.home.get(node) == Home("input", target)
            if target not in ("fresh", "kept") and not there:
                self.copies.append((node, target))
        del self.plan, self._holder  # a cycle otherwise, which only a garbage collection would end

    def _placed_results(self) -> dict[Node, str]:
        """The places of the results that are computed, each in memory of its own."""
        found: dict[Node, str] = {}
        for name, node in self.plan.outputs.items():
            root = self.plan.root(node)
            if root in self._number and root.size == node.size:
                found.setdefault(root, self.plan.places[name])
        return found

    def _last_reads(self) -> dict[Node, int]:
        """The number of the last unit that reads what a node holds."""
        plan, last = self.plan, dict[Node, int]()
        for node in plan.steps:
            for arg in node.args:
                last[plan.root(arg)] = self._number[node]
        for node in plan.outputs.values():
            last[plan.root(node)] = len(plan.units)
        for node, (concat, *_) in self._parts.items():
            last[concat] = max(last.get(concat, 0), last.get(node, 0))
        return last

    def _parts_of_concats(self) -> dict[Node, tuple[Node, int, int, int]]:
        """Results that can be computed where a `concat` wants them."""
        plan, found = self.plan, dict[Node, tuple[Node, int, int, int]]()
        for concat in plan.steps:
            stop = 0
            for arg in concat.args if concat.op == "concat" else ():
                axis, node, start = concat.options["axis"], plan.root(arg), stop
                stop += arg.shape[axis]
                free = node in self._number and node not in found and node not in self._results
                plain = free and node.op != "concat" and node not in plan.turned and _only_reshaped(arg, node)
                if plain and self._seen_there(node, part(plan.form(concat), axis, start, stop)):
                    found[node] = (concat, axis, start, stop)
        return found

    def _seen_there(self, node: Node, slot: np.ndarray) -> bool:
        """Whether the node and all that looks at it can look at this slot, none of them needing a copy."""
        forms = {node: slot.reshape(node.shape)}
        for view in self.plan.order if np.may_share_memory(slot, forms[node]) else ():
            if view in self.plan.views and view.args[0] in forms:
                forms[view] = apply(view, [forms[view.args[0]]], np)
        return all(np.may_share_memory(slot, form) for form in forms.values())

    def _wanted_places(self) -> dict[Node, Home]:
        """Results that are put in the place of an input, and what on the way to them could lie there already."""
        plan, uses = self.plan, counted(self.plan.order)
        wanted = {
            node: Home("input", place)
            for node, place in self._results.items()
            if place in plan.inputs and node not in plan.turned
            if (plan.inputs[place].shape, plan.inputs[place].dtype) == (node.shape, node.dtype)
        }
        for node in reversed(plan.steps):
            for arg in self._replaceable(node, (node,)) if node in wanted else ():
                if arg in self._number and uses[arg] == 1 and arg not in wanted and arg not in plan.turned:
                    wanted[arg] = wanted[node]
                    break
        return wanted

    def _place(self, node: Node, unit: int) -> Home:
        if node not in self.home:
            self.home[node] = home = self._choice(node, unit)
            if home.kind in ("block", "input"):
                self._holder[home[:2]] = node
        return self.home[node]

    def _choice(self, node: Node, unit: int) -> Home:
        turned = node in self.plan.turned
        if node in self._parts:
            self._place(self._parts[node][0], unit)
            return Home("part", self._parts[node])
        if self._results.get(node) in ("fresh", "kept"):
            return Home(self._results[node], None, turned)
        if node in self._wanted and self._may_write(self._wanted[node], node, unit):
            return self._wanted[node]
        for arg in self._replaceable(node, self.plan.units[unit].nodes):
            home = self.home.get(arg, Home(""))
            if home.kind == "block" and home.turned == turned and self._may_write(home, node, unit):
                return home
        return Home("block", self._block(node.nbytes), turned)

    def _may_write(self, home: Home, node: Node, unit: int) -> bool:
        """Whether nobody will read from there what `node`, computed in `unit`, would write over."""
        holder = self._holder[home[:2]]
        last = self._last.get(holder, -1)
        candidates = self._replaceable(node, self.plan.units[unit].nodes)
        return last < unit or (last == unit and any(one is holder for one in candidates))

    def _replaceable(self, node: Node, together: tuple[Node, ...]) -> list[Node]:
        """What `node` may be written over while it is computed `together` with others.

        That is what they read in the very places where it is written.
        """
        if node.op not in ELEMENTWISE or node.size == 1:  # NumPy takes twice as long to write one number over itself
            return []
        read = [(arg, self.plan.root(arg)) for one in together for arg in one.args]
        after = together[1 + next(i for i, one in enumerate(together) if one is node) :]
        later = {arg for one in after for arg in one.args} | set(node.args[:2] if node.op == "where" else ())
        return [
            arg
            for one in together
            for arg in (one.args[2:] if one.op == "where" else one.args)
            if (arg.shape, arg.dtype.itemsize) == (node.shape, node.dtype.itemsize)
            and (one is node or arg.dtype == node.dtype)
            and arg not in later
            and all(other is not arg for other in together)
            and all(other is arg for other, root in read if root is arg)
            and self.plan.root(arg) is arg
        ]

    def _block(self, size: int) -> int:
        """The smallest free block that is large enough; else the largest one, which grows, or a new one."""
        fitting = [block for block in self._free if self.blocks[block] >= size]
        if fitting:
            block = min(fitting, key=self.blocks.__getitem__)
        elif self._free:
            block = max(self._free, key=self.blocks.__getitem__)
            self.blocks[block] = size
        else:
            self.blocks.append(size)
            return len(self.blocks) - 1
        self._free.remove(block)
        return block

    def _release(self, unit: int) -> None:
        for (kind, where), node in list(self._holder.items()):
            if kind == "block" and self._last.get(node, unit) <= unit:
                self._free.append(where)
                del self._holder[kind, where]


def _only_reshaped(view: Node, root: Node) -> bool:
    while view is not root:
        if view.op != "reshape":
            return False
        view = view.args[0]
    return True


def part(array: Any, axis: int, start: int, stop: int) -> Any:
    """A slice of an array along one axis."""
    return array[(*(slice(None),) * axis, slice(start, stop))]


def empty(node: Node, turned: bool, block: np.ndarray | None = None) -> np.ndarray:
    """Host memory for a node's numbers, new or at the beginning of a block.

    Where it is `turned` the last axis but one is the innermost.
    """
    shape = (*node.shape[:-2], node.shape[-1], node.shape[-2]) if turned else node.shape
    array = np.ndarray(shape, node.dtype, block)
    return array.swapaxes(-1, -2) if turned else array
