"""Many networks in one fit, at the corners: every kind of data, callbacks that part the members, and what is told."""

import threading
import warnings

import numpy as np
import pytest

import xpnn
from tests.test_members import LABELS, RNG, X, Y, arrays, equal
from xpnn import SGD, Adam, Network, callbacks, epochs, groups, mlp, sources
from xpnn.backend import Backend
from xpnn.callbacks import EarlyStopping, LearningRateScheduler, ReduceLROnPlateau

ROWS = [np.arange(5), np.arange(40), np.arange(20)]


@pytest.fixture
def on_disk(tmp_path):
    x = np.memmap(tmp_path / "x", dtype="float32", mode="w+", shape=X.shape)
    x[:] = X
    return x


def stopping(*members):
    """A callback that stops these members after the second epoch, and all of a lone network in their place."""
    return lambda net, epoch, logs: [epoch == 1 and k in members for k in range(net.members or 0)]


def test_a_plateau_of_one_member_leaves_the_schedules_of_the_others():
    """The first member's loss is never better by 10, the others are given 0 as the least difference by their data."""
    targets = [np.zeros((60, 1), np.float32), Y, 100 * Y]

    def fit(net, k=None):
        rate = xpnn.ExponentialDecay((0.1, 0.2, 0.3) if k is None else (0.1, 0.2, 0.3)[k], 0.9, 10)
        plateau = ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.2)
        y = np.stack(targets) if k is None else targets[k]
        return net.fit(X, y, optimizer=SGD(rate, clip_norm=1.0), epochs=6, batch_size=20, callbacks=[plateau])

    stack = Network(mlp([3, 4, 1], "tanh"), members=3)
    history, rates = fit(stack), stack.learning_rate
    for k in range(3):
        lone = Network(mlp([3, 4, 1], "tanh"), seed=k)
        alone = fit(lone, k)
        assert equal(stack, k, lone, history, alone)
        assert stack[k].learning_rate == lone.learning_rate == rates[k]
    assert callable(stack[2].progress.learning_rate or stack[2].progress.optimizer.learning_rate)
    assert isinstance(stack[0].progress.learning_rate, float)


@pytest.mark.parametrize(
    "rates",
    [
        lambda: ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0),
        lambda: LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)),
        lambda: LearningRateScheduler(lambda epoch, rate: rate * 0.5),
    ],
)
def test_a_member_that_has_stopped_keeps_its_learning_rate(rates):
    ends = (2, 5)
    stack = Network(mlp([3, 4, 1]), members=2)
    stop = callbacks.LambdaCallback(lambda net, epoch, logs: np.asarray(ends) <= epoch + 1)
    stack.fit(X, Y, optimizer=Adam(0.1), epochs=6, callbacks=[rates(), stop])
    stack.fit(X, Y, epochs=2)
    for k, end in enumerate(ends):
        lone = Network(mlp([3, 4, 1]), seed=k)
        lone.fit(X, Y, optimizer=Adam(0.1), epochs=end, callbacks=[rates()])
        lone.fit(X, Y, epochs=2)
        assert stack[k].learning_rate == lone.learning_rate == stack.learning_rate[k]
        assert equal(stack, k, lone)


def test_a_member_that_diverges_has_the_learning_rate_of_the_epoch_before():
    schedule = LearningRateScheduler(lambda epoch: (0.01 / (epoch + 1), 0.01 if epoch < 2 else 1e30))
    stack = Network(mlp([3, 4, 1]), members=2)
    with pytest.warns(RuntimeWarning, match=r"\[1\] diverged"):
        stack.fit(X, Y, optimizer=SGD(0.1), epochs=5, callbacks=[schedule])
    assert stack.learning_rate == (0.01 / 5, 0.01)
    assert stack[1].epoch == 2


def test_members_that_stop_over_rows_on_a_disk(on_disk, monkeypatch):
    monkeypatch.setattr(sources, "NUMBERS", 100)  # several pools, whose order is drawn
    monkeypatch.setattr(sources, "BLOCKS", 4)
    stack = Network(mlp([3, 4, 1], dropout=0.3), members=3)
    stack.fit(on_disk, Y, epochs=4, batch_size=8, callbacks=[stopping(0, 2)])
    for k in range(3):
        lone = Network(mlp([3, 4, 1], dropout=0.3), seed=k)
        lone.fit(on_disk, Y, epochs=4 if k == 1 else 2, batch_size=8)
        assert equal(stack, k, lone)
    stack.fit(on_disk, Y, epochs=1, batch_size=8)
    assert list(stack.progress.epoch) == [3, 5, 3]


