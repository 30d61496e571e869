"""What a program for a GPU launches, in which order: kernels of our own, products, and products with what follows them.

All of it is found without CuPy. A product with what follows it (an "epilogue" of cuBLASLt's) is one launch in the place
of two: a bias and ReLU are applied to the numbers of a product before they are first written, and the sum that is a
bias's gradient is taken of numbers that the product for the weight's gradient reads. Source: NVIDIA, *cuBLAS*, section
cublasLtEpilogue_t.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from xpnn.compile.cuda import Cluster, Reduction, cluster_source, reduction_source
from xpnn.compile.namespace import ELEMENTWISE, REDUCTIONS
from xpnn.compile.plan import Plan, Unit
from xpnn.compile.rows import Rows, rows_source
from xpnn.compile.simplify import uniform
from xpnn.compile.trace import Node


class Joined(NamedTuple):
    """A product with what follows it, where cuBLASLt can do both in one launch; else its two parts are launched."""

    epilogue: str  # "bias", "relu_bias" or "bias_gradient"
    first: Step
    second: Step
    out: Node  # the matrix that is written
    vector: Node  # the bias that is read, or its gradient, which is written

    @property
    def name(self) -> str:
        """What it is called in the text of a program."""
        return f"matmul_{self.epilogue}"


class Step(NamedTuple):
    """What is launched at once."""

    node: Node  # the last that it computes
    kernel: Cluster | Rows | Reduction | Joined | None
    reads: tuple[Node, ...]
    writes: tuple[Node, ...]


def steps(plan: Plan, epilogues: bool = False) -> list[Step]:
    """The kernels and calls of a plan in their order; with `epilogues` products are joined with what follows them.

    >>> from xpnn.compile.trace import Graph
    >>> graph = Graph()
    >>> x, w = graph.input("x", (8, 3), "float32"), graph.input("w", (3, 2), "float32")
    >>> plan = Plan({"y": graph.xp.tanh(x @ w) * 2.0}, {"y": "fresh"}, products=False, cluster=True)
    >>> [step.node.op if step.kernel is None else step.kernel.name for step in steps(plan)]
    ['matmul', 'xpnn_tanh_multiply_679fc85b']
    """
    found = [_step(unit) for unit in plan.units]
    return _joined(found, plan) if epilogues else found


def _step(unit: Unit) -> Step:
    node = unit.nodes[-1]
    if len(unit.nodes) > 1 and any(one.op in REDUCTIONS for one in unit.nodes):
        rows = rows_source(unit)
        return Step(node, rows, rows.reads, rows.writes)
    if node.op in ELEMENTWISE:
        cluster = cluster_source(unit)
        return Step(node, cluster, cluster.reads, cluster.writes)
    return Step(node, reduction_source(node) if node.op in REDUCTIONS else None, node.args, unit.writes)


def parts(step: Step) -> tuple[Step, ...]:
    """What is launched where a joined step cannot be; else the step itself."""
    return (step.kernel.first, step.kernel.second) if isinstance(step.kernel, Joined) else (step,)


def _joined(made: list[Step], plan: Plan) -> list[Step]:
    """The steps with each product joined to the one beside it, where that is an epilogue of it.

    None is moved past a third: what lies between two launches may write where the first has read.
    """
    reads = Counter(node for step in made for node in set(step.reads))
    reads.update(plan.root(node) for node in (*plan.outputs.values(), *plan.views))
    found: list[Step] = []
    for step in made:
        joined = (_with_bias(found[-1], step, reads) or _with_sum(found[-1], step)) if found else None
        found[-1:] = [joined] if joined else [*found[-1:], step]
    return found


def _with_bias(first: Step, second: Step, reads: Counter[Node]) -> Step | None:
    """A product whose numbers only this cluster reads, which adds a row to them and may take the positive part."""
    product, last = first.node, second.node
    if not _is_product(first) or not isinstance(second.kernel, Cluster) or reads[product] != 1:
        return None
    total, epilogue = last, "bias"
    if last.op == "maximum" and uniform(last.args[1]) and last.args[1].options["value"] == 0:
        total, epilogue = last.args[0], "relu_bias"
    if total.op != "add" or set(second.writes) != {last}:
        return None
    bias = total.args[total.args[0] is product]
    if bias is product or set(second.reads) != {product, bias} or bias.dtype != product.dtype:
        return None
    lead = bias.shape[:-2]
    row = bias.shape[-1:] == product.shape[-1:] and bias.shape[-2:-1] in ((), (1,))
    if not row or lead not in (product.shape[:-2], (1,) * len(lead)):
        return None
    both = Joined(epilogue, first, second, last, bias)
    return Step(last, both, (*first.reads, bias), (last,))


def _with_sum(first: Step, second: Step) -> Step | None:
    """A product of matrices, and beside it the sum over the rows of its second one."""
    product, other = (first, second) if _is_product(first) else (second, first)
    if not _is_product(product) or not isinstance(other.kernel, Reduction):
        return None
    summed, x = other.node, other.node.args[0]
    rows = summed.op == "sum" and x.ndim == 2 and summed.options["axis"] in (0, -2, (0,), (-2,))
    if not rows or product.node.ndim != 2 or product.reads[1] is not x or summed.dtype != product.node.dtype:
        return None
    both = Joined("bias_gradient", first, second, product.node, summed)
    return Step(second.node, both, product.reads, (product.node, summed))


def _is_product(step: Step) -> bool:
    return step.kernel is None and step.node.op == "matmul"


def source(plan: Plan, epilogues: bool = False) -> str:
    """The kernels of a plan, and what is called in which order, for people to read."""
    names = {node: name for name, node in plan.inputs.items()}
    names |= {node: f"c{i}" for i, node in enumerate(plan.constants)}
    names |= {node: f"v{i}" for i, node in enumerate(plan.order)}
    made = steps(plan, epilogues)
    first = {step.writes[0]: step for step in made}  # where in the order it is shown
    lines = []
    for node in plan.order:
        if node in plan.views:
            lines.append(f"{names[node]} = {node.op}({names[node.args[0]]})  # {node.shape}, no copy")
        elif node in first:
            step = first[node]
            results, args = (", ".join(names[one] for one in nodes) for nodes in (step.writes, step.reads))
            called = node.op if step.kernel is None else step.kernel.name
            lines.append(f"{results} = {called}({args})  # {node.shape} {node.dtype}")
    kernels = dict.fromkeys(str(one.kernel) for step in made for one in parts(step) if one.kernel is not None)
    return "\n\n".join([*kernels, "\n".join(lines)]) + "\n"
