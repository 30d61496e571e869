"""An ensemble is the average of the estimators that its seeds would give alone, trained as one."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

import xpnn.sklearn
from tests.sklearn_problems import CANCER, IRIS, NUMBERS, PROBLEMS
from xpnn.sklearn import MLPClassifier, MLPRegressor, ensemble

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

OPTIONS = {"hidden_layer_sizes": (5,), "batch_size": 50, "max_iter": 4, "random_state": 0}
MORE = {
    "one against all": ("MLPClassifier", IRIS, {"loss": "focal"}),
    "hinge": ("MLPClassifier", CANCER, {"loss": "hinge"}),
    "quantiles": ("MLPRegressor", NUMBERS, {"loss": xpnn.Quantile((0.1, 0.5, 0.9))}),
    "gaussian": ("MLPRegressor", NUMBERS, {"loss": "gaussian_nll"}),
}


class Seed(np.random.RandomState):
    """A random state whose next integer is this one."""

    def __init__(self, number):
        super().__init__(0)
        self.number = number

    def randint(self, *args, **options):
        return self.number


def made(problem, **options):
    """An estimator for the problem, and its rows."""
    name, rows, own = (PROBLEMS | MORE)[problem]
    return getattr(xpnn.sklearn, name)(**(OPTIONS | own | options)), *rows


def alone(problem, count, rows=None, **options):
    """Estimators of one network each, with the seeds of an ensemble's members, fitted on their rows."""
    found = []
    for k in range(count):
        model, x, y = made(problem, **(options | {"random_state": Seed(7 + k)}))
        chosen = slice(None) if rows is None else rows[k]
        found.append(model.fit(x[chosen], y[chosen]))
    return found


@pytest.mark.parametrize("problem", [*PROBLEMS, *MORE])
def test_an_ensemble_is_the_mean_of_what_its_seeds_give_alone(problem):
    model, x, y = made(problem, ensemble=16, random_state=Seed(7))
    model.fit(x, y)
    lone = alone(problem, 16)
    assert model.network_.seed == [7 + k for k in range(16)] == [one.network_.seed for one in lone]
    for name in ("coefs_", "intercepts_"):
        for i, stacked in enumerate(getattr(model, name)):
            assert np.allclose(stacked, [getattr(one, name)[i] for one in lone], rtol=1e-9, atol=1e-12)
    assert np.allclose(model.loss_curve_, np.mean([one.loss_curve_ for one in lone], axis=0), rtol=1e-12)
    if not hasattr(model, "predict_proba"):
        if problem == "hinge":
            mean = np.mean([one.network_.predict(x) for one in lone], axis=0)[:, 0]
            assert (model.predict(x) == (mean > 0.0)).all()
        else:
            assert np.allclose(model.predict(x), np.mean([one.predict(x) for one in lone], axis=0), rtol=1e-9)
        return
    each = np.asarray([one.predict_proba(x) for one in lone])
    mean, std = model.predict_proba(x, return_std=True)
    assert np.allclose(mean, each.mean(axis=0), atol=1e-12)
    assert np.allclose(std, each.std(axis=0), atol=1e-12)
    assert std.max() > 0.01
    assert (mean == model.predict_proba(x)).all()
    assert np.allclose(model.predict_log_proba(x), np.log(mean))
    if problem == "multilabel":
        assert (model.predict(x) == (each.mean(axis=0) > 0.5)).all()
    else:
        assert (model.predict(x) == model.classes_[each.mean(axis=0).argmax(axis=-1)]).all()


def test_what_most_probable_is_is_decided_by_the_mean_of_normalized_probabilities():
    """Of outputs that tell each class from all others, a member that is sure of nothing would count for little."""
    model, x, y = made("one against all", ensemble=2)
    model.fit(x, y)
    found = model._comparable(np.asarray([[[0.9, 0.9, 0.9]], [[0.02, 0.01, 0.0]]]), xp=np)
    assert np.allclose(found, [[[1 / 3, 1 / 3, 1 / 3]], [[2 / 3, 1 / 3, 0.0]]])


