"""Settings in which each member of a stack has a number of its own: what one has of them, and many lone ones as one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from operator import is_
from typing import Any


@dataclass(frozen=True)
class OwnSchedule:
    """What a schedule that gives one number a member gives to number `member` of them."""

    schedule: Any
    member: int

    def __call__(self, step: int) -> Any:
        value = self.schedule(step)
        return value[self.member] if isinstance(value, Sequence) or getattr(value, "ndim", 0) else value


@dataclass(frozen=True)
class OwnSchedules:
    """The schedules, or numbers, of each member as one schedule, which gives one number a member."""

    schedules: tuple[Any, ...]

    def __call__(self, step: int) -> tuple[Any, ...]:
        return tuple(one(step) if callable(one) else one for one in self.schedules)


def own_number(value: Any, member: int) -> Any:
    """A number of `member`: its own where there is one each, of a schedule that gives as many its part.

    >>> own_number((0.1, 0.2), 1), own_number(0.3, 1)
    (0.2, 0.3)
    """
    if isinstance(value, tuple):
        return value[member]
    if isinstance(value, OwnSchedules):
        return value.schedules[member]
    if callable(value):
        first = value(0)
        if isinstance(first, Sequence) or getattr(first, "ndim", 0):
            return OwnSchedule(value, member)
    return value


def own(settings: Any, member: int) -> Any:
    """A layer, loss or optimizer as `member` has it, the layers and losses in it too; itself where all have the same.

    >>> from xpnn import Adam
    >>> own(Adam((0.1, 0.2)), 1)
    Adam(learning_rate=0.2)
    """
    if not is_dataclass(settings) or isinstance(settings, type):
        return settings
    numbers, changed = numbers_of(settings), {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in numbers:
            mine = own_number(value, member)
        elif isinstance(value, tuple):
            mine = tuple(own(one, member) for one in value)
            mine = value if all(map(is_, mine, value)) else mine
        else:
            mine = own(value, member)
        if mine is not value:
            changed[field.name] = mine
    return replace(settings, **changed) if changed else settings


def numbers_of(settings: Any) -> set[str]:
    """The fields of a layer, loss or optimizer in which each member may have a number of its own."""
    return {*getattr(settings, "numbers", ()), *getattr(settings, "tunable", ())}


def merged(each: Sequence[Any], name: str = "settings") -> Any:
    """The layers, losses or optimizers of lone networks as one of a stack, with one number a member where they differ.

    >>> from xpnn import Adam
    >>> merged([Adam(0.1), Adam(0.2)])
    Adam(learning_rate=(0.1, 0.2))

    Raises
    ------
    ValueError, which names it, where they differ in anything that is no number of a member's own.
    """
    first, kind = each[0], type(each[0])
    if all(one is first or (type(one) is kind and bool(one == first)) for one in each):
        return first
    if not is_dataclass(first) or isinstance(first, type) or any(type(one) is not kind for one in each):
        other = next(k for k, one in enumerate(each) if type(one) is not kind or one != first)
        raise ValueError(f"{name} cannot be one stack's: {first!r} of member 0 and {each[other]!r} of member {other}")
    numbers, changed = numbers_of(first), {}
    for field in fields(first):
        values, place = [getattr(one, field.name) for one in each], f"{name}: {field.name}"
        if field.name in numbers:
            changed[field.name] = merged_number(values, place)
        elif isinstance(values[0], tuple) and len({len(value) for value in values}) == 1:
            changed[field.name] = tuple(
                merged(parts, f"{place}[{i}]") for i, parts in enumerate(zip(*values, strict=True))
            )
        else:
            changed[field.name] = merged(values, place)
    return replace(first, **changed)


def merged_number(values: Sequence[Any], name: str = "number") -> Any:
    """A number that each has as one of a stack: the one that all have, a tuple, or one schedule for all.

    Raises ValueError where some have none.
    """
    if all(value == values[0] for value in values):
        return values[0]
    if any(value is None or isinstance(value, tuple) for value in values):
        raise ValueError(f"{name} cannot be one stack's: members have {list(values)}")
    return OwnSchedules(tuple(values)) if any(callable(value) for value in values) else tuple(values)
