"""Rows that are read in blocks: the same training as of arrays, in a bounded memory."""

import sys

import numpy as np
import pytest

import xpnn
from tests import lazy
from tests.lazy import CLASSES, FIT, STOCHASTIC, WEIGHT, Lazy, X, Y, network
from tests.trained import state_of
from xpnn import SGD, mlp, sources
from xpnn.backend import resolve, to_host
from xpnn.batches import Blocks

small = lazy.small  # pytest looks for fixtures among the names of the module


@pytest.fixture
def memmap(tmp_path):
    """A function that puts an array into a file and gives its memmap."""

    def made(array):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    return made


def source_of(x, y, backend, weight=None, members=None, batch_size=16, shuffle=True):
    """The batches of rows that are read."""
    net = network(backend, members=members)
    rows = sources.given(x, y, weight, xpnn.losses.get("bce"), net.shapes, net.backend)
    return Blocks(rows, 1, batch_size, shuffle, net.seeds, members is not None, net.backend)


def test_what_is_read_and_what_is_in_memory(memmap):
    def is_read(values):
        return sources.is_read(values, resolve("numpy"))

    assert is_read(memmap(X))
    assert is_read(memmap(X)[5:9])
    assert is_read(Lazy(X))
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    strict = pytest.importorskip("array_api_strict")
    frame = pandas.DataFrame(X)
    for values in (
        *(X, X.tolist(), [Lazy(X)], None, 3.0, "x", {"x": X}, memoryview(X), np.ma.masked_array(X)),
        *(torch.asarray(X), jax.numpy.asarray(X), strict.asarray(X), sparse.csr_array(X)),
        *(frame, frame[0], frame.index, pandas.Categorical(CLASSES), pandas.array([1, 2])),
    ):
        assert not is_read(values), type(values)


@pytest.mark.parametrize("kind", ["memmap", "an object"])
def test_rows_that_fit_into_one_pool_are_trained_bit_for_bit_as_an_array(backend, memmap, kind):
    make = memmap if kind == "memmap" else Lazy
    layers = mlp([3, 1]) if backend.name == "jax" else STOCHASTIC
    options = FIT | {"epochs": 3, "sample_weight": WEIGHT}
    options["compile"] = backend.name != "jax"  # XLA fuses what it gathers
    array, read = network(backend, layers), network(backend, layers)
    array.fit(X, Y, **options)
    read.fit(make(X), Y, **options)
    assert state_of(read) == state_of(array)


@pytest.mark.parametrize("which", ["y", "sample_weight", "x and y", "all"])
def test_each_argument_may_be_read(memmap, which):
    x, y, weight = (memmap(array) for array in (X, Y, WEIGHT))
    given = {
        "y": (X, y, WEIGHT),
        "sample_weight": (X, Y, weight),
        "x and y": (x, y, WEIGHT),
        "all": (x, y, weight),
    }[which]
    array, read = network(), network()
    array.fit(X, Y, **FIT, sample_weight=WEIGHT, epochs=2)
    read.fit(given[0], given[1], **FIT, sample_weight=given[2], epochs=2)
    assert state_of(read) == state_of(array)


@pytest.mark.parametrize("dtype", ["uint8", "int64", ">f4", "float16", "bool"])
def test_rows_of_any_type_are_read(memmap, dtype):
    x = (10 * np.abs(X)).astype(dtype)
    array, read = network(), network()
    array.fit(x, Y, **FIT, epochs=1)
    read.fit(memmap(x), Y, **FIT, epochs=1)
    assert state_of(read) == state_of(array)


@pytest.mark.parametrize("which", ["x", "y"])
def test_rows_in_columns_order_are_laid_out_as_they_are_read(small, tmp_path, which):
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    x = np.load(tmp_path / "x.npy", mmap_mode="r") if which == "x" else np.asfortranarray(X)
    assert x.flags.f_contiguous
    source = source_of(x, Y if which == "x" else Lazy(Y), "numpy").source
    for spans in ([(0, 10)], [(0, 10), (50, 60)]):
        assert source.read(spans).x.flags.c_contiguous