@pytest.mark.parametrize("problem", ["binary", "regression"])
def test_each_member_has_a_sample_of_its_own(problem):
    model, x, y = made(problem, ensemble=3, bootstrap=True, random_state=Seed(7))
    model.fit(x, y)
    rows = ensemble.resampled([7, 8, 9], len(x))
    lone = alone(problem, 3, rows)
    for i, stacked in enumerate(model.coefs_):
        assert np.allclose(stacked, [one.coefs_[i] for one in lone], rtol=1e-9, atol=1e-12)
    plain = made(problem, ensemble=3, random_state=Seed(7))[0].fit(x, y)
    assert not np.allclose(plain.coefs_[0], model.coefs_[0])
    assert model.t_ == plain.t_ == 4 * len(x)


def test_samples_are_drawn_with_replacement():
    rows = ensemble.resampled(range(20), 500)
    assert rows.shape == (20, 500)
    assert rows.min() >= 0
    assert rows.max() <= 499
    distinct = [len(set(lane)) / 500 for lane in rows.tolist()]
    assert np.mean(distinct) == pytest.approx(1 - np.exp(-1), abs=0.01)
    assert len({tuple(lane) for lane in rows.tolist()}) == 20


def test_samples_of_sparse_rows_with_weights():
    x, y = CANCER
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(x))
    sparse = scipy.sparse.csr_matrix(x)
    one, other = (MLPClassifier(ensemble=2, bootstrap=True, **OPTIONS).fit(rows, y, weight) for rows in (x, sparse))
    assert np.allclose(one.predict_proba(x), other.predict_proba(sparse))


def test_all_members_stop_by_the_mean_of_their_losses():
    options = {"tol": 0.02, "n_iter_no_change": 2, "max_iter": 60, "learning_rate_init": 0.01}
    model, x, y = made("binary", ensemble=4, random_state=Seed(7), **options)
    curve = np.asarray(model.fit(x, y).loss_curve_)
    lone = alone("binary", 4, **options)
    shortest = min(one.n_iter_ for one in lone)
    mean = np.mean([one.loss_curve_[:shortest] for one in lone], axis=0)
    assert np.allclose(curve[:shortest], mean[: len(curve)])
    best, waited = np.inf, []
    for loss in curve:
        waited.append(waited[-1] + 1 if waited and loss > best - 0.02 else 0)
        best = min(best, loss)
    assert waited[-1] == 3 > max(waited[:-1])
    assert model.n_iter_ == len(curve) < 60
    assert model.best_loss_ == best
    assert model.loss_ == curve[-1]


def test_adaptive_rates_of_all_members_fall_together():
    options = {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1, "max_iter": 12}
    model, x, y = made("regression", ensemble=2, learning_rate_init=0.01, **options)
    model.fit(x, y)
    assert model.network_.learning_rate < 0.01


@pytest.mark.parametrize("problem", ["binary", "regression"])
def test_early_stopping_scores_what_the_members_predict_together(problem):
    kept, scores = [], []
    held = []

    def watch(net, epoch, logs):
        kept.append(net.params)
        scores.append(model.score(*held[0]))

    options = {"early_stopping": True, "learning_rate_init": 0.05, "max_iter": 12, "n_iter_no_change": 12}
    model, x, y = made(problem, ensemble=3, callbacks=[watch], validation_fraction=0.3, **options)
    original = type(model)._split

    def spy(self, *args):
        found = original(self, *args)
        held.append(found[3][3:])
        return found

    model._split = spy.__get__(model)
    model.fit(x, y)
    assert np.allclose(model.validation_scores_, scores)
    best = int(np.argmax(scores))
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert best < 11
    assert (model.network_.params[0]["weight"] == kept[best][0]["weight"]).all()
    assert len(model.validation_loss_curve_) == model.n_iter_
    assert model.score(*held[0]) == pytest.approx(max(scores))


def test_own_validation_rows_and_a_scorer():
    x, y = CANCER
    model = MLPClassifier(ensemble=3, scoring="roc_auc", early_stopping=True, **OPTIONS)
    model.fit(x[:400], y[:400], X_val=x[400:], y_val=y[400:])
    assert 0.5 < model.best_validation_score_ <= 1.0


RATES = (0.01, 1e30, 0.02)


