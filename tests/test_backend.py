"""Where arrays live: what names a backend, what becomes an array of it, and what is said where one is not usable."""

import functools
import importlib
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import xpnn
from tests.conftest import CASES
from xpnn import Network, mlp
from xpnn.availability import INSTALL, BackendUnavailable, Status, backends, status
from xpnn.backend import Backend, resolve, to_host

ROOT = Path(xpnn.__file__).parents[1]
VALUES = np.asarray([[0, 1], [1, 0], [1, 1]])


def usable(place: str) -> None:
    """Skip where the library of `place` is not usable."""
    found = status(place.partition(":")[0])
    if not found.usable:
        pytest.skip(found.reason)


# What names a backend

NAMED = {
    "numpy": "numpy",
    "NumPy": "numpy",
    "numpy:cpu": "numpy",
    "torch": "torch",
    "torch:cpu": "torch",
    "jax": "jax",
    "array-api-strict": "array-api-strict",
    "array_api_strict": "array-api-strict",
    "array-api-strict:CPU_DEVICE": "array-api-strict",
    "array-api-strict:device1": "array-api-strict:device1",
    "array-api-strict:no_float64": "array-api-strict:no_float64",
}
MODULES = {
    "numpy": "numpy",
    "array_api_compat.numpy": "numpy",
    "torch": "torch",
    "array_api_compat.torch": "torch",
    "jax.numpy": "jax",
    "array_api_strict": "array-api-strict",
}


@pytest.mark.parametrize("name", NAMED)
def test_a_name_gives_its_backend_in_float32(name):
    usable(NAMED[name])
    found = resolve(name)
    assert (found.label, found.dtype) == (NAMED[name], "float32")
    assert repr(found) == f"Backend({found.label}, float32)"


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("dtype", [None, "float32"])
def test_an_array_namespace_gives_its_backend_and_runs_a_network(module, dtype):
    namespace = pytest.importorskip(module)
    found = resolve(namespace, dtype)
    assert (found.label, found.dtype) == (MODULES[module], "float32")
    net = Network(mlp([2, 3, 1], output="sigmoid"), namespace, dtype)
    assert net.backend.owns(net.predict(VALUES))


def test_a_backend_its_label_and_its_copy_in_another_dtype_are_the_same_place(backend):
    assert resolve(backend) == backend
    assert resolve(backend.label, backend.dtype) == backend
    other = resolve(backend, "float32")
    assert (other.xp, other.device, other.dtype) == (backend.xp, backend.device, "float32")


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64")])
def test_a_dtype_is_taken_by_name_or_as_an_object(dtype):
    assert resolve("numpy", dtype).dtype == "float64"


def test_auto_is_cupy_where_a_gpu_is_usable_and_numpy_elsewhere():
    assert resolve("auto").name == ("cupy" if status("cupy").usable else "numpy")
    assert resolve("Auto") == resolve("auto")


@pytest.mark.parametrize("place", ["numpy:1", "array-api-strict:device9", "torch:nowhere", "jax:nowhere", "jax:cpu:99"])
def test_a_device_that_is_not_there_is_named(place):
    usable(place)
    with pytest.raises(BackendUnavailable, match=f"'{place}' is not usable here: .*({place.split(':', 1)[1]}|device)"):
        resolve(place)


def test_float64_is_refused_where_the_device_has_none():
    with pytest.raises(BackendUnavailable, match=r"no_float64.*float32"):
        resolve("array-api-strict:no_float64", "float64")


@pytest.mark.parametrize("given", [None, 3, np.zeros(2), [1], Status("numpy", True)])
def test_what_names_no_backend_is_a_type_error(given):
    with pytest.raises(TypeError, match=r"^backend must be a name"):
        resolve(given)


# What becomes an array


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def library(place: str, **options):
    """A maker of arrays of another library."""

    def make(values):
        usable(place)
        return resolve(place, "float32").asarray(values, **options)

    return make


SOURCES = {
    "list": lambda v: v.tolist(),
    "tuple of arrays": tuple,
    "list of scalars": lambda v: [[np.float32(one) for one in row] for row in v],
    "bool": lambda v: v.astype(bool),
    "list of bool": lambda v: v.astype(bool).tolist(),
    "object": lambda v: v.astype(object),
    "read only": lambda v: read_only(v.astype(np.float32)),
    "read only float64": lambda v: read_only(v.astype(np.float64)),
    "Fortran order": lambda v: np.asfortranarray(v.astype(np.float32)),
    "strided": lambda v: np.repeat(np.repeat(v, 2, axis=0), 3, axis=1).astype(np.float64)[::2, ::3],
    "reversed": lambda v: np.ascontiguousarray(v[::-1, ::-1]).astype(np.float32)[::-1, ::-1],
    "big endian": lambda v: v.astype(">f8"),
    "big endian int": lambda v: v.astype(">i4"),
    "matrix": lambda v: v.astype(np.float64).view(np.matrix),
    "data frame": lambda v: pytest.importorskip("pandas").DataFrame(v),
    "mixed data frame": lambda v: pytest.importorskip("pandas").DataFrame({"a": v[:, 0] > 0, "b": v[:, 1] * 1.0}),
    "nullable data frame": lambda v: pytest.importorskip("pandas").DataFrame(v).astype("Int64"),
    "torch": library("torch"),
    "torch integers": library("torch", dtype=None),
    "torch with a gradient": lambda v: library("torch")(v).requires_grad_(),
    "jax": library("jax"),
    "strict": library("array-api-strict"),
    "strict device1": library("array-api-strict:device1"),
    "strict integers": library("array-api-strict", dtype=None),
}
WIDTHS = (8, 16, 32, 64)
for name in ["float16", "float32", "float64", "longdouble", *(f"{sign}int{n}" for sign in ("", "u") for n in WIDTHS)]:
    SOURCES[name] = functools.partial(np.asarray, dtype=name)


