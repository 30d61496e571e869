"""What is called while `fit` runs: at its beginning, around each epoch, and at its end.

A callback that watches a recorded number does so for each member of a stack on its own, as for the lone network.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xpnn._arguments import as_list
from xpnn._lazy import attach
from xpnn.callbacks.base import Callback, LambdaCallback

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.callbacks.checkpoint import ModelCheckpoint
    from xpnn.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau
    from xpnn.callbacks.records import CSVLogger, PrintEpoch, ProgressBar
    from xpnn.callbacks.stopping import EarlyStopping, TimeLimit

_HOME = {
    "checkpoint": "ModelCheckpoint",
    "rates": "LearningRateScheduler ReduceLROnPlateau",
    "records": "CSVLogger PrintEpoch ProgressBar",
    "stopping": "EarlyStopping TimeLimit",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
__all__ += ["Callback", "LambdaCallback", "get", "watchers"]


def get(callback: Any) -> Callback:
    """The callback, with a plain function made one."""
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return LambdaCallback(callback)
    raise TypeError(f"callbacks must be Callback objects or functions (net, epoch, logs), got {callback!r}")


def watchers(chosen: Iterable[Any], verbose: int) -> list[Callback]:
    """The callbacks, with what `verbose` adds: 0 nothing, 1 a progress bar, 2 a line an epoch."""
    found = [get(one) for one in as_list("callbacks", chosen)]
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
    if verbose:
        found.append(__getattr__("ProgressBar" if verbose == 1 else "PrintEpoch")())
    return found
