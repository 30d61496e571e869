"""Each metric: scikit-learn's number on every backend, with weights, members, ties, and for every kind of network."""

import functools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnn
from tests.test_no_sync import blind  # noqa: F401
from xpnn import evaluation, inputs, metrics, mlp
from xpnn.backend import resolve
from xpnn.metrics import AveragePrecision, FBeta, Metric, Pinball, Precision, Recall, RocAuc, TopK
from xpnn.testing import assert_close

theirs = pytest.importorskip("sklearn.metrics")


class Case(NamedTuple):
    """Predictions and targets of one kind, with many ties; `seen` is the prediction as class columns or numbers."""

    seen: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def case(kind, rows=30, seed=0, members=None):
    rng = np.random.default_rng(seed)
    lead = (rows,) if members is None else (members, rows)
    weight = rng.choice([0.0, 0.5, 1.0, 2.75], size=rows)
    weight[:4] = 1.0, 0.25, 2.0, 0.75  # each class has some
    if kind == "numbers":
        target = rng.integers(-3, 4, size=(rows, 2)) * 0.7
        target[:2] = [[0.0, 0.7], [2.1, -1.4]]
        return Case(rng.integers(-3, 4, size=(*lead, 2)) * 0.7, target, weight)
    if kind == "labels":
        target = rng.integers(0, 2, size=(rows, 3)).astype(float)
        target[:2] = [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
        return Case(rng.integers(0, 9, size=(*lead, 3)) / 8.0, target, weight)
    classes = {"two": 2, "four": 4}[kind]
    target = rng.integers(0, classes, size=rows)
    target[:classes] = range(classes)
    return Case(rng.multinomial(8, [1.0 / classes] * classes, size=lead) / 8.0, target, weight)


def given_to(metric, kind, case):
    """Prediction and target in the form that the metric declares."""
    seen, target = case.seen, case.target
    if kind == "labels" and metric.needs == "one_hot":
        return (seen > 0.5).astype(float), target
    if metric.needs == "one_hot":
        return np.eye(seen.shape[-1])[seen.argmax(-1)], target
    return (seen.argmax(-1).astype(float), target.astype(float)) if metric.needs == "labels" else (seen, target)


def of_labels(function, **options):
    """scikit-learn's function of the labels that are said."""

    def score(seen, target, weight):
        said = (seen > 0.5).astype(float) if target.ndim == 2 else seen.argmax(-1)
        return function(target, said, sample_weight=weight, **options)

    return score


def of_scores(function, **options):
    """scikit-learn's function of scores, of two classes those of the second."""

    def score(seen, target, weight):
        column = seen[:, 1] if target.ndim == 1 and seen.shape[1] == 2 else seen
        return function(target, column, sample_weight=weight, **options)

    return score


def of_rows(function, **options):
    return lambda seen, target, weight: function(target, seen, sample_weight=weight, **options)


def top_k(k):
    def score(seen, target, weight):
        column = seen[:, 1] if seen.shape[1] == 2 else seen
        return theirs.top_k_accuracy_score(target, column, k=k, sample_weight=weight)

    return score


def averaged(metric, function, **options):
    """A metric of the classes that are said, with every average that scikit-learn has for the kind."""
    for average in (None, "binary", "macro", "micro", "weighted"):
        for kind in ("two", "four", "labels"):
            if average == "binary" and kind != "two":
                continue
            usual = "binary" if kind == "two" else "macro"
            score = of_labels(function, average=average or usual, zero_division=0.0, **options)
            yield metric(average=average), kind, score


# Ours, the kind of problem, and scikit-learn's function of (seen, target, weight).
TABLE = [
    *((metrics.accuracy, kind, of_labels(theirs.accuracy_score)) for kind in ("two", "four")),
    *((metrics.balanced_accuracy, kind, of_labels(theirs.balanced_accuracy_score)) for kind in ("two", "four")),
    *((metrics.matthews_corrcoef, kind, of_labels(theirs.matthews_corrcoef)) for kind in ("two", "four")),
    *averaged(Precision, theirs.precision_score),
    *averaged(Recall, theirs.recall_score),
    *averaged(FBeta, theirs.f1_score),
    *averaged(functools.partial(FBeta, 2.5), theirs.fbeta_score, beta=2.5),
    *averaged(functools.partial(FBeta, 0.0), theirs.precision_score),
    (metrics.roc_auc, "two", of_scores(theirs.roc_auc_score)),
    (metrics.roc_auc, "four", of_scores(theirs.roc_auc_score, multi_class="ovr")),
    (metrics.roc_auc, "labels", of_scores(theirs.roc_auc_score)),
    (RocAuc(multi_class="ovo"), "two", of_scores(theirs.roc_auc_score)),
    (RocAuc(multi_class="ovo"), "labels", of_scores(theirs.roc_auc_score)),
    *(
        (RocAuc(average=average), kind, of_scores(theirs.roc_auc_score, multi_class="ovr", average=average))
        for average in ("weighted", "micro")
        for kind in ("two", "four", "labels")
    ),
    *(
        (AveragePrecision(average), kind, of_scores(theirs.average_precision_score, average=average))
        for average in ("macro", "weighted", "micro")
        for kind in ("two", "four", "labels")
    ),
    *((TopK(k), kind, top_k(k)) for kind, k in (("two", 1), ("four", 1), ("four", 2), ("four", 3))),
    *((metrics.log_loss, kind, of_rows(theirs.log_loss)) for kind in ("two", "four")),
    (metrics.brier_score, "two", of_scores(theirs.brier_score_loss)),
    (metrics.brier_score, "four", of_rows(theirs.brier_score_loss)),
    (metrics.r2, "numbers", of_rows(theirs.r2_score)),
    (metrics.mean_absolute_error, "numbers", of_rows(theirs.mean_absolute_error)),
    (metrics.mean_squared_error, "numbers", of_rows(theirs.mean_squared_error)),
    (metrics.root_mean_squared_error, "numbers", of_rows(theirs.root_mean_squared_error)),
    (metrics.mean_absolute_percentage_error, "numbers", of_rows(theirs.mean_absolute_percentage_error)),
    (metrics.median_absolute_error, "numbers", of_rows(theirs.median_absolute_error)),
    *((Pinball(a), "numbers", of_rows(theirs.mean_pinball_loss, alpha=a)) for a in (0.0, 0.1, 0.5, 0.9, 1.0)),
]
IDS = [f"{metric.name}-{kind}" for metric, kind, _ in TABLE]
NUMPY = resolve("numpy", "float64")
WEIGHTS = [
    None,
    lambda rng, drawn: drawn,
    lambda rng, drawn: rng.uniform(0.1, 3.0, size=drawn.shape),
    lambda rng, drawn: np.full(drawn.shape, 0.125),
]
EVERY = pytest.mark.parametrize(("metric", "kind", "score"), TABLE, ids=IDS)


def measured(metric, kind, case, weight, backend):
    """The metric on the backend's own arrays."""
    prediction, target = given_to(metric, kind, case)
    target = backend.asarray(target, dtype=None if target.dtype.kind == "i" else "float")
    weight = None if weight is None else backend.asarray(weight)
    more = {"multilabel": True} if kind == "labels" else {}
    return metric(backend.asarray(prediction), target, xp=backend.xp, weight=weight, **more)


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


# Through a network

RNG = np.random.default_rng(5)
X = RNG.normal(size=(24, 3))
TWO, FOUR = RNG.permutation(np.arange(24) % 2), RNG.permutation(np.arange(24) % 4)
SEVERAL = RNG.permuted((np.arange(72) % 2).reshape(24, 3).astype(float), axis=0)
REAL = RNG.normal(size=(24, 2))
COUNTS = RNG.integers(0, 5, size=(24, 2)).astype(float)


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)