@pytest.mark.parametrize("source", SOURCES)
def test_numbers_of_any_form_become_the_backends_arrays_and_stay_as_they_were(backend, source):
    given = SOURCES[source](VALUES)
    made = backend.asarray(given, "x")
    assert backend.owns(made)
    assert made.dtype == backend.float
    assert type(made) is type(backend.xp.asarray(0.0))
    np.testing.assert_array_equal(backend.to_host(made), VALUES)
    np.testing.assert_array_equal(to_host(given), VALUES)


def test_integers_stay_integers_where_no_dtype_is_asked_for(backend):
    assert backend.xp.isdtype(backend.asarray(VALUES, dtype=None).dtype, "integral")
    assert backend.asarray(VALUES, dtype=backend.xp.int32).dtype == backend.xp.int32


NOT_NUMBERS = {
    "text": lambda: "abc",
    "list of text": lambda: [["a", "b"]],
    "array of text": lambda: np.asarray([["a", "b"]]),
    "digits as text": lambda: np.asarray([["1", "2"]]),
    "digits in objects": lambda: np.asarray([["1", 2]], dtype=object),
    "text in a data frame": lambda: pytest.importorskip("pandas").DataFrame({"a": [1, 2], "b": ["1", "2"]}),
    "objects": lambda: np.asarray([[object(), 1]], dtype=object),
    "a dict": lambda: {"a": 1},
    "a generator": lambda: (i for i in range(3)),
    "dates": lambda: np.asarray([["2020-01-01"]], dtype="M8[D]"),
    "durations": lambda: np.asarray([[1]], dtype="m8[s]"),
    "records": lambda: np.zeros(2, dtype=[("a", "f4"), ("b", "f4")]),
    "complex": lambda: np.asarray([[1j, 2.0]]),
    "list of complex": lambda: [[1j, 2.0]],
    "ragged": lambda: [[1.0, 2.0], [3.0]],
    "sparse": lambda: pytest.importorskip("scipy.sparse").csr_array(np.eye(2)),
    "torch's sparse": lambda: pytest.importorskip("torch").eye(2).to_sparse(),
    "masked": lambda: np.ma.masked_array([[1.0, 2.0]], mask=[[True, False]]),
}


@pytest.mark.parametrize("case", NOT_NUMBERS)
@pytest.mark.parametrize("place", ["numpy", "torch", "jax", "array-api-strict:device1"])
def test_what_is_no_array_of_real_numbers_is_a_type_error_that_names_the_argument(place, case):
    usable(place)
    if case == "torch's sparse" and place == "torch":
        pytest.skip("PyTorch's own arrays are PyTorch's business")
    with pytest.raises(TypeError, match=r"^the_argument "):
        resolve(place).asarray(NOT_NUMBERS[case](), "the_argument")


def test_own_complex_arrays_are_refused(backend):
    if "no_float64" in str(backend.device):
        pytest.skip("the device has no complex128")
    with pytest.raises(TypeError, match=r"^x must be real numbers"):
        backend.asarray(backend.xp.ones((2, 2), dtype=backend.xp.complex64, device=backend.device), "x")


@pytest.mark.parametrize("there", CASES)
def test_numbers_survive_a_move_between_any_two_backends(backend, there):
    usable(CASES[there][0])
    other = resolve(*CASES[there])
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)  # float32 has room for them
    moved = backend.asarray(other.asarray(values))
    assert backend.owns(moved)
    assert moved.dtype == backend.float
    np.testing.assert_array_equal(backend.to_host(moved), values)


def test_a_copy_has_memory_of_its_own(backend):
    original = backend.asarray(np.zeros(3))
    copied = backend.copy(original)
    assert backend.owns(copied)
    if backend.name != "jax":
        copied[0] = 1.0
    np.testing.assert_array_equal(backend.to_host(original), 0.0)


# What is usable


def test_the_table_has_a_line_for_every_library():
    found = backends()
    assert list(found) == list(INSTALL)
    assert repr(found).splitlines() == [str(one) for one in found.values()]
    for name, one in found.items():
        assert str(one).startswith(name)
        if one.usable:
            assert " usable " in str(one)
            assert one.version in str(one)
            assert one.device
        else:
            assert "not usable" in str(one)
            assert f"pip install {INSTALL[name]}" in str(one)


