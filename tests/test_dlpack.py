"""Arrays of other libraries in and out by DLPack, without a copy where both can share memory."""

import numpy as np
import pytest

import xpnn
from xpnn import Network, mlp
from xpnn.backend import resolve

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
NET = Network(mlp([3, 4, 2], "tanh"), seed=1)


class Only:
    """An array that has nothing but the protocol."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def of(name):
    if name == "only the protocol":
        return Only(X)
    if name == "strict":
        import array_api_strict

        return array_api_strict.asarray(X)
    library = pytest.importorskip(name)
    return library.numpy.asarray(X) if name == "jax" else library.asarray(X)


@pytest.mark.parametrize("name", ["torch", "jax", "strict", "only the protocol"])
@pytest.mark.parametrize("backend", ["numpy", "torch", "array-api-strict"])
def test_rows_of_any_library_are_taken(name, backend):
    if backend == "torch":
        pytest.importorskip("torch")
    net, x = NET.to(backend), of(name)
    assert np.allclose(net.backend.to_host(net.predict(x)), NET.predict(X), atol=1e-6)
    history = net.copy().fit(x, np.zeros((6, 2)), epochs=1)
    assert np.isfinite(history["loss"][0])


def test_what_a_network_gives_is_read_without_a_copy():
    torch = pytest.importorskip("torch")
    y = NET.predict(X)
    shared = torch.from_dlpack(y)
    shared[0, 0] = 7.0
    assert y[0, 0] == 7.0
    params = NET.params
    torch.from_dlpack(params[0]["weight"]).zero_()  # a snapshot: the network is not changed by it
    assert not np.any(params[0]["weight"]) and np.all(NET.weights[0] != 0.0)
    there = NET.to("torch").predict(torch.tensor(X))
    back = np.from_dlpack(there)
    back_is_shared = back.ctypes.data == there.data_ptr()
    assert back_is_shared


def test_nothing_that_is_given_is_kept_or_changed():
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X), torch.zeros((6, 2))
    net = Network(mlp([3, 4, 2]), "torch", seed=1)
    weight = torch.ones((3, 4))
    params = net.params
    params[0]["weight"] = weight
    net.params = params
    weight.zero_()
    assert bool((net.weights[0] == 1.0).all())
    before = x.clone()
    net.fit(x, y, epochs=2)
    assert bool((x == before).all())


def test_tensors_that_ask_for_gradients_and_odd_memory_are_taken():
    torch = pytest.importorskip("torch")
    wanted = NET.predict(X)
    grad = torch.tensor(X, requires_grad=True)
    turned = torch.tensor(X.T.copy()).T
    half = torch.tensor(X).to(torch.bfloat16)
    readonly = X[:]
    readonly.flags.writeable = False
    backwards = X[::-1]
    for net in (NET, NET.to("torch"), NET.to("array-api-strict")):
        for x in (grad, turned, readonly):
            assert np.allclose(net.backend.to_host(net.predict(x)), wanted, atol=1e-6)
        assert np.allclose(net.backend.to_host(net.predict(backwards)), wanted[::-1], atol=1e-6)
    for net in (NET, NET.to("torch")):
        assert np.allclose(net.backend.to_host(net.predict(half)), wanted, atol=0.05)


def test_a_backend_takes_its_own_arrays_as_they_are():
    for name in ("numpy", "array-api-strict", "torch"):
        if name == "torch":
            pytest.importorskip("torch")
        backend = resolve(name)
        own = backend.asarray(X)
        assert backend.asarray(own) is own
    assert xpnn.Network(mlp([3, 1])).backend.asarray(X) is X
