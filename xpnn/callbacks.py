"""What is called while `fit` runs: at its beginning, after each epoch, and at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from xpnn._arguments import as_list


class Callback:
    """The contract: override what you need. A plain function is taken as `on_epoch_end`.

    `net` holds the weights of the epoch that ended; `logs` its numbers, as `history` records them. An exception stops
    training, puts back the last finished epoch, and reaches the caller.
    """

    def on_fit_begin(self, net: Any, epochs: int) -> None:
        """Before the first of `epochs` epochs."""

    def on_epoch_end(self, net: Any, epoch: int, logs: Mapping[str, Any]) -> bool | None:
        """After epoch number `epoch`, counted from 0 over the network's life; True stops training."""

    def on_fit_end(self, net: Any, history: Any) -> None:
        """After the last epoch, and also where training was broken off."""


class LambdaCallback(Callback):
    """A function called after each epoch with (net, epoch, logs); where it returns True training stops."""

    def __init__(self, function: Callable[[Any, int, Mapping[str, Any]], bool | None]):
        self.function = function

    def on_epoch_end(self, net, epoch, logs):
        return self.function(net, epoch, logs)


class ProgressBar(Callback):
    """A tqdm bar on standard error, with the last epoch's numbers; `fit(verbose=1)` adds one."""

    def on_fit_begin(self, net, epochs):
        from tqdm.auto import tqdm

        self._bar = tqdm(total=epochs, unit="epoch", dynamic_ncols=True)

    def on_epoch_end(self, net, epoch, logs):
        self._bar.set_postfix({name: _short(value) for name, value in logs.items()}, refresh=False)
        self._bar.update()

    def on_fit_end(self, net, history):
        self._bar.close()


class PrintEpoch(Callback):
    """One line an epoch on standard output; `fit(verbose=2)` adds one."""

    def on_epoch_end(self, net, epoch, logs):
        print(f"epoch {epoch + 1}  " + "  ".join(f"{name} {_short(value)}" for name, value in logs.items()))


def get(callback: Any) -> Callback:
    """The callback, with a plain function made one."""
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return LambdaCallback(callback)  # type: ignore[arg-type]
    raise TypeError(f"callbacks must be Callback objects or functions (net, epoch, logs), got {callback!r}")


def watchers(chosen: Iterable[Any], verbose: int) -> list[Callback]:
    """The callbacks, with what `verbose` adds: 0 nothing, 1 a progress bar, 2 a line an epoch."""
    found = [get(one) for one in as_list("callbacks", chosen)]
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
    return found + [ProgressBar()] * (verbose == 1) + [PrintEpoch()] * (verbose == 2)


def _short(value: Any) -> str:
    """One number, or a stack's smallest and largest."""
    if getattr(value, "ndim", 0):
        return f"{value.min():.4g}..{value.max():.4g}"
    return f"{float(value):.4g}"
