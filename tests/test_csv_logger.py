"""The log in a file: a line for each epoch that was finished, a column for each quantity of each member."""

import csv

import numpy as np
import pytest

from tests.scripted import raises_at, scripted
from tests.trained import X, Y, state_of, trained
from xpnn import Network, mlp
from xpnn.callbacks import CSVLogger


def rows(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_the_log_has_a_line_for_each_epoch_as_soon_as_it_ends(tmp_path):
    path, lines = tmp_path / "log.csv", []
    watch = [CSVLogger(path), lambda net, epoch, logs: lines.append(len(path.read_text().splitlines()))]
    net = Network(mlp([2, 3, 1], output="sigmoid"))
    history = net.fit(X, Y, "bce", epochs=3, metrics=["accuracy"], validation_data=(X, Y), callbacks=watch)
    assert lines == [2, 3, 4]
    header, *table = rows(path)
    assert header == ["epoch", *history.history]
    assert [int(row[0]) for row in table] == history.epoch
    for column, name in enumerate(history.history, start=1):
        assert [float(row[column]) for row in table] == history[name]  # all digits


def test_the_log_of_a_stack_has_a_column_for_each_member(tmp_path):
    path = tmp_path / "log.csv"
    net = Network(mlp([2, 3, 1]), members=2)
    _, history = scripted([1.0, 2.0], CSVLogger(str(path), separator=";"), net=net)  # one number for the whole stack
    header, *table = rows(path, ";")
    names = ["loss", "scripted", "val_loss", "val_scripted"]
    assert header == ["epoch", *(f"{name}_{k}" for name in names for k in range(2))]
    for epoch, row in enumerate(table):
        expected = [np.broadcast_to(history[name][epoch], 2) for name in names]
        assert [float(one) for one in row] == [epoch, *np.concatenate(expected)]


def test_a_log_goes_on_or_begins_anew(tmp_path):
    path, net = tmp_path / "log.csv", Network(mlp([2, 1]))
    anew, further = CSVLogger(path), CSVLogger(path, append=True)
    for callback, epochs in ((further, [0, 1]), (further, [0, 1, 2, 3]), (anew, [4, 5]), (further, [4, 5, 6, 7])):
        net.fit(X, Y, epochs=2, callbacks=[callback])
        header, *table = rows(path)
        assert header == ["epoch", "loss"]
        assert [int(row[0]) for row in table] == epochs
    with pytest.raises(ValueError, match=r"log.csv has the columns \['epoch', 'loss'\], .*'val_loss'\]"):
        net.fit(X, Y, epochs=1, validation_data=(X, Y), callbacks=[further])
    assert [int(row[0]) for row in rows(path)[1:]] == [4, 5, 6, 7]


def test_a_file_that_cannot_be_opened_is_refused_before_training(tmp_path):
    net = trained("plain")
    before = state_of(net)
    for path in (tmp_path / "no" / "log.csv", tmp_path):
        with pytest.raises(OSError, match=str(tmp_path)):
            net.fit(X, Y, optimizer="sgd", callbacks=[CSVLogger(path)])
    assert state_of(net) == before


@pytest.mark.parametrize("append", [False, True])
def test_an_epoch_that_is_undone_leaves_no_line(tmp_path, append):
    path, net = tmp_path / "log.csv", Network(mlp([2, 1]))
    log = CSVLogger(path, append=append)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=9, callbacks=[log, raises_at(2, KeyboardInterrupt)])
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1"]
    net.fit(X, Y, epochs=1, callbacks=[CSVLogger(path, append=True)])
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "2"]
