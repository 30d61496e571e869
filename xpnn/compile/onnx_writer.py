"""An ONNX graph that is being written: its nodes, the numbers in it, and what hangs on the rows of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnn.compile.simplify import FOLDED, apply, constant, counted, uniform
from xpnn.compile.trace import Node

FEW = 16
"""Arrays of up to so many numbers are compared with those that are there, and written once."""
BOOL, INT32, INT64, FLOAT32 = map(np.dtype, ("bool", "int32", "int64", "float32"))


class Writer:
    """The nodes and initializers of an ONNX graph, from two traces of one pass with different numbers of rows.

    `values` are the arrays that inputs of these names stand for; the one input that has none is the batch. What depends
    on those arrays alone is computed beforehand.
    """

    def __init__(self, onnx: Any, traces: Sequence[Any], values: dict[str, np.ndarray]):
        self.onnx, self.helper = onnx, onnx.helper
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        (first, second), self._values = traces, values
        self.batch = first.nodes[0].options["name"]
        self._trace, self._rows, self._place = first, (first.rows, second.rows), ""
        self._taken = {"batch", self.batch, *first.outputs}
        self._ends: set[str] = set()
        self._names: dict[Node, str] = {first.nodes[0]: self.batch}
        self._made: dict[Any, str] = {}
        self._known: dict[Node, tuple[np.ndarray, str]] = {}
        if len(first.nodes) != len(second.nodes):
            raise TypeError("the network cannot be written as ONNX: its operations hang on how many rows there are")
        self._twins = dict(zip(first.nodes, second.nodes, strict=True))
        self._uses = counted(first.nodes)
        for found in first.outputs.values():
            node = getattr(found, "index", found)
            self._uses[node] = self._uses.get(node, 0) + 1
        for node in first.nodes:
            self._compare(node)
            self._fold(node)
        sums = [node for node in first.nodes if node not in self._known]
        self._gemms = {node: found for node in sums if (found := self._gemm(node)) is not None}

    def write(self, write: Callable[[Writer, Node], str]) -> None:
        """Have `write` make the nodes of every operation that is left, in order."""
        within = {product for product, _, _ in self._gemms.values()}
        for node in self._trace.nodes:
            if node not in self._known and node not in within and node.op not in ("input", "constant"):
                self._place, _ = self._owners(node)
                self._names[node] = write(self, node)
        self._place = ""

    def twin(self, node: Node) -> Node:
        """The same operation for the other number of rows."""
        return self._twins[node]

    def varies(self, node: Node) -> bool:
        """Whether the shape hangs on the rows."""
        return node.shape != self._twins[node].shape

    def dims(self, node: Node) -> list[Any]:
        """The shape of a result, with names for lengths that hang on the rows."""
        pairs, rows = zip(node.shape, self._twins[node].shape, strict=True), self._rows
        return [i if i == j else "batch" if (i, j) == rows else f"{i}_of_{rows[0]}_rows" for i, j in pairs]

    def shape(self, first: Sequence[int], second: Sequence[int]) -> str:
        """The name of a tensor that holds a shape, given for either number of rows."""
        if tuple(first) == tuple(second):
            return self.integers(first)
        pairs = list(zip(first, second, strict=True))
        return self._once(("shape", *pairs), lambda: self.add("Concat", [self._length(*p) for p in pairs], axis=0))

    def _length(self, first: int, second: int) -> str:
        """The name of a tensor (1,) that holds a length: a multiple of the rows, and a rest."""
        if first == second:
            return self.integers([first])
        name = self._once("rows", lambda: self.add("Shape", [self.batch], start=0, end=1))
        (a, b), found = self._rows, name
        factor = (second - first) // (b - a)
        found = self.add("Mul", [found, self.integers([factor])]) if factor != 1 else found
        rest = first - factor * a
        return self.add("Add", [found, self.integers([rest])]) if rest else found

    def _compare(self, node: Node) -> None:
        """Raise where more than shapes hangs on the rows."""
        twin = self._twins[node]
        same = node.op == twin.op and [self._twins[arg] for arg in node.args] == list(twin.args)
        for key, value in node.options.items():
            other = twin.options.get(key)
            arrays = isinstance(value, np.ndarray) and isinstance(other, np.ndarray)
            equal = np.array_equal(value, other, equal_nan=True) if arrays else repr(value) == repr(other)
            same = same and (key == "shape" or equal)
        if not same:
            raise self.refused(node, "whose numbers hang on how many rows there are")

    def _owners(self, node: Node) -> tuple[str, Any]:
        return self._trace.owners.get(node, ("", None))

    def refused(self, node: Node, why: str = "for which no operator of ONNX is written here") -> TypeError:
        """The error that tells of an operation that cannot be written."""
        place, layer = self._owners(node)
        where = "what comes before or after the layers" if layer is None else f"{layer}, layer {place},"
        what = f"a constant of {node.dtype}" if node.op == "constant" else f"{node.op} of {node.dtype}"
        return TypeError(f"{where} cannot be written as ONNX, because of {what}, {why}")

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node, named by its layer; the name of its result is the same."""
        name = self._unique(f"{self._place}.{operator}".lstrip("."))
        self.nodes.append(self.helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def cast(self, name: str, given: np.dtype, dtype: np.dtype) -> str:
        """The operand in another dtype."""
        return name if given == dtype else self.add("Cast", [name], to=self.helper.np_dtype_to_tensor_dtype(dtype))

    def name(self, node: Node) -> str:
        """The name of an operand: of a result, or of an initializer that this makes."""
        if node not in self._names:
            if node in self._known:
                self._names[node] = self._initializer(*self._known[node])
            else:  # one number everywhere, in a shape that hangs on the rows
                shape = self.shape(node.shape, self._twins[node].shape)
                self._names[node] = self.add("Expand", [self.scalar(node, node.dtype), shape])
        return self._names[node]

    def scalar(self, node: Node, dtype: np.dtype) -> str:
        """The one number of a constant, in no shape, which goes with any."""
        return self.number(node.options["value"], dtype)

    def number(self, value: float, dtype: np.dtype) -> str:
        """A number."""
        return self._initializer(np.asarray(value, dtype), "number")

    def integers(self, values: Any) -> str:
        """Axes, a length or a shape."""
        return self._initializer(np.asarray(values, INT64), "integers")

    def _initializer(self, value: np.ndarray, label: str) -> str:
        def make() -> str:
            name = self._unique(label)
            # no ascontiguousarray, which gives a number an axis
            self.initializers[name] = self.onnx.numpy_helper.from_array(np.asarray(value, order="C"), name)
            return name

        shared = label in ("number", "integers") and value.size <= FEW
        return self._once((value.dtype, value.shape, value.tobytes()), make) if shared else make()

    def _once(self, key: Any, make: Callable[[], str]) -> str:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _unique(self, name: str) -> str:
        found, number = name, 2
        while found in self._taken:
            found, number = f"{name}_{number}", number + 1
        self._taken.add(found)
        return found

    def output(self, node: Node, name: str) -> int:
        """Make `name` that of a result; the kind of its elements."""
        known = self.name(node)
        if known in self._ends or not any(known in made.output for made in self.nodes):
            self.nodes.append(self.helper.make_node("Identity", [known], [name], name=name))
        else:
            for made in self.nodes:
                for names in (made.input, made.output):
                    names[:] = [name if one == known else one for one in names]
            self._names = {one: name if found == known else found for one, found in self._names.items()}
        self._ends.add(name)
        return self.helper.np_dtype_to_tensor_dtype(node.dtype)

    def lookup(self, index: Node, values: np.ndarray, name: str) -> int:
        """Make `name` that of the `values`, numbers or text, at the indices; the kind of its elements."""
        label = self._unique(f"{name}.values")
        if values.dtype.kind in "UO":
            texts = [str(value).encode() for value in values]
            table = self.helper.make_tensor(label, self.onnx.TensorProto.STRING, values.shape, texts)
        else:
            table = self.onnx.numpy_helper.from_array(values, label)
        self.initializers[label] = table
        self.nodes.append(self.helper.make_node("Gather", [label, self.name(index)], [name], name=name, axis=0))
        self._ends.add(name)
        return table.data_type

    def prune(self) -> None:
        """Leave out nodes and numbers that no output needs: a formula may stand for the operations before it."""
        needed, kept = set(self._ends), []
        for made in reversed(self.nodes):
            if needed.intersection(made.output):
                needed.update(made.input)
                kept.append(made)
        self.nodes = kept[::-1]
        self.initializers = {name: value for name, value in self.initializers.items() if name in needed}

    def _fold(self, node: Node) -> None:
        """Compute what depends on the network's arrays alone."""
        if self.varies(node):
            return
        if node.op == "input":
            label = node.options["name"]
            if label in self._values:
                self._known[node] = self._values[label], label
        elif node.op == "constant":
            self._known[node] = constant(node), "number" if uniform(node) else "constant"
        elif node.op != "onnx" and node.args and all(arg in self._known for arg in node.args):
            args, labels = zip(*(self._known[arg] for arg in node.args), strict=True)
            if node.nbytes <= max(FOLDED, *(arg.nbytes for arg in args)):
                place, _ = self._owners(node)
                with np.errstate(all="ignore"):
                    value = np.asarray(apply(node, args, np), node.dtype)
                self._known[node] = value, labels[0] if len(args) == 1 else f"{place}.constant".lstrip(".")

    def gemm(self, node: Node) -> tuple[Node, str] | None:
        """The product, and the name of the bias, of a sum that is one Gemm."""
        if node not in self._gemms:
            return None
        product, bias, label = self._gemms[node]
        return product, self._initializer(bias, label)

    def _gemm(self, node: Node) -> tuple[Node, np.ndarray, str] | None:
        if node.op != "add" or node.dtype.kind != "f":
            return None
        for product, bias in (node.args, node.args[::-1]):
            lone = product.op == "matmul" and self._uses[product] == 1 and product not in self._known
            if lone and all(arg.ndim == 2 for arg in product.args) and bias in self._known:
                value, label = self._known[bias]
                if value.shape in (product.shape[-1:], (1, *product.shape[-1:])) and bias.dtype == product.dtype:
                    return product, value.reshape(-1), label
        return None
