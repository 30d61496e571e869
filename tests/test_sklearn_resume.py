"""An estimator's fit that was broken off and resumed ends where the unbroken one does, attributes included."""

import warnings

import numpy as np
import pytest

from tests.networks import same, state_of
from xpnn.callbacks import ModelCheckpoint

pytest.importorskip("sklearn")
from sklearn.datasets import load_diabetes, load_iris

from xpnn.sklearn import MLPClassifier, MLPRegressor

DATA = {MLPClassifier: load_iris(return_X_y=True), MLPRegressor: load_diabetes(return_X_y=True, scaled=True)}
SEEN = ["n_iter_", "t_", "loss_", "loss_curve_", "best_loss_"]
SEEN += ["validation_scores_", "best_validation_score_", "validation_loss_curve_"]
CASES = {
    "plain": {},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3},
    "inverse scaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 1.0},
    "a schedule": {"learning_rate": "cosine_decay", "dropout": 0.2},
    "an ensemble": {"ensemble": 3, "bootstrap": True},
    "an ensemble with early stopping": {"ensemble": 3, "early_stopping": True},
}


class Broken(Exception):
    """What breaks a fit off in these tests."""


def fit(kind, folder, stop=None, **options):
    def breaking(net, epoch, logs):
        if stop is not None and epoch >= stop:
            raise Broken

    model = kind((8,), max_iter=18, random_state=1, callbacks=[breaking, ModelCheckpoint(folder, every=3)], **options)
    x, y = DATA[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y if kind is MLPClassifier else y / 100.0, resume=folder)


@pytest.mark.parametrize("kind", DATA, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("case", CASES)
def test_a_resumed_fit_is_the_unbroken_one(kind, case, tmp_path):
    whole = fit(kind, tmp_path / "whole", **CASES[case])
    for stop in (4, 11):
        try:
            fit(kind, tmp_path / "broken", stop, **CASES[case])
        except Broken:
            continue
    found = fit(kind, tmp_path / "broken", **CASES[case])
    assert same(state_of(found.network_), state_of(whole.network_))
    assert {name: str(getattr(found, name)) for name in SEEN} == {name: str(getattr(whole, name)) for name in SEEN}
    assert np.array_equal(found.predict(DATA[kind][0]), whole.predict(DATA[kind][0]))


def test_what_cannot_be_resumed_is_told(tmp_path):
    x, y = DATA[MLPClassifier]
    with pytest.raises(ValueError, match="solver='lbfgs' takes no epochs that could be resumed"):
        MLPClassifier(solver="lbfgs").fit(x, y, resume=tmp_path)
    fit(MLPClassifier, tmp_path)
    with pytest.raises(ValueError, match=r"resume: .* was made with another seeds\[0\]"):
        MLPClassifier((8,), max_iter=18, random_state=2, callbacks=[ModelCheckpoint(tmp_path)]).fit(
            x, y, resume=tmp_path
        )