def both(yes):
    return np.concatenate([1.0 - yes, yes], axis=1)


# The layers, the loss, the targets, the kind of problem, and from what `predict` gives to class columns or numbers.
NETS = {
    "sigmoid": (mlp([3, 4, 1], output="sigmoid"), "bce", TWO, "two", both),
    "one logit": (mlp([3, 4, 1]), "bce", TWO[:, None], "two", lambda z: both(sigmoid(z))),
    "sigmoid under mse": (mlp([3, 4, 1], output="sigmoid"), "mse", TWO, "two", both),
    "focal": (mlp([3, 4, 1], output="sigmoid"), "focal", TWO, "two", both),
    "penalized": (mlp([3, 4, 1], output="sigmoid"), xpnn.losses.Penalized("bce", l2=0.1), TWO, "two", both),
    "hinge": (mlp([3, 4, 1]), "hinge", TWO, "scores", lambda z: np.concatenate([-z, z], axis=1)),
    "two of softmax": (mlp([3, 4, 2], output="softmax"), "cross_entropy", TWO, "two", lambda p: p),
    "two logits": (mlp([3, 4, 2]), "cross_entropy", np.eye(2)[TWO], "two", softmax),
    "softmax": (mlp([3, 4, 4], output="softmax"), "cross_entropy", FOUR, "four", lambda p: p),
    "logits": (mlp([3, 4, 4]), "cross_entropy", FOUR, "four", softmax),
    "one-hot": (mlp([3, 4, 4]), "cross_entropy", np.eye(4)[FOUR], "four", softmax),
    "softmax under mse": (mlp([3, 4, 4], output="softmax"), "mse", np.eye(4)[FOUR], "four", lambda p: p),
    "several answers": (mlp([3, 4, 3], output="sigmoid"), "bce", SEVERAL, "labels", lambda p: p),
    "several logits": (mlp([3, 4, 3]), "bce", SEVERAL, "labels", sigmoid),
    "numbers": (mlp([3, 4, 2]), "mse", REAL, "numbers", lambda p: p),
    "rates": (mlp([3, 4, 2], output="exponential"), "poisson", COUNTS, "numbers", lambda p: p),
    "log rates": (mlp([3, 4, 2]), "poisson", COUNTS, "numbers", np.exp),
    "mean and variance": (mlp([3, 4, 4]), "gaussian_nll", REAL, "numbers", lambda p: p[:, :2]),
    "quantiles": (mlp([3, 4, 6]), xpnn.losses.Quantile((0.1, 0.4, 0.9)), REAL, "numbers", lambda p: p[:, 2:4]),
}
SCORES = {(metric.name, kind): (metric, score) for metric, kind, score in TABLE}


