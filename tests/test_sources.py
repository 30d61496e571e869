"""Rows that are read in blocks and batches that others make: the same training as of arrays, in a bounded memory."""

import re
import sys

import numpy as np
import pytest

import xpnn
from tests.trained import state_of
from xpnn import SGD, Adam, Network, mlp, sources, training
from xpnn.backend import resolve, to_host
from xpnn.batches import Blocks
from xpnn.training import NonFiniteLoss

RNG = np.random.default_rng(4)
X = RNG.normal(size=(103, 3)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0.0).astype(np.float32)
CLASSES = (np.abs(X).argmax(axis=1)).astype(np.int16)
WEIGHT = RNG.uniform(size=103).astype(np.float32)
STOCHASTIC = mlp([3, 6, 1], "tanh", "sigmoid", dropout=0.2, norm="batch")


class Lazy:
    """What stands for an h5py.Dataset or a zarr.Array: rows by slices, nothing else, here all in the same memory."""

    def __init__(self, values, chunks=None):
        self.values, self.slices, self.chunks = np.asarray(values), [], chunks
        self.shape, self._buffer = self.values.shape, np.empty_like(self.values)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        assert rows.step is None
        self.slices.append((rows.start, rows.stop))
        found = self._buffer[: rows.stop - rows.start]
        found[...] = self.values[rows]
        return found


class Batched:
    """An iterable of batches that begins anew, as a data loader does."""

    def __init__(self, *arrays, size=20):
        self.arrays, self.size, self.passes = arrays, size, 0

    def __iter__(self):
        self.passes += 1
        for start in range(0, len(self.arrays[0]), self.size):
            yield tuple(array[start : start + self.size] for array in self.arrays)


@pytest.fixture
def memmap(tmp_path):
    """A function that puts an array into a file and gives its memmap."""

    def made(array):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    return made


@pytest.fixture
def small(monkeypatch):
    """Blocks of 10 rows, 4 of them in memory at once, for rows of 3 features and an output."""
    monkeypatch.setattr(sources, "NUMBERS", 160)
    monkeypatch.setattr(sources, "BLOCKS", 4)


def network(backend="numpy", layers=STOCHASTIC, **options):
    dtype = options.pop("dtype", getattr(backend, "dtype", "float64"))
    return Network(layers, backend, dtype, **{"seed": 3} | options)


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


FIT = {"loss": "bce", "optimizer": Adam(lambda step: 0.1 / (1 + step)), "batch_size": 16}


@pytest.mark.parametrize("kind", ["memmap", "an object"])
def test_rows_that_fit_into_one_pool_are_trained_bit_for_bit_as_an_array(backend, memmap, kind):
    make = memmap if kind == "memmap" else Lazy
    layers = mlp([3, 1]) if backend.name == "jax" else STOCHASTIC
    options = FIT | {"epochs": 3, "sample_weight": WEIGHT}
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


# Iterables of batches


@pytest.mark.parametrize("kind", ["an object", "a list", "a list of lists"])
def test_batches_are_trained_bit_for_bit_as_the_array_in_its_order(backend, kind):
    layers = mlp([3, 1]) if backend.name == "jax" else STOCHASTIC
    array, batched = network(backend, layers), network(backend, layers)
    batches = Batched(X, Y, WEIGHT, size=16)
    batches = {"an object": batches, "a list": list(batches), "a list of lists": [list(one) for one in batches]}[kind]
    options = {"loss": "bce", "optimizer": FIT["optimizer"], "epochs": 3}
    array.fit(X, Y, **options, batch_size=16, shuffle=False, sample_weight=WEIGHT)
    batched.fit(batches, **options)
    assert state_of(batched) == state_of(array)


def test_own_arrays_are_batches_too(backend):
    array, batched = network(backend, mlp([3, 1])), network(backend, mlp([3, 1]))
    own = [tuple(backend.asarray(part) for part in batch) for batch in Batched(X, Y, size=52)]
    array.fit(X, Y, epochs=2, batch_size=52, shuffle=False)
    batched.fit(own, epochs=2)
    assert state_of(batched) == state_of(array)


def test_batches_may_be_of_any_length_and_of_the_members_own(small):
    parts = [slice(0, 50), slice(50, 51), slice(51, 103)]
    stack = network(members=2)
    stack.fit([(np.stack([X[rows], -X[rows]]), Y[rows]) for rows in parts], loss="bce", epochs=3)
    for k, sign in enumerate([1.0, -1.0]):
        alone = network(seed=3 + k)
        alone.fit([(sign * X[rows], Y[rows]) for rows in parts], loss="bce", epochs=3)
        np.testing.assert_allclose([row[k] for row in stack.history["loss"]], alone.history["loss"], rtol=1e-9)
    net = network(layers=mlp([3, 1]))
    net.fit([(X[rows], Y[rows]) for rows in parts], optimizer=SGD(0.0), epochs=1)
    assert net.history["loss"][0] == pytest.approx(net.evaluate(X, Y)["loss"], rel=1e-6)


