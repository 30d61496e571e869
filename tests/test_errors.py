"""What cannot work is refused at once: the error names the argument, and the network is to the byte what it was."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnn
from tests.trained import INDICES, X, Y, state_of, trained
from xpnn import SGD, Adam, BatchNorm, Dense, Dropout, Network, Sequential, Standardize, mlp
from xpnn.availability import BackendUnavailable, status
from xpnn.backend import resolve

ROOT = Path(xpnn.__file__).parents[1]
NAN = np.where(np.arange(24).reshape(12, 2) == 7, np.nan, X)
INF = np.where(np.arange(24).reshape(12, 2) == 7, np.inf, X)
LETTERS = np.full((12, 2), "a")


def params_with(net: Network, path: tuple, value) -> list:
    """The network's params with one entry replaced."""
    params = net.params
    place = functools.reduce(lambda node, key: node[key], path[:-1], params)
    place[path[-1]] = value
    return params


def assign(net: Network, values) -> None:
    net.params = values


# What was asked of which network, the error, and what its message must say.
REFUSED = {
    # x
    "x with NaN": ("plain", lambda n: n.fit(NAN, Y), ValueError, r"^x .*NaN.*row 3, column 1"),
    "x with infinity": ("plain", lambda n: n.fit(INF, Y), ValueError, r"^x .*infinite.*row 3"),
    "x of three features": (
        "plain",
        lambda n: n.fit(np.ones((12, 3)), Y),
        ValueError,
        r"Dense\(2, 3\).* x .*\(12, 3\)",
    ),
    "predict three features": ("plain", lambda n: n.predict(np.ones((4, 3))), ValueError, r"layer 0.* x .*\(4, 3\)"),
    "step three features": ("plain", lambda n: n.step(np.ones((12, 3)), Y), ValueError, r"layer 0.* x .*\(12, 3\)"),
    "vjp three features": ("plain", lambda n: n.vjp(np.ones((12, 3))), ValueError, r"layer 0.* x .*\(12, 3\)"),
    "outputs three features": ("plain", lambda n: n.outputs(np.ones((4, 3))), ValueError, r"layer 0.* x .*\(4, 3\)"),
    "one sample": ("plain", lambda n: n.predict([1.0, 2.0]), ValueError, r"^x .*one sample.*x\[None"),
    "no rows": ("plain", lambda n: n.fit(X[:0], Y[:0]), ValueError, r"^x has no rows"),
    "step without rows": ("plain", lambda n: n.step(X[:0], Y[:0]), ValueError, r"^x has no rows"),
    "an empty list": ("plain", lambda n: n.fit([], []), ValueError, r"\bx\b"),
    "x is None": ("plain", lambda n: n.fit(None, Y), (TypeError, ValueError), r"\bx\b"),
    "x of words": ("plain", lambda n: n.fit(LETTERS, Y), TypeError, r"^x must be real numbers"),
    "x of digits as text": ("plain", lambda n: n.fit(np.full((12, 2), "1"), Y), TypeError, r"^x must be real numbers"),
    "x beyond float32": ("plain", lambda n: n.fit(1e300 * X, Y), ValueError, r"^x .*(float32|infinite)"),
    "x of four axes": ("plain", lambda n: n.fit(np.ones((1, 2, 12, 2)), Y), ValueError, r"^x .*axis too many"),
    "x of two members": ("three members", lambda n: n.fit(np.ones((2, 12, 2)), Y), ValueError, r"^x .*3 members"),
    # y
    "y with NaN": ("two", lambda n: n.fit(X, NAN), ValueError, r"^y .*NaN.*row 3"),
    "y with infinity": ("two", lambda n: n.fit(X, INF), ValueError, r"^y .*infinite"),
    "y of other rows": ("plain", lambda n: n.fit(X, Y[:5]), ValueError, r"^y must be \(12, 1\).*\(5, 1\)"),
    "y too wide": ("plain", lambda n: n.fit(X, X), ValueError, r"^y must be \(12, 1\).*\(12, 2\)"),
    "one target for two outputs": ("two", lambda n: n.fit(X, Y[:, 0]), ValueError, r"^y must be \(12, 2\).*\(12,\)"),
    "y is None": ("plain", lambda n: n.fit(X, None), (TypeError, ValueError), r"^y "),
    "y of words": ("plain", lambda n: n.fit(X, LETTERS[:, 0]), TypeError, r"^y must be real numbers"),
    "labels of words": ("softmax", lambda n: n.fit(X, LETTERS[:, 0]), TypeError, r"\by\b (as|must)"),
    "indices as floats": ("softmax", lambda n: n.fit(X, INDICES * 1.0), TypeError, r"class indices.*integer.* y "),
    "a class too many": ("softmax", lambda n: n.fit(X, INDICES + 1), ValueError, r"^y .*1 to 3.*3 outputs"),
    "a negative class": ("softmax", lambda n: n.fit(X, INDICES - 1), ValueError, r"^y .*-1 to 1.*3 outputs"),
    "a class beyond int32": ("softmax", lambda n: n.fit(X, INDICES + 2**32), ValueError, r"^y .*class indices"),
    "evaluate a class too many": ("softmax", lambda n: n.evaluate(X, INDICES + 1), ValueError, r"^y .*1 to 3"),
    "one-hot of other width": ("softmax", lambda n: n.fit(X, np.eye(4)[INDICES]), ValueError, r"^y .*\(12, 4\)"),
    "counts for probabilities": ("softmax", lambda n: n.fit(X, 2 * np.eye(3)[INDICES]), ValueError, r"^y .*0 to 2"),
    "-1 and 1 for a probability": ("sigmoid", lambda n: n.fit(X, 2 * Y - 1), ValueError, r"^y .*-1 to 1.*from 0 to 1"),
    "a probability of 1.5": ("sigmoid", lambda n: n.fit(X, 1.5 * Y), ValueError, r"^y .*1\.5.*from 0 to 1"),
    # weights
    "weights too few": ("plain", lambda n: n.fit(X, Y, sample_weight=np.ones(5)), ValueError, r"^sample_weight .*12"),
    "weights as a column": (
        "plain",
        lambda n: n.step(X, Y, sample_weight=Y),
        ValueError,
        r"^sample_weight .*\(12, 1\)",
    ),
    "negative weights": (
        "plain",
        lambda n: n.fit(X, Y, sample_weight=-np.ones(12)),
        ValueError,
        r"^sample_weight .*-1",
    ),
    "weights with NaN": ("plain", lambda n: n.fit(X, Y, sample_weight=NAN[:, 1]), ValueError, r"^sample_weight .*NaN"),
    "weights of words": ("plain", lambda n: n.fit(X, Y, sample_weight=LETTERS[:, 0]), TypeError, r"^sample_weight "),
    "a scalar weight": ("plain", lambda n: n.fit(X, Y, sample_weight=2.0), ValueError, r"^sample_weight "),
    "weights too few beside classes": (
        "sigmoid",
        lambda n: n.fit(X, Y, class_weight="balanced", sample_weight=np.ones(5)),
        ValueError,
        r"^sample_weight .*12",
    ),
    "class_weight of another word": (
        "sigmoid",
        lambda n: n.fit(X, Y, class_weight="even"),
        ValueError,
        "^class_weight",
    ),
    "class_weight as a list": ("sigmoid", lambda n: n.fit(X, Y, class_weight=[1, 2]), TypeError, "^class_weight"),
    "class_weight of an absent class": (
        "sigmoid",
        lambda n: n.fit(X, Y, class_weight={2: 1.0}),
        ValueError,
        r"^class_weight .*\[2\].*\[0, 1\]",
    ),
    "negative class_weight": ("sigmoid", lambda n: n.fit(X, Y, class_weight={0: -1.0}), ValueError, "^class_weight"),
    "class_weight of NaN": ("sigmoid", lambda n: n.fit(X, Y, class_weight={0: np.nan}), ValueError, "^class_weight"),
    "class_weight of words": ("sigmoid", lambda n: n.fit(X, Y, class_weight={0: "a"}), TypeError, "^class_weight"),
    "class_weight without classes": (
        "plain",
        lambda n: n.fit(X, X[:, 0], class_weight={0: 1}),
        ValueError,
        "^class_we",
    ),
    # validation
    "validation x alone": ("plain", lambda n: n.fit(X, Y, validation_data=X), TypeError, "^validation_data"),
    "validation of four": ("plain", lambda n: n.fit(X, Y, validation_data=(X,) * 4), TypeError, "^validation_data .*4"),
    "validation x with NaN": (
        "plain",
        lambda n: n.fit(X, Y, validation_data=(NAN, Y)),
        ValueError,
        "^validation x .*NaN",
    ),
    "validation y of other rows": (
        "plain",
        lambda n: n.fit(X, Y, validation_data=(X, Y[:5])),
        ValueError,
        "^validation y",
    ),
    "validation class too many": (
        "softmax",
        lambda n: n.fit(X, INDICES, validation_data=(X, INDICES + 1)),
        ValueError,
        "^validation y .*1 to 3",
    ),
    "validation weights too few": (
        "plain",
        lambda n: n.fit(X, Y, validation_data=(X, Y, np.ones(5))),
        ValueError,
        "^validation sample_weight",
    ),
    "validation twice": (
        "plain",
        lambda n: n.fit(X, Y, validation_data=(X, Y), validation_split=0.5),
        ValueError,
        "validation_data or validation_split",
    ),
    "all held out": ("plain", lambda n: n.fit(X, Y, validation_split=1.0), ValueError, "^validation_split .*1"),
    "less than nothing held out": (
        "plain",
        lambda n: n.fit(X, Y, validation_split=-0.1),
        ValueError,
        "^validation_split",
    ),
    "no row held out": ("plain", lambda n: n.fit(X, Y, validation_split=0.01), ValueError, "^validation_split=0.01"),
    "a share in words": ("plain", lambda n: n.fit(X, Y, validation_split="some"), TypeError, "^validation_split"),
    # numbers
    "batch_size 0": ("plain", lambda n: n.fit(X, Y, batch_size=0), ValueError, "^batch_size .*>= 1"),
    "batch_size -1": ("plain", lambda n: n.fit(X, Y, batch_size=-1), ValueError, "^batch_size"),
    "batch_size 2.5": ("plain", lambda n: n.fit(X, Y, batch_size=2.5), TypeError, "^batch_size"),
    "predict batch_size 0": ("plain", lambda n: n.predict(X, batch_size=0), ValueError, "^batch_size"),
    "predict batch_size 99.5": ("plain", lambda n: n.predict(X, batch_size=99.5), TypeError, "^batch_size"),
    "predict batch_size 'all'": ("plain", lambda n: n.predict(X, batch_size="all"), TypeError, "^batch_size"),
    "evaluate batch_size 0": ("plain", lambda n: n.evaluate(X, Y, batch_size=0), ValueError, "^batch_size"),
    "epochs -1": ("plain", lambda n: n.fit(X, Y, epochs=-1), ValueError, "^epochs"),
    "epochs 1.5": ("plain", lambda n: n.fit(X, Y, epochs=1.5), TypeError, "^epochs"),
    "verbose 3": ("plain", lambda n: n.fit(X, Y, verbose=3), ValueError, "^verbose"),
    # names and kinds
    "loss by a near miss": (
        "plain",
        lambda n: n.fit(X, Y, "mean_squared_eror"),
        ValueError,
        "loss.*did you mean 'mean_s",
    ),
    "loss of another kind": ("plain", lambda n: n.fit(X, Y, 3), TypeError, "^loss .*3"),
    "optimizer by a near miss": (
        "plain",
        lambda n: n.step(X, Y, optimizer="adm"),
        ValueError,
        "optimizer.*mean 'adam'",
    ),
    "optimizer of another kind": ("plain", lambda n: n.fit(X, Y, optimizer={}), TypeError, "^optimizer"),
    "metric by a near miss": (
        "plain",
        lambda n: n.fit(X, Y, metrics=["acuracy"]),
        ValueError,
        "metric.*mean 'accuracy'",
    ),
    "evaluate a near miss": (
        "plain",
        lambda n: n.evaluate(X, Y, metrics=["acuracy"]),
        ValueError,
        "metric.*'accuracy'",
    ),
    "metrics no list": ("plain", lambda n: n.fit(X, Y, metrics=3), TypeError, "^metrics"),
    "callbacks no list": ("plain", lambda n: n.fit(X, Y, callbacks=print), TypeError, "^callbacks"),
    "a callback in words": ("plain", lambda n: n.fit(X, Y, callbacks=["stop"]), TypeError, "^callbacks .*'stop'"),
    "multipliers of no parameter": (
        "plain",
        lambda n: n.fit(X, Y, optimizer=Adam(multipliers={"weigth": 0.1})),
        ValueError,
        r"^multipliers.*'weigth'.*'weight'",
    ),
    "multipliers of no layer": (
        "plain",
        lambda n: n.step(X, Y, optimizer=SGD(multipliers={9: 0})),
        ValueError,
        "^multipl",
    ),
    "learning rates for no stack": (
        "plain",
        lambda n: n.fit(X, Y, optimizer=SGD([0.1, 0.2])),
        ValueError,
        "^learning_r",
    ),
    "learning rates too few": (
        "three members",
        lambda n: n.fit(X, Y, optimizer=SGD([0.1, 0.2])),
        ValueError,
        "^learning_rate .*3 members.*2",
    ),
    # an ending that the loss cannot take
    "softmax under bce": (
        "softmax",
        lambda n: n.fit(X, INDICES, "bce"),
        ValueError,
        r"BinaryCrossEntropy.*Softmax\(\)",
    ),
    "sigmoid under softmax's loss": (
        "sigmoid",
        lambda n: n.fit(X, Y, "cross_entropy"),
        ValueError,
        r"SoftmaxCrossEntropy.*Sigmoid\(\)",
    ),
    "evaluate softmax under bce": ("softmax", lambda n: n.evaluate(X, INDICES, "bce"), ValueError, r"Softmax\(\)"),
    "step softmax under bce": ("softmax", lambda n: n.step(X, INDICES, "bce"), ValueError, r"Softmax\(\)"),
    "gradient softmax under bce": (
        "softmax",
        lambda n: n.value_and_grad(X, INDICES, "bce"),
        ValueError,
        r"Softmax\(\)",
    ),
    # params
    "params None": ("two", lambda n: assign(n, None), ValueError, "^params .*4 layers"),
    "params of fewer layers": ("two", lambda n: assign(n, n.params[:2]), ValueError, "^params .*4 layers.*2"),
    "params without a bias": (
        "two",
        lambda n: assign(n, params_with(n, (3,), {"weight": 1})),
        ValueError,
        r"params\[3\].*bias",
    ),
    "params of another name": ("two", lambda n: assign(n, params_with(n, (2, "w"), 1)), ValueError, r"^params\[2\]"),
    "params of another shape": (
        "two",
        lambda n: assign(n, params_with(n, (3, "weight"), np.ones((2, 3)))),
        ValueError,
        r"^params\[3\]\['weight'\] .*\(3, 2\).*\(2, 3\)",
    ),
    "params of words": (
        "two",
        lambda n: assign(n, params_with(n, (3, "bias"), ["a", "b"])),
        TypeError,
        r"^params\[3\]\['bias'",
    ),
    "state of another shape": (
        "two",
        lambda n: assign(n, params_with(n, (1, "running_var"), np.ones(2))),
        ValueError,
        r"^params\[1\]\['running_var'\]",
    ),
    "params of one member": ("three members", lambda n: assign(n, trained("plain").params), ValueError, r"\(3, 2, 3\)"),
    # seeds and places
    "reset to a negative seed": ("plain", lambda n: n.reset(-1), ValueError, "^seed"),
    "reset to a word": ("plain", lambda n: n.reset("a"), (TypeError, ValueError), "^seed"),
    "reset to two seeds": ("three members", lambda n: n.reset([1, 2]), ValueError, "^seed .*3 members.*2"),
    "reset a lone network to two seeds": ("plain", lambda n: n.reset([1, 2]), ValueError, "^seed"),
    "to a near miss": ("plain", lambda n: n.to("numpi"), ValueError, "backend.*mean 'numpy'"),
    "to a device that is not there": ("plain", lambda n: n.to("numpy:1"), BackendUnavailable, "numpy.*'1'"),
    "to half precision": ("plain", lambda n: n.to("numpy", "float16"), ValueError, "^dtype .*float16"),
}


