"""A training step never waits for the device: no value of an array is looked at on the host."""

import array_api_strict
import numpy as np
import pytest

import xpnn
from xpnn.inputs import Data
from xpnn.program import Numbers, Program

STRICT = type(array_api_strict.asarray(0.0))
LOOKS = ("__float__", "__bool__", "__int__", "__index__", "__complex__", "__array__", "__buffer__", "__dlpack__")


@pytest.fixture
def blind(monkeypatch):
    """Any look at a strict array's value raises."""

    def look(self, *args, **kwargs):
        raise AssertionError("a value was read on the host")

    for name in LOOKS:
        if hasattr(STRICT, name):
            monkeypatch.setattr(STRICT, name, look)


LAYERS = [xpnn.Standardize((0.0,) * 4, (1.0,) * 4), *xpnn.mlp([4, 5, 3], dropout=0.5, norm="batch")]


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("optimizer", [xpnn.SGD(0.1, momentum=0.9, multipliers={"bias": 0.5}), xpnn.Adam()])
@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_cross_entropy", "softmax_cross_entropy"])
def test_the_step_reads_nothing(loss, optimizer, members, request):
    net = xpnn.Network(LAYERS, backend="array-api-strict:device1", members=members)
    y = np.zeros(6, dtype=int) if loss == "softmax_cross_entropy" else np.zeros((6, 3))
    weight = net.backend.asarray(np.ones(6))
    y = net.backend.asarray(y, dtype=None) if y.ndim == 1 else net.backend.asarray(y)
    data = Data(net.backend.asarray(np.ones((6, 4))), y, weight)
    program = Program(net.layer, *net.layouts, xpnn.losses.get(loss), optimizer)
    numbers = Numbers(program, net.seeds, members, net.backend).epoch(0, range(1), 0)[0]
    carry = net.progress.carry
    carry = carry._replace(memory=optimizer.init(carry.params, xp=net.backend.xp))
    request.getfixturevalue("blind")
    carry, value = program.step(carry, data, numbers, xp=net.backend.xp)
    program.step(carry, data, numbers, xp=net.backend.xp)
    assert value.shape == (() if members is None else (3,))


def test_one_step_and_inference_read_nothing(request):
    net = xpnn.Network(LAYERS, backend="array-api-strict:device1")
    x, y = net.backend.asarray(np.ones((6, 4))), net.backend.asarray(np.zeros(6, dtype=int), dtype=None)
    net.step(x, y, "cross_entropy", xpnn.Adam())
    request.getfixturevalue("blind")
    net.step(x, y)
    net.outputs(x)
    y, pullback = net.vjp(x)
    pullback(y)
    assert net.predict(x, batch_size=4).shape == (6, 3)


def test_the_blindfold_works(blind):
    with pytest.raises(AssertionError, match="read on the host"):
        float(array_api_strict.asarray(1.0))
