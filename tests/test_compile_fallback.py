"""What users write compiles without being told; what cannot be compiled runs as it is, with one warning naming why."""

import math
import re
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

import xpnn
from tests.compiled import far
from xpnn import SGD, Dense, Network, mlp
from xpnn.activations.base import Activation
from xpnn.compile import steps as compiled_steps
from xpnn.compile.traced import Traced

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 3)), RNG.normal(size=(8, 2))


@dataclass(frozen=True)
class Own(xpnn.Layer):
    """y = w x by hand, with a number of its own: what a user writes."""

    power: Any = 1.5
    tunable: ClassVar = {"power": {"low": 0.0}}

    def init(self, rng):
        return {"the weight": rng.normal(size=3)}

    def output_shape(self, shape):
        return shape

    def forward(self, params, x, *, xp, step=None):
        w = params["the weight"][..., None, :]
        power = self.power if step is None else step.hyper["power"]
        return self.twisted(x * w, xp) * power, (x, w, power)

    def backward(self, params, cache, dy, *, xp):
        x, w, power = cache
        dy = dy * power
        return dy * w, {"the weight": xp.sum(dy * x, axis=-2)}

    def twisted(self, y, xp):
        return y


class Wave(Activation):
    """sin(x) + x."""

    def value(self, x, *, xp):
        return xp.sin(x) + x, x

    def slope(self, kept, *, xp):
        return xp.cos(kept) + 1.0


def cubed(prediction, target, *, xp, weight=None):
    """The mean of |error|^3 and its gradient."""
    error = prediction - target
    size = xp.abs(error)
    weight = xp.ones_like(error[..., 0]) if weight is None else weight
    share = (weight / xp.maximum(xp.sum(weight, axis=-1, keepdims=True), 1e-9))[..., None] / error.shape[-1]
    return xp.sum(share * size**3, axis=(-2, -1)), 3.0 * share * error * size


class Held(NamedTuple):
    before: Any
    sums: Any


@dataclass(frozen=True)
class Swapping(xpnn.optimizers.Optimizer):
    """Momenta that change places in each step: the new first is the old second."""

    learning_rate: Any = 0.1

    def start(self, params, *, xp):
        return Held(xp.zeros_like(params), xp.ones_like(params))

    def rule(self, params, grads, state, hyper, *, xp):
        first, second = state
        return params - hyper["learning_rate"] * (grads + 0.1 * first), Held(second, first)


@dataclass(frozen=True)
class Turning(Swapping):
    """Parameters that become the state and the state parameters."""

    def rule(self, params, grads, state, hyper, *, xp):
        return state.before, Held(state.sums - 0.1 * grads, params)


