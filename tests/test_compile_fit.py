"""`fit`, `predict` and `evaluate` with compiled programs give what they give without, whatever the batches are like."""

import numpy as np
import pytest

from tests.compiled import far
from tests.lazy import Lazy
from xpnn import SGD, Adam, BatchNorm, Dense, Dropout, InverseTimeDecay, Network, losses, mlp
from xpnn.callbacks import Callback

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 3))
Y = RNG.normal(size=(23, 2))
WEIGHT = RNG.uniform(0.0, 2.0, 23)
CLASSES = np.arange(23) % 3
STACK = {"x": RNG.normal(size=(3, 23, 3)), "y": RNG.normal(size=(3, 23, 2)), "sample_weight": np.ones((3, 23)) * WEIGHT}
EVERY = [Dense(3, 5, bias=False), BatchNorm(5), "tanh", Dropout(0.3), Dense(5, 2)]
PLAIN = {"x": X, "y": Y, "batch_size": 5, "optimizer": Adam(InverseTimeDecay(0.05, rate=1.0, steps=4))}


def stream(count=4):
    return [(X[i : i + 6 - i % 4], Y[i : i + 6 - i % 4], WEIGHT[i : i + 6 - i % 4]) for i in range(count)]


def one_row(i):
    return X[i : i + 1], Y[i : i + 1], WEIGHT[i : i + 1]


def nothing(prediction, target, *, xp, weight=None):
    """A loss known beforehand."""
    return xp.zeros(prediction.shape[:-2], dtype=prediction.dtype), 0.0 * prediction


class Slower(Callback):
    """The learning rate set from outside, at each epoch's begin."""

    def on_epoch_begin(self, net, epoch):
        net.learning_rate = 0.1 / (1.0 + epoch)


FITS = {
    "a short last batch": {},
    "a last batch of one row": {"batch_size": 11},
    "one batch": {"batch_size": None},
    "a batch larger than the set": {"batch_size": 99},
    "in order": {"shuffle": False},
    "weights": {"sample_weight": WEIGHT},
    "weights of zero": {"sample_weight": np.where(np.arange(23) < 12, 0.0, WEIGHT), "shuffle": False},
    "class weights": {"y": CLASSES, "class_weight": {0: 1.0, 1: 2.0, 2: 0.0}, "loss": "cross_entropy"},
    "validation": {"validation_data": (X[:7], Y[:7]), "metrics": ["r2"]},
    "a validation split": {"validation_split": 0.3, "metrics": ["mae"]},
    "an iterable of batches": {"x": stream(), "y": None, "batch_size": 32},
    "rows that are read": {"x": Lazy(X), "sample_weight": WEIGHT},
    "rows that are read, one at last": {"x": Lazy(X), "sample_weight": WEIGHT, "batch_size": 11},
    "an iterable of single rows": {"x": [one_row(i) for i in range(5)], "y": None, "batch_size": 32},
    "batches of one row": {"batch_size": 1, "sample_weight": WEIGHT},
    "a loss of nothing": {"loss": nothing},
    "a learning rate set by a callback": {"callbacks": [Slower()], "optimizer": SGD(0.1, 0.9)},
    "average": {"optimizer": Adam(0.02, average=0.8, clip_norm=0.5, weight_decay=0.1)},
    "penalties": {"loss": losses.Penalized(losses.huber, l1=0.01, l2=0.1, per_row=True), "sample_weight": WEIGHT},
}
STACKS = {
    "shared": {},
    "own rows": {"x": STACK["x"]},
    "own targets": {"y": STACK["y"]},
    "own weights": {"sample_weight": STACK["sample_weight"]},
    "all their own": STACK,
    "all their own in order": STACK | {"shuffle": False},
    "all their own in one batch": STACK | {"batch_size": None},
    "a split of their own": STACK | {"validation_split": 0.3},
    "a rate of their own": {"optimizer": SGD([0.0, 0.1, 0.2])},
}


def both(options, members=None, dtype="float64", layers=None):
    """The networks and what was recorded, compiled and not."""
    options = PLAIN | options
    if layers is None:
        layers = mlp([3, 4, 3], output="softmax") if options.get("loss") == "cross_entropy" else EVERY
    nets = [Network(layers, dtype=dtype, members=members) for _ in range(2)]
    found = [net.fit(**options, epochs=3, compile=compile) for net, compile in zip(nets, (True, False), strict=True)]
    assert nets[0]._prepared[0].traced
    assert not nets[1]._prepared[0].traced
    assert nets[0].updates == nets[1].updates
    return nets, found


