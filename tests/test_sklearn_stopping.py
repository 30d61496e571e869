"""When the estimators stop, what they validate on until then, and which weights they keep."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import scipy.sparse
import sklearn.neural_network as theirs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score, log_loss, r2_score

from tests.sklearn_problems import CANCER, IRIS, MANY, NUMBERS
from xpnn.backend import resolve
from xpnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (4,), "random_state": 0, "max_iter": 4}


# The rows held out


@pytest.mark.parametrize("make", ["coo_matrix", "bsr_array", "csc_matrix", "lil_matrix"])
def test_rows_are_held_out_of_any_sparse_format(make):
    x, y = np.where(np.abs(CANCER[0]) > 1.0, CANCER[0], 0.0), CANCER[1]
    options = SMALL | {"early_stopping": True, "scoring": "roc_auc"}
    found = MLPClassifier(**options).fit(getattr(scipy.sparse, make)(x), y)
    assert np.allclose(found.validation_scores_, MLPClassifier(**options).fit(x, y).validation_scores_)


def test_a_rare_class_is_no_reason_to_refuse_a_split():
    x, y = IRIS[0], np.where(np.arange(150) == 7, 9, IRIS[1])
    model = MLPClassifier(**SMALL, early_stopping=True).fit(x, y)
    assert len(model.validation_scores_) == model.n_iter_
    assert list(model.classes_) == [0, 1, 2, 9]


@pytest.mark.parametrize("fraction", [0.0, 0.001])
@pytest.mark.parametrize("data", [CANCER, IRIS, NUMBERS, MANY], ids=["two", "three", "numbers", "several"])
def test_too_few_rows_to_hold_out(data, fraction):
    name = "MLPRegressor" if data is NUMBERS else "MLPClassifier"
    with pytest.raises(ValueError) as ours:
        {"MLPRegressor": MLPRegressor, "MLPClassifier": MLPClassifier}[name](
            early_stopping=True, validation_fraction=fraction
        ).fit(*data)
    with pytest.raises(ValueError) as other:
        getattr(theirs, name)(early_stopping=True, validation_fraction=fraction).fit(*data)
    stratified = "should be greater or equal to the number of classes" in str(other.value)
    assert str(ours.value) == str(other.value) or stratified


def test_weights_follow_the_rows_that_are_split():
    x, y = CANCER
    weight = np.random.default_rng(0).uniform(0.0, 3.0, len(x))
    model = MLPClassifier(**SMALL, early_stopping=True, scoring="neg_log_loss", alpha=0.0)
    seen = {}
    original = MLPClassifier._split

    def spy(self, *args):
        found = original(self, *args)
        seen["train"], seen["held"] = found[:3], found[3]
        return found

    model._split = spy.__get__(model)
    model.fit(x, y, weight)
    lookup = {row.tobytes(): w for row, w in zip(x, weight, strict=True)}
    for rows, own in ((seen["train"][0], seen["train"][2]), (seen["held"][0], seen["held"][2])):
        assert np.array_equal(own, [lookup[row.tobytes()] for row in rows])
    rows, _, own, _, labels = seen["held"]
    best = int(np.argmax(model.validation_scores_))
    expected = log_loss(labels, model.predict_proba(rows), sample_weight=own)
    assert -model.validation_scores_[best] == pytest.approx(expected)
    assert model.validation_loss_curve_[best] == pytest.approx(expected)


def test_own_validation_rows_are_weighted():
    x, y = CANCER
    weight = np.random.default_rng(0).uniform(0.0, 3.0, 69)
    model = MLPClassifier(**SMALL).fit(x[:500], y[:500], X_val=x[500:], y_val=y[500:], sample_weight_val=weight)
    assert model.validation_scores_[-1] == pytest.approx(model.score(x[500:], y[500:], weight))
    with pytest.raises(ValueError, match="sample_weight_val only with them"):
        MLPClassifier().fit(x, y, sample_weight_val=weight)


@pytest.mark.parametrize("where", ["array-api-strict:device1", "torch"])
def test_scorers_of_scikit_learn_score_rows_that_are_on_a_device(where):
    if where == "torch":
        pytest.importorskip("torch")
    there = resolve(where, "float64")
    (x, y), options = CANCER, SMALL | {"early_stopping": True, "scoring": "roc_auc"}
    found = MLPClassifier(**options).fit(there.asarray(x), there.asarray(y, dtype=None), there.asarray(x[:, 0] ** 2))
    plain = MLPClassifier(**options).fit(x, y, x[:, 0] ** 2)
    assert np.allclose(found.validation_scores_, plain.validation_scores_)
    x, y = NUMBERS
    options["scoring"] = "r2"
    found = MLPRegressor(**options).fit(there.asarray(x), there.asarray(y))
    assert np.allclose(found.validation_scores_, MLPRegressor(**options).fit(x, y).validation_scores_)


def test_a_scorer_of_ones_own_gets_the_arrays_that_were_given():
    there = resolve("array-api-strict:device1", "float64")

    def scorer(model, x, y):
        assert there.owns(x)
        return float(f1_score(there.to_host(y), there.to_host(model.predict(x))))

    model = MLPClassifier(**SMALL, early_stopping=True, scoring=scorer)
    model.fit(there.asarray(CANCER[0]), there.asarray(CANCER[1], dtype=None))
    assert 0.0 < model.best_validation_score_ <= 1.0


def test_the_split_is_drawn_by_the_random_state():
    x, y = CANCER
    own = [MLPClassifier(**SMALL | {"random_state": seed, "early_stopping": True}) for seed in (0, 0, 1)]
    first, again, other = (model._split(x, (x, y), y, None)[0] for model in (model.fit(x, y) for model in own))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# The weights that are kept


def watched(scores, **options):
    """A fit whose epochs score what is given, and the first weights at each epoch's end."""
    x, y = CANCER
    kept, given = [], iter(scores)
    model = MLPClassifier(
        (3,),
        random_state=0,
        max_iter=len(scores),
        early_stopping=True,
        scoring=lambda model, x, y: next(given),
        callbacks=[lambda net, epoch, logs: kept.append(net.weights[0]) and None],
        **options,
    )
    return model.fit(x, y), kept