def test_an_iterator_serves_one_epoch():
    array, batched = network(), network()
    array.fit(X, Y, **FIT, epochs=1, shuffle=False)
    batched.fit(iter(Batched(X, Y, size=16)), loss="bce", optimizer=FIT["optimizer"], epochs=1)
    assert state_of(batched) == state_of(array)


def test_metrics_and_validation_take_passes_of_their_own():
    batches, held = Batched(X, Y), Batched(X[::-1], Y[::-1])
    net, array = network(), network()
    net.fit(batches, loss="bce", epochs=2, metrics=["accuracy"], validation_data=held)
    options = {"batch_size": 20, "shuffle": False, "validation_data": (X[::-1], Y[::-1])}
    array.fit(X, Y, "bce", epochs=2, metrics=["accuracy"], **options)
    for name, values in array.history.history.items():
        assert net.history[name] == pytest.approx(values, rel=1e-6), name
    assert (batches.passes, held.passes) == (4, 2)
    assert net.evaluate(held, loss="bce") == pytest.approx(array.evaluate(X, Y, "bce"), rel=1e-6)


def test_a_schedule_is_asked_for_no_step_that_is_not_made():
    def schedule(step):
        return 0.1 - 0.01 * step  # below zero after the 11th

    batched = network(layers=mlp([3, 1]))
    batched.fit(Batched(X, Y, size=10), optimizer=SGD(schedule), epochs=1)
    array = network(layers=mlp([3, 1]))
    array.fit(X, Y, optimizer=SGD(schedule), batch_size=10, shuffle=False, epochs=1)
    assert state_of(batched) == state_of(array)
    before = state_of(batched, recorded=False)
    with pytest.raises(ValueError, match="schedule's learning_rate must be"):
        batched.fit(Batched(X, Y, size=10), optimizer=None, epochs=1)
    assert state_of(batched, recorded=False) == before


# Long epochs


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("batch_size", [13, 16, 24])
def test_numbers_and_losses_in_pieces_are_the_same(monkeypatch, members, weight, batch_size):
    options = FIT | {"batch_size": batch_size, "sample_weight": weight, "epochs": 2}
    whole, pieces = network(members=members), network(members=members)
    whole.fit(X, Y, **options)
    monkeypatch.setattr(training, "PIECE", 4)
    pieces.fit(X, Y, **options)
    assert state_of(pieces) == state_of(whole)


def test_a_long_epoch_ends_where_its_loss_is_not_finite(monkeypatch):
    monkeypatch.setattr(training, "PIECE", 4)
    seen = []

    class Counting:
        def __iter__(self):
            seen.append(0)
            for _ in range(1000):
                seen[-1] += 1
                yield X[:8], 1e6 * Y[:8]

    net = network(layers=mlp([3, 1]))
    with pytest.raises(NonFiniteLoss, match=r"epoch 0, step \d+: "):
        net.fit(Counting(), optimizer=SGD(1e30), epochs=1)
    assert seen[0] < 50
    assert net.epoch == 0


# What goes wrong


@pytest.mark.parametrize("kind", ["read", "batches", "an iterator"])
def test_a_loss_gone_non_finite_is_explained(small, kind):
    net = network(layers=mlp([3, 4, 1]))
    net.fit(X, Y, epochs=1)
    before = state_of(net, recorded=False)
    given = {"read": (Lazy(X), Y), "batches": (Batched(X, Y),), "an iterator": (iter(Batched(X, Y)),)}[kind]
    with pytest.raises(NonFiniteLoss) as caught:
        net.fit(*given, optimizer=SGD(1e200), epochs=1)
    wanted = {
        "read": r"epoch 1, step \d of 4: .*layer \d.*learning rate",
        "batches": r"epoch 1, step \d: .*layer \d.*learning rate",
        "an iterator": r"epoch 1\. .*replay.*iterator",
    }[kind]
    assert re.search(wanted, str(caught.value)), str(caught.value)
    assert state_of(net, recorded=False) == before


def test_the_scale_of_what_is_read_is_named_as_the_cause(small):
    with pytest.raises(NonFiniteLoss, match="scale of the data"):
        network(layers=mlp([3, 1]), dtype="float32").fit(Lazy(X), 1e30 * Y, epochs=1)


def placed(array, row, value):
    array = np.array(array, dtype=array.dtype if np.issubdtype(array.dtype, np.integer) else float)
    array[row] = value
    return array


