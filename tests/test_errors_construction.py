"""What cannot be built is refused by name: layers, losses, optimizers, metrics, backends and networks."""

import os

import numpy as np
import pytest

import xpnn
from tests.trained import X
from xpnn import SGD, Adam, BatchNorm, Dense, Dropout, Network, Sequential, Standardize, mlp
from xpnn.backend import resolve

CONSTRUCTED = {
    "activation by a near miss": (
        lambda: mlp([2, 3, 1], "relo"),
        ValueError,
        "activation 'relo'.*mean 'relu'.*sigmoid",
    ),
    "output by a near miss": (lambda: mlp([2, 3, 1], output="sigmod"), ValueError, "activation.*mean 'sigmoid'"),
    "layer by a near miss": (lambda: Network([Dense(2, 3), "relo"]), ValueError, "activation.*mean 'relu'"),
    "initializer by a near miss": (lambda: Dense(2, 3, weight_init="he_norml"), ValueError, "initializer.*'he_normal'"),
    "bias initializer": (lambda: Dense(2, 3, bias_init="zeroes"), ValueError, "initializer.*mean 'zeros'.*glorot"),
    "optimizer by a near miss": (lambda: xpnn.optimizers.get("addam"), ValueError, "optimizer.*mean 'adam'.*sgd"),
    "loss by a near miss": (lambda: xpnn.losses.get("bbce"), ValueError, "loss.*mean 'bce'.*mse"),
    "metric by a near miss": (lambda: xpnn.metrics.get("acc"), ValueError, "metric.*mean 'accuracy'"),
    "backend by a near miss": (lambda: Network(mlp([2, 1]), "nunpy"), ValueError, "backend.*mean 'numpy'.*torch"),
    "every backend's own name": (lambda: resolve("tpu"), ValueError, "array.api.strict.*auto.*cupy.*jax.*numpy.*torch"),
    "auto by a near miss": (lambda: resolve("autp"), ValueError, "mean 'auto'"),
    "a module that holds no arrays": (lambda: resolve(os), (TypeError, ValueError), "^backend .*os"),
    "backend None": (lambda: Network(mlp([2, 1]), None), TypeError, "^backend"),
    "half precision": (lambda: Network(mlp([2, 1]), dtype="float16"), ValueError, "^dtype.*float16"),
    "another precision": (lambda: Network(mlp([2, 1]), precision="half"), ValueError, "^precision .*'tf32'.*'half'"),
    "a precision for NumPy": (
        lambda: Network(mlp([2, 1]), precision="tf32"),
        ValueError,
        "^precision='tf32' needs.*cupy",
    ),
    "a precision of float64": (
        lambda: Network(mlp([2, 1]), dtype="float64", precision="tf32"),
        ValueError,
        "^precision='tf32' .*float32.*'float64'",
    ),
    "a negative learning rate": (lambda: Adam(-0.1), ValueError, "^learning_rate .*>= 0.*-0.1"),
    "a learning rate of NaN": (lambda: SGD(float("nan")), ValueError, "^learning_rate"),
    "a learning rate in words": (lambda: SGD("fast"), TypeError, "^learning_rate .*'fast'"),
    "a negative rate of one member": (lambda: SGD([0.1, -0.1]), ValueError, r"^learning_rate\[1\]"),
    "momentum 1": (lambda: SGD(momentum=1.0), ValueError, "^momentum .*< 1"),
    "beta2 1": (lambda: Adam(beta2=1.0), ValueError, "^beta2"),
    "eps 0": (lambda: Adam(eps=0.0), ValueError, "^eps"),
    "a negative multiplier": (lambda: Adam(multipliers={"bias": -1.0}), ValueError, r"^multipliers\['bias'\]"),
    "multipliers no dict": (lambda: Adam(multipliers=0.1), TypeError, "^multipliers"),
    "dropout 1": (lambda: Dropout(1.0), ValueError, "^rate .*< 1"),
    "a width of 0": (lambda: Dense(2, 0), ValueError, "^out_features .*>= 1"),
    "an activation within Dense": (
        lambda: Dense(2, 3, "relu"),
        TypeError,
        "^bias must be True or False, got 'relu': an activation is a layer of its own",
    ),
    "a schedule's class": (
        lambda: Adam(xpnn.schedules.CosineDecay),
        TypeError,
        "^learning_rate .*CosineDecay\\(...\\)",
    ),
    "an initializer of another shape": (
        lambda: Network([Dense(2, 3, weight_init=lambda rng, shape, *, fan_in, fan_out: rng.normal(size=3))]),
        ValueError,
        r"^weight_init must draw an array of shape \(2, 3\), got shape \(3,\)",
    ),
    "indices behind a scaling": (
        lambda: Network([Standardize((0.0,) * 2, (1.0,) * 2), xpnn.layers.Embedding(3, 1, 2), Dense(2, 1)]),
        ValueError,
        r"^Embedding.*layer 1, takes category indices .*Standardize.*put it first",
    ),
    "a width of 2.5": (lambda: Dense(2.5, 1), TypeError, "^in_features"),
    "one width": (lambda: mlp([2]), ValueError, "^widths"),
    "activations too few": (lambda: mlp([2, 3, 3, 1], ["relu"]), ValueError, "^activation .*2 hidden"),
    "activation None": (lambda: mlp([2, 3, 1], None), TypeError, "^activation"),
    "another norm": (lambda: mlp([2, 3, 1], norm="group"), ValueError, "^norm .*'group'"),
    "scale 0": (lambda: Standardize((0.0,), (0.0,)), ValueError, r"^scale\[0\] .*> 0"),
    "widths that do not fit": (
        lambda: Network([Dense(2, 4), "relu", Dense(3, 1)]),
        ValueError,
        r"Dense\(3, 1\), layer 2, expects 3 features, got 4 .*ReLU\(\), layer 1",
    ),
    "a norm that does not fit": (
        lambda: Network([Dense(2, 4), BatchNorm(5)]),
        ValueError,
        r"BatchNorm\(5\), layer 1, expects 5 features, got 4 .*Dense\(2, 4\), layer 0",
    ),
    "nested widths that do not fit": (
        lambda: Network([Dense(2, 4), Sequential([Dense(3, 2), Dense(2, 1)])]),
        ValueError,
        r"Dense\(3, 2\).* expects 3 features, got 4 .*Dense\(2, 4\), layer 0",
    ),
    "no layers": (lambda: Network([]), ValueError, "^layers must say how wide x is"),
    "layers None": (lambda: Network(None), TypeError, "^layers"),
    "a layer's class": (lambda: Network([Dense]), TypeError, r"^layers\[0\]"),
    "a number for a layer": (lambda: Network([Dense(2, 1), 3]), TypeError, r"^layers\[1\] .*3"),
    "no members": (lambda: Network(mlp([2, 1]), members=0), ValueError, "^members .*>= 1"),
    "half a member": (lambda: Network(mlp([2, 1]), members=1.5), TypeError, "^members"),
    "seeds too few": (lambda: Network(mlp([2, 1]), members=3, seed=[1, 2]), ValueError, "^seed .*3 members.*2"),
    "seeds too few in an array": (
        lambda: Network(mlp([2, 1]), members=3, seed=np.asarray([1, 2])),
        ValueError,
        "^seed .*3 members.*2",
    ),
    "no seeds": (lambda: Network(mlp([2, 1]), seed=[]), ValueError, "^seed"),
    "a negative seed": (lambda: Network(mlp([2, 1]), seed=-1), ValueError, "^seed .*>= 0"),
    "a seed past the last": (lambda: Network(mlp([2, 1]), seed=2**64 - 1, members=2), ValueError, "^seed"),
    "half a seed": (lambda: Network(mlp([2, 1]), seed=0.5), TypeError, "^seed"),
    "rates for no stack": (
        lambda: Network([Dense(2, 3), Dropout([0.1, 0.2])]).fit(X, np.ones((12, 3))),
        ValueError,
        "^rate has 2 values",
    ),
}


@pytest.mark.parametrize("case", CONSTRUCTED)
def test_bad_construction_is_refused_by_name(case):
    call, error, message = CONSTRUCTED[case]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("call", ["fit", "step", "value_and_grad"])
def test_a_network_that_learns_nothing_says_so(call):
    with pytest.raises(ValueError, match="no learned parameters"):
        getattr(Network([Standardize((0.0, 1.0), (1.0, 2.0))]), call)(X, X)
