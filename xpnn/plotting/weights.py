"""Weights as pictures: whole matrices, or what each neuron looks for in an image."""

import math
from typing import Any

import numpy as np

from xpnn._arguments import check_count
from xpnn.backend import to_host
from xpnn.plotting.base import axes, ink, lone, paper, poles, ramp, towards, whole


def plot_weights(
    net: Any,
    layer: int | None = None,
    image_shape: tuple[int, int] | None = None,
    count: int = 25,
    ax: Any = None,
) -> Any:
    """The weight matrices as pictures: inputs from top to bottom, neurons from left to right.

    Blue is positive and orange negative, the stronger the larger beside the largest of the matrix.

    Parameters
    ----------
    layer : the number of a layer with weights, negative from the end; None draws all that have a matrix, or with
        `image_shape` the first.
    image_shape : rows and columns of an image whose pixels the inputs are: then the weights of the first `count`
        neurons are drawn as such images.

    Raises
    ------
    ValueError for a layer without a weight matrix, or an image shape that does not fit.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([64, 9, 1]))
    >>> plot_weights(net, image_shape=(8, 8)).get_title()
    'weights of 9 neurons of Dense(64, 9), layer 0'
    >>> [one.get_title().partition("\\n")[0] for one in plot_weights(net).child_axes]
    ['0.weight, 64 x 9', '2.weight, 9 x 1']
    """
    net = lone(net)
    matrices = {
        entry.label: (entry.path[0], to_host(array).astype(float))
        for entry, array in net.layouts[0].pairs(net.params)
        if array.ndim == 2
    }
    if layer is not None:
        matrices = _of_layer(net, layer, matrices)
    if not matrices:
        raise ValueError("net has no layer with a weight matrix")
    if image_shape is None and len(matrices) > 1:
        return _draw_grid({label: matrix for label, (_, matrix) in matrices.items()}, ax)
    number, matrix = next(iter(matrices.values()))
    about = f"{type(net.layers[number]).__name__}({', '.join(map(str, matrix.shape))}), layer {number}"
    if image_shape is None:
        ax = axes(ax, (5.0, 4.2))
        ax.figure.colorbar(_matrix(matrix, ax)[0], ax=ax, label="weight")
        ax.set(xlabel="neuron", ylabel="input")
        ax.set_title(f"weights of {about}", fontsize="medium")
        return ax
    shape, shown = _checked(image_shape, matrix.shape[0]), min(check_count("count", count), matrix.shape[1])
    ax, picture = axes(ax, (4.8, 4.2), "compressed"), _mosaic(matrix[:, :shown], shape)
    ax.figure.colorbar(_matrix(picture, ax, "equal")[0], ax=ax, label="weight")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(f"weights of {shown} neurons of {about}", fontsize="medium")
    return ax


def _of_layer(net: Any, layer: int, matrices: dict[str, Any]) -> dict[str, Any]:
    if isinstance(layer, bool) or not isinstance(layer, int) or not -len(net.layers) <= layer < len(net.layers):
        raise ValueError(f"layer must be from 0 to {len(net.layers) - 1}, or negative from the end, got {layer!r}")
    layer %= len(net.layers)
    chosen = {label: found for label, found in matrices.items() if found[0] == layer}
    if not chosen:
        having = sorted({number for number, _ in matrices.values()})
        raise ValueError(f"{net.layers[layer]}, layer {layer}, has no weight matrix: layers {having} have one")
    return chosen


def _checked(image_shape: Any, inputs: int) -> tuple[int, int]:
    known = isinstance(image_shape, list | tuple) and len(image_shape) == 2
    if not known or not all(isinstance(one, int) and one > 0 for one in image_shape):
        raise ValueError(f"image_shape must be rows and columns, as in (28, 28), got {image_shape!r}")
    if math.prod(image_shape) != inputs:
        raise ValueError(f"image_shape must have {inputs} pixels, as the layer has inputs, got {image_shape}")
    return image_shape[0], image_shape[1]


def _far(matrix: np.ndarray) -> float:
    """The size of the largest weight, 1 where none is finite or all are zero."""
    return float(np.max(np.abs(matrix), where=np.isfinite(matrix), initial=0.0)) or 1.0


def _matrix(picture: np.ndarray, ax: Any, aspect: str = "auto") -> tuple[Any, float]:
    """One picture on `ax`, and the size of the largest weight."""
    far, (negative, positive) = _far(picture), poles()
    colours = ramp(negative, paper(), positive).with_extremes(bad=tuple(towards(ink(), 0.3)))  # bad: between images
    image = ax.imshow(picture, cmap=colours, vmin=-far, vmax=far, aspect=aspect, interpolation="nearest")
    for axis in (ax.xaxis, ax.yaxis):
        whole(axis)
    return image, far


def _draw_grid(matrices: dict[str, np.ndarray], ax: Any) -> Any:
    """Each matrix on Axes of its own inside `ax`, in rows of three.

    Each has its own scale, since wide layers begin with weights so small that another layer's scale hides them.
    """
    count = len(matrices)
    across = min(count, 3)
    down = math.ceil(count / across)
    ax = axes(ax, (2.4 * across + 1.4, 3.0 * down + 0.6))
    ax.set_axis_off()
    for k, (label, matrix) in enumerate(matrices.items()):
        row, place = divmod(k, across)
        wide, high = 1.0 / across, 1.0 / down
        inner = ax.inset_axes((place * wide + 0.16 * wide, 1.0 - (row + 0.88) * high, 0.8 * wide, 0.72 * high))
        image, far = _matrix(matrix, inner)
        inner.set_title(f"{label}, {matrix.shape[0]} x {matrix.shape[1]}\nlargest {far:.2g}", fontsize="small")
        inner.tick_params(labelsize="small")
        if row == down - 1 or k + across >= count:
            inner.set_xlabel("neuron", fontsize="small")
        if place == 0:
            inner.set_ylabel("input", fontsize="small")
    _key(image.cmap, ax)
    return ax


def _key(colours: Any, ax: Any) -> None:
    """What the colours of all matrices mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    shares = ScalarMappable(Normalize(-1.0, 1.0), colours)
    ax.figure.colorbar(shares, ax=ax, label="weight / largest of its matrix", shrink=0.8)


def _mosaic(weight: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The columns of a matrix as images side by side, a pixel without a number between them."""
    across = math.ceil(math.sqrt(weight.shape[1]))
    down, (height, width) = math.ceil(weight.shape[1] / across), shape
    picture = np.full((down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for k in range(weight.shape[1]):
        top, left = (k // across) * (height + 1), (k % across) * (width + 1)
        picture[top : top + height, left : left + width] = weight[:, k].reshape(shape)
    return picture
