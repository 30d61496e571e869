"""The record of training: one entry for each epoch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np


class History:
    """What was recorded after each epoch: `history["loss"]` is a list with an entry an epoch.

    `history.history` is the dict of all lists, `history.epoch` the numbers of the epochs, counted from 0 over the
    network's life. An entry is a float, or for a stack of members an array with one number each.

    `history.better` says of each name that `fit` records which end of it is better, "min" or "max".
    `history.stop_reason` is "finished" where all epochs were trained, else the `reason` of the callback that stopped
    them ("early", "time", "callback"), or "diverged"; None where training was broken off. `history.best_epoch` is the
    epoch that `EarlyStopping` found the best; None where nobody watched. `history.samples` is how many rows an epoch
    has, over all members of a stack; None where that is not known before.

    A stack has a reason and a best epoch for each member, a list and an array; a member that diverged is stopped alone.
    What is recorded after a member has stopped is NaN, and `history.trained` says how many epochs each was trained.

    >>> history = History()
    >>> history.append(0, {"loss": 0.5})
    >>> history["loss"], history.epoch
    ([0.5], [0])
    """

    def __init__(self, better: Mapping[str, str] | None = None, members: int | None = None) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []
        self.better = dict(better or {})
        self.stop_reason: Any = None if members is None else [None] * members
        self.best_epoch: Any = None
        self.trained: Any = None if members is None else np.zeros(members, dtype=np.int64)
        self.samples: int | None = None

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self.history:
            raise KeyError(f"{name!r} was not recorded; there are {list(self.history)}")
        return self.history[name]

    def __repr__(self) -> str:
        if not self.epoch:
            return "History(no epochs)"
        last = ", ".join(f"{name} {np.round(values[-1], 6)}" for name, values in self.history.items())
        return f"History({len(self.epoch)} epochs; last: {last})"

    def append(self, epoch: int, logs: dict[str, Any], trained: Any = True) -> None:
        """Record one epoch, in which the members of a mask were trained."""
        self.epoch.append(epoch)
        if self.trained is not None:
            self.trained = self.trained + trained
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value.copy() if isinstance(value, np.ndarray) else value)

    def truncate(self, epochs: int) -> None:
        """Keep the first `epochs` entries."""
        del self.epoch[epochs:]
        for values in self.history.values():
            del values[epochs:]
        if self.trained is not None:
            self.trained = np.minimum(self.trained, epochs)

    def stop(self, asked: Any, reason: str) -> None:
        """Training stops where it still runs, of a stack for those members for which it is asked.

        What is no bool, nor an array or list with one for each member, asks for nothing.
        """
        if not isinstance(self.stop_reason, list):
            if self.stop_reason is None and isinstance(asked, bool | np.bool_) and asked:
                self.stop_reason = reason
            return
        members, asked = len(self.stop_reason), np.asarray(asked)
        if asked.dtype != bool:
            return
        if asked.shape not in ((), (members,)):
            wanted = f"on_epoch_end of a callback must give True, False or one for each of {members} members"
            raise ValueError(f"{wanted}, got an array of shape {asked.shape}")
        pairs = zip(self.stop_reason, np.broadcast_to(asked, (members,)), strict=True)
        self.stop_reason = [reason if old is None and stops else old for old, stops in pairs]

    @property
    def runs(self) -> bool:
        """Whether training goes on, of one member at least."""
        return self.stop_reason is None or (isinstance(self.stop_reason, list) and None in self.stop_reason)

    @property
    def stopped(self) -> np.ndarray:
        """Which members are trained no further."""
        return np.asarray([reason is not None for reason in self.stop_reason])

    def members_that(self, reason: str) -> list[int]:
        """The members that stopped for this reason; of a lone network none."""
        given = self.stop_reason if isinstance(self.stop_reason, list) else []
        return [k for k, own in enumerate(given) if own == reason]

    def lane(self, member: int) -> History:
        """What a lone network in the place of one member of a stack would have recorded."""
        if self.trained is None:
            return copy.deepcopy(self)
        lone, count = History(self.better), int(self.trained[member])
        lone.epoch = self.epoch[:count]
        if count:
            members = len(self.trained)  # a metric may have given one number for all
            own = lambda value: float(np.broadcast_to(value, (members,))[member])  # noqa: E731
            lone.history = {name: [own(value) for value in values[:count]] for name, values in self.history.items()}
        lone.stop_reason = self.stop_reason[member]
        if self.best_epoch is not None and self.best_epoch[member] >= 0:
            lone.best_epoch = int(self.best_epoch[member])
        return lone

    def _repr_html_(self) -> str:
        from xpnn.display import history_html

        return history_html(self)

    def plot(self, ax: Any = None) -> Any:
        """The recorded curves over epochs as a matplotlib Axes."""
        from xpnn.plotting import plot_history

        return plot_history(self, ax=ax)
