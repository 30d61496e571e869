"""The record of training: one entry for each epoch."""

from __future__ import annotations

from typing import Any

import numpy as np


class History:
    """What was recorded after each epoch: `history["loss"]` is a list with an entry an epoch.

    `history.history` is the dict of all lists, `history.epoch` the numbers of the epochs, counted from 0 over the
    network's life. An entry is a float, or for a stack of members an array with one number each.

    >>> history = History()
    >>> history.append(0, {"loss": 0.5})
    >>> history["loss"], history.epoch
    ([0.5], [0])
    """

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

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
