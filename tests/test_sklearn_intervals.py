"""Standard deviations follow the law of total variance, and intervals hold as often as they say."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

import scipy.sparse
from scipy.stats import norm

import xpnn
from tests.sklearn_problems import DIABETES, NUMBERS, TWO
from xpnn.losses import GaussianNLL, Quantile
from xpnn.sklearn import MLPClassifier, MLPRegressor, intervals, tables
from xpnn.sklearn.intervals import Band, Forecast

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:members .* diverged:RuntimeWarning"),
]

OPTIONS = {"hidden_layer_sizes": (5,), "batch_size": 50, "max_iter": 4, "random_state": 0}
QUANTILES = Quantile((0.05, 0.5, 0.95))
HEADS = {
    "quantiles": {"loss": QUANTILES},
    "quantiles, several": {"loss": QUANTILES, "ensemble": 3},
    "gaussian": {"loss": "gaussian_nll"},
    "gaussian, several": {"loss": "gaussian_nll", "ensemble": 3},
    "spread": {"ensemble": 3},
    "nothing": {},
    "poisson": {"loss": "poisson", "ensemble": 3},
}


def outputs(model, x):
    """What each member gives, (members, n, outputs)."""
    found = model.network_.predict(x)
    return found if found.ndim == 3 else found[None]


def noisy(rows, seed, dtype=np.float64):
    """A curve with noise that grows with the first feature."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.0, 1.0, (rows, 2))
    y = np.sin(3.0 * x[:, 0]) + (0.1 + 0.4 * (x[:, 0] > 0.0)) * rng.standard_t(4, size=rows)
    return x.astype(dtype), y.astype(dtype)


# The standard deviation


def test_a_gaussian_ensembles_variance_is_that_of_the_members_mixture():
    x, y = NUMBERS
    model = MLPRegressor(loss=GaussianNLL(eps=0.01), ensemble=4, **OPTIONS).fit(x, y)
    means, logs = np.moveaxis(outputs(model, x), -1, 0)
    variances = np.exp(logs) + 0.01
    mean, std = model.predict(x, return_std=True)
    assert np.allclose(mean, means.mean(axis=0))
    assert np.allclose(std**2, variances.mean(axis=0) + means.var(axis=0))
    second = (variances + means**2).mean(axis=0)  # the same by moments
    assert np.allclose(std**2, second - mean**2)
    assert (model.predict(x) == mean).all()


def test_a_lone_gaussian_head_gives_its_own_standard_deviation():
    x, y = TWO
    model = MLPRegressor(loss="gaussian_nll", **OPTIONS).fit(x, y)
    found = outputs(model, x)[0]
    mean, std = model.predict(x, return_std=True)
    assert (mean == found[:, :2]).all()
    assert np.allclose(std**2, np.exp(found[:, 2:]) + 1e-6)


