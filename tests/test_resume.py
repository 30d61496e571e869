"""A fit that was broken off and resumed ends where the unbroken one does, to the bit on NumPy; what differs is told."""

import contextlib
import os
import random

import numpy as np
import pytest

import xpnn
from tests import survival
from tests.networks import same, state_of
from xpnn import SGD, Adam, Callback, CosineDecay, Network, UnusableFile, mlp
from xpnn.backend import to_host
from xpnn.callbacks import (
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TimeLimit,
)

X, Y = xpnn.datasets.circles(60)
LAYERS = [xpnn.Dense(2, 8), xpnn.BatchNorm(8), "relu", xpnn.Dropout(0.2), xpnn.Dense(8, 1), "sigmoid"]
EPOCHS = 20


class Broken(Exception):
    """What breaks a training off in these tests."""


def watched(folder, kind):
    """Callbacks of one kind that keep something between epochs."""
    kinds = {
        "none": list,
        "early": lambda: [EarlyStopping(patience=4)],
        "early, the last kept": lambda: [EarlyStopping("loss", patience=4, restore_best_weights=False)],
        "plateau": lambda: [ReduceLROnPlateau("loss", patience=2, factor=0.5, min_delta=0.05)],
        "scheduler": lambda: [LearningRateScheduler(lambda epoch, rate: 0.9 * rate if epoch else rate)],
        "several": lambda: [
            CSVLogger(folder / "log.csv"),
            EarlyStopping(patience=6),
            TimeLimit(1e6),
            ReduceLROnPlateau(patience=2, factor=0.5, cooldown=1),
        ],
    }
    return kinds[kind]()


def run(folder, kind="none", stops=(), backend="numpy", members=None, epochs=EPOCHS, every=2, **options):
    """The network and the history of a training that is broken off in the epochs `stops`, each time in another process
    as it were."""
    net, history = None, None
    folder.mkdir(exist_ok=True)
    for stop in (*stops, None):
        net = Network(LAYERS, backend, seed=3, members=members)

        def breaking(net, epoch, logs, stop=stop):
            if stop is not None and epoch >= stop:
                raise Broken

        watch = [*watched(folder, kind), breaking, ModelCheckpoint(folder, every=every)]
        asked = {"loss": xpnn.Penalized("bce", l2=1e-3), "optimizer": Adam(0.05, average=0.9), "batch_size": 16}
        asked |= {"validation_split": 0.3, "metrics": ["accuracy"]} | options
        try:
            history = net.fit(X, Y, epochs=epochs, callbacks=watch, resume=folder, **asked)
        except Broken:
            assert stop is not None
    return net, history


def record(history):
    return {name: getattr(history, name) for name in ("history", "epoch", "stop_reason", "best_epoch", "trained")}


@pytest.mark.parametrize("kind", ["none", "early", "early, the last kept", "plateau", "scheduler", "several"])
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("optimizer", [Adam(0.05, average=0.9), SGD(CosineDecay(0.3, 60), momentum=0.9)], ids=repr)
def test_a_resumed_training_ends_where_the_unbroken_one_does(kind, members, optimizer, tmp_path):
    whole, history = run(tmp_path / "whole", kind, members=members, optimizer=optimizer)
    found, again = run(tmp_path / "broken", kind, (5, 9, 10), members=members, optimizer=optimizer)
    assert same(state_of(found), state_of(whole)) and str(found.progress[1:]) == str(whole.progress[1:])
    assert str(record(again)) == str(record(history))
    if kind == "several":
        logs = [(tmp_path / name / "log.csv").read_text() for name in ("whole", "broken")]
        assert logs[0] == logs[1] and logs[0].count("\n") == len(history.epoch) + 1


def test_on_other_backends_it_ends_there_within_rounding(eager, tmp_path):
    whole, _ = run(tmp_path / "whole", "several", backend=eager, epochs=6)
    found, _ = run(tmp_path / "broken", "several", (3,), backend=eager, epochs=6)
    assert np.allclose(to_host(found.progress.carry.params), to_host(whole.progress.carry.params), rtol=1e-5)


