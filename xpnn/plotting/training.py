"""How training went: what was recorded by epoch, and how strong the gradients are in each layer."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xpnn.backend import to_host
from xpnn.plotting.base import COLOURS, axes, ink, lone, look, paper, whole


def plot_history(history: Any, names: str | Sequence[str] | None = None, ax: Any = None) -> Any:
    """The recorded curves over epochs, on a logarithmic scale where all are positive and span more than a factor of 3.

    What is of validation data is dashed; each metric has a colour and a marker. A dotted line marks the epoch whose
    weights were kept, where `EarlyStopping` watched. A stack is shown as the median of its members that were still
    trained, in a band from least to most.

    Parameters
    ----------
    history : what `fit` gives, or a dict of lists.
    names : what to show of it; None is all.

    Raises
    ------
    KeyError for a name that was not recorded, ValueError where nothing was.

    >>> plot_history({"loss": [0.5, 0.25]}).get_xlabel()
    'epoch'
    """
    table = getattr(history, "history", history)
    if not hasattr(table, "keys"):
        hint = ': take {"loss": its loss_curve_}' if hasattr(history, "get_params") else ""
        raise TypeError(f"history must be what fit gives, or a dict of lists, got {type(history).__name__}{hint}")
    names = [names] if isinstance(names, str) else list(table if names is None else names)
    for name in names:
        if name not in table:
            raise KeyError(f"{name!r} was not recorded; there are {list(table)}")
    if not any(len(table[name]) for name in names):
        raise ValueError(f"history must have epochs to draw, got none for {names}")
    ax, kinds = axes(ax), list(dict.fromkeys(name.removeprefix("val_") for name in names))
    curves = {name: np.asarray(table[name], dtype=float) for name in names}
    for name, values in curves.items():
        _draw_curve(name, kinds.index(name.removeprefix("val_")), values, ax)
    _mark_best(history, ax)
    _scale(list(curves.values()), ax)
    ax.set(xlabel="epoch", ylabel=", ".join(kinds) if len(kinds) <= 3 else "")
    ax.legend(framealpha=0.8, edgecolor="none")
    return ax


def _draw_curve(name: str, kind: int, values: np.ndarray, ax: Any) -> None:
    """One number an epoch, or one for each member; the first kind, the loss, has no marker."""
    epochs, own = np.arange(1, len(values) + 1), look(kind)
    if values.ndim > 1:
        known = np.isfinite(values).any(axis=1)
        epochs, values = epochs[known], np.where(np.isfinite(values), values, np.nan)[known]
        low, high = np.nanmin(values, axis=1), np.nanmax(values, axis=1)
        ax.fill_between(epochs, low, high, color=own["color"], alpha=0.35, linewidth=0)
        values = np.nanmedian(values, axis=1)
    own["marker"] = own["marker"] if kind or len(values) == 1 else None
    ax.plot(epochs, values, linestyle="--" if name.startswith("val_") else "-", markersize=4,
            markevery=max(1, len(values) // 10), label=name, **own)  # fmt: skip


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


def _scale(every: list[np.ndarray], ax: Any) -> None:
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """0.2 is read faster than 2 x 10^-1; which ticks are labelled stays as it is."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    whole(ax.xaxis)
    known = np.concatenate([one[np.isfinite(one)] for one in every])
    if known.size and known.min() > 0.0 and known.max() > 3.0 * known.min():
        ax.set_yscale("log")
        if known.max() < 1e3 and known.min() > 1e-3:
            ax.yaxis.set_major_formatter(Plain())
            ax.yaxis.set_minor_formatter(Plain(minor_thresholds=(2.0, 0.4)))


