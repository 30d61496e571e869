"""The estimators on CuPy arrays from end to end: scikit-learn's own tools dispatch, and only the labels cross."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_breast_cancer

import xpnn
from xpnn.sklearn import MLPClassifier, MLPRegressor, MLPSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_breast_cancer(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
PIPELINE = """
import cupy, numpy as np, sklearn, warnings
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xpnn.sklearn import MLPClassifier, MLPSearchCV
warnings.simplefilter("ignore")
X, Y = load_breast_cancer(return_X_y=True)
x, y = cupy.asarray(X), cupy.asarray(Y)
with sklearn.config_context(array_api_dispatch=True):
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=30, random_state=0)).fit(x, y)
    assert isinstance(pipeline.predict_proba(x), cupy.ndarray)
    assert float(pipeline.score(x, y)) > 0.97
    for search in (GridSearchCV, MLPSearchCV):
        found = search(MLPClassifier((16,), max_iter=20, random_state=0), {"alpha": [1e-4, 1e-2]}, cv=3).fit(x, y)
        assert found.best_score_ > 0.85, (search, found.best_score_)
        assert isinstance(found.predict_proba(x), cupy.ndarray)
print("done")
"""


def test_only_the_labels_cross_to_the_host(crossed):
    backend = xpnn.backend.resolve("cupy", "float64")
    x, y = backend.asarray(X), backend.asarray(Y, dtype=None)
    model = MLPClassifier((5,), max_iter=4, random_state=0)
    model.fit(x, y)
    assert [shape for shape in crossed if shape and shape[0] > 50] == [Y.shape]
    crossed.clear()
    found = model.predict_proba(x)
    model.predict(x)
    assert [shape for shape in crossed if shape and shape[0] > 50] == []
    assert backend.owns(found)


def test_the_same_scores_as_on_a_cpu():
    backend = xpnn.backend.resolve("cupy", "float64")
    for make, target in ((MLPClassifier, Y), (MLPRegressor, X[:, 0])):
        here = make((8,), max_iter=10, random_state=0).fit(X, target)
        there = make((8,), max_iter=10, random_state=0).fit(backend.asarray(X), backend.asarray(target, dtype=None))
        np.testing.assert_allclose(there.loss_curve_, here.loss_curve_, rtol=1e-6)


def test_a_search_on_the_card_is_the_cpus():
    grid = {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]}
    found = [
        MLPSearchCV(MLPClassifier((8,), max_iter=10, random_state=0, backend=backend), grid, cv=3).fit(X, Y)
        for backend in ("numpy", "cupy")
    ]
    scores = [search.cv_results_["mean_test_score"] for search in found]
    np.testing.assert_allclose(scores[1], scores[0], atol=0.01)


@pytest.mark.real_cupy
def test_a_pipeline_and_searches_dispatch_to_the_card():
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", PIPELINE], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "done", done.stderr
