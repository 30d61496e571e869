"""A network in words: its layers with their output shapes and parameters, as `print(net)` and `net.summary()` show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BYTES = {"float32": 4, "float64": 8}


class Summary(str):
    """Text that shows its line breaks where a console or a notebook shows a value."""

    def __repr__(self) -> str:
        return str(self)


def table(net: Any) -> str:
    """A line for each layer under one that says where the network lives."""
    shape, rows = net.layer.input_shape, []
    for index, layer in enumerate(net.layers):
        shape = layer.output_shape(shape)
        count = sum(entry.stop - entry.start for entry in net.layouts[0].entries if entry.path[0] == index)
        size = f"{count:,} parameters" if count else ""
        rows.append((str(index), str(layer), "-> " + " x ".join(map(str, shape)), size))
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"  {a:>{wide[0]}}  {b:<{wide[1]}}  {c:<{wide[2]}}  {d:>{wide[3]}}".rstrip() for a, b, c, d in rows]
    who = f"seed {net.seed}" if net.members is None else f"{net.members} members"
    each = "" if net.members is None else " a member"
    head = f"Network on {net.backend.label}, {net.backend.dtype}, {who}"
    return "\n".join([head, *lines, f"{net.n_params:,} parameters{each}"])


def summary(net: Any, costs: Sequence[str]) -> Summary:
    """The table, the memory that the numbers take, what they cost, and how far training has come."""
    learned, state = (layout.size * BYTES[net.backend.dtype] * (net.members or 1) for layout in net.layouts)
    lines = [table(net), f"{learned:,} bytes of parameters, {state:,} of layer state"]
    made = net.updates
    made = f"{made.min()} to {made.max()}" if getattr(made, "ndim", 0) else made  # members may have made unequally many
    done = f"trained for {net.epoch} epochs, {made} updates" if made else "not trained"
    return Summary("\n".join([*lines, *costs, done]))
