"""Lane k of a compiled stack is the lone compiled network k to the bit, on one BLAS thread.

Products are: NumPy's matmul of stacks computes each lane as `dot` does the lone matrices. A sum over the last axis of
what is (members, n) in a stack and (n,) in a lone network stays NumPy's sum in both. It occurs in a loss under weights,
in `clip_norm` and in a PReLU of one slope.
"""

import dataclasses

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tests.compiled import PROBLEMS, WEIGHT, Prepared, Recording, X, prepared, ways
from tests.test_optimizers import ALL, OPTIONS
from xpnn import Dense, Network, PReLU, mlp
from xpnn.progress import leaves

RNG = np.random.default_rng(0)


def parts_of(ready: Prepared) -> dict[str, list[np.ndarray]]:
    """By the way of the step the value and every array of the carry; without what runs eagerly."""
    found = ways(ready, ("step", "rows"))
    del found["eager"]
    dtype = ready.net.backend.dtype  # a lone network's loss is read as a Python float
    return {way: [np.asarray(value, dtype)[..., None], *leaves(carry)] for way, (carry, value) in found.items()}


def apart(layers, x, y, loss="mse", optimizer=None, weight=None, dtype="float32") -> set:
    """The ways and the parts of the result in which a lane of the stack is not the lone network's to the bit.

    Part 0 is the value.
    """
    found = set()
    with threadpool_limits(1, "blas"):
        stack = parts_of(prepared(Network(layers, dtype=dtype, members=3), x, y, loss, optimizer, weight))
        for k in (0, 2):
            lone = parts_of(prepared(Network(layers, dtype=dtype, seed=k), x, y, loss, optimizer, weight))
            for way, arrays in stack.items():
                pairs = zip(arrays, lone[way], strict=True)
                found |= {(way, i) for i, (one, two) in enumerate(pairs) if one[k, ...].tobytes() != two.tobytes()}
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", PROBLEMS, ids=str)
def test_every_piece_of_the_tables(case, dtype):
    y = case.target(Network(case.layers))
    assert not apart(case.layers, case.x, y, case.loss, dtype=dtype)
    assert not apart(case.layers, case.x, y, case.loss, None, WEIGHT[: len(case.x)], dtype)


SUMS = {
    "a loss under weights": {"layers": mlp([5, 16, 2], "tanh"), "weight": WEIGHT},
    "clip_norm": {"layers": mlp([5, 16, 2], "tanh"), "optimizer": Recording(clip_norm=0.1)},
    "one slope": {"layers": [Dense(5, 33), PReLU(), Dense(33, 2)]},
}


@pytest.mark.parametrize("kind", SUMS)
def test_sums_over_the_last_axis_of_a_vector(kind):
    x, y = RNG.normal(size=(8, 5)), RNG.normal(size=(8, 2))
    assert not any(apart(x=x, y=y, dtype=dtype, **SUMS[kind]) for dtype in ("float32", "float64") for _ in range(3))


@pytest.mark.parametrize("rows", [1, 8, 33, 128, 300])
@pytest.mark.parametrize("widths", [[5, 64, 64, 1], [5, 7, 3], [5, 20, 17, 2], [5, 200, 10]], ids=str)
def test_matrices_of_many_sizes(widths, rows):
    x, y = RNG.normal(size=(rows, 5)), RNG.normal(size=(rows, widths[-1]))
    for dtype in ("float32", "float64"):
        assert not apart(mlp(widths, "relu", norm="layer"), x, y, dtype=dtype)


Y = RNG.normal(size=(8, 2))
APART = {name: value for name, value in OPTIONS.items() if name != "clip_norm"}


@pytest.mark.parametrize("optimizer", [*ALL, *(dataclasses.replace(one, **APART) for one in ALL)], ids=str)
def test_every_optimizer(optimizer):
    for dtype in ("float32", "float64"):
        assert not apart(mlp([5, 16, 2], "tanh"), X, Y, "mse", optimizer, dtype=dtype)


def test_predictions():
    for dtype in ("float32", "float64"):
        layers, x = mlp([5, 16, 16, 3], "gelu", "softmax", norm="layer"), RNG.normal(size=(50, 5))
        stack, lone = Network(layers, dtype=dtype, members=3), [Network(layers, dtype=dtype, seed=k) for k in range(3)]
        with threadpool_limits(1, "blas"):
            for _ in range(3):
                found = stack.predict(x)
                assert all(found[k].tobytes() == net.predict(x).tobytes() for k, net in enumerate(lone))


def test_a_fit():
    """With dropout, batch norm, an own order of rows and a short last batch."""
    layers, x, y = mlp([5, 16, 16, 2], "relu", dropout=0.3, norm="batch"), RNG.normal(size=(50, 5)), np.ones((50, 2))
    options = {"loss": "mse", "optimizer": "adam", "epochs": 3, "batch_size": 16}
    stack, lone = Network(layers, members=3), [Network(layers, seed=k) for k in range(3)]
    with threadpool_limits(1, "blas"):
        for net in (stack, *lone):
            net.fit(x, y, **options)
    for k, net in enumerate(lone):
        pairs = zip(leaves(stack.progress.carry), leaves(net.progress.carry), strict=True)
        assert all(one[k, ...].tobytes() == two.tobytes() for one, two in pairs)
        np.testing.assert_array_equal(np.asarray(stack.history["loss"])[:, k], net.history["loss"])
