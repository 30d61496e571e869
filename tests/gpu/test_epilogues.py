"""Biases, ReLU and biases' gradients in the launches of products, by cuBLASLt on a card."""

import numpy as np
import pytest

import xpnn
from xpnn.compile.cublaslt import Epilogues

X = np.random.default_rng(0).normal(size=(512, 20))
Y = np.random.default_rng(1).integers(0, 3, size=512)


def trained(monkeypatch, epilogues, members=None):
    monkeypatch.setenv("XPNN_EPILOGUES", epilogues)
    net = xpnn.Network(xpnn.mlp([20, 64, 32, 3], "relu", "softmax"), backend="cupy", members=members)
    losses = net.fit(X, Y, "softmax_cross_entropy", xpnn.Adam(0.01), epochs=8, batch_size=64)["loss"]
    return net, np.asarray(losses)


@pytest.mark.parametrize("members", [None, 4])
def test_a_network_trains_as_without_them(members, monkeypatch):
    launches, called = [], Epilogues.__call__
    monkeypatch.setattr(Epilogues, "__call__", lambda *args: launches.append(called(*args)) or launches[-1])
    _, with_them = trained(monkeypatch, "1", members)
    net, without = trained(monkeypatch, "0", members)
    assert any(launches), "cuBLASLt has an algorithm for none of these shapes"
    np.testing.assert_allclose(with_them, without, rtol=1e-3)
    for traced in net._prepared[0].traced.values():
        assert not traced.program.replay.reason


def test_relu_hands_nan_on(monkeypatch):
    """If this fails, "relu_bias" must not be used: a loss that is NaN on a CPU would be finite on a GPU."""
    net, _ = trained(monkeypatch, "1")
    x = X.copy()
    x[3, 5] = np.nan
    for _ in range(3):  # eagerly, launched, replayed
        found = net.backend.to_host(net.predict(x))
        assert np.isnan(found[3]).all()
        assert np.isfinite(np.delete(found, 3, axis=0)).all()
