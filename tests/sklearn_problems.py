"""A problem of each kind that scikit-learn's MLP takes, with its data, for the tests of the estimators."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification
from sklearn.preprocessing import StandardScaler


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