def chosen(kind, loss=None):
    """The metrics of TABLE that go with a kind of problem, by name, each with scikit-learn's function."""
    of, levels = {"scores": "two"}.get(kind, kind), getattr(loss, "levels", None)
    return {
        name: found
        for (name, its), found in SCORES.items()
        if its == of
        and not (kind == "scores" and found[0].needs == "class_probabilities")
        and not (levels and isinstance(found[0], Pinball) and found[0].alpha not in levels)
    }


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("place", ["numpy", "torch", "array-api-strict:device1"])
def test_a_network_is_measured_as_what_it_predicts(place, net, weighted):
    layers, loss, y, kind, columns = NETS[net]
    net = xpnn.Network(layers, place, "float64", seed=3)
    weight = np.arange(24) / 8.0 if weighted else None
    asked = chosen(kind, loss)
    found = net.evaluate(X, y, loss, [metric for metric, _ in asked.values()], sample_weight=weight)
    seen = columns(net.backend.to_host(net.predict(X)))
    target = {"two": TWO, "scores": TWO, "four": FOUR}.get(kind, y)
    for name, (metric, score) in asked.items():
        of = quantile(net, loss, metric) if isinstance(metric, Pinball) and hasattr(loss, "levels") else seen
        assert found[name] == pytest.approx(score(of, target, weight), rel=1e-10), name


def quantile(net, loss, metric):
    """The outputs of the metric's own level."""
    outputs = net.backend.to_host(net.predict(X))
    return np.split(outputs, len(loss.levels), axis=1)[loss.levels.index(metric.alpha)]


