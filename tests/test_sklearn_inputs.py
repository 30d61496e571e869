"""What the estimators take, labels, frames, sparse rows and arrays of any library, and scikit-learn's tools on them."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

import xpnn
from tests.sklearn_problems import CANCER, IRIS, MANY, PROBLEMS
from xpnn.availability import status
from xpnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# Labels and kinds of input


def test_string_labels_frames_and_names():
    pandas = pytest.importorskip("pandas")
    x, y = IRIS
    names = np.asarray(["setosa", "versicolor", "virginica"])[y]
    frame = pandas.DataFrame(x, columns=list("abcd"))
    model = MLPClassifier((8,), random_state=0, max_iter=300).fit(frame, names)
    assert list(model.classes_) == ["setosa", "versicolor", "virginica"]
    assert list(model.feature_names_in_) == list("abcd")
    assert model.score(frame, names) > 0.9
    assert np.allclose(model.predict_log_proba(frame), np.log(model.predict_proba(frame)))


def test_one_class_and_multilabel_shapes():
    x, y = MANY
    model = MLPClassifier((8,), random_state=0, max_iter=50).fit(x, y)
    assert model.predict(x).shape == model.predict_proba(x).shape == y.shape
    assert set(np.unique(model.predict(x))) <= {0, 1}
    lone = MLPClassifier((3,), max_iter=2).fit(x, np.full(len(x), "only"))
    assert set(lone.predict(x)) == {"only"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_follows_x(dtype):
    x, y = CANCER
    model = MLPClassifier((3,), max_iter=2).fit(x.astype(dtype), y)
    assert model.predict_proba(x.astype(dtype)).dtype == dtype
    assert model.coefs_[0].dtype == dtype


@pytest.mark.parametrize("make", ["csr_matrix", "csc_array"])
def test_sparse_rows_give_what_dense_ones_give(make):
    import scipy.sparse

    x, y = CANCER
    x = np.where(np.abs(x) > 1.0, x, 0.0)
    options = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 5, "shuffle": False}
    dense = MLPClassifier(**options).fit(x, y)
    other = MLPClassifier(**options).fit(getattr(scipy.sparse, make)(x), y)
    assert np.allclose(other.loss_curve_, dense.loss_curve_)
    assert np.allclose(other.predict_proba(getattr(scipy.sparse, make)(x)), dense.predict_proba(x))


WHERE = ["torch", "jax", "array-api-strict", "array-api-strict:device1", "cupy"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("problem", ["binary", "multiclass", "multilabel", "regression"])
def test_everything_follows_x(problem, where):
    found = status(where.partition(":")[0])
    if not found.usable:
        pytest.skip(found.reason)
    name, (x, y), own = PROBLEMS[problem]
    backend = xpnn.backend.resolve(where, "float64")
    options = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 6, "early_stopping": True} | own
    plain = getattr(xpnn.sklearn, name)(**options).fit(x, y)
    there = getattr(xpnn.sklearn, name)(**options)
    there.fit(backend.asarray(x), backend.asarray(y, dtype=None if name == "MLPClassifier" else "float"))
    assert backend.owns(there.network_.weights[0])
    assert np.allclose(there.loss_curve_, plain.loss_curve_, rtol=1e-8)
    answer = there.predict(backend.asarray(x))
    assert backend.owns(answer)
    assert np.allclose(backend.to_host(answer), plain.predict(x), atol=1e-8)
    if name == "MLPClassifier":
        assert backend.owns(there.predict_proba(backend.asarray(x)))
    assert there.score(backend.asarray(x), backend.asarray(y, dtype=None)) == pytest.approx(plain.score(x, y))
    assert np.allclose(there.predict(x), plain.predict(x), atol=1e-8)  # answers follow what is asked


def test_an_explicit_backend_says_where_to_train_and_not_where_answers_are():
    x, y = CANCER
    model = MLPClassifier((5,), backend="array-api-strict:device1", random_state=0, max_iter=3).fit(x, y)
    assert model.network_.backend.label == "array-api-strict:device1"
    assert isinstance(model.predict_proba(x), np.ndarray)
    assert np.allclose(model.loss_curve_, MLPClassifier((5,), random_state=0, max_iter=3).fit(x, y).loss_curve_)


# scikit-learn's tools


def test_what_scikit_learn_is_told_of_targets():
    assert get_tags(MLPClassifier()).classifier_tags.multi_label
    assert get_tags(MLPRegressor()).target_tags.multi_output


def test_clone_pickle_search_and_inspection():
    x, y = IRIS
    model = MLPClassifier((8,), random_state=0, max_iter=100, learning_rate_init=0.02)
    assert clone(model).get_params() == model.get_params()
    model.fit(x, y)
    assert (pickle.loads(pickle.dumps(model)).predict_proba(x) == model.predict_proba(x)).all()
    assert cross_val_score(make_pipeline(StandardScaler(), clone(model)), x, y).mean() > 0.9
    search = GridSearchCV(clone(model).set_params(max_iter=20), {"alpha": [1e-4, 100.0]}, cv=3).fit(x, y)
    assert search.best_params_ == {"alpha": 1e-4}
    calibrated = CalibratedClassifierCV(clone(model).set_params(max_iter=20), cv=3).fit(x, y)
    assert calibrated.predict_proba(x).shape == (150, 3)
    found = permutation_importance(model, x, y, n_repeats=2, random_state=0)
    assert found.importances_mean.argmax() in (2, 3)


def test_early_stopping_can_be_switched_between_fits():
    x, y = IRIS
    model = MLPClassifier((4,), max_iter=3, random_state=0, warm_start=True, early_stopping=True).fit(x, y)
    assert model.set_params(early_stopping=False).fit(x, y).best_loss_ == min(model.loss_curve_[-3:])
    assert model.set_params(early_stopping=True).fit(x, y).best_validation_score_ > 0.1


def test_polars_frames():
    polars = pytest.importorskip("polars")
    x, y = IRIS
    frame = polars.DataFrame(x, schema=list("abcd"))
    model = MLPClassifier((4,), max_iter=3, random_state=0, early_stopping=True, scoring="accuracy").fit(frame, y)
    assert list(model.feature_names_in_) == list("abcd")
    assert (model.predict(frame) == model.predict(frame)).all()


def test_skops():
    io = pytest.importorskip("skops.io")
    x, y = IRIS
    model = MLPClassifier((4,), max_iter=3, random_state=0).fit(x, y)
    dumped = io.dumps(model)
    again = io.loads(dumped, trusted=io.get_untrusted_types(data=dumped))
    assert (again.predict_proba(x) == model.predict_proba(x)).all()
    assert again.partial_fit(x, y).loss_curve_ == model.partial_fit(x, y).loss_curve_  # its training state too