def test_a_training_goes_on_with_a_checkpoint_of_another_backend(tmp_path):
    run(tmp_path, epochs=4)
    found, history = run(tmp_path, epochs=8, backend="array-api-strict")
    whole, expected = run(tmp_path / "whole", epochs=8)
    assert history.epoch == expected.epoch and np.allclose(history["loss"], expected["loss"], rtol=1e-4)
    assert found.backend.name == "array-api-strict" and whole.backend.name == "numpy"


def test_epochs_are_those_in_all_and_a_training_that_is_over_stays_so(tmp_path):
    first, _ = run(tmp_path, epochs=6)
    again, history = run(tmp_path, epochs=6)
    assert same(state_of(again), state_of(first)) and len(history.epoch) == 6 and history.stop_reason == "finished"
    _, history = run(tmp_path, epochs=3)
    assert len(history.epoch) == 6
    _, history = run(tmp_path, "none", epochs=8)
    assert len(history.epoch) == 8


def test_early_stopping_that_had_ended_the_training_ends_it_again(tmp_path):
    first, history = run(tmp_path, "early", epochs=200, every=1)
    again, repeated = run(tmp_path, "early", epochs=200, every=1)
    assert history.stop_reason == repeated.stop_reason == "early" and same(state_of(again), state_of(first))
    assert repeated.best_epoch == history.best_epoch


def test_who_ran_out_of_time_goes_on_with_more(tmp_path):
    def fit(seconds):
        net = Network(mlp([2, 4, 1]), seed=1)
        return net.fit(X, Y, epochs=6, callbacks=[TimeLimit(seconds), ModelCheckpoint(tmp_path)], resume=tmp_path)

    first = fit(1e-9)
    assert first.stop_reason == "time" and len(first.epoch) == 1
    assert fit(1e6).stop_reason == "finished"


@pytest.mark.parametrize("keep, every", [(1, 1), (2, 3), (None, 4)])
def test_the_latest_checkpoints_are_kept(keep, every, tmp_path):
    net = Network(mlp([2, 1]))
    net.fit(X, Y, epochs=9, callbacks=[ModelCheckpoint(tmp_path / "deep" / "er", every=every, keep=keep)])
    found = sorted(os.listdir(tmp_path / "deep" / "er"))
    assert found == [f"epoch-{n:06d}.safetensors" for n in range(every, 10, every)][-(keep or 99) :]


@pytest.mark.parametrize("members", [None, 3])
def test_the_best_network_is_written_each_members_own_of_a_stack(members, tmp_path):
    best, lowest = {}, {}

    def note(net, epoch, logs):
        for k, value in enumerate(np.atleast_1d(logs["val_loss"])):
            if value < lowest.get(k, np.inf):
                lowest[k], best[k] = value, to_host(net.progress.shown.params)[k if members else ...].copy()

    net = Network(LAYERS, seed=3, members=members)
    options = {"validation_split": 0.3, "optimizer": Adam(0.1), "loss": "bce", "epochs": 12}
    net.fit(X, Y, callbacks=[note, ModelCheckpoint(tmp_path, every=5, monitor="val_loss")], **options)
    found = xpnn.load(tmp_path / "best.safetensors")
    assert same(found.progress.carry.params, np.stack(list(best.values())) if members else best[0])
    assert sorted(os.listdir(tmp_path)) == ["best.safetensors", "epoch-000010.safetensors"]


def test_the_best_of_a_stack_is_known_again_when_it_is_resumed(tmp_path):
    def fit(folder, stops):
        for stop in (*stops, None):
            net = Network(LAYERS, seed=3, members=3)

            def breaking(net, epoch, logs, stop=stop):
                if stop is not None and epoch >= stop:
                    raise Broken

            saved = ModelCheckpoint(folder, every=2, monitor="val_loss")
            options = {"validation_split": 0.3, "optimizer": Adam(0.3), "loss": "bce", "epochs": 14, "resume": folder}
            with contextlib.suppress(Broken):
                net.fit(X, Y, callbacks=[breaking, saved], **options)
        return xpnn.load(folder / "best.safetensors").params

    assert same(fit(tmp_path / "whole", ()), fit(tmp_path / "broken", (5, 10)))


