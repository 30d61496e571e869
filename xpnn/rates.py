"""A learning rate tried out: copies of a network make a few steps at each of many rates, from the same weights.

Smith (2017), "Cyclical learning rates for training neural networks", section 3.3, lets the rate grow within one run;
here each rate has a run of its own, so that what one rate has done to the weights is no part of the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from xpnn.findings import Finding
from xpnn.inputs import Data

STEPS = 30
GRID = tuple(10.0 ** (k / 2) for k in range(-12, 3))
"""From 1e-6 to 10, two in a factor of 10."""
GAIN = 0.1
"""The share of the loss by which some rate must lower it before a verdict is given: a network that has learned what
there is learns nothing at any rate."""
SLOW = 0.02
"""A rate that gains less than a fiftieth of what the best one gains is too low. Adam's usual 0.001 gains a twentieth at
least on the networks of the tests, and 0.00001 less than a hundredth."""
AHEAD = 1000
"""A schedule is judged by the highest rate of so many steps to come: a warm-up begins low."""


class Rates(NamedTuple):
    """What became of the loss at each learning rate."""

    rates: tuple[float, ...]  # from low to high
    losses: tuple[float, ...]  # after STEPS steps, NaN or infinite where they diverged
    start: float  # before
    scale: float  # the larger of that and the loss of a network with fresh weights
    own: float  # the optimizer's
    steps: int = STEPS

    @property
    def best(self) -> float:
        """The rate that lowered the loss most."""
        return min(zip(self.losses, self.rates, strict=True), key=lambda pair: _or_infinite(pair[0]))[1]

    @property
    def suggested(self) -> float | None:
        """Half a power of ten below the best, as a longer training wants it calmer; None where no rate gained much."""
        lowest = min(map(_or_infinite, self.losses))
        return float(f"{self.best / 10**0.5:.1g}") if self.start - lowest >= GAIN * self.scale else None


def try_rates(net: Any, loss: Any, optimizer: Any, data: Data, sample: Data, batch_size: int) -> Rates | None:
    """The loss on `sample` after some steps on batches of `data` at each rate; None where there is no learning rate."""
    rate = getattr(optimizer, "learning_rate", None)
    if rate is None or "learning_rate" not in getattr(optimizer, "numbers", ()):
        return None
    twin, fresh, xp = net.copy(), net.copy(), net.backend.xp
    fresh.reset()
    twin.progress = start = twin.progress.started(loss, optimizer, xp=xp)
    fresh.progress = fresh.progress.started(loss, optimizer, xp=xp)
    own = _own(start, rate)
    before, untrained = _objective(twin, sample, loss), _objective(fresh, sample, loss)
    batches = list(_batches(data, net, batch_size))
    rates, found, compiled = sorted({*GRID, own}), [], net.backend.name == "jax"  # whose operations alone are slow
    for one in rates:
        twin.progress = start.map(net.backend.copy)._replace(learning_rate=one)
        for batch in batches:
            twin.step(batch.x, batch.y, loss, optimizer, batch.weight, compile=compiled)
        found.append(_objective(twin, sample, loss))
    return Rates(tuple(rates), tuple(found), before, max(abs(before), abs(untrained), 1e-300), own)


def of_rates(tried: Rates) -> Iterator[Finding]:
    """Whether the optimizer's rate is among those at which something is learned."""
    at_own = tried.losses[tried.rates.index(tried.own)]
    gain, gained = tried.start - min(map(_or_infinite, tried.losses)), tried.start - _or_infinite(at_own)
    learnable, hint = gain >= GAIN * tried.scale, ""
    if tried.suggested is not None:
        hint = f"{tried.best:.3g} lowered it most; begin with {tried.suggested:g}"
    ruined = not math.isfinite(at_own) or gained < -2.0 * tried.scale
    told = f"{tried.steps} steps at {tried.own:g} took the loss from {tried.start:.4g} to {at_own:.4g}"
    if ruined or (gained < 0.0 and learnable and tried.best < tried.own):
        yield Finding("learning rate too high", told, tried.own, hint or "take a lower one, a tenth say")
    elif learnable and gained < SLOW * gain and tried.best > tried.own:
        yield Finding("learning rate too low", told, tried.own, hint)


def _own(start: Any, rate: Any) -> float:
    """The optimizer's rate as one number, of a schedule the highest to come."""
    rate = rate if start.learning_rate is None else start.learning_rate
    if not callable(rate):
        return float(rate[0] if isinstance(rate, tuple) else rate)
    since = int(start.step - start.first)
    return max(float(rate(step)) for step in range(since, since + AHEAD))  # type: ignore[arg-type]


def _objective(net: Any, sample: Data, loss: Any) -> float:
    value, _ = net.value_and_grad(sample.x, sample.y, loss, sample.weight)
    return float(net.backend.to_host(value))


def _batches(data: Data, net: Any, batch_size: int) -> Iterator[Data]:
    """As many batches as steps, of equally many rows, in a random order that is always the same."""
    host = [None if array is None else net.backend.to_host(array) for array in data]
    n, rng, order = len(host[0]), np.random.default_rng(0), np.zeros(0, dtype=int)  # type: ignore[arg-type]
    for _ in range(STEPS):
        if len(order) < batch_size:
            order = np.concatenate([order, rng.permutation(n)])
        rows, order = order[:batch_size], order[batch_size:]
        yield Data(*(None if array is None else array[rows] for array in host))


def _or_infinite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf
