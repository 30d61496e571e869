"""What the estimators refuse, in scikit-learn's words, and the losses that its own MLP does not have."""

import pytest

pytest.importorskip("sklearn")

from sklearn.exceptions import ConvergenceWarning, NotFittedError

import xpnn
from tests.sklearn_problems import CANCER, IRIS, NUMBERS
from xpnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
        ({"solver": "lbfgs", "dropout": 0.1}, "does not go with dropout"),
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
    warm = MLPRegressor(warm_start=True, max_iter=2).fit(x, x[:, :2])
    with pytest.raises(ValueError, match="y has 3 outputs, but the model was fitted on 2"):
        warm.fit(x, x[:, :3])
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        MLPRegressor().fit(x, y, -(x[:, 0] ** 2))
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


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"ensemble": 2}])
def test_an_epoch_that_is_broken_off_while_it_is_looked_at_does_not_count(options):
    def stop(net, epoch, logs):
        if epoch == 3:
            raise KeyboardInterrupt

    x, y = CANCER
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = MLPClassifier((5,), callbacks=[stop], max_iter=5, random_state=0, **options).fit(x, y)
    whole = MLPClassifier((5,), max_iter=3, random_state=0, **options).fit(x, y)
    assert model.network_.epoch == model.n_iter_ == len(model.loss_curve_) == 3
    for name in ("t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        assert getattr(model, name) == getattr(whole, name)
    assert (model.predict(x) == whole.predict(x)).all()


def test_quantiles_of_a_regressor_are_its_median():
    x, y = NUMBERS
    model = MLPRegressor((8,), loss=xpnn.Quantile((0.1, 0.5, 0.9)), max_iter=30, random_state=0).fit(x, y)
    assert model.predict(x).shape == y.shape
    assert model.n_outputs_ == 3
    assert (model.predict(x) == model.network_.predict(x)[:, 1]).all()
