"""A network as an ONNX model: the forward pass is traced, and each of its operations written as a node of ONNX.

The batch may have any number of rows, so the pass is traced with two numbers of them: what differs between the two
traces hangs on the rows. Shapes that do are computed in the graph; numbers that do cannot be written.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn._version import __version__
from xpnn.compile.onnx_layers import as_node
from xpnn.compile.onnx_nodes import write
from xpnn.compile.onnx_writer import Writer
from xpnn.compile.simplify import live
from xpnn.compile.trace import Graph, Node
from xpnn.layers import Residual, Sequential

OPSET = 20
"""The operator set of ONNX that is written by default, of 2023: onnxruntime reads it from its version 1.17 on."""
OLDEST = 18
"""The operator set in which reductions got the form that is written."""
BEYOND = 1009
"""How many rows more than the widest layer has features a trace has, lest they be mistaken for features."""
LARGEST = (1 << 31) - 1
"""How many bytes a protocol buffer, which a model is, can have."""


class Labels(NamedTuple):
    """An output that is not computed but looked up: `values` (classes,), numbers or text, at `index`."""

    index: Node
    values: np.ndarray


class Trace(NamedTuple):
    """What a pass of so many rows computes, in order, and which layer asked for each operation."""

    rows: int
    outputs: dict[str, Node | Labels]
    nodes: list[Node]
    owners: dict[Node, tuple[str, Any]]


def require() -> Any:
    """The package onnx; raises what to install where it is missing."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError('export_onnx needs onnx: pip install "xpnn[onnx]"') from error
    return onnx


def content(
    net: Any,
    *,
    name: str = "x",
    before: Callable[..., Any] = lambda x, *, xp: x,
    after: Callable[..., dict[str, Any]] = lambda y, *, xp: {"y": y},
    members: Sequence[int] | None = None,
    opset: int = OPSET,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """The bytes of an ONNX model that computes `after(net(before(x)))`.

    Parameters
    ----------
    name : of the input.
    before, after : functions in array API operations, `before(x, xp=)` and `after(y, xp=) -> outputs by name`; of a
        stack y is (members, n, outputs).
    members : of a stack the numbers of those that are written; None is all.
    opset : number of ONNX's operator set.
    metadata : by name, text, or what JSON has.

    Raises
    ------
    TypeError for an operation that ONNX cannot compute, or for any number of rows, naming its layer; ImportError
    without onnx; ValueError for an operator set that is not written, or a model of 2 GB and more.
    """
    onnx = require()
    newest = onnx.defs.onnx_opset_version()
    if isinstance(opset, bool) or not isinstance(opset, int) or not OLDEST <= opset <= newest:
        raise ValueError(f"opset must be from {OLDEST} to {newest}, the installed onnx's newest, got {opset!r}")
    values = _values(net, members)
    if sum(value.nbytes for value in values.values()) > LARGEST:
        raise ValueError("the parameters take 2 GB and more, which no file of ONNX alone can hold")
    wide = max([0, *net.shapes.sample, *net.shapes.output, *(n for value in values.values() for n in value.shape)])
    traces = [_trace(net, values, name, before, after, opset, rows) for rows in (wide + BEYOND, wide + BEYOND + 2)]
    writer = Writer(onnx, traces, values)
    writer.write(write)
    graph = _graph(writer, traces[0])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    model.producer_name, model.producer_version = "xpnn", __version__
    texts = {key: text if isinstance(text, str) else json.dumps(text) for key, text in (metadata or {}).items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    for trace in traces:
        trace.nodes[0].graph.close()
    return model.SerializeToString()


def _values(net: Any, members: Sequence[int] | None) -> dict[str, np.ndarray]:
    """The network's arrays on the host, by names such as "0.weight"."""
    with net.backend.current():
        tree = net._tree(net.progress.shown)
        arrays = {e.label: net.backend.to_host(array) for layout in net.layouts for e, array in layout.pairs(tree)}
    return arrays if members is None else {label: array[list(members)] for label, array in arrays.items()}


def _trace(net: Any, values: dict[str, np.ndarray], name: str, before: Any, after: Any, opset: int, rows: int) -> Trace:
    """The pass on an x of so many rows; the network's arrays are inputs by their names."""
    graph, owners = Graph(), dict[Node, tuple[str, Any]]()

    def inputs(tree: Any, path: tuple[int, ...] = ()) -> Any:
        if isinstance(tree, list):
            return [inputs(child, (*path, index)) for index, child in enumerate(tree)]
        labels = {key: ".".join([*map(str, path), key]) for key in tree}
        return {key: graph.input(label, values[label].shape, values[label].dtype) for key, label in labels.items()}

    def forward(layer: Any, params: Any, x: Node, path: tuple[int, ...]) -> Node:
        if type(layer) in (Sequential, Residual):  # no others, whose own forward may be another
            y = x
            for index, child in enumerate(layer.layers):
                y = forward(child, params[index], y, (*path, index))
            return graph.xp.add(x, y) if type(layer) is Residual else y
        known, place = len(graph.nodes), ".".join(map(str, path))
        try:
            y = as_node(layer, params, x, opset)
            y = graph.xp.asarray(layer.forward(params, x, xp=graph.xp)[0]) if y is None else y
        except Exception as error:
            raise TypeError(f"{layer}, layer {place}, cannot be written as ONNX, because of {error}") from error
        owners.update((node, (place, layer)) for node in graph.nodes[known:])
        return y

    x = graph.input(name, (rows, *net.shapes.sample), np.dtype(net.backend.dtype))
    y = forward(net.layer, inputs(net._tree(net.progress.shown)), before(x, xp=graph.xp), ())
    outputs = after(y, xp=graph.xp)
    ends = [found.index if isinstance(found, Labels) else found for found in outputs.values()]
    return Trace(rows, outputs, live([x, *ends]), owners)


def _graph(writer: Writer, trace: Trace) -> Any:
    """The graph of what has been written."""
    helper, x, outputs = writer.helper, trace.nodes[0], []
    for key, found in trace.outputs.items():
        node = found.index if isinstance(found, Labels) else found
        kind = writer.lookup(node, found.values, key) if isinstance(found, Labels) else writer.output(node, key)
        outputs.append(helper.make_tensor_value_info(key, kind, writer.dims(node)))
    writer.prune()
    given = helper.make_tensor_value_info(writer.batch, helper.np_dtype_to_tensor_dtype(x.dtype), writer.dims(x))
    return helper.make_graph(writer.nodes, "xpnn", [given], outputs, list(writer.initializers.values()))
