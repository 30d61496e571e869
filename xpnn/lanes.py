"""The members of a stack as the lone networks that they are to their callbacks, while the stack is trained."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from xpnn.callbacks import Callback
from xpnn.history import History
from xpnn.progress import COUNTS, Carry, Progress, map_arrays, merged_rates
from xpnn.resume import Standing

Array = Any


class Lane:
    """One network while a stack is trained in its place: what its own `fit` keeps, and its callbacks.

    A callback that neither reads nor changes weights may say so by an attribute `reads_weights = False`: then it finds
    those of the beginning, which saves time. Others find copies, as what they keep would else hold the whole stack.
    """

    def __init__(self, net: Any, begun: Progress, watchers: Sequence[Callback], samples: int):
        self.net, self.start, self.watchers = net, begun, watchers
        self.kept, self.shown = net.progress, net.history
        self.history, self.finished = History({"loss": "min"}), 0
        self.samples = self.history.samples = samples
        self.begun: list[Callback] = []
        self.outputs, self.ended, self.handed = net._outputs, False, begun.carry
        self.reason: str | None = None
        self.reads = any(getattr(watcher, "reads_weights", True) for watcher in watchers)
        self.before = [watcher.on_epoch_begin for watcher in watchers if _overrides(watcher, "on_epoch_begin")]

    def begin(self, epochs: int, outputs: Any) -> None:
        """Before the first epoch. `outputs` are the programs that compute outputs, of which one set does for all."""
        self.net.progress, self.net.history, self.net._outputs = self.start, self.history, outputs
        for watcher in self.watchers:
            watcher.on_fit_begin(self.net, epochs)
            self.begun.append(watcher)
        self.shown = self.history

    def epoch(self, carry: Carry | None, counts: tuple[int, int, int], loss: float) -> None:
        """After an epoch: what the network is now, and what its callbacks say to it."""
        net, now = self.net, self.net.progress
        self.handed = carry or now.carry
        net.progress = Progress(self.handed, now.loss, now.optimizer, *counts, now.learning_rate)
        logs, number = {"loss": loss}, counts[0] - 1
        self.history.append(number, logs)
        for watcher in self.watchers:
            answer = watcher.on_epoch_end(net, number, logs)
            if self.reason is None and isinstance(answer, bool | np.bool_) and answer:
                self.reason = watcher.reason

    def commit(self) -> None:
        """The epoch counts."""
        self.kept, self.finished = self.net.progress, len(self.history.epoch)
        standing = Standing(self.net, self.history, self.watchers, {})
        for watcher in self.watchers:
            watcher.on_epoch_kept(self.net, self.history.epoch[-1], standing)

    def take(self, history: History, now: Progress) -> None:
        """What a stack recorded of a network that nobody watched, and where it stands."""
        start, self.finished = self.start, len(history.epoch)
        history.epoch = list(range(start.epoch, start.epoch + self.finished))
        history.samples = self.samples
        self.history = self.shown = history
        if self.finished:
            own = {"loss": start.loss, "optimizer": start.optimizer, "learning_rate": start.learning_rate}
            self.kept = now.map(self.net.backend.copy)._replace(**own)

    def end(self, reason: str | None) -> None:
        """Training is over, broken off where `reason` is None: the network is as its last finished epoch left it."""
        self.ended = True
        self.net.progress, self.net.history, self.net._outputs = self.kept, self.shown, self.outputs
        self.history.truncate(self.finished)
        self.history.stop_reason = reason
        with ExitStack() as ending:  # each is called, in their order, also where one of them raises
            for watcher in reversed(self.begun):
                ending.callback(watcher.on_fit_end, self.net, self.history)


class Lanes(Callback):
    """What a stack's `fit` tells each of its networks' callbacks, and what these ask for in return.

    A network whose callbacks ask to stop is trained no further; learning rates and parameters that they set are those
    of its member. With `seconds`, all that run are stopped after the epoch in which these are over.
    """

    def __init__(self, lanes: Sequence[Lane], seconds: float | None = None):
        self.lanes, self.seconds = lanes, seconds
        self.watched = [lane for lane in lanes if lane.watchers]
        self._rates = [lane.start.learning_rate for lane in lanes]

    def on_fit_begin(self, net, epochs):
        self._until = None if self.seconds is None else time.monotonic() + self.seconds
        for lane in self.watched:
            lane.begin(epochs, self.lanes[0].outputs)
        self._share(net)

    def on_epoch_begin(self, net, epoch):
        asked = [lane for lane in self.watched if lane.before and not lane.ended]
        for lane in asked:
            for method in lane.before:
                method(lane.net, lane.net.epoch)
        if asked:
            self._share(net)

    def on_epoch_end(self, net, epoch, logs):
        counts, losses, running = self._counts(net.progress), logs["loss"].tolist(), []
        for k, lane in enumerate(self.lanes):
            if lane.ended or not lane.watchers:
                continue
            if losses[k] != losses[k]:  # it diverged: the epoch is none of its own
                _end(net, k, lane, "diverged")
                continue
            lane.epoch(_carry(net, k) if lane.reads else None, counts[k], losses[k])
            running.append((k, lane))
        late = self._until is not None and time.monotonic() >= self._until
        self._share(net)
        for _, lane in running:
            lane.commit()
        for k, lane in running:
            if lane.reason or late:
                _end(net, k, lane, lane.reason or "time")
        return [lane.ended or late for lane in self.lanes]

    def _counts(self, progress: Progress) -> list[tuple[int, int, int]]:
        each = (np.broadcast_to(getattr(progress, name), (len(self.lanes),)).tolist() for name in COUNTS)
        return list(zip(*each, strict=True))

    def _share(self, net: Any) -> None:
        """The stack has the learning rates and weights that its networks' callbacks have set."""
        self._share_weights(net)
        self._share_rates(net)

    def _share_weights(self, net: Any) -> None:
        now = {k: lane.net.progress.carry for k, lane in enumerate(self.lanes) if lane.reads and not lane.ended}
        own = {k: carry for k, carry in now.items() if carry is not self.lanes[k].handed}
        if own:
            each = [own.get(k) or _carry(net, k) for k in range(len(self.lanes))]
            carry = map_arrays(lambda *arrays: net.backend.xp.stack(arrays), *each)
            net.progress = net.progress._replace(carry=carry)

    def _share_rates(self, net: Any) -> None:
        rates = [(lane.net.progress if lane.watchers else lane.start).learning_rate for lane in self.lanes]
        if rates == self._rates:
            return
        self._rates = rates
        own = [getattr(lane.start.optimizer, "learning_rate", None) for lane in self.lanes]
        net.learning_rate = merged_rates(rates, own)


