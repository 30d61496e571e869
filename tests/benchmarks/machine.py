"""What a measurement was made on, to stand beside it in a file of results."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scikit-learn", "torch", "jax", "keras")
ON_CARD = ("array-api-compat", "triton", "jax-cuda12-plugin", "jax-cuda13-plugin")
"""What else a run on a GPU depends on."""


def is_card(backend: str) -> bool:
    """Whether that backend of xpnn's runs on a GPU by way of CuPy."""
    return backend == "cupy"


def describe(backend: str) -> dict[str, Any]:
    """The processor and how busy it was, the versions, and the device that the backend of xpnn runs on; a card's own
    name, driver and CUDA beside them."""
    import xpnn
    from xpnn.availability import INSTALL, status

    name = backend.partition(":")[0]
    found = status(name) if name in INSTALL else None
    packages = PACKAGES + ON_CARD * is_card(backend)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages} | {"xpnn": xpnn.__version__},
        "blas": _blas(),
        "backend": f"{name} {found.version}, {found.device}" if found and found.usable else backend,
    } | (card() if is_card(backend) else {})


def card() -> dict[str, Any]:
    """The current card: its name, the driver, and the versions of CUDA that CuPy runs with and of CuPy."""
    import cupy

    number = cupy.cuda.Device().id
    cuda = cupy.cuda.runtime.runtimeGetVersion()
    return {
        "card": cupy.cuda.runtime.getDeviceProperties(number)["name"].decode(),
        "driver": driver(),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        "cupy": cupy.__version__,
    }


def driver() -> str | None:
    """The version of NVIDIA's driver, as its own tool tells it; None where that is missing."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else None


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
