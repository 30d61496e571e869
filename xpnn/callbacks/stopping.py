"""When training stops before its last epoch: where it no longer gets better, or takes too long."""

import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from xpnn._arguments import ABOVE_ZERO, check_flag, check_number, settle
from xpnn.callbacks.base import Callback, in_form, numbers_of
from xpnn.callbacks.monitor import Monitor


class _Best(NamedTuple):
    """What early stopping knows of one member."""

    best: float = math.nan
    best_epoch: int | None = None
    wait: int = 0
    stopped_epoch: int | None = None


class _Stand(NamedTuple):
    """Where early stopping stands after an epoch."""

    epoch: int
    members: list[_Best]
    value: Any  # what was recorded
    carry: Any  # what each member's best epoch left


@dataclass(eq=False)
class EarlyStopping(Monitor):
    """Stops training after `patience` epochs in which `monitor` was not better, and puts back the best epoch.

    Put back are parameters, layer state and optimizer state together, at the end of every `fit`: also where all epochs
    were trained, Ctrl-C was pressed or an error was raised. The counts of epochs and updates go on, so that further
    training sees new orders of rows. In a stack each member has its own best epoch and its own end, after which it is
    trained no further. Each `fit` starts afresh.

    Parameters
    ----------
    monitor : the name of what is recorded: "loss", a metric's, or either with "val_".
    patience : after how many epochs in a row without a better value training stops; 0 is as 1.
    min_delta : a value is better where it is so by more than this, >= 0.
    mode : "min", "max" or "auto": "max" for metrics whose `greater_is_better` is True, else "min".
    restore_best_weights : False keeps the last epoch.

    Attributes
    ----------
    best, best_epoch : the best value and its epoch, counted as `history.epoch` does.
    wait : how many epochs in a row were not better when training ended.
    stopped_epoch : the epoch in which the patience came to its end, None where it did not.
        Of a stack each is an array with one entry a member, -1 for no epoch. All are None before the first epoch.

    Prechelt (1998), "Early stopping - but when?". The names are Keras', where `restore_best_weights` is off.

    >>> import xpnn
    >>> x, y = xpnn.datasets.circles()
    >>> net = xpnn.Network(xpnn.mlp([2, 8, 1], output="sigmoid"))
    >>> stop = EarlyStopping(patience=3)
    >>> history = net.fit(x, y, "bce", xpnn.Adam(0.3), validation_split=0.3, callbacks=[stop])
    >>> history.stop_reason, stop.stopped_epoch - history.best_epoch, stop.best == min(history["val_loss"])
    ('early', 3, True)
    """

    monitor: str = "val_loss"
    patience: int = 10
    min_delta: float = 0.0
    mode: str = "auto"
    restore_best_weights: bool = True

    reason: ClassVar[str] = "early"

    def __post_init__(self):
        super().__post_init__()
        settle(self, check_flag, "restore_best_weights")
        self._forget()

    def _forget(self) -> None:
        self.best = self.best_epoch = self.wait = self.stopped_epoch = None
        self._stands: list[_Stand] = []  # the last two: an epoch that ended may still be undone

    def on_fit_begin(self, net, epochs):
        super().on_fit_begin(net, epochs)
        self._forget()

    def on_epoch_end(self, net, epoch, logs):
        value, carry = logs[self.monitor], None
        numbers = numbers_of(value)
        before = self._stands[-1].members if self._stands else [_Best()] * len(numbers)
        trained = [loss == loss for loss in numbers_of(logs["loss"])]  # whoever asked to stop after this epoch
        trained = trained if len(trained) == len(numbers) else [any(trained)] * len(numbers)
        members = [
            self._after(member, number, epoch) if was else member
            for member, number, was in zip(before, numbers, trained, strict=True)
        ]
        if self.restore_best_weights:
            better = [member.best_epoch == epoch for member in members]
            carry = net.progress.carry_of(better, self._stands[-1].carry if self._stands else None, net.backend)
        self._stands = [*self._stands[-1:], _Stand(epoch, members, value, carry)]
        self._show(self._stands[-1])
        stops = [member.stopped_epoch is not None for member in members]
        return stops if getattr(value, "ndim", 0) else stops[0]

    def _after(self, member: _Best, value: float, epoch: int) -> _Best:
        if member.stopped_epoch is not None:
            return member
        if self.is_better(value, member.best):
            return _Best(value, epoch)
        wait = member.wait + 1
        return member._replace(wait=wait, stopped_epoch=epoch if wait >= self.patience else None)

    def _show(self, stand: _Stand) -> None:
        for name in _Best._fields:
            setattr(self, name, in_form(stand.value, [getattr(member, name) for member in stand.members]))

    def state(self):
        if not self._stands:
            return None
        stand = self._stands[-1]
        members = [list(member) for member in stand.members]
        carry = None if stand.carry is None else stand.carry.arrays()
        return {"epoch": stand.epoch, "members": members, "value": stand.value, "carry": carry}

    def restore(self, net, state):
        if state is not None:
            carry = state["carry"] and net.progress.carry.made_of(state["carry"], net.backend)
            members = [_Best(*member) for member in state["members"]]
            self._stands = [_Stand(state["epoch"], members, state["value"], carry)]
            self._show(self._stands[-1])

    def on_fit_end(self, net, history):
        stand = next((stand for stand in self._stands if history.epoch[-1:] == [stand.epoch]), None)
        self._forget()  # what the best epoch left is as large as the network
        if stand is None:
            return
        self._show(stand)
        history.best_epoch = self.best_epoch
        if self.restore_best_weights:
            none = [member.best_epoch is None for member in stand.members]  # these keep what they have
            net.progress = net.progress._replace(carry=net.progress.carry_of(none, stand.carry, net.backend))


@dataclass(eq=False)
class TimeLimit(Callback):
    """Stops training after the epoch in which `seconds`, > 0, are over, counted from the beginning of `fit`.

    The time of a fit that is resumed counts on.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([1, 1]))
    >>> net.fit([[0.0]], [1.0], epochs=10**9, callbacks=[TimeLimit(0.01)]).stop_reason
    'time'
    """

    seconds: float

    reason: ClassVar[str] = "time"

    def __post_init__(self):
        settle(self, check_number, "seconds", **ABOVE_ZERO)

    def on_fit_begin(self, net, epochs):
        self._end = time.monotonic() + self.seconds

    def on_epoch_end(self, net, epoch, logs):
        return time.monotonic() >= self._end

    def state(self):
        return {"seconds": self.seconds - (self._end - time.monotonic())}  # that are over

    def restore(self, net, state):
        self._end -= state["seconds"]
