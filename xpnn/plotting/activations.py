"""Activations beside their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnn import activations
from xpnn.plotting.base import COLOURS, axes, ink


def plot_activation(*activation: Any, span: float = 5.0, ax: Any = None) -> Any:
    """One activation or several, by name or as objects, each with its derivative (dashed) over [-span, span].

    One that looks at all inputs of a row, like softmax, is shown as the first output of the two inputs (x, 0); PReLU
    with the slope that it begins with.

    >>> plot_activation("relu").get_title()
    'relu'
    >>> [line.get_label() for line in plot_activation("relu", "gelu").lines if line.get_label()[0] != "_"]
    ['relu', "relu'", 'gelu', "gelu'"]
    """
    if len(activation) == 1 and isinstance(activation[0], list | tuple):
        activation = tuple(activation[0])
    if not activation:
        raise ValueError('name at least one activation: plot_activation("relu", "gelu")')
    functions = [activations.get(one) for one in activation]
    ax, x = axes(ax), np.linspace(-span, span, 501)
    names = [
        one if isinstance(one, str) else type(function).__name__.lower()
        for one, function in zip(activation, functions, strict=True)
    ]
    ax.axhline(0.0, color=ink(), alpha=0.3, linewidth=0.8)
    for number, (name, function) in enumerate(zip(names, functions, strict=True)):
        value, derivative = curve(function, x)
        alone = len(functions) == 1
        first = COLOURS[number % len(COLOURS)]
        ax.plot(x, value, color=first, label="value" if alone else name)
        ax.plot(x, derivative, color=COLOURS[1] if alone else first, linestyle="--", label=_slope(name, alone))
    ax.set(xlabel="x", title=", ".join(names))
    ax.legend(frameon=False)
    return ax


def _slope(name: str, alone: bool) -> str:
    return "derivative" if alone else f"{name}'"


def curve(function: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first output of `function` of rows (x, 0), and its derivative by x."""
    rows, params = np.stack([x, np.zeros_like(x)], axis=-1), function.init(None)
    y, cache = function.forward(params, rows, xp=np)
    slope, _ = function.backward(params, cache, np.asarray([[1.0, 0.0]]) * np.ones_like(rows), xp=np)
    return y[:, 0], slope[:, 0]
