"""The search gives what scikit-learn's searches give over the same estimators: the same scores, keys and attributes."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import xpnn.sklearn.trials as trials
from tests.search_results import assert_same_results
from tests.sklearn_problems import IRIS, MANY, NUMBERS, TWO
from xpnn.sklearn import MLPClassifier, MLPRegressor, MLPSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (5,), "random_state": 1, "max_iter": 8}
IRIS_BINARY = (IRIS[0][:100], np.where(IRIS[1][:100] == 0, "no", "yes"))
FEW = NUMBERS[0][:120], NUMBERS[1][:120]
CASES = {
    "rates and penalties": (
        MLPClassifier(**SMALL),
        {"learning_rate_init": [0.001, 0.01, 0.1], "alpha": [0.0, 0.01, 1.0]},
        IRIS,
    ),
    "shapes": (
        MLPClassifier(**SMALL),
        [
            {"hidden_layer_sizes": [(4,), (6, 3)], "activation": ["tanh", "relu"]},
            {"batch_size": [7, 50], "dropout": [0.0, 0.2, 0.4], "norm": [None, "batch"]},
        ],
        IRIS,
    ),
    "solvers": (
        MLPClassifier(**SMALL | {"max_iter": 25}),
        [
            {"solver": ["sgd"], "learning_rate": ["constant", "invscaling", "adaptive"], "momentum": [0.0, 0.5, 0.9]},
            {"solver": ["adam", "lbfgs", "rmsprop"], "learning_rate": ["constant", "cosine_decay"]},
        ],
        IRIS_BINARY,
    ),
    "early stopping": (
        MLPClassifier(**SMALL | {"max_iter": 30}),
        {
            "early_stopping": [True, False],
            "n_iter_no_change": [2, 5],
            "learning_rate_init": [0.003, 0.05],
            "random_state": [1, 2],
        },
        IRIS,
    ),
    "numbers": (
        MLPRegressor(**SMALL | {"max_iter": 40}),
        {
            "early_stopping": [True, False],
            "solver": ["sgd", "adam"],
            "learning_rate": ["adaptive"],
            "tol": [1e-2, 1e-1],
        },
        FEW,
    ),
    "several answers": (MLPClassifier(**SMALL), {"alpha": [0.1, 1.0], "early_stopping": [True, False]}, MANY),
    "two outputs": (MLPRegressor(**SMALL), {"alpha": [0.1, 1.0], "loss": ["squared_error", "huber"]}, TWO),
    "class weights": (
        MLPClassifier(**SMALL),
        {"class_weight": [None, "balanced", {"no": 1.0, "yes": 3.0}], "loss": ["log_loss", "focal"]},
        IRIS_BINARY,
    ),
    "other classes in each fold": (MLPClassifier(**SMALL), {"alpha": [0.1, 1.0]}, (IRIS[0], IRIS[1])),
}
SPLITS = {"other classes in each fold": KFold(5)}  # iris is sorted by class


@pytest.mark.parametrize("case", CASES)
def test_it_gives_what_grid_search_gives(case):
    model, grid, (x, y) = CASES[case]
    options = {"cv": SPLITS.get(case, 3), "return_train_score": True, "error_score": -1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        wanted = GridSearchCV(model, grid, **options).fit(x, y)
        found = MLPSearchCV(model, grid, **options).fit(x, y)
    assert_same_results(found.cv_results_, wanted.cv_results_)
    assert (found.best_params_, found.best_index_, found.n_splits_) == (
        wanted.best_params_,
        wanted.best_index_,
        wanted.n_splits_,
    )
    assert found.best_score_ == pytest.approx(wanted.best_score_, abs=1e-9)
    assert np.array_equal(found.predict(x), wanted.predict(x))
    assert found.refit_time_ > 0.0 and found.multimetric_ is False


def test_networks_of_one_shape_are_one_stack_whose_rows_are_not_copied(monkeypatch):
    calls, original = [], trials.fit_many

    def spy(**asked):
        calls.append(asked)
        return original(**asked)

    monkeypatch.setattr(trials, "fit_many", spy)
    MLPSearchCV(MLPClassifier(**SMALL), CASES["rates and penalties"][1], cv=3, refit=False).fit(*IRIS)
    (asked,) = calls
    assert len(asked["networks"]) == 27
    assert len({id(x) for x in asked["x"]}) == len({id(y) for y in asked["y"]}) == 1
    assert np.shares_memory(asked["x"][0], IRIS[0])


def test_a_pipeline_fits_its_transformers_once_for_each_fold_and_setting():
    class Counting(StandardScaler):
        fits = 0

        def fit_transform(self, X, y=None, **options):
            Counting.fits += 1
            return super().fit_transform(X, y, **options)

    model = make_pipeline(PolynomialFeatures(), Counting(), MLPClassifier(**SMALL))
    grid = {
        "polynomialfeatures__degree": [1, 2],
        "mlpclassifier__alpha": [0.01, 1.0],
        "mlpclassifier__early_stopping": [False, True],
    }
    options = {"cv": 3, "return_train_score": True, "refit": False}
    wanted = GridSearchCV(model, grid, **options).fit(*IRIS)
    Counting.fits = 0
    found = MLPSearchCV(model, grid, **options).fit(*IRIS)
    assert Counting.fits == 2 * 3
    assert_same_results(found.cv_results_, wanted.cv_results_)


def test_a_pipelines_last_step_can_be_another_one():
    model = make_pipeline(StandardScaler(), MLPClassifier(**SMALL))
    grid = [
        {"mlpclassifier": [MLPClassifier((3,), max_iter=4, random_state=0), SVC()]},
        {"mlpclassifier__hidden_layer_sizes": [(3,), (4,)], "standardscaler": ["passthrough", StandardScaler()]},
    ]
    found, wanted = (search(model, grid, cv=3).fit(*IRIS) for search in (MLPSearchCV, GridSearchCV))
    assert_same_results(found.cv_results_, wanted.cv_results_)
    assert found.score(*IRIS) == wanted.score(*IRIS)


def test_random_search_draws_what_randomized_search_draws():
    drawn = {"alpha": np.logspace(-4, 0, 50), "learning_rate_init": [0.001, 0.01], "hidden_layer_sizes": [(3,), (5,)]}
    options = {"cv": 3, "random_state": 3, "n_iter": 5}
    wanted = RandomizedSearchCV(MLPClassifier(**SMALL), drawn, **options).fit(*IRIS)
    found = MLPSearchCV(MLPClassifier(**SMALL), param_distributions=drawn, **options).fit(*IRIS)
    assert_same_results(found.cv_results_, wanted.cv_results_)


@pytest.mark.parametrize(
    "options",
    [
        {"scoring": "neg_log_loss"},
        {"scoring": ["accuracy", "f1_macro"], "refit": "f1_macro"},
        {"scoring": ["accuracy", "f1_macro"], "refit": False},
        {"scoring": {"a": "accuracy"}, "refit": lambda results: 1},
        {"scoring": lambda model, x, y: {"one": model.score(x, y), "two": 0.5}, "refit": "one"},
        {"scoring": lambda model, x, y: model.score(x, y), "refit": lambda results: 2},
        {"cv": StratifiedKFold(4, shuffle=True, random_state=0), "refit": False},
        {"cv": [(np.arange(0, 150, 2), np.arange(1, 150, 2)), (np.arange(30, 150), np.arange(90))]},
    ],
    ids=["a name", "two", "two without refit", "refit by a function", "a dict", "a function", "shuffled", "given"],
)
def test_scoring_refit_and_folds(options):
    model, grid = MLPClassifier(**SMALL), {"alpha": [0.01, 0.1, 1.0]}
    found, wanted = (search(model, grid, **{"cv": 3} | options).fit(*IRIS) for search in (MLPSearchCV, GridSearchCV))
    assert_same_results(found.cv_results_, wanted.cv_results_)
    for name in ("best_index_", "best_params_", "best_score_", "multimetric_", "n_splits_"):
        assert hasattr(found, name) == hasattr(wanted, name), name
        assert getattr(found, name, None) == getattr(wanted, name, None), name
    if hasattr(wanted, "best_estimator_"):
        if not callable(wanted.refit):
            assert found.score(*IRIS) == wanted.score(*IRIS)
        assert np.array_equal(found.predict_proba(IRIS[0]), wanted.predict_proba(IRIS[0]))
        assert found.n_features_in_ == 4 and found.classes_.tolist() == [0, 1, 2]
    else:
        assert not hasattr(found, "predict")


def test_sample_weights_and_groups():
    weight, groups = np.linspace(0.1, 2.0, 150), np.arange(150) % 7
    from sklearn.model_selection import GroupKFold

    for grid in ({"alpha": [0.01, 1.0]}, {"early_stopping": [True], "class_weight": [None, "balanced"]}):
        found, wanted = (
            search(MLPClassifier(**SMALL), grid, cv=GroupKFold(3)).fit(*IRIS, sample_weight=weight, groups=groups)
            for search in (MLPSearchCV, GridSearchCV)
        )
        assert_same_results(found.cv_results_, wanted.cv_results_)


def test_failing_candidates_get_the_error_score():
    grid = {"learning_rate_init": [0.01, 1e200], "solver": ["sgd"], "hidden_layer_sizes": [(5,), (0,)]}
    for error_score in (np.nan, -1.0):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, wanted = (
                search(MLPRegressor(**SMALL), grid, cv=3, error_score=error_score, return_train_score=True).fit(*FEW)
                for search in (MLPSearchCV, GridSearchCV)
            )
        assert_same_results(found.cv_results_, wanted.cv_results_)
        assert np.array_equal(found.predict(FEW[0]), wanted.predict(FEW[0]))
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0"):
        MLPSearchCV(MLPRegressor(**SMALL), grid, cv=3, error_score="raise").fit(*FEW)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("always", FitFailedWarning)
        MLPSearchCV(MLPRegressor(**SMALL), {"hidden_layer_sizes": [(5,), (0,)]}, cv=3).fit(*FEW)
    with pytest.raises(ValueError, match="All the 3 fits failed"):
        MLPSearchCV(MLPRegressor(**SMALL), {"hidden_layer_sizes": [(0,)]}, cv=3).fit(*FEW)


def test_a_callback_that_fails_costs_its_own_candidates_score_alone():
    def fails(net, epoch, logs):
        raise RuntimeError("no more")

    grid = {"callbacks": [None, [fails], [lambda net, epoch, logs: epoch == 2]], "alpha": [0.1, 1.0]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, wanted = (
            search(MLPClassifier(**SMALL), grid, cv=3).fit(*IRIS) for search in (MLPSearchCV, GridSearchCV)
        )
    assert np.isnan(found.cv_results_["mean_test_score"]).sum() == 2
    assert np.array_equal(found.cv_results_["mean_test_score"], wanted.cv_results_["mean_test_score"], equal_nan=True)


def test_what_no_stack_takes_is_fitted_alone():
    import scipy.sparse

    x, y = scipy.sparse.csr_array(IRIS[0]), IRIS[1]
    found, wanted = (
        search(MLPClassifier(**SMALL), {"alpha": [0.1, 1.0]}, cv=3).fit(x, y) for search in (MLPSearchCV, GridSearchCV)
    )
    assert_same_results(found.cv_results_, wanted.cv_results_)


def test_data_frames_keep_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(IRIS[0], columns=list("abcd"))
    grid = {"early_stopping": [True, False], "scoring": ["accuracy"]}
    found, wanted = (
        search(MLPClassifier(**SMALL), grid, cv=3).fit(frame, IRIS[1]) for search in (MLPSearchCV, GridSearchCV)
    )
    assert_same_results(found.cv_results_, wanted.cv_results_)
    assert found.feature_names_in_.tolist() == list("abcd")


def test_warnings_are_those_of_the_fits():
    with pytest.warns(ConvergenceWarning, match="Maximum iterations") as told:
        MLPSearchCV(MLPClassifier(**SMALL), {"alpha": [0.1, 1.0]}, cv=3, refit=False).fit(*IRIS)
    assert len(told) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPSearchCV(MLPClassifier(**SMALL, time_limit=1e-9), {"alpha": [0.1]}, cv=3, refit=False).fit(*IRIS)


def test_a_time_limit_ends_training_and_what_is_trained_is_scored():
    model = MLPClassifier((5,), random_state=0, max_iter=10**6, n_iter_no_change=10**6)
    grid = {"hidden_layer_sizes": [(4,), (5,)], "alpha": [0.1, 1.0]}
    search = MLPSearchCV(model, grid, cv=2, time_limit=0.5, refit=False).fit(*IRIS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    alone = [{"solver": ["adam", "lbfgs"]}, {"time_limit": [0.01]}, {"ensemble": [2]}]
    search = MLPSearchCV(model, alone, cv=2, time_limit=0.5, refit=False).fit(*IRIS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    halved = MLPSearchCV(model, grid, cv=2, time_limit=0.5, refit=False, halving=2).fit(*IRIS)
    assert set(halved.cv_results_["iter"]) == {0, 1, 2}


JOBS = {
    "a callable scorer": (
        MLPClassifier(**SMALL),
        "",
        {"scoring": lambda model, x, y: {"a": model.score(x, y), "b": 1.0}},
    ),
    "a pipeline": (make_pipeline(StandardScaler(), MLPClassifier(**SMALL)), "mlpclassifier__", {}),
    "folds that are read once": (MLPClassifier(**SMALL), "", {"cv": "iterator"}),
}


@pytest.mark.parametrize("case", JOBS)
def test_candidates_are_dealt_out_to_processes(case):
    model, prefix, options = JOBS[case]
    grid = {f"{prefix}alpha": [0.01, 0.1, 1.0], f"{prefix}hidden_layer_sizes": [(3,), (0,), (4,)]}
    found = []
    for jobs in (1, 2):
        asked = {"cv": 3, "return_train_score": True, "refit": False} | options
        if asked["cv"] == "iterator":
            asked["cv"] = KFold(3, shuffle=True, random_state=0).split(*IRIS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(MLPSearchCV(model, grid, n_jobs=jobs, time_limit=100.0, **asked).fit(*IRIS).cv_results_)
    assert_same_results(*found)
    for name in [name for name in found[0] if "_score" in name and "time" not in name]:
        assert np.array_equal(found[0][name], found[1][name], equal_nan=True), name


def test_what_fails_in_another_process_is_told_here():
    grid = {"hidden_layer_sizes": [(3,), (0,), (4,)]}
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0"):
        MLPSearchCV(MLPClassifier(**SMALL), grid, cv=3, n_jobs=2, error_score="raise").fit(*IRIS)
    with pytest.raises(ValueError, match="max_memory=1000 bytes is too small"):
        MLPSearchCV(MLPClassifier(**SMALL), {"alpha": [0.1, 1.0]}, n_jobs=2, max_memory=1000).fit(*IRIS)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 9"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("always", FitFailedWarning)
        MLPSearchCV(MLPClassifier(**SMALL), grid, cv=3, n_jobs=2).fit(*IRIS)


def test_a_search_can_be_cloned_and_pickled():
    search = MLPSearchCV(MLPClassifier(**SMALL), {"alpha": [0.1, 1.0]}, cv=3)
    with pytest.raises(NotFittedError):
        search.predict(IRIS[0])
    assert clone(search).get_params()["param_grid"] == {"alpha": [0.1, 1.0]}
    again = pickle.loads(pickle.dumps(search.fit(*IRIS)))
    assert np.array_equal(again.predict(IRIS[0]), search.predict(IRIS[0]))
    assert MLPSearchCV(MLPClassifier(**SMALL | {"random_state": None}), {"alpha": [0.1]}).fit(*IRIS).best_score_ > 0.0


REFUSED = {
    "another estimator": ({"estimator": SVC()}, TypeError, "estimator must be .*: for others take .*GridSearchCV"),
    "nothing to search": ({"param_grid": None}, ValueError, "give param_grid or param_distributions, got neither"),
    "both": ({"param_distributions": {"alpha": [1]}}, ValueError, "got both"),
    "no such parameter": ({"param_grid": {"alhpa": [1]}}, ValueError, "'alhpa' is no parameter of MLPClassifier"),
    "no factor": ({"halving": 0.5}, ValueError, "'halving' parameter"),
    "no time": ({"time_limit": 0.0}, ValueError, "'time_limit' parameter"),
    "two metrics to halve by": (
        {"halving": 3, "scoring": ["accuracy", "f1_macro"], "refit": "accuracy"},
        ValueError,
        "halving takes one metric",
    ),
    "the resource": (
        {"halving": 3, "param_grid": {"max_iter": [5]}},
        ValueError,
        "max_iter cannot be searched with halving",
    ),
    "too little memory": ({"max_memory": 1000}, ValueError, "max_memory=1000 bytes is too small for one network"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_parameters_are_refused(case, monkeypatch):
    changed, kind, message = REFUSED[case]
    options = {"estimator": MLPClassifier(**SMALL), "param_grid": {"alpha": [0.1]}} | changed
    monkeypatch.setattr("xpnn.network.Network.fit", lambda *args, **options: pytest.fail("trained"))
    with pytest.raises(kind, match=message):
        MLPSearchCV(**options).fit(*IRIS)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # scikit-learn's, of infinite labels
@parametrize_with_checks(
    [
        MLPSearchCV(MLPClassifier(max_iter=100, random_state=0), {"alpha": [1e-4, 1e-3]}, cv=2, error_score="raise"),
        MLPSearchCV(MLPRegressor(max_iter=100, random_state=0), {"alpha": [1e-4, 1e-3]}, cv=2, error_score="raise"),
    ]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_a_fold_without_a_class_is_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("xpnn.sklearn.trials.fit_many", None)
    rows, labels = np.zeros((30, 2)), np.asarray(["a", "b"] * 14 + ["c", "a"])
    search = MLPSearchCV(MLPClassifier(), {"alpha": [1e-4]}, cv=KFold(5))
    with pytest.raises(ValueError, match="fold 4 has no row of class 'c' to train on"):
        search.fit(rows, labels)
