"""What a measurement was made on, to stand beside it in a file of results."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scikit-learn", "torch", "jax", "keras")


def describe(backend: str) -> dict[str, Any]:
    """The processor and how busy it was, the versions, and the device that the backend of xpnn runs on."""
    import xpnn
    from xpnn.availability import INSTALL, status

    name = backend.partition(":")[0]
    found = status(name) if name in INSTALL else None
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES} | {"xpnn": xpnn.__version__},
        "blas": _blas(),
        "backend": f"{name} {found.version}, {found.device}" if found and found.usable else backend,
    }


def version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    if sys.platform == "linux":  # where platform.processor() knows only the architecture
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _blas() -> str:
    """The BLAS that NumPy was built with."""
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas.get('version', '')}".strip()
