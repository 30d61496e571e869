"""Networks from scikit-learn's estimators and back: the same predictions, which can be pickled and trained further."""

import pickle
import warnings

import numpy as np
import pytest

import xpnn
from xpnn import Network, from_sklearn, mlp, to_sklearn

pytest.importorskip("sklearn")
from sklearn import neural_network
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning

import xpnn.sklearn as ours

IRIS, DIABETES = load_iris(return_X_y=True), load_diabetes(return_X_y=True)
SEVERAL = make_multilabel_classification(60, 5, n_classes=3, random_state=0)
TWO = IRIS[0][:100], np.asarray(["no", "yes"])[IRIS[1][:100]]
CLASSIFIED = {"three": IRIS, "two": TWO, "words": (IRIS[0], np.asarray(["a", "b", "c"])[IRIS[1]]), "several": SEVERAL}
PREDICTED = {"one": DIABETES, "outputs": (DIABETES[0], np.stack([DIABETES[1], -DIABETES[1]], axis=1))}


def fitted(library, data, **options):
    kind = "MLPClassifier" if data in CLASSIFIED else "MLPRegressor"
    x, y = (CLASSIFIED | PREDICTED)[data]
    model = getattr(library, kind)(hidden_layer_sizes=(8, 4), max_iter=20, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y), x


def outputs(model, x):
    return model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)


