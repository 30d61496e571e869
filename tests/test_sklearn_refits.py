"""Estimators that are fitted again or in parts, whose weights are set, or that train by L-BFGS."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
import sklearn.neural_network as theirs
from sklearn.exceptions import ConvergenceWarning

from tests.sklearn_problems import CANCER, IRIS, MANY, NUMBERS
from xpnn.backend import resolve
from xpnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (4,), "random_state": 0, "max_iter": 3}


# Fitting again


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_layer_sizes": (7,)},
        {"hidden_layer_sizes": (4, 4)},
        {"activation": "tanh"},
        {"dropout": 0.5},
        {"norm": "layer"},
        {"dtype": "float32"},
        {"backend": "array-api-strict"},
    ],
    ids=str,
)
def test_a_network_that_is_trained_further_keeps_its_structure(change):
    model = MLPClassifier(**SMALL, warm_start=True).fit(*IRIS).set_params(**change)
    for train in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"{next(iter(change))} was .* when the network was built and is"):
            train(*IRIS)
    model.set_params(warm_start=False).fit(*IRIS)


def test_the_same_structure_in_other_words_is_no_change():
    model = MLPClassifier(**SMALL, warm_start=True).fit(*IRIS)
    model.set_params(hidden_layer_sizes=np.asarray([4]), activation=["relu"], alpha=0.1).fit(*IRIS)
    assert len(model.loss_curve_) == 6


def test_several_answers_and_one_do_not_follow_each_other():
    one, several = IRIS, (IRIS[0], np.eye(3, dtype=int)[IRIS[1]])
    model = MLPClassifier(**SMALL, warm_start=True).fit(*one)
    with pytest.raises(ValueError, match="The object was not fitted with multilabel input"):
        model.fit(*several)
    assert set(model.predict(one[0])) <= {0, 1, 2}
    model = MLPClassifier(**SMALL, warm_start=True).fit(*several)
    with pytest.raises(ValueError, match="The object was fitted with multilabel input"):
        model.fit(*one)
    assert model.predict(one[0]).shape == (150, 3)


def test_steps_after_lbfgs():
    model = MLPClassifier(**SMALL, solver="lbfgs", warm_start=True).fit(*IRIS)
    start = model.loss_
    model.set_params(solver="adam").fit(*IRIS)
    assert len(model.loss_curve_) == 3
    assert model.loss_ < start
    again = MLPClassifier(**SMALL, solver="lbfgs").fit(*IRIS).set_params(solver="adam").partial_fit(*IRIS)
    assert again.loss_curve_ == model.loss_curve_[:1]


def test_weights_count_in_parts():
    weight = np.linspace(0.0, 2.0, 150)
    for make, data in ((MLPClassifier, IRIS), (MLPRegressor, (IRIS[0], IRIS[1] * 1.0))):
        parts, whole = make(**SMALL), make(**SMALL | {"max_iter": 1}).fit(*data, weight)
        parts.partial_fit(*data, weight, *([[0, 1, 2]] if make is MLPClassifier else []))
        assert parts.loss_curve_ == whole.loss_curve_


def test_sizes_are_whole_numbers():
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        MLPClassifier((2.5,)).fit(*IRIS)


def test_parameters_are_not_looked_at_where_scikit_learn_is_told_so():
    with sklearn.config_context(skip_parameter_validation=True):
        MLPClassifier(**SMALL, verbose="yes").fit(*IRIS)


# Weights that are set


@pytest.mark.parametrize("data", [IRIS, MANY], ids=["three classes", "several answers"])
def test_weights_can_be_set(data):
    x, y = data
    source = MLPClassifier(**SMALL | {"random_state": 5}).fit(x, y)
    model = MLPClassifier(**SMALL, warm_start=True).fit(x, y)
    model.coefs_, model.intercepts_ = source.coefs_, source.intercepts_
    assert (model.predict_proba(x) == source.predict_proba(x)).all()
    model.fit(x, y)
    with pytest.raises(ValueError, match="coefs_ must be a list of 2 arrays, got 1"):
        model.coefs_ = source.coefs_[:1]
    with pytest.raises(ValueError, match="shape"):
        model.coefs_ = source.coefs_[::-1]


def test_weights_of_an_estimator_before_it_is_fitted():
    for name in ("coefs_", "intercepts_"):
        with pytest.raises(AttributeError, match=f"'MLPClassifier' object has no attribute '{name}'"):
            getattr(MLPClassifier(), name)


# L-BFGS


@pytest.mark.parametrize("options", [{"max_iter": 5}, {"max_fun": 3}, {"max_iter": 2000}, {"tol": 10.0}], ids=str)
def test_lbfgs_ends_with_scikit_learns_words(options):
    options = {"solver": "lbfgs", "hidden_layer_sizes": (3,), "random_state": 0} | options
    said = []
    for make in (MLPRegressor, theirs.MLPRegressor):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = make(**options).fit(*NUMBERS)
        said.append(["".join(c for c in str(w.message) if not c.isdigit()) for w in caught])
        assert all(w.category is ConvergenceWarning for w in caught)
    assert said[0] == said[1]
    assert model.n_iter_ <= model.max_iter


def test_lbfgs_ends_where_the_gradient_is_below_tol():
    options = {"solver": "lbfgs", "hidden_layer_sizes": (3,), "max_iter": 50, "random_state": 0}
    counts = [MLPRegressor(tol=tol, **options).fit(*NUMBERS).n_iter_ for tol in (10.0, 0.1, 1e-4)]
    assert counts[0] == 0
    assert 0 < counts[1] < counts[2] == 50


def test_lbfgs_weighs_samples():
    x, y = IRIS
    twice = np.where(np.arange(150) < 50, 2, 1)
    options = {"solver": "lbfgs", "hidden_layer_sizes": (3,), "max_iter": 10, "random_state": 0}
    weighted = MLPClassifier(**options).fit(x, y, twice)
    assert weighted.loss_ == pytest.approx(MLPClassifier(**options).fit(x.repeat(twice, 0), y.repeat(twice)).loss_)


def test_lbfgs_tells_how_it_went(capsys):
    MLPClassifier(solver="lbfgs", verbose=True, **SMALL).fit(*IRIS)
    assert "after 3 iterations, loss = " in capsys.readouterr().out
    MLPClassifier(solver="lbfgs", **SMALL).fit(*IRIS)
    assert capsys.readouterr().out == ""


def test_lbfgs_ends_after_the_time_limit():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MLPClassifier(solver="lbfgs", time_limit=1e-9, max_iter=100).fit(*CANCER)
    assert model.n_iter_ == 1
    assert model.score(*CANCER) > 0.5


@pytest.mark.parametrize("name, value", [("weight_decay", 0.1), ("clip_norm", 1.0), ("callbacks", [print])])
def test_lbfgs_does_not_pass_over_what_it_cannot_do(name, value):
    with pytest.raises(ValueError, match=f"solver='lbfgs' .* does not go with {name}"):
        MLPClassifier(solver="lbfgs", **{name: value}).fit(*IRIS)
    with pytest.raises(ValueError, match="does not go with X_val"):
        MLPClassifier(solver="lbfgs").fit(*IRIS, X_val=IRIS[0], y_val=IRIS[1])


# Where warnings point, and weights of other libraries


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_warnings_point_at_the_call_of_fit(solver):
    with pytest.warns(ConvergenceWarning) as caught:
        MLPClassifier(**SMALL, solver=solver).fit(*IRIS)
    assert [w.filename for w in caught] == [__file__]


def test_weights_of_another_library_are_one_a_row():
    there = resolve("array-api-strict", "float64")
    x, y = there.asarray(IRIS[0]), there.asarray(IRIS[1], dtype=None)
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(3,\), expected \(150,\)!"):
        MLPClassifier(early_stopping=True).fit(x, y, there.asarray(np.ones(3)))
    weight = there.asarray(np.linspace(0.0, 1.0, 150))
    model = MLPClassifier(**SMALL).fit(x, y, weight)
    assert model.score(x, y, weight) == pytest.approx(MLPClassifier(**SMALL).fit(x, y, weight).score(*IRIS, weight))
