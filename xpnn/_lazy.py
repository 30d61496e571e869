"""Public names that are found when first used, so that importing a package costs no more than what is used of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(
    package: str, names: Mapping[str, str], modules: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of `package`.

    `names` are the public names by the module within the package that defines them, with spaces between; `modules`
    are public themselves.

    >>> find, _, public = attach("xpnn", {"schedules": "Constant Schedule"}, ("random",))
    >>> find("Constant")(0.1), public
    (Constant(0.1), ['random', 'Constant', 'Schedule'])
    """
    homes = {name: module for module, listed in names.items() for name in listed.split()}
    public = [*modules, *homes]

    def find(name: str) -> Any:
        if name in homes:
            value = getattr(import_module(f"{package}.{homes[name]}"), name)
            setattr(import_module(package), name, value)
            return value
        if name in modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find, lambda: sorted(public), public
