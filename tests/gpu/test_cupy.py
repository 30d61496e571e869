"""What only a GPU can show. Skipped, with the reason, where none is usable; the rest of the suite runs on it too."""

import numpy as np
import pytest

import xpnn
from xpnn.availability import status

X, Y = xpnn.datasets.circles(60)
LAYERS = [xpnn.Standardize.fit(X), *xpnn.mlp([2, 16, 16, 1], "tanh", "sigmoid", dropout=0.2, norm="batch")]


def curve(backend, dtype):
    net = xpnn.Network(LAYERS, backend=backend, dtype=dtype, seed=3)
    return net, net.fit(X, Y, "bce", xpnn.Adam(0.01), epochs=50, batch_size=32)["loss"]


@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-9), ("float32", 1e-3)])
def test_fifty_epochs_are_the_cpus(dtype, rtol):
    np.testing.assert_allclose(curve("cupy", dtype)[1], curve("numpy", dtype)[1], rtol=rtol)


def test_auto_takes_the_gpu_and_answers_stay_there():
    import cupy

    net = xpnn.Network(LAYERS, backend="auto")
    assert net.backend.name == "cupy"
    assert isinstance(net.predict(cupy.asarray(X)), cupy.ndarray)
    assert isinstance(net.to("numpy").predict(X), np.ndarray)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(xpnn.BackendUnavailable, match="CUDA devices, numbered from 0"):
        xpnn.Network(LAYERS, backend="cupy:99")


def test_the_callers_stream_is_kept():
    import cupy

    net = xpnn.Network(LAYERS, backend="cupy")
    expected = cupy.asnumpy(net.predict(X))
    cupy.cuda.Device().synchronize()  # the network was made on the default stream
    with cupy.cuda.Stream(non_blocking=True) as stream:
        slow = cupy.ones((4096, 4096), dtype=cupy.float32)
        for _ in range(20):
            slow = slow @ slow * cupy.float32(1 / 4096)
        x = cupy.asarray(X, dtype=cupy.float32) * slow[0, 0]  # written last on this stream, right before it is read
        found = net.predict(x)
        stream.synchronize()
    np.testing.assert_allclose(cupy.asnumpy(found), expected, rtol=1e-5)


@pytest.mark.skipif("1 device" in status("cupy").device, reason="one GPU is here, not two")
def test_a_network_on_the_second_card_leaves_the_first_current():
    import cupy

    net = xpnn.Network(LAYERS, backend="cupy:1")
    net.fit(X, Y, "bce", epochs=2)
    assert net.predict(X).device.id == 1
    assert cupy.cuda.Device().id == 0


def test_a_gpu_array_given_to_a_cpu_networks_pure_functions_is_refused():
    import cupy

    net = xpnn.Network(LAYERS)
    with pytest.raises(TypeError, match=r"x must be an array of numpy, got cupy\.ndarray"):
        net.apply(net.params, cupy.asarray(X))


def test_members_of_a_stack_have_slopes_of_their_own():
    chain = [xpnn.Dense(2, 200), xpnn.PReLU(), xpnn.Dense(200, 1)]
    host, card = (
        xpnn.Network(chain, backend=backend, dtype="float64", members=3).fit(X, Y, "mse", epochs=5)["loss"]
        for backend in ("numpy", "cupy")
    )
    np.testing.assert_allclose(card, host, rtol=1e-9)
