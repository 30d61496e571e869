"""Labels of every kind: what the classifier makes of them, answers, and refuses in scikit-learn's words."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import scipy.sparse
import sklearn.neural_network as theirs
from sklearn.exceptions import ConvergenceWarning

import xpnn.sklearn
from tests.sklearn_problems import CANCER, IRIS, MANY
from xpnn.backend import resolve
from xpnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETOSA = np.asarray(["setosa", "versicolor", "virginica"])[IRIS[1]]
LABELS = {
    "integers": IRIS[1],
    "small integers": IRIS[1].astype(np.uint8),
    "floats": IRIS[1].astype(float),
    "words": SETOSA,
    "objects": SETOSA.astype(object),
    "truths": IRIS[1] == 1,
    "a list": list(SETOSA),
    "one class": np.full(150, "only", dtype=object),
    "several answers": np.eye(3, dtype=int)[IRIS[1]],
    "sparse answers": scipy.sparse.csc_matrix(np.eye(3, dtype=int)[IRIS[1]]),
}


@pytest.mark.parametrize("labels", LABELS)
def test_classes_and_predictions_are_of_scikit_learns_kind(labels):
    x, y = IRIS[0], LABELS[labels]
    options = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
    ours, other = (module.MLPClassifier(**options).fit(x, y) for module in (xpnn.sklearn, theirs))
    assert ours.classes_.dtype == other.classes_.dtype
    assert ours.classes_.tolist() == other.classes_.tolist()
    assert type(ours.predict(x)) is type(other.predict(x))
    assert ours.predict(x).dtype == other.predict(x).dtype
    assert ours.predict(x).shape == other.predict(x).shape
    assert ours.predict_proba(x).shape == other.predict_proba(x).shape
    assert 0.0 <= ours.score(x, y) <= 1.0


@pytest.mark.parametrize(
    "y",
    [
        np.stack([IRIS[1], IRIS[1]], axis=1),
        np.stack([IRIS[1] * 0.3, IRIS[0][:, 0]], axis=1),
        np.where(IRIS[1] > 0, np.nan, 1.0),
        IRIS[1][:50],
        None,
    ],
    ids=["several classes twice", "numbers twice", "a missing one", "too few", "none"],
)
def test_labels_that_scikit_learn_refuses(y):
    with pytest.raises(ValueError) as other:
        theirs.MLPClassifier().fit(IRIS[0], y)
    with pytest.raises(ValueError) as ours:
        MLPClassifier().fit(IRIS[0], y)
    assert str(ours.value) == str(other.value) or "Unknown label type: continuous" in str(ours.value)


def test_many_classes_in_a_few_rows_are_no_reason_to_warn():
    x = np.random.default_rng(0).normal(size=(30, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        MLPClassifier((4,), max_iter=1).fit(x, np.arange(30)).partial_fit(x, np.arange(30))


def test_several_answers_as_lists_in_parts():
    x, y = MANY
    parts, whole = MLPClassifier((4,), random_state=0), MLPClassifier((4,), random_state=0, max_iter=1).fit(x, y)
    parts.partial_fit(x.tolist(), y.tolist(), classes=range(4))
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.classes_.tolist() == [0, 1, 2, 3]
    assert MLPClassifier((4,)).partial_fit(x, y, classes=[0, 1]).classes_.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_a_list_of_targets_beside_an_array_of_another_library(name):
    x, y = resolve("array-api-strict", "float64").asarray(IRIS[0]), IRIS[1].tolist()
    model = getattr(xpnn.sklearn, name)((3,), max_iter=2, random_state=0).fit(x, y)
    plain = getattr(xpnn.sklearn, name)((3,), max_iter=2, random_state=0).fit(IRIS[0], y)
    assert np.allclose(model.loss_curve_, plain.loss_curve_)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[150, 3\]"):
        model.fit(x, y[:3])
    with pytest.raises(TypeError, match="Input should have at least 1 dimension"):
        model.fit(x, resolve("array-api-strict").asarray(3.0))


# Losses that are not the log-loss


def test_a_softmax_of_two_classes_has_two_outputs():
    x, y = CANCER
    options = {"learning_rate_init": 0.02, "max_iter": 30, "random_state": 0}
    model = MLPClassifier((5,), loss="softmax_cross_entropy", **options).fit(x, y)
    assert model.n_outputs_ == 2
    assert model.out_activation_ == "softmax"
    assert model.loss_curve_[0] > 0.1
    assert model.score(x, y) > 0.9
    assert np.allclose(model.predict_proba(x).sum(axis=1), 1.0)


@pytest.mark.parametrize("loss", ["focal", "binary_cross_entropy", "hinge", "mean_squared_error"])
def test_a_loss_of_numbers_tells_each_of_three_classes_from_the_others(loss):
    x, y = IRIS[0], SETOSA
    options = {"loss": loss, "max_iter": 80, "learning_rate_init": 0.05, "random_state": 0}
    model = MLPClassifier((8,), **options, early_stopping=True, class_weight="balanced").fit(x, y)
    assert model.n_outputs_ == 3
    assert model.score(x, y) > 0.8
    assert max(model.validation_scores_) > 0.7  # accuracy, not that all three answers of a row are right
    assert set(model.predict(x)) <= set(SETOSA)
    if loss in ("focal", "binary_cross_entropy"):
        found = model.predict_proba(x)
        assert np.allclose(found.sum(axis=1), 1.0)
        assert (model.classes_[found.argmax(axis=1)] == model.predict(x)).all()
    else:
        assert not hasattr(model, "predict_proba")


def test_probabilities_that_all_round_to_zero_are_even():
    x, y = IRIS
    model = MLPClassifier((3,), loss="focal", max_iter=1).fit(x, y)
    model.intercepts_ = [model.intercepts_[0], np.full(3, -1e4)]
    assert np.allclose(model.predict_proba(x), 1.0 / 3.0)


def test_the_logarithm_of_a_probability_of_zero():
    x, y = CANCER
    model = MLPClassifier((3,), max_iter=1).fit(x, y)
    model.intercepts_ = [model.intercepts_[0], np.full(1, 1e4)]
    assert (model.predict_log_proba(x) == [-np.inf, 0.0]).all()


# Weights of classes


def test_class_weights_are_sample_weights():
    x, y = IRIS[0], SETOSA
    options = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}
    factors = {"setosa": 1.0, "versicolor": 2.0, "virginica": 0.5}
    own = np.linspace(0.5, 1.5, 150)
    weighted = MLPClassifier(class_weight=factors, **options).fit(x, y, own)
    plain = MLPClassifier(**options).fit(x, y, own * [factors[label] for label in y])
    assert weighted.loss_curve_ == plain.loss_curve_
    parts = MLPClassifier(class_weight=factors, **options).partial_fit(x, y, own, classes=np.unique(y))
    assert parts.loss_curve_[0] == plain.loss_curve_[0]
    with pytest.raises(ValueError, match="class_weight 'balanced' is not supported for partial_fit"):
        parts.set_params(class_weight="balanced").partial_fit(x, y)


def test_rows_need_not_have_every_class_that_is_weighted():
    x, y = CANCER
    parts = MLPClassifier((3,), class_weight={1: 10.0}, random_state=0)
    for label in (0, 1):
        parts.partial_fit(x[y == label], y[y == label], classes=[0, 1])
    own = MLPClassifier((3,), random_state=0)
    for label, factor in ((0, 1.0), (1, 10.0)):
        own.partial_fit(x[y == label], y[y == label], np.full((y == label).sum(), factor), classes=[0, 1])
    assert parts.loss_curve_ == own.loss_curve_
    with pytest.raises(ValueError, match=r"The classes, \[0, 1\], are not in class_weight"):
        MLPClassifier(class_weight={"malignant": 2.0}).fit(x, y)


def test_classes_are_weighted_where_is_validated_too():
    x, y = CANCER
    options = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0, "alpha": 0.0}
    held, weight = (x[400:], y[400:]), np.where(y == 1, 10.0, 1.0)
    model = MLPClassifier(class_weight={1: 10.0}, **options).fit(x[:400], y[:400], X_val=held[0], y_val=held[1])
    assert model.validation_scores_[-1] == pytest.approx(model.score(*held, weight[400:]))
    early = MLPClassifier(class_weight={1: 10.0}, early_stopping=True, **options).fit(x, y)
    again = MLPClassifier(early_stopping=True, **options).fit(x, y, weight)
    assert early.validation_scores_ == again.validation_scores_


def test_class_weights_of_several_answers_are_a_list():
    x, y = MANY
    options = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
    model = MLPClassifier(class_weight=[{0: 1.0, 1: 2.0}] * 4, **options).fit(x, y)
    assert model.loss_curve_ == MLPClassifier(**options).fit(x, y, 2.0 ** y.sum(axis=1)).loss_curve_


def test_a_column_of_labels_is_flattened_with_a_warning():
    with pytest.warns(UserWarning, match="A column-vector y was passed"):
        MLPClassifier((3,), max_iter=1).fit(IRIS[0], IRIS[1][:, None])
    with pytest.warns(UserWarning, match="A column-vector y was passed"):
        MLPRegressor((3,), max_iter=1).fit(IRIS[0], IRIS[1][:, None])
