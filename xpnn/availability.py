"""Which array libraries can be used here, found by trying them, and of the others why not and what to install."""

import functools
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

INSTALL = {
    "numpy": "numpy",
    "cupy": "cupy-cuda12x[ctk] or cupy-cuda13x[ctk]",
    "torch": "torch",
    "jax": "jax",
    "array-api-strict": "array-api-strict",
}
"""The array libraries by name, with the PyPI package that brings each."""

NAMESPACES = {
    "numpy": "numpy",
    "cupy": "array_api_compat.cupy",
    "torch": "array_api_compat.torch",
    "jax": "jax.numpy",
    "array-api-strict": "array_api_strict",
}


class BackendUnavailable(RuntimeError):
    """An array library or a device was asked for that is not usable here; the message says what to install."""


class OutOfDeviceMemory(MemoryError):
    """A device has too little memory; the message says what was needed and which batch size would fit.

    The network is as it was before, but without what it had prepared for its steps.
    """


@dataclass(frozen=True)
class Status:
    """Whether an array library can be used here: its version and device, or why not and what to install."""

    name: str
    usable: bool
    version: str = ""
    device: str = ""
    reason: str = ""
    install: str = ""

    def __str__(self) -> str:
        if self.usable:
            return f"{self.name:<17} usable       {self.version:<10} {self.device}"
        return f"{self.name:<17} not usable   {self.reason}; pip install {self.install}"


class Statuses(dict):
    """The status of every array library by name; printed as a table."""

    def __repr__(self) -> str:
        return "\n".join(str(status) for status in self.values())


def backends() -> Statuses:
    """What is installed and usable here, and of the rest why not and what to install.

    >>> backends()["numpy"].usable
    True
    """
    return Statuses({name: status(name) for name in INSTALL})


@functools.cache
def status(name: str) -> Status:
    """The status of one array library, found by trying it (once a process)."""
    if name not in INSTALL:
        raise ValueError(f"name must be one of {', '.join(INSTALL)}, got {name!r}")
    root = NAMESPACES[name].rpartition("compat.")[2].partition(".")[0]
    if importlib.util.find_spec(root) is None:
        return Status(name, False, reason=f"{root} is not installed", install=INSTALL[name])
    library = None
    try:
        library = importlib.import_module(root)
        device = _probe_cupy(library) if name == "cupy" else _default_device(name)
    except Exception as error:  # whatever an installed library raises, the answer is that it cannot be used
        version = getattr(library, "__version__", "of unknown version")
        told = str(error).strip().replace("\n", " ") or "no message"
        reason = f"{root} {version} is installed but failed: {type(error).__name__}: {told}"
        return Status(name, False, reason=reason, install=INSTALL[name])
    return Status(name, True, getattr(library, "__version__", ""), device)


def _probe_cupy(cupy: Any) -> str:
    """Importing CuPy needs no GPU, so use one: count the devices, run one kernel of its own and one cuBLAS product."""
    count = cupy.cuda.runtime.getDeviceCount()
    if count < 1:
        raise RuntimeError("no CUDA device")
    one = cupy.ones((1, 1), dtype=cupy.float32)
    if float((one + one)[0, 0]) != 2.0 or float((one @ one)[0, 0]) != 1.0:
        raise RuntimeError("a trial kernel gave a wrong result")
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"{name} (CUDA {cupy.cuda.runtime.runtimeGetVersion()}, {count} device{'s' if count > 1 else ''})"


def _default_device(name: str) -> str:
    if name == "torch":
        import torch

        return "cpu, cuda" if torch.cuda.is_available() else "cpu"
    if name == "jax":
        import jax

        return f"{jax.devices()[0].platform}, x64 {'on' if jax.config.read('jax_enable_x64') else 'off'}"
    if name == "array-api-strict":
        import array_api_strict

        devices = array_api_strict.__array_namespace_info__().devices()
        return ", ".join(device_label(name, device) or "CPU_DEVICE" for device in devices)
    return "cpu"


def require(name: str) -> None:
    """Raise BackendUnavailable, with what to install and what there is, unless the library can be used."""
    found = status(name)
    if not found.usable:
        usable = ", ".join(s.name for s in backends().values() if s.usable)
        raise BackendUnavailable(
            f"backend {name!r} is not usable here: {found.reason}. Install it with: pip install {found.install}. "
            f"Usable here: {usable}."
        )


def load(name: str) -> Any:
    require(name)
    return importlib.import_module(NAMESPACES[name])


def device_label(name: str, device: Any) -> str:
    """What stands after the colon in the name of a backend; nothing for the device that is taken without it."""
    if device is None or (name == "torch" and str(device) == "cpu"):
        return ""
    if name == "cupy":
        return str(device.id)
    if name == "array-api-strict":
        text = str(device).partition("'")[2].rstrip("')")
        return "" if text == "CPU_DEVICE" else text
    if name == "jax":
        return f"{device.platform}:{device.id}"
    return str(device)