def test_members_that_stand_apart_go_on_over_rows_on_a_disk(on_disk):
    """All rows are one pool: each member's order is that of its own epoch."""
    stack = Network(mlp([3, 4, 1]), members=2)
    stack.fit(on_disk, Y, epochs=4, batch_size=8, callbacks=[stopping(0)])
    stack.fit(on_disk, Y, epochs=3, batch_size=8)
    for k in range(2):
        lone = Network(mlp([3, 4, 1]), seed=k)
        lone.fit(on_disk, Y, epochs=(2, 4)[k], batch_size=8)
        lone.fit(on_disk, Y, epochs=3, batch_size=8)
        assert equal(stack, k, lone)


def test_members_stop_and_diverge_over_batches_of_an_iterable():
    batches, rates = [(X[i : i + 7], Y[i : i + 7]) for i in range(0, 60, 7)], (0.01, 1e32, 0.02)
    stack = Network(mlp([3, 4, 1], dropout=0.3), members=3)
    with pytest.warns(RuntimeWarning, match=r"\[1\] diverged"):
        history = stack.fit(batches, optimizer=SGD(rates), epochs=4, callbacks=[stopping(0)])
    assert history.stop_reason == ["callback", "diverged", "finished"]
    assert list(history.trained) == [2, 0, 4]
    for k, count in ((0, 2), (2, 4)):
        lone = Network(mlp([3, 4, 1], dropout=0.3), seed=k)
        lone.fit(batches, optimizer=SGD(rates[k]), epochs=count)
        assert equal(stack, k, lone)


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("column", [False, True])
def test_class_indices_of_each_member_beside_rows_that_all_share(read, column, on_disk):
    labels = RNG.integers(0, 2, (3, 60))
    stack = Network(mlp([3, 4, 2]), members=3)
    x, y = on_disk if read else X, labels[..., None] if column else labels
    history = stack.fit(x, y, "softmax_cross_entropy", epochs=2, batch_size=8, metrics=["accuracy"])
    for k in range(3):
        lone = Network(mlp([3, 4, 2]), seed=k)
        alone = lone.fit(x, labels[k], "softmax_cross_entropy", epochs=2, batch_size=8, metrics=["accuracy"])
        assert equal(stack, k, lone, history, alone)


def test_one_column_of_each_member_beside_rows_that_all_share():
    y = np.stack([Y, 2 * Y])
    one, other = Network(mlp([3, 4, 1]), members=2), Network(mlp([3, 4, 1]), members=2)
    one.fit(X, y, epochs=2)
    other.fit(X, y[..., 0], epochs=2)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def test_the_loss_of_a_single_weighed_batch_is_its_own():
    rows, weight = [np.arange(n) for n in (3, 9, 8, 17, 5)], RNG.uniform(0, 2, 60)
    stack = Network(mlp([3, 4, 1]), dtype="float64", members=5)
    history = stack.fit(X, Y, epochs=6, rows=rows, sample_weight=weight)
    for k, own in enumerate(rows):
        lone = Network(mlp([3, 4, 1]), dtype="float64", seed=k)
        alone = lone.fit(X[own], Y[own], epochs=6, sample_weight=weight[own])
        assert equal(stack, k, lone, history, alone)


@pytest.mark.parametrize("rows", [None, [np.arange(12), np.arange(11)]])
def test_a_loss_that_was_infinite_early_in_an_epoch_is_found(rows, monkeypatch):
    """Its parameters stay finite: the gradient of a squared error overflows later than its value."""
    monkeypatch.setattr(epochs, "PIECE", 2)
    y = np.ones((2, 12, 1), np.float32)
    y[1, 0] = 1e25
    stack, options = Network(mlp([3, 1]), members=2), {"epochs": 1, "batch_size": 2, "shuffle": False}
    with pytest.warns(RuntimeWarning, match=r"\[1\] diverged"), np.errstate(over="ignore"):
        history = stack.fit(X[:12], y, optimizer=SGD(1e-30), rows=rows, **options)
    assert history.stop_reason == ["finished", "diverged"]
    lone = Network(mlp([3, 1]), seed=0)
    alone = lone.fit(X[:12], y[0], optimizer=SGD(1e-30), **options)
    assert equal(stack, 0, lone, history, alone)


def test_a_metric_may_give_one_number_for_the_stack():
    def size(prediction, target, *, xp, weight=None):
        return xp.mean(target)

    stack = Network(mlp([3, 4, 1]), members=2)
    stack.fit(X, Y, epochs=2, metrics=[size])
    assert stack[1].history["size"] == [float(one) for one in stack.history["size"]]