class Shapeless(Lazy):
    """Slices of another shape than was promised."""

    def __getitem__(self, rows):
        return super().__getitem__(rows)[:, :2]


class Growing(Lazy):
    def __len__(self):
        return 104


def fit(x, y=None, **options):
    return lambda net: net.fit(x, y, **{"epochs": 1} | options)


BATCHES = [(X[:20], Y[:20]), (X[20:40], Y[20:40]), (X[40:60], Y[40:60])]
REFUSED = {
    "NaN in a row": (fit(Lazy(placed(X, (77, 1), np.nan)), Y), ValueError, r"^x holds 1 .*NaN.* row 77, column 1"),
    "infinity in the first": (fit(Lazy(placed(X, 0, np.inf)), Y), ValueError, r"^x .*infinite.* row 0, column 0"),
    "beyond float32": (fit(Lazy(placed(X, (50, 2), 1e300)), Y), ValueError, r"^x .*infinite.* row 50, column 2"),
    "NaN in y": (fit(Lazy(X), placed(Y, 33, np.nan)), ValueError, r"^y .*NaN.* row 33"),
    "NaN in y that is read": (fit(Lazy(X), Lazy(placed(Y, 33, np.nan))), ValueError, r"^y .*NaN.* row 33"),
    "a probability of 2": (fit(Lazy(X), Lazy(placed(Y, 99, 2.0)), loss="bce"), ValueError, r"^y .*0 to 1.* row 99"),
    "a negative weight": (fit(X, Lazy(Y), sample_weight=placed(WEIGHT, 8, -1.0)), ValueError, r"^sample_w.*-1.* row 8"),
    "no rows": (fit(Lazy(X[:0]), Y[:0]), ValueError, r"^x has no rows"),
    "other lengths": (fit(Lazy(X), Y[:90]), ValueError, r"^y must be \(103, 1\).*\(90,\)"),
    "another length that is read": (fit(Lazy(X), Lazy(Y[:90])), ValueError, r"^y must be \(103, 1\).*\(90,\)"),
    "weights too few": (fit(Lazy(X), Y, sample_weight=Lazy(WEIGHT[1:])), ValueError, r"^sample_weight .*103"),
    "two features": (fit(Lazy(X[:, :2]), Y), ValueError, r"Dense\(3, 4\).* x .*\(103, 2\)"),
    "one sample": (fit(Lazy(X[0]), Y), ValueError, r"^x .*one sample"),
    "four axes": (fit(Lazy(X[None, None]), Y), ValueError, r"^x .*axis too many"),
    "slices of another shape": (fit(Shapeless(X), Y), ValueError, r"^x\[0:1\] .*\(1, 3\).*\(1, 2\)"),
    "another length than shape": (fit(Growing(X), Y), ValueError, r"^x .*\(103, 3\).*104"),
    "words": (fit(Lazy(np.full((103, 3), "a")), Y), TypeError, r"^x\[0:1\] must be real numbers"),
    "y left out": (fit(Lazy(X)), TypeError, r"^y "),
    "classes as floats": (
        lambda net: Network(mlp([3, 3])).fit(Lazy(X), Lazy(CLASSES * 1.0), "cross_entropy"),
        TypeError,
        r"class indices.* y ",
    ),
    "a class too many": (
        lambda net: Network(mlp([3, 2])).fit(Lazy(X), Lazy(CLASSES), "cross_entropy"),
        ValueError,
        r"^y .*2 outputs.* row \d",
    ),
    "all rows at once": (fit(Lazy(X), Y, batch_size=None), ValueError, r"^batch_size=None .*x is read"),
    "a split": (fit(X, Lazy(Y), validation_split=0.2), ValueError, r"^validation_split .*y is read.*np\.asarray\(y\)"),
    "classes of what is read": (fit(Lazy(X), Lazy(Y), class_weight="balanced"), ValueError, r"^class_weight .* y"),
    "validation of other rows": (fit(X, Y, validation_data=(Lazy(X), Y[:3])), ValueError, r"^validation y must be"),
    "validation with NaN": (
        fit(X, Y, validation_data=(Lazy(placed(X, 70, np.nan)), Y)),
        ValueError,
        r"^validation x .* row 70",
    ),
    "predict two features": (lambda net: net.predict(Lazy(X[:, :2])), ValueError, r"layer 0.* x .*\(103, 2\)"),
    "predict batch_size 0": (lambda net: net.predict(Lazy(X), batch_size=0), ValueError, "^batch_size"),
    "evaluate batch_size 0": (lambda net: net.evaluate(Lazy(X), Y, batch_size=0), ValueError, "^batch_size"),
    "evaluate NaN": (lambda net: net.evaluate(Lazy(placed(X, 90, np.nan)), Y), ValueError, r"^x .* row 90"),
    # iterables of batches
    "a dict": (fit({"x": X}), TypeError, r"^x must be .*iterable of \(x, y\).*dict"),
    "a string": (fit("batches"), TypeError, r"^x must be .*iterable.*str"),
    "nothing": (fit(None), TypeError, r"^x must be .*iterable.*None"),
    "a generator function": (fit(Batched(X, Y).__iter__), TypeError, r"^x must be .*iterable.*call it"),
    "a class": (fit(Batched), TypeError, r"^x must be .*iterable.*call it"),
    "no batches": (fit([]), ValueError, r"^x gave no batches"),
    "an iterator that is used up": (fit(iter([])), ValueError, r"^x gave no batches"),
    "an iterator for two epochs": (fit(iter(BATCHES), epochs=2), ValueError, r"^epochs=2 .*batches of x.*iterator"),
    "an iterator and metrics": (fit(iter(BATCHES), metrics=["mse"]), ValueError, r"^metrics .*iterator"),
    "validation by an iterator": (
        fit(BATCHES, validation_data=iter(BATCHES), epochs=2),
        ValueError,
        r"^epochs=2 .*validation_data.*iterator",
    ),
    "batch_size and shuffle": (fit(BATCHES, batch_size=8, shuffle=False), ValueError, r"^batch_size, shuffle cannot"),
    "a split of batches": (fit(BATCHES, validation_split=0.1), ValueError, r"^validation_split cannot"),
    "weights beside batches": (fit(BATCHES, sample_weight=WEIGHT), ValueError, r"^sample_weight cannot.*batches"),
    "class weights beside batches": (fit(BATCHES, class_weight="balanced"), ValueError, r"^class_weight cannot"),
    "rows without y": (fit(X[:5].tolist()), TypeError, r"^batch 0 .*\(x, y\)"),
    "pairs without y": (fit(X[:5, :2].tolist()), TypeError, r"^batch 0 .*y was left out"),
    "an array for a batch": (fit([X]), TypeError, r"^batch 0 must be \(x, y\).*ndarray"),
    "four in a batch": (fit([(X, Y, WEIGHT, WEIGHT)]), TypeError, r"^batch 0 must be .*tuple of 4"),
    "a batch of other rows": (fit([*BATCHES, (X, Y[:9])]), ValueError, r"^batch 3: y must be \(103, 1\).*\(9,\)"),
    "a batch of two features": (fit([*BATCHES, (X[:, :2], Y)]), ValueError, r"^batch 3: .*layer 0.*\(103, 2\)"),
    "a batch with NaN": (fit([*BATCHES, (X * np.nan, Y)]), ValueError, r"^batch 3: x .*NaN"),
    "a batch of words": (fit([*BATCHES, (["a"], Y)]), TypeError, r"^batch 3: x must be real numbers"),
    "weights in some batches": (fit([*BATCHES, (X, Y, WEIGHT)]), ValueError, r"^batch 3 .*sample_weight"),
    "validation batches": (
        fit(X, Y, validation_data=Batched(X, X)),
        ValueError,
        r"^validation batch 0: y must be \(20, 1\)",
    ),
    "evaluate batches": (lambda net: net.evaluate([(X, Y[:3])]), ValueError, r"^batch 0: y must be"),
    "evaluate weights": (lambda net: net.evaluate(BATCHES, sample_weight=WEIGHT), ValueError, r"^sample_weight cannot"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(small, case):
    call, error, message = REFUSED[case]
    net = network(layers=mlp([3, 4, 1]), dtype="float32")
    net.fit(X, Y, epochs=1)
    before = state_of(net, recorded=False)
    with pytest.raises(error, match=message):
        call(net)
    assert state_of(net, recorded=False) == before


def test_what_a_source_raises_undoes_the_epoch_and_arrives_as_it_is(small):
    class Failing(Lazy):
        reads = 0

        def __getitem__(self, rows):
            self.reads += 1
            if self.reads == 20:
                raise OSError("the disk is gone")
            return super().__getitem__(rows)

    def breaking():
        yield X, Y
        raise KeyError("label")

    net = network()
    with pytest.raises(OSError, match="the disk is gone"):
        net.fit(Failing(X), Y, **FIT, epochs=5)
    assert net.epoch == 1  # eleven blocks an epoch, and the first row before it
    before = state_of(net)
    with pytest.raises(KeyError, match="label"):
        net.fit(breaking(), loss="bce", optimizer=FIT["optimizer"], epochs=1)
    assert state_of(net, recorded=False) == {name: before[name] for name in before if name != "history"}
    again = network()
    again.fit(Lazy(X), Y, **FIT, epochs=1)
    assert state_of(net, recorded=False) == state_of(again, recorded=False)


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
