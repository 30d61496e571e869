"""Checks of what a caller passes: names against a table, numbers against a range.

Every refusal names the argument, what was given and what is wanted, and comes before anything is changed.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

Number = Any
"""A hyper-parameter: a number, one number for each member of a stack, or a schedule (a callable of the step)."""


def lookup(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """The entry called `name`, in any case and with a -, a space or nothing for _, so that "LeakyReLU" is leaky_relu;
    else a ValueError that knows the near misses.

    >>> lookup("colour", "DarkRed", {"dark_red": 1, "green": 2})
    1
    >>> lookup("colour", "gren", {"dark_red": 1, "green": 2})
    Traceback (most recent call last):
        ...
    ValueError: unknown colour 'gren': did you mean 'green'? The names are dark_red, green.
    """
    if not isinstance(name, str):
        raise TypeError(f"{kind} must be a name or an object of that kind, got {name!r}")
    names, plain = {_plain(key): key for key in table}, _plain(name)
    if plain in names:
        return table[names[plain]]
    near = difflib.get_close_matches(plain, names, n=3, cutoff=0.6)
    near = near or [key for key in names if plain and key.startswith(plain)][:3]
    near = near or difflib.get_close_matches(plain, names, n=1, cutoff=0.5)
    hint = f"did you mean {_either(repr(names[key]) for key in near)}? " if near else ""
    raise ValueError(f"unknown {kind} {name!r}: {hint}The names are {', '.join(sorted(table))}.")


def named(
    kind: str,
    given: Any,
    options: Mapping[str, Any],
    table: Mapping[str, Any],
    accepts: Callable[[Any], bool] = callable,
    find: Callable[[str], Any] | None = None,
) -> Any:
    """What a family's `get` gives: the piece of that name, or of that class, with `options`; else the object itself.

    `table` has the pieces by name, or what `find` finds them by; `accepts` says whether an object is of the family.

    >>> named("dict", "Dict", {}, {"dict": dict})
    {}
    """
    by_name = not accepts(given)
    found = lookup(kind, given, table) if by_name else given
    found = find(found) if by_name and find else found
    if isinstance(found, type) or (by_name and options):
        made = found if isinstance(found, type) else type(found)
        settings = [field for field in fields(made) if field.init] if is_dataclass(made) else []
        known = {field.name: field.name for field in settings}
        if options and not known:
            raise ValueError(f"{made.__name__} takes no options, got {', '.join(options)}")
        options = {lookup(f"option of {made.__name__}", name, known): value for name, value in options.items()}
        required = [one.name for one in settings if one.default is MISSING and one.default_factory is MISSING]
        if not options.keys() >= set(required):
            got = ", ".join(options) or "none of them"
            raise TypeError(f"{made.__name__} needs {', '.join(required)}, got {got}")
        return made(**options)
    if options:
        raise TypeError(f"options ({', '.join(options)}) go with a name or a class of {kind}, got {given!r}")
    return found


AT_LEAST_ZERO = {"low": 0.0}
ABOVE_ZERO = {"low": 0.0, "open_low": True}
BELOW_ONE = {"low": 0.0, "high": 1.0, "open_high": True}


def bounds_of(declared: Mapping[str, Any] | Sequence[str], name: str) -> Mapping[str, Any]:
    """The bounds that a class declares for one of its numbers; a plain list of names declares none."""
    return declared[name] if isinstance(declared, Mapping) else {}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in "_- ")


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """`value` as a float, since a NumPy scalar would widen float32 arrays.

    Raises unless it is a finite number between `low` and `high` (an open end excludes the bound itself).
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    value = float(value)
    below = value <= low if open_low else value < low
    # What float32 would round to an excluded bound is excluded too.
    above = value > high - 2.0**-25 * abs(high) if open_high and high < math.inf else value > high
    if below or above or not math.isfinite(value):
        bounds = [
            f"{'>' if open_low else '>='} {low:g}" if low > -math.inf else "",
            f"{'<' if open_high else '<='} {high:g}" if high < math.inf else "",
        ]
        wanted = " and ".join(b for b in bounds if b) or "finite"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return value


