"""Callbacks: called in turn and always ended, copied and pickled, and refused by name where they are wrong."""

import copy
import io
import math
import pickle

import numpy as np
import pytest

from tests.scripted import NAN, OPTIONS, STOCHASTIC
from tests.trained import X, Y, state_of, trained
from xpnn import SGD, Adam, Network, callbacks, mlp
from xpnn.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    PrintEpoch,
    ProgressBar,
    ReduceLROnPlateau,
    TimeLimit,
)


class Terminal(io.StringIO):
    """An output that says that it is a terminal."""

    def isatty(self):
        return True


def test_the_bar_shows_numbers_and_the_rate(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    net = Network(mlp([2, 1]), members=2)
    net.fit(X, Y, optimizer=SGD([0.5, 0.25]), epochs=2, metrics=["mae"], callbacks=[ProgressBar()])
    err = terminal.getvalue()
    assert "2/2" in err
    assert "mean_absolute_error=" in err
    assert "learning_rate=0.25..0.5" in err
    assert "rows/s=" in err
    net.fit(X, Y, optimizer=SGD(0.125), epochs=1, verbose=1)
    assert "learning_rate=0.125" in terminal.getvalue()


def test_the_bar_is_closed_where_training_is_broken_off(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    def breaking(net, epoch, logs):
        raise KeyError("no more")

    bar = ProgressBar()
    with pytest.raises(KeyError):
        Network(mlp([2, 1])).fit(X, Y, epochs=3, callbacks=[bar, breaking])
    assert bar._bar is None and terminal.getvalue().endswith("\n")


def test_nothing_is_shown_where_nobody_looks(capsys):
    for verbose in (0, 1):
        Network(mlp([2, 1])).fit(X, Y, epochs=2, verbose=verbose)
        assert capsys.readouterr() == ("", "")


def test_a_notebooks_bar_is_shown_though_its_output_is_no_terminal(monkeypatch, capsys):
    import tqdm.auto

    made = {}

    class Notebook(tqdm.auto.tqdm):
        def __init__(self, *args, **options):
            made.update(options)
            super().__init__(*args, **{**options, "disable": True})

    Notebook.__module__ = "tqdm.notebook"
    monkeypatch.setattr(tqdm.auto, "tqdm", Notebook)
    Network(mlp([2, 1])).fit(X, Y, epochs=2, verbose=1)
    assert made["disable"] is False and made["total"] == 2


def test_a_line_an_epoch_in_columns(capsys):
    net = Network(mlp([2, 1]))
    net.fit(X, Y, optimizer=SGD(0.125), epochs=10, validation_data=(X, Y), metrics=["mae"], verbose=2)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert (
        err == ""
        and len(lines) == 10
        and lines[0].startswith("epoch  1/10  loss ")
        and lines[9].startswith("epoch 10/")
    )
    names = ["loss", "mean_absolute_error", "val_loss", "val_mean_absolute_error", "learning_rate", "rows/s"]
    assert all(f"  {name} " in lines[3] for name in names)
    assert len({line.index("  val_loss ") for line in lines}) == 1


def test_how_many_rows_an_epoch_has():
    net, stack = Network(mlp([2, 1])), Network(mlp([2, 1]), members=3)
    assert net.fit(X, Y, epochs=1).samples == len(X)
    assert stack.fit(X, Y, epochs=1).samples == 3 * len(X)
    assert stack.fit(X, Y, epochs=1, rows=[[0], [0, 1], [0, 1, 2]]).samples == 6
    assert net.fit([(X, Y), (X, Y)], epochs=1).samples is None


def test_a_time_limit_stops_after_the_epoch_in_which_it_is_over(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    net, limit = Network(mlp([2, 1])), TimeLimit(5)

    def tick(net, epoch, logs):
        clock[0] += 2.0

    assert net.fit(X, Y, epochs=9, callbacks=[tick, limit]).epoch == [0, 1, 2]
    assert net.history.stop_reason == "time"
    assert len(net.fit(X, Y, epochs=2, callbacks=[tick, limit]).epoch) == 2  # counted from the beginning of each fit
    assert net.history.stop_reason == "finished"


def test_the_history_says_why_training_stopped():
    net = Network(mlp([2, 1]))
    assert (net.history.stop_reason, net.history.best_epoch) == (None, None)

    class Enough(Callback):
        reason = "enough"

        def on_epoch_end(self, net, epoch, logs):
            return np.True_

    always = [lambda *_: True]
    for watch, reason in (([], "finished"), (always, "callback"), ([Enough(), *always], "enough")):
        assert net.fit(X, Y, epochs=2, callbacks=watch).stop_reason == reason
    assert net.fit(X, Y, epochs=0, callbacks=always).stop_reason == "finished"
    assert copy.deepcopy(net.history).stop_reason == "finished"


def test_methods_are_called_in_turn_and_functions_may_stand_in_for_them():
    called = []

    def note(name):
        return lambda net, *given: called.append((name, given[0] if name in ("begin", "before", "after") else None))

    functions = LambdaCallback(
        note("after"), on_fit_begin=note("begin"), on_epoch_begin=note("before"), on_fit_end=note("end")
    )
    net = Network(mlp([2, 1]))
    net.fit(X, Y, epochs=1)
    net.fit(X, Y, epochs=2, callbacks=[functions, LambdaCallback()])
    steps = [("before", 1), ("after", 1), ("before", 2), ("after", 2)]
    assert called == [("begin", 2), *steps, ("end", None)]


def test_every_callback_is_ended_in_turn_also_where_one_fails():
    ended, net = [], Network(mlp([2, 1]))

    def end(number):
        def function(net, history):
            ended.append(number)
            if number == 1:
                raise RuntimeError("at the end")

        return LambdaCallback(on_fit_end=function)

    with pytest.raises(RuntimeError, match="at the end"):
        net.fit(X, Y, epochs=1, callbacks=[end(0), end(1), end(2)])
    assert ended == [0, 1, 2]
    assert (net.epoch, net.history.epoch, net.history.stop_reason) == (1, [0], "finished")


def test_what_a_callback_sets_as_an_epoch_begins_is_undone_with_it():
    def set_rate(net, epoch):
        net.learning_rate = 0.5
        if epoch == 3:
            raise RuntimeError("stop")

    net = trained("plain")
    net.fit(X, Y, epochs=1)
    before = state_of(net, recorded=False)
    with pytest.raises(RuntimeError, match="stop"):
        net.fit(X, Y, optimizer="sgd", epochs=1, callbacks=[LambdaCallback(on_epoch_begin=set_rate)])
    assert state_of(net, recorded=False) == before


def test_a_network_may_be_reset_by_a_callback():
    net = Network(mlp([2, 1]))
    reset = LambdaCallback(on_epoch_begin=lambda net, epoch: net.reset() if epoch == 2 else None)
    history = net.fit(X, Y, optimizer=Adam(0.1), epochs=4, callbacks=[reset])
    assert history.epoch == [0, 1, 0, 1]
    assert history["loss"][:2] == history["loss"][2:]


EVERY = {
    "early stopping": lambda path: EarlyStopping(patience=1),
    "plateau": lambda path: ReduceLROnPlateau(patience=1),
    "scheduler": lambda path: LearningRateScheduler(abs),
    "log": lambda path: CSVLogger(path, append=True),
    "limit": lambda path: TimeLimit(1e9),
    "bar": lambda path: ProgressBar(),
    "print": lambda path: PrintEpoch(),
    "functions": lambda path: LambdaCallback(print),
}


@pytest.mark.parametrize("case", EVERY)
def test_callbacks_can_be_copied_and_pickled_before_and_after_a_fit(case, tmp_path):
    callback = EVERY[case](tmp_path / "log.csv")
    options = OPTIONS | {"epochs": 3, "validation_data": (X, Y)}
    for one in (callback, copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        Network(STOCHASTIC).fit(**options, callbacks=[one])
        for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            Network(STOCHASTIC).fit(**options, callbacks=[other])
            if case == "early stopping":
                assert (other.best, other.best_epoch, other.wait) == (one.best, one.best_epoch, one.wait)
    assert len(pickle.dumps(callback)) < 400  # nothing of the network stays in it


def test_they_say_what_they_are():
    assert eval(repr(EarlyStopping("loss", 3)), {"EarlyStopping": EarlyStopping}).patience == 3
    assert "factor=0.5" in repr(ReduceLROnPlateau(factor=0.5))


WRONG = {
    "monitor no string": (lambda: EarlyStopping(3), TypeError, "^monitor must be a name.*got 3"),
    "monitor None": (lambda: ReduceLROnPlateau(None), TypeError, "^monitor must be a name"),
    "a negative patience": (lambda: EarlyStopping(patience=-1), ValueError, "^patience must be >= 0, got -1"),
    "half a patience": (lambda: EarlyStopping(patience=1.5), TypeError, "^patience must be a whole number, got 1.5"),
    "a negative patience of rates": (lambda: ReduceLROnPlateau(patience=-1), ValueError, "^patience must be >= 0"),
    "a negative min_delta": (lambda: EarlyStopping(min_delta=-0.1), ValueError, "^min_delta must be >= 0, got -0.1"),
    "min_delta of NaN": (lambda: ReduceLROnPlateau(min_delta=NAN), ValueError, "^min_delta must be"),
    "an unknown mode": (lambda: EarlyStopping(mode="up"), ValueError, "^unknown mode 'up'.*auto, max, min"),
    "mode no string": (lambda: ReduceLROnPlateau(mode=None), TypeError, "^mode must be a name"),
    "restoring in words": (
        lambda: EarlyStopping(restore_best_weights="yes"),
        TypeError,
        "^restore_best_weights must be True or False, got 'yes'",
    ),
    "a factor above 1": (lambda: ReduceLROnPlateau(factor=1.5), ValueError, "^factor must be > 0 and < 1, got 1.5"),
    "a factor of 1": (lambda: ReduceLROnPlateau(factor=1), ValueError, "^factor must be"),
    "a factor of 0": (lambda: ReduceLROnPlateau(factor=0.0), ValueError, "^factor must be"),
    "a negative cooldown": (lambda: ReduceLROnPlateau(cooldown=-1), ValueError, "^cooldown must be >= 0, got -1"),
    "a negative least rate": (lambda: ReduceLROnPlateau(min_lr=-1e-3), ValueError, "^min_lr must be >= 0"),
    "no time": (lambda: TimeLimit(0), ValueError, "^seconds must be > 0, got 0"),
    "time without end": (lambda: TimeLimit(math.inf), ValueError, "^seconds must be > 0"),
    "time in words": (lambda: TimeLimit("1 h"), TypeError, "^seconds must be a number, got '1 h'"),
    "a rate for a function": (lambda: LearningRateScheduler(0.1), TypeError, "^function must be a function.*got 0.1"),
    "a function of nothing": (
        lambda: LearningRateScheduler(lambda: 0.1),
        TypeError,
        r"^function must take \(epoch\) or",
    ),
    "a function of three": (
        lambda: LearningRateScheduler(lambda epoch, rate, more: 0.1),
        TypeError,
        r"^function must take \(epoch\) or \(epoch, rate\)",
    ),
    "a path of numbers": (lambda: CSVLogger(3), TypeError, "^path must be the path of a file, got 3"),
    "append in words": (lambda: CSVLogger("log.csv", "no"), TypeError, "^append must be True or False, got 'no'"),
    "no separator": (
        lambda: CSVLogger("log.csv", separator=""),
        ValueError,
        "^separator must be one character, got ''",
    ),
    "two separators": (lambda: CSVLogger("log.csv", separator=", "), ValueError, "^separator must be one character"),
    "no function": (lambda: LambdaCallback(3), TypeError, "^on_epoch_end must be a function, got 3"),
    "no function at the end": (lambda: LambdaCallback(on_fit_end="x"), TypeError, "^on_fit_end must be a function"),
    "a class": (lambda: callbacks.get(EarlyStopping), TypeError, "^callbacks must be Callback objects or functions"),
    "a name": (lambda: callbacks.get("early_stopping"), TypeError, "^callbacks must be Callback objects or functions"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_refused_by_name(case):
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call()