def plot_gradient_flow(
    net: Any,
    x: Any = None,
    y: Any = None,
    loss: Any = None,
    sample_weight: Any = None,
    grads: Any = None,
    ax: Any = None,
) -> Any:
    """The root mean square of each parameter array and of its gradient, layer by layer.

    The number over a pair is the gradient relative to a weight. Bars that fall from the last layer to the first by
    orders of magnitude are gradients that vanish, bars that rise gradients that explode; one that is missing is
    exactly zero. Nothing of the network changes.

    Parameters
    ----------
    x, y, loss, sample_weight : as in `net.value_and_grad`, which gives the gradients.
    grads : gradients from there in the place of (x, y), or a list of such, one a step: then each weight's gradient is
        a line over the steps.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([2, 4, 1], "tanh"), seed=1)
    >>> plot_gradient_flow(net, [[0.0, 1.0], [1.0, 0.0]], [0.0, 1.0]).get_ylabel()
    'root mean square'
    """
    net = lone(net)
    if grads is None:
        if x is None or y is None:
            raise TypeError("x and y must be given, or grads as net.value_and_grad gives them second, got neither")
        _, grads = net.value_and_grad(x, y, loss=loss, sample_weight=sample_weight)
    elif x is not None or y is not None:
        raise TypeError("grads must be None where x and y are given, got both")
    alone = _sizes(net, grads)
    if alone is not None:
        return _draw_bars(alone, _sizes(net, net.params) or {}, ax)
    every = [_sizes(net, one) for one in grads] if isinstance(grads, list | tuple) else []
    known = [one for one in every if one is not None]
    if not known or len(known) < len(every):
        wanted = "a dict for each layer as net.value_and_grad gives them second, or a list of such"
        raise ValueError(f"grads must be gradients of this network: {wanted}")
    return _draw_steps(known, ax)


def _sizes(net: Any, tree: Any) -> dict[str, float] | None:
    """The root mean square of each learned array; None where `tree` is not one of this network's."""
    try:
        hosts = {entry.label: to_host(array).astype(float) for entry, array in net.layouts[0].pairs(tree)}
    except (KeyError, IndexError, TypeError):
        return None
    return {label: float(np.sqrt(np.mean(host * host))) for label, host in hosts.items()}


def _draw_bars(gradients: dict[str, float], values: dict[str, float], ax: Any) -> Any:
    labels = list(gradients)
    if not labels:
        raise ValueError("net has no parameters, so no gradients to draw")
    ax, place = axes(ax, (min(max(5.0, 0.6 * len(labels) + 2.0), 14.0), 4.0)), np.arange(len(labels))
    told = "gradient (number: relative to the weight)"
    ax.bar(place - 0.2, _finite(gradients.values()), 0.4, color=COLOURS[0], label=told)
    ax.bar(
        place + 0.2, _finite(values.values()), 0.4, color=COLOURS[4], hatch="//", edgecolor=paper(), label="parameter"
    )
    seen = [size for size in (*gradients.values(), *values.values()) if 0.0 < size < np.inf]
    if seen:
        ax.set_yscale("log")
        ax.set_ylim(min(seen) / 3.0, max(seen) * 3.0)
    for k, label in enumerate(labels):
        if len(labels) <= 24 and "weight" in label and 0.0 < values[label] < np.inf and gradients[label] < np.inf:
            share, top = gradients[label] / values[label], max(gradients[label], values[label])
            ax.text(k, 1.2 * top, f"{share:.2g}", ha="center", fontsize="small")
    broken = [one for one in labels if not np.isfinite(gradients[one] + values[one])]
    labels = [f"{one} (not finite)" if one in broken else one for one in labels]
    ax.set_xticks(
        place, labels, rotation=45, ha="right", rotation_mode="anchor", fontsize="small" if len(labels) > 24 else None
    )
    ax.set(ylabel="root mean square", xlabel="layer and parameter")
    ax.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize="small")
    return ax


def _finite(sizes: Iterable[float]) -> np.ndarray:
    found = np.asarray(list(sizes))
    return np.where(np.isfinite(found), found, np.nan)


def _draw_steps(every: list[dict[str, float]], ax: Any) -> Any:
    ax = axes(ax, (5.6, 4.0))
    steps, labels = np.arange(1, len(every) + 1), [label for label in every[0] if "weight" in label]
    for k, label in enumerate(labels):
        sizes = _finite(one[label] for one in every)
        ax.plot(steps, sizes, markersize=4, markevery=max(1, len(steps) // 10), label=label, **look(k))
    if any(0.0 < one[label] < np.inf for one in every for label in labels):
        ax.set_yscale("log")
    whole(ax.xaxis)
    ax.set(xlabel="step", ylabel="root mean square of the gradient")
    ax.legend(frameon=True, fontsize="small", framealpha=0.8, edgecolor="none")
    return ax
