"""The network itself: its neurons and connections as in textbooks, and its weights as pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnn.backend import to_host
from xpnn.plotting.base import COLOURS, axes, ink, paper

NEURONS, EACH, LINES = 24, 12, 600
"""How many neurons of a layer are drawn, how many of a larger one, and how many connections between two layers."""


def plot_network(net: Any, ax: Any = None) -> Any:
    """The network as in textbooks: a circle for each neuron, a line for each weight, from left to right.

    Lines are blue where the weight is positive and orange, dashed, where it is negative, the wider the larger it is
    beside the others of its layer. Layers without a weight matrix (activations, normalization, dropout) are named under
    the neurons that they act on. Of more than 24 neurons twelve are drawn, with dots between; above that many
    connections only the strongest are.

    >>> import xpnn
    >>> ax = plot_network(xpnn.Network(xpnn.mlp([2, 3, 1], output="sigmoid")))
    >>> [text.get_text() for text in ax.texts][:3]
    ['2\\ninput', '3\\nDense\\nReLU', '1\\nDense\\nSigmoid']
    """
    if net.members is not None:
        raise TypeError("a stack is many networks: take one of them, net[k]")
    if len(net.shapes.sample) != 1:
        raise ValueError(f"samples of one axis can be drawn, got shape {net.shapes.sample}")
    columns: list[tuple[int, list[str], Any]] = [(net.shapes.sample[0], ["input"], None)]
    shape = net.shapes.sample
    for layer, params in zip(net.layers, net.params, strict=True):
        shape, name = layer.output_shape(shape), type(layer).__name__
        weight = params.get("weight") if isinstance(params, dict) else None
        matrix = weight is not None and weight.ndim == 2 and weight.shape == (columns[-1][0], shape[0])
        if matrix or shape[0] != columns[-1][0]:
            columns.append((shape[0], [name], to_host(weight) if matrix else None))
        else:
            columns[-1][1].append(name)
    ax = axes(ax, (max(5.0, 1.7 * len(columns)), 4.5))
    places = [_places(count) for count, _, _ in columns]
    for x, (_, _, weight) in enumerate(columns):
        if weight is not None:
            _connect(weight, x, places[x - 1], places[x], ax)
    for x, ((count, names, _), shown) in enumerate(zip(columns, places, strict=True)):
        ax.scatter(
            [x] * len(shown), list(shown.values()), s=90, color=paper(), edgecolors=ink(), linewidths=1.1, zorder=3
        )
        if len(shown) < count:
            ax.plot([x] * 3, [-0.5, 0.0, 0.5], ".", color=ink(), markersize=3, zorder=3)
        ax.text(x, -NEURONS / 4 - 1.2, "\n".join([f"{count:,}", *names]), ha="center", va="top", fontsize="small")
    depth = max(len(names) for _, names, _ in columns)
    ax.set(xlim=(-0.6, len(columns) - 0.4), ylim=(-NEURONS / 4 - 2.4 - 0.9 * depth, NEURONS / 4 + 1.6))
    signs = (("positive", COLOURS[0], "-"), ("negative", COLOURS[1], "--"))
    for name, colour, style in signs:
        ax.plot([], [], style, color=colour, label=f"{name} weight")
    ax.legend(frameon=False, loc="upper center", ncols=2, fontsize="small")
    ax.set_axis_off()
    return ax


def _places(count: int) -> dict[int, float]:
    """The height of each neuron that is drawn, by its number, the first on top."""
    if count <= NEURONS:
        step = min(1.0, (NEURONS / 2) / max(count - 1, 1))
        return {k: step * ((count - 1) / 2 - k) for k in range(count)}
    half, step = EACH // 2, 0.8
    top = {k: NEURONS / 4 - step * k for k in range(half)}
    return top | {count - 1 - k: -NEURONS / 4 + step * k for k in range(half)}


def _connect(weight: np.ndarray, x: int, before: dict[int, float], after: dict[int, float], ax: Any) -> None:
    from matplotlib.collections import LineCollection

    pairs = [(i, j) for i in before for j in after]
    pairs = sorted(pairs, key=lambda pair: -abs(weight[pair]))[:LINES]
    largest = max((abs(float(weight[pair])) for pair in pairs), default=1.0) or 1.0
    for sign, colour, style in ((1.0, COLOURS[0], "-"), (-1.0, COLOURS[1], (0, (3, 1.5)))):
        chosen = [pair for pair in pairs if sign * weight[pair] > 0.0]
        lines = [((x - 1, before[i]), (x, after[j])) for i, j in chosen]
        share = [abs(float(weight[pair])) / largest for pair in chosen]
        ax.add_collection(
            LineCollection(
                lines,
                colors=colour,
                linestyles=style,
                linewidths=[0.2 + 1.8 * one for one in share],
                alpha=[0.25 + 0.7 * one for one in share],
                zorder=1,
            )
        )


def plot_weights(
    net: Any, layer: int = 0, image_shape: tuple[int, int] | None = None, count: int = 25, ax: Any = None
) -> Any:
    """The weight matrix of one layer as a picture: inputs from top to bottom, neurons from left to right.

    Blue is positive and red negative, as far to both sides.

    Parameters
    ----------
    layer : the number of a layer with weights, negative from the end.
    image_shape : rows and columns of an image whose pixels the inputs are: then the weights of the first `count`
        neurons are drawn as such images.

    Raises
    ------
    ValueError for a layer without a weight matrix, or an image shape that does not fit.

    >>> import xpnn
    >>> plot_weights(xpnn.Network(xpnn.mlp([64, 9, 1])), image_shape=(8, 8)).get_title()
    'weights of 9 neurons of Dense(64, 9), layer 0'
    """
    from matplotlib import colormaps

    if net.members is not None:
        raise TypeError("a stack is many networks: take one of them, net[k]")
    if not -len(net.layers) <= layer < len(net.layers):
        raise ValueError(f"layer must be from 0 to {len(net.layers) - 1}, got {layer}")
    layer %= len(net.layers)
    params = net.params[layer]
    weight = params.get("weight") if isinstance(params, dict) else None
    if not _is_matrix(weight):
        having = [
            i
            for i, one in enumerate(net.params)
            if isinstance(one, dict) and getattr(one.get("weight"), "ndim", 0) == 2
        ]
        raise ValueError(f"{net.layers[layer]}, layer {layer}, has no weight matrix: layers {having} have one")
    host, about = to_host(weight).astype(float), f"{net.layers[layer]}, layer {layer}"
    far = float(np.abs(host).max()) or 1.0
    if image_shape is None:
        picture, title = host, f"weights of {about}"
        ax = axes(ax, (5.0, 4.2))
    else:
        if math.prod(image_shape) != host.shape[0]:
            raise ValueError(
                f"image_shape must have {host.shape[0]} pixels, as the layer has inputs, got {image_shape}"
            )
        picture, shown = _mosaic(host, image_shape, count), min(count, host.shape[1])
        title = f"weights of {shown} neurons of {about}"
        ax = axes(ax, (4.8, 4.4))
    cmap, aspect = colormaps["RdBu"].with_extremes(bad=(0.0, 0.0, 0.0, 0.0)), "auto" if image_shape is None else "equal"
    image = ax.imshow(picture, cmap=cmap, vmin=-far, vmax=far, aspect=aspect, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="weight")
    if image_shape is None:
        ax.set(xlabel="neuron", ylabel="input")
    else:
        ax.set_xticks([])
        ax.set_yticks([])
    ax.set_title(title, fontsize="medium")
    return ax


def _is_matrix(weight: Any) -> bool:
    return getattr(weight, "ndim", 0) == 2


def _mosaic(weight: np.ndarray, shape: tuple[int, int], count: int) -> np.ndarray:
    """The columns of a matrix as images side by side, a pixel without a number between them."""
    count = min(count, weight.shape[1])
    across = math.ceil(math.sqrt(count))
    down, (height, width) = math.ceil(count / across), shape
    picture = np.full((down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for k in range(count):
        top, left = (k // across) * (height + 1), (k % across) * (width + 1)
        picture[top : top + height, left : left + width] = weight[:, k].reshape(shape)
    return picture
