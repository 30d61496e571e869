"""How much of a disk an installation takes: a package's own files, and with all that it requires at run time.

Bytecode is not counted, since it comes and goes. xpnn is weighed as it lies in this checkout, by the requirements in
its pyproject.toml; the others as they are installed here, by what their metadata say. A build of PyTorch for GPUs is
many times larger than one for processors.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from tests.benchmarks.worker import ROOT

OTHERS = {"scikit-learn": ["scikit-learn"], "torch": ["torch"], "jax": ["jax"], "keras and jax": ["keras", "jax"]}
MIB = 2**20


def measure() -> dict[str, dict[str, float]]:
    """MiB by name, {"own": ..., "whole": ...}, of xpnn and of those others that are installed."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        required = tomllib.load(file)["project"]["dependencies"]
    own = sum(path.stat().st_size for path in (ROOT / "xpnn").rglob("*") if path.is_file() and is_counted(path.name))
    found = {"xpnn": {"own": own / MIB, "whole": own / MIB + mebibytes(closure(required))}}
    for name, packages in OTHERS.items():
        try:
            found[name] = {"own": mebibytes(packages), "whole": mebibytes(closure(packages))}
        except metadata.PackageNotFoundError:
            continue
    return found


def is_counted(name: str) -> bool:
    """Whether a file is part of an installation wherever it is made."""
    return not name.endswith(".pyc")


def mebibytes(packages: Iterable[str]) -> float:
    """What the files of installed packages take."""
    total = 0
    for package in packages:
        for file in metadata.distribution(package).files or ():
            path = Path(str(file.locate()))
            if is_counted(file.name) and path.is_file():
                total += path.stat().st_size
    return total / MIB


def closure(requirements: Iterable[str]) -> set[str]:
    """The names of packages and of all that they require here, without extras.

    >>> sorted(closure(["packaging"]))
    ['packaging']
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    names, waiting = set(), list(requirements)
    while waiting:
        one = Requirement(waiting.pop())
        name = canonicalize_name(one.name)
        if name in names or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        names.add(name)
        waiting += metadata.distribution(name).requires or []
    return names
