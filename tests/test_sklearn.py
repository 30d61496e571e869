"""The estimators: scikit-learn's numbers, attributes, errors and tools, and what its own MLP refuses."""

import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

import sklearn.neural_network as theirs  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import xpnn  # noqa: E402
from xpnn.availability import status  # noqa: E402
from xpnn.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def scaled(load, rows=None):
    x, y = load(return_X_y=True)
    return StandardScaler().fit_transform(x)[:rows], y[:rows]


IRIS, CANCER, DIABETES = scaled(load_iris), scaled(load_breast_cancer), scaled(load_diabetes)
MANY = make_multilabel_classification(150, n_features=6, n_classes=4, random_state=0)
TWO = (DIABETES[0], np.stack([DIABETES[1], DIABETES[0][:, 0] * 30], axis=1) / 80)
COUNTS = (DIABETES[0], np.round(DIABETES[1] / 50))
NUMBERS = (DIABETES[0], (DIABETES[1] - 150) / 80)
PROBLEMS = {
    "binary": ("MLPClassifier", CANCER, {}),
    "multiclass": ("MLPClassifier", IRIS, {}),
    "multilabel": ("MLPClassifier", MANY, {}),
    "regression": ("MLPRegressor", NUMBERS, {}),
    "two outputs": ("MLPRegressor", TWO, {}),
    "poisson": ("MLPRegressor", COUNTS, {"loss": "poisson"}),
}
SETTINGS = {
    "sgd": {"solver": "sgd"},
    "plain sgd": {"solver": "sgd", "momentum": 0.0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05, "power_t": 0.3},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
    "adam": {"solver": "adam", "learning_rate_init": 0.01, "beta_1": 0.8, "beta_2": 0.99},
    "alpha": {"solver": "sgd", "alpha": 5.0, "activation": "tanh"},
    "logistic": {"solver": "sgd", "activation": "logistic", "hidden_layer_sizes": (7, 5)},
    "identity": {"solver": "sgd", "activation": "identity", "hidden_layer_sizes": ()},
    "one batch": {"solver": "sgd", "batch_size": 10_000},
}


def pair(problem, **options):
    """Our estimator and scikit-learn's with the same initial weights, both before their first epoch."""
    name, (x, y), own = PROBLEMS[problem]
    options = {"hidden_layer_sizes": (6,), "random_state": 0, "shuffle": False, "batch_size": 32} | own | options
    ours, other = (getattr(module, name)(**options) for module in (xpnn.sklearn, theirs))
    first = clone(other).set_params(max_iter=1, warm_start=True).fit(x, y)
    begun = clone(ours).set_params(max_iter=1).fit(x, y).network_.copy()
    begun.reset()
    first.coefs_, first.intercepts_, first.loss_curve_ = [*begun.weights], [*begun.biases], []
    first.t_, first.best_loss_, first._no_improvement_count = 0, np.inf, 0
    return ours, first, x, y


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_same_weights_give_scikit_learns_curve(problem, settings):
    if (problem, settings) == ("two outputs", "adaptive"):
        pytest.skip("scikit-learn's value is half of the function that it descends, and `tol` looks at the value")
    ours, other, x, y = pair(problem, **SETTINGS[settings])
    ours.set_params(max_iter=12).fit(x, y)
    other.set_params(max_iter=12).fit(x, y)
    tolerance = 1e-9
    assert ours.n_iter_ == other.n_iter_
    if problem != "two outputs":  # as above
        assert np.allclose(ours.loss_curve_, other.loss_curve_, rtol=tolerance)
        assert ours.best_loss_ == pytest.approx(other.best_loss_, rel=tolerance)
    for a, b in zip(ours.coefs_ + ours.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        assert np.allclose(a, b, rtol=tolerance, atol=tolerance)
    assert np.allclose(ours.predict(x), other.predict(x), atol=tolerance * 100)
    assert ours.out_activation_ == other.out_activation_
    assert (ours.n_layers_, ours.n_outputs_, ours.n_features_in_) == (
        other.n_layers_,
        other.n_outputs_,
        other.n_features_in_,
    )


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize("problem", ["binary", "multiclass", "regression", "poisson"])
def test_sample_weights_give_scikit_learns_curve(problem):
    ours, other, x, y = pair(problem, solver="sgd", batch_size=1000)
    weight = np.random.default_rng(0).uniform(0.0, 2.0, len(x))
    ours.set_params(max_iter=8).fit(x, y, weight)
    other.set_params(max_iter=8).fit(x, y, weight)
    assert np.allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_lbfgs_reaches_what_scikit_learn_reaches(problem):
    name, (x, y), own = PROBLEMS[problem]
    options = {"hidden_layer_sizes": (4,), "solver": "lbfgs", "alpha": 10.0, "max_iter": 400} | own
    losses = [
        [getattr(module, name)(random_state=seed, **options).fit(x, y).loss_ for seed in range(3)]
        for module in (xpnn.sklearn, theirs)
    ]
    factor = 2.0 if problem == "two outputs" else 1.0  # as above
    if factor == 1.0:
        assert min(losses[0]) == pytest.approx(min(losses[1]), rel=0.05)


@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_ten_and_ten_are_twenty(problem):
    name, (x, y), own = PROBLEMS[problem]
    make = lambda **options: getattr(xpnn.sklearn, name)((5,), random_state=1, **own, **options)  # noqa: E731
    whole = make(max_iter=20).fit(x, y)
    warm = make(max_iter=10, warm_start=True).fit(x, y).fit(x, y)
    parts = make()
    more = {"classes": np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)} if name == "MLPClassifier" else {}
    for _ in range(20):
        parts.partial_fit(x, y, **more)
    for other in (warm, parts):
        assert other.loss_curve_ == whole.loss_curve_
        assert all((a == b).all() for a, b in zip(other.coefs_, whole.coefs_, strict=True))
        assert other.t_ == whole.t_