def test_a_member_that_diverges_is_left_out_with_a_warning():
    model, x, y = made("regression", ensemble=3, solver=xpnn.SGD(RATES))
    with pytest.warns(ConvergenceWarning, match=r"members \[1\] of the ensemble of 3 diverged.* left out") as told:
        model.fit(x, y)
    assert sum("diverged" in str(one.message) for one in told) == 1  # the network's own warning would say it again
    assert model.diverged_ == [1]
    assert np.isfinite(model.loss_curve_).all()
    assert model.n_iter_ == 4
    each = model.network_.predict(x)[..., 0]
    assert np.allclose(model.predict(x), each[[0, 2]].mean(axis=0))
    _, std = model.predict(x, return_std=True)
    assert np.allclose(std, each[[0, 2]].std(axis=0))
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict(x) == model.predict(x)).all()
    better = made("regression", ensemble=3, solver=xpnn.SGD((0.01, 0.01, 0.02)))[0].fit(x, y)
    assert better.diverged_ == []


def test_a_member_that_diverges_early_is_left_out_of_the_scores_too():
    options = {"early_stopping": True, "max_iter": 6}
    model, x, y = made("regression", ensemble=3, solver=xpnn.SGD(RATES), **options)
    model.fit(x, y)
    assert model.diverged_ == [1]
    assert np.isfinite(model.validation_scores_ + model.validation_loss_curve_).all()
    assert model.validation_scores_[-1] > -1.0
    own = made("regression", ensemble=3, solver=xpnn.SGD(RATES))[0].fit(x[:300], y[:300], X_val=x[300:], y_val=y[300:])
    each = own.network_.evaluate(x[300:], y[300:], own._loss())["loss"]
    assert own.validation_loss_curve_[-1] == pytest.approx(each[[0, 2]].mean())


def test_a_member_that_diverges_after_the_best_epoch_counts_as_it_was_then():
    def rise(net, epoch, logs):
        if epoch == 2:
            net.learning_rate = RATES

    options = {"early_stopping": True, "max_iter": 6, "tol": 10.0, "n_iter_no_change": 10, "callbacks": [rise]}
    model, x, y = made("regression", ensemble=3, solver=xpnn.SGD(0.02), **options)
    model.scoring = lambda estimator, x, y: -float(estimator.n_iter_ > 2)
    model.fit(x, y)
    assert model.n_iter_ == 6
    assert model.diverged_ == []
    assert np.allclose(model.predict(x), model.network_.predict(x)[..., 0].mean(axis=0))


def test_where_all_members_diverge_there_is_no_estimator():
    model, x, y = made("regression", ensemble=2, solver=xpnn.SGD(1e30))
    with pytest.raises(ValueError, match=r"non-finite parameter weights.* all 2 members"):
        model.fit(x, y)
    assert np.isfinite(model.predict(x)).all()  # by the network that it began with

    def rise(net, epoch, logs):
        if epoch == 2:
            net.learning_rate = 1e30

    stopped, x, y = made("regression", ensemble=2, solver=xpnn.SGD(0.01), early_stopping=True, callbacks=[rise])
    with pytest.warns(ConvergenceWarning, match="Stopped early: training went non-finite in all 2 members"):
        stopped.fit(x, y)
    assert stopped.n_iter_ == 3
    assert stopped.diverged_ == []
    assert np.isnan(stopped.validation_scores_[-1])
    assert np.isfinite(stopped.predict(x)).all()