@pytest.mark.parametrize("net", NETS)
def test_a_stack_is_measured_member_by_member(net):
    layers, loss, y, kind, _ = NETS[net]
    asked = [metric for metric, _ in chosen(kind, loss).values()]
    found = xpnn.Network(layers, dtype="float64", members=2, seed=3).evaluate(X, y, loss, asked)
    for k in range(2):
        alone = xpnn.Network(layers, dtype="float64", seed=3 + k).evaluate(X, y, loss, asked)
        assert {name: values[k] for name, values in found.items()} == pytest.approx(alone, rel=1e-10)


@pytest.mark.parametrize("net", NETS)
def test_measuring_a_network_waits_for_nothing(net, request):
    layers, loss, y, kind, _ = NETS[net]
    loss, asked = xpnn.losses.get(loss), [metric for metric, _ in chosen(kind, loss).values()]
    net = xpnn.Network(layers, "array-api-strict:device1", members=2)
    data = inputs.data(X, y, np.ones(24), loss, net.shapes, net.backend)
    tree = net._tree(net.progress.carry)
    request.getfixturevalue("blind")
    found = evaluation.evaluate(net.layer, tree, data, loss, asked, net.shapes, None, xp=net.backend.xp)
    assert {value.shape for value in found.values()} == {(2,)}


def test_members_may_have_targets_and_weights_of_their_own():
    y, weight = np.stack([TWO[:, None], 1 - TWO[:, None]]), np.stack([np.linspace(0.0, 1.0, 24), np.ones(24)])
    asked = ["f1", "roc_auc", "log_loss", "r2", "median_absolute_error"]
    layers = mlp([3, 4, 1], output="sigmoid")
    found = xpnn.Network(layers, members=2, dtype="float64").evaluate(X, y, "bce", asked, sample_weight=weight)
    for k in range(2):
        alone = xpnn.Network(layers, dtype="float64", seed=k).evaluate(X, y[k], "bce", asked, sample_weight=weight[k])
        assert {name: values[k] for name, values in found.items()} == pytest.approx(alone, rel=1e-10)


def test_fit_records_them_for_training_and_validation():
    net = xpnn.Network(mlp([3, 4, 1], output="sigmoid"))
    history = net.fit(X, TWO, "bce", epochs=2, metrics=["f1", "roc_auc", FBeta(2)], validation_data=(X, TWO))
    assert list(history.history) == ["loss", "f1", "roc_auc", "f2", "val_loss", "val_f1", "val_roc_auc", "val_f2"]
    assert history["roc_auc"] == history["val_roc_auc"]


def test_what_is_measured_unasked():
    unasked = {net: set(xpnn.Network(layers).evaluate(X, y, loss)) for net, (layers, loss, y, _, _) in NETS.items()}
    for net, found in unasked.items():
        assert found == ({"loss"} if NETS[net][3] == "numbers" else {"loss", "accuracy"}), net


def test_a_logit_ranks_rows_whose_probability_rounds_to_one():
    net = xpnn.Network([xpnn.Dense(1, 1)])
    net.params = [{"weight": [[1.0]], "bias": [0.0]}]
    found = net.evaluate([[100.0], [110.0], [120.0]], [0.0, 1.0, 1.0], "bce", ["roc_auc", "average_precision"])
    assert (found["roc_auc"], found["average_precision"]) == (1.0, 1.0)
    net = xpnn.Network([xpnn.Dense(3, 3)])
    net.params = [{"weight": np.eye(3), "bias": np.zeros(3)}]
    assert net.evaluate([[0.0, 300.0, 100.0]], [2], "cross_entropy", [TopK(2)])["top_2_accuracy"] == 1.0


def test_soft_targets():
    soft = np.asarray([[0.2, 0.8], [0.9, 0.1]])
    p = np.asarray([[0.5, 0.5], [0.25, 0.75]])
    assert metrics.log_loss(p, soft) == pytest.approx(-np.sum(soft * np.log(p)) / 2.0)
    assert metrics.brier_score(p, soft) == pytest.approx(np.sum((soft - p) ** 2) / 4.0)
    assert metrics.roc_auc(p, soft) == metrics.roc_auc(p, [1, 0]) == 0.0


