"""The pages of the reference: a page for each family of public names, and one for each class and function in it."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import xpnn
from tests.documentation.docstrings import rest, summary

MODULES = "layers activations losses optimizers schedules initializers metrics callbacks sklearn exchange plotting "
FAMILIES = ("xpnn", *(f"xpnn.{name}" for name in (MODULES + "datasets testing").split()))
RETURNED = ("summary.Summary", "walk.Walk", "walk.StepValue", "checkup.Checkup", "findings.Finding")
"""Classes that nobody makes by hand, whose objects methods of a network return."""
WHOLE = {"Network": "object", "MLPClassifier": "ClassifierMixin, BaseEstimator", "MLPSearchCV": "BaseSearchCV"}
WHOLE["MLPRegressor"] = "RegressorMixin, BaseEstimator"
"""Classes shown with what they inherit, up to those bases: their own is spread over files that users do not know."""


def public(family: str) -> dict[str, Any]:
    """The public names of a family, with what they are; those of `xpnn` are the ones of no other family."""
    module = import_module(family)
    if family == "xpnn":
        others = {name for other in FAMILIES[1:] for name in public(other)}
        found = {name: getattr(module, name) for name in module.__all__ if name not in others}
        return {name: value for name, value in found.items() if not isinstance(value, ModuleType | str)}
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    found = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {name: value for name, value in found.items() if _says(value) and value.__module__ == family}


def write(folder: Path) -> str:
    """Write all pages of the reference into `folder`; a list of links to the families is returned."""
    folder.mkdir(parents=True)
    contents = ""
    for family in FAMILIES:
        names = public(family)
        other = {name: value for name, value in names.items() if _is_other(name, value, names)}
        rows = {f"{family}.{name}": value for name, value in names.items() if name not in other}
        if family == "xpnn":
            rows |= {f"xpnn.{path}": _at(f"xpnn.{path}") for path in RETURNED}
        for path, value in rows.items():
            (folder / f"{path}.rst").write_text(_page(path, value, other), encoding="utf-8")
        said, links = inspect.getdoc(import_module(family)) or "", "".join(f"    {path}\n" for path in rows)
        text = f"{_title(family)}.. py:module:: {family}\n\n{rest(said)}\n\n{_table(rows, other)}"
        (folder / f"{family}.rst").write_text(f"{text}\n.. toctree::\n    :hidden:\n\n{links}", encoding="utf-8")
        contents += f"* :doc:`{folder.name}/{family}`: {summary(said)}\n"
    return contents


def _at(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _says(value: Any) -> bool:
    """Whether it has a docstring of its own here: objects have that of their class, and `Any` Python's."""
    return (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__.startswith("xpnn")


def _is_other(name: str, value: Any, names: dict[str, Any]) -> bool:
    """Whether it is another name of a class, or an object of one, that has a page of its own."""
    kind = _kind(value)
    return kind.__name__ != name and names.get(kind.__name__) is kind


def _kind(value: Any) -> type:
    return value if inspect.isclass(value) else type(value)


def _shown(value: Any) -> str:
    return value.__name__ if inspect.isclass(value) else repr(value)


def _others(value: Any, other: dict[str, Any]) -> dict[str, str]:
    """The other names of a class and of its objects, with what each is."""
    return {name: _shown(one) for name, one in other.items() if _kind(one) is value}


def _page(path: str, value: Any, other: dict[str, Any]) -> str:
    family, _, name = path.rpartition(".")
    text = f"{_title(name)}.. currentmodule:: {family}\n\n"
    if family != "xpnn" and getattr(xpnn, name, None) is value:
        text += f"Also ``xpnn.{name}``.\n\n"
    kind = _kind(value)
    if inspect.isroutine(value):
        return text + f".. autofunction:: {path}\n"
    if kind is not value or kind.__name__ != name or not _says(kind):  # viewcode must not take it for the class itself
        text += f".. py:currentmodule:: None\n\n.. py:data:: {path}\n    :value: {_shown(value)}\n\n"
        return text + (f"    See :py:obj:`.{kind.__name__}`.\n" if _says(kind) else "")
    known = [one for one in public(family).values() if one in value.__bases__]
    shown = "    :show-inheritance:\n" if known else ""
    if name in WHOLE:
        methods = {f"{path}.{name}": one for name, one in inspect.getmembers(value, inspect.isroutine) if one.__doc__}
        own = {path: one for path, one in methods.items() if "._" not in path and _says(one)}
        text, shown = f"{text}{_table(own, {})}\n", f"    :inherited-members: {WHOLE[name]}\n"
    text += f".. autoclass:: {path}\n    :members:\n{shown}\n"
    for name, same in _others(value, other).items():
        text += f".. py:data:: {family}.{name}\n    :value: {same}\n\n    The same by a shorter name.\n\n"
    return text


def _table(rows: dict[str, Any], other: dict[str, Any]) -> str:
    """A row for each, with its other names and the first sentence of what it says of itself."""
    text = ".. list-table::\n    :widths: auto\n    :class: names\n\n"
    for path, value in rows.items():
        names = [path.rpartition(".")[2], *_others(value, other)]
        links = ", ".join(f":py:obj:`{name} <{path}>`" for name in names)
        text += f"    * - {links}\n      - {summary(inspect.getdoc(value) or '') if _says(value) else ''}\n"
    return text


def _title(title: str) -> str:
    return f"{title}\n{'=' * len(title)}\n\n"
