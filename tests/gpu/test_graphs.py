"""Steps as CUDA graphs on a card: captured, replayed, and equal to the launches themselves."""

import threading

import numpy as np
import pytest

import xpnn
from xpnn.compile import cublas

X, Y = xpnn.datasets.circles(256)
LAYERS = xpnn.mlp([2, 64, 64, 2], "relu", "softmax", dropout=0.1)
TARGET = Y[:, 0].astype(np.int64)


def trained(members=None, **options):
    net = xpnn.Network(LAYERS, backend="cupy", members=members, **options)
    losses = net.fit(X, TARGET, "softmax_cross_entropy", xpnn.Adam(0.01), epochs=8, batch_size=32)["loss"]
    return net, np.asarray(losses)


def programs(net):
    return [traced.program for traced in net._prepared[0].traced.values()]


@pytest.mark.parametrize("members", [None, 4])
def test_every_step_is_captured(members):
    net, _ = trained(members)
    for program in programs(net):
        assert program._products is not None, "cuBLAS was not found for a handle of our own"
        assert program.replay is not None
        assert not program.replay.reason, program.replay.reason
    assert any(program.replay.captured for program in programs(net))


@pytest.mark.parametrize("members", [None, 4])
def test_a_replayed_step_gives_what_its_launches_give(members, monkeypatch):
    _, replayed = trained(members)
    monkeypatch.setattr("xpnn.compile.cupy.COPIED", -1)  # nothing is replayed
    net, launched = trained(members)
    assert all(program.replay is None for program in programs(net))
    np.testing.assert_array_equal(replayed, launched)


def test_our_products_are_cupys(monkeypatch):
    _, ours = trained()
    monkeypatch.setattr(cublas, "products", lambda *asked: None)
    monkeypatch.setattr("xpnn.compile.cupy.products", lambda *asked: None)
    _, theirs = trained()
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_predictions_are_replayed_and_handed_out_as_copies():
    net, _ = trained()
    found = [net.predict(X) for _ in range(5)]
    first = net.backend.to_host(found[0])
    net.predict(X + 1.0)
    for one in found:
        np.testing.assert_array_equal(net.backend.to_host(one), first)


def test_masks_are_the_cpus():
    """Dropout alone: what it lets through is the mask."""
    x = np.ones((64, 32))
    masks = []
    for backend in ("numpy", "cupy"):
        net = xpnn.Network(
            [xpnn.Dense(32, 32, bias=False), xpnn.Dropout(0.4)], backend=backend, dtype="float64", seed=5
        )
        params = net.params
        params[0]["weight"] = net.backend.asarray(np.eye(32))
        net.params = params
        optimizer = xpnn.SGD(1.0)
        net.step(x, np.zeros_like(x), "mean_squared_error", optimizer)
        masks.append(net.backend.to_host(net.params[0]["weight"]))  # its change says which of each column were kept
    np.testing.assert_allclose(masks[1], masks[0], rtol=1e-12)


def test_two_threads_on_two_streams():
    import cupy

    _, expected = trained()
    found = {}

    def work(name):
        with cupy.cuda.Stream(non_blocking=True):
            found[name] = trained()[1]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for losses in found.values():
        np.testing.assert_array_equal(losses, expected)