def pair(layers, loss="mse", optimizer=None, members=None, x=X, y=Y, epochs=3, batch_size=3):
    """A network trained by `fit` compiled and not, with the warnings of the compiled one."""
    nets, optimizer = [Network(layers, dtype="float64", members=members) for _ in range(2)], optimizer or SGD(0.05)
    for net, compile in zip(nets, (True, False), strict=True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            net.fit(x, y, loss, optimizer, epochs=epochs, batch_size=batch_size, compile=compile)
            net.step(x, y, compile=compile)
            net.step(x, y, compile=compile)
        if compile:
            found = caught
        else:
            assert not caught
    return nets, [str(one.message) for one in found]


PIECES = {
    "layer": {"layers": [Dense(3, 3), Own(), Dense(3, 2)]},
    "activation": {"layers": [Dense(3, 3), Wave(), Dense(3, 2)]},
    "loss": {"layers": mlp([3, 4, 2]), "loss": cubed},
    "optimizer that swaps its state": {"layers": mlp([3, 4, 2]), "optimizer": Swapping()},
    "optimizer that turns all around": {"layers": mlp([3, 4, 2]), "optimizer": Turning()},
    "all": {"layers": [Dense(3, 3), Own(2), Wave(), Dense(3, 2)], "loss": cubed, "optimizer": Swapping(clip_norm=1.0)},
}


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("kind", PIECES)
def test_a_users_own_pieces_compile(kind, members):
    nets, told = pair(**PIECES[kind], members=members)
    assert told == []
    assert {key[0] for key in nets[0]._prepared[0].traced} == {"epoch", "step"}
    assert far(nets[0].progress.carry, nets[1].progress.carry) <= 1e-11
    for _ in range(3):
        assert np.array_equal(nets[0].predict(X), nets[0].predict(X, compile=False))
    assert nets[0]._outputs.compiled


AWKWARD = [
    "maximum",
    "sum",
    "lambda_",
    "run",
    "s0",
    "i",
    "take",
    "empty",
    "copyto",
    "multiply",
    "y",
    "t0",
    "x",
    "params",
]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_number_may_be_called_as_something_in_the_program_is(name):
    def forward(self, params, x, *, xp, step=None):
        factor = getattr(self, name) if step is None else step.hyper[name]
        return xp.maximum(x * factor, -1.0), (x, factor)

    def backward(self, params, cache, dy, *, xp):
        x, factor = cache
        return xp.where(x * factor > -1.0, dy * factor, xp.zeros_like(dy)), {}

    fields = {"__annotations__": {name: Any}, name: 1.5, "forward": forward, "backward": backward}
    fields |= {"tunable": {name: {}}, "output_shape": lambda self, shape: shape}
    layer = dataclass(frozen=True)(type("Named", (xpnn.Layer,), fields))
    nets, told = pair([Dense(3, 3), layer(), "relu", Dense(3, 2)])
    assert told == []
    assert far(nets[0].progress.carry, nets[1].progress.carry) <= 1e-11


class Unique(Own):
    def twisted(self, y, xp):
        xp.unique_values(y)
        return y


class ByNumpy(Own):
    def twisted(self, y, xp):
        return np.multiply(y, 1.0)


class ByMethod(Own):
    def twisted(self, y, xp):
        return y * y.sum() / y.sum()


class ByFloat(Own):
    def twisted(self, y, xp):
        return y * (1.0 + 0.0 * float(xp.sum(y)))


class ByMath(Own):
    def twisted(self, y, xp):
        return y * math.exp(0.0 * xp.sum(y))


class ByBranch(Own):
    def twisted(self, y, xp):
        return y if xp.sum(y) > 0.0 else y * 2.0


class ByMask(Own):
    def twisted(self, y, xp):
        y = y + 0.0
        y[y > 0.0] = 1.0
        return y


class ByReading(Own):
    def twisted(self, y, xp):
        return y + 0.0 * y[y > 1e-9].shape[0]


REFUSED = {
    Unique: "unique_values",
    ByNumpy: r"numpy\.multiply",
    ByMethod: "sum of an array",
    ByFloat: r"float\(\)",
    ByMath: r"float\(\)",
    ByBranch: r"bool\(\)",
    ByMask: "a part written into",
    ByReading: "an index that is an array",
}


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
def test_what_cannot_be_compiled_runs_as_it_is_with_one_warning_naming_it(kind, members):
    nets, told = pair([Dense(3, 3), kind(), Dense(3, 2)], members=members)
    assert len(told) == 1
    assert re.search(f"training step is not compiled.* because of {REFUSED[kind]}.*compile=False", told[0]), told
    assert far(nets[0].progress.carry, nets[1].progress.carry) == 0.0
    expected = nets[0].predict(X, compile=False)
    with pytest.warns(RuntimeWarning, match=f"the output is not compiled.*{REFUSED[kind]}"):
        assert all(np.array_equal(nets[0].predict(X), expected) for _ in range(4))
    assert all(np.array_equal(nets[0].predict(X), expected) for _ in range(4))


def test_a_loss_that_cannot_be_compiled_leaves_others_alone():
    def loss(prediction, target, *, xp, weight=None):
        error = prediction - target
        return xp.asarray(float(xp.mean(error * error))), 2.0 * error / error.size

    net = Network(mlp([3, 2]), dtype="float64")
    with pytest.warns(RuntimeWarning, match=r"float\(\)"):
        net.fit(X, Y, loss, epochs=2)
    net.fit(X, Y, "mse", epochs=2)
    assert net._prepared[0].traced


class Failing(Own):
    def twisted(self, y, xp):
        raise LookupError("of the user's own")


def test_an_error_of_a_users_layer_comes_out_as_itself():
    net = Network([Dense(3, 3), Failing(), Dense(3, 2)])
    for call in (lambda: net.fit(X, Y, epochs=9), lambda: net.step(X, Y), lambda: [net.predict(X), net.predict(X)]):
        with pytest.raises(LookupError, match="of the user's own"):
            call()
    assert net.epoch == 0


class FailingOnce(Own):
    calls: ClassVar = []

    def twisted(self, y, xp):
        self.calls.append(1)
        if len(self.calls) == 5:
            raise LookupError("of the user's own")
        return y * 1.0 if xp is np else xp.unique_values(y)


@pytest.mark.parametrize("batch_size", [None, 8, 4])
def test_an_error_while_what_cannot_be_compiled_runs_as_it_is_undoes_its_epoch(batch_size):
    FailingOnce.calls.clear()
    net = Network([Dense(3, 3), FailingOnce(), Dense(3, 2)])
    with pytest.warns(RuntimeWarning, match="unique_values"), pytest.raises(LookupError, match="of the user's own"):
        net.fit(X, Y, optimizer=SGD(0.1), epochs=9, batch_size=batch_size)
    net.fit(X, Y, optimizer=SGD(0.1), epochs=1, batch_size=batch_size)
    other = Network([Dense(3, 3), Own(), Dense(3, 2)])
    other.fit(X, Y, optimizer=SGD(0.1), epochs=2 if batch_size == 4 else 4, batch_size=batch_size, compile=False)
    assert net.epoch == other.epoch
    assert far(net.progress.carry, other.progress.carry) <= 1e-6


class Constant(xpnn.Layer):
    """Only a bias: its output hangs on no number of x."""

    def init(self, rng):
        return {"bias": np.ones(2)}

    def output_shape(self, shape):
        return (2,)

    def forward(self, params, x, *, xp, step=None):
        y = params["bias"][..., None, :]
        return xp.broadcast_to(y, (*y.shape[:-2], x.shape[-2], 2)) + 0.0, x

    def backward(self, params, cache, dy, *, xp):
        return xp.zeros_like(cache), {"bias": xp.sum(dy, axis=-2)}


def test_outputs_that_hang_on_no_number_of_x():
    net = Network([xpnn.Standardize((0.0,) * 3, (1.0,) * 3), Constant()])
    for _ in range(4):
        assert np.array_equal(net.predict(X), np.ones((8, 2)))
    net.fit(X, Y, optimizer=SGD(0.5), epochs=50)
    for _ in range(4):
        np.testing.assert_allclose(net.predict(X), np.broadcast_to(Y.mean(axis=0), (8, 2)), rtol=1e-5)


@pytest.mark.parametrize("way", ["compile=False", "XPNN_COMPILE"])
def test_compilation_can_be_switched_off(way, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("something was traced")

    monkeypatch.setattr(Traced, "__init__", refuse)
    options: dict[str, Any] = {"compile": False}
    if way == "XPNN_COMPILE":
        monkeypatch.setenv("XPNN_COMPILE", "0")
        options = {}
    net = Network(mlp([3, 4, 2]))
    net.fit(X, Y, epochs=2, batch_size=3, validation_split=0.3, metrics=["r2"], **options)
    for _ in range(3):
        net.step(X, Y, **options)
        net.predict(X, **options)
        net.evaluate(X, Y, **options)
    assert compiled_steps.how(net.backend) == ("" if way == "XPNN_COMPILE" else "traced")


def test_the_strict_backend_is_not_traced():
    assert compiled_steps.how(xpnn.backend.resolve("array-api-strict")) == ""
    assert compiled_steps.how(xpnn.backend.resolve("numpy")) == "traced"
