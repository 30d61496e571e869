"""The estimators on arrays that are not NumPy's: what crosses to the host, and scikit-learn's own dispatch."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_breast_cancer

from xpnn.availability import status
from xpnn.backend import resolve
from xpnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_breast_cancer(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"class_weight": "balanced"}], ids=str)
def test_of_a_fit_and_a_prediction_only_the_labels_cross_to_the_host(crossed, options):
    backend = resolve("array-api-strict:device1", "float64")
    x, y = backend.asarray(X), backend.asarray(Y, dtype=None)
    model = MLPClassifier((5,), max_iter=4, random_state=0, **options)
    model.fit(x, y)
    fitted = list(crossed)
    assert [shape for shape in fitted if shape and shape[0] > 50] == [Y.shape]
    assert len(fitted) <= 1 + 3 * 4 + 2  # the labels, and a few numbers an epoch
    crossed.clear()
    model.predict_proba(x)
    model.predict(x)
    assert [shape for shape in crossed if shape and shape[0] > 50] == []


def test_of_a_regression_nothing_crosses(crossed):
    backend = resolve("array-api-strict:device1", "float64")
    model = MLPRegressor((5,), max_iter=4, random_state=0)
    model.fit(backend.asarray(X), backend.asarray(X[:, 0]))
    model.predict(backend.asarray(X))
    assert [shape for shape in crossed if shape and shape[0] > 50] == []


def test_what_is_wrong_with_an_array_of_another_library():
    there = resolve("array-api-strict:device1", "float64")
    x, y, model = there.asarray(X), there.asarray(Y, dtype=None), MLPClassifier((3,), max_iter=2)
    for values in (np.where(X > 2.0, np.nan, X), np.where(X > 2.0, np.inf, X)):
        with pytest.raises(ValueError, match="Input X contains NaN or infinity"):
            model.fit(there.asarray(values), y)
    with pytest.raises(ValueError, match="Complex data not supported"):
        model.fit(there.xp.asarray(X * 1j, device=there.device), y)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[569, 100\]"):
        model.fit(x, there.asarray(Y[:100], dtype=None))
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 30 features as input"):
        model.fit(x, y).predict(there.asarray(X[:, :3]))
    pandas = pytest.importorskip("pandas")
    model.fit(pandas.DataFrame(X, columns=[f"feature {k}" for k in range(30)]), Y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(x)


def test_integers_of_another_library_are_read_as_float32():
    there = resolve("array-api-strict:device1", "float64")
    model = MLPClassifier((3,), max_iter=2).fit(there.asarray(X.astype(int), dtype=None), Y)
    assert model.network_.backend.dtype == "float32"


def test_a_weighted_r2_where_the_arrays_are():
    there = resolve("array-api-strict:device1", "float64")
    weight = np.linspace(0.0, 1.0, len(X))
    model = MLPRegressor((5,), max_iter=4, random_state=0).fit(X, X[:, 0])
    found = model.score(*(there.asarray(values) for values in (X, X[:, 0], weight)))
    assert found == pytest.approx(model.score(X, X[:, 0], weight))


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_scikit_learns_checks_of_its_dispatch(name):
    if find_spec("cupy") and not status("cupy").usable:
        pytest.skip("its check of CuPy fails, and is not skipped, where CuPy is installed without a GPU")
    program = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from sklearn.utils.estimator_checks import check_estimator; import xpnn.sklearn\n"
        f"found = check_estimator(xpnn.sklearn.{name}(max_iter=50), on_fail=None)\n"
        "print([(r['check_name'], r['exception']) for r in found if r['status'] not in ('passed', 'skipped')])\n"
        "print(sum('array_api' in r['check_name'] and r['status'] == 'passed' for r in found))\n"
    )
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    failed, passed = out.stdout.splitlines()
    assert failed == "[]"
    assert int(passed) > 3


def test_a_pipeline_under_scikit_learns_dispatch_stays_on_the_device():
    program = (
        "import warnings, numpy as np, array_api_strict as xp, sklearn\n"
        "from sklearn.pipeline import make_pipeline; from sklearn.preprocessing import StandardScaler\n"
        "from xpnn.sklearn import MLPClassifier\n"
        "warnings.simplefilter('ignore', sklearn.exceptions.ConvergenceWarning)\n"
        "there = xp.Device('device1')\n"
        "x = np.random.default_rng(0).normal(size=(60, 4)) * 3 + 1\n"
        "X, y = xp.asarray(x, device=there), xp.asarray((x[:, 0] > 1).astype(int), device=there)\n"
        "with sklearn.config_context(array_api_dispatch=True):\n"
        "    pipe = make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=5, random_state=0)).fit(X, y)\n"
        "    found = pipe.predict_proba(X), pipe.predict(X), pipe[-1].coefs_[0]\n"
        "print(*(str(one.device) == str(there) for one in found))\n"
    )
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == ["True"] * 3