def test_members_without_such_a_head_give_their_spread():
    x, y = TWO
    plain = MLPRegressor(ensemble=4, **OPTIONS).fit(x, y)
    mean, std = plain.predict(x, return_std=True)
    assert np.allclose(mean, outputs(plain, x).mean(axis=0))
    assert np.allclose(std, outputs(plain, x).std(axis=0))
    medians = MLPRegressor(loss=QUANTILES, ensemble=4, **OPTIONS).fit(x, y)
    mean, std = medians.predict(x, return_std=True)
    assert np.allclose(mean, outputs(medians, x)[..., 2:4].mean(axis=0))
    assert np.allclose(std, outputs(medians, x)[..., 2:4].std(axis=0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_boundless_log_variance_is_a_large_number_and_no_warning(dtype):
    given = np.asarray([[[0.0, 1e4], [0.0, -1e4]], [[1.0, 1e4], [1.0, -1e4]]], dtype=dtype)
    centre, std = intervals.forecast(GaussianNLL(), given, xp=np)
    assert std.dtype == centre.dtype == dtype
    assert np.isfinite(std).all()
    assert std[0, 0] > 1e13
    assert std[1, 0] == pytest.approx(np.sqrt(1e-6 + 0.25), rel=1e-5)


# Intervals as the head states them


@pytest.mark.parametrize("ensemble", [None, 3])
@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_a_gaussian_interval_is_so_many_standard_deviations(ensemble, coverage):
    x, y = NUMBERS
    model = MLPRegressor(loss="gaussian_nll", ensemble=ensemble, **OPTIONS).fit(x, y)
    mean, std = model.predict(x, return_std=True)
    low, high = model.predict_interval(x, coverage).T
    assert np.allclose(norm.cdf(high, mean, std) - norm.cdf(low, mean, std), coverage)
    assert np.allclose((low + high) / 2, mean)


def test_a_quantile_interval_lies_between_the_quantiles():
    x, y = NUMBERS
    lone = MLPRegressor(loss=QUANTILES, **OPTIONS).fit(x, y)
    found = lone.predict_interval(x, 0.9)
    assert found.shape == (len(x), 2)
    assert (found == np.sort(outputs(lone, x)[0][:, [0, 2]], axis=1)).all()
    several = MLPRegressor(loss=QUANTILES, ensemble=4, **OPTIONS).fit(x, y)
    each = outputs(several, x)
    a, b, spread_a, spread_b = (*each[..., [0, 2]].mean(axis=0).T, *each[..., [0, 2]].std(axis=0).T)
    middle, z = (a + b) / 2, norm.ppf(0.95)
    low, high = several.predict_interval(x).T
    assert np.allclose(low, middle - np.sqrt((b - a) ** 2 / 4 + z**2 * spread_a**2))
    assert np.allclose(high, middle + np.sqrt((b - a) ** 2 / 4 + z**2 * spread_b**2))


def test_members_that_agree_leave_a_gaussian_shaped_quantile_interval_as_it_is():
    """Where the heads are right and the members differ by normal errors, the interval is that of the sum of both."""
    z, own, between = norm.ppf(0.95), 2.0, 1.5
    found = Forecast(np.asarray([[-z * own, z * own]]), np.asarray([[between, between]]))
    low, high, _ = intervals.band(Quantile((0.05, 0.95)), found, 0.9, xp=np)
    assert high == pytest.approx(z * np.hypot(own, between))
    assert low == pytest.approx(-z * np.hypot(own, between))


def test_several_outputs_have_an_interval_each():
    x, y = TWO
    for options in HEADS.values():
        model = MLPRegressor(calibration_fraction=0.3, **(OPTIONS | options)).fit(x, np.abs(y))
        found = model.predict_interval(x, 0.9)
        assert found.shape == (len(x), 2, 2)
        assert (found[..., 0] <= found[..., 1]).all()


# Calibration


def test_the_conformal_quantile_by_hand():
    scores = np.asarray([[5, 1, 3, 2, 4, 7, 6, 8, 9], [1, 1, 9, 1, 2, 0, 8, 3, 4]], dtype=np.float64).T
    assert intervals.conformal(scores, 0.9).tolist() == [9.0, 9.0]  # the 9th of 9
    assert intervals.conformal(scores, 0.8).tolist() == [8.0, 8.0]
    assert intervals.conformal(scores, 0.71).tolist() == [8.0, 8.0]  # 7.1 counts as 8
    assert intervals.conformal(scores, 0.05).tolist() == [1.0, 0.0]
    hundred = np.arange(1.0, 100.0)[:, None]
    for percent in range(1, 100):  # (n + 1) coverage is a whole number, which rounding must not make one more
        assert intervals.conformal(hundred, percent / 100) == percent
    with pytest.raises(ValueError, match=r"coverage=0.91 takes at least 11 rows .* and 9 were held out"):
        intervals.conformal(scores, 0.91)
    assert intervals.conformal(np.arange(11.0)[:, None], 0.91) == 10.0
    for count in range(1, 60):  # the number that it names is the least that will do
        with pytest.raises(ValueError, match=f"takes at least {count + 1} rows"):
            intervals.conformal(np.zeros((count, 1)), (count + 1) / (count + 2))
        intervals.conformal(np.zeros((count + 1, 1)), (count + 1) / (count + 2))


def test_a_new_score_is_below_it_as_often_as_stated():
    draws = np.random.default_rng(0).exponential(size=(20_000, 20))
    bounds = np.asarray([intervals.conformal(row[:19, None], 0.8)[0] for row in draws])
    assert np.mean(draws[:, 19] <= bounds) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("coverage", [0.2, 0.9])
def test_a_calibrated_interval_by_hand(head, coverage):
    x, y = DIABETES[0], np.abs(NUMBERS[1])
    model = MLPRegressor(calibration_fraction=0.25, **(OPTIONS | HEADS[head])).fit(x, y)
    train, held = tables.split(len(x), 0.25, model.network_.seeds[0])
    assert len(held) == int(np.ceil(len(x) * 0.25))
    assert len(np.union1d(train, held)) == len(x)
    assert model.t_ == 4 * len(train)

    def interval(rows):
        """The interval before calibration, and its unit."""
        each = outputs(model, rows)
        if "quantiles" in head:
            columns = [0, 2] if coverage == 0.9 else [1, 1]
            (a, b), (s, t) = (part[..., columns].T for part in (each.mean(axis=0), each.std(axis=0)))
            z = norm.ppf((1 + coverage) / 2)
            middle, half = (a + b) / 2, (b - a) / 2
            return middle - np.hypot(half, z * s), middle + np.hypot(half, z * t), 1.0
        mean = model.predict(rows)
        if head == "nothing":
            return mean, mean, 1.0
        std = model.predict(rows, return_std=True)[1]
        noise = 0.0 if "gaussian" in head else np.sqrt(np.mean((model.predict(x[train]) - y[train]) ** 2))
        return mean, mean, np.hypot(std, noise)

    low, high, unit = interval(x[held])
    scores = np.sort(np.maximum(low - y[held], y[held] - high) / unit)
    shift = scores[int(np.ceil((len(held) + 1) * coverage)) - 1]
    low, high, unit = interval(x)
    low, high = low - shift * unit, high + shift * unit
    found = model.predict_interval(x, coverage)
    crossed = low > high
    assert np.allclose(found[~crossed], np.stack([low, high], axis=-1)[~crossed])
    assert (found[crossed][:, 0] == found[crossed][:, 1]).all()
    inside = (found[held, 0] <= y[held] + 1e-9) & (y[held] <= found[held, 1] + 1e-9)  # one lies on the bound
    assert np.mean(inside) >= coverage


def test_bounds_that_would_cross_meet_between():
    given = Band(np.asarray([[0.0], [0.0]]), np.asarray([[1.0], [10.0]]), None)
    low, high = intervals.calibrated(given, np.asarray([-2.0]), xp=np)
    assert np.concatenate([low, high], axis=1).tolist() == [[0.5, 0.5], [2.0, 8.0]]


def test_members_that_agree_to_the_bit_are_no_division_by_zero():
    nothing = Band(np.asarray([[1.0]]), np.asarray([[1.0]]), np.asarray([[0.0]]))
    score = intervals.scores(nothing, np.asarray([[3.0]]))
    assert np.isfinite(score).all()
    low, high = intervals.calibrated(nothing, score[0], xp=np)
    assert (low[0, 0], high[0, 0]) == pytest.approx((-1.0, 3.0))


def test_members_that_disagree_widen_the_interval():
    x, y = noisy(1000, 0)
    model = MLPRegressor((16,), ensemble=8, calibration_fraction=0.3, max_iter=40, random_state=0).fit(x, y)
    seen, far = np.diff(model.predict_interval(x)).mean(), np.diff(model.predict_interval([[30.0, -30.0]]))[0, 0]
    assert far > 2.0 * seen


@pytest.mark.parametrize("head", [head for head in HEADS if head != "poisson"])
def test_the_stated_coverage_holds_on_rows_not_seen(head):
    x, y = noisy(3000, 0)
    options = {"hidden_layer_sizes": (16,), "max_iter": 15, "random_state": 0, "learning_rate_init": 0.01}
    model = MLPRegressor(calibration_fraction=0.3, **(options | HEADS[head])).fit(x, y)
    x, y = noisy(20_000, 1)
    for coverage in (0.3, 0.5, 0.8, 0.9, 0.95):
        low, high = model.predict_interval(x, coverage).T
        assert np.mean((low <= y) & (y <= high)) == pytest.approx(coverage, abs=0.04)


def test_a_model_that_is_wrong_is_corrected():
    """Uncalibrated, one that stopped far too soon holds much less or more than it states."""
    x, y = noisy(2000, 0)
    test, truth = noisy(20_000, 1)
    options = {"loss": QUANTILES, "hidden_layer_sizes": (4,), "max_iter": 1, "random_state": 0}
    inside = []
    for fraction in (0.0, 0.3):
        low, high = MLPRegressor(calibration_fraction=fraction, **options).fit(x, y).predict_interval(test).T
        inside.append(np.mean((low <= truth) & (truth <= high)))
    assert abs(inside[0] - 0.9) > 0.2
    assert inside[1] == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("head", ["quantiles, several", "gaussian", "nothing"])
def test_calibration_is_lost_where_training_goes_on_without_it(head):
    x, y = NUMBERS
    model = MLPRegressor(calibration_fraction=0.25, **(OPTIONS | HEADS[head])).fit(x, y)
    before = model.predict_interval(x)
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_interval(x) == before).all()
    with pytest.raises(ValueError, match="partial_fit does not support calibration_fraction > 0"):
        model.partial_fit(x, y)
    assert (model.predict_interval(x) == before).all()
    model.set_params(calibration_fraction=0.0).partial_fit(x, y)
    assert model._calibration is None


def test_tables_of_every_kind_can_be_calibrated_by():
    pandas = pytest.importorskip("pandas")
    x, y = np.where(np.abs(DIABETES[0]) > 1.0, DIABETES[0], 0.0), NUMBERS[1]
    frame = pandas.DataFrame(x, columns=[f"feature {k}" for k in range(x.shape[1])])
    options = OPTIONS | {"calibration_fraction": 0.25, "loss": QUANTILES, "ensemble": 2}
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(x))
    for more in ({}, {"early_stopping": True}, {"early_stopping": True, "scoring": "r2"}):
        found = [
            MLPRegressor(**options, **more).fit(rows, labels, weight).predict_interval(rows)
            for rows, labels in ((x, y), (frame, y), (scipy.sparse.csr_matrix(x), y), (x.tolist(), y.tolist()))
        ]
        assert all(np.allclose(one, found[0]) for one in found)


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("head", HEADS)
def test_intervals_are_in_the_library_of_x(head, library):
    xp = pytest.importorskip(library)
    x, y = DIABETES[0].astype(np.float32), np.abs(NUMBERS[1]).astype(np.float32)
    model = MLPRegressor(calibration_fraction=0.25, **(OPTIONS | HEADS[head]))
    expected = model.fit(x, y).predict_interval(x)
    like, target = xp.asarray(x), xp.asarray(y)
    found = model.fit(like, target).predict_interval(like)
    assert type(found) is type(like)
    assert np.allclose(np.asarray(found), expected, atol=1e-2, rtol=1e-2)


