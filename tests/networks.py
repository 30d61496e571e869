"""Networks, the rows that they learn, and what is equal to the bit, for the tests of the network."""

import numpy as np

import xpnn
from xpnn import Adam, BatchNorm, Dense, Dropout, InverseTimeDecay, Network, mlp
from xpnn.backend import to_host

RNG = np.random.default_rng(1)
X = RNG.normal(size=(12, 3))
Y = RNG.normal(size=(12, 2))
OTHER = RNG.normal(size=(12, 3))
LABELS = np.arange(12) % 2
for shared in (X, Y, OTHER, LABELS):
    shared.flags.writeable = False

PLAIN = mlp([3, 4, 2], "tanh")
# No bias before the norm: its gradient is zero but for rounding, which Adam turns into steps of full length.
EVERY = [Dense(3, 5, bias=False), BatchNorm(5), "tanh", Dropout(0.3), Dense(5, 2)]


def build(backend, members=None, **options) -> Network:
    """A network of every kind of layer; on JAX, which compiles each operation for seconds, of the plain ones."""
    return Network(PLAIN if backend.name == "jax" else EVERY, backend, backend.dtype, members=members, **options)


def train(net: Network, epochs: int) -> None:
    net.fit(X, Y, optimizer=Adam(InverseTimeDecay(0.1, rate=1.0, steps=4)), epochs=epochs, batch_size=6)


def host(tree):
    """A tree of arrays as NumPy arrays."""
    if isinstance(tree, list | tuple):
        return [host(one) for one in tree]
    return {name: host(one) for name, one in tree.items()} if isinstance(tree, dict) else np.array(to_host(tree))


def same(first, second) -> bool:
    """Whether two trees of arrays are equal to the bit."""
    first, second = host(first), host(second)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    return first.dtype == second.dtype and np.array_equal(first, second)


def state_of(net: Network):
    carry = net.progress.carry
    return host([carry.params, carry.state, *(carry.memory or ())])


def overwrite(tree) -> None:
    """Write into every array of a tree."""
    if isinstance(tree, list | tuple):
        for one in tree:
            overwrite(one)
    elif isinstance(tree, dict):
        overwrite(list(tree.values()))
    elif not type(tree).__module__.startswith("jax"):
        tree[...] = 7.0


class Through(xpnn.Layer):
    """A layer that hands its input on."""

    def forward(self, params, x, *, xp, step=None):
        return x, None

    def backward(self, params, cache, dy, *, xp):
        return dy, {}
