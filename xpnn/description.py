"""What layers, losses, optimizers and schedules are, as plain data for a file, and these made from it again.

All of them are dataclasses of settings, so that a description is a class's name and its settings. The package's own
classes are found by name in a fixed list of modules; anything else must be handed in, by name, by whoever reads: a file
can name what is to be made, and never what is to be run.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from xpnn._version import __version__

HOMES = ("layers", "activations", "losses", "optimizers", "schedules", "initializers", "own", "sklearn.scales")
"""The modules and folders whose dataclasses a file may name."""


def described(thing: Any, where: str = "it") -> Any:
    """`thing` as what JSON has; raises TypeError, naming the place in it, for what cannot be told by settings.

    >>> from xpnn import Dropout
    >>> described(Dropout(0.5))
    {'class': 'layers.Dropout', 'settings': {'rate': 0.5}}
    """
    if thing is None or isinstance(thing, bool | str):
        return thing
    if isinstance(thing, np.generic):
        thing = thing.item()
    if isinstance(thing, int):
        return int(thing)
    if isinstance(thing, float):
        return float(thing) if math.isfinite(thing) else {"float": repr(float(thing))}
    if isinstance(thing, tuple):
        return [described(one, f"{where}[{i}]") for i, one in enumerate(thing)]
    if isinstance(thing, list):
        return {"list": described(tuple(thing), where)}
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "biuf":
        return {"array": described(thing.tolist(), where), "dtype": thing.dtype.name}
    if isinstance(thing, Mapping):
        return {"items": [[described(key, where), described(thing[key], f"{where}[{key!r}]")] for key in thing]}
    if is_dataclass(thing) and not isinstance(thing, type):
        return _of_settings(thing, where)
    if callable(thing):  # a function, or an object of a class of its own, is known by its name
        return {"custom": _name(thing)}
    raise TypeError(f"{where} cannot be written into a file: {thing!r} is no number, text or dataclass")


def _of_settings(thing: Any, where: str) -> dict[str, Any]:
    kind: Any = type(thing)
    maker = next(cls for cls in kind.__mro__ if "__init__" in vars(cls))
    if "__dataclass_fields__" not in vars(maker):
        raise TypeError(
            f"{where}, a {kind.__name__}, cannot be written into a file: {maker.__name__} has an __init__ of its own. "
            "Make it a frozen dataclass, whose fields are its settings"
        )
    asked = [field for field in fields(thing) if field.init]
    settings = {one.name: described(getattr(thing, one.name), f"{where}.{one.name}") for one in asked}
    home = _home(kind)
    name = {"custom": _name(thing)} if home is None else {"class": f"{home}.{kind.__name__}"}
    return {**name, "settings": settings}


def _home(kind: type) -> str | None:
    """Where the class is found again; None for those that are not the package's."""
    module = kind.__module__.removeprefix("xpnn.")
    home = next((home for home in HOMES if module == home or module.startswith(f"{home}.")), None)
    ours = kind.__module__ != module and home is not None
    return home if ours and getattr(_module(home), kind.__name__, None) is kind else None


def _module(home: str | None) -> Any:
    return importlib.import_module(f"xpnn.{home}")


def _name(thing: Any) -> str:
    return getattr(thing, "__name__", None) or type(thing).__name__


def customs(thing: Any) -> dict[str, Any]:
    """What of `thing` must be handed in when it is read again, by name; raises ValueError where two have one name."""
    found: dict[str, Any] = {}

    def note(one: Any) -> None:
        name, own = _name(one), type(one) if is_dataclass(one) else one
        if found.setdefault(name, own) is not own:
            raise ValueError(f"two different things are called {name!r}: a file could not tell one from the other")

    def walk(one: Any) -> None:
        if isinstance(one, tuple | list):
            for part in one:
                walk(part)
        elif isinstance(one, Mapping):
            walk(list(one.values()))
        elif is_dataclass(one) and not isinstance(one, type):
            if _home(type(one)) is None:
                note(one)
            walk([getattr(one, field.name) for field in fields(one) if field.init])
        elif callable(one):
            note(one)

    walk(thing)
    return found


def built(data: Any, custom: Mapping[str, Any]) -> Any:
    """What `described` told; `custom` has what is not the package's own, by name.

    >>> built({"class": "layers.Dropout", "settings": {"rate": 0.5}}, {})
    Dropout(0.5)

    Raises
    ------
    ValueError for what is not known here, or settings that its class refuses.
    """
    if isinstance(data, list):
        return tuple(built(one, custom) for one in data)
    if not isinstance(data, dict):
        return data
    kinds: dict[str, Callable[[], Any]] = {
        "float": lambda: float(data["float"]),
        "list": lambda: list(built(data["list"], custom)),
        "array": lambda: np.asarray(built(data["array"], custom), _plain(data["dtype"])),
        "items": lambda: {built(key, custom): built(value, custom) for key, value in data["items"]},
        "class": lambda: _known(data["class"]),
        "custom": lambda: _given(data["custom"], custom),
    }
    kind = next((kind for kind in kinds if kind in data), None)
    if kind is None:
        raise ValueError(f"a description must be of one of {', '.join(kinds)}, got {sorted(data)}")
    found = kinds[kind]()
    if "settings" not in data:
        return found
    settings = {str(name): built(value, custom) for name, value in data["settings"].items()}
    try:
        return found(**settings)
    except Exception as error:
        raise ValueError(f"{data[kind]} refuses what is written of it: {error}") from error


def _plain(name: Any) -> np.dtype:
    """A dtype of numbers."""
    dtype = np.dtype(str(name))
    if dtype.kind not in "biuf":
        raise ValueError(f"an array must be of numbers, got {name!r}")
    return dtype


def _known(name: Any) -> Any:
    """The class of the package of that name."""
    home, _, own = str(name).rpartition(".")
    try:
        found = getattr(_module(home), own, None) if home in HOMES else None
    except ImportError as error:
        raise ValueError(f"{name!r} needs what is not installed here: {error}") from None
    if not (isinstance(found, type) and is_dataclass(found) and _home(found) == home):
        raise ValueError(f"{name!r} is not known to xpnn {__version__}: a later version may have it")
    return found


def _given(name: Any, custom: Mapping[str, Any]) -> Any:
    if name not in custom:
        raise ValueError(
            f"{name!r} is not part of xpnn but of the program that wrote it: give custom_layers={{{name!r}: ...}}, the "
            "class or function itself"
        )
    return custom[name]
