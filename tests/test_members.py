"""Many networks in one fit: lane k is the lone network k, whatever the others do."""

import pickle
import threading
import tracemalloc

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import xpnn
from xpnn import Adam, Network, callbacks, groups, losses, mlp
from xpnn.availability import status
from xpnn.backend import to_host
from xpnn.callbacks import EarlyStopping

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
Y = (X @ np.asarray([[1.0], [-2.0], [0.5]], np.float32) + 0.1 * RNG.normal(size=(60, 1))).astype(np.float32)
LABELS = (Y[:, 0] > 0).astype(np.int64)
FOLDS = [np.flatnonzero(np.arange(60) % 7 != k) for k in range(4)]  # 51 or 52 rows


def arrays(net):
    """All that training changes, on the host."""
    from xpnn.progress import leaves

    return [to_host(array) for array in leaves(net.progress.carry)]


def equal(stack, k, lone, history=None, alone=None):
    """Whether member k is the lone network to the bit, its record too."""
    mine = stack[k]
    same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays(mine), arrays(lone), strict=True))
    counts = (mine.epoch, mine.updates, mine.seed) == (lone.epoch, lone.updates, lone.seed)
    if history is None:
        return same and counts
    own = history.lane(k)
    recorded = own.history == alone.history and own.epoch == alone.epoch and own.best_epoch == alone.best_epoch
    return same and counts and recorded and own.stop_reason == alone.stop_reason


OPTIMIZERS = [
    lambda rates: Adam(rates),
    lambda rates: xpnn.SGD(rates, momentum=0.9, nesterov=True, clip_norm=1.0),
    lambda rates: xpnn.Adam(xpnn.CosineDecay(rates, steps=60), weight_decay=0.01, average=0.9),
]


@st.composite
def settings(draw):
    members = draw(st.integers(1, 5))
    numbers = st.lists(st.floats(0.001, 0.05), min_size=members, max_size=members)
    counts = st.lists(st.integers(5, 40), min_size=members, max_size=members)
    return {
        "rates": draw(numbers),
        "dropout": draw(st.none() | st.lists(st.floats(0.0, 0.6), min_size=members, max_size=members)),
        "norm": draw(st.sampled_from([None, "batch", "layer"])),
        "l2": draw(st.none() | numbers),
        "smoothing": draw(st.none() | numbers),
        "optimizer": draw(st.sampled_from(OPTIMIZERS)),
        "rows": draw(st.none() | counts),
        "batch_size": draw(st.sampled_from([None, 4, 7, 16, 100])),
        "shuffle": draw(st.booleans()),
        "early": draw(st.booleans()),
        "split": draw(st.sampled_from([0.0, 0.3])),
        "cache": draw(st.sampled_from([1, 20_000, 1 << 22])),
        "workers": draw(st.sampled_from([1, 3])),
        "seeds": draw(st.lists(st.integers(0, 2**40), min_size=members, max_size=members)),
    }


