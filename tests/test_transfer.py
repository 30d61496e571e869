"""Rows that are read and copied ahead, on a pretended GPU whose copies happen only when somebody waits for them."""

import sys
import threading

import numpy as np
import pytest

import xpnn
from tests import pretend_cupy
from tests.c_kernels import COMPILER
from tests.pretend_cupy import installed
from tests.pretend_streams import Stream
from xpnn import sources
from xpnn.backend import resolve
from xpnn.inputs import Data
from xpnn.transfer import Copier, uploaded

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.skipif("cupy" in sys.modules, reason="CuPy itself is loaded"),
]
PIECES = [np.full((4, 3), k + 1.0, dtype=np.float32) for k in range(7)] + [np.full((2, 3), 8.0, dtype=np.float32)]


@pytest.fixture
def there():
    with installed():
        yield resolve("cupy", "float32")


def read(k):
    return Data(PIECES[k], np.arange(len(PIECES[k])), None)


def ahead():
    return [thread for thread in threading.enumerate() if thread.name.startswith("xpnn-read-ahead")]


def test_every_piece_arrives_whole_and_in_order(there):
    found = [(k, data.x.get(), data.y.get(), data.weight) for k, data in uploaded(read, range(8), there)]
    assert [k for k, *_ in found] == list(range(8))
    for k, x, y, weight in found:
        np.testing.assert_array_equal(x, PIECES[k])
        np.testing.assert_array_equal(y, np.arange(len(PIECES[k])))
        assert weight is None
    assert not ahead()


def test_the_next_piece_is_read_while_this_one_is_in_use(there):
    asked, second = [], threading.Event()

    def told(k):
        asked.append(k)
        if k == 1:
            second.set()
        return read(k)

    pieces = uploaded(told, range(8), there)
    next(pieces)
    assert second.wait(10.0)
    assert asked == [0, 1]
    pieces.close()
    assert not ahead()


def test_without_the_waits_the_numbers_would_be_wrong(there, monkeypatch):
    monkeypatch.setattr(Stream, "wait_event", lambda stream, event: None)
    pieces = uploaded(read, range(8), there)
    _, data = next(pieces)
    assert not np.array_equal(data.x._a, PIECES[0])


def test_memory_that_is_let_go_of_while_the_next_piece_is_prepared_is_waited_for(there, monkeypatch):
    copier, order = Copier(there), []
    empty, wait = copier._cupy.empty, Stream.wait_event

    def taken(shape, dtype):
        order.append("empty")
        copier.done()  # as the thread that computes does at that moment, after which this memory may be had
        return empty(shape, dtype)

    def waited(stream, event):
        order.append(event is copier._used)
        return wait(stream, event)

    monkeypatch.setattr(copier._cupy, "empty", taken)
    monkeypatch.setattr(Stream, "wait_event", waited)
    monkeypatch.setattr(pretend_cupy.ndarray, "set", lambda self, array, stream: order.append("set"))
    copier.copied(read, 0)
    assert order == ["empty", True, "set"] * 2


def test_an_end_waits_for_what_is_being_copied(there):
    pieces = uploaded(read, range(8), there)
    next(pieces)
    stream = pieces.gi_frame.f_locals["copier"]._stream
    pieces.close()
    assert not stream.queue


def test_what_reading_raises_comes_in_its_turn(there):
    def failing(k):
        if k == 2:
            raise OSError("the disk is gone")
        return read(k)

    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        for k, _ in uploaded(failing, range(8), there):
            seen.append(k)
    assert seen == [0, 1]
    assert not ahead()


def test_a_memmap_trains_as_the_array_in_its_place(there, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "NUMBERS", 8 * 40)  # some forty rows at once, of eight numbers
    rng = np.random.default_rng(0)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(200, 6))
    x[:] = rng.normal(size=x.shape)
    y = np.asarray(x[:, :2]) ** 2
    found = {}
    for backend in ("numpy", "cupy"):
        net = xpnn.Network(xpnn.mlp([6, 8, 2], "tanh"), backend=backend, dtype="float64", seed=1)
        history = net.fit(x, y, "mse", xpnn.Adam(0.01), epochs=3, batch_size=16)
        found[backend] = [*history["loss"], net.evaluate(x, y, "mse")["loss"]]
    np.testing.assert_allclose(found["cupy"], found["numpy"], rtol=1e-9)
    assert not ahead()


def test_a_fit_that_ends_early_leaves_no_thread(there, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "NUMBERS", 8 * 40)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(200, 6))
    x[:] = 1.0
    x[150, 2] = np.nan
    net = xpnn.Network(xpnn.mlp([6, 8, 2], "tanh"), backend="cupy", seed=1)
    with pytest.raises(ValueError, match=r"x .*NaN.*row 150"):
        net.fit(x, np.ones((200, 2)), "mse", epochs=1, batch_size=16)
    assert net.epoch == 0
    assert not ahead()
