"""Watching a recorded number: what it is called, which end of it is better, and by how much."""

import math

from xpnn._arguments import check_choice, check_count, check_number
from xpnn.callbacks.base import Callback


class Monitor(Callback):
    """What watches one recorded number, of which "min" or "max" is better. A number that is NaN is never better."""

    monitor: str
    patience: int
    min_delta: float
    mode: str

    def __post_init__(self):
        if not isinstance(self.monitor, str):
            raise TypeError(f"monitor must be a name such as 'val_loss', got {self.monitor!r}")
        check_count("patience", self.patience, low=0)
        check_number("min_delta", self.min_delta, low=0.0)
        self.mode = check_choice("mode", self.mode, ("auto", "min", "max"))

    def on_fit_begin(self, net, epochs):
        recorded = net.history.better
        if self.monitor not in recorded:
            known = self.monitor.startswith("val_") and self.monitor[4:] in recorded
            wants = ": give validation_data or validation_split" if known else ""
            raise ValueError(f"monitor must be one of {', '.join(recorded)}, got {self.monitor!r}{wants}")
        self._sign = -1.0 if (recorded[self.monitor] if self.mode == "auto" else self.mode) == "max" else 1.0

    def is_better(self, value: float, best: float) -> bool:
        """Whether `value` is better than `best` by more than min_delta; any number is better than NaN."""
        return not math.isnan(value) and (math.isnan(best) or self._sign * value < self._sign * best - self.min_delta)
