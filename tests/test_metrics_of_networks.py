"""The metrics of a network: what scikit-learn measures in what it predicts, under every loss, and what is refused."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn.metrics as theirs

import xpnn
from tests.metric_cases import TABLE
from tests.test_no_sync import blind  # noqa: F401
from xpnn import evaluation, inputs, metrics, mlp
from xpnn.architecture import trunk
from xpnn.metrics import FBeta, Metric, Pinball, Precision, Recall, TopK

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
    forward = net._forward(trunk(net.layer, loss), compile=False)
    request.getfixturevalue("blind")
    found = evaluation.evaluate(net.layer, forward(data.x), *data[1:], loss, asked, xp=net.backend.xp)
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