def test_a_checkpoint_is_a_network_to_load(tmp_path):
    net, history = run(tmp_path, epochs=4)
    found = xpnn.load(tmp_path / "epoch-000004.safetensors")
    assert same(state_of(found), state_of(net)) and found.epoch == 4
    assert found.history.epoch == history.epoch and found.history["val_loss"] == history["val_loss"]


DIFFERENT = {
    "layers": ({"layers": mlp([2, 9, 1])}, r"another layers\[0\]"),
    "depth": ({"layers": mlp([2, 8, 8, 1])}, "another layers"),
    "seed": ({"seed": 8}, r"another seeds\[0\]"),
    "members": ({"members": 2}, "another "),
    "dtype": ({"dtype": "float64"}, "another dtype"),
    "loss": ({"loss": "huber"}, "another loss"),
    "optimizer": ({"optimizer": Adam(0.2)}, "another optimizer"),
    "callbacks": ({"callbacks": [EarlyStopping("loss")]}, r"of a fit with the callbacks \['ModelCheckpoint'\]"),
    "records": ({"metrics": ["r2"]}, r"with the records \['loss'\], this one has \['loss', 'r2'\]"),
    "epochs behind it": ({"before": 2}, "began after 0 epochs, this network has 2 behind it"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_differs_from_the_checkpoint_is_named_and_nothing_changes(case, tmp_path):
    def fit(layers=None, seed=1, members=None, dtype="float32", callbacks=(), before=0, **options):
        net = Network(layers or mlp([2, 8, 1]), dtype=dtype, seed=seed, members=members)
        if before:
            net.fit(X, Y, "mse", Adam(), epochs=before)
        start = state_of(net)
        asked = {"loss": "mse", "optimizer": Adam(), "epochs": 4} | options
        try:
            net.fit(X, Y, callbacks=[*callbacks, ModelCheckpoint(tmp_path)], resume=tmp_path, **asked)
        except ValueError:
            assert same(state_of(net), start)
            raise

    fit()
    different, message = DIFFERENT[case]
    with pytest.raises(ValueError, match=message) as caught:
        fit(**different)
    assert "resume: " in str(caught.value) and "epoch-000004" in str(caught.value)


def test_a_saved_network_is_no_checkpoint_and_a_damaged_one_is_told(tmp_path):
    net = Network(mlp([2, 1]))
    net.save(tmp_path / "net.safetensors", training=True)
    with pytest.raises(ValueError, match="is a network and no checkpoint of a fit"):
        net.fit(X, Y, resume=tmp_path / "net.safetensors")
    net.fit(X, Y, epochs=2, callbacks=[ModelCheckpoint(tmp_path)])
    path = tmp_path / "epoch-000002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    fresh = Network(mlp([2, 1]))
    with pytest.raises(UnusableFile, match="epoch-000002"):
        fresh.fit(X, Y, epochs=2, resume=tmp_path)
    assert fresh.epoch == 0


def test_checkpoints_of_an_earlier_run_are_not_overwritten(tmp_path):
    run(tmp_path, epochs=4)
    with pytest.raises(ValueError, match=r"checkpoints up to epoch 4 of an earlier run.*give fit\(resume="):
        Network(mlp([2, 1])).fit(X, Y, epochs=2, callbacks=[ModelCheckpoint(tmp_path)])
    net = Network(mlp([2, 1]))  # its own earlier epochs are no other run's
    for _ in range(2):
        net.fit(X, Y, epochs=2, callbacks=[ModelCheckpoint(tmp_path / "own")])
    assert os.listdir(tmp_path / "own") == ["epoch-000004.safetensors"]


def test_one_folder_serves_one_training_at_a_time(tmp_path):
    nets = [Network(mlp([2, 1]), seed=k) for k in range(2)]
    with pytest.raises(ValueError, match="serves another training that runs: give each network its own"):
        xpnn.fit_many(nets, X, Y, epochs=2, callbacks=[ModelCheckpoint(tmp_path)])
    with pytest.raises(ValueError, match=r"log.csv serves another training that runs: give each network its own"):
        xpnn.fit_many(nets, X, Y, epochs=2, callbacks=[CSVLogger(tmp_path / "log.csv")])
    assert [net.epoch for net in nets] == [0, 0]
    folders = [tmp_path / str(k) for k in range(2)]
    histories = xpnn.fit_many(nets, X, Y, epochs=3, callbacks=[[ModelCheckpoint(one)] for one in folders])
    for net, folder, history in zip(nets, folders, histories, strict=True):
        found = xpnn.load(folder / "epoch-000003.safetensors")
        assert same(found.params, net.params) and found.history["loss"] == history["loss"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_network_after_that_epoch(tmp_path, monkeypatch):
    net = Network(mlp([2, 1]))
    seen = []

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xpnn.files.replace", full)
    with pytest.raises(OSError, match="No space left"):
        watch = [
            lambda net, epoch, logs: seen.append(state_of(net)),
            ModelCheckpoint(tmp_path, every=3),
        ]
        net.fit(X, Y, epochs=9, callbacks=watch)
    assert net.epoch == 3 and same(state_of(net), seen[2]) and net.history.epoch == [0, 1, 2]


def test_what_a_crash_has_left_is_cleared(tmp_path):
    (tmp_path / ".epoch-000001.safetensors.1-2.tmp").write_bytes(b"half")
    Network(mlp([2, 1])).fit(X, Y, epochs=1, callbacks=[ModelCheckpoint(tmp_path)])
    assert os.listdir(tmp_path) == ["epoch-000001.safetensors"]


class Counter(Callback):
    """A callback of a user's own with a state."""

    def on_fit_begin(self, net, epochs):
        self.seen = {"epochs": 0, "sums": []}

    def on_epoch_end(self, net, epoch, logs):
        self.seen = {"epochs": self.seen["epochs"] + 1, "sums": [*self.seen["sums"], np.full(2, logs["loss"])]}

    def state(self):
        return self.seen

    def restore(self, net, state):
        self.seen = state


def test_a_callback_of_a_users_own_keeps_its_state(tmp_path):
    for epochs in (2, 5):
        net, counter = Network(mlp([2, 1]), seed=1), Counter()
        history = net.fit(X, Y, epochs=epochs, callbacks=[ModelCheckpoint(tmp_path), counter], resume=tmp_path)
    assert counter.seen["epochs"] == 5 and [one.tolist() for one in counter.seen["sums"]] == [
        [loss, loss] for loss in history["loss"]
    ]


def test_a_log_that_is_gone_is_written_again(tmp_path):
    def fit(epochs):
        watch = [CSVLogger(tmp_path / "log.csv"), ModelCheckpoint(tmp_path)]
        Network(mlp([2, 1]), seed=1).fit(X, Y, epochs=epochs, callbacks=watch, resume=tmp_path)
        return (tmp_path / "log.csv").read_text()

    fit(3)
    (tmp_path / "log.csv").unlink()
    text = fit(5)
    assert text.count("\n") == 6 and text.startswith("epoch,loss\n0,")


@pytest.mark.parametrize("kind", survival.KINDS)
def test_trainings_killed_at_random_moments_end_where_they_would(kind, tmp_path):
    if kind == "estimator":
        pytest.importorskip("sklearn")
    assert survival.trainings(kind, 12, str(tmp_path), random.Random(1), pause=0.1) >= 1


def test_wrong_settings_are_refused():
    for options, message in (
        ({"directory": 3}, "directory must be the path of a folder, got 3"),
        ({"directory": "x", "every": 0}, "every must be >= 1"),
        ({"directory": "x", "keep": 0}, "keep must be >= 1"),
        ({"directory": "x", "monitor": 3}, "monitor must be a name"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            ModelCheckpoint(**options)
