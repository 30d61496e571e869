"""A checkup: data, network and learning rate looked at before a training that might be in vain, or after one that was.

Each finding says what was seen, the number, and what to do. The thresholds stand, with their reasons, beside the checks
(`xpnn.findings`, `xpnn.signals`, `xpnn.rates`). All of it works on copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xpnn import findings, inputs, rates, signals
from xpnn.display import html_table
from xpnn.findings import Finding
from xpnn.inputs import Data
from xpnn.rates import Rates

SAMPLE = 2048
"""How many rows, drawn at random, the network is run on as one batch."""


class Checkup(Sequence[Finding]):
    """The findings of `net.diagnose`, from data to learning rate; empty where nothing was found.

    `checkup.kinds` lists their kinds, `checkup.rates` the loss at each learning rate that was tried (None where none
    was), and `checkup.suggested_rate` the rate to begin with. `plot()` draws loss over rate.
    """

    def __init__(self, found: Sequence[Finding], tried: Rates | None):
        self._findings, self.rates = tuple(found), tried

    def __getitem__(self, index: Any) -> Any:
        return self._findings[index]

    def __len__(self) -> int:
        return len(self._findings)

    @property
    def kinds(self) -> list[str]:
        """The kind of each finding."""
        return [finding.kind for finding in self]

    @property
    def suggested_rate(self) -> float | None:
        """A learning rate to begin with; None where none was tried, or none lowered the loss by much."""
        return None if self.rates is None else self.rates.suggested

    def __str__(self) -> str:
        lines = []
        for number, finding in enumerate(self, start=1):
            lines += [f"{number}. {finding.kind}: {finding.what}.", f"   What to do: {finding.advice}."]
        return "\n".join([*lines, *self._rest()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [(finding.kind, finding.what, finding.advice) for finding in self]
        title = f"{len(self)} findings" if self else "Checkup"
        return html_table(title, ("", "what was seen", "what to do") if rows else (), rows, " ".join(self._rest()))

    def _rest(self) -> Iterator[str]:
        if not self:
            yield "Nothing found: data, units, gradients and learning rate look as they should."
        if self.suggested_rate is not None and self.rates is not None:
            told = f"{self.rates.best:.3g} lowered the loss most in {self.rates.steps} steps"
            yield f"Of the learning rates that were tried {told}; {self.suggested_rate:g} is a good first one."

    def plot(self, ax: Any = None) -> Any:
        """The loss after a few steps over the learning rate, as a matplotlib Axes.

        Raises ValueError where no rates were tried.
        """
        from xpnn.plotting.base import COLOURS, axes

        tried = self.rates
        if tried is None:
            raise ValueError("no learning rates were tried: the optimizer has none, or the data was not finite")
        ax = axes(ax)
        losses = np.asarray(tried.losses)
        top = tried.start + 0.25 * tried.scale  # what is above has diverged
        shown = np.where(np.isfinite(losses), np.minimum(losses, top), top)
        ax.plot(tried.rates, shown, color=COLOURS[0], marker="o", markersize=4, label=f"after {tried.steps} steps")
        ax.axhline(tried.start, color="0.5", linewidth=1.0, linestyle=":", label="before")
        if tried.own > 0.0:
            ax.axvline(tried.own, color=COLOURS[1], linestyle="--", label=f"the optimizer's, {tried.own:g}")
        if tried.suggested is not None:
            ax.axvline(tried.suggested, color=COLOURS[2], linestyle="-.", label=f"suggested, {tried.suggested:g}")
        ax.set(xlabel="learning rate", ylabel="loss (cut off above)", xscale="log")
        ax.legend(framealpha=0.8, edgecolor="none")
        return ax


def check_up(net: Any, x: Any, y: Any, loss: Any, optimizer: Any, sample_weight: Any, batch_size: int) -> Checkup:
    """All checks of `net`, a copy, in the order in which one thing hides another: non-finite values hide all."""
    names = getattr(x, "columns", None)
    names = None if names is None else [str(name) for name in names]
    data = inputs.data(x, y, sample_weight, loss, net.shapes, net.backend)
    if found := list(findings.not_finite(data, net)):
        return Checkup(found, None)
    inputs.check_values(data, loss, net.shapes, net.backend, ("x", "y", "sample_weight"))
    host, target = net.backend.to_host(data.x), net.backend.to_host(data.y)
    weight = None if data.weight is None else net.backend.to_host(data.weight)
    labels, sample = findings.class_labels(data.y, net.backend), _sample(data, net)
    found += findings.of_features(net, host, target, labels, names if len(net.shapes.sample) == 1 else None)
    prediction = net.backend.to_host(net.predict(host))
    found += findings.of_targets(net, loss, target, labels, weight, prediction)

    step = net.trace_step(sample.x, sample.y, loss, optimizer, sample.weight)
    if broken := list(signals.not_finite(net, step)):
        return Checkup([*found, *broken], None)
    found += [*signals.of_units(net, step, np.asarray(sample.y)), *signals.of_gradients(net, step)]
    tried = rates.try_rates(net, loss, optimizer, data, sample, min(batch_size, len(host)))
    return Checkup([*found, *(() if tried is None else rates.of_rates(tried))], tried)


def _sample(data: Data, net: Any) -> Data:
    """Some rows, as host arrays."""
    host = [None if array is None else net.backend.to_host(array) for array in data]
    n = len(host[0])  # type: ignore[arg-type]
    rows = np.arange(n) if n <= SAMPLE else np.random.default_rng(0).choice(n, SAMPLE, replace=False)
    return Data(*(None if array is None else array[rows] for array in host))
