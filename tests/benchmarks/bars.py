"""What the compiled step must reach and what it aims for, as ratios of one interleaved run; DESIGN, section 8.

A ratio is a peer's time by another's; in each workload that it is asked of it has a bar, and perhaps a goal. It should
be large where ours is the time below the line, and small where ours is above it.
"""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple


class Ratio(NamedTuple):
    """The time of `over` by the time of `under`."""

    over: str
    under: str
    at_most: bool = False


class Bar(NamedTuple):
    """What must be reached, and what is aimed for."""

    bar: float
    goal: float | None = None


RATIOS = {
    "ours / limit": Ratio("xpnn", "limit", at_most=True),
    "tutorial / ours": Ratio("tutorial script", "xpnn"),
    "PyTorch / ours": Ratio("PyTorch eager", "xpnn"),
    "scikit-learn / ours": Ratio("scikit-learn", "xpnn"),
    "JAX scan / ours": Ratio("JAX scan", "xpnn"),
    "PyTorch / eager": Ratio("PyTorch eager", "xpnn eager"),
    "scikit-learn / eager": Ratio("scikit-learn", "xpnn eager"),
    "one thread / ours": Ratio("xpnn one thread", "xpnn"),
    "PyTorch loop / ours": Ratio("PyTorch eager", "xpnn"),
    "PyTorch bmm / ours": Ratio("PyTorch bmm", "xpnn"),
    "JAX vmap / ours": Ratio("JAX vmap", "xpnn"),
    "PyTorch graphs / ours": Ratio("PyTorch graphs", "xpnn"),
    "limit / ours": Ratio("limit", "xpnn"),
    "our loop / ours": Ratio("xpnn loop", "xpnn"),
}

_THEIRS = ("PyTorch / ours", "scikit-learn / ours", "JAX scan / ours")
_EAGER = ("PyTorch / eager", "scikit-learn / eager")


def _row(first: str, *pairs: tuple[float, float]) -> dict[str, Bar]:
    return {name: Bar(*pair) for name, pair in zip((first, *_THEIRS), pairs, strict=True)}


ONE_THREAD = {
    "W1": _row("tutorial / ours", (2.2, 10.0), (10.0, 40.0), (4.5, 20.0), (0.38, 2.0)),
    "W2": _row("ours / limit", (2.0, 1.4), (5.5, 8.0), (4.8, 7.0), (0.75, 1.1)),
    "W3": _row("ours / limit", (1.5, 1.15), (1.5, 2.0), (1.75, 2.3), (0.85, 1.1)),
    "W4": _row("ours / limit", (1.12, 1.05), (1.25, 1.35), (1.2, 1.35), (0.95, 1.05)),
    "W5": _row("ours / limit", (1.06, 1.02), (1.3, 1.4), (1.55, 1.65), (1.15, 1.25)),
    "W6a": _row("ours / limit", (2.1, 1.4), (2.6, 4.0), (6.0, 9.0), (1.4, 2.0)),
    "W6b": _row("ours / limit", (1.1, 1.05), (1.2, 1.3), (1.05, 1.15), (1.2, 1.3)),
}
EAGER = {name: dict.fromkeys(_EAGER, Bar(1.0)) for name in ("W1", "W2", "W3", "W4", "W5")}
TWO_THREADS = {
    "W2": {"one thread / ours": Bar(1.0)},
    "W4": {"ours / limit": Bar(1.35)},
    "W5": {"ours / limit": Bar(1.1)},
}
_MANY = {
    "PyTorch loop / ours": Bar(7.5, 9.0),
    "PyTorch bmm / ours": Bar(2.4, 2.9),
    "scikit-learn / ours": Bar(6.3, 7.5),
    "JAX vmap / ours": Bar(1.1, 1.3),
}
MANY = {
    "W7o": {"ours / limit": Bar(1.65, 1.4)} | _MANY,
    "W7s": {"ours / limit": Bar(1.5, 1.3)} | _MANY,
}
"""Of many networks at once, by a step of one of them."""
MANY_TWO_THREADS = {name: {"one thread / ours": Bar(1.35)} for name in MANY}

_LEVEL = {"PyTorch graphs / ours": Bar(1.0)}
CARD = {name: {"PyTorch / ours": Bar(2.0)} | _LEVEL for name in ("W1", "W2", "W3")}
CARD |= {"W4": {"PyTorch / ours": Bar(1.0)} | _LEVEL}
CARD |= {"W5": {"PyTorch / ours": Bar(1.0)} | _LEVEL | {"limit / ours": Bar(0.85)}}
"""Of a run on a GPU."""
CARD_MANY = {name: {"our loop / ours": Bar(10.0), "PyTorch loop / ours": Bar(10.0)} | _LEVEL for name in MANY}

IMPORT = "import xpnn", "import numpy", Bar(1.3)
"""The first takes at most that much of the second's time."""
OWN_SIZE = Bar(1.0)
"""MiB that our own files take at most."""

Bars = dict[str, dict[str, Bar]]


def asked(results: dict[str, Any]) -> list[Bars]:
    """The bars of a run: on a GPU those of a card, else those of its threads, of which there are none for over two."""
    if "card" in results:
        return [CARD, CARD_MANY]
    return {1: [ONE_THREAD, EAGER, MANY], 2: [TWO_THREADS, MANY_TWO_THREADS]}.get(results["threads"], [])


def ratio(over: list[float], under: list[float]) -> float:
    """The median of the rounds' ratios: what slows a whole round cancels in each."""
    return median(one / other for one, other in zip(over, under, strict=True))


def found(name: str, rounds: dict[str, list[float]]) -> float | None:
    """The ratio of that name in a workload's rounds; None where one of the two was not measured."""
    over, under, _ = RATIOS[name]
    return ratio(rounds[over], rounds[under]) if over in rounds and under in rounds else None


def passes(value: float, line: float, at_most: bool) -> bool:
    """Whether a figure is on the right side of its bar."""
    return value <= line if at_most else value >= line


def verdict(value: float, bar: Bar, at_most: bool) -> str:
    """Whether the goal, or at least the bar, is reached, in words.

    >>> verdict(1.3, Bar(2.0, 1.4), at_most=True), verdict(1.3, Bar(1.5, 2.0), at_most=False)
    ('goal reached', 'not reached')
    """
    if bar.goal is not None and passes(value, bar.goal, at_most):
        return "goal reached"
    return "reached" if passes(value, bar.bar, at_most) else "not reached"


def verdicts(results: dict[str, Any]) -> list[str]:
    """The verdict of every bar that the results say something of."""
    return [
        verdict(value, bar, RATIOS[name].at_most)
        for bars in asked(results)
        for work, row in bars.items()
        for name, bar in row.items()
        if (value := found(name, results["microseconds"].get(work, {}))) is not None
    ]