# Every parameter changes what it should


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_layer_sizes": (3, 3)},
        {"activation": "tanh"},
        {"activation": "gelu"},
        {"activation": ["tanh"]},
        {"solver": "sgd"},
        {"solver": "adamw"},
        {"solver": xpnn.RMSprop(0.01)},
        {"alpha": 1.0},
        {"batch_size": 10},
        {"learning_rate_init": 0.1},
        {"learning_rate": xpnn.CosineDecay(0.1, steps=10)},
        {"shuffle": False},
        {"random_state": 5},
        {"beta_1": 0.5},
        {"beta_2": 0.5},
        {"epsilon": 0.1},
        {"loss": "focal"},
        {"class_weight": "balanced"},
        {"class_weight": {0: 3.0}},
        {"dtype": "float32"},
        {"dropout": 0.3},
        {"norm": "batch"},
        {"norm": "layer"},
        {"weight_decay": 0.5},
        {"clip_norm": 0.01},
        {"clip_value": 0.001},
        {"early_stopping": True},
    ],
    ids=str,
)
def test_each_parameter_changes_the_outcome(change):
    x, y = CANCER
    options = {"hidden_layer_sizes": (5,), "batch_size": 50, "max_iter": 4, "random_state": 0}
    plain = MLPClassifier(**options).fit(x, y)
    other = MLPClassifier(**(options | change)).fit(x, y)
    assert not np.array_equal(plain.predict_proba(x), other.predict_proba(x))
    assert np.isfinite(other.predict_proba(x)).all()


@pytest.mark.parametrize("change", [{"momentum": 0.1}, {"nesterovs_momentum": False}, {"learning_rate": "invscaling"}])
def test_each_parameter_of_sgd_changes_the_outcome(change):
    x, y = CANCER
    options = {"hidden_layer_sizes": (5,), "solver": "sgd", "max_iter": 4, "random_state": 0}
    plain, other = (MLPClassifier(**o).fit(x, y) for o in (options, options | change))
    assert not np.array_equal(plain.predict_proba(x), other.predict_proba(x))


def test_stopping(capsys):
    x, y = CANCER
    options = {"hidden_layer_sizes": (5,), "random_state": 0, "learning_rate_init": 0.01}
    assert MLPClassifier(max_iter=7, **options).fit(x, y).n_iter_ == 7
    assert MLPClassifier(tol=10.0, n_iter_no_change=3, **options).fit(x, y).n_iter_ == 5
    assert MLPClassifier(time_limit=1e-9, **options).fit(x, y).n_iter_ == 1
    early = MLPClassifier(early_stopping=True, validation_fraction=0.3, max_iter=50, verbose=True, **options).fit(x, y)
    assert len(early.validation_scores_) == early.n_iter_ == len(early.validation_loss_curve_)
    assert early.best_validation_score_ == max(early.validation_scores_)
    assert early.best_loss_ is None
    out = capsys.readouterr().out
    assert "Iteration 1, loss = " in out
    assert "Validation score: " in out
    assert MLPClassifier(solver="lbfgs", max_fun=3, **options).fit(x, y).n_iter_ <= 3


def test_best_weights_are_restored_and_scored_by_any_scorer():
    x, y = CANCER
    kept = []

    def watch(net, epoch, logs):
        kept.append(net.weights[0])

    model = MLPClassifier(
        (5,),
        random_state=0,
        learning_rate_init=0.05,
        max_iter=15,
        early_stopping=True,
        callbacks=[watch],
        scoring="roc_auc",
    ).fit(x, y)
    best = int(np.argmax(model.validation_scores_))
    assert (model.coefs_[0] == kept[best]).all()
    assert 0.9 < model.best_validation_score_ <= 1.0


def test_a_scorer_sees_the_frame_that_was_given():
    pandas = pytest.importorskip("pandas")
    x, y = CANCER
    frame = pandas.DataFrame(x, columns=[f"feature {k}" for k in range(x.shape[1])])
    options = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 3, "scoring": "roc_auc"}
    MLPClassifier(early_stopping=True, **options).fit(frame, y)
    MLPClassifier(**options).fit(frame[:400], y[:400], X_val=frame[400:], y_val=y[400:])


