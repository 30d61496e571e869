"""Networks in the middle of their training, and everything that training changes, for the tests of errors."""

import functools
import hashlib

import numpy as np

from xpnn import Adam, Network, mlp
from xpnn.backend import to_host

X = np.random.default_rng(0).normal(size=(12, 2))
Y = (X[:, :1] > 0.0).astype(float)
INDICES = np.arange(12) % 3

NETWORKS = {
    "plain": (mlp([2, 3, 1]), "mse", Y),
    "sigmoid": (mlp([2, 3, 1], output="sigmoid"), "bce", Y),
    "softmax": (mlp([2, 3, 3], output="softmax"), "cross_entropy", INDICES),
    "two": (mlp([2, 3, 2], norm="batch"), "mse", X),
    "three members": (mlp([2, 3, 1]), "mse", Y),
}


@functools.cache
def _trained(kind: str, backend: str) -> Network:
    layers, loss, y = NETWORKS[kind]
    net = Network(layers, backend, members=3 if kind == "three members" else None)
    net.fit(X, y, loss, Adam(0.01), epochs=2, batch_size=4)
    return net


def trained(kind: str, backend: str = "numpy") -> Network:
    """A network in the middle of its training."""
    return _trained(kind, backend).copy()


def state_of(net: Network, recorded: bool = True) -> dict:
    """Everything that training changes, arrays as digests of their bytes; `recorded` adds the history."""

    def digest(array) -> str:
        return hashlib.sha256(np.ascontiguousarray(to_host(array)).tobytes()).hexdigest()[:16]

    carry, progress = net.progress.carry, net.progress._replace(carry=None)
    state = {"params": digest(carry.params), "state": digest(carry.state), "seeds": net.seeds}
    state |= {"memory": [digest(array) for array in carry.memory or ()], "progress": progress}
    history = {name: np.asarray(values).tolist() for name, values in net.history.history.items()}
    return state | ({"history": (net.history.epoch[:], history)} if recorded else {})


def params_with(net: Network, path: tuple, value) -> list:
    """The network's params with one entry replaced."""
    params = net.params
    place = functools.reduce(lambda node, key: node[key], path[:-1], params)
    place[path[-1]] = value
    return params
