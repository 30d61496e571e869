"""Learning rates that change between epochs, by what was recorded or by the epoch's number."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from xpnn._arguments import check_count, check_number
from xpnn.callbacks.base import Callback, numbers_of, repeated
from xpnn.callbacks.monitor import Monitor
from xpnn.own import OwnSchedules, own_number


class _Pace(NamedTuple):
    """What the reduction on a plateau knows of one member."""

    best: float = math.nan
    wait: int = 0
    rest: int = 0  # epochs of the cooldown that are left


@dataclass(eq=False)
class ReduceLROnPlateau(Monitor):
    """rate <- max(factor * rate, min_lr) after `patience` epochs in which `monitor` was not better, each time anew.

    It sets `net.learning_rate`, a schedule's own course ends there; `net.learning_rate = None` after the fit takes the
    optimizer's own again. In a stack each member has its own rate. Each `fit` starts afresh.

    Parameters
    ----------
    monitor, mode : as in `EarlyStopping`.
    factor : 0 < factor < 1.
    patience : after how many epochs in a row without a better value, as in `EarlyStopping`; 0 is as 1.
    min_delta : a value is better where it is so by more than this, >= 0.
    cooldown : how many epochs after a reduction are not counted.
    min_lr : the least rate, >= 0.

    Names and defaults are Keras'. PyTorch's scheduler of the same name with threshold_mode="abs" has the same numbers
    where its patience, the epochs that it lets pass, is one less.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([1, 1]))
    >>> plateau = ReduceLROnPlateau("loss", factor=0.5, patience=2, min_delta=100.0)
    >>> history = net.fit([[0.0], [1.0]], [1.0, 3.0], optimizer=xpnn.SGD(0.1), epochs=5, callbacks=[plateau])
    >>> net.learning_rate
    0.025
    """

    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0
    mode: str = "auto"

    def __post_init__(self):
        super().__post_init__()
        check_number("factor", self.factor, low=0.0, high=1.0, open_low=True, open_high=True)
        check_count("cooldown", self.cooldown, low=0)
        check_number("min_lr", self.min_lr, low=0.0)

    def on_fit_begin(self, net, epochs):
        super().on_fit_begin(net, epochs)
        if net.learning_rate is None:
            raise ValueError(f"{self} needs an optimizer with a learning rate, got {net.progress.optimizer!r}")
        self._members: list[_Pace] = []

    def on_epoch_end(self, net, epoch, logs):
        values, rates = numbers_of(logs[self.monitor]), numbers_of(net.learning_rate)
        before = self._members or [_Pace()] * len(values)
        waited = [self._after(*one) for one in zip(before, values, strict=True)]
        reached = [member.wait >= max(self.patience, 1) for member in waited]
        self._members = [
            member._replace(wait=0, rest=self.cooldown) if end else member
            for member, end in zip(waited, reached, strict=True)
        ]
        if any(reached):
            count = max(len(values), len(rates))
            pairs = zip(repeated(rates, count), repeated(reached, count), strict=True)
            reduced = [min(rate, max(self.factor * rate, self.min_lr)) if end else None for rate, end in pairs]
            now = net.progress
            course = now.optimizer.learning_rate if now.learning_rate is None else now.learning_rate
            # the other members stay on the course that a schedule gives them
            rates = [own_number(course, k) if rate is None else rate for k, rate in enumerate(reduced)]
            rates = OwnSchedules(tuple(rates)) if any(map(callable, rates)) else rates
            net.learning_rate = rates if count > 1 else reduced[0]

    def state(self):
        return [list(member) for member in self._members]

    def restore(self, net, state):
        self._members = [_Pace(*member) for member in state]

    def _after(self, member: _Pace, value: float) -> _Pace:
        better = self.is_better(value, member.best)
        wait = 0 if better or member.rest else member.wait + 1
        return _Pace(value if better else member.best, wait, max(member.rest - 1, 0))


@dataclass(eq=False)
class LearningRateScheduler(Callback):
    """net.learning_rate <- function(epoch), or function(epoch, rate) of the rate before, as each epoch begins.

    Epochs count from 0 over the network's life. `rate` is given where the function requires a second argument. The
    value is a number, or one for each member. The last one stays after the fit; `net.learning_rate = None` takes the
    optimizer's own again. For numbers that change with every update give the optimizer a schedule.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([1, 1]))
    >>> halve = LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    >>> history = net.fit([[0.0], [1.0]], [1.0, 3.0], optimizer=xpnn.SGD(0.1), epochs=3, callbacks=[halve])
    >>> net.learning_rate
    0.025
    """

    function: Callable[..., Any]

    def __post_init__(self):
        if not callable(self.function):
            raise TypeError(f"function must be a function of the epoch, got {self.function!r}")
        self._wants_rate = not _takes(self.function, 1)
        if self._wants_rate and not _takes(self.function, 2):
            raise TypeError(f"function must take (epoch) or (epoch, rate), got {self.function!r}")

    def on_epoch_begin(self, net, epoch):
        rate = self.function(epoch, net.learning_rate) if self._wants_rate else self.function(epoch)
        if rate is None or callable(rate):
            raise TypeError(f"the function of LearningRateScheduler must give a number, got {rate!r} for epoch {epoch}")
        net.learning_rate = rate


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a call with `count` arguments fits; a function that does not say what it takes takes one."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return count == 1
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