def test_of_equal_scores_the_first_is_kept():
    model, kept = watched([0.1, 0.5, 0.5, 0.2])
    assert (model.coefs_[0] == kept[1]).all()
    assert model.best_validation_score_ == 0.5


def test_a_score_that_is_no_number_is_never_the_best():
    model, kept = watched([np.nan, 0.3, np.nan])
    assert (model.coefs_[0] == kept[1]).all()
    assert model.best_validation_score_ == 0.3
    model, kept = watched([np.nan, np.nan])
    start = model.network_.copy()
    start.reset()
    assert (model.coefs_[0] == start.weights[0]).all()
    assert model.best_validation_score_ == -np.inf


def test_a_second_fit_that_scores_worse_keeps_the_weights_of_the_first():
    x, y = CANCER
    model, kept = watched([0.2, 0.9, 0.3], warm_start=True)
    again = iter([0.4, 0.5, 0.6])
    model.set_params(scoring=lambda model, x, y: next(again)).fit(x, y)
    assert model.best_validation_score_ == 0.9
    assert (model.coefs_[0] == kept[1]).all()


def test_training_that_diverges_keeps_the_best_weights():
    x, y = NUMBERS

    def explode(net, epoch, logs):
        if epoch == 2:
            net.learning_rate = 1e200

    model = MLPRegressor((3,), solver="sgd", random_state=0, max_iter=9, early_stopping=True, callbacks=[explode])
    with pytest.warns(ConvergenceWarning, match="Stopped early: training went non-finite in epoch 3"):
        model.fit(x, y)
    assert len(model.validation_scores_) == 4
    assert np.isnan(model.validation_scores_[-1])
    assert r2_score(y, model.predict(x)) > -10.0
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.set_params(learning_rate_init=1e200, callbacks=None).fit(x, y)


# When it stops


def test_scores_must_rise_by_more_than_tol():
    model, _ = watched([0.1 + 0.01 * k for k in range(20)], tol=0.05, n_iter_no_change=2)
    assert model.n_iter_ == 4
    model, _ = watched([0.1 + 0.01 * k for k in range(20)], tol=0.005, n_iter_no_change=2)
    assert model.n_iter_ == 20


def test_who_is_stopped_in_the_last_epoch_has_converged():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MLPClassifier((3,), tol=10.0, n_iter_no_change=2, max_iter=4).fit(*IRIS)
    assert model.n_iter_ == 4


def test_the_best_loss_is_the_least():
    model = MLPClassifier((3,), learning_rate_init=0.5, max_iter=30, random_state=0, tol=0.0).fit(*CANCER)
    assert model.best_loss_ == min(model.loss_curve_) < model.loss_curve_[-1]


def test_an_adaptive_rate_ends_where_scikit_learns_does():
    options = {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "max_iter": 300, "n_iter_no_change": 1}
    ours, other = (make(**options).fit(*IRIS) for make in (MLPClassifier, theirs.MLPClassifier))
    assert ours.n_iter_ == other.n_iter_ < 300
    assert ours.network_.learning_rate <= 1e-6


def test_a_batch_is_200_rows_unless_one_asks():
    curves = [MLPClassifier(**SMALL, batch_size=size).fit(*CANCER).loss_curve_ for size in ("auto", 200, 100)]
    assert curves[0] == curves[1] != curves[2]


def test_a_named_schedule_ends_with_the_last_step():
    model = MLPClassifier(**SMALL, learning_rate="cosine_decay", batch_size=100).fit(*CANCER)
    assert model.network_.progress.optimizer.learning_rate.steps == 4 * 6  # 569 rows: five batches and one of 69


@pytest.mark.parametrize("activation", ["logistic", "sigmoid", ["logistic"], "tanh", np.asarray(["tanh"])])
def test_first_weights_lie_within_glorots_bound(activation):
    options = {"solver": "sgd", "learning_rate_init": 1e-300, "max_iter": 1, "random_state": 0}
    model = MLPClassifier((200,), activation, **options).fit(*CANCER)
    bound = np.sqrt((2.0 if "tanh" not in activation else 6.0) / (30 + 200))
    for values in (model.coefs_[0], model.intercepts_[0]):
        assert 0.95 * bound < np.abs(values).max() <= bound
