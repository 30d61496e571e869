"""TF32 and bfloat16 products: what they cost in accuracy, on MNIST where its files are, else on digits of 8 x 8."""

import os
from pathlib import Path

import numpy as np

import xpnn

DATA = os.environ.get("XPNN_DATA")
IMAGES, LABELS = "mnist-t10k-images-idx3-ubyte.gz", "mnist-t10k-labels-idx1-ubyte.gz"


def digits():
    """Images to train and to test on, with their labels, and the widths of a network for them."""
    if DATA and (Path(DATA) / IMAGES).exists():
        x = xpnn.datasets.read_idx(Path(DATA) / IMAGES).reshape(-1, 784) / 255.0
        y = xpnn.datasets.read_idx(Path(DATA) / LABELS).astype(np.int64)
        return x[:8000], y[:8000], x[8000:], y[8000:], [784, 256, 128, 10]
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x[:1200] / 16.0, y[:1200], x[1200:] / 16.0, y[1200:], [64, 64, 10]


def accuracy(precision, epochs=5, seeds=3):
    x, y, x_test, y_test, widths = digits()
    found = []
    for seed in range(seeds):
        net = xpnn.Network(xpnn.mlp(widths, "relu", "softmax"), backend="cupy", precision=precision, seed=seed)
        net.fit(x, y, "softmax_cross_entropy", xpnn.Adam(1e-3), epochs=epochs, batch_size=128)
        found.append(np.mean(np.argmax(net.backend.to_host(net.predict(x_test)), axis=-1) == y_test))
    return 100.0 * np.mean(found)


def test_accuracy_stays_within_0_3_points():
    exact = accuracy(None)
    for precision in ("tf32", "bfloat16"):
        assert abs(accuracy(precision) - exact) < 0.3


def test_products_are_exact_unless_asked():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(64, 512)), rng.normal(size=(512, 64))
    errors = {}
    for precision in (None, "tf32", "bfloat16"):
        net = xpnn.Network([xpnn.Dense(512, 64, bias=False)], backend="cupy", precision=precision)
        net.params = [{"weight": net.backend.asarray(weight)}]
        errors[precision] = np.max(np.abs(net.backend.to_host(net.predict(x)) - x @ weight))
    assert errors[None] < 1e-3
    assert errors[None] <= errors["tf32"] < 1.0
    assert errors["bfloat16"] < 4.0
