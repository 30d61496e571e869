"""What the tests here ask of a machine: without a usable GPU they are skipped, with the reason."""

import pytest

from xpnn.availability import status


def pytest_collection_modifyitems(items):
    found = status("cupy")
    for item in items:
        if "tests/gpu" not in item.path.as_posix() or "test_kernels" in item.path.name:
            continue  # NVRTC compiles without a GPU
        if not found.usable:
            item.add_marker(pytest.mark.skip(reason=f"no usable GPU: {found.reason}"))
        elif item.get_closest_marker("real_cupy") and "pretended" in found.version:
            item.add_marker(pytest.mark.skip(reason="a pretended CuPy cannot do this"))
