"""A network in words: its layers with their output shapes and parameters, as `print(net)` and `net.summary()` show."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

BYTES = {"float32": 4, "float64": 8}
SHOWN = 3  # groups of fused operations that are named


class Summary(str):
    """Text that shows its line breaks where a console or a notebook shows a value."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self)}</pre>"


def rows_of(net: Any) -> list[list[str]]:
    """Of each layer its number, itself, the shape of its output and how many parameters it has."""
    shape, rows = net.layer.input_shape, []
    for index, layer in enumerate(net.layers):
        shape = layer.output_shape(shape)
        count = sum(entry.stop - entry.start for entry in net.layouts[0].entries if entry.path[0] == index)
        rows.append([str(index), str(layer), " x ".join(map(str, shape)), f"{count:,}" if count else ""])
    return rows


def head_of(net: Any) -> str:
    """Where the network lives, and which seed it has."""
    who = f"seed {net.seed}" if net.members is None else f"{net.members} members"
    return f"Network on {net.backend.label}, {net.backend.dtype}, {who}"


def total_of(net: Any) -> str:
    """How many parameters there are."""
    return f"{net.n_params:,} parameters{'' if net.members is None else ' a member'}"


def table(net: Any, more: Sequence[str] = ()) -> str:
    """A line for each layer, with more at its end where that is given, under one that says where the network lives."""
    rows = [[a, b, f"-> {c}", d and f"{d} parameters"] for a, b, c, d in rows_of(net)]
    rows = [[*row, text] for row, text in zip(rows, more, strict=True)] if more else rows
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = (0, *range(3, len(wide)))
    lines = [
        "  ".join(text.rjust(width) if i in right else text.ljust(width) for i, (text, width) in enumerate(cells))
        for cells in (list(zip(row, wide, strict=True)) for row in rows)
    ]
    return "\n".join([head_of(net), *(f"  {line}".rstrip() for line in lines), total_of(net)])


def summary(net: Any, rows: int, found: Any, amount: Any, unit: Any) -> Summary:
    """The table, the memory that the numbers take, what they cost on so many rows, and how far training has come.

    `found` are the costs, which `amount` and `unit` put into words.
    """
    learned, state = (layout.size * BYTES[net.backend.dtype] * (net.members or 1) for layout in net.layouts)
    each = ["" if one is None else f"{unit(one.flops)}FLOP" for one in found.layers]
    lines = [table(net, each), f"{learned:,} bytes of parameters, {state:,} of layer state"]
    for what, cost in (("predict", found.predict), ("train on", found.train)):
        lines += [] if cost is None else [f"{rows} rows to {what}: {amount(cost)}"]
    lines += [fused_of(net, found)] if found.train is not None else []
    made = net.updates
    made = f"{made.min()} to {made.max()}" if getattr(made, "ndim", 0) else made  # members may have made unequally many
    done = f"trained for {net.epoch} epochs, {made} updates" if made else "not trained"
    return Summary("\n".join([*lines, done]))


def fused_of(net: Any, found: Any) -> str:
    """Which operations of a training step are computed in one go."""
    if net.backend.name not in ("numpy", "cupy"):
        return "a step is jitted by XLA" if net.backend.name == "jax" else "a step runs as the layers are written"
    if not found.fused:
        return f"a step is {found.steps} operations, each of its own"
    groups = [" + ".join(_counted(group)) for group in found.fused]
    rest = f" and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
    count = sum(map(len, found.fused))
    told = f"of which {len(groups)} fuse {count} operations: {'; '.join(groups[:SHOWN])}{rest}"
    return f"a step is {found.steps} calls, {told}"


def _counted(names: Sequence[str]) -> list[str]:
    return [name if count == 1 else f"{count} {name}" for name, count in Counter(names).items()]
