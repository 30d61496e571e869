"""What came out: predictions beside the truth, classes taken for others, and a search over settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnn.backend import to_host
from xpnn.plotting.base import COLOURS, axes, column, ink


def plot_predictions(target: Any, prediction: Any, interval: Any = None, unit: str = "", ax: Any = None) -> Any:
    """Predicted values over true ones, (n,) each; on the line they agree.

    Parameters
    ----------
    interval : (n, 2) lower and upper ends, as `predict_interval` gives them, drawn as bars; those that do not hold the
        truth are drawn apart, and the title says how many hold it.
    unit : of the values, for the labels.

    >>> plot_predictions([1.0, 2.0], [1.1, 1.8], interval=[[0.9, 1.3], [1.7, 1.9]]).get_title()
    '50.0 % of the intervals hold the truth'
    """
    target, prediction = column(target, "target"), column(prediction, "prediction")
    if len(target) != len(prediction):
        raise ValueError(f"prediction must have an entry for each target, got {len(prediction)} for {len(target)}")
    ax, colours = axes(ax, (4.6, 4.4)), np.asarray([COLOURS[0]] * len(target))
    if interval is not None:
        ends = np.asarray(to_host(interval, "interval"), dtype=float)
        if ends.shape != (len(target), 2):
            raise ValueError(f"interval must have shape {(len(target), 2)}, got {ends.shape}")
        holds = (ends[:, 0] <= target) & (target <= ends[:, 1])
        for inside, colour, words in ((holds, COLOURS[0], "holds the truth"), (~holds, COLOURS[1], "does not")):
            if inside.any():
                bars = np.abs(ends[inside].T - prediction[inside])
                ax.errorbar(target[inside], prediction[inside], bars, fmt="o" if words[0] == "h" else "^", color=colour,
                            markersize=3.5, elinewidth=0.8, alpha=0.7, label=f"interval {words}")  # fmt: skip
        ax.set_title(f"{100 * holds.mean():.1f} % of the intervals hold the truth", fontsize="medium")
    else:
        ax.scatter(target, prediction, s=14, color=colours, alpha=0.6, linewidths=0)
    low, high = min(target.min(), prediction.min()), max(target.max(), prediction.max())
    ax.plot([low, high], [low, high], color=ink(), linewidth=1.0, linestyle="--", label="as it should be")
    of = f" [{unit}]" if unit else ""
    ax.set(xlabel=f"true{of}", ylabel=f"predicted{of}", aspect="equal")
    ax.legend(frameon=True, fontsize="small", loc="upper left")
    return ax


def plot_confusion(target: Any, prediction: Any, names: Sequence[Any] | None = None, ax: Any = None) -> Any:
    """How many rows of each class, (n,) labels or class indices, are said to be of which.

    Shades are shares of a row, which are the classes' recall on the diagonal; the numbers are counts.

    Parameters
    ----------
    target, prediction : true and predicted classes; a prediction (n, classes) stands for its largest entry.
    names : of the classes in order; None takes the labels themselves.

    >>> [text.get_text() for text in plot_confusion([0, 0, 1], [0, 1, 1]).texts]
    ['1', '1', '0', '1']
    """
    target, prediction = (np.asarray(one if isinstance(one, list) else _labels(one)) for one in (target, prediction))
    target = target[:, 0] if target.ndim == 2 and target.shape[1] == 1 else target
    if prediction.ndim == 2:
        wide = prediction.shape[1] > 1
        prediction = prediction.argmax(axis=1) if wide else (prediction[:, 0] >= 0.5).astype(int)
    if target.shape != prediction.shape or target.ndim != 1:
        raise ValueError(f"target and prediction must be (n,) classes, got {target.shape} and {prediction.shape}")
    classes, codes = np.unique(np.concatenate([target, prediction]), return_inverse=True)
    if names is not None and len(names) != len(classes):
        raise ValueError(f"names must be {len(classes)}, one for each class that occurs, got {len(names)}")
    count = len(classes)
    table = np.bincount(codes[: len(target)] * count + codes[len(target) :], minlength=count * count)
    table = table.reshape(count, count)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax = axes(ax, (max(4.0, 0.5 * count + 1.8), max(3.6, 0.5 * count + 1.2)))
    image = ax.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(image, ax=ax, label="share of the true class")
    for i in range(count):
        for j in range(count):
            colour = "white" if shares[i, j] > 0.5 else "black"
            ax.text(j, i, f"{table[i, j]}", ha="center", va="center", color=colour, fontsize="small")
    shown = [str(one) for one in (classes if names is None else names)]
    long = max(map(len, shown)) > 3
    ax.set_xticks(range(count), shown, rotation=45 if long else 0, ha="right" if long else "center")
    ax.set_yticks(range(count), shown)
    ax.set(xlabel="predicted", ylabel="true")
    return ax


def _labels(values: Any) -> np.ndarray:
    return values if isinstance(values, np.ndarray) or hasattr(values, "iloc") else to_host(values)


def plot_search(search: Any, parameters: Sequence[str] | None = None, ax: Any = None) -> Any:
    """The mean score of a search over one or two of its parameters, with the best marked by a star.

    Over one a line with a band of one standard deviation between folds; over two a map. Of candidates that differ in
    other parameters too the best is shown. Values that grow by factors stand on a logarithmic axis.

    Parameters
    ----------
    search : a fitted MLPSearchCV, GridSearchCV or the like: `cv_results_` is read.
    parameters : one or two names; None takes the first two that were searched.

    Raises
    ------
    ValueError for a name that was not searched.
    """
    results = getattr(search, "cv_results_", None)
    if results is None:
        raise ValueError("search must be fitted: it has no cv_results_")
    settings = results["params"]
    known = list(dict.fromkeys(name for one in settings for name in one))
    several = [name for name in known if len({repr(one.get(name)) for one in settings}) > 1] or known
    chosen = several[:2] if parameters is None else [parameters] if isinstance(parameters, str) else list(parameters)
    for name in chosen:
        if name not in known:
            raise ValueError(f"parameters: {name!r} was not searched; there are {known}")
    if not 1 <= len(chosen) <= 2:
        raise ValueError(f"parameters must be one or two names, got {chosen}")
    metric = next(name for name in results if name.startswith("mean_test_"))
    mean, spread = (np.asarray(results[name], dtype=float) for name in (metric, metric.replace("mean", "std", 1)))
    label = metric.removeprefix("mean_test_")
    label = f"mean {'score' if label == 'score' else label} of the folds"
    values = [_values([one.get(name) for one in settings]) for name in chosen]
    if len(chosen) == 1:
        return _draw_line(values[0], mean, spread, chosen[0], label, axes(ax))
    return _draw_map(values, mean, chosen, label, axes(ax, (5.6, 4.2)))


def _values(given: list[Any]) -> tuple[list[Any], np.ndarray]:
    """The different values in order, and which of them each candidate has."""
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in given)
    different = sorted(set(given)) if numbers else list({repr(one): one for one in given}.values())
    names = [repr(one) for one in different]
    return different, np.asarray([names.index(repr(one)) for one in given])


def _is_geometric(values: Sequence[Any]) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) and one > 0 for one in values)
    return numbers and len(values) > 1 and max(values) > 20.0 * min(values)


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _short(name: str) -> str:
    return name.rpartition("__")[2]


def _draw_line(values: Any, mean: np.ndarray, spread: np.ndarray, name: str, label: str, ax: Any) -> Any:
    different, which = values
    best = [max(np.flatnonzero(which == k), key=lambda i: np.nan_to_num(mean[i], nan=-np.inf)) for k in set(which)]
    order = sorted(best, key=lambda i: which[i])
    numbers = all(isinstance(one, int | float) for one in different)
    place = np.asarray([different[which[i]] if numbers else which[i] for i in order], dtype=float)
    ax.fill_between(place, mean[order] - spread[order], mean[order] + spread[order], color=COLOURS[0], alpha=0.3,
                    linewidth=0, label="one standard deviation")  # fmt: skip
    ax.plot(place, mean[order], "o-", color=COLOURS[0], label="mean")
    top = int(np.nanargmax(mean[order]))
    ax.plot(place[top], mean[order][top], "*", color=COLOURS[1], markersize=14, label="best")
    if numbers and _is_geometric(different):
        ax.set_xscale("log")
    elif not numbers:
        ax.set_xticks(range(len(different)), [_text(one) for one in different], rotation=30, ha="right")
    ax.set(xlabel=_short(name), ylabel=label)
    ax.legend(frameon=False)
    return ax


def _draw_map(values: Any, mean: np.ndarray, names: Sequence[str], label: str, ax: Any) -> Any:
    (rows, of_row), (columns, of_column) = values
    table = np.full((len(rows), len(columns)), np.nan)
    for i, j, score in zip(of_row, of_column, mean, strict=True):
        table[i, j] = np.fmax(table[i, j], score)
    image = ax.imshow(table, origin="lower", aspect="auto", cmap="viridis")
    ax.figure.colorbar(image, ax=ax, label=label)
    top = np.unravel_index(np.nanargmax(table), table.shape)
    low, high = np.nanmin(table), np.nanmax(table)
    for i, j in np.argwhere(np.isfinite(table)):
        light = (table[i, j] - low) > 0.6 * (high - low)
        star = "* " if (i, j) == top else ""
        ax.text(j, i, f"{star}{table[i, j]:.3f}", ha="center", va="center", color="black" if light else "white",
                fontsize="small", fontweight="bold" if star else "normal")  # fmt: skip
    ax.set_xticks(range(len(columns)), [_text(one) for one in columns], rotation=30, ha="right")
    ax.set_yticks(range(len(rows)), [_text(one) for one in rows])
    ax.set(xlabel=_short(names[1]), ylabel=_short(names[0]), title="* best")
    return ax