# Where nothing can be said

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


# By hand, by name, and in error


def test_by_hand_with_lists_and_any_librarys_arrays(backend):
    seen, target = [[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]], [0, 0, 1, 1]
    assert metrics.roc_auc(seen, target) == 0.75
    moved = backend.asarray(seen), backend.asarray(np.asarray(target), dtype=None)
    assert_close(metrics.roc_auc(*moved, weight=[1.0] * 4), backend.asarray(0.75), rtol=1e-6)
    assert metrics.accuracy([0, 1, 1], [0, 1, 0], weight=[1, 1, 2]) == 0.5
    assert metrics.precision([[0, 1], [1, 1]], [[0, 1], [0, 1]], multilabel=True) == 0.5


PROBABILITIES = [[0.4, 0.6], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8]]
OF_SAID = {
    "f1": theirs.f1_score,
    "precision": theirs.precision_score,
    "recall": theirs.recall_score,
    "balanced_accuracy": theirs.balanced_accuracy_score,
    "matthews_corrcoef": theirs.matthews_corrcoef,
    "accuracy": theirs.accuracy_score,
}


@pytest.mark.parametrize("name", OF_SAID)
def test_by_hand_the_likeliest_class_is_what_is_said(name, backend):
    metric, truth = metrics.get(name), np.asarray([1, 0, 0, 1])
    expected = backend.asarray(OF_SAID[name](truth, [1, 1, 0, 1]))
    for seen in (PROBABILITIES, np.log(PROBABILITIES), [1, 1, 0, 1], [1.0, 1.0, 0.0, 1.0], [[1], [1], [0], [1]]):
        for target in (truth, truth.astype(float), truth > 0, list(truth)):
            dtype = "float" if np.asarray(target).dtype.kind == "f" else None
            given = target if isinstance(target, list) else backend.asarray(target, dtype=dtype)
            assert_close(metric(backend.asarray(seen), given), expected, rtol=1e-6)
    if metric.needs == "one_hot":
        assert_close(metric(backend.asarray(PROBABILITIES), np.eye(2)[truth].tolist()), expected, rtol=1e-6)


def test_by_hand_labels_are_as_many_classes_as_there_are():
    said, truth = [0, 2, 1, 2, 0], [0, 2, 2, 1, 3]
    expected = theirs.f1_score(truth, said, average="macro")
    assert metrics.f1(said, truth) == pytest.approx(expected)
    assert metrics.f1(said, np.eye(4)[truth]) == pytest.approx(expected)
    assert metrics.f1([0, 0], [0, 0]) == 0.0  # two at least: the second is yes


def test_by_hand_one_number_a_row_is_the_score_of_yes():
    score, truth = np.asarray([0.1, 0.6, 0.35, 0.8]), np.asarray([0, 0, 1, 1])
    for seen in (score, score[:, None]):
        for target in (truth, truth[:, None], truth.astype(float)):
            assert metrics.roc_auc(seen, target) == theirs.roc_auc_score(truth, score)
            assert metrics.average_precision(seen, target) == pytest.approx(
                theirs.average_precision_score(truth, score)
            )
            assert metrics.log_loss(seen, target) == pytest.approx(theirs.log_loss(truth, score))
            assert metrics.brier_score(seen, target) == pytest.approx(theirs.brier_score_loss(truth, score))


def test_by_hand_one_axis_is_one_output():
    seen, target = np.asarray([1.0, 2.0, 3.0]), np.asarray([1.0, 2.0, 4.0])
    for name, function in (("r2", theirs.r2_score), ("mae", theirs.mean_absolute_error)):
        for form in ((seen, target), (seen[:, None], target), (seen, target[:, None]), (list(seen), list(target))):
            assert metrics.get(name)(*form) == pytest.approx(function(target, seen))


def test_by_hand_a_stack_shares_rows_of_ones_and_zeros():
    stack, truth = np.stack([PROBABILITIES, PROBABILITIES[::-1]]), np.asarray([1, 0, 0, 1])
    expected = [metrics.f1(PROBABILITIES, truth), metrics.f1(PROBABILITIES[::-1], truth)]
    for target in (truth, np.eye(2)[truth], np.eye(2, dtype=int)[truth], np.stack([truth, truth])):
        np.testing.assert_allclose(metrics.f1(stack, target), expected)


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


