"""How training went: what was recorded by epoch, and how strong the gradients are in each layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnn.backend import to_host
from xpnn.plotting.base import COLOURS, axes, ink


def plot_history(history: Any, names: tuple[str, ...] | None = None, ax: Any = None) -> Any:
    """The recorded curves over epochs, on a logarithmic scale where all are positive and span more than a factor of 3.

    What is of validation data is dashed. A dotted line marks the epoch whose weights were kept, where `EarlyStopping`
    watched. A stack is shown as the median of its members that were still trained, in a band from least to most.

    >>> plot_history({"loss": [0.5, 0.25]}).get_xlabel()
    'epoch'

    Raises
    ------
    KeyError for a name that was not recorded.
    """
    table = getattr(history, "history", history)
    for name in () if names is None else names:
        if name not in table:
            raise KeyError(f"{name!r} was not recorded; there are {list(table)}")
    ax, every, kinds = axes(ax), [], {}
    for name in table if names is None else names:
        values = np.asarray(table[name], dtype=float)
        every.append(values[np.isfinite(values)])
        epochs = np.arange(1, len(values) + 1)
        number = kinds.setdefault(name.removeprefix("val_"), len(kinds))
        colour = COLOURS[number % len(COLOURS)]
        if values.ndim > 1:
            known = np.isfinite(values).any(axis=1)
            epochs, values = epochs[known], values[known]
            ax.fill_between(
                epochs, np.nanmin(values, axis=1), np.nanmax(values, axis=1), color=colour, alpha=0.3, linewidth=0
            )
            values = np.nanmedian(values, axis=1)
        style = "--" if name.startswith("val_") else "-"
        lone = "o" if len(values) == 1 else None
        ax.plot(epochs, values, color=colour, linestyle=style, marker=lone, label=name)
    _mark_best(history, ax)
    if every and all(one.size and one.min() > 0 for one in every):
        low, high = min(one.min() for one in every), max(one.max() for one in every)
        if high > 3.0 * low:
            ax.set_yscale("log")
    ax.set(xlabel="epoch")
    ax.legend(framealpha=0.8, edgecolor="none")
    return ax


def _mark_best(history: Any, ax: Any) -> None:
    """The epoch that was kept, of a stack the median over its members."""
    best, first = getattr(history, "best_epoch", None), (getattr(history, "epoch", None) or [0])[0]
    if best is None:
        return
    found = np.atleast_1d(np.asarray(best, dtype=float))
    found = found[found >= 0]
    if found.size:
        label = "weights kept" if found.size == 1 else "weights kept (median)"
        ax.axvline(float(np.median(found)) - first + 1, color=ink(), linestyle=":", linewidth=1.2, label=label)


def plot_gradient_flow(net: Any, x: Any, y: Any, loss: Any = None, sample_weight: Any = None, ax: Any = None) -> Any:
    """The root mean square of each parameter array and of its gradient on (x, y), layer by layer.

    Bars that fall from the last layer to the first by orders of magnitude are gradients that vanish, bars that rise
    gradients that explode; one that is missing is exactly zero. Nothing of the network changes.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([2, 4, 1], "tanh"), seed=1)
    >>> plot_gradient_flow(net, [[0.0, 1.0], [1.0, 0.0]], [0.0, 1.0]).get_ylabel()
    'root mean square'
    """
    if net.members is not None:
        raise TypeError("a stack has as many gradients as members: take one of them, net[k]")
    _, grads = net.value_and_grad(x, y, loss=loss, sample_weight=sample_weight)
    pairs = [(entry.label, array) for entry, array in net.layouts[0].pairs(grads)]
    sizes = {entry.label: array for entry, array in net.layouts[0].pairs(net.params)}
    labels = [label for label, _ in pairs]
    of_gradients = [_size(array) for _, array in pairs]
    of_values = [_size(sizes[label]) for label in labels]
    ax, place = axes(ax, (max(5.0, 0.55 * len(labels) + 2.0), 4.0)), np.arange(len(labels))
    ax.bar(place - 0.2, of_gradients, 0.4, color=COLOURS[0], label="gradient")
    ax.bar(place + 0.2, of_values, 0.4, color=COLOURS[4], hatch="//", edgecolor="white", label="parameter")
    if any(size > 0.0 for size in (*of_gradients, *of_values)):
        ax.set_yscale("log")
    ax.set_xticks(place, labels, rotation=45, ha="right")
    ax.set(ylabel="root mean square", xlabel="layer and parameter")
    ax.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return ax


def _size(array: Any) -> float:
    host = to_host(array).astype(float)
    return float(np.sqrt(np.mean(host * host)))
