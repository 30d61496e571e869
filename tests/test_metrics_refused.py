"""What is no metric, no option of one, or not what it measures, is refused by name."""

import numpy as np
import pytest

import xpnn
from xpnn import metrics
from xpnn.metrics import AveragePrecision, FBeta, Metric, Pinball, Precision, Recall, RocAuc, TopK

theirs = pytest.importorskip("sklearn.metrics")


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
        (lambda: Metric()(np.eye(2), np.eye(2)), NotImplementedError, r"Metric must define value\("),
    ],
)
def test_wrong_options_and_shapes_are_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
