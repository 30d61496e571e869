"""The backends that every test of the mathematics runs over, and a header that says which, and why not the others."""

import os
import sys

os.environ.setdefault("JAX_ENABLE_X64", "1")  # before anything imports JAX: half of the tests compare in float64
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import numpy as np
import pytest

from xpnn.availability import status
from xpnn.backend import Backend, resolve, to_host

hypothesis.settings.register_profile("xpnn", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("xpnn")

# Each backend with its widest dtype: a missing `device=` or `dtype=` fails on a strict device without any GPU.
CASES = {
    "numpy": ("numpy", "float64"),
    "numpy-float32": ("numpy", "float32"),
    "strict": ("array-api-strict", "float64"),
    "strict-device1": ("array-api-strict:device1", "float64"),
    "strict-no_float64": ("array-api-strict:no_float64", "float32"),
    "torch": ("torch", "float64"),
    "jax": ("jax", "float64"),
    "cupy": ("cupy", "float64"),
}


def _unusable(case: str) -> str:
    """Why a case cannot run here, or nothing."""
    found = status(CASES[case][0].partition(":")[0])
    return "" if found.usable else found.reason


def pytest_report_header() -> list[str]:
    """What is tested here, and why the rest is skipped."""
    lines = [f"xpnn backends tested: {', '.join(case for case in CASES if not _unusable(case))}"]
    lines += [f"xpnn backend skipped: {case} ({reason})" for case in CASES if (reason := _unusable(case))]
    return lines


def pytest_collection_modifyitems(items):
    """Examples in docstrings that need a library which the tests can do without."""
    if status("torch").usable:
        return
    for item in items:
        if item.nodeid.startswith("xpnn/exchange/pytorch.py"):
            item.add_marker(pytest.mark.skip(reason=status("torch").reason))


@pytest.fixture(scope="session", autouse=True)
def strict_flags():
    """What compiled and lazy libraries cannot do is refused by array-api-strict in every test."""
    import array_api_strict

    array_api_strict.set_array_api_strict_flags(boolean_indexing=False, data_dependent_shapes=False)


@pytest.fixture
def crossed(monkeypatch):
    """The shapes of all arrays that went from a device to the host."""
    shapes, original = [], to_host

    def recorded(values, *args, **options):
        if not isinstance(values, np.ndarray | list | tuple | float | int):
            shapes.append(tuple(getattr(values, "shape", ())))
        return original(values, *args, **options)

    for name, module in list(sys.modules.items()):
        if name.startswith("xpnn") and getattr(module, "to_host", None) is original:
            monkeypatch.setattr(module, "to_host", recorded)
    return shapes


@pytest.fixture(params=list(CASES))
def backend(request) -> Backend:
    """Each usable backend in turn."""
    if reason := _unusable(request.param):
        pytest.skip(reason)
    return resolve(*CASES[request.param])


@pytest.fixture
def tolerance(backend) -> float:
    """Relative agreement with a float64 reference."""
    return 1e-10 if backend.dtype == "float64" else 3e-5


@pytest.fixture
def eager(backend):
    """The backends without JAX, which compiles each operation for tens of milliseconds; it has its curve elsewhere."""
    if backend.name == "jax":
        pytest.skip("JAX's arrays cannot be written, and its operations take long to compile")
    return backend
