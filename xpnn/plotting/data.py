"""Points, and what a network says of every place between them."""

from typing import Any

import numpy as np

from xpnn._arguments import check_count
from xpnn.architecture import last_layer
from xpnn.backend import to_host
from xpnn.plotting.base import COLOURS, axes, ink, lone, look, paper, ramp, towards


def plot_points(x: Any, y: Any, ax: Any = None) -> Any:
    """Points in the plane, `x` (n, 2), in the colour and shape of their class, `y` (n,) or (n, 1).

    >>> plot_points([[0.0, 1.0], [1.0, 0.0]], [0, 1]).get_legend().get_texts()[1].get_text()
    'class 1'
    """
    x, y = _points(x, y, "x must be (n, 2)")
    ax = axes(ax)
    for number, label in enumerate(np.unique(y)):
        at = x[y == label]
        ax.scatter(at[:, 0], at[:, 1], s=18, edgecolors=ink(), linewidths=0.4, label=f"class {label:g}", **look(number))
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    # To look for the best place takes seconds where there are many points.
    ax.legend(frameon=True, framealpha=0.9, loc="best" if len(x) <= 2000 else "upper right")
    return ax


def _points(x: Any, y: Any, wanted: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Rows, of two columns where that is `wanted`, and a class for each, on the host."""
    x, y = to_host(x, "x"), to_host(y, "y")
    if x.ndim != 2 or not len(x) or (wanted and x.shape[1] != 2):
        raise ValueError(f"{wanted or 'x must be (n, features)'} with n > 0, got shape {x.shape}")
    if y.shape not in ((len(x),), (len(x), 1)):
        raise ValueError(f"y must have a class for each row of x, ({len(x)},), got shape {y.shape}")
    return x, y.ravel()


def plot_decision_boundary(
    net: Any, x: Any, y: Any, points: int = 200, features: tuple[int, int] | None = None, ax: Any = None
) -> Any:
    """What a network says of every point of the plane, with the data on top.

    With one output shades are that output, towards the colour of the class that it stands for, and the line is where
    it is one half, or 0 where the network ends in no probability (logits, scores). With several outputs each place has
    the colour of the largest, the paler the less it stands out, and lines are where the class changes.

    Parameters
    ----------
    net : the network, of one output or one for each class.
    x, y : rows (n, features), and their classes (n,) or (n, 1).
    points : the fineness of the grid in each direction.
    features : the two columns of x to draw, where there are more; the others stand at their medians.

    Raises
    ------
    ValueError where `x` has not two columns and `features` does not choose two.

    >>> import xpnn
    >>> x, y = xpnn.datasets.circles(20)
    >>> ax = plot_decision_boundary(xpnn.Network(xpnn.mlp([2, 3, 1], output="sigmoid")), x, y)
    >>> ax.figure.axes[1].get_ylabel()
    'output of the network'
    """
    net, points = lone(net), check_count("points", points, low=2)
    x, y = _points(x, y, "x must be (n, 2), or features=(0, 3) choose two columns," if features is None else "")
    first, second = (0, 1) if features is None else _chosen(features, x.shape[1])
    plane = x[:, [first, second]]
    low, high = plane.min(axis=0), plane.max(axis=0)
    margin = 0.08 * np.where(high > low, high - low, 1.0)
    across, up = (np.linspace(a, b, points) for a, b in zip(low - margin, high + margin, strict=True))
    grid = np.repeat(np.median(x, axis=0)[None], points * points, axis=0)
    grid[:, first], grid[:, second] = (part.ravel() for part in np.meshgrid(across, up))
    output = net.backend.to_host(net.predict(grid))
    ax = axes(ax)
    if output.shape[-1] == 1:
        _draw_one(net, across, up, output.reshape(points, points), ax)
    else:
        _draw_classes(across, up, output.reshape(points, points, -1), ax)
    plot_points(plane, y, ax=ax)
    if features is not None:
        ax.set(xlabel=f"feature {first}", ylabel=f"feature {second}", aspect="auto")
    return ax


def _chosen(features: Any, count: int) -> tuple[int, int]:
    known = isinstance(features, list | tuple) and len(features) == 2 and features[0] != features[1]
    if not known or not all(isinstance(one, int) and 0 <= one < count for one in features):
        raise ValueError(f"features must be two different columns of x, from 0 to {count - 1}, got {features!r}")
    return features[0], features[1]


def _draw_one(net: Any, across: np.ndarray, up: np.ndarray, value: np.ndarray, ax: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    if getattr(last_layer(net.layer), "probability", False):
        levels, middle = np.linspace(0, 1, 11), 0.5
    else:  # logits or scores: as far to one side as to the other
        far = float(np.abs(value).max()) or 1.0
        levels, middle = MaxNLocator(10, symmetric=True).tick_values(-far, far), 0.0
    shades = ramp(towards(COLOURS[0], 0.6), paper(), towards(COLOURS[1], 0.6))
    filled = ax.contourf(across, up, value, levels=levels, cmap=shades)
    ax.figure.colorbar(filled, ax=ax, label="output of the network")
    if value.min() < middle < value.max():
        ax.contour(across, up, value, levels=[middle], colors=[ink()], linewidths=1.5)


def _draw_classes(across: np.ndarray, up: np.ndarray, value: np.ndarray, ax: Any) -> None:
    from matplotlib.colors import to_rgb

    best, count = value.argmax(axis=-1), value.shape[-1]
    ordered = np.sort(value, axis=-1)
    gap = ordered[..., -1] - ordered[..., -2]
    sure = 0.25 + 0.75 * gap / (gap.max() or 1.0)
    table = np.asarray([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(count)])
    picture = towards(table[best], 0.6 * sure[..., None])
    extent = (across[0], across[-1], up[0], up[-1])
    ax.imshow(picture, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    for k in range(count):
        # Where this output overtakes the largest of the others: a smooth line, as the outputs themselves are.
        ahead = value[..., k] - np.max(np.delete(value, k, axis=-1), axis=-1)
        if ahead.min() < 0.0 < ahead.max():
            ax.contour(across, up, ahead, levels=[0.0], colors=[ink()], linewidths=1.0)