def test_what_is_shown_of_a_stack_is_of_those_that_are_trained(capsys):
    stack = Network(mlp([3, 4, 1]), members=3)
    history = stack.fit(X, Y, epochs=3, verbose=2, callbacks=[stopping(0)])
    last = [f"{of(history['loss'][-1][1:]):.4g}" for of in (min, max)]
    shown = capsys.readouterr().out.splitlines()[-1]
    assert f"epoch 3/3  loss {last[0]}..{last[1]}  " in shown and "trained    2 of 3" in shown
    with pytest.warns(RuntimeWarning, match="diverged"):
        Network(mlp([3, 4, 1]), members=2).fit(X, Y, optimizer=SGD(1e32), epochs=3, verbose=2)
    assert capsys.readouterr().out.startswith("epoch 1/3  loss       nan  ")


@pytest.mark.parametrize("options", [{}, {"rows": ROWS}, {"rows": [ROWS[0]] * 3}], ids=["all", "unequal", "equal"])
def test_a_device_is_read_once_or_twice_an_epoch(options, monkeypatch):
    stack, reads, inner = Network(mlp([3, 4, 1]), "array-api-strict:device1", "float64", members=3), [], Backend.to_host

    def read(self, *args):
        reads.append(args)
        return inner(self, *args)

    monkeypatch.setattr(Backend, "to_host", read)
    counts = []
    for count in (1, 3):
        reads.clear()
        stack.fit(X, Y, epochs=count, batch_size=8, **options)
        counts.append(len(reads))
    assert counts[1] - counts[0] == 2 * (1 + (options.get("rows") is ROWS))


@pytest.mark.parametrize("compile", [True, False, "jit"])
def test_unequal_rows_by_every_way_to_run_a_step(compile):
    if compile == "jit":
        pytest.importorskip("numba")
    stack = Network(mlp([3, 4, 1], "tanh", dropout=0.2, norm="batch"), members=3)
    history = stack.fit(X, Y, optimizer=Adam((0.1, 0.2, 0.3)), epochs=3, batch_size=8, rows=ROWS, compile=compile)
    for k, own in enumerate(ROWS):
        lone = Network(mlp([3, 4, 1], "tanh", dropout=0.2, norm="batch"), seed=k)
        optimizer = Adam((0.1, 0.2, 0.3)[k])
        alone = lone.fit(X[own], Y[own], optimizer=optimizer, epochs=3, batch_size=8, compile=compile)
        assert equal(stack, k, lone, history, alone)


def test_networks_of_different_counts_as_one_stack():
    each = [Network(mlp([3, 4, 1], dropout=0.2), seed=k) for k in range(3)]
    for k, net in enumerate(each):
        net.fit(X, Y, optimizer=Adam(xpnn.CosineDecay(0.1 * (k + 1), steps=100)), epochs=k + 1)
    stack = Network.stack(each)
    assert stack.learning_rate == tuple(net.learning_rate for net in each)
    for net in (stack, *each):
        net.fit(X, Y, epochs=2)
    assert all(equal(stack, k, net) for k, net in enumerate(each))


def test_what_a_callback_breaks_off_is_undone_for_all_members():
    def failing(net, epoch, logs):
        if epoch == 2:
            raise KeyError("broken")

    watching = [stopping(0), EarlyStopping("loss", patience=9), failing]
    stack, other = Network(mlp([3, 4, 1]), members=2), Network(mlp([3, 4, 1]), members=2)
    with pytest.raises(KeyError, match="broken"):
        stack.fit(X, Y, epochs=5, callbacks=watching)
    other.fit(X, Y, epochs=2)
    assert stack.history.stop_reason == ["callback", None]
    assert len(stack.history.epoch) == 2
    assert all(np.array_equal(a, b) for a, b in zip(arrays(stack), arrays(other), strict=True))


def test_lists_and_rows_to_validate_on():
    own = [slice(0, 5), slice(5, 30), slice(30, 60)]
    xs, ys = [X[one] for one in own], [Y[one] for one in own]
    stack = Network(mlp([3, 4, 1]), members=3)
    history = stack.fit(xs, ys, epochs=3, validation_data=(xs[::-1], ys[::-1]), metrics=["mae"])
    for k in range(3):
        lone = Network(mlp([3, 4, 1]), seed=k)
        alone = lone.fit(xs[k], ys[k], epochs=3, validation_data=(xs[2 - k], ys[2 - k]), metrics=["mae"])
        assert equal(stack, k, lone, history, alone)