def check_count(name: str, value: Any, *, low: int = 1) -> int:
    """`value` as an int; raises unless it is a whole number of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < low:
        raise ValueError(f"{name} must be >= {low}, got {value!r}")
    return int(value)


def check_flag(name: str, value: Any, hint: str = "") -> bool:
    """`value` as a bool; raises a TypeError, with the hint, unless it is True or False."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a NumPy bool
        value = value.item()
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}{f': {hint}' if hint else ''}")
    return value


def check_choice(name: str, value: Any, among: Iterable[str]) -> str:
    """Which of some names is meant, in any case; raises unless one is."""
    return lookup(name, value, {one: one for one in among})


def settle(settings: Any, check: Callable[..., Any], *names: str, **bounds: Any) -> None:
    """Put what `check(name, value, **bounds)` gives in the place of these fields of a frozen dataclass.

    >>> from xpnn import Dropout
    >>> dropout = Dropout(0.5)
    >>> settle(dropout, check_number, "rate", high=0.25)
    Traceback (most recent call last):
        ...
    ValueError: rate must be <= 0.25, got 0.5
    """
    for name in names:
        object.__setattr__(settings, name, check(name, getattr(settings, name), **bounds))


def as_list(name: str, values: Any) -> list[Any]:
    """`values` as a list; raises a TypeError where it is no sequence of objects."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list, got {values!r}")
    return list(values)


def hyper_parameter(name: str, value: Number, **bounds: Any) -> Number:
    """A checked hyper-parameter in a form that compares and hashes: float, tuple of floats (one a member), schedule."""
    if isinstance(value, type):
        raise TypeError(f"{name} must be a number or a schedule, got a class: give an object, {value.__name__}(...)")
    if isinstance(value, Callable):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(check_number(f"{name}[{i}]", one, **bounds) for i, one in enumerate(value))
    return check_number(name, value, **bounds)


def check_multipliers(multipliers: Any) -> dict[Any, float]:
    """A copy of a table of factors by parameter name or layer, each at least 0: the caller's own may change later."""
    if not isinstance(multipliers, Mapping):
        raise TypeError(f"multipliers must be a dict of factors by parameter name or layer, got {multipliers!r}")
    return {key: check_number(f"multipliers[{key!r}]", factor, low=0.0) for key, factor in multipliers.items()}


class Shown:
    """A base of dataclasses that are shown as the call that makes them, without what stands at its default."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__repr__ = cls.__repr__  # its own before @dataclass looks, which then leaves it

    def __repr__(self) -> str:
        return call_of(self)


def call_of(settings: Any) -> str:
    """The call that makes a dataclass, without what stands at its default; many numbers are shown by their ends.

    >>> from dataclasses import dataclass
    >>> @dataclass(repr=False)
    ... class Point:
    ...     x: Any
    ...     y: float = 0.0
    >>> call_of(Point((0.0, 1.0, 2.0, 3.0, 4.0))), call_of(Point(1.0, y=0.1))
    ('Point((0, ..., 4))', 'Point(1, y=0.1)')
    """
    parts = []
    for field in sorted(fields(settings), key=lambda field: bool(field.kw_only)):  # as the call takes them
        value = getattr(settings, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if field.repr and (default is MISSING or value != default):
            named = default is not MISSING or field.kw_only
            parts.append(f"{field.name}={_brief(value)}" if named else _brief(value))
    return f"{type(settings).__name__}({', '.join(parts)})"


def _brief(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > 4 and isinstance(value[0], int | float):
        return f"({_brief(value[0])}, ..., {_brief(value[-1])})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_brief, value))}{',' * (len(value) == 1)})"
    return f"{value:.5g}" if isinstance(value, float) else repr(value)
