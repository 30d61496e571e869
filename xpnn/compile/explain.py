"""A compiled step in words: what it computes, in how much memory, at what cost, and the program itself."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from xpnn.backend import Backend, resolve
from xpnn.compile.cost import Cost, cost
from xpnn.compile.namespace import ELEMENTWISE
from xpnn.compile.steps import Steps
from xpnn.compile.traced import Traced
from xpnn.inputs import Data, Shapes
from xpnn.program import StepNumbers
from xpnn.progress import START, Carry
from xpnn.summary import Summary

Array = Any


def traced_step(steps: Steps, carry: Carry, numbers: StepNumbers, shapes: Shapes, rows: int) -> Traced:
    """The program of a training step on a batch of so many rows, for NumPy where the backend's own are not traced."""
    where = steps.backend if steps.backend.name in ("numpy", "cupy") else resolve("numpy", steps.backend.dtype)
    batch = example(steps.program.loss, shapes, rows, where)
    trees = {"carry": carry, "data": None, "numbers": numbers, "rows": None, "batch": batch}
    return Steps(steps.program, steps.rank, where).trace("epoch", trees)


def example(loss: Any, shapes: Shapes, rows: int, backend: Backend) -> Data:
    """A batch of the shape and dtypes that the network and the loss take; only that is looked at."""
    xp, width = backend.xp, shapes.output[-1]
    x = xp.zeros((rows, *shapes.sample), dtype=backend.float)
    if getattr(loss, "targets", "float") == "classes":
        return Data(x, xp.zeros((rows,), dtype=xp.int32), None)
    width = loss.target_width(width) if hasattr(loss, "target_width") else width
    return Data(x, xp.zeros((rows, width), dtype=backend.float), None)


def explain(steps: Steps, carry: Carry, numbers: StepNumbers, shapes: Shapes, rows: int) -> Summary:
    """The whole text of `Network.explain`."""
    traced = traced_step(steps, carry, numbers, shapes, rows)
    plan, found = traced.plan, cost(traced.plan)
    title = f"A training step on {rows} rows, {steps.program.loss} and {steps.program.optimizer}"
    kinds = Counter({"matmul": "products"}.get(node.op, node.op) for node in plan.steps if node.op not in ELEMENTWISE)
    kinds["elementwise"] = len(plan.steps) - kinds.total()
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    wide = len(f"{max(plan.blocks, default=0):,}")
    return Summary(
        "\n".join(
            [
                title,
                f"  operations  {len(plan.steps)}: {counts}; {len(plan.views)} views cost nothing",
                f"  cost        {amount(found)}",
                f"  memory      {plan.memory:,} bytes beside parameters and optimizer state",
                *(f"    block {i:<4} {size:>{wide},} bytes" for i, size in enumerate(plan.blocks)),
                "",
                traced.program.source.rstrip(),
            ]
        )
    )


class Costs(NamedTuple):
    """What a network costs, each part None where that cannot be traced: layers that look at numbers, say."""

    layers: list[Cost | None]  # of each at inference
    predict: Cost | None
    train: Cost | None
    steps: int  # in which a training step is computed on this backend
    fused: list[list[str]]  # those of them that are several operations at once, by their names


def costs(net: Any, rows: int = 32) -> Costs:
    """What `net` costs on so many rows; a member of a stack as much as a lone network."""
    host = np.zeros((), net.backend.dtype)  # of arrays only shape and dtype are looked at
    tree, shapes = net.params, [net.shapes.sample]
    for layer in net.layers:
        shapes.append(layer.output_shape(shapes[-1]))
    parts = zip(net.layers, tree, shapes[:-1], strict=True)
    each = [_forward_cost(net, layer, params, np.broadcast_to(host, (rows, *shape))) for layer, params, shape in parts]
    whole = _forward_cost(net, net.layer, tree, np.broadcast_to(host, (rows, *shapes[0])))
    try:
        loss, optimizer = net._loss_of(None), net._optimizer_of(None)
        steps, numbers = net._prepare(loss, optimizer)
        now = net.progress.started(loss, optimizer, xp=net.backend.xp)
        plan = traced_step(steps, now.carry, numbers.epoch(START)[0], net.shapes, rows).plan
    except Exception:  # a layer that looks at numbers, or a network without parameters
        return Costs(each, whole, None, 0, [])
    fused = [[node.op for node in unit.nodes] for unit in plan.units if len(unit.nodes) > 1]
    return Costs(each, whole, cost(plan), len(plan.units), fused)


def _forward_cost(net: Any, layer: Any, params: Any, x: Any) -> Cost | None:
    where = resolve("numpy", net.backend.dtype)

    def forward(params: Any, x: Array, *, xp: Any) -> dict[str, Any]:
        return {"y": layer.forward(params, x, xp=xp)[0]}

    try:
        return cost(Traced(forward, {"params": params, "x": x}, lambda name: "fresh", where, exact=True).plan)
    except Exception:  # a layer that looks at numbers
        return None


def amount(found: Cost) -> str:
    """A cost in words.

    >>> amount(Cost(2_000_000, 1_500_000, 3_000))
    '2 MFLOP, 75 % of it in matrix products; 3 kB read and written'
    """
    share = round(100 * found.product_flops / max(found.flops, 1))
    return f"{unit(found.flops)}FLOP, {share} % of it in matrix products; {unit(found.bytes)}B read and written"


def unit(number: float) -> str:
    """A number to three digits with the letter of its unit."""
    for letter in ("", "k", "M", "G"):
        if number < 1000 or letter == "G":
            break
        number /= 1000
    return f"{number:.3g} {letter}"