def test_a_quantile_is_measured_at_its_level_under_a_penalty_too():
    net = xpnn.Network(mlp([3, 4, 6]), dtype="float64")
    loss = xpnn.losses.Penalized(xpnn.losses.Quantile((0.1, 0.5, 0.9)), l2=0.1)
    found = net.evaluate(X, REAL, loss, [Pinball(0.9), "pinball", "mae"])
    outputs = net.predict(X)
    assert found["pinball_0.9"] == pytest.approx(theirs.mean_pinball_loss(REAL, outputs[:, 4:], alpha=0.9))
    assert found["pinball"] == pytest.approx(0.5 * found["mean_absolute_error"])
    # Where the outputs have no levels, it is of what is forecast.
    plain = xpnn.Network(mlp([3, 2]), dtype="float64")
    expected = theirs.mean_pinball_loss(REAL, plain.predict(X), alpha=0.9)
    assert plain.evaluate(X, REAL, "mse", [Pinball(0.9)])["pinball_0.9"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (xpnn.losses.huber, r"metrics must not hold a loss, .* got Huber\("),
        (xpnn.losses.Huber, "metrics must not hold a loss"),
        (xpnn.losses.Penalized("mse"), "metrics must not hold a loss"),
        (
            theirs.accuracy_score,
            r"the form metric\(prediction, target, \*, xp, weight\).*accuracy_score\(y_true, y_pred",
        ),
        (lambda prediction, target: 0.0, r"must be of the form .* got <lambda>\(prediction, target\)"),
        (lambda prediction, target, *, xp: 0.0, "must be of the form"),
        (3, "metric must be a name"),
    ],
)
def test_what_is_no_metric_is_refused_at_once(metric, message):
    for refused in (lambda: metrics.get(metric), lambda: metrics.choose([metric])):
        with pytest.raises(TypeError, match=message):
            refused()


def test_a_function_of_the_form_is_a_metric():
    def own(prediction, target, *, xp, weight=None):
        return 0.0

    def any_keywords(prediction, target, **given):
        return 0.0

    for function in (own, any_keywords, functools.partial(own, weight=None)):
        assert metrics.get(function) is function


def test_names_tell_options_apart():
    asked = {
        "f1": metrics.f1,
        "f2": FBeta(2),
        "f0.5_macro": FBeta(0.5, "macro"),
        "precision_micro": Precision("micro"),
        "recall_macro": Recall(average="Macro"),
        "top_k_accuracy": TopK(),
        "top_3_accuracy": TopK(3),
        "pinball": Pinball(),
        "pinball_0.9": Pinball(0.9),
        "pinball_1": Pinball(1),
        "roc_auc": RocAuc(),
        "roc_auc_ovo_weighted": RocAuc("ovo", "weighted"),
        "average_precision_weighted": AveragePrecision("weighted"),
        "mean_squared_error": metrics.get("mse"),
    }
    assert [metrics.name_of(metric) for metric in metrics.choose(asked.values())] == list(asked)
    assert FBeta(2) == FBeta(2.0)
    assert metrics.get(TopK) == TopK()


SCORERS = "accuracy balanced_accuracy top_k_accuracy precision recall f1 roc_auc average_precision matthews_corrcoef r2"


@pytest.mark.parametrize("name", SCORERS.split())
def test_scikit_learns_scorers_have_their_names(name):
    assert name in theirs.get_scorer_names()
    assert metrics.get(name).name == name


