"""What the network measures: the loss and the metrics, scikit-learn's accuracy, member by member."""

import numpy as np
import pytest

from tests.networks import LABELS, PLAIN, X, Y
from xpnn import Network, mlp
from xpnn.availability import status
from xpnn.backend import to_host

ACCURACY = {
    "a probability": (mlp([3, 4, 1], output="sigmoid"), "bce", LABELS, lambda out: out[:, 0] > 0.5),
    "a probability as a column": (
        mlp([3, 4, 1], output="sigmoid"),
        "bce",
        LABELS[:, None],
        lambda out: out[:, 0] > 0.5,
    ),
    "a logit": (mlp([3, 4, 1]), "bce", LABELS, lambda out: out[:, 0] > 0.0),
    "a probability under mse": (mlp([3, 4, 1], output="sigmoid"), "mse", LABELS, lambda out: out[:, 0] > 0.5),
    "softmax": (mlp([3, 4, 3], output="softmax"), "cross_entropy", np.arange(12) % 3, lambda out: out.argmax(1)),
    "logits of classes": (mlp([3, 4, 3]), "cross_entropy", np.arange(12) % 3, lambda out: out.argmax(1)),
    "one-hot": (mlp([3, 4, 3]), "cross_entropy", np.eye(3)[np.arange(12) % 3], lambda out: np.eye(3)[out.argmax(1)]),
    "softmax under mse": (
        mlp([3, 4, 3], output="softmax"),
        "mse",
        np.eye(3)[np.arange(12) % 3],
        lambda out: np.eye(3)[out.argmax(1)],
    ),
    "several labels": (
        mlp([3, 4, 2], output="sigmoid"),
        "bce",
        (X[:, :2] > 0.0).astype(float),
        lambda out: (out > 0.5).astype(float),
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", ACCURACY)
@pytest.mark.parametrize("place", ["numpy", "torch", "array-api-strict:device1"])
def test_accuracy_is_scikit_learns(place, case, weighted):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    if not status(place.partition(":")[0]).usable:
        pytest.skip(f"{place} is not usable")
    layers, loss, y, decide = ACCURACY[case]
    net = Network(layers, place, "float64", seed=3)
    weight = np.linspace(0.0, 1.0, 12) if weighted else None
    found = net.evaluate(X, y, loss, sample_weight=weight)
    predicted = np.asarray(decide(to_host(net.predict(X))), dtype=float)
    truth = np.asarray(y, dtype=float)
    truth = truth[:, 0] if truth.shape[1:] == (1,) else truth
    expected = sklearn_metrics.accuracy_score(truth, predicted, sample_weight=weight)
    assert found["accuracy"] == pytest.approx(expected)
    assert all(isinstance(value, float) for value in found.values())
    value, _ = Network(layers, place, "float64", seed=3).value_and_grad(X, y, loss, sample_weight=weight)
    assert found["loss"] == pytest.approx(float(value))
    assert net.evaluate(X, y, loss, sample_weight=weight, batch_size=5) == pytest.approx(found)


def test_evaluate_takes_the_loss_that_training_used_last():
    net = Network(mlp([3, 1], output="sigmoid"))
    net.fit(X, LABELS, "bce", epochs=1)
    assert net.evaluate(X, LABELS) == net.evaluate(X, LABELS, "bce") != net.evaluate(X, LABELS, "mse")


def test_a_stack_is_evaluated_member_by_member(eager):
    net = Network(mlp([3, 4, 3], output="softmax"), eager, eager.dtype, members=2, seed=3)
    found = net.evaluate(X, np.arange(12) % 3, "cross_entropy")
    for k in range(2):
        alone = Network(mlp([3, 4, 3], output="softmax"), eager, eager.dtype, seed=3 + k)
        expected = alone.evaluate(X, np.arange(12) % 3, "cross_entropy")
        assert {name: values[k] for name, values in found.items()} == pytest.approx(expected, rel=1e-6)
    assert all(isinstance(values, np.ndarray) and values.shape == (2,) for values in found.values())


def test_a_metric_may_be_any_function():
    def largest_error(prediction, target, *, xp, weight=None):
        return xp.max(xp.abs(prediction - target))

    net = Network(PLAIN, dtype="float64")
    expected = np.max(np.abs(net.predict(X) - Y))
    assert net.evaluate(X, Y, metrics=[largest_error])["largest_error"] == pytest.approx(expected)
