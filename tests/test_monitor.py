"""The quantity that a callback watches: which end of it is better, and that it must be recorded."""

import functools

import pytest

from tests.scripted import Scripted, scripted
from tests.trained import X, Y, state_of, trained
from xpnn import Network, metrics, mlp
from xpnn.callbacks import CSVLogger, EarlyStopping, LambdaCallback, ReduceLROnPlateau


@pytest.mark.parametrize("metric", sorted(metrics._NAMES))
def test_auto_knows_the_librarys_own_metrics(metric):
    """Those that scikit-learn has a scorer for: its negated ones are errors."""
    scorers = pytest.importorskip("sklearn.metrics").get_scorer_names()
    name = metrics.get(metric).name
    assert name in scorers or f"neg_{name}" in scorers or name == "pinball"
    assert metrics.better_end(metrics.get(metric)) == ("max" if name in scorers else "min")


def test_auto_takes_the_better_end_of_what_is_recorded():
    chosen = ["accuracy", "log_loss", metrics.FBeta(2.0), metrics.TopK(1), absolute, accuracy]
    ends = ["max", "min", "max", "max", "min", "max"]
    net = Network(mlp([2, 3, 1], output="sigmoid"))
    history = net.fit(X, Y, "bce", epochs=1, metrics=chosen[:-1], validation_data=(X, Y))
    names = ["loss", "accuracy", "log_loss", "f2", "top_1_accuracy", "absolute"]
    assert list(history.better) == list(history.history) == names + [f"val_{name}" for name in names]
    assert list(history.better.values()) == ["min", *ends[:-1]] * 2
    assert [metrics.better_end(metrics.get(one)) for one in chosen] == ends
    absolute.greater_is_better = True
    try:
        assert metrics.better_end(absolute) == "max"
    finally:
        del absolute.greater_is_better


def absolute(prediction, target, *, xp, weight=None):
    return xp.mean(xp.abs(prediction - target), axis=(-2, -1))


def accuracy(prediction, target, *, xp, weight=None):
    """A plain function of a score's name counts as that score."""
    return xp.mean(xp.astype((prediction > 0.5) == (target > 0.5), prediction.dtype), axis=(-2, -1))


@pytest.mark.parametrize("watch", [EarlyStopping, functools.partial(ReduceLROnPlateau, factor=0.5)])
@pytest.mark.parametrize(
    ("mode", "name", "best"), [("auto", "accuracy", 2), ("min", "accuracy", 0), ("auto", "scripted", 0)]
)
def test_the_mode_says_which_end_is_better(watch, mode, name, best):
    callback = watch(f"val_{name}", patience=3, mode=mode)
    net, history = scripted([1.0, 2.0, 3.0, 2.0, 2.0], callback, metric=Scripted([1.0, 2.0, 3.0, 2.0, 2.0], name))
    if watch is EarlyStopping:
        assert callback.best_epoch == best
    else:
        assert net.learning_rate == (0.1 if best else 0.05)
    assert len(history.epoch) == (4 if best == 0 and watch is EarlyStopping else 5)


UNRECORDED = {
    "a name that is not there": (
        "val_los",
        {"validation_data": (X, Y)},
        "monitor must be one of loss, .*got 'val_los'$",
    ),
    "no validation data": ("val_loss", {}, "got 'val_loss': give validation_data or validation_split"),
    "no such metric": (
        "val_f1",
        {"validation_split": 0.25},
        "one of loss, accuracy, val_loss, val_accuracy, got 'val_f1'$",
    ),
    "an alias": ("mse", {}, "monitor must be one of loss, accuracy, got 'mse'$"),
}


@pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau])
@pytest.mark.parametrize("case", UNRECORDED)
def test_a_monitor_that_is_not_recorded_is_refused_before_training(case, callback, tmp_path):
    monitor, options, message = UNRECORDED[case]
    net, log = trained("sigmoid"), CSVLogger(tmp_path / "log.csv")
    before, ended = state_of(net), []
    watch = [log, LambdaCallback(on_fit_end=lambda *_: ended.append(True)), callback(monitor)]
    with pytest.raises(ValueError, match=message):
        net.fit(X, Y, optimizer="sgd", metrics=["accuracy"], callbacks=watch, **options)
    assert state_of(net) == before
    assert ended == [True]  # what has begun is also ended: the file is closed
