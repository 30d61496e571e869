"""Numbers that change over training. A schedule is a function of the step, how many updates the optimizer has made.

Schedules of layers and penalties count the same steps: those since the current optimizer began, so that another
optimizer starts all of them anew. A schedule is evaluated on the host, a whole epoch at a time; the values reach the
device in one upload. An epoch has ceil(n / batch_size) steps; with the whole set as one batch a step is an epoch. A
schedule that has an end stays at its last value after it. Where PyTorch has the same schedule, the numbers are
PyTorch's.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise, repeat
from typing import Any

from xpnn._arguments import (
    ABOVE_ZERO,
    AT_LEAST_ZERO,
    BELOW_ONE,
    Number,
    Shown,
    as_list,
    check_count,
    check_number,
    hyper_parameter,
    lookup,
    named,
)

FACTOR = {"low": 0.0, "high": 1.0, "open_low": True}


@dataclass(frozen=True)
class Schedule(Shown):
    """The contract: `schedule(step)` gives the number, or one number for each member."""

    def __call__(self, step: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, step)")


@dataclass(frozen=True)
class Constant(Schedule):
    """`initial` at every step. A plain number does the same.

    >>> Constant(0.1)(1000)
    0.1
    """

    initial: Number

    def __post_init__(self):
        _settle(self, "initial")

    def __call__(self, step):
        return self.initial


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """initial * rate^(step / steps): multiplied by `rate` every `steps` updates, smoothly.

    Parameters
    ----------
    initial : value at step 0, or one for each member.
    rate, steps : the factor, 0 < rate <= 1, and in how many updates, > 0.

    >>> ExponentialDecay(0.1, rate=0.5, steps=100)(200)
    0.025
    """

    initial: Number
    rate: float
    steps: float

    def __post_init__(self):
        _settle(self, "initial", rate=FACTOR, steps=ABOVE_ZERO)

    def __call__(self, step):
        return _scale(self.initial, self.rate ** (step / self.steps))


@dataclass(frozen=True)
class StepDecay(Schedule):
    """initial * rate^floor(step / steps): as ExponentialDecay, in jumps; `steps` is a whole number. PyTorch's StepLR.

    >>> StepDecay(0.1, rate=0.5, steps=100)(199)
    0.05
    """

    initial: Number
    rate: float
    steps: int

    def __post_init__(self):
        _settle(self, "initial", rate=FACTOR, steps=1)

    def __call__(self, step):
        return _scale(self.initial, self.rate ** (step // self.steps))


@dataclass(frozen=True)
class InverseTimeDecay(Schedule):
    """initial / (1 + rate * step / steps): the decay that the tutorial speaks of, harmonic in time.

    With rate 1 it halves after `steps` updates and is a third after twice as many. Robbins and Monro (1951), "A
    stochastic approximation method", ask for such a decay.

    >>> InverseTimeDecay(0.1, rate=1.0, steps=100)(100)
    0.05
    """

    initial: Number
    rate: float
    steps: float

    def __post_init__(self):
        _settle(self, "initial", rate=AT_LEAST_ZERO, steps=ABOVE_ZERO)

    def __call__(self, step):
        return _scale(self.initial, 1.0 / (1.0 + self.rate * step / self.steps))


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """initial / (step + 1)^power: scikit-learn's "invscaling", by updates.

    `power`, >= 0, is its power_t. Its t counts samples, and its rate changes between epochs only: with n samples in
    epochs of k updates its numbers are those of `lambda step: initial / (step // k * n + 1) ** power`.

    >>> InverseScaling(0.1)(3)
    0.05
    """

    initial: Number
    power: float = 0.5

    def __post_init__(self):
        _settle(self, "initial", power=AT_LEAST_ZERO)

    def __call__(self, step):
        return _scale(self.initial, (step + 1.0) ** -self.power)  # a large power goes to 0 where 1 / x^power overflows


@dataclass(frozen=True)
class PolynomialDecay(Schedule):
    """final + (initial - final) (1 - step / steps)^power, then `final`. With final 0 PyTorch's PolynomialLR.

    Parameters
    ----------
    initial, final : values at step 0 and at the end, or one for each member; 0 <= final <= initial.
    steps : after how many updates `final` is reached, >= 1.
    power : > 0; 1 is a straight line.

    >>> decay = PolynomialDecay(0.1, steps=100)
    >>> decay(0), decay(50), decay(200)
    (0.1, 0.05, 0.0)
    """

    initial: Number
    steps: int
    final: Number = 0.0
    power: float = 1.0

    def __post_init__(self):
        _settle(self, "initial", "final", steps=1, power=ABOVE_ZERO)

    def __call__(self, step):
        return _between(self.final, self.initial, (1.0 - min(step, self.steps) / self.steps) ** self.power)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """final + (initial - final) (1 + cos(pi t / T)) / 2, then `final`; t counts a cycle's updates, T is its length.

    A warm-up may come first: warmup_from + (initial - warmup_from) step / warmup. What is left of `steps` is filled by
    restarts + 1 cycles, each `growth` times as long as the one before, in whole updates; each begins at `initial`,
    without a warm-up of its own. PyTorch's CosineAnnealingLR(T_max=steps), which rises again after its end; the first n
    cycles of CosineAnnealingWarmRestarts(T_0, T_mult) are steps=T_0 (1 + T_mult + ... + T_mult^(n - 1)),
    restarts=n - 1, growth=T_mult.

    Parameters
    ----------
    initial, final : values at a cycle's beginning and end, or one for each member; `final` is no share: it is at most
        `initial`, in the same units.
    steps : after how many updates `final` is reached for good, warm-up and restarts included; > warmup.
    warmup, warmup_from : updates of the warm-up; its value at step 0, or one for each member, at most `initial`.
    restarts, growth : how often a further cycle begins, and its length over that of the one before, >= 1.

    Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", eq. 5.

    >>> decay = CosineDecay(0.1, steps=110, warmup=10)
    >>> [round(decay(step), 6) for step in (0, 5, 10, 60, 110, 200)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.0]
    >>> sgdr = CosineDecay(0.1, steps=70, restarts=2, growth=2)  # cycles of 10, 20 and 40 updates
    >>> sgdr(10), sgdr(30), sgdr(70)
    (0.1, 0.1, 0.0)
    """

    initial: Number
    steps: int
    final: Number = 0.0
    warmup: int = 0
    warmup_from: Number = 0.0
    restarts: int = 0
    growth: float = 1.0

    def __post_init__(self):
        _settle(self, "initial", "final", "warmup_from", steps=1, warmup=0, restarts=0, growth={"low": 1.0})
        if self.steps <= self.warmup:
            raise ValueError(f"steps must be > warmup ({self.warmup}), got {self.steps}")
        if not all(start < end for start, end in self._cycles):
            raise ValueError(f"steps must leave an update for each of {self.restarts + 1} cycles, got {self}")

    @cached_property
    def _cycles(self) -> list[tuple[int, int]]:
        """The first step of each cycle and of what follows: whole numbers, so that no rounding delays a restart."""
        lengths = [float(self.growth) ** (cycle - self.restarts) for cycle in range(self.restarts + 1)]
        ends = [0.0, *accumulate(lengths)]
        return list(pairwise(self.warmup + round((self.steps - self.warmup) * end / ends[-1]) for end in ends))

    def __call__(self, step):
        if step < self.warmup:
            return _between(self.warmup_from, self.initial, step / self.warmup)
        share = next(((step - start) / (end - start) for start, end in self._cycles if step < end), 1.0)
        return _between(self.initial, self.final, _ANNEAL["cos"](share))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From peak / div_factor up to `peak` at step start_fraction * steps - 1, then down to peak / (div_factor *
    final_div_factor) at step steps - 1, where it stays: PyTorch's OneCycleLR(three_phase=False).

    Momentum, which PyTorch moves the other way by default, takes a cycle of its own whose `peak` is its lowest value:
    OneCycle(0.85, steps, div_factor=0.85 / 0.95, final_div_factor=1).

    Parameters
    ----------
    peak : value at the top, or one for each member.
    steps : length of the cycle, >= 1.
    start_fraction : share of it on the way up, 0 <= start_fraction < 1; PyTorch's pct_start.
    div_factor, final_div_factor : value at the top over that at step 0, and that at step 0 over the last; > 0.
    anneal : "cos" or "linear", the form of both ways.

    Smith and Topin (2018), "Super-convergence: very fast training of neural networks using large learning rates".

    >>> cycle = OneCycle(0.1, steps=100)
    >>> cycle(0), cycle(29), round(cycle(99), 10)
    (0.004, 0.1, 4e-07)
    """

    peak: Number
    steps: int
    start_fraction: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal: str = "cos"

    def __post_init__(self):
        _settle(self, "peak", steps=1, start_fraction=BELOW_ONE, div_factor=ABOVE_ZERO, final_div_factor=ABOVE_ZERO)
        lookup("anneal", self.anneal, _ANNEAL)

    def __call__(self, step):
        anneal = lookup("anneal", self.anneal, _ANNEAL)
        step, top, end = min(step, self.steps - 1), self.start_fraction * self.steps - 1.0, self.steps - 1.0
        first = _scale(self.peak, 1.0 / self.div_factor)
        if top > 0.0 and step <= top:
            return _between(first, self.peak, anneal(step / top))
        return _between(self.peak, _scale(first, 1.0 / self.final_div_factor), anneal((step - top) / (end - top)))