def _carry(stack: Any, member: int) -> Carry:
    """What training has made of one member, in memory of its own."""
    return map_arrays(lambda array: stack.backend.copy(array[member, ...]), stack.progress.carry)


def _end(stack: Any, member: int, lane: Lane, reason: str | None) -> None:
    """The end of one member, with the weights that its callbacks did not ask to see."""
    if lane.watchers and lane.finished and not lane.reads:
        lane.kept = lane.kept._replace(carry=_carry(stack, member))
    lane.end(reason)


def close(lanes: Sequence[Lane], stack: Any) -> None:
    """After the `fit` of a stack, also where it was broken off: what is left to each of its networks."""
    recorded = stack.history
    if recorded.trained is None:  # it had not begun
        reasons = [None] * len(lanes)
    else:
        reasons = ["time" if reason == Lanes.reason else reason for reason in recorded.stop_reason]
    with ExitStack() as ending:
        for k, lane in reversed(list(enumerate(lanes))):
            if lane.ended:
                continue
            if not lane.watchers and recorded.trained is not None:
                lane.take(recorded.lane(k), stack.progress.lane(k))
            ending.callback(_end, stack, k, lane, reasons[k])


def _overrides(watcher: Callback, name: str) -> bool:
    method: Callable[..., Any] = getattr(watcher, name)
    return getattr(method, "__func__", None) is not getattr(Callback, name)
