"""Each parameter of the estimators changes what it should, and rows held out say when to stop."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn.pipeline
from sklearn.preprocessing import StandardScaler

import xpnn
from tests.sklearn_problems import CANCER, PROBLEMS
from xpnn.sklearn import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
        {"learning_rate": "cosine_decay"},
        {"learning_rate": "one_cycle", "learning_rate_init": 0.01},
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


@pytest.mark.parametrize(
    "change", [{"momentum": 0.1}, {"momentum": 1.0}, {"nesterovs_momentum": False}, {"learning_rate": "invscaling"}]
)
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