@pytest.mark.parametrize("place", ["numpy", "array-api-strict:device1"])
@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name_and_changes_nothing(case, place):
    kind, call, error, message = REFUSED[case]
    if not status(place.partition(":")[0]).usable:
        pytest.skip(status(place).reason)
    net = trained(kind, place)
    before = state_of(net)
    with pytest.raises(error, match=message):
        call(net)
    assert state_of(net) == before


def test_own_arrays_of_bad_values_are_refused_on_every_backend(backend):
    net = Network(mlp([2, 1]), backend)
    with pytest.raises(ValueError, match=r"^x .*row 3, column 1"):
        net.fit(backend.asarray(NAN), Y)
    with pytest.raises(ValueError, match=r"^sample_weight .*-1"):
        net.fit(X, Y, sample_weight=backend.asarray(-np.ones(12)))
    for beyond in (3, -1, 2**32, -(2**32)):
        with pytest.raises(ValueError, match=r"^y .*class indices"):
            Network(mlp([2, 3]), backend).fit(X, backend.asarray(INDICES * 0 + beyond, dtype=None), "cross_entropy")


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
    "no layers": (lambda: Network([]), ValueError, "features"),
    "no widths": (lambda: Network(["relu"]), ValueError, "features"),
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


@pytest.mark.parametrize(
    ("place", "package"),
    [("cupy", "pip install cupy-cuda12x"), ("torch:cuda", "pip install torch"), ("jax:gpu", "pip install .*jax")],
)
def test_a_gpu_asked_for_where_none_is_usable_names_the_package(place, package):
    library = place.partition(":")[0]
    if library == "torch":
        if pytest.importorskip("torch").cuda.is_available():
            pytest.skip("PyTorch has a GPU here")
    elif status("cupy").usable or (library != "cupy" and not status(library).usable):
        pytest.skip("a GPU is usable here, or the library is not installed")
    net = trained("plain")
    before = state_of(net)
    with pytest.raises(BackendUnavailable, match=f"{place}.*{package}"):
        net.to(place)
    assert state_of(net) == before


