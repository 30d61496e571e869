"""A training step never waits for the device: no value of an array is looked at on the host."""

import array_api_strict
import numpy as np
import pytest

import xpnn
from tests.tables import LOSSES
from xpnn.inputs import Data
from xpnn.numbers import Numbers
from xpnn.program import Program
from xpnn.progress import START

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


LAYERS = [
    xpnn.FeatureEmbedding((None, None, 3, None), features=2),
    xpnn.Standardize((0.0,) * 5, (1.0,) * 5),
    *xpnn.mlp([5, 5, 4], dropout=0.5, norm="batch")[:-1],
    xpnn.Residual([xpnn.LayerNorm(5), xpnn.Maxout(5, 5), xpnn.PReLU()]),
    xpnn.GaussianNoise(0.1),
    xpnn.ActivityPenalty(l1=0.1, l2=0.1),
    xpnn.RMSNorm(5),
    xpnn.Dense(5, 4),
]
OPTIONS = {
    "weight_decay": 0.1,
    "clip_value": 1.0,
    "clip_norm": 1.0,
    "average": 0.9,
    "multipliers": {"bias": 0.5, 0: 0.0},
}
STEPS = [("mean_squared_error", xpnn.optimizers.get(name, **OPTIONS)) for name in xpnn.optimizers._NAMES]
STEPS += [(xpnn.losses.Penalized(loss, l1=0.1, l2=0.1), xpnn.Adam()) for loss, _, _ in LOSSES]
STEPS += [("bce", xpnn.SGD(0.1, momentum=0.9)), ("cross_entropy", xpnn.Adam(amsgrad=True))]


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("loss, optimizer", STEPS, ids=str)
def test_the_step_reads_nothing(loss, optimizer, members, request):
    net = xpnn.Network(LAYERS, backend="array-api-strict:device1", members=members)
    loss, weight = xpnn.losses.get(loss), net.backend.asarray(np.ones(6))
    if loss.targets == "classes":
        y = net.backend.asarray(np.zeros(6, dtype=int), dtype=None)
    else:
        y = net.backend.asarray(np.zeros((6, loss.target_width(4))))
    data = Data(net.backend.asarray(np.ones((6, 4))), y, weight)
    program = Program(net.layer, *net.layouts, loss, optimizer)
    numbers = Numbers(program, net.seeds, members, net.backend).epoch(START)[0]
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
    assert net.predict(x, batch_size=4).shape == (6, 4)


def test_the_blindfold_works(blind):
    with pytest.raises(AssertionError, match="read on the host"):
        float(array_api_strict.asarray(1.0))