def test_lbfgs_can_be_calibrated():
    x, y = noisy(600, 0)
    options = {"loss": "gaussian_nll", "calibration_fraction": 0.3, "random_state": 0, "max_iter": 50}
    model = MLPRegressor((8,), solver="lbfgs", **options)
    low, high = model.fit(x, y).predict_interval(x, 0.8).T
    assert np.mean((low <= y) & (y <= high)) == pytest.approx(0.8, abs=0.08)


def test_the_comparison_by_its_command():
    root = Path(__file__).parent.parent
    few = ["--splits", "2", "--epochs", "3", "--ensemble", "2", "--only", "diabetes", "abalone"]
    command = [sys.executable, "-W", "error", "-m", "tests.benchmarks.coverage", *few]
    inherited = {name: value for name, value in os.environ.items() if name != "XPNN_DATA"}
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=inherited, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    for head in ("quantiles", "quantiles of 0.5", "gaussian", "spread"):
        for wanted in (90, 80):
            found = re.search(rf"\| diabetes \| {head} \| {wanted}% \| (\S+)%", done.stdout)
            assert found and float(found[1]) == pytest.approx(wanted, abs=10.0)
    assert "abalone is left out: name the folder that holds abalone.csv" in done.stdout


# What cannot be


def test_what_gives_neither_a_standard_deviation_nor_an_interval():
    x, y = NUMBERS
    plain = MLPRegressor(**OPTIONS).fit(x, y)
    with pytest.raises(ValueError, match=r"return_std=True takes .* ensemble=16, .* loss='gaussian_nll'"):
        plain.predict(x, return_std=True)
    for model in (plain, MLPRegressor(ensemble=2, **OPTIONS).fit(x, y)):
        with pytest.raises(ValueError, match=r"calibration_fraction=0.2.*Quantile\(\(0.05, 0.95\)\) for coverage=0.9"):
            model.predict_interval(x)
    quantiles = MLPRegressor(loss=QUANTILES, **OPTIONS).fit(x, y)
    with pytest.raises(ValueError, match=r"levels 0.1 and 0.9, .* has 0.05, 0.5, 0.95: .*calibration_fraction"):
        quantiles.predict_interval(x, 0.8)
    few = MLPRegressor(calibration_fraction=0.02, **OPTIONS).fit(x, y)
    with pytest.raises(ValueError, match=r"coverage=0.95 takes at least 19 rows .* and 9 were held out"):
        few.predict_interval(x, 0.95)


def test_bad_input():
    x, y = NUMBERS
    model = MLPRegressor(loss="gaussian_nll", **OPTIONS).fit(x, y)
    for wrong in (1.2, 0.0, 1.0, -0.5, float("nan")):
        with pytest.raises(ValueError, match="coverage must be"):
            model.predict_interval(x, wrong)
    with pytest.raises(TypeError, match="coverage must be"):
        model.predict_interval(x, "most")
    for wrong in (1.0, -0.1, None):
        with pytest.raises(ValueError, match="The 'calibration_fraction' parameter of MLPRegressor must be"):
            MLPRegressor(calibration_fraction=wrong).fit(x, y)
    with pytest.raises(ValueError, match=r"calibration_fraction=0.9 leaves nothing to train on of n_samples=3"):
        MLPRegressor(calibration_fraction=0.9).fit(x[:3], y[:3])
    assert "calibration_fraction" not in MLPClassifier().get_params()
    with pytest.raises(xpnn.sklearn.base.sklearn.exceptions.NotFittedError):
        MLPRegressor(loss="gaussian_nll").predict_interval(x)
