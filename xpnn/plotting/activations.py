"""Activations beside their derivatives."""

from typing import Any

import numpy as np

from xpnn import activations
from xpnn._arguments import check_number
from xpnn.plotting.base import COLOURS, axes, ink, look

FEW = 4
"""Of so many functions each derivative has a line of its own in the legend."""


def plot_activation(*activation: Any, span: float = 5.0, ax: Any = None) -> Any:
    """One activation or several, by name or as objects, each with its derivative (dashed) over [-span, span].

    One that looks at all inputs of a row, like softmax, is shown as the first output of the two inputs (x, 0); PReLU
    with the slope that it begins with. Of several each has a colour and a marker.

    Raises
    ------
    ValueError for an unknown name, none at all, or a span that is not positive.

    >>> plot_activation("relu").get_title()
    'relu'
    >>> [line.get_label() for line in plot_activation("relu", "gelu").lines if line.get_label()[0] != "_"]
    ['relu', "relu'", 'gelu', "gelu'"]
    """
    if len(activation) == 1 and isinstance(activation[0], list | tuple):
        activation = tuple(activation[0])
    if not activation:
        raise ValueError('activation must be one or several, got none: plot_activation("relu", "gelu")')
    functions = [activations.get(one) for one in activation]
    span = check_number("span", span, low=0.0, open_low=True)
    names = [
        one if isinstance(one, str) else type(function).__name__.lower()
        for one, function in zip(activation, functions, strict=True)
    ]
    ax, x = axes(ax), np.linspace(-span, span, 501)
    ax.axhline(0.0, color=ink(), alpha=0.3, linewidth=0.8)
    if len(functions) == 1:
        value, derivative = curve(functions[0], x)
        ax.plot(x, value, color=COLOURS[0], label="value")
        ax.plot(x, derivative, color=COLOURS[1], linestyle="--", label="derivative")
        ax.set_title(names[0])
    else:
        _draw_several(names, functions, x, ax)
    ax.set(xlabel="x", ylabel="value and derivative")
    ax.legend(frameon=False, fontsize="small" if len(names) > FEW else None)
    return ax


def _draw_several(names: list[str], functions: list[Any], x: np.ndarray, ax: Any) -> None:
    few = len(functions) <= FEW
    for number, (name, function) in enumerate(zip(names, functions, strict=True)):
        # Markers of two curves that lie on each other stand beside each other.
        own = look(number) | {"markersize": 4, "markevery": (7 * number % 60, 60)}
        value, derivative = curve(function, x)
        ax.plot(x, value, **own, label=name)
        ax.plot(x, derivative, **own, linestyle="--", label=f"{name}'" if few else None)
    if not few:
        ax.plot([], [], color=ink(), linestyle="--", label="derivatives")


def curve(function: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first output of `function` of rows (x, 0), and its derivative by x."""
    rows, params = np.stack([x, np.zeros_like(x)], axis=-1), function.init(None)
    y, cache = function.forward(params, rows, xp=np)
    slope, _ = function.backward(params, cache, np.asarray([[1.0, 0.0]]) * np.ones_like(rows), xp=np)
    return y[:, 0], slope[:, 0]
