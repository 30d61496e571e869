"""Numbers that change over training. A schedule is a function of the step, how many updates the optimizer has made.

It is evaluated on the host, a whole epoch at a time; the values reach the device in one upload. An epoch has
ceil(n / batch_size) steps; with the whole set as one batch a step is an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xpnn._arguments import AT_LEAST_ZERO, Number, check_number, hyper_parameter


@dataclass(frozen=True)
class Schedule:
    """The contract: `schedule(step)` gives the number, or one number for each member."""

    def __call__(self, step: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not say what its value is")


@dataclass(frozen=True)
class Constant(Schedule):
    """`initial` at every step. A plain number does the same.

    >>> Constant(0.1)(1000)
    0.1
    """

    initial: Number

    def __post_init__(self):
        object.__setattr__(self, "initial", hyper_parameter("initial", self.initial, low=0.0))

    def __call__(self, step):
        return self.initial


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """initial * rate^(step / steps): multiplied by `rate` every `steps` updates, smoothly.

    Parameters
    ----------
    initial : value at step 0, or one for each member.
    rate : factor, 0 < rate <= 1.
    steps : in how many updates, > 0.

    >>> ExponentialDecay(0.1, rate=0.5, steps=100)(200)
    0.025
    """

    initial: Number
    rate: float
    steps: float

    def __post_init__(self):
        object.__setattr__(self, "initial", hyper_parameter("initial", self.initial, low=0.0))
        check_number("rate", self.rate, low=0.0, high=1.0, open_low=True)
        check_number("steps", self.steps, low=0.0, open_low=True)

    def __call__(self, step):
        return _scale(self.initial, self.rate ** (step / self.steps))


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
        object.__setattr__(self, "initial", hyper_parameter("initial", self.initial, low=0.0))
        check_number("rate", self.rate, low=0.0)
        check_number("steps", self.steps, low=0.0, open_low=True)

    def __call__(self, step):
        return _scale(self.initial, 1.0 / (1.0 + self.rate * step / self.steps))


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
    if callable(number):
        rows = [number(step) for step in steps]
        for row in rows:
            for one in row if isinstance(row, Sequence) else (row,):
                check_number(f"the schedule's {name}", one, **bounds)
    else:
        rows = [number]
    return [_members(name, row, members) for row in rows]


def _members(name: str, value: Any, members: int | None) -> Any:
    if not isinstance(value, Sequence):
        return float(value) if members is None else [float(value)] * members
    if members is None:
        raise ValueError(f"{name} has {len(value)} values, but the network is no stack of members: give one number")
    if len(value) != members:
        raise ValueError(f"{name} must have one value for each of the {members} members, got {len(value)}")
    return [float(one) for one in value]


def _scale(initial: Any, factor: float) -> Any:
    return tuple(one * factor for one in initial) if isinstance(initial, tuple) else initial * factor
