"""Tracing: run a pure function on arrays that hold no numbers, and keep the operations that it asks for.

A `Node` is such an array: an operation of the array API standard by name, the nodes that it takes, its options, and
the shape and the dtype of its result by the standard's rules. A `Graph` holds them in the order in which they were
asked for, each once: the same operation on the same nodes is the same node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class Untraceable(TypeError, AttributeError):
    """The function asks for something that arrays without numbers cannot give, or for an unknown operation."""


class Node:
    """An array of a traced function: what computes it, its shape and its dtype."""

    __slots__ = ("args", "dtype", "graph", "op", "options", "shape")
    device = None

    def __init__(self, graph: Graph, op: str, args: tuple[Node, ...], options: dict[str, Any], shape: Any, dtype: Any):
        self.graph, self.op, self.args, self.options = graph, op, args, options
        self.shape, self.dtype = shape, dtype

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes these take."""
        return self.size * self.dtype.itemsize

    @property
    def hollow(self) -> np.ndarray:
        """A host array of the same shape and dtype that takes no memory."""
        return np.broadcast_to(np.empty((), self.dtype), self.shape)

    def __repr__(self) -> str:
        return f"{self.op} {self.shape} {self.dtype}"

    T = property(lambda self: self.graph.xp.permute_dims(self, (1, 0)), doc="The matrix transposed.")
    mT = property(lambda self: self.graph.xp.matrix_transpose(self), doc="Every matrix of a stack transposed.")

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.graph.xp

    def __getitem__(self, key: Any) -> Node:
        keys = key if isinstance(key, tuple) else (key,)
        keys = tuple(int(one) if isinstance(one, np.integer) else one for one in keys)
        if not all(one is None or one is Ellipsis or type(one) in (int, slice) for one in keys):
            raise Untraceable("an index that is an array: xp.take(x, indices, axis=) can be compiled")
        keys = keys if Ellipsis in keys else (*keys, Ellipsis)  # so that NumPy gives an array and no number
        return self.graph.record("index", [self], {"key": keys}, self.hollow[keys].shape, self.dtype)

    def __iter__(self):
        return (self[i, ...] for i in range(self.shape[0]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"{name} of an array: the functions of xp can be compiled, and no methods")

    def __array_ufunc__(self, function: Any, *args: Any, **options: Any) -> Any:
        raise Untraceable(f"numpy.{function.__name__} of an array: the functions of xp can be compiled")

    __array_function__ = __array_ufunc__


class Graph:
    """The operations of one traced function, each once, in an order in which they can be computed."""

    def __init__(self) -> None:
        from xpnn.compile.namespace import Namespace

        self.xp: Any = Namespace(self)
        self.nodes: list[Node] = []
        self._known: dict[Any, Node] = {}

    def input(self, name: str, shape: Sequence[int], dtype: Any) -> Node:
        """An array that the function is given."""
        return self.record("input", (), {"name": name}, tuple(shape), np.dtype(dtype))

    def constant(self, value: Any, dtype: Any, shape: Sequence[int] = ()) -> Node:
        """A host array, or one number that fills `shape`."""
        return self.record("constant", (), {"value": value}, tuple(shape), np.dtype(dtype))

    def record(self, op: str, args: Sequence[Any], options: dict[str, Any], shape: Any, dtype: Any) -> Node:
        """The node of an operation; the options are those of the standard by name."""
        for arg in args:
            if not isinstance(arg, Node):
                raise Untraceable(f"{op} of {type(arg).__module__}.{type(arg).__name__}: xp.asarray makes it an array")
            if arg.graph is not self:
                raise Untraceable(f"{op} of an array of another call: the functions of a step keep none")
        told = [value.tobytes() if isinstance(value, np.ndarray) else repr(value) for value in options.values()]
        key = (op, *map(id, args), *options, *told, shape, dtype)
        node = self._known.get(key)
        if node is None:
            node = self._known[key] = Node(self, op, tuple(args), options, shape, dtype)
            self.nodes.append(node)
        return node

    def close(self) -> None:
        """Let go of the nodes: they and the graph hold one another, which only a garbage collection would end."""
        self.nodes, self._known, self.xp = [], {}, None


_UNARY = {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert"}
_BINARY = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow", "matmul": "matmul"}
_BINARY |= {"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "floordiv": "floor_divide"}
_BINARY |= {"mod": "remainder", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift"}
_COMPARED = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}


def _operator(function: str, reflected: bool = False) -> Callable[..., Node]:
    return lambda self, *other: getattr(self.graph.xp, function)(*((*other, self) if reflected else (self, *other)))


def _refusal(asked: str, meaning: str) -> Callable[..., Any]:
    def refuse(self: Node, *args: Any, **options: Any) -> Any:
        raise Untraceable(f"{asked} of an array: {meaning}")

    return refuse


for _name, _function in (_UNARY | _BINARY | _COMPARED).items():
    setattr(Node, f"__{_name}__", _operator(_function))
for _name, _function in _BINARY.items():
    setattr(Node, f"__r{_name}__", _operator(_function, reflected=True))
for _name in ["bool", "float", "int", "index", "complex", "array"]:
    setattr(Node, f"__{_name}__", _refusal(f"{_name}()", "which operations a step has must not hang on its numbers"))
for _name in ["setitem", "delitem"]:
    setattr(Node, f"__{_name}__", _refusal("a part written into", "the functions of a step are pure"))
