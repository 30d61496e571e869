"""What a callback is, the form in which it sees numbers (one, or one a member of a stack), and where it may write."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar


class Callback:
    """The contract: override what you need. A plain function is taken as `on_epoch_end`.

    `net` holds the weights of the epoch that ended; `logs` its numbers, as `history` records them. An exception stops
    training, puts back the last finished epoch, and reaches the caller. `net.learning_rate` may be set in each method;
    what an unfinished epoch has set is undone with it. One that never looks at weights may say `reads_weights = False`,
    which spares `fit_many` a copy of them in every epoch. `reason` is what `history.stop_reason` says where this
    callback stopped training.
    """

    reason: ClassVar[str] = "callback"

    def on_fit_begin(self, net: Any, epochs: int) -> None:
        """Before the first of `epochs` epochs; `net.history.better` has the names of what will be recorded."""

    def on_epoch_begin(self, net: Any, epoch: int) -> None:
        """Before epoch number `epoch`, counted from 0 over the network's life."""

    def on_epoch_end(self, net: Any, epoch: int, logs: Mapping[str, Any]) -> Any:
        """After epoch number `epoch`; True stops training, of a stack a list or array of bools that of some members.

        What is recorded of a member that was stopped before is NaN.
        """

    def on_epoch_kept(self, net: Any, epoch: int, standing: Any) -> None:
        """After epoch number `epoch`, once every callback has seen it and nothing undoes it any more.

        `standing.save(path)` writes a file from which `fit(resume=path)` goes on.
        """

    def on_fit_end(self, net: Any, history: Any) -> None:
        """After the last epoch, and also where training was broken off, once the unfinished epoch is undone."""

    def state(self) -> Any:
        """What this callback has to know again where a fit is resumed: numbers, texts, arrays, lists and dicts of them.

        A callback that keeps something from one epoch to the next overrides this and `restore`.
        """
        return None

    def restore(self, net: Any, state: Any) -> None:
        """After `on_fit_begin` of a fit that is resumed: go on from what `state` gave, arrays on the host."""


class LambdaCallback(Callback):
    """Functions in the place of a callback's methods, with the same arguments.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([1, 1]))
    >>> tell = LambdaCallback(on_fit_begin=lambda net, epochs: print(epochs, "epochs"))
    >>> history = net.fit([[0.0], [1.0]], [1.0, 3.0], epochs=2, callbacks=[tell])
    2 epochs
    """

    def __init__(
        self,
        on_epoch_end: Callable[[Any, int, Mapping[str, Any]], Any] | None = None,
        *,
        on_fit_begin: Callable[[Any, int], Any] | None = None,
        on_epoch_begin: Callable[[Any, int], Any] | None = None,
        on_fit_end: Callable[[Any, Any], Any] | None = None,
    ):
        given = {"on_epoch_end": on_epoch_end, "on_fit_begin": on_fit_begin}
        for name, function in (given | {"on_epoch_begin": on_epoch_begin, "on_fit_end": on_fit_end}).items():
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function, got {function!r}")
            if function is not None:
                setattr(self, name, function)


busy: set[str] = set()
"""The files and folders that trainings of this process write into."""


def unused(name: str, path: Any) -> str:
    """The real path of a file or folder; raises ValueError where it is busy."""
    place = os.path.realpath(path)
    if place in busy:
        raise ValueError(f"{name}: {path} serves another training that runs: give each network its own")
    return place


def numbers_of(value: Any) -> list[Any]:
    """A recorded value or a rate as a list: one number a member, or one for all."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, list | tuple) else [value]


def repeated(numbers: list[Any], count: int) -> list[Any]:
    return numbers * count if len(numbers) == 1 else numbers


def trained(value: Any) -> list[Any]:
    """The numbers without those of members that are trained no further, which are NaN."""
    return [number for number in numbers_of(value) if number == number]


def range_of(value: Any, to: str = "..") -> str:
    """One number as text, or the least and the greatest of the members that are still trained."""
    numbers = trained(value) or [math.nan]
    low, high = f"{min(numbers):.4g}", f"{max(numbers):.4g}"
    return low if low == high else f"{low}{to}{high}"


def in_form(value: Any, numbers: list[Any]) -> Any:
    """The members' numbers in the form of a recorded `value`: the one, or an array of them with -1 for None."""
    if not getattr(value, "ndim", 0):
        return numbers[0]
    numbers = [-1 if number is None else number for number in numbers]
    found = (value == value).astype(type(numbers[0]))  # of its shape; its own numbers may have no integer
    found[:] = numbers
    return found
