"""Pictures of activations, of training and of what a network has learned, by matplotlib.

Every function draws on `ax`, or on new Axes, and returns the Axes; none opens a window or writes a file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnn import activations
from xpnn.backend import to_host

# Okabe and Ito's palette, which people with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def _axes(ax: Any, figsize: tuple[float, float] = (5.0, 4.0)) -> Any:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plotting needs matplotlib: pip install matplotlib") from error
    return plt.subplots(figsize=figsize, layout="constrained")[1]


def plot_activation(activation: Any, span: float = 5.0, ax: Any = None) -> Any:
    """An activation, by name or as an object, and its derivative over [-span, span].

    One that looks at all inputs of a row, like softmax, is shown as the first output of the two inputs (x, 0); PReLU
    with the slope that it begins with.

    >>> plot_activation("relu").get_title()
    'relu'
    """
    ax, function = _axes(ax), activations.get(activation)
    x = np.linspace(-span, span, 501)
    y, slope = _curve(function, x)
    ax.axhline(0.0, color="0.7", linewidth=0.8)
    ax.plot(x, y, color=COLOURS[0], label="value")
    ax.plot(x, slope, color=COLOURS[1], linestyle="--", label="derivative")
    ax.set(xlabel="x", title=activation if isinstance(activation, str) else type(function).__name__.lower())
    ax.legend(frameon=False)
    return ax


def _curve(function: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first output of `function` of rows (x, 0), and its derivative by x."""
    rows, params = np.stack([x, np.zeros_like(x)], axis=-1), function.init(None)
    y, cache = function.forward(params, rows, xp=np)
    slope, _ = function.backward(params, cache, np.asarray([[1.0, 0.0]]) * np.ones_like(rows), xp=np)
    return y[:, 0], slope[:, 0]


def plot_history(history: Any, names: tuple[str, ...] | None = None, ax: Any = None) -> Any:
    """The recorded curves over epochs, on a logarithmic scale where all are positive; a stack as its mean and range.

    >>> plot_history({"loss": [0.5, 0.25]}).get_xlabel()
    'epoch'
    """
    ax, table = _axes(ax), getattr(history, "history", history)
    every = []
    for number, name in enumerate(table if names is None else names):
        values = np.asarray(table[name], dtype=float)
        every.append(values)
        epochs, colour = np.arange(1, len(values) + 1), COLOURS[number % len(COLOURS)]
        if values.ndim > 1:
            ax.fill_between(epochs, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.2, linewidth=0)
            values = values.mean(axis=1)
        ax.plot(epochs, values, color=colour, linestyle="--" if name.startswith("val_") else "-", label=name)
    if every and all(values.size and (values > 0).all() for values in every):
        ax.set_yscale("log")
    ax.set(xlabel="epoch")
    ax.legend(frameon=False)
    return ax


def plot_points(x: Any, y: Any, ax: Any = None) -> Any:
    """Points in the plane, `x` (n, 2), in the colour and shape of their class, `y` (n,) or (n, 1)."""
    ax, x, y = _axes(ax), to_host(x, "x"), to_host(y, "y").ravel()
    for number, label in enumerate(np.unique(y)):
        at = x[y == label]
        marker, colour = "os^Dv"[number % 5], COLOURS[number % len(COLOURS)]
        ax.scatter(at[:, 0], at[:, 1], s=18, marker=marker, color=colour, edgecolors="white", linewidths=0.4,
                   label=f"class {label:g}")  # fmt: skip
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    ax.legend(frameon=True, loc="upper right")
    return ax


def plot_decision_boundary(net: Any, x: Any, y: Any, points: int = 200, ax: Any = None) -> Any:
    """What a network of two features and one probability says of every point of the plane, with the data on top.

    Shades are the output, the line is where it is one half. `points` is the fineness of the grid in each direction.

    Raises
    ------
    ValueError where `x` has not two columns or the network not one output.
    """
    x = to_host(x, "x")
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x must be (n, 2), points of a plane, got shape {x.shape}")
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.08 * (high - low)
    first, second = (np.linspace(a, b, points) for a, b in zip(low - margin, high + margin, strict=True))
    grid = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    output = net.backend.to_host(net.predict(grid))
    if output.shape != (points * points, 1):
        raise ValueError(f"the network must have one output, got outputs of shape {output.shape}")
    ax, value = _axes(ax), output.reshape(points, points)
    shades = ax.contourf(first, second, value, levels=np.linspace(0, 1, 11), cmap="PuOr_r", alpha=0.55)
    ax.figure.colorbar(shades, ax=ax, label="output of the network")
    if value.min() < 0.5 < value.max():
        ax.contour(first, second, value, levels=[0.5], colors="black", linewidths=1.2)
    plot_points(x, y, ax=ax)
    return ax