def test_float64_on_jax_without_x64_names_the_variable():
    pytest.importorskip("jax")
    code = "import xpnn; xpnn.Network(xpnn.mlp([2, 1]), 'jax'); xpnn.Network(xpnn.mlp([2, 1]), 'jax', 'float64')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "JAX_ENABLE_X64": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "BackendUnavailable: float64 on JAX" in done.stderr
    assert "JAX_ENABLE_X64=1" in done.stderr


ELSEWHERE = [
    ("numpy", "torch"),
    ("numpy", "jax"),
    ("numpy", "array-api-strict"),
    ("torch", "numpy"),
    ("jax", "numpy"),
    ("array-api-strict", "array-api-strict:device1"),
    ("array-api-strict:device1", "array-api-strict"),
]


@pytest.mark.parametrize("argument", ["x", "params[0]['weight']", "params[1]['running_mean']", "dy"])
@pytest.mark.parametrize(("home", "place"), ELSEWHERE)
def test_a_foreign_array_in_a_pure_function_is_refused_by_name(home, place, argument):
    for library in (home.partition(":")[0], place.partition(":")[0]):
        if not status(library).usable:
            pytest.skip(status(library).reason)
    net, other = Network([Dense(2, 2), BatchNorm(2)], home), resolve(place).asarray(np.ones((2, 2)))
    before, own = state_of(net), net.backend.asarray(np.ones((2, 2)))
    library = place.partition(":")[0].replace("-", "_")
    with pytest.raises(
        TypeError, match=f"^{re.escape(argument)} must be an array of {net.backend.label}, got .*{library}"
    ):
        if argument == "dy":
            net.vjp(own)[1](other)
        elif argument == "x":
            net.apply(net.params, other)
        elif argument == "params[0]['weight']":
            net.apply(params_with(net, (0, "weight"), other), own)
        else:
            net.apply(params_with(net, (1, "running_mean"), other[0, ...]), own)
    assert state_of(net) == before