@dataclass(frozen=True)
class Piecewise(Schedule):
    """values[i] from step boundaries[i - 1] on: constant between jumps. PyTorch's MultiStepLR has such milestones.

    Parameters
    ----------
    boundaries : the first step of each value but the first; increasing, >= 1.
    values : one more than boundaries; each a number, or one for each member.

    >>> Piecewise([100, 150], [0.1, 0.01, 0.001])(100)
    0.01
    """

    boundaries: Sequence[int]
    values: Sequence[Number]

    def __post_init__(self):
        given = as_list("boundaries", self.boundaries)
        boundaries = tuple(check_count(f"boundaries[{i}]", one) for i, one in enumerate(given))
        for before, after in pairwise(boundaries):
            if after <= before:
                raise ValueError(f"boundaries must increase, got {after} after {before}")
        values = _numbers({f"values[{i}]": one for i, one in enumerate(as_list("values", self.values))})
        if len(values) != len(boundaries) + 1:
            raise ValueError(f"values must be one more than the {len(boundaries)} boundaries, got {len(values)}")
        object.__setattr__(self, "boundaries", boundaries)
        object.__setattr__(self, "values", tuple(values.values()))

    def __call__(self, step):
        return self.values[bisect_right(self.boundaries, step)]


_NAMES = {"constant": Constant, "piecewise": Piecewise, "one_cycle": OneCycle, "cosine_decay": CosineDecay}
_NAMES |= {"step_decay": StepDecay, "exponential_decay": ExponentialDecay, "polynomial_decay": PolynomialDecay}
_NAMES |= {"inverse_time_decay": InverseTimeDecay, "inverse_scaling": InverseScaling, "invscaling": InverseScaling}


