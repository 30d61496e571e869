"""Memory of a card: nothing is leaked, the caller's bound is respected, and running out is told. Needs a GPU."""

import gc

import numpy as np
import pytest

import xpnn

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.real_cupy
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4096, 32)).astype(np.float32)
Y = X[:, :1] * X[:, 1:2]


def network():
    return xpnn.Network(xpnn.mlp([32, 256, 256, 1]), backend="cupy", seed=3)


def used():
    gc.collect()
    cupy.cuda.Device().synchronize()
    return cupy.get_default_memory_pool().used_bytes()


@pytest.fixture
def limit():
    """A function that bounds the default pool to so many bytes more than are in use."""
    pool = cupy.get_default_memory_pool()
    before = pool.get_limit()

    def bounded(more):
        pool.free_all_blocks()
        pool.set_limit(size=used() + more)

    yield bounded
    pool.set_limit(size=before)


def test_a_thousand_fits_leave_nothing_behind():
    net = network()

    def fits(count):
        for _ in range(count):
            net.fit(X[:256], Y[:256], epochs=1, batch_size=64)
        return used()

    first = fits(10)
    assert fits(990) <= first


def test_networks_that_are_gone_leave_nothing_behind():
    def fits(count):
        for _ in range(count):
            network().fit(X[:256], Y[:256], epochs=1, batch_size=64)
        return used()

    first = fits(10)
    assert fits(40) <= first


def test_all_arrays_are_of_the_default_pool(limit):
    limit(1 << 30)
    net, before = network(), used()
    net.fit(X, Y, epochs=1)
    assert before < used() < before + (1 << 30)


def test_out_of_memory_names_a_batch_that_fits_and_it_does(limit):
    net = network()
    net.fit(X, Y, epochs=1, batch_size=64)
    before = [array.get() for layer in net.params for array in layer.values()]
    x, y = (np.concatenate([one] * 16) for one in (X, Y))
    limit(160 << 20)  # of which a batch of all rows would need more
    with pytest.raises(xpnn.OutOfDeviceMemory, match=r"65,536 rows at once take about .* batch_size=") as told:
        net.fit(x, y, epochs=1, batch_size=len(x))
    after = [array.get() for layer in net.params for array in layer.values()]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    net.fit(x, y, epochs=1, batch_size=int(str(told.value).partition("batch_size=")[2].partition(" ")[0]))


def test_a_memmap_larger_than_the_pool_trains_as_the_array_does(limit, tmp_path):
    rows = 1 << 20
    x = np.memmap(tmp_path / "x", dtype=np.float32, mode="w+", shape=(rows, 32))
    y = np.memmap(tmp_path / "y", dtype=np.float32, mode="w+", shape=(rows, 1))
    for start in range(0, rows, len(X)):
        x[start : start + len(X)], y[start : start + len(X)] = X, Y
    host = xpnn.Network(xpnn.mlp([32, 16, 1]), seed=3)
    card = xpnn.Network(xpnn.mlp([32, 16, 1]), backend="cupy", seed=3)
    limit(124 << 20)  # the rows alone are 132 MiB
    ours, theirs = (net.fit(x, y, epochs=2, batch_size=4096)["loss"] for net in (card, host))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
