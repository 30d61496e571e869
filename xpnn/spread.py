"""Trainings of networks of different shapes spread over threads: where one fails, the others end with their epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from xpnn.callbacks import Callback
from xpnn.epochs import BrokenOff
from xpnn.threads import one_thread, single


class Until(Callback):
    """Breaks a fit off before its next epoch once `broken` is set."""

    def __init__(self, broken: Event):
        self.broken = broken

    def on_epoch_begin(self, net, epoch):
        if self.broken.is_set():
            raise BrokenOff("another of the networks that are trained at once has failed")


def spread(tasks: Sequence[Callable[[Callback], Any]], threads: int) -> list[Any]:
    """What each task gives, as many at once as there are threads. Each is handed a callback for the fit in it.

    >>> spread([lambda until: 1, lambda until: 2, lambda until: 3], 2)
    [1, 2, 3]

    Raises what the first of them raises that fails, once the others have ended.
    """
    broken = Event()

    def run(task: Callable[[Callback], Any]) -> Any:
        try:
            with single():
                return task(Until(broken))
        except BaseException:
            broken.set()
            raise

    with one_thread(True), ThreadPoolExecutor(threads) as pool:
        made = [pool.submit(run, task) for task in tasks]
        try:
            errors = [error for one in made if (error := one.exception()) is not None]
        except BaseException:  # Ctrl-C, while waiting
            broken.set()
            raise
    if errors:
        raise next((error for error in errors if not isinstance(error, BrokenOff)), errors[0])
    return [one.result() for one in made]
