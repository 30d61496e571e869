"""A search over settings: the mean score over one or two of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn.plotting.base import COLOURS, axes, ink, paper, written_on


class Setting(NamedTuple):
    """One parameter of a search: its different values in order, and which of them each candidate has."""

    name: str
    values: list[Any]
    of: np.ndarray

    @property
    def numbers(self) -> bool:
        return _numbers(self.values)

    @property
    def geometric(self) -> bool:
        """Whether a logarithmic axis shows the values best."""
        return self.numbers and min(self.values) > 0 and max(self.values) > 20.0 * min(self.values)


def plot_search(search: Any, parameters: str | Sequence[str] | None = None, ax: Any = None) -> Any:
    """The mean score of a search over one or two of its parameters, with the best marked by a star.

    Over one a line with a band of one standard deviation between folds; over two a map of cells in the order of their
    values, or points, where candidates were drawn and form no grid. Of candidates that differ in other parameters too
    the best is shown. Axes are logarithmic where values grow by factors.

    Parameters
    ----------
    search : a fitted MLPSearchCV, GridSearchCV or the like: `cv_results_` is read.
    parameters : one or two names; None takes the first two that were searched.

    Raises
    ------
    ValueError for a search that is not fitted or has no score, and for a name that was not searched.

    >>> from types import SimpleNamespace
    >>> found = {"params": [{"alpha": 0.001}, {"alpha": 0.1}], "mean_test_score": [0.8, 0.9]}
    >>> ax = plot_search(SimpleNamespace(cv_results_=found | {"std_test_score": [0.1, 0.1]}))
    >>> ax.get_xlabel(), ax.get_xscale()
    ('alpha', 'log')
    """
    results = getattr(search, "cv_results_", None)
    if results is None:
        raise ValueError(f"search must be fitted, got a {type(search).__name__} without cv_results_: call its fit")
    candidates = results["params"]
    known = list(dict.fromkeys(name for one in candidates for name in one))
    if parameters is None:
        several = [name for name in known if len({repr(one.get(name)) for one in candidates}) > 1]
        chosen = (several or known)[:2]
    else:
        chosen = [parameters] if isinstance(parameters, str) else list(parameters)
    for name in chosen:
        if name not in known:
            raise ValueError(f"parameters must be of those searched, {known}, got {name!r}")
    if not 1 <= len(chosen) <= 2 or len(set(chosen)) < len(chosen):
        raise ValueError(f"parameters must be one or two different names, got {chosen}")
    metric, mean, spread = _scores(search, results)
    label = f"mean {metric} of the folds"
    settings = [_setting(name, [one.get(name) for one in candidates]) for name in chosen]
    if len(chosen) == 1:
        return _draw_line(settings[0], mean, spread, label, axes(ax))
    down, across = settings
    filled = len(set(zip(down.of, across.of, strict=True)))
    if down.numbers and across.numbers and 2 * filled < len(down.values) * len(across.values):
        return _draw_points(down, across, mean, label, axes(ax, (5.6, 4.2)))
    return _draw_map(down, across, mean, label, axes(ax, (5.6, 4.2)))


def _scores(search: Any, results: Any) -> tuple[str, np.ndarray, np.ndarray]:
    """What was scored, and of each candidate the mean and the spread: of several metrics that which chose the best."""
    names = [name.removeprefix("mean_test_") for name in results if name.startswith("mean_test_")]
    metric = next((name for name in names if name == getattr(search, "refit", None)), names[0])
    mean, spread = (np.asarray(results[f"{kind}_test_{metric}"], dtype=float) for kind in ("mean", "std"))
    if not np.isfinite(mean).any():
        raise ValueError("search has no score to draw: no candidate could be fitted")
    if "n_resources" in results:  # of successive halving, where the last of a candidate's rounds counts
        last = {repr(setting): i for i, setting in enumerate(results["params"])}
        mean = np.where(np.isin(np.arange(len(mean)), list(last.values())), mean, np.nan)
    return metric, mean, spread


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(one, int | float | np.number) and not isinstance(one, bool) for one in values)


def _setting(name: str, given: list[Any]) -> Setting:
    different = sorted(set(given)) if _numbers(given) else list({repr(one): one for one in given}.values())
    places = {repr(one): place for place, one in enumerate(different)}
    return Setting(name.rpartition("__")[2], different, np.asarray([places[repr(one)] for one in given]))


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _draw_line(setting: Setting, mean: np.ndarray, spread: np.ndarray, label: str, ax: Any) -> Any:
    scored = np.where(np.isfinite(mean), mean, -np.inf)
    best = [max(np.flatnonzero(setting.of == k), key=lambda i: scored[i]) for k in range(len(setting.values))]
    place = np.asarray(setting.values if setting.numbers else range(len(best)), dtype=float)
    mean, spread = mean[best], spread[best]
    ax.fill_between(place, mean - spread, mean + spread, color=COLOURS[0], alpha=0.4, linewidth=0,
                    label="one standard deviation")  # fmt: skip
    ax.plot(place, mean, "o-", color=COLOURS[0], label="mean")
    top = int(np.nanargmax(mean))
    ax.plot(place[top], mean[top], "*", color=COLOURS[1], markersize=14, label="best")
    if setting.geometric:
        ax.set_xscale("log")
    elif not setting.numbers:
        ax.set_xticks(place, [_text(one) for one in setting.values], rotation=30, ha="right", rotation_mode="anchor")
    ax.set(xlabel=setting.name, ylabel=label)
    ax.legend(frameon=False)
    return ax


def _draw_map(down: Setting, across: Setting, mean: np.ndarray, label: str, ax: Any) -> Any:
    table = np.full((len(down.values), len(across.values)), np.nan)
    for i, j, score in zip(down.of, across.of, mean, strict=True):
        table[i, j] = np.fmax(table[i, j], score)
    image = ax.imshow(table, origin="lower", aspect="auto", cmap="viridis")
    ax.figure.colorbar(image, ax=ax, label=label)
    top = np.unravel_index(np.nanargmax(table), table.shape)
    few = table.shape[0] <= 12 and table.shape[1] <= 8
    for i, j in np.argwhere(np.isfinite(table)) if few else ():
        star = "$\\bigstar$\n" if (i, j) == top else ""
        ax.text(j, i, f"{star}{table[i, j]:.3f}", ha="center", va="center", fontsize="small",
                fontweight="bold" if star else "normal", color=written_on(image.to_rgba(table[i, j])))  # fmt: skip
    if not few:
        ax.plot(top[1], top[0], "*", color=written_on(image.to_rgba(table[top])), markersize=12)
    for axis, one in ((ax.xaxis, across), (ax.yaxis, down)):
        every = range(0, len(one.values), -(-len(one.values) // 12))
        axis.set_ticks(every, [_text(one.values[k]) for k in every])
    ax.tick_params(axis="x", labelrotation=30)
    ax.set(xlabel=across.name, ylabel=down.name)
    ax.set_title("$\\bigstar$ best", fontsize="medium")
    return ax


def _draw_points(down: Setting, across: Setting, mean: np.ndarray, label: str, ax: Any) -> Any:
    known = np.isfinite(mean)
    place = [np.asarray(one.values, dtype=float)[one.of][known] for one in (across, down)]
    order = np.argsort(mean[known])  # the best on top
    x, y, score = place[0][order], place[1][order], mean[known][order]
    points = ax.scatter(x, y, c=score, cmap="viridis", s=45, edgecolors=ink(), linewidths=0.5)
    ax.figure.colorbar(points, ax=ax, label=label)
    ax.plot(x[-1], y[-1], "*", color=COLOURS[1], markeredgecolor=paper(), markersize=16, label=f"best, {score[-1]:.3f}")
    ax.set(xlabel=across.name, ylabel=down.name)
    ax.set_xscale("log" if across.geometric else "linear")
    ax.set_yscale("log" if down.geometric else "linear")
    ax.legend(frameon=True, framealpha=0.9, fontsize="small")
    return ax
