"""Successive halving by epochs gives what scikit-learn's gives, though its survivors are not trained anew."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import xpnn.sklearn.trials as trials
from tests.search_results import assert_same_results
from tests.sklearn_problems import IRIS, NUMBERS
from xpnn.sklearn import MLPClassifier, MLPRegressor, MLPSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FEW = NUMBERS[0][:120], NUMBERS[1][:120]
CASES = {
    "rates": (
        MLPClassifier((5,), random_state=1, max_iter=27),
        {"learning_rate_init": np.logspace(-4, -1, 5).tolist(), "alpha": [0.01, 1.0]},
        IRIS,
        3,
    ),
    "early stopping": (
        MLPRegressor((5,), random_state=1, max_iter=40, early_stopping=True, n_iter_no_change=3, solver="sgd"),
        {"learning_rate_init": [0.001, 0.01, 0.1], "learning_rate": ["adaptive", "constant", "invscaling"]},
        FEW,
        2,
    ),
    "a pipeline": (
        make_pipeline(StandardScaler(), MLPClassifier((4,), random_state=1, max_iter=9)),
        {"mlpclassifier__alpha": [0.01, 0.1, 1.0, 10.0], "standardscaler__with_std": [True, False]},
        IRIS,
        3,
    ),
    "some alone": (
        MLPClassifier((4,), random_state=1, max_iter=9),
        {"solver": ["lbfgs", "adam", "sgd"], "alpha": [0.1, 1.0]},
        IRIS,
        3,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_gives_what_scikit_learn_gives(case):
    model, grid, (x, y), factor = CASES[case]
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    name = f"{model.steps[-1][0]}__max_iter" if hasattr(model, "steps") else "max_iter"
    options = {"resource": name, "max_resources": last.max_iter, "factor": factor, "random_state": 0}
    wanted = HalvingGridSearchCV(model, grid, cv=3, return_train_score=True, **options).fit(x, y)
    found = MLPSearchCV(model, grid, cv=3, return_train_score=True, halving=factor).fit(x, y)
    assert_same_results(found.cv_results_, wanted.cv_results_)
    for attribute in ("n_resources_", "n_candidates_", "n_iterations_", "n_required_iterations_", "best_index_"):
        assert getattr(found, attribute) == getattr(wanted, attribute), attribute
    for attribute in ("n_possible_iterations_", "n_remaining_candidates_", "min_resources_", "max_resources_"):
        assert getattr(found, attribute) == getattr(wanted, attribute), attribute
    assert (found.best_params_, found.best_score_) == (wanted.best_params_, wanted.best_score_)
    assert np.array_equal(found.predict(x), wanted.predict(x))


def test_survivors_go_on_from_where_they_stood(monkeypatch):
    asked, original = [], trials.fit_many

    def spy(**options):
        asked.append(options["epochs"])
        return original(**options)

    monkeypatch.setattr(trials, "fit_many", spy)
    model, grid, data, factor = CASES["rates"]
    MLPSearchCV(model, grid, cv=3, halving=factor, refit=False).fit(*data)
    assert [(len(epochs), set(epochs)) for epochs in asked] == [(30, {3}), (12, {6}), (6, {18})]