@pytest.mark.parametrize("batch_size", [1, 7, 16, 40, 64, 103, 500])
def test_every_epoch_sees_every_row_once_and_only_its_last_batch_is_short(small, batch_size):
    x, orders = Lazy(np.repeat(np.arange(103.0)[:, None], 3, axis=1)), []
    blocks = source_of(x, np.arange(103) % 2, "numpy", weight=np.arange(103.0), batch_size=batch_size)
    for epoch in (0, 1, 0):
        batches = list(blocks.epoch(epoch))
        sizes = [len(batch.x) for batch in batches]
        assert len(sizes) == blocks.steps
        assert set(sizes[:-1]) <= {min(batch_size, 103)}
        assert sum(sizes) == 103
        for batch in batches:
            np.testing.assert_array_equal(batch.y[:, 0], batch.x[:, 0] % 2)
            np.testing.assert_array_equal(batch.weight, batch.x[:, 0])
        orders.append(np.concatenate([batch.x[:, 0] for batch in batches]).tolist())
        assert sorted(orders[-1]) == list(range(103))
    assert orders[0] == orders[2]
    assert (orders[0] == orders[1]) == (batch_size > 102)  # one batch is not shuffled


def test_blocks_come_in_another_order_each_epoch_and_never_many_at_once(small):
    x = Lazy(X)
    blocks = source_of(x, Y, "numpy")
    assert (blocks.source.block, blocks.source.pool) == (10, 4)
    pools = []
    for epoch in range(4):
        x.slices.clear()
        for _ in blocks.epoch(epoch):
            pass
        assert sorted(x.slices) == [(start, min(start + 10, 103)) for start in range(0, 103, 10)]
        pools += [tuple(x.slices[:4])]
        for first in (0, 4, 8):  # within a pool in the order in which they lie
            assert x.slices[first : first + 4] == sorted(x.slices[first : first + 4])
    assert len(set(pools)) == 4
    x.slices.clear()
    for _ in source_of(x, Y, "numpy", shuffle=False).epoch(0):
        pass
    assert x.slices[1:] == sorted(x.slices[1:])


def test_the_rows_of_a_batch_come_from_all_over_what_lies_sorted():
    x = Lazy(np.repeat(np.arange(300_000.0)[:, None], 3, axis=1))
    blocks = source_of(x, np.zeros(300_000), "numpy", batch_size=64)
    spread = [np.ptp(batch.x[:, 0]) for batch, _ in zip(blocks.epoch(0), range(100), strict=False)]
    assert blocks.source.pool == 128
    assert min(spread) > 150_000
    assert max(stop - start for start, stop in x.slices) == 1024


@pytest.mark.parametrize("chunks, block, pool", [(None, 10, 4), ((3, 3), 12, 3), ((25, 1), 25, 1), ((41, 3), 10, 4)])
def test_a_block_is_a_whole_number_of_the_chunks_in_which_rows_are_stored(small, chunks, block, pool):
    source = source_of(Lazy(X, chunks), Y, "numpy").source
    assert (source.block, source.pool) == (block, pool)


def test_not_shuffled_rows_come_in_their_order(small, memmap):
    array, read = network(), network()
    array.fit(X, Y, **FIT, epochs=2, shuffle=False)
    read.fit(memmap(X), Y, **FIT, epochs=2, shuffle=False)
    assert state_of(read) == state_of(array)


@pytest.mark.parametrize("members", [None, 2])
def test_the_same_seed_gives_the_same_batches_everywhere(backend, small, members):
    given = {"weight": WEIGHT, "members": members}
    reference = list(source_of(Lazy(X), Y, "numpy", **given).epoch(1))
    found = list(source_of(Lazy(X), Y, backend, **given).epoch(1))
    for one, other in zip(found, reference, strict=True):
        for array, expected in zip(one, other, strict=True):
            assert backend.owns(array)
            np.testing.assert_allclose(to_host(array), expected, rtol=1e-7)


@pytest.mark.parametrize("own", ["nothing", "y", "weight", "y and weight"])
def test_lane_k_is_the_network_that_its_seed_alone_gives(small, own):
    y = np.stack([Y, 1 - Y, Y])[..., None] if "y" in own else Y
    weight = np.stack([WEIGHT, WEIGHT[::-1], WEIGHT]) if "weight" in own else WEIGHT
    options = FIT | {"epochs": 3, "metrics": ["accuracy"]}
    stack = network(members=3)
    stack.fit(Lazy(X), y, sample_weight=weight, **options)
    for k in range(3):
        alone = network(seed=3 + k)
        targets, weights = y[k] if y.ndim == 3 else y, weight[k] if weight.ndim == 2 else weight
        alone.fit(Lazy(X), targets, sample_weight=weights, **options)
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose([row[k] for row in stack.history[name]], alone.history[name], rtol=1e-9)
        np.testing.assert_allclose(stack.predict(Lazy(X))[k], alone.predict(X), rtol=1e-8)


