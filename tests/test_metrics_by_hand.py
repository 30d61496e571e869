"""The metrics called by hand, with lists and any library's arrays, and got by name."""

import functools

import numpy as np
import pytest

from xpnn import metrics
from xpnn.metrics import AveragePrecision, FBeta, Pinball, Precision, Recall, RocAuc, TopK
from xpnn.testing import assert_close

theirs = pytest.importorskip("sklearn.metrics")


def test_soft_targets():
    soft = np.asarray([[0.2, 0.8], [0.9, 0.1]])
    p = np.asarray([[0.5, 0.5], [0.25, 0.75]])
    assert metrics.log_loss(p, soft) == pytest.approx(-np.sum(soft * np.log(p)) / 2.0)
    assert metrics.brier_score(p, soft) == pytest.approx(np.sum((soft - p) ** 2) / 4.0)
    assert metrics.roc_auc(p, soft) == metrics.roc_auc(p, [1, 0]) == 0.0


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
