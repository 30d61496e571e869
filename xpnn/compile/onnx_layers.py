"""Layers that ONNX has an operator for: one node stands for the operations that they are made of."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnn import activations, layers
from xpnn.compile.trace import Node

GELU = 20
"""The operator set in which Gelu came."""

_IN_BOTH = {
    activations.ReLU: "Relu",
    activations.Sigmoid: "Sigmoid",
    activations.Tanh: "Tanh",
    activations.Softmax: "Softmax",
    activations.LogSoftmax: "LogSoftmax",
}
"""In either precision, over the last axis where they look at several numbers."""
_IN_FLOAT32: dict[type, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    activations.LeakyReLU: lambda layer: ("LeakyRelu", {"alpha": layer.negative_slope}),
    activations.ELU: lambda layer: ("Elu", {"alpha": layer.alpha}),
    activations.SELU: lambda layer: ("Selu", {}),
    activations.Softplus: lambda layer: ("Softplus", {}),
    activations.Softsign: lambda layer: ("Softsign", {}),
    activations.HardSigmoid: lambda layer: ("HardSigmoid", {"alpha": 1.0 / 6.0, "beta": 0.5}),
    activations.HardSwish: lambda layer: ("HardSwish", {}),
    activations.Mish: lambda layer: ("Mish", {}),
    activations.GELU: lambda layer: ("Gelu", {"approximate": "none"}),
    activations.GELUTanh: lambda layer: ("Gelu", {"approximate": "tanh"}),
}
"""onnxruntime computes these in float32 alone, and their attributes are float32 in any model."""


def as_node(layer: Any, params: Any, x: Node, opset: int) -> Node | None:
    """The output of `layer` as one operator of ONNX (SiLU as two), or None where its own operations must be written."""
    kind = type(layer)
    if kind in _IN_BOTH:
        return operator(_IN_BOTH[kind], [x])
    if kind is activations.SiLU:
        return x.graph.xp.multiply(x, operator("Sigmoid", [x]))
    if x.dtype != np.float32:
        return None
    if kind is layers.PReLU:
        slope = params["slope"][..., None, :]
        own = np.broadcast_shapes(slope.shape, x.shape) == x.shape  # not so where the members' slopes see one x
        return operator("PRelu", [x, slope]) if own else None
    name, attributes = _IN_FLOAT32[kind](layer) if kind in _IN_FLOAT32 else ("", {})
    return None if not name or (name == "Gelu" and opset < GELU) else operator(name, [x], **attributes)


def operator(name: str, args: list[Node], **attributes: Any) -> Node:
    """An operator of ONNX by its name there; the result has the shape to which all operands broadcast."""
    shape = np.broadcast_shapes(*(arg.shape for arg in args))
    options = {"operator": name, "attributes": attributes}
    return args[0].graph.record("onnx", args, options, shape, args[0].dtype)
