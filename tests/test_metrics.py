"""Each metric: scikit-learn's number on every backend, with weights, members, ties, and where nothing can be said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

import sklearn.metrics as theirs

from tests.metric_cases import EVERY, NUMPY, TABLE, Case, case, given_to, measured
from tests.test_no_sync import blind  # noqa: F401
from xpnn import metrics
from xpnn.backend import resolve
from xpnn.metrics import Recall, RocAuc
from xpnn.testing import assert_close

WEIGHTS = [
    None,
    lambda rng, drawn: drawn,
    lambda rng, drawn: rng.uniform(0.1, 3.0, size=drawn.shape),
    lambda rng, drawn: np.full(drawn.shape, 0.125),
]


@EVERY
def test_scikit_learns_number_on_every_backend(metric, kind, score, backend):
    drawn = case(kind)
    exact = {"rtol": 1e-12, "atol": 1e-12} if backend.dtype == "float64" else {"rtol": 1e-5, "atol": 1e-6}
    for weight in (None, drawn.weight):
        found = measured(metric, kind, drawn, weight, backend)
        expected = score(drawn.seen.astype(backend.dtype), drawn.target, weight)
        assert_close(found, backend.asarray(expected), **exact)


@EVERY
@given(seed=st.integers(0, 10**6), rows=st.integers(4, 40), weights=st.sampled_from(WEIGHTS))
@settings(max_examples=25)
def test_scikit_learns_number_whatever_the_data(metric, kind, score, seed, rows, weights):
    drawn = case(kind, rows, seed)
    weight = None if weights is None else weights(np.random.default_rng(seed), drawn.weight)
    found = measured(metric, kind, drawn, weight, NUMPY)
    np.testing.assert_allclose(found, score(drawn.seen, drawn.target, weight), rtol=1e-12, atol=1e-12)


@EVERY
def test_lane_k_of_a_stack_has_its_own_value(metric, kind, score):
    backend = resolve("array-api-strict:device1", "float64")
    stack, own = case(kind, members=3), [case(kind, seed=seed) for seed in range(3)]
    for targets in (stack.target, np.stack([one.target for one in own])):
        for weights in (None, stack.weight, np.stack([one.weight for one in own])):
            found = backend.to_host(measured(metric, kind, stack._replace(target=targets), weights, backend))
            assert found.shape == (3,)
            for k in range(3):
                target = targets[k] if targets.ndim > stack.target.ndim else targets
                weight = weights[k] if weights is not None and weights.ndim == 2 else weights
                alone = Case(stack.seen[k], target, stack.weight)
                expected = backend.to_host(measured(metric, kind, alone, weight, backend))
                np.testing.assert_allclose(found[k], expected, rtol=1e-14)


@EVERY
def test_it_waits_for_nothing(metric, kind, score, request):
    prediction, target = given_to(metric, kind, case(kind, members=2))
    backend = resolve("array-api-strict:device1", "float64")
    prediction, weight = backend.asarray(prediction), backend.asarray(case(kind).weight)
    target = backend.asarray(target, dtype=None if target.dtype.kind == "i" else "float")
    more = {"multilabel": True} if kind == "labels" else {}
    request.getfixturevalue("blind")
    assert metric(prediction, target, xp=backend.xp, weight=weight, **more).shape == (2,)


@pytest.mark.parametrize(
    "metric", [metrics.precision, metrics.balanced_accuracy, metrics.roc_auc, metrics.average_precision, metrics.r2]
)
def test_many_equal_weights_add_up_in_float32(metric):
    rng = np.random.default_rng(0)
    truth, weight = rng.integers(0, 2, size=300_000), np.full(300_000, 0.1)
    score = rng.normal(size=300_000) + 2.0 * truth
    seen = np.stack([-score, score + rng.normal(size=300_000)], axis=1)
    seen = np.eye(2)[seen.argmax(1)] if metric.needs == "one_hot" else seen
    target = np.eye(2)[truth]
    expected = metric(seen, target, xp=np, weight=weight)
    found = metric(*(one.astype(np.float32) for one in (seen, target)), xp=np, weight=weight.astype(np.float32))
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, rel=2e-5)


ONES = np.ones(3, dtype=int)
THREE = np.asarray([[0.1, 0.9], [0.6, 0.4], [0.3, 0.7]])
SAID = np.eye(2)[[1, 0, 1]]


def test_one_class_alone_has_no_area():
    for target in (ONES, 0 * ONES):
        assert np.isnan(metrics.roc_auc(THREE, target))
    assert np.isnan(metrics.roc_auc(THREE, [0, 1, 1], weight=[0.0, 1.0, 1.0]))
    assert np.isnan(RocAuc("ovo")(np.eye(3), [0, 1, 1]))
    assert np.isnan(metrics.roc_auc(np.eye(3), [0, 1, 1]))
    assert RocAuc(average="weighted")(np.eye(3), [0, 1, 1]) == pytest.approx(5.0 / 6.0)  # as in scikit-learn
    assert metrics.average_precision(THREE, 0 * ONES) == 0.0
    assert metrics.average_precision(THREE, ONES) == 1.0


def test_nothing_said_or_nothing_there_is_nought():
    none = np.eye(2)[[0, 0, 0]]
    for metric in (metrics.precision, metrics.recall, metrics.f1, metrics.matthews_corrcoef):
        assert metric(none, ONES) == 0.0
    assert metrics.recall(SAID, 0 * ONES) == 0.0
    assert Recall("weighted")(SAID, ONES, weight=np.zeros(3)) == 0.0
    assert metrics.balanced_accuracy(none, 0 * ONES) == 1.0


@EVERY
def test_no_weight_at_all_gives_nought_and_no_area(metric, kind, score):
    found = measured(metric, kind, case(kind), np.zeros(30), NUMPY)
    undefined = isinstance(metric, RocAuc) and (metric.average != "weighted" or kind == "two")
    assert np.isnan(found) if undefined else found == 0.0


def test_a_constant_target_explains_nothing():
    constant = np.full((7, 1), 0.1)
    assert metrics.r2(constant, constant) == 1.0
    assert metrics.r2(constant + 1e-3, constant) == 0.0
    assert metrics.r2(constant + 1e-3, constant, weight=np.linspace(0.1, 0.9, 7)) == 0.0
    assert np.isnan(metrics.r2([[1.0]], [[2.0]]))


def test_equal_weights_give_the_plain_median():
    error = np.arange(10.0)[:, None]
    for factor in (0.1, 1.0 / 3.0, 7.7):
        assert metrics.median_absolute_error(error, 0.0 * error, weight=np.full(10, factor)) == 4.5


def test_a_probability_of_nought_costs_no_infinity():
    wrong = np.asarray([[1.0, 0.0]])
    assert metrics.log_loss(wrong, [1]) == pytest.approx(theirs.log_loss([1], wrong, labels=[0, 1]))


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "top_k_accuracy", "median_absolute_error"])
def test_what_is_unknown_has_no_rank(name, backend):
    seen = [[0.9, 0.1], [0.6, np.nan], [0.3, 0.7]]
    target = [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]] if name == "median_absolute_error" else [0, 0, 1]
    assert np.isnan(float(metrics.get(name)(backend.asarray(seen), target)))
    stack = metrics.get(name)(backend.asarray([seen, np.nan_to_num(seen)]), target)
    np.testing.assert_array_equal(np.isnan(backend.to_host(stack)), [True, False])


def perfect(metric, kind, case):
    """The case with predictions that are all right, and as sure as can be."""
    seen = case.target if case.target.ndim == 2 else np.eye(case.seen.shape[-1])[case.target]
    return case._replace(seen=seen)


SCORES_UP_TO_ONE = [(metric, kind) for metric, kind, _ in TABLE if metric.greater_is_better]


@pytest.mark.parametrize(("metric", "kind"), SCORES_UP_TO_ONE, ids=[f"{m.name}-{k}" for m, k in SCORES_UP_TO_ONE])
@pytest.mark.parametrize("place", ["numpy", "torch", "jax"])
def test_no_weights_make_a_score_better_than_perfect(metric, kind, place):
    backend = resolve(place, "float32")
    for seed in range(40 if place == "numpy" else 4):
        drawn = perfect(metric, kind, case(kind, rows=61, seed=seed))
        weight = np.random.default_rng(seed).uniform(0.1, 3.0, size=len(drawn.weight))
        found = float(backend.to_host(measured(metric, kind, drawn, weight, backend)))
        assert 1.0 - 1e-6 < found <= 1.0


def test_large_weights_do_not_overflow():
    seen, weight = np.asarray([[1e15], [2e15]], dtype=np.float32), np.asarray([1e30, 3e30], dtype=np.float32)
    assert metrics.mean_squared_error(seen, 0.0 * seen, weight=weight) == pytest.approx(3.25e30)
    assert metrics.root_mean_squared_error(seen, 0.0 * seen, weight=weight) == pytest.approx(3.25**0.5 * 1e15)