@pytest.mark.parametrize("problem", ["multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("bootstrap", [False, True])
def test_ten_and_ten_are_twenty(problem, bootstrap):
    options = {"ensemble": 2, "bootstrap": bootstrap, "random_state": 1}
    whole, x, y = made(problem, **(options | {"max_iter": 20}))
    whole.fit(x, y)
    warm = made(problem, warm_start=True, **(options | {"max_iter": 10}))[0].fit(x, y).fit(x, y)
    parts = made(problem, **options)[0]
    more = {"classes": np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)} if problem != "regression" else {}
    for _ in range(20):
        parts.partial_fit(x, y, **more)
    for other in (warm, parts):
        assert other.loss_curve_ == whole.loss_curve_
        assert all((a == b).all() for a, b in zip(other.coefs_, whole.coefs_, strict=True))


WEIGHTS = "a row that is there twice is drawn otherwise than one of weight 2"


def unmet(estimator):
    """The checks that cannot hold where rows are drawn, and why."""
    found = {}
    if estimator.bootstrap or getattr(estimator, "calibration_fraction", 0.0):
        for kind in ("dense", "sparse"):
            found[f"check_sample_weight_equivalence_on_{kind}_data"] = WEIGHTS
    if getattr(estimator, "calibration_fraction", 0.0):
        for check in ("fit_score_takes_y", "n_features_in_after_fitting", "estimators_partial_fit_n_features"):
            found[f"check_{check}"] = "calls partial_fit, which refuses calibration_fraction"
    return found


@parametrize_with_checks(
    [
        MLPClassifier(ensemble=2, max_iter=100),
        MLPRegressor(ensemble=2, bootstrap=True, max_iter=100),
        MLPRegressor(calibration_fraction=0.2, max_iter=100),
    ],
    expected_failed_checks=unmet,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_copies(tmp_path):
    io = pytest.importorskip("skops.io")
    x, y = CANCER
    model = MLPClassifier(ensemble=3, **OPTIONS).fit(x, y)
    again = clone(model)
    assert again.get_params() == model.get_params()
    assert not hasattr(again, "network_")
    assert (again.fit(x, y).predict_proba(x) == model.predict_proba(x)).all()
    blob = io.dumps(model)
    back = io.loads(blob, trusted=io.get_untrusted_types(data=blob))
    for copy in (pickle.loads(pickle.dumps(model)), back):
        assert (copy.predict_proba(x) == model.predict_proba(x)).all()
        copy.set_params(warm_start=True).fit(x, y)


def test_coefficients_can_be_assigned():
    x, y = NUMBERS
    model = MLPRegressor(ensemble=3, **OPTIONS).fit(x, y)
    assert [a.shape for a in model.coefs_] == [(3, x.shape[1], 5), (3, 5, 1)]
    assert [a.shape for a in model.intercepts_] == [(3, 5), (3, 1)]
    model.coefs_ = [0.0 * a for a in model.coefs_]
    assert np.allclose(model.predict(x), model.intercepts_[1].mean())


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_what_is_given_decides_where_it_is_computed(library):
    xp = pytest.importorskip(library)
    x, y = CANCER
    like = xp.asarray(x, dtype=xp.float32)
    model = MLPClassifier(ensemble=2, **OPTIONS).fit(like, y)
    found = model.predict_proba(like, return_std=True)
    assert [type(part) for part in found] == [type(like)] * 2
    assert [tuple(part.shape) for part in found] == [(len(x), 2)] * 2
    plain = MLPClassifier(ensemble=2, **OPTIONS).fit(x.astype(np.float32), y)
    assert np.allclose(np.asarray(found[0]), plain.predict_proba(x.astype(np.float32)), atol=1e-3)
    numbers = MLPRegressor(ensemble=2, **OPTIONS).fit(like, y.astype(np.float32))
    assert [type(part) for part in numbers.predict(like, return_std=True)] == [type(like)] * 2


def test_what_cannot_be():
    x, y = CANCER
    for wrong in (0, -3, 2.5, "many"):
        with pytest.raises(ValueError, match="The 'ensemble' parameter of MLPClassifier must be"):
            MLPClassifier(ensemble=wrong).fit(x, y)
    with pytest.raises(ValueError, match=r"solver='lbfgs' .* ensemble=4"):
        MLPClassifier(ensemble=4, solver="lbfgs").fit(x, y)
    with pytest.raises(ValueError, match="bootstrap=True draws rows for each member of an ensemble"):
        MLPRegressor(bootstrap=True).fit(x, y)
    with pytest.raises(ValueError, match="return_std=True is the spread between the members of an ensemble"):
        MLPClassifier(**OPTIONS).fit(x, y).predict_proba(x, return_std=True)
    warm = MLPClassifier(ensemble=2, warm_start=True, **OPTIONS).fit(x, y).set_params(ensemble=3)
    with pytest.raises(ValueError, match="ensemble was 2 when the network was built and is 3 now"):
        warm.fit(x, y)


def test_one_member_is_the_estimator_without_an_ensemble():
    one, x, y = made("binary", ensemble=1)
    none = made("binary")[0].fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert np.allclose(one.fit(x, y).predict_proba(x), none.predict_proba(x), atol=1e-12)
    assert (one.predict_proba(x, return_std=True)[1] == 0.0).all()
