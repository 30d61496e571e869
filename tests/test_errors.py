"""What cannot work is refused at once: the error names the argument, and the network is to the byte what it was."""

import numpy as np
import pytest

from tests.trained import INDICES, X, Y, params_with, state_of, trained
from xpnn import SGD, Adam, Network, mlp
from xpnn.availability import BackendUnavailable, status

NAN = np.where(np.arange(24).reshape(12, 2) == 7, np.nan, X)
INF = np.where(np.arange(24).reshape(12, 2) == 7, np.inf, X)
LETTERS = np.full((12, 2), "a")


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
