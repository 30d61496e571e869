"""One seed gives the same numbers on every backend: initial weights, batches, dropout masks, and so the same curve."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import xpnn
from xpnn.availability import status
from xpnn.batches import Batches, step_keys
from xpnn.inputs import Data

X, Y = xpnn.datasets.circles(40)
LAYERS = [
    xpnn.Standardize.fit(X),
    *xpnn.mlp([2, 6, 5, 1], ["tanh", "relu"], "sigmoid", dropout=0.2, norm="batch"),
]


def network(backend, **options):
    return xpnn.Network(LAYERS, backend=backend, dtype=getattr(backend, "dtype", "float64"), seed=7, **options)


def curve(net, epochs=20):
    history = net.fit(
        X, Y, "binary_cross_entropy", xpnn.Adam(0.01), epochs=epochs, batch_size=24, validation_split=0.25
    )
    return np.asarray([history["loss"], history["val_loss"]])


@pytest.mark.parametrize("members", [None, 3])
def test_initial_weights_are_bit_equal(backend, members):
    plain = xpnn.Network(LAYERS, dtype=backend.dtype, seed=7, members=members)
    for ours, numpys in zip(network(backend, members=members).params, plain.params, strict=True):
        for name in numpys:
            assert (backend.to_host(ours[name]) == numpys[name]).all()


@pytest.mark.parametrize("members", [None, 3])
def test_batches_and_masks_are_bit_equal(backend, members):
    seeds, stacked = [7 + k for k in range(members or 1)], members is not None
    plain = xpnn.Network(LAYERS, dtype=backend.dtype).backend
    found = []
    for where in (backend, plain):
        data = Data(where.asarray(X), where.asarray(Y), None)
        source = Batches(data, 1, 24, True, seeds, stacked, where)
        layer = xpnn.layers.Sequential(LAYERS)
        keys = [key for key in step_keys(layer, seeds, 3, range(4), stacked, where) if key is not None]
        found.append(
            [where.to_host(a) for batch in source.epoch(3) for a in batch[:2]] + [where.to_host(k) for k in keys]
        )
    assert len(found[0]) > 6
    assert all((a == b).all() for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("members", [None, 2])
def test_twenty_epochs_give_the_same_curve(backend, members):
    expected = curve(xpnn.Network(LAYERS, dtype="float64", seed=7, members=members))
    found = curve(network(backend, members=members))
    np.testing.assert_allclose(found, expected, rtol=1e-10 if backend.dtype == "float64" else 1e-3)


def test_jax_without_x64_draws_the_same_numbers():
    if not status("jax").usable:
        pytest.skip(status("jax").reason)
    program = (
        "import json, numpy as np, xpnn; from tests.test_same_everywhere import LAYERS, curve\n"
        "from xpnn.batches import step_keys; from xpnn import random\n"
        "found = {}\n"
        "for name in ('jax', 'numpy'):\n"
        "    net = xpnn.Network(LAYERS, backend=name, dtype='float32', seed=7)\n"
        "    key = step_keys(net.layer, [7], 2, range(3), False, net.backend)[4]\n"
        "    bits = random.bits(key[1, ...], (9, 5), xp=net.backend.xp)\n"
        "    weights = [net.backend.to_host(w).tolist() for w in net.weights]\n"
        "    found[name] = [weights, net.backend.to_host(bits).tolist()]\n"
        "    found[name + ' curve'] = curve(net, 5).tolist()\n"
        "print(json.dumps(found))"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"JAX_ENABLE_X64": "0"}, capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    found = json.loads(out.stdout)
    assert found["jax"] == found["numpy"]
    np.testing.assert_allclose(found["jax curve"], found["numpy curve"], rtol=1e-4)