@pytest.mark.parametrize("members", [None, 2])
def test_two_and_two_epochs_are_four_bit_for_bit(small, memmap, members):
    whole, halves, x = network(members=members), network(members=members), memmap(X)
    whole.fit(x, Y, **FIT, epochs=4)
    halves.fit(x, Y, **FIT, epochs=2)
    halves.fit(x, Y, batch_size=16, epochs=2)
    assert state_of(halves, recorded=False) == state_of(whole, recorded=False)
    np.testing.assert_array_equal(halves.history["loss"], whole.history["loss"][2:])


# What is measured


@pytest.mark.parametrize("members", [None, 2])
def test_predictions_and_evaluations_are_those_of_the_array(backend, small, tolerance, members):
    if backend.name == "jax" and members:
        pytest.skip("one network on JAX will do")
    net = network(backend, mlp([3, 1]) if backend.name == "jax" else STOCHASTIC, members=members)
    read = Lazy(X)
    np.testing.assert_allclose(to_host(net.predict(read)), to_host(net.predict(X)), rtol=tolerance)
    np.testing.assert_allclose(to_host(net.predict(read, batch_size=3)), to_host(net.predict(X)), rtol=tolerance)
    assert net.backend.owns(net.predict(read))
    for weight in (None, WEIGHT):
        options = {"loss": "bce", "metrics": ["accuracy", "brier_score"], "sample_weight": weight}
        found, expected = net.evaluate(read, Lazy(Y), **options), net.evaluate(X, Y, **options)
        assert list(found) == list(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=max(tolerance, 1e-6))


def test_weights_that_are_zero_in_a_block_weigh_nothing(small):
    net, weight = network(), np.where(np.arange(103) < 60, 0.0, 1.0)
    for given in (weight, 0.0 * weight):
        found = net.evaluate(Lazy(X), Y, "bce", sample_weight=given)["loss"]
        assert found == pytest.approx(net.evaluate(X, Y, "bce", sample_weight=given)["loss"], rel=1e-12)


def test_what_an_epoch_records_is_what_an_array_gives(small, memmap):
    options = FIT | {"optimizer": SGD(0.0), "epochs": 1, "metrics": ["accuracy"]}
    array, read = network(layers=mlp([3, 1])), network(layers=mlp([3, 1]))
    array.fit(X, Y, **options, validation_data=(X[::-1], Y[::-1], WEIGHT))
    read.fit(memmap(X), memmap(Y), **options, validation_data=(memmap(X[::-1]), memmap(Y[::-1]), WEIGHT))
    for name, values in array.history.history.items():
        assert read.history[name] == pytest.approx(values, rel=1e-12), name


@pytest.mark.parametrize("loss, y", [("bce", Y), ("cross_entropy", CLASSES), ("cross_entropy", np.eye(3)[CLASSES])])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 2.0, 1: 0.5}])
def test_class_weights_are_those_of_the_array(loss, y, class_weight):
    layers = mlp([3, 4, 1 if loss == "bce" else 3])
    array, read = network(layers=layers), network(layers=layers)
    for weight in (None, WEIGHT):
        options = {"loss": loss, "class_weight": class_weight, "sample_weight": weight, "epochs": 2}
        array.fit(X, y, **options)
        read.fit(Lazy(X), y, **options)
        assert state_of(read) == state_of(array)


# The libraries, and the memory


def test_datasets_of_h5py_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    array, read = network(), network()
    array.fit(X, Y, **FIT, epochs=1)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        x = file.create_dataset("x", data=X, chunks=(16, 3), compression="gzip")
        y = file.create_dataset("y", data=Y)
        read.fit(x, y, **FIT, epochs=1)
        assert state_of(read) == state_of(array)
        np.testing.assert_array_equal(read.predict(x), read.predict(X))


def test_arrays_of_zarr_are_read():
    zarr = pytest.importorskip("zarr")
    x = zarr.array(X, chunks=(16, 3))
    array, read = network(), network()
    array.fit(X, Y, **FIT, epochs=1)
    read.fit(x, zarr.array(Y), **FIT, epochs=1)
    assert state_of(read) == state_of(array)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds what is allocated on Linux alone")
def test_an_epoch_takes_less_memory_than_its_rows(tmp_path):
    from tests.benchmarks import memory

    memory.write(tmp_path, gigabytes=0.375, sparse=True)
    found = memory.run(tmp_path, limit=0.35)
    assert found["rows"] == 393_216
    assert found["peak"] - found["before"] < 100.0  # MiB, of 384 that are read
    assert "allocate" in memory.run(tmp_path, limit=0.35, what="whole")["refused"]