@pytest.mark.parametrize(
    ("slip", "name"),
    [
        ("roc-auk", "roc_auc"),
        ("balanced_acuracy", "balanced_accuracy"),
        ("top_k", "top_k_accuracy"),
        ("log_lss", "log_loss"),
        ("briar_score", "brier_score"),
        ("mean_square_error", "mean_squared_error"),
        ("rsme", "rmse"),
        ("pinbal", "pinball"),
    ],
)
def test_near_misses_are_named(slip, name):
    with pytest.raises(ValueError, match=f"unknown metric '{slip}': did you mean '{name}'"):
        metrics.get(slip)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: TopK(0), ValueError, "k must be >= 1, got 0"),
        (lambda: TopK(2.0), TypeError, "k must be a whole number, got 2.0"),
        (lambda: FBeta(-1.0), ValueError, "beta must be >= 0, got -1.0"),
        (lambda: FBeta("macro"), TypeError, "beta must be a number, got 'macro'"),
        (lambda: Pinball(1.2), ValueError, "alpha must be >= 0 and <= 1, got 1.2"),
        (lambda: Precision("micr"), ValueError, "unknown average 'micr': did you mean 'micro'"),
        (lambda: Recall(2), TypeError, "average must be a name"),
        (lambda: RocAuc("ovx"), ValueError, "unknown multi_class 'ovx'"),
        (lambda: RocAuc("ovo", "micro"), ValueError, "average must be 'macro' or 'weighted'.*got 'micro'"),
        (lambda: RocAuc(average="binary"), ValueError, "unknown average 'binary'"),
        (lambda: AveragePrecision("none"), ValueError, "unknown average 'none'"),
        (lambda: Precision("binary")(np.eye(3), [0, 1, 2]), ValueError, "average must be .* for 3 classes"),
        (
            lambda: Precision("binary")(np.eye(2), np.eye(2), multilabel=True),
            ValueError,
            "average must be .* for 2 yes-or-no outputs, got 'binary'",
        ),
        (lambda: metrics.f1(np.eye(3), np.eye(3)[:, :2]), ValueError, r"f1: target of shape \(3, 2\) does not fit"),
        (lambda: metrics.f1([1.0, 0.0], [1, 0, 1]), ValueError, r"f1: target of shape \(3,\) does not fit"),
        (
            lambda: metrics.f1(np.ones((2, 1)), np.ones((2, 1)), xp=np),
            ValueError,
            r"f1: prediction must have a column for each class, .* got 1",
        ),
        (lambda: metrics.r2([1.0, 2.0], np.eye(2)), ValueError, r"r2: target of shape \(2, 2\) does not fit"),
        (
            lambda: metrics.r2(np.ones(2), np.ones(2), xp=np),
            ValueError,
            r"must be \(batch, outputs\), got shape \(2,\)",
        ),
        (lambda: metrics.f1(1.0, 1), ValueError, "f1: prediction must have one row at least, got a number"),
        (lambda: metrics.accuracy(1, 1), ValueError, r"accuracy: prediction must be \(batch,\), got shape \(\)"),
        (lambda: metrics.r2([], []), ValueError, r"r2: prediction is empty: its shape is \(0,\)"),
        (lambda: metrics.f1(np.ones((0, 2)), []), ValueError, r"f1: prediction is empty: its shape is \(0, 2\)"),
        (lambda: metrics.accuracy([], []), ValueError, "accuracy: prediction is empty"),
        (
            lambda: metrics.f1(np.eye(3), [0, 1, 3]),
            ValueError,
            "target has class 3, but prediction has columns for 0 to 2",
        ),
        (lambda: metrics.f1(np.eye(3), [0, 1, -1]), ValueError, "target of one number a row must be classes 0, 1"),
        (
            lambda: metrics.roc_auc(np.eye(3), [0.5, 1, 2]),
            ValueError,
            "target of one number a row must be classes 0, 1",
        ),
        (lambda: metrics.f1([0.2, 0.7], [0, 1]), ValueError, "of probabilities of yes give prediction > 0.5"),
        (lambda: metrics.f1([[0.2], [0.7]], [0, 1]), ValueError, "of probabilities of yes give prediction > 0.5"),
        (lambda: metrics.f1([-1, 1], [0, 1]), ValueError, "prediction of one number a row must be classes 0, 1"),
        (lambda: metrics.accuracy([0.2, 0.7], [0, 1]), ValueError, "of probabilities give prediction > 0.5"),
        (lambda: metrics.f1([[np.nan, 0.0], [0.0, 1.0]], [0, 1]), ValueError, "f1: prediction has NaN"),
        (lambda: metrics.log_loss([-3.0, 3.0], [0, 1]), ValueError, "log_loss: prediction must be probabilities"),
        (
            lambda: metrics.f1([[0.2, 0.7]], [[0, 1]], multilabel=True),
            ValueError,
            "f1: prediction must be zeros and ones: of probabilities give prediction > 0.5",
        ),
        (lambda: metrics.accuracy([0, 1], [0, 1, 1]), ValueError, r"accuracy: target of shape \(3,\) does not fit"),
        (
            lambda: metrics.mean_squared_error(np.eye(2), np.eye(2), weight=np.ones((2, 1))),
            ValueError,
            r"weight must be \(2,\), one a row, got shape \(2, 1\)",
        ),
        (lambda: Metric()(np.eye(2), np.eye(2)), NotImplementedError, "Metric does not say what it measures"),
    ],
)
def test_wrong_options_and_shapes_are_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