def test_own_validation_rows_also_through_a_pipeline():
    x, y = CANCER
    model = MLPClassifier((5,), random_state=0, max_iter=5)
    model.fit(x[:400], y[:400], X_val=x[400:], y_val=y[400:])
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == 5
    assert model.validation_scores_[-1] == pytest.approx(model.score(x[400:], y[400:]))
    with sklearn.config_context(enable_metadata_routing=True):
        inner = MLPClassifier((5,), random_state=0, max_iter=5).set_fit_request(X_val=True, y_val=True)
        pipe = sklearn.pipeline.Pipeline([("scale", StandardScaler()), ("net", inner)], transform_input=["X_val"])
        pipe.fit(x[:400] * 10, y[:400], X_val=x[400:] * 10, y_val=y[400:])
        assert pipe["net"].validation_scores_[-1] == pytest.approx(pipe.score(x[400:] * 10, y[400:]))


@pytest.mark.parametrize("problem", ["binary", "multiclass", "multilabel"])
def test_the_validation_split_is_stratified(problem):
    x, y = PROBLEMS[problem][1]
    model = MLPClassifier((3,), early_stopping=True, max_iter=1, random_state=0)
    split = []
    original = type(model)._split

    def spy(self, *args):
        found = original(self, *args)
        split.append(found)
        return found

    model._split = spy.__get__(model)
    model.fit(x, y)
    held = split[0][3][4]
    if y.ndim == 1:
        assert np.allclose(np.bincount(held) / len(held), np.bincount(y) / len(y), atol=0.03)
    else:
        assert np.allclose(held.mean(axis=0), y.mean(axis=0), atol=0.12)


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


def test_skops():
    io = pytest.importorskip("skops.io")
    x, y = IRIS
    model = MLPClassifier((4,), max_iter=3, random_state=0).fit(x, y)
    dumped = io.dumps(model)
    again = io.loads(dumped, trusted=io.get_untrusted_types(data=dumped))
    assert (again.predict_proba(x) == model.predict_proba(x)).all()


# Errors, in scikit-learn's words


@pytest.mark.parametrize(
    "options, words",
    [
        ({"hidden_layer_sizes": -1}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (3, 0)}, r"hidden_layer_sizes must be > 0, got \[3, 0\]"),
        ({"activation": "rleu"}, "The 'activation' parameter of MLPClassifier must be"),
        ({"solver": "adamm"}, "The 'solver' parameter of MLPClassifier must be"),
        ({"alpha": -1.0}, "The 'alpha' parameter of MLPClassifier must be a float in the range"),
        ({"dropout": 1.0}, "The 'dropout' parameter of MLPClassifier must be"),
        ({"norm": "group"}, "The 'norm' parameter of MLPClassifier must be"),
        ({"loss": "huberr"}, "The 'loss' parameter of MLPClassifier must be"),
        ({"solver": "lbfgs", "dropout": 0.1}, "goes with neither dropout"),
    ],
    ids=str,
)
def test_wrong_parameters(options, words):
    with pytest.raises(ValueError, match=words):
        MLPClassifier(**options).fit(*IRIS)


def test_wrong_use():
    x, y = IRIS
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(x)
    with pytest.raises(AttributeError, match="partial_fit"):
        MLPClassifier(solver="lbfgs").partial_fit(x, y)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        MLPClassifier(early_stopping=True).partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        MLPClassifier().partial_fit(x, y)
    warm = MLPClassifier(warm_start=True, max_iter=2).fit(x, y)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        warm.fit(x[:100], y[:100])
    with pytest.raises(ValueError, match="Some value\\(s\\) of y are out of the valid range of the loss 'poisson'"):
        MLPRegressor(loss="poisson").fit(x, -(x[:, 0] ** 2))
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(solver="sgd", activation="identity", learning_rate_init=1e8).fit(x * 1e6, x[:, 0] * 1e6)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(x, y)
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        MLPClassifier().fit(x, y, X_val=x)
    with pytest.raises(AttributeError, match="has no attribute 'predict_proba'"):
        MLPClassifier(loss="hinge").predict_proba(x)


def test_hinge_and_interrupt():
    x, y = CANCER
    assert MLPClassifier((5,), loss="hinge", max_iter=50, random_state=0).fit(x, y).score(x, y) > 0.9

    def stop(net, epoch, logs):
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        MLPClassifier((5,), callbacks=[stop], max_iter=5).fit(x, y).predict(x)


def test_quantiles_of_a_regressor_are_its_median():
    x, y = NUMBERS
    model = MLPRegressor((8,), loss=xpnn.Quantile((0.1, 0.5, 0.9)), max_iter=30, random_state=0).fit(x, y)
    assert model.predict(x).shape == y.shape
    assert model.n_outputs_ == 3
