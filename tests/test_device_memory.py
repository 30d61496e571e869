"""A device whose memory runs out, pretended: what is told, that nothing is lost, and that nothing stays behind."""

import gc
import sys

import numpy as np
import pytest

import xpnn
from tests.c_kernels import COMPILER
from tests.pretend_cupy import installed
from tests.pretend_memory import memory
from xpnn.compile.cublas import WORKSPACE

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.skipif("cupy" in sys.modules, reason="CuPy itself is loaded"),
]
X = np.random.default_rng(0).normal(size=(40_000, 6)).astype(np.float32)
Y = X[:, :1] * X[:, 1:2]


@pytest.fixture
def device(monkeypatch):
    """A function that leaves so many bytes of the pretended device free."""
    with installed():
        before = memory["free"]

        def leave(size):
            gc.collect()
            taken.append(memory["free"] - size)
            memory["free"] = size

        taken = []
        yield leave
        memory["free"] = min(before, memory["free"] + sum(taken))


def network(**options):
    return xpnn.Network(xpnn.mlp([6, 64, 64, 1]), backend="cupy", seed=3, **options)


def numbers(net):
    return [np.asarray(net.backend.to_host(array)) for layer in net.params for array in layer.values()]


def test_training_names_a_batch_that_fits_and_it_does(device):
    net = network()
    net.fit(X, Y, epochs=2, batch_size=4000)
    before, epoch = numbers(net), net.epoch
    device(2 * WORKSPACE + 12_000_000)
    with pytest.raises(
        xpnn.OutOfDeviceMemory, match=r"fit on Backend\(cupy.* ran out of memory: 40,000 rows at"
    ) as told:
        net.fit(X, Y, epochs=2, batch_size=40_000)
    assert isinstance(told.value, MemoryError)
    assert type(told.value.__cause__).__name__ == "OutOfMemoryError"
    assert net.epoch == epoch
    assert all(np.array_equal(one, other) for one, other in zip(before, numbers(net), strict=True))
    size = int(str(told.value).partition("batch_size=")[2].partition(" ")[0])
    assert 1000 < size < 40_000
    net.fit(X, Y, epochs=2, batch_size=size)  # while the error is still held
    assert net.epoch == epoch + 2


@pytest.mark.parametrize("compile", [True, False])
def test_nothing_of_the_device_is_held_by_the_error(device, compile):
    net = network()
    net.step(X[:8], Y[:8])
    device(WORKSPACE + 7_000_000)
    gc.collect()
    free = memory["free"]
    with pytest.raises(xpnn.OutOfDeviceMemory) as told:
        net.step(X, Y, compile=compile)
    assert "40,000 rows" in str(told.value)
    gc.collect()
    assert memory["free"] >= free


@pytest.mark.parametrize(
    "call", [lambda n: n.predict(X), lambda n: n.evaluate(X, Y), lambda n: n.value_and_grad(X, Y), lambda n: n.vjp(X)]
)
def test_every_method_tells(device, call):
    net = network()
    device(500_000)
    with pytest.raises(xpnn.OutOfDeviceMemory, match=r"ran out of memory: 40,000 rows at once take about .* are free"):
        call(net)


def test_data_that_do_not_fit_are_to_be_read_in_blocks(device):
    net = network()
    x, y = np.concatenate([X] * 10), np.concatenate([Y] * 10)
    device(2 * WORKSPACE + 2_000_000)
    with pytest.raises(xpnn.OutOfDeviceMemory, match=r"11.2 MB of it for the data, and .* numpy.memmap or an iterable"):
        net.fit(x, y, epochs=1, batch_size=1)


def test_a_network_that_does_not_fit(device):
    device(10_000)
    with pytest.raises(xpnn.OutOfDeviceMemory, match=r"ran out of memory: .* are free: .*smaller network"):
        network()


def test_other_errors_pass_as_they_are(device):
    net = network()
    with pytest.raises(ValueError, match="expects x of shape"):
        net.predict(X[:, :2])


def test_fits_leave_nothing_behind(device):
    net = network()
    for _ in range(10):  # as many programs and graphs as are kept
        net.fit(X[:64], Y[:64], epochs=1)
    gc.collect()
    free = memory["free"]
    for _ in range(20):
        net.fit(X[:64], Y[:64], epochs=1)
    gc.collect()
    assert memory["free"] == free
    for _ in range(20):
        network().fit(X[:64], Y[:64], epochs=1)
    gc.collect()
    assert memory["free"] == free
