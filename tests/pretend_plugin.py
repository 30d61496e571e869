"""A plugin under which CuPy is the pretended one: `pytest -p tests.pretend_plugin tests/gpu`, or any other tests."""

from tests.pretend_cupy import installed


def pytest_configure():
    installed().__enter__()
