"""The network as textbooks draw it: its neurons and connections."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from xpnn.backend import to_host
from xpnn.layers import Sequential
from xpnn.plotting.base import axes, ink, lone, paper, poles

NEURONS, EACH, LINES = 24, 12, 600
"""How many neurons of a layer are drawn, how many of a larger one, and how many connections between two layers."""

HALF = NEURONS / 4
"""The height of the highest neuron, and below the axis that of the lowest."""


class Column(NamedTuple):
    """Neurons above each other: how many, what is written below them, and the weights from the column before."""

    count: int
    words: list[str]
    weight: np.ndarray | None


def plot_network(net: Any, ax: Any = None) -> Any:
    """The network as in textbooks: a circle for each neuron, a line for each weight, from left to right.

    Lines are blue where the weight is positive and orange, dashed, where it is negative, the wider the larger it is
    beside the others of its layer. Layers without a weight matrix (activations, normalization, dropout) are named under
    the neurons that they act on. Of more than 24 neurons twelve are drawn, with dots between; above that many
    connections only the strongest are. The pixels of an image are so many inputs.

    >>> import xpnn
    >>> ax = plot_network(xpnn.Network(xpnn.mlp([2, 3, 1], output="sigmoid")))
    >>> [text.get_text() for text in ax.texts][:3]
    ['2\\ninput', '3\\nDense\\nReLU', '1\\nDense\\nSigmoid']
    """
    columns = _columns(lone(net))
    depth = max(len(column.words) for column in columns)
    wide = max(len(word) for column in columns for word in column.words)
    ax = axes(ax, (max(5.0, max(1.5, 0.09 * wide) * len(columns)), 3.6 + 0.17 * depth))
    places = [_places(column.count) for column in columns]
    for x, column in enumerate(columns[1:], 1):
        if column.weight is not None:
            _connect(column.weight, x, places[x - 1], places[x], ax)
    for x, (column, shown) in enumerate(zip(columns, places, strict=True)):
        ax.scatter([x] * len(shown), list(shown.values()), s=90, color=paper(), edgecolors=ink(), linewidths=1.1,
                   zorder=3)  # fmt: skip
        if len(shown) < column.count:
            ax.plot([x] * 3, [-0.5, 0.0, 0.5], ".", color=ink(), markersize=3, zorder=3)
        ax.text(x, -HALF - 1.0, "\n".join([f"{column.count:,}", *column.words]), ha="center", va="top",
                fontsize="small")  # fmt: skip
    negative, positive = poles()
    for name, colour, style in (("positive", positive, "-"), ("negative", negative, "--")):
        ax.plot([], [], style, color=colour, label=f"{name} weight")
    ax.set(xlim=(-0.6, len(columns) - 0.4), ylim=(-HALF - 2.2 - 0.75 * depth, HALF + 2.0))
    ax.legend(frameon=False, loc="upper center", ncols=2, fontsize="small")
    ax.set_axis_off()
    return ax


def _columns(net: Any) -> list[Column]:
    """What is drawn side by side: the inputs, and each layer that changes their number or has a weight matrix."""
    shape = net.shapes.sample
    pixels = [] if len(shape) == 1 else [" x ".join(map(str, shape))]
    columns = [Column(math.prod(shape), [*pixels, "input"], None)]
    for layer, params in _inside(net.layers, net.params):
        shape, before = layer.output_shape(shape), columns[-1].count
        count, weight = math.prod(shape), params.get("weight") if isinstance(params, dict) else None
        matrix = weight is not None and weight.shape == (before, count)
        if matrix or count != before:
            columns.append(Column(count, [type(layer).__name__], to_host(weight) if matrix else None))
        else:
            columns[-1].words.append(type(layer).__name__)
    return columns


def _inside(layers: Any, params: Any) -> Iterator[tuple[Any, Any]]:
    """Each layer with its parameters, those of a Sequential one by one."""
    for layer, own in zip(layers, params, strict=True):
        if type(layer) is Sequential:
            yield from _inside(layer.layers, own)
        else:
            yield layer, own


def _places(count: int) -> dict[int, float]:
    """The height of each neuron that is drawn, by its number, the first on top."""
    if count <= NEURONS:
        step = min(1.0, 2.0 * HALF / max(count - 1, 1))
        return {k: step * ((count - 1) / 2 - k) for k in range(count)}
    step = 0.8
    top = {k: HALF - step * k for k in range(EACH // 2)}
    return top | {count - 1 - k: -HALF + step * k for k in range(EACH // 2)}


def _connect(weight: np.ndarray, x: int, before: dict[int, float], after: dict[int, float], ax: Any) -> None:
    from matplotlib.collections import LineCollection

    pairs = [(i, j) for i in before for j in after if np.isfinite(weight[i, j])]
    pairs = sorted(pairs, key=lambda pair: -abs(weight[pair]))[:LINES]
    negative, positive = poles()
    largest = max((abs(float(weight[pair])) for pair in pairs), default=0.0)
    for sign, colour, style in ((1.0, positive, "-"), (-1.0, negative, (0, (3, 1.5)))):
        chosen = [pair for pair in pairs if sign * weight[pair] > 0.0]
        if not chosen:
            continue
        lines = [((x - 1, before[i]), (x, after[j])) for i, j in chosen]
        share = np.asarray([abs(float(weight[pair])) / largest for pair in chosen])
        ax.add_collection(
            LineCollection(
                lines, colors=colour, linestyles=style, linewidths=0.4 + 1.6 * share, alpha=0.35 + 0.6 * share, zorder=1
            )
        )