UNFIT = {
    "apply to three features": (lambda n: n.apply(n.params, np.ones((4, 3))), ValueError, r"layer 0.* x .*\(4, 3\)"),
    "apply to one sample": (lambda n: n.apply(n.params, np.ones(2)), ValueError, r"^x .*one sample"),
    "apply fewer layers": (lambda n: n.apply(n.params[:2], X), ValueError, r"^params .*3 layers.*2"),
    "apply no params": (lambda n: n.apply(None, X), ValueError, r"^params .*3 layers"),
    "apply without a bias": (
        lambda n: n.apply(params_with(n, (0,), {"weight": np.ones((2, 3))}), X),
        ValueError,
        r"^params\[0\].*bias",
    ),
    "apply another shape": (
        lambda n: n.apply(params_with(n, (0, "weight"), np.ones((2, 4))), X),
        ValueError,
        r"^params\[0\]\['weight'\] .*\(2, 3\).*\(2, 4\)",
    ),
    "pull back another shape": (lambda n: n.vjp(X)[1](np.ones(12)), ValueError, r"^dy .*\(12, 1\).*\(12,\)"),
    "pull back a list": (lambda n: n.vjp(X)[1]([[1.0]] * 12), TypeError, r"^dy .*list"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_pure_functions_name_what_does_not_fit(case):
    call, error, message = UNFIT[case]
    with pytest.raises(error, match=message):
        call(trained("plain"))