def near(nets, histories, tolerance):
    """Ten steps or more: the losses are compared, and what is recorded of them."""
    one, two = histories
    assert one.history.keys() == two.history.keys()
    for name in one.history:
        np.testing.assert_allclose(one[name], two[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("kind", FITS)
def test_fit(kind):
    near(*both(FITS[kind]), 1e-9)
    near(*both(FITS[kind], dtype="float32"), 2e-3)
    near(*both(FITS[kind], members=3), 1e-9)


@pytest.mark.parametrize("kind", STACKS)
def test_fit_of_a_stack(kind):
    near(*both(STACKS[kind], members=3), 1e-9)
    near(*both(STACKS[kind], members=3, dtype="float32"), 2e-3)


def test_the_first_epoch_changes_what_the_eager_one_changes():
    for members in (None, 3):
        nets = [Network(EVERY, dtype="float64", members=members) for _ in range(2)]
        for net, compile in zip(nets, (True, False), strict=True):
            net.fit(X, Y, optimizer=SGD(0.1, 0.9), epochs=1, batch_size=8, compile=compile)
        assert far(nets[0].progress.carry, nets[1].progress.carry) <= 1e-12


def test_an_epoch_of_more_steps_than_are_read_at_once(monkeypatch):
    monkeypatch.setattr("xpnn.epochs.PIECE", 4)
    near(*both({"batch_size": 2, "sample_weight": WEIGHT}), 1e-9)
    near(*both({"batch_size": 2}, members=3), 1e-9)


def test_fit_after_fit_and_step_after_fit():
    nets = [Network(EVERY, dtype="float64") for _ in range(2)]
    for net, compile in zip(nets, (True, False), strict=True):
        net.fit(X, Y, optimizer=SGD(0.05, 0.9), epochs=2, batch_size=5, compile=compile)
        net.step(X[:4], Y[:4], compile=compile)
        net.fit(X[:9], Y[:9], epochs=1, batch_size=5, compile=compile)
        net.params = [{name: 2.0 * a for name, a in one.items()} for one in net.params]
        net.fit(X, Y, "huber", Adam(0.01), epochs=2, batch_size=5, sample_weight=WEIGHT, compile=compile)
        net.step(X, Y, sample_weight=WEIGHT, compile=compile)
    assert far(nets[0].progress.carry, nets[1].progress.carry) <= 1e-6
    assert nets[0].updates == nets[1].updates


def test_more_shapes_than_programs_are_kept_for():
    nets = [Network(EVERY, dtype="float64") for _ in range(2)]
    batches = [(X[:count], Y[:count]) for count in range(2, 22)]
    for net, compile in zip(nets, (True, False), strict=True):
        net.fit(batches, optimizer=SGD(0.05), epochs=2, compile=compile)
        for count in range(1, 22):
            for _ in range(2):
                net.predict(X[:count], compile=compile)
    assert far(nets[0].progress.carry, nets[1].progress.carry) <= 1e-12
    assert len(nets[0]._prepared[0].traced) == 16
    assert np.array_equal(nets[0].predict(X[:21]), nets[0].predict(X[:21], compile=False))


MANY = RNG.normal(size=(3000, 3))
DEEP = {
    "narrow": mlp([3, 4, 1], "relu", output="sigmoid"),
    "norms": [Dense(3, 40), BatchNorm(40), "gelu", Dropout(0.5), Dense(40, 5), "softmax"],
    "wide": mlp([3, 64, 64, 2], "tanh", norm="layer"),
}


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_gives_the_bits_of_the_layers(kind, members, dtype):
    """Also in the second and third call, in which programs are made and used; and after training."""
    from threadpoolctl import threadpool_limits

    net = Network(DEEP[kind], dtype=dtype, members=members)
    with threadpool_limits(1, "blas"):
        for _ in range(2):
            for rows in (1, 5, 1024, 3000):
                x = MANY[:rows]
                expected = net.predict(x, compile=False)
                for _ in range(3):
                    found = net.predict(x)
                    assert found.dtype == expected.dtype
                    assert found.tobytes() == expected.tobytes()
            if members:
                own = np.stack([MANY[:7], MANY[7:14], MANY[14:21]])
                expected = net.predict(own, compile=False)
                assert all(net.predict(own).tobytes() == expected.tobytes() for _ in range(3))
            y = np.zeros((64, *net.shapes.output))
            net.fit(MANY[:64], y + 0.5, "mse", Adam(0.01), epochs=1, batch_size=16)


@pytest.mark.parametrize("members", [None, 3])
def test_evaluate_gives_the_bits_of_the_layers(members):
    net = Network([*EVERY, "relu"], members=members)
    for batch_size in (None, 7):
        for x, y in ((X, Y), (stream(), None), (Lazy(X), Y)):
            options = {"y": y, "metrics": ["mae", "r2"], "batch_size": batch_size}
            if y is None:
                options |= {"batch_size": None}
            expected = net.evaluate(x, **options, compile=False)
            for _ in range(3):
                found = net.evaluate(x, **options)
                assert found.keys() == expected.keys()
                assert all(np.array_equal(found[name], expected[name]) for name in found)
