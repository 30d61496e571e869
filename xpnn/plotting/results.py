"""What came out: predictions beside the truth, and classes taken for others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnn.backend import to_host
from xpnn.plotting.base import COLOURS, axes, ink, paper, poles, ramp, written_on

SHARES, NUMBERS = 10, 30
"""Up to so many classes there is room for shares, and for counts."""


def plot_predictions(target: Any, prediction: Any, interval: Any = None, unit: str = "", ax: Any = None) -> Any:
    """Predicted values over true ones, (n,) each; on the line they agree.

    Parameters
    ----------
    interval : (n, 2) lower and upper ends, as `predict_interval` gives them, drawn as bars; those that do not hold the
        truth are drawn apart, and the title says how many hold it.
    unit : of the values, for the labels.

    Raises
    ------
    ValueError for shapes that do not fit, or an interval whose upper end is the lower.

    >>> plot_predictions([1.0, 2.0], [1.1, 1.8], interval=[[0.9, 1.3], [1.7, 1.9]]).get_title()
    '50.0 % of the intervals hold the truth'
    """
    target, prediction = _column(target, "target"), _column(prediction, "prediction")
    if len(target) != len(prediction):
        raise ValueError(f"prediction must have an entry for each target, got {len(prediction)} for {len(target)}")
    ends = None if interval is None else _ends(interval, len(target))
    ax = axes(ax, (4.6, 4.4))
    if ends is None:
        ax.scatter(target, prediction, s=14, color=COLOURS[0], alpha=0.6, linewidths=0)
    else:
        _draw_intervals(target, prediction, ends, ax)
    low, high = min(np.nanmin(target), np.nanmin(prediction)), max(np.nanmax(target), np.nanmax(prediction))
    ax.plot([low, high], [low, high], color=ink(), linewidth=1.0, linestyle="--", label="as it should be", zorder=3)
    of = f" [{unit}]" if unit else ""
    ax.set(xlabel=f"true{of}", ylabel=f"predicted{of}", aspect="equal")
    ax.legend(frameon=True, fontsize="small", loc="upper left")
    return ax


def _column(values: Any, name: str) -> np.ndarray:
    """Numbers (n,) or (n, 1) on the host as (n,)."""
    host = np.asarray(to_host(values, name), dtype=float)
    if host.ndim == 2 and host.shape[1] == 1:
        host = host[:, 0]
    if host.ndim != 1 or not host.size:
        raise ValueError(f"{name} must be (n,) or (n, 1) with n > 0, got shape {host.shape}")
    return host


def _ends(interval: Any, count: int) -> np.ndarray:
    ends = np.asarray(to_host(interval, "interval"), dtype=float)
    if ends.shape != (count, 2):
        raise ValueError(f"interval must have shape {(count, 2)}, got {ends.shape}")
    if (turned := np.flatnonzero(ends[:, 0] > ends[:, 1])).size:
        raise ValueError(f"interval must have the lower end first, but row {turned[0]} is {ends[turned[0]].tolist()}")
    return ends


def _draw_intervals(target: np.ndarray, prediction: np.ndarray, ends: np.ndarray, ax: Any) -> None:
    holds = (ends[:, 0] <= target) & (target <= ends[:, 1])
    for inside, colour, shape, words in (
        (holds, COLOURS[0], "o", "holds the truth"),
        (~holds, COLOURS[1], "^", "does not"),
    ):
        if inside.any():
            # Lines and not error bars, since an interval need not hold its prediction.
            ax.vlines(target[inside], *ends[inside].T, color=colour, linewidth=0.8, alpha=0.7)
            ax.plot(target[inside], prediction[inside], shape, color=colour, markersize=4, label=f"interval {words}")
    ax.set_title(f"{100 * holds.mean():.1f} % of the intervals hold the truth", fontsize="medium")


def plot_confusion(target: Any, prediction: Any, names: Sequence[Any] | None = None, ax: Any = None) -> Any:
    """How many rows of each class, (n,) labels or class indices, are said to be of which.

    Shades, and the second number, are shares of a row: on the diagonal those are the classes' recall. The first number
    is the count.

    Parameters
    ----------
    target, prediction : true and predicted classes; a prediction (n, classes) stands for its largest entry, (n, 1) for
        whether it is at least one half.
    names : of the classes in order; None takes the labels themselves.

    >>> [text.get_text() for text in plot_confusion([0, 0, 1], [0, 1, 1]).texts]
    ['1\\n50 %', '1\\n50 %', '0', '1\\n100 %']
    """
    target, prediction = _labels(target, "target"), _labels(prediction, "prediction")
    target = target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target
    width = prediction.shape[1] if prediction.ndim == 2 else 0
    if prediction.ndim == 2:
        prediction = prediction.argmax(axis=1) if width > 1 else (prediction[:, 0] >= 0.5).astype(int)
    if target.shape != prediction.shape or target.ndim != 1 or not target.size:
        raise ValueError(f"target and prediction must be (n,) classes, got {target.shape} and {prediction.shape}")
    classes, names = _classes(target, prediction, names, width)
    count = len(classes)
    rows, columns = np.searchsorted(classes, target), np.searchsorted(classes, prediction)
    table = np.bincount(rows * count + columns, minlength=count * count).reshape(count, count)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = min(0.55 * count, 9.0)
    ax = axes(ax, (max(4.4, side + 1.8), max(3.8, side + 1.2)), "compressed")
    image = ax.imshow(shares, cmap=ramp(paper(), poles()[1]), vmin=0.0, vmax=1.0)
    ax.figure.colorbar(image, ax=ax, label="share of the true class")
    for i, j in np.ndindex(count, count) if count <= NUMBERS else ():
        share = f"\n{100 * shares[i, j]:.0f} %" if table[i, j] and count <= SHARES else ""
        ax.text(j, i, f"{table[i, j]}{share}", ha="center", va="center", fontsize="small" if count <= 15 else "x-small",
                color=written_on(image.to_rgba(shares[i, j])))  # fmt: skip
    every = range(0, count, -(-count // NUMBERS))
    shown = [names[k] for k in every]
    long = max(map(len, shown)) > 3
    ax.set_xticks(every, shown, rotation=45 if long else 0, ha="right" if long else "center", rotation_mode="anchor")
    ax.set_yticks(every, shown)
    ax.set(xlabel="predicted", ylabel="true")
    return ax


def _labels(values: Any, name: str) -> np.ndarray:
    """Classes of any kind, names too, on the host."""
    plain = isinstance(values, list | tuple | np.ndarray) or hasattr(values, "iloc")
    return np.asarray(values) if plain else to_host(values, name)


def _classes(target: np.ndarray, prediction: np.ndarray, names: Any, width: int) -> tuple[np.ndarray, list[str]]:
    """All classes in order and their names: where they are indices, those that do not occur too."""
    found, count = np.unique(np.concatenate([target, prediction])), max(width, 0 if names is None else len(names))
    indices = found.dtype.kind in "iub" or (found.dtype.kind == "f" and (found == np.floor(found)).all())
    if count and indices and found[0] >= 0 and found[-1] < count:
        found = np.arange(count)
    if names is not None and len(names) != len(found):
        raise ValueError(f"names must be {len(found)}, one for each class that occurs, got {len(names)}")
    return found, [str(one) for one in (found if names is None else names)]