@pytest.mark.parametrize(
    ("net", "metric", "message"),
    [
        ("numbers", "precision", "precision needs classes, but under MeanSquaredError .* predicts numbers"),
        ("numbers", "roc_auc", "roc_auc needs classes"),
        ("rates", "log_loss", "log_loss needs classes, but under Poisson"),
        ("mean and variance", "accuracy", "accuracy needs an output for each target, got 4 for 2"),
        ("hinge", "log_loss", "log_loss needs probabilities, but under Hinge .* gives scores"),
        ("several answers", "balanced_accuracy", "takes one class a row, not 3 yes-or-no outputs at once"),
        ("several answers", "brier_score", "takes one class a row"),
        ("softmax", "r2", "r2 needs a number for each target, but under SoftmaxCrossEntropy the targets are classes"),
        (
            "quantiles",
            Pinball(0.5),
            "pinball needs the quantile of level 0.5, but Quantile has the levels 0.1, 0.4, 0.9",
        ),
        ("softmax", Precision("binary"), "average must be .* for 4 classes, got 'binary'"),
        ("several answers", Recall("binary"), "average must be .* for 3 yes-or-no outputs, got 'binary'"),
    ],
)
def test_a_metric_refuses_what_it_cannot_measure(net, metric, message):
    layers, loss, y, _, _ = NETS[net]
    net = xpnn.Network(layers)
    with pytest.raises(ValueError, match=message):
        net.evaluate(X, y, loss, [metric])
    with pytest.raises(ValueError, match=message):
        may(net, metric, loss, y)


def may(net, metric, loss, y):
    """What `fit` asks before the first epoch."""
    loss = xpnn.losses.get(loss)
    target = inputs.data(X, y, None, loss, net.shapes, net.backend).y
    metrics.check(metrics.get(metric), loss, net.layers[-1], net.shapes.output[-1], target, xp=net.backend.xp)


@pytest.mark.parametrize("net", NETS)
def test_what_can_be_measured_is_not_refused_before(net, request):
    layers, loss, y, kind, _ = NETS[net]
    net = xpnn.Network(layers, "array-api-strict:device1")
    request.getfixturevalue("blind")
    for metric, _ in chosen(kind, loss).values():
        may(net, metric, loss, y)


def test_own_metrics_declare_what_they_need():
    seen = []

    class Own(Metric):
        needs, name = "one_hot", "own"

        def value(self, prediction, target, *, xp, weight=None):
            seen.append((prediction, target))
            return xp.sum(prediction * target, axis=(-2, -1))

    net = xpnn.Network(mlp([3, 4, 1]), dtype="float64")
    right = net.evaluate(X, TWO, "bce", [Own()])["own"]
    assert right == np.sum((net.predict(X)[:, 0] > 0.0) == TWO)
    np.testing.assert_array_equal(seen[0][1], np.eye(2)[TWO])
    Own.needs = "onehot"
    with pytest.raises(ValueError, match="metric own has unknown needs, 'onehot'"):
        net.evaluate(X, TWO, "bce", [Own()])