def test_the_table_names_the_devices():
    assert backends()["numpy"] == Status("numpy", True, np.__version__, "cpu")
    assert {"CPU_DEVICE", "device1"} <= set(backends()["array-api-strict"].device.split(", "))


def no_device() -> int:
    raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")


def cupy_with(count, ones=np.ones) -> SimpleNamespace:
    """As much of CuPy as the probe touches; `count` tells the devices."""
    runtime = SimpleNamespace(
        getDeviceCount=count,
        getDeviceProperties=lambda index: {"name": b"Trial GPU"},
        runtimeGetVersion=lambda: 12090,
    )
    return SimpleNamespace(__version__="14.2.0", ones=ones, float32=np.float32, cuda=SimpleNamespace(runtime=runtime))


PROBES = {
    "not installed": (None, "cupy is not installed"),
    "a library missing": (
        ImportError("libcublas.so.12: cannot open shared object file"),
        r"ImportError: libcublas\.so\.12",
    ),
    "no GPU": (cupy_with(no_device), "installed but failed: RuntimeError: cudaErrorNoDevice"),
    "no device": (cupy_with(lambda: 0), "installed but failed: .*no CUDA device"),
    "wrong results": (cupy_with(lambda: 1, np.zeros), "installed but failed: .*wrong result"),
}


@pytest.fixture
def pretend(monkeypatch):
    """A function that makes `import cupy` give what it is handed: a module, an error, or None for not installed."""
    find, load = importlib.util.find_spec, importlib.import_module

    def pretended(cupy) -> None:
        def import_module(name, package=None):
            if name != "cupy":
                return load(name, package)
            if isinstance(cupy, Exception):
                raise cupy
            return cupy

        def find_spec(name, package=None):
            return (cupy and SimpleNamespace(name=name)) if name == "cupy" else find(name, package)

        monkeypatch.setattr(importlib, "import_module", import_module)
        monkeypatch.setattr(importlib.util, "find_spec", find_spec)
        status.cache_clear()

    yield pretended
    status.cache_clear()


@pytest.mark.parametrize("case", PROBES)
def test_a_cupy_that_cannot_be_used_says_why_and_what_to_install(pretend, case):
    module, reason = PROBES[case]
    pretend(module)
    found = backends()["cupy"]
    assert not found.usable
    assert "\n" not in str(found)
    for place in ("cupy", "cupy:0"):
        with pytest.raises(
            BackendUnavailable, match=rf"'cupy(:0)?' is not usable here: .*{reason}.*cupy-cuda12x.*numpy"
        ):
            resolve(place)
    assert resolve("auto").name == "numpy"


@pytest.mark.parametrize("case", ["no GPU", "no device", "wrong results"])
def test_what_is_installed_of_cupy_is_named_with_its_version(pretend, case):
    pretend(PROBES[case][0])
    assert "14.2.0" in str(backends()["cupy"])


def test_a_cupy_that_can_be_used_is_named_with_its_gpu(pretend):
    pretend(cupy_with(lambda: 2))
    assert backends()["cupy"] == Status("cupy", True, "14.2.0", "Trial GPU (CUDA 12090, 2 devices)")


def test_the_probe_runs_once_a_process(pretend):
    asked = []
    pretend(cupy_with(lambda: asked.append(1) or 1))
    backends()
    count = len(asked)
    backends()
    assert len(asked) == count > 0


def test_the_command_line_says_what_is_usable():
    done = subprocess.run([sys.executable, "-m", "xpnn"], cwd=ROOT, capture_output=True, text=True, check=True)
    first, *lines = done.stdout.splitlines()
    assert first.startswith(f"xpnn {xpnn.__version__}, Python ")
    assert np.__version__ in first
    for one, line in zip(backends().values(), lines, strict=False):
        assert line.split()[0] == one.name
        assert ("not usable" in line) != one.usable
    assert f'backend="auto" chooses {resolve("auto").label}' in lines
    assert done.stderr == ""


def test_a_backend_is_compared_and_hashed_by_what_it_is():
    assert resolve("numpy") == resolve("numpy", "float32") != resolve("numpy", "float64")
    assert len({resolve("numpy"), resolve("numpy"), resolve("array-api-strict")}) == 2
    assert isinstance(resolve("numpy"), Backend)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how glibc keeps freed memory")
def test_numpys_arrays_of_a_step_are_not_handed_back_to_the_system_each_time():
    program = """
import resource, numpy as np, xpnn
net = xpnn.Network([xpnn.Dense(360, 360)], dtype="float64")
x, y = np.ones((4, 360)), np.ones((4, 360))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    net.step(x, y, "mse", xpnn.Adam())
before = faults()
for _ in range(20):
    net.step(x, y)
print((faults() - before) / 20)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 20  # else one for each of the 250 pages of an array, or of several