def build(case, k=None):
    """The stack, or lone network k of it, and what it is fitted with."""

    def of(values):
        return values if values is None or k is None else values[k]

    seeds, epochs = of(case["seeds"]), 20
    chain = mlp([3, 6, 2], "tanh", norm=case["norm"])
    if case["dropout"] is not None:
        chain.insert(2, xpnn.Dropout(of(case["dropout"])))
    net = Network(chain, seed=seeds)
    loss = losses.SoftmaxCrossEntropy(0.0 if case["smoothing"] is None else of(case["smoothing"]))
    if case["l2"] is not None:
        loss = losses.Penalized(loss, l2=of(case["l2"]))
    stop = [EarlyStopping("val_loss" if case["split"] else "loss", patience=2)] if case["early"] else []
    options = {"epochs": epochs, "batch_size": case["batch_size"], "shuffle": case["shuffle"], "callbacks": stop}
    options |= {"loss": loss, "optimizer": case["optimizer"](of(case["rates"])), "validation_split": case["split"]}
    return net, options


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(settings())
def test_lane_k_is_the_lone_network_k_to_the_bit(case):
    rng, rows = np.random.default_rng(1), None
    if case["rows"] is not None:
        rows = [np.concatenate([rng.integers(0, 60, count), [0, 59]]) for count in case["rows"]]
        hypothesis.assume(all(set(LABELS[lane]) == {0, 1} for lane in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "CACHE", case["cache"])
        patch.setattr(groups, "BUSY", 0)
        patch.setattr(groups, "blas_threads", lambda: case["workers"])
        stack, options = build(case)
        history = stack.fit(X, LABELS, rows=rows, **options)
        for k in range(len(case["seeds"])):
            lone, options = build(case, k)
            chosen = slice(None) if rows is None else rows[k]
            alone = lone.fit(X[chosen], LABELS[chosen], **options)
            assert equal(stack, k, lone, history, alone)


def test_training_goes_on_where_members_stand_apart():
    """Members of unequally many rows and early ends have made unequally many steps; each goes on from its own."""
    rates, rows = [0.1, 0.01, 0.001], [FOLDS[0], np.arange(9), np.arange(30)]
    schedule = xpnn.CosineDecay(tuple(rates), steps=200)
    stack = Network(mlp([3, 4, 1], dropout=0.2), seed=[5, 6, 7])
    calls = [{"epochs": 4, "batch_size": 8}, {"epochs": 9, "batch_size": 8, "callbacks": [EarlyStopping("loss", 1)]}]
    calls.append({"epochs": 3, "batch_size": 16})
    for options in calls:
        stack.fit(X, Y, optimizer=Adam(schedule), rows=rows, **options)
    stack.step(X[:5], Y[:5])
    assert f"{min(stack.updates)} to {max(stack.updates)} updates" in str(stack.summary())
    for k in range(3):
        lone = Network(mlp([3, 4, 1], dropout=0.2), seed=5 + k)
        for options in calls:
            optimizer = Adam(xpnn.CosineDecay(rates[k], steps=200))
            lone.fit(X[rows[k]], Y[rows[k]], optimizer=optimizer, **options)
        lone.step(X[:5], Y[:5])
        assert equal(stack, k, lone)


def test_a_stack_of_unequal_members_can_be_copied_pickled_moved_and_reset():
    stack, rows = Network(mlp([3, 4, 1], dropout=0.1), members=2), [np.arange(5), np.arange(20)]
    stack.fit(X, Y, epochs=2, batch_size=4, rows=rows)
    others = [stack.copy(), pickle.loads(pickle.dumps(stack)), stack.to("numpy")]
    stack.fit(X, Y, epochs=2, batch_size=4, rows=rows)
    for other in others:
        assert list(other.updates) == [4, 10]
        other.fit(X, Y, epochs=2, batch_size=4, rows=rows)
        assert all(np.array_equal(a, b) for a, b in zip(arrays(other), arrays(stack), strict=True))
    stack.reset()
    assert (stack.epoch, stack.updates) == (0, 0)


def test_members_of_every_backend_are_the_lone_networks(eager):
    rows = [np.arange(20), np.arange(5, 33), np.arange(11)]
    optimizer, options = Adam((0.01, 0.02, 0.03)), {"epochs": 3, "batch_size": 8}
    stack = Network(mlp([3, 4, 1], "tanh", dropout=0.3), eager, eager.dtype, seed=[1, 2, 3])
    history = stack.fit(X, Y, optimizer=optimizer, rows=rows, **options)
    assert history["loss"][0].shape == (3,)
    for k in range(3):
        lone = Network(mlp([3, 4, 1], "tanh", dropout=0.3), eager, eager.dtype, seed=k + 1)
        alone = lone.fit(X[rows[k]], Y[rows[k]], optimizer=Adam(0.01 * (k + 1)), **options)
        tolerance = 1e-10 if eager.dtype == "float64" else 1e-4
        np.testing.assert_allclose(np.asarray(history["loss"])[:, k], alone["loss"], rtol=tolerance)


def test_members_on_jax_are_the_lone_networks():
    if not status("jax").usable:
        pytest.skip(status("jax").reason)
    rows, stop = [np.arange(20), np.arange(5, 33)], EarlyStopping("loss", patience=1)
    stack = Network(mlp([3, 4, 1], "tanh", dropout=0.3), "jax", members=2)
    history = stack.fit(X, Y, optimizer=Adam((0.01, 0.1)), epochs=3, batch_size=8, rows=rows, callbacks=[stop])
    for k in range(2):
        lone = Network(mlp([3, 4, 1], "tanh", dropout=0.3), "jax", seed=k)
        options = {"epochs": 3, "batch_size": 8, "callbacks": [EarlyStopping("loss", patience=1)]}
        alone = lone.fit(X[rows[k]], Y[rows[k]], optimizer=Adam((0.01, 0.1)[k]), **options)
        np.testing.assert_allclose(to_host(stack[k].predict(X)), to_host(lone.predict(X)), rtol=1e-5, atol=1e-6)
        assert history.stop_reason[k] == alone.stop_reason


def test_own_data_of_unequal_length_is_never_padded():
    own = [slice(0, 9), slice(9, 60), slice(3, 4)]
    stack = Network(mlp([3, 5, 1], norm="batch"), members=3)
    history = stack.fit([X[rows] for rows in own], [Y[rows] for rows in own], epochs=3, batch_size=6)
    predicted = stack.predict([X[rows] for rows in own])
    values = stack.evaluate([X[rows] for rows in own], [Y[rows] for rows in own])
    for k, rows in enumerate(own):
        lone = Network(mlp([3, 5, 1], norm="batch"), seed=k)
        alone = lone.fit(X[rows], Y[rows], epochs=3, batch_size=6)
        assert equal(stack, k, lone, history, alone)
        assert np.array_equal(predicted[k], lone.predict(X[rows]))
        assert values["loss"][k] == lone.evaluate(X[rows], Y[rows])["loss"]


@pytest.mark.parametrize("batch_size", [16, None])
def test_a_member_that_diverges_harms_no_other(batch_size):
    rates, options = [0.01, 1e30, 0.02, 1e30], {"epochs": 12, "batch_size": batch_size}
    stack = Network(mlp([3, 8, 1]), members=4)
    with pytest.warns(RuntimeWarning, match=r"members \[1, 3\] diverged"):
        history = stack.fit(X, Y, optimizer=xpnn.SGD(rates), **options)
    assert history.stop_reason == ["finished", "diverged", "finished", "diverged"]
    for k in range(4):
        lone = Network(mlp([3, 8, 1]), seed=k)
        try:
            alone = lone.fit(X, Y, optimizer=xpnn.SGD(rates[k]), **options)
        except xpnn.NonFiniteLoss:
            alone = lone.history
            alone.stop_reason = "diverged"
        assert equal(stack, k, lone, history, alone)
    assert np.isnan(np.asarray(history["loss"])[-1, [1, 3]]).all()
    assert list(history.trained[[0, 2]]) == [12, 12]


def test_a_stack_of_which_all_diverge_says_so_and_stands_as_before():
    stack = Network(mlp([3, 8, 1]), members=2)
    before = arrays(stack)[0].copy()
    with pytest.warns(RuntimeWarning, match=r"members \[0, 1\] diverged"):
        history = stack.fit(np.full((4, 3), 1e38), np.ones((4, 1)), epochs=5)
    assert history.stop_reason == ["diverged"] * 2
    assert len(history.epoch) == 1
    assert np.array_equal(arrays(stack)[0], before)


def test_members_stop_by_a_callback_and_the_rest_is_grouped_anew(monkeypatch):
    formed = []
    whole = groups.Groups._form

    def form(self):
        formed.append(int(self.active.sum()))
        whole(self)

    monkeypatch.setattr(groups.Groups, "_form", form)
    ends = np.asarray([2, 5, 3, 9, 9, 9, 4, 1])
    stack = Network(mlp([3, 4, 1]), members=8)
    history = stack.fit(X, Y, epochs=10, callbacks=[lambda net, epoch, logs: epoch + 1 >= ends])
    assert list(history.trained) == list(ends)
    assert formed == [8, 4]  # all, and the four that go on once as many have stopped
    assert history.stop_reason == ["callback"] * 8
    for k, end in enumerate(ends):
        lone = Network(mlp([3, 4, 1]), seed=k)
        lone.fit(X, Y, epochs=int(end))
        assert equal(stack, k, lone)
    with pytest.raises(ValueError, match=r"must give True, False or one for each of 8 .*got an array of shape \(3,\)"):
        stack.fit(X, Y, epochs=1, callbacks=[lambda net, epoch, logs: [True] * 3])


def test_one_order_for_all():
    stack = Network(mlp([3, 4, 1]), members=3)
    stack.fit(X, Y, epochs=2, batch_size=8, shuffle="shared")
    lone = Network(mlp([3, 4, 1]), seed=0)
    lone.fit(X, Y, epochs=2, batch_size=8)
    np.testing.assert_allclose(stack[0].predict(X), lone.predict(X), rtol=1e-5, atol=1e-6)
    own = Network(mlp([3, 4, 1]), members=3)
    own.fit(np.stack([X] * 3), np.stack([Y] * 3), epochs=2, batch_size=8, shuffle="shared")
    folds = Network(mlp([3, 4, 1]), members=3)
    folds.fit(X, Y, epochs=2, batch_size=8, shuffle="shared", rows=[np.arange(60)] * 3)
    for other in (own, folds):
        np.testing.assert_allclose(other.predict(X), stack.predict(X), rtol=1e-5, atol=1e-6)


def test_rows_are_numbers_or_masks():
    masks = [np.isin(np.arange(60), rows) for rows in FOLDS]
    one, other = Network(mlp([3, 4, 1]), members=4), Network(mlp([3, 4, 1]), members=4)
    one.fit(X, Y, epochs=2, rows=FOLDS, metrics=["mae"])
    other.fit(X, Y, epochs=2, rows=masks, metrics=["mae"])
    assert np.array_equal(one.predict(X), other.predict(X))
    held = [~mask for mask in masks]
    scores = one.evaluate(X, Y, rows=held)["loss"]
    assert scores == pytest.approx([one[k].evaluate(X[rows], Y[rows])["loss"] for k, rows in enumerate(held)], abs=0)
    found = one[1].evaluate(X[FOLDS[1]], Y[FOLDS[1]], metrics=["mae"])
    assert one.history["mean_absolute_error"][-1][1] == found["mean_absolute_error"]


def test_class_weights_are_of_each_members_own_rows():
    stack = Network(mlp([3, 2]), members=2)
    rows = [np.arange(40), np.arange(15, 60)]
    stack.fit(X, LABELS, "softmax_cross_entropy", epochs=3, rows=rows, class_weight="balanced", batch_size=8)
    for k in range(2):
        lone = Network(mlp([3, 2]), seed=k)
        picked = X[rows[k]], LABELS[rows[k]]
        lone.fit(*picked, "softmax_cross_entropy", epochs=3, class_weight="balanced", batch_size=8)
        np.testing.assert_allclose(stack[k].predict(X), lone.predict(X), rtol=1e-5)


def test_memory_grows_by_the_model_and_the_activations_only():
    x, y = RNG.normal(size=(20_000, 40)).astype(np.float32), np.zeros((20_000, 1), np.float32)
    rows = [RNG.integers(0, 20_000, 10_000) for _ in range(32)]
    stack = Network(mlp([40, 4, 1]), members=32)
    stack.fit(x, y, epochs=1, batch_size=100, rows=rows)
    tracemalloc.start()
    stack.fit(x, y, epochs=1, batch_size=100, rows=rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    orders = 32 * 10_000 * 8 * 3  # row numbers: those given, those permuted and as one array
    assert peak < x.nbytes + y.nbytes + orders + 4e6  # 32 copies of the rows would be 51 MB


def test_threads_that_are_broken_off_leave_the_last_epoch(monkeypatch):
    monkeypatch.setattr(groups, "BUSY", 0)
    monkeypatch.setattr(groups, "blas_threads", lambda: 2)
    stack = Network(mlp([3, 4, 1]), members=6)
    stack.fit(X, Y, epochs=1)
    before = arrays(stack)
    inner, calls = groups.run_epoch, []

    def failing(*args, **options):
        calls.append(threading.current_thread())
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room")
        return inner(*args, **options)

    monkeypatch.setattr(groups, "run_epoch", failing)
    with pytest.raises(MemoryError, match="no room"):
        stack.fit(X, Y, epochs=1)
    assert len(set(calls)) == 2
    assert all(np.array_equal(a, b) for a, b in zip(arrays(stack), before, strict=True))


def test_a_member_is_a_network_of_its_own_and_a_stack_is_made_of_them():
    rates = (0.1, 0.01)
    stack = Network(mlp([3, 4, 1], dropout=0.1), seed=[4, 9])
    stack.fit(X, Y, optimizer=Adam(rates, weight_decay=0.1), epochs=2)
    members = list(stack)
    assert [one.seed for one in members] == [4, 9]
    assert members[1].progress.optimizer == Adam(0.01, weight_decay=0.1)
    assert members[1].history["loss"] == [float(of[1]) for of in stack.history["loss"]]
    again = Network.stack(members)
    assert again.progress.optimizer == stack.progress.optimizer
    for net in (stack, again):
        net.fit(X, Y, epochs=2)
    for k, lone in enumerate(members):
        lone.fit(X, Y, epochs=2)
        assert equal(stack, k, lone)
        assert equal(again, k, lone)
    before = stack.predict(X).copy()
    members[0].fit(X, Y, epochs=1)
    assert np.array_equal(stack.predict(X), before)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda net: net.fit(X, Y, rows=[[0, 1]]), ValueError, "rows must have one array .* 2 members, got 1"),
        (lambda net: net.fit(X, Y, rows=[[0, 1], [60]]), ValueError, r"rows\[1\] holds 60, .* from 0 to 59"),
        (lambda net: net.fit(X, Y, rows=[[0, 1], []]), (ValueError, TypeError), r"rows\[1\]"),
        (lambda net: net.fit(X, Y, rows=[[0, 1], [True]]), ValueError, r"rows\[1\] is a mask of 1 entries for 60"),
        (lambda net: net.fit(X, Y, rows=[[0.5], [1.0]]), TypeError, r"rows\[0\] must be row numbers"),
        (lambda net: net.fit([X, X], [Y]), ValueError, "y must be a list .* 2 members, as x is, got 1"),
        (lambda net: net.fit([X, X], Y), ValueError, "y must be a list"),
        (lambda net: net.fit([X, X[:, :2]], [Y, Y]), ValueError, "member 1: x"),
        (lambda net: net.fit([X, X * np.nan], [Y, Y]), ValueError, "member 1: x holds 180 values that are NaN"),
        (lambda net: net.fit([X, X[:5]], [Y, Y[:5]], shuffle="shared"), ValueError, "unequally many"),
        (lambda net: net.fit([X, X], [Y, Y], rows=[[0], [1]]), ValueError, "leave it out"),
        (lambda net: net.fit(X, Y, shuffle="always"), ValueError, 'True, False or "shared"'),
        (lambda net: net.fit(X, Y, optimizer=Adam((0.1, 0.2, 0.3))), ValueError, "each of the 2 members, got 3"),
        (lambda net: net.predict([X]), ValueError, "list with one array for each of the 2 members, got 1"),
        (lambda net: net[2], IndexError, "from 0 to 1, got 2"),
        (lambda net: net[0][0], TypeError, "this is a lone network"),
        (lambda net: net[0].fit(X, Y, rows=[[0]]), ValueError, "of a lone network give x"),
        (lambda net: Network.stack([]), ValueError, "at least one"),
        (lambda net: Network.stack([net]), ValueError, "networks must be at least one Network"),
        (
            lambda net: Network.stack([net[0], Network(mlp([3, 5, 1]))]),
            ValueError,
            "4 of member 0 and 5 of",
        ),
        (lambda net: net.fit(X, LABELS, losses.SoftmaxCrossEntropy((0.1,))), ValueError, "label_smoothing must have"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(call, error, words):
    net = Network(mlp([3, 4, 2 if "label" in words else 1]), members=2)
    before = arrays(net)
    with pytest.raises(error, match=words):
        call(net)
    assert net.epoch == 0
    assert all(np.array_equal(a, b) for a, b in zip(arrays(net), before, strict=True))


def test_numbers_of_each_member_smooth_its_labels():
    shares = (0.0, 0.2)
    stack = Network(mlp([3, 2]), seed=[0, 0])
    loss = losses.SoftmaxCrossEntropy(shares)
    stack.fit(X, LABELS, loss, epochs=3, validation_data=(X, LABELS))
    assert stack.evaluate(X, LABELS)["loss"].shape == (2,)
    for k, share in enumerate(shares):
        lone = Network(mlp([3, 2]), seed=0)
        lone.fit(X, LABELS, losses.SoftmaxCrossEntropy(share), epochs=3, validation_data=(X, LABELS))
        np.testing.assert_allclose(stack[k].predict(X), lone.predict(X), rtol=1e-5)
        np.testing.assert_allclose(np.asarray(stack.history["val_loss"])[:, k], lone.history["val_loss"], rtol=1e-5)
        assert stack[k].progress.loss == losses.SoftmaxCrossEntropy(share)


def test_callbacks_see_nan_of_members_that_have_stopped():
    seen = []
    stack = Network(mlp([3, 4, 1]), members=2)
    stop = callbacks.LambdaCallback(lambda net, epoch, logs: np.asarray([epoch == 0, False]))
    watch = callbacks.LambdaCallback(lambda net, epoch, logs: seen.append(dict(logs)))
    stack.fit(X, Y, epochs=3, callbacks=[stop, watch], validation_data=(X, Y), metrics=["mae"])
    for logs in seen[1:]:
        assert set(logs) == {"loss", "mean_absolute_error", "val_loss", "val_mean_absolute_error"}
        assert all(np.isnan(value[0]) and np.isfinite(value[1]) for value in logs.values())