def get(schedule: Any, **options: Any) -> Any:
    """The schedule of that name (or class) with `options`; a schedule or any function of the step as it is.

    >>> get("step_decay", initial=0.1, rate=0.5, steps=10)(20)
    0.025
    """
    return named("schedule", schedule, options, _NAMES)


def values(name: str, number: Number, steps: range, members: int | None, bounds: Any = AT_LEAST_ZERO) -> list[Any]:
    """The value of `number` at each of `steps`: floats, or lists of one float a member.

    A number that does not change gives a list of one entry, which stands for every step.

    Raises
    ------
    ValueError where the count of values is not that of the members, or a schedule gives one that is out of `bounds`.

    >>> values("learning_rate", 0.1, range(3), None)
    [0.1]
    >>> values("learning_rate", lambda step: step / 4, range(3), 2)
    [[0.0, 0.0], [0.25, 0.25], [0.5, 0.5]]
    """
    rows = [number]
    if callable(number):
        rows = [hyper_parameter(f"the schedule's {name}", number(step), **bounds) for step in steps]
    return [_members(name, row, members) for row in rows]


def _members(name: str, value: Any, members: int | None) -> Any:
    if not isinstance(value, Sequence):
        return float(value) if members is None else [float(value)] * members
    if members is None:
        raise ValueError(f"{name} has {len(value)} values, but the network is no stack of members: give one number")
    if len(value) != members:
        raise ValueError(f"{name} must have one value for each of the {members} members, got {len(value)}")
    return [float(one) for one in value]


def _numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers by name, each at least 0: floats, or tuples of one float a member, all equally long."""
    for name, value in given.items():
        if callable(value):
            raise TypeError(f"{name} must be a number, or one for each member, got {value!r}")
    found = {name: hyper_parameter(name, value, low=0.0) for name, value in given.items()}
    counts = {name: len(value) for name, value in found.items() if isinstance(value, tuple)}
    if len(set(counts.values())) > 1:
        raise ValueError(f"each of {', '.join(counts)} must have one value, or one a member, got as many as {counts}")
    return found


def _settle(schedule: Any, top: str, *below: str, **others: Any) -> None:
    """Check fields and put them into a form that compares and hashes: numbers of members, of which none `below` may lie
    above `top`, and `others`, counts with their least and numbers with their bounds."""
    numbers = _numbers({name: getattr(schedule, name) for name in (top, *below)})
    for name in below:
        above = _each(lambda one, most: one > most, numbers[name], numbers[top])
        if any(above) if isinstance(above, tuple) else above:
            raise ValueError(f"{name} must be <= {top} ({numbers[top]}), got {numbers[name]}")
    for name, bounds in others.items():
        value, count = getattr(schedule, name), isinstance(bounds, int)
        numbers[name] = check_count(name, value, low=bounds) if count else check_number(name, value, **bounds)
    for name, value in numbers.items():
        object.__setattr__(schedule, name, value)


def _each(function: Any, *numbers: Any) -> Any:
    """`function` of the numbers, member by member where one of them is a tuple."""
    if not any(isinstance(number, tuple) for number in numbers):
        return function(*numbers)
    return tuple(map(function, *(number if isinstance(number, tuple) else repeat(number) for number in numbers)))


def _scale(number: Any, factor: float) -> Any:
    return _each(lambda one: one * factor, number)


def _between(start: Any, end: Any, share: float) -> Any:
    """From `start` at share 0 to `end` at share 1, exactly so at both."""
    return _each(lambda a, b: a * (1.0 - share) + b * share, start, end)


_ANNEAL = {"cos": lambda share: 0.5 * (1.0 - math.cos(math.pi * share)), "linear": lambda share: share}