@pytest.mark.parametrize("data", [*CLASSIFIED, *PREDICTED])
@pytest.mark.parametrize("activation", ["relu", "logistic", "tanh", "identity"])
@pytest.mark.parametrize("backend", ["numpy", "array-api-strict"])
def test_a_fitted_estimator_is_a_network(data, activation, backend):
    model, x = fitted(neural_network, data, activation=activation)
    net = from_sklearn(model, backend)
    found, wanted = net.backend.to_host(net.predict(x)), np.asarray(outputs(model, x))
    wanted = wanted[:, 1:] if data == "two" else wanted.reshape(len(x), -1)
    assert net.backend.dtype == "float64" and np.allclose(found, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("data", [*CLASSIFIED, *PREDICTED])
def test_there_and_back_and_further(data):
    model, x = fitted(neural_network, data)
    classes = getattr(model, "classes_", None)
    back = to_sklearn(from_sklearn(model), classes=classes)
    assert type(back) is type(model) and np.array_equal(back.predict(x), model.predict(x))
    assert np.allclose(outputs(back, x), outputs(model, x), rtol=1e-12, atol=1e-13)
    again = pickle.loads(pickle.dumps(back))
    y = (CLASSIFIED | PREDICTED)[data][1]
    before = back.score(x, y)
    assert again.score(x, y) == before
    for _ in range(3):
        again.partial_fit(x, y)
    assert again.t_ == 3 * len(x) and not np.array_equal(again.coefs_[0], back.coefs_[0])


@pytest.mark.parametrize("data", [*CLASSIFIED, *PREDICTED])
def test_our_estimators_become_scikit_learns(data):
    model, x = fitted(ours, data, activation="tanh", alpha=0.01, dropout=0.1)
    back = to_sklearn(model)
    assert type(back).__module__.startswith("sklearn.") and back.alpha == 0.01 and back.activation == "tanh"
    assert (
        np.array_equal(back.predict(x), model.predict(x))
        if data in CLASSIFIED
        else np.allclose(back.predict(x), model.predict(x), rtol=1e-12)
    )
    net = from_sklearn(model)
    assert net is not model.network_ and np.array_equal(net.predict(x), model.network_.predict(x))


def test_a_network_with_names_for_its_classes():
    net = Network(mlp([4, 5, 3], "tanh", "softmax"), dtype="float64", seed=1)
    model = to_sklearn(net, classes=["x", "y", "z"])
    assert set(model.predict(IRIS[0])) <= {"x", "y", "z"}
    assert np.allclose(model.predict_proba(IRIS[0]), net.predict(IRIS[0]), rtol=1e-12)
    one = to_sklearn(Network(mlp([4, 1], output="sigmoid"), seed=1))
    assert one.predict_proba(IRIS[0]).shape == (150, 2) and set(one.predict(IRIS[0])) <= {0, 1}
    two = to_sklearn(Network(mlp([4, 2], output="softmax"), seed=1), classes=["n", "y"])
    assert two.predict_proba(IRIS[0]).shape == (150, 2) and set(two.predict(IRIS[0])) <= {"n", "y"}


@pytest.mark.parametrize(
    "ending, classes", [("softmax", "zba"), ("softmax", "yn"), ("sigmoid", "yn"), ("sigmoid", "ny")]
)
def test_classes_in_any_order_are_the_networks(ending, classes):
    x = IRIS[0]
    width = 1 if ending == "sigmoid" else len(classes)
    net = Network(mlp([4, 5, width], "tanh", ending), dtype="float64", seed=1)
    model = to_sklearn(net, classes=list(classes))
    wanted = net.predict(x)
    wanted = np.hstack([1.0 - wanted, wanted]) if width == 1 else wanted
    by_class = dict(zip(model.classes_, model.predict_proba(x).T, strict=True))
    assert list(by_class) == sorted(classes)
    assert np.allclose([by_class[label] for label in classes], wanted.T, rtol=1e-9)
    labels = np.asarray(list(classes))[np.argmax(wanted, axis=1)]
    assert np.array_equal(model.predict(x), labels)
    for _ in range(30):
        model.partial_fit(x, labels)
    assert model.predict_proba(x).shape == (150, len(classes)) and model.score(x, labels) > 0.8


def test_what_is_trained_further_with_early_stopping():
    x, y = IRIS
    model = ours.MLPClassifier((4,), early_stopping=True, max_iter=5, random_state=0, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = to_sklearn(model.fit(x, y)).fit(x, y)
    assert back.early_stopping and len(back.validation_scores_) > 0


def test_a_poisson_regression():
    x, y = IRIS[0], IRIS[1] + 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = neural_network.MLPRegressor(hidden_layer_sizes=(4,), loss="poisson", max_iter=20, random_state=0).fit(
            x, y
        )
    assert np.allclose(from_sklearn(fitted).predict(x)[:, 0], fitted.predict(x), rtol=1e-9)


REFUSED = {
    "another layer": ([xpnn.Dense(4, 3), xpnn.BatchNorm(3), xpnn.Dense(3, 1)], r"BatchNorm\(3\), layer 1, is none"),
    "no bias": (
        [xpnn.Dense(4, 3, bias=False), "relu", xpnn.Dense(3, 1)],
        r"Dense\(4, 3, bias=False\), layer 0, is none",
    ),
    "another activation": (mlp([4, 3, 1], "gelu"), r"GELU\(\), layer 1, is none that scikit-learn's MLP has"),
    "two activations": (
        mlp([4, 3, 3, 1], ["relu", "tanh"]),
        r"one activation for all hidden layers.*, got \['relu', 'tanh'\] and identity",
    ),
    "a tanh at the end": (
        mlp([4, 3, 1], output="tanh"),
        r"identity, sigmoid or softmax at the end, got \['relu'\] and tanh",
    ),
    "nested": ([xpnn.Sequential(mlp([4, 3, 1]))], "layer 0, is none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_scikit_learn_does_not_have_is_named(case):
    chain, message = REFUSED[case]
    with pytest.raises(TypeError, match=message):
        to_sklearn(Network(chain))


def test_other_refusals():
    with pytest.raises(ValueError, match="classes must be a list of the 3 that the network has, got \\['a', 'b'\\]"):
        to_sklearn(Network(mlp([4, 3], output="softmax")), classes=["a", "b"])
    for wrong, message in (
        (["a", "a", "b"], "3 different ones, got"),
        (3, "classes must be a list of the 3 that the network has, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            to_sklearn(Network(mlp([4, 3], output="softmax")), classes=wrong)
    with pytest.raises(ValueError, match="classes go with a network that ends in sigmoid or softmax, not with this"):
        to_sklearn(Network(mlp([4, 2])), classes=["a", "b"])
    with pytest.raises(TypeError, match="model must be one network, got a stack of 2: give"):
        to_sklearn(Network(mlp([4, 1]), members=2))
    with pytest.raises(TypeError, match="model must be a network or a fitted estimator"):
        to_sklearn(ours.MLPRegressor())
    with pytest.raises(ValueError, match=r"estimator must be fitted, got .*: call its fit"):
        from_sklearn(neural_network.MLPRegressor())
    for wrong in (3, neural_network.MLPRegressor, object()):
        with pytest.raises(TypeError, match="estimator must be an MLPClassifier or MLPRegressor"):
            from_sklearn(wrong)
