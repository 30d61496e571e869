"""The search and the ensembles where a review found them wrong, or where changing a line of them would go unseen."""

import time
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import xpnn.sklearn.trials as trials
from tests.search_results import assert_same_results
from tests.sklearn_problems import IRIS, NUMBERS
from xpnn.callbacks import EarlyStopping
from xpnn.sklearn import MLPClassifier, MLPRegressor, MLPSearchCV

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:members .* diverged:RuntimeWarning"),
]

SMALL = {"hidden_layer_sizes": (4,), "random_state": 1, "max_iter": 6, "learning_rate_init": 0.02}
FEW = NUMBERS[0][:100], NUMBERS[1][:100]


@pytest.mark.parametrize("options", [{}, {"halving": True}, {"n_jobs": 2}], ids=["whole", "halving", "processes"])
def test_no_candidates_are_refused_as_grid_search_refuses_them(options):
    with pytest.raises(ValueError, match="No fits were performed"):
        MLPSearchCV(MLPClassifier(**SMALL), [], cv=3, **options).fit(*IRIS)


def test_halving_tells_of_failures_when_they_happen_and_once():
    model, grid = MLPClassifier(**SMALL | {"max_iter": 9}), {"alpha": [0.1, 1.0, -1.0, 2.0]}
    told, results = [], []
    for search, options in (
        (MLPSearchCV, {"halving": 3}),
        (HalvingGridSearchCV, {"resource": "max_iter", "max_resources": 9, "return_train_score": False}),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results.append(search(model, grid, cv=3, **options).fit(*IRIS))
        told.append([str(one.message)[:40] for one in caught if issubclass(one.category, FitFailedWarning)])
    assert told[0] == told[1] and len(told[0]) == 1
    assert_same_results(results[0].cv_results_, results[1].cv_results_)
    assert results[0].best_index_ == results[1].best_index_
    assert type(results[0].best_index_) is type(results[1].best_index_)


@pytest.mark.parametrize("alphas", [[0.1, 1.0, 3.0, 5.0, 7.0], [-1.0, 0.1, -2.0, -3.0]], ids=["all", "one succeeds"])
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_halving_of_more_candidates_than_there_are_epochs_for(epochs, alphas):
    model = MLPClassifier(**SMALL | {"max_iter": epochs})
    options = {"resource": "max_iter", "max_resources": epochs, "factor": 2, "return_train_score": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = HalvingGridSearchCV(model, {"alpha": alphas}, cv=3, **options).fit(*IRIS)
        found = MLPSearchCV(model, {"alpha": alphas}, cv=3, halving=2).fit(*IRIS)
    assert_same_results(found.cv_results_, wanted.cv_results_)
    for name in ("best_index_", "n_iterations_", "n_required_iterations_", "n_possible_iterations_", "n_resources_"):
        assert getattr(found, name) == getattr(wanted, name), name


def test_a_function_chooses_among_all_rounds_of_halving():
    options = {"cv": 3, "halving": 2, "refit": lambda results: int(np.argmin(results["mean_test_score"]))}
    search = MLPSearchCV(MLPClassifier(**SMALL), {"alpha": [0.1, 1.0, 3.0, 9.0]}, **options).fit(*IRIS)
    assert search.best_index_ == np.argmin(search.cv_results_["mean_test_score"])
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_labels_may_be_a_column():
    x, y = IRIS[0], IRIS[1][:, None]
    found, wanted = (
        search(MLPClassifier(**SMALL), {"alpha": [0.1]}, cv=3).fit(x, y) for search in (MLPSearchCV, GridSearchCV)
    )
    assert_same_results(found.cv_results_, wanted.cv_results_)


def test_numbers_are_no_classes_that_each_fold_must_have():
    x, y = FEW[0], np.arange(100) // 5
    found, wanted = (
        search(MLPRegressor(**SMALL), {"alpha": [0.1, 1.0]}, cv=5).fit(x, y) for search in (MLPSearchCV, GridSearchCV)
    )
    assert_same_results(found.cv_results_, wanted.cv_results_)


def test_what_scores_is_named_where_it_has_names():
    options = {"cv": 3, "scoring": {"a": "accuracy", "b": "f1_macro"}, "refit": "b"}
    search = MLPSearchCV(MLPClassifier(**SMALL), {"alpha": [0.1]}, **options).fit(*IRIS)
    assert list(search.scorer_) == ["a", "b"]
    search.set_params(scoring=lambda model, x, y: {"a": 1.0, "b": 2.0}, refit=True)
    with pytest.raises(ValueError, match="refit must be set to a scorer key"):
        search.fit(*IRIS)


def test_rows_and_labels_must_be_equally_many():
    with pytest.raises(ValueError, match="inconsistent numbers of samples: \\[150, 20\\]"):
        MLPSearchCV(MLPClassifier(**SMALL), {"alpha": [0.1]}, cv=KFold(3)).fit(IRIS[0], IRIS[1][:20])


def test_folds_must_be_as_many_as_were_told():
    class Unsure(KFold):
        def get_n_splits(self, *args, **options):
            return 2

    with pytest.raises(ValueError, match="Expected 2 splits, got 3"):
        MLPSearchCV(MLPClassifier(**SMALL), {"alpha": [0.1]}, cv=Unsure(3, shuffle=True)).fit(*IRIS)


def test_who_fits_otherwise_is_fitted_alone(asked):
    class Other(MLPClassifier):
        def fit(self, X, y, **options):
            return super().fit(X, 2 - y, **options)

    options = {"cv": 3, "refit": False}
    found, wanted = (
        search(Other(**SMALL), {"alpha": [0.1]}, **options).fit(*IRIS) for search in (MLPSearchCV, GridSearchCV)
    )
    assert_same_results(found.cv_results_, wanted.cv_results_)
    assert not asked


def test_a_scorer_sees_what_a_lone_fit_leaves():
    pandas, seen = pytest.importorskip("pandas"), []
    names = (
        "n_features_in_",
        "feature_names_in_",
        "n_iter_",
        "t_",
        "loss_curve_",
        "best_loss_",
        "n_layers_",
        "classes_",
    )

    def telling(model, x, y):
        seen.append([np.asarray(getattr(model, name)).tolist() for name in names] + [model.network_.history.epoch])
        return 0.0

    frame = pandas.DataFrame(IRIS[0], columns=list("abcd"))
    for search in (MLPSearchCV, GridSearchCV):
        search(MLPClassifier(**SMALL), {"alpha": [0.1]}, cv=3, refit=False, scoring=telling).fit(frame, IRIS[1])
    assert seen[:3] == seen[3:] and seen[0][1] == list("abcd")


def test_halving_takes_one_metric_of_a_function_too():
    search = MLPSearchCV(
        MLPClassifier(**SMALL), {"alpha": [0.1, 1.0]}, halving=True, scoring=lambda m, x, y: {"b": 1.0, "a": 2.0}
    )
    with pytest.raises(ValueError, match=r"halving takes one metric to halve by, got \['a', 'b'\]"):
        search.fit(*IRIS)
    search.set_params(scoring=lambda m, x, y: {"score": m.score(x, y)}, refit="score").fit(*IRIS)
    assert search.best_score_ == search.cv_results_["mean_test_score"][search.best_index_]


def test_parameters_of_transformers_are_the_same_only_if_they_are():
    one, other = np.arange(2000), np.arange(2000)
    other[1000] = -1
    assert repr((one,)) == repr((other,))
    assert trials._identity((one, 1)) != trials._identity((other, 1))
    assert trials._identity((one, 1)) == trials._identity((one, 1)) != trials._identity((one, 1.0))


@pytest.mark.parametrize("early", [False, True])
def test_an_ensemble_of_one_is_calibrated_and_has_no_spread(early):
    options = SMALL | {"calibration_fraction": 0.3, "early_stopping": early}
    one, lone = MLPRegressor(ensemble=1, **options).fit(*FEW), MLPRegressor(**options).fit(*FEW)
    mean, std = one.predict(FEW[0], return_std=True)
    assert np.array_equal(mean, lone.predict(FEW[0])) and (std == 0.0).all()
    # with one deviation for all rows both move the mean by the same quantile of errors
    assert np.allclose(one.predict_interval(FEW[0], 0.8), lone.predict_interval(FEW[0], 0.8))


def test_an_ensemble_with_one_member_left_says_how_sure_it_is():
    def breaks(net, epoch, logs):
        if epoch == 1:
            params = net.params
            params[0]["weight"][1] = np.inf
            net.params = params

    options = SMALL | {"calibration_fraction": 0.3, "solver": "sgd", "callbacks": [breaks]}
    with pytest.warns(ConvergenceWarning, match=r"members \[1\]"), np.errstate(invalid="ignore"):
        model = MLPRegressor(ensemble=2, **options).fit(*FEW)
    assert model.diverged_ == [1]
    mean, std = model.predict(FEW[0], return_std=True)
    assert np.isfinite(mean).all() and (std == 0.0).all()
    assert np.isfinite(model.predict_interval(FEW[0], 0.5)).all()


def test_grid_search_over_the_size_of_an_ensemble():
    grid = {"ensemble": [None, 1, 2], "calibration_fraction": [0.0, 0.3]}
    found, wanted = (search(MLPRegressor(**SMALL), grid, cv=3).fit(*FEW) for search in (MLPSearchCV, GridSearchCV))
    assert_same_results(found.cv_results_, wanted.cv_results_)


@pytest.fixture
def asked(monkeypatch):
    """What `fit_many` was called with."""
    calls, original = [], trials.fit_many

    def spy(**options):
        calls.append(options)
        return original(**options)

    monkeypatch.setattr(trials, "fit_many", spy)
    return calls


@pytest.mark.parametrize(
    "grid, fit_params",
    [
        ({"validation_fraction": [0.1, 0.3], "random_state": [0, 1]}, {}),
        ({"alpha": [0.1, 1.0]}, {"X_val": IRIS[0][::7], "y_val": IRIS[1][::7]}),
        ({"class_weight": [None, "balanced"]}, {"sample_weight": np.linspace(0.0, 2.0, 150)}),
    ],
    ids=["shares", "rows of one's own", "weights"],
)
def test_rows_to_validate_on_are_those_of_a_lone_fit(grid, fit_params, asked):
    model = MLPClassifier((4,), "tanh", learning_rate_init=0.05, random_state=1, max_iter=15, early_stopping=True)
    options = {"cv": 3, "return_train_score": True, "scoring": "neg_log_loss"}
    found, wanted = (search(model, grid, **options).fit(*IRIS, **fit_params) for search in (MLPSearchCV, GridSearchCV))
    assert_same_results(found.cv_results_, wanted.cv_results_)
    assert bool(asked) == ("X_val" not in fit_params)


def test_what_has_stopped_early_is_trained_no_further_by_halving(asked):
    model = MLPClassifier((4,), random_state=1, max_iter=20, early_stopping=True, n_iter_no_change=1, tol=0.1)
    grid = {"learning_rate_init": [0.1, 1.0, 2.0, 0.001]}
    options = {"resource": "max_iter", "max_resources": 20, "factor": 2, "return_train_score": False}
    wanted = HalvingGridSearchCV(model, grid, cv=3, **options).fit(*IRIS)
    found = MLPSearchCV(model, grid, cv=3, halving=2).fit(*IRIS)
    assert_same_results(found.cv_results_, wanted.cv_results_)
    assert sum(len(call["networks"]) for call in asked) < 12 + 6 + 3


def test_what_a_search_is_given_is_not_fitted_and_the_refit_is_timed():
    scaler, last = StandardScaler(), MLPClassifier(**SMALL)
    model = make_pipeline("passthrough", MLPClassifier(**SMALL))
    search = MLPSearchCV(model, {"passthrough": [scaler], "mlpclassifier": [last]}, cv=3).fit(*IRIS)
    assert not hasattr(scaler, "scale_") and not hasattr(last, "network_")
    assert search.best_params_["mlpclassifier"] is last and 0.0 < search.refit_time_ < 60.0


def test_each_round_of_halving_has_a_share_of_the_time(asked):
    model, grid = MLPClassifier(**SMALL | {"max_iter": 4}), {"alpha": [0.1, 0.2, 0.3, 0.4]}
    MLPSearchCV(model, grid, cv=2, halving=2, time_limit=300.0, refit=False).fit(*IRIS)
    limits = [call["time_limit"] for call in asked]
    assert limits[0] == pytest.approx(100.0, abs=10.0) and limits[2] == pytest.approx(300.0, abs=20.0)


def test_those_that_a_round_of_halving_broke_off_go_on_in_the_next(asked):
    model = MLPClassifier((3,), random_state=0, max_iter=10**6, n_iter_no_change=10**6)
    options = {"cv": 2, "halving": 2, "time_limit": 0.6, "refit": False, "scoring": lambda model, x, y: model.n_iter_}
    search = MLPSearchCV(model, {"alpha": [0.1, 0.2, 0.3, 0.4]}, **options).fit(*IRIS)
    assert [len(call["networks"]) for call in asked] == [8, 4, 2]
    epochs = search.cv_results_["mean_test_score"]
    assert epochs[:4].max() < epochs[4:6].min() <= epochs[4:6].max() < epochs[6]


def test_the_shorter_of_two_time_limits_holds(asked):
    model = MLPClassifier((3,), random_state=0, max_iter=10**6, n_iter_no_change=10**6, time_limit=0.05)
    search = MLPSearchCV(model, {"alpha": [0.1]}, cv=2, time_limit=100.0, refit=False).fit(*IRIS)
    assert search.cv_results_["mean_fit_time"][0] < 10.0 and not asked


def test_callbacks_see_whole_trainings_in_halving_too(asked):
    callbacks = [EarlyStopping("loss", patience=1, min_delta=0.05, restore_best_weights=True)]
    model = MLPClassifier(**SMALL | {"max_iter": 12, "callbacks": callbacks})
    options = {"resource": "max_iter", "max_resources": 12, "return_train_score": False}
    wanted = HalvingGridSearchCV(model, {"alpha": [0.1, 1.0, 2.0]}, cv=3, **options).fit(*IRIS)
    found = MLPSearchCV(model, {"alpha": [0.1, 1.0, 2.0]}, cv=3, halving=3).fit(*IRIS)
    assert_same_results(found.cv_results_, wanted.cv_results_)
    assert not asked


def test_fit_times_add_up_to_the_time_there_was():
    began = time.perf_counter()
    search = MLPSearchCV(MLPClassifier(**SMALL), {"alpha": [0.1, 0.2, 0.3]}, cv=3, refit=False).fit(*IRIS)
    assert 0.0 < search.cv_results_["mean_fit_time"].sum() * 3 <= time.perf_counter() - began


def test_stacks_and_those_fitted_alone_share_the_time(asked):
    model = MLPClassifier(**SMALL)
    MLPSearchCV(model, {"solver": ["adam", "sgd", "lbfgs"]}, cv=2, time_limit=300.0, refit=False).fit(*IRIS)
    assert asked[0]["time_limit"] == pytest.approx(200.0, abs=10.0)


WEIGHTS = {"one for all": 2.0, "of the rows to train on": np.linspace(0.1, 2.0, 100), "integers": np.arange(150) % 3}


@pytest.mark.parametrize("given", WEIGHTS)
def test_weights_are_cut_for_folds_where_grid_search_cuts_them(given, asked):
    def certain(model, x, y, sample_weight=None):
        return float(np.log(model.predict_proba(x)).sum())

    found, wanted = (
        search(MLPClassifier(**SMALL), {"alpha": [0.1, 1.0]}, cv=3, refit=False, scoring=certain).fit(
            *IRIS, sample_weight=WEIGHTS[given]
        )
        for search in (MLPSearchCV, GridSearchCV)
    )
    assert_same_results(found.cv_results_, wanted.cv_results_)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all() and len(asked) == 1


def test_too_many_weights_are_refused():
    with pytest.raises(ValueError, match="All the 6 fits failed"):
        MLPSearchCV(MLPClassifier(**SMALL), {"alpha": [0.1, 1.0]}, cv=3).fit(*IRIS, sample_weight=np.ones(200))


@pytest.mark.parametrize("early", [False, True])
def test_folds_may_be_masks(early, monkeypatch):
    rows = np.arange(150)
    cv = [(rows % 3 != k, (rows % 3 == k).tolist()) for k in range(2)]
    model = MLPClassifier(**SMALL | {"early_stopping": early})
    options = {"cv": cv, "refit": False, "scoring": "neg_log_loss"}
    wanted = GridSearchCV(model, {"alpha": [0.1, 1.0]}, **options).fit(*IRIS)
    monkeypatch.setattr(trials, "_fit_and_score", lambda *args, **given: pytest.fail("fitted alone"))
    found = MLPSearchCV(model, {"alpha": [0.1, 1.0]}, **options).fit(*IRIS)
    assert_same_results(found.cv_results_, wanted.cv_results_)


def test_where_warnings_are_errors_they_cost_their_own_candidates_score_alone():
    grid = {"max_iter": [2, 200], "tol": [1e9]}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("ignore", FitFailedWarning)
        found, wanted = (
            search(MLPClassifier(**SMALL), grid, cv=3, error_score=-1.0).fit(*IRIS)
            for search in (MLPSearchCV, GridSearchCV)
        )
        assert_same_results(found.cv_results_, wanted.cv_results_)
        assert found.cv_results_["mean_test_score"][0] == -1.0 < found.best_score_
        with pytest.raises(ConvergenceWarning):
            MLPSearchCV(MLPClassifier(**SMALL), grid, cv=3, error_score="raise").fit(*IRIS)


def test_weights_that_a_callback_sets_are_those_that_are_scored(asked):
    def bounded(net, epoch, logs):
        net.params = [{name: np.clip(value, -0.2, 0.2) for name, value in layer.items()} for layer in net.params]

    model = MLPClassifier(**SMALL | {"callbacks": [bounded]})
    options = {"cv": 3, "scoring": "neg_log_loss", "refit": False}
    found, wanted = (
        search(model, {"alpha": [0.1, 1.0]}, **options).fit(*IRIS) for search in (MLPSearchCV, GridSearchCV)
    )
    assert_same_results(found.cv_results_, wanted.cv_results_)
    assert len(asked) == 1