def test_splits_weights_and_classes_of_each_members_rows():
    rows, weight = [np.arange(40), np.arange(15, 60)], np.linspace(0.1, 2.0, 60)
    options = {"validation_split": 0.25, "class_weight": "balanced", "metrics": ["accuracy"], "epochs": 3}
    stack = Network(mlp([3, 2]), members=2)
    history = stack.fit(X, LABELS, "softmax_cross_entropy", rows=rows, sample_weight=weight, **options)
    for k, own in enumerate(rows):
        lone = Network(mlp([3, 2]), seed=k)
        alone = lone.fit(X[own], LABELS[own], "softmax_cross_entropy", sample_weight=weight[own], **options)
        assert equal(stack, k, lone, history, alone)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net: net.fit(X, Y, rows=5), "one array of row numbers for each of the 2 members, got 1"),
        (lambda net: net.fit(X, Y, rows=[[0], [3, -1]]), r"rows\[1\] holds -1, but rows of x go from 0 to 59"),
        (lambda net: net[0].fit([X, X], [Y, Y]), "x of shape .* has an axis too many"),
        (lambda net: net.fit([X, X]), "y must be a list with one array for each of the 2 members, as x is"),
        (lambda net: net.fit(X, Y, rows=[[0], [1, 2, 3]], validation_split=0.3), "member 0: validation_split=0.3 of 1"),
        (
            lambda net: net.fit(X, Y > 9, "mse", rows=ROWS[:2], class_weight={1: 2}),
            r"classes \[1\] that rows\[0\] of y",
        ),
        (lambda net: net.fit([X, X], [Y > 9, Y > 9], "mse", class_weight={1: 2}), r"\[1\] that member 0: y does not"),
    ],
)
def test_what_is_wrong_with_the_rows_of_a_member_names_it(call, words):
    net = Network(mlp([3, 4, 1]), members=2)
    before = net.progress
    with warnings.catch_warnings(), pytest.raises(ValueError, match=words):
        warnings.simplefilter("error")
        call(net)
    assert net.progress is before


def test_groups_in_threads_give_the_same_numbers(monkeypatch):
    """Of groups that are formed anew as members stop."""
    monkeypatch.setattr(groups, "BUSY", 0)
    stacks = []
    for threads, cache in ((1, 1 << 22), (2, 1), (3, 4000)):
        monkeypatch.setattr(groups, "blas_threads", lambda threads=threads: threads)
        monkeypatch.setattr(groups, "CACHE", cache)
        stack = Network(mlp([3, 4, 1], dropout=0.1), members=7)
        stack.fit(
            X, Y, epochs=4, batch_size=8, callbacks=[stopping(0, 2, 3, 6)], rows=[np.arange(9 + k) for k in range(7)]
        )
        stack.fit(X, Y, epochs=2, batch_size=8)
        stacks.append(arrays(stack))
    assert all(np.array_equal(a, b) for other in stacks for a, b in zip(other, stacks[0], strict=True))


@pytest.mark.parametrize("members", [None, 2])
def test_the_epoch_after_which_another_callback_stops_may_be_the_best(members):
    net = Network(mlp([3, 4, 1]), members=members)
    always = callbacks.LambdaCallback(lambda net, epoch, logs: epoch == 2)
    history = net.fit(X, Y, epochs=9, callbacks=[always, EarlyStopping("loss")])
    other = Network(mlp([3, 4, 1]), members=members)
    other.fit(X, Y, epochs=3)
    assert np.all(history.best_epoch == 2)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(net), arrays(other), strict=True))


def test_shared_probabilities_of_as_many_rows_as_members_and_classes():
    x, y = RNG.normal(size=(2, 2, 3)), np.eye(2)
    stack = Network(mlp([3, 4, 2]), members=2)
    stack.fit(x, y, "softmax_cross_entropy", epochs=2)
    for k in range(2):
        lone = Network(mlp([3, 4, 2]), seed=k)
        lone.fit(x[k], y, "softmax_cross_entropy", epochs=2)
        assert equal(stack, k, lone)


def test_groups_of_members_that_have_stopped_are_left_out(monkeypatch):
    calls, inner = [], groups.run_epoch
    monkeypatch.setattr(groups, "CACHE", 1)
    monkeypatch.setattr(groups, "run_epoch", lambda *args: calls.append(args) or inner(*args))
    Network(mlp([3, 4, 1]), members=3).fit(X, Y, epochs=4, callbacks=[stopping(1)])
    assert len(calls) == 4 + 4 + 2


def test_a_thread_that_fails_breaks_off_the_others(monkeypatch):
    monkeypatch.setattr(groups, "BUSY", 0)
    monkeypatch.setattr(groups, "blas_threads", lambda: 2)
    inner, waited = groups.run_epoch, []

    def failing(*args):
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room")
        waited.append(args[-1].wait(10))  # the event that is set where another has failed
        return inner(*args)

    monkeypatch.setattr(groups, "run_epoch", failing)
    with pytest.raises(MemoryError, match="no room"):
        Network(mlp([3, 4, 1]), members=6).fit(X, Y, epochs=1)
    assert waited == [True]
