"""The record of training: one entry for each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class History:
    """What was recorded after each epoch: `history["loss"]` is a list with an entry an epoch.

    `history.history` is the dict of all lists, `history.epoch` the numbers of the epochs, counted from 0 over the
    network's life. An entry is a float, or for a stack of members an array with one number each.

    `history.better` says of each name that `fit` records which end of it is better, "min" or "max".
    `history.stop_reason` is "finished" where all epochs were trained, else the `reason` of the callback that stopped
    them ("early", "time", "callback"); None where training was broken off. `history.best_epoch` is the epoch that
    `EarlyStopping` found the best, for a stack an array with one each; None where nobody watched.

    >>> history = History()
    >>> history.append(0, {"loss": 0.5})
    >>> history["loss"], history.epoch
    ([0.5], [0])
    """

    def __init__(self, better: Mapping[str, str] | None = None) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []
        self.better = dict(better or {})
        self.stop_reason: str | None = None
        self.best_epoch: Any = None

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self.history:
            raise KeyError(f"{name!r} was not recorded; there are {list(self.history)}")
        return self.history[name]

    def __repr__(self) -> str:
        if not self.epoch:
            return "History(no epochs)"
        last = ", ".join(f"{name} {np.round(values[-1], 6)}" for name, values in self.history.items())
        return f"History({len(self.epoch)} epochs; last: {last})"

    def append(self, epoch: int, logs: dict[str, Any]) -> None:
        """Record one epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value.copy() if isinstance(value, np.ndarray) else value)

    def truncate(self, epochs: int) -> None:
        """Keep the first `epochs` entries."""
        del self.epoch[epochs:]
        for values in self.history.values():
            del values[epochs:]

    def plot(self, ax: Any = None) -> Any:
        """The recorded curves over epochs as a matplotlib Axes."""
        from xpnn.plotting import plot_history

        return plot_history(self, ax=ax)
