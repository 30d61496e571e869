"""Many networks at once, asked for in ways that a review found to be answered badly."""

import time

import numpy as np
import pytest

from xpnn import SGD, Adam, Network, fit_many, members, mlp
from xpnn.callbacks import EarlyStopping, LambdaCallback
from xpnn.spread import spread

X = np.random.default_rng(0).normal(size=(30, 3))
Y = X[:, :1] ** 2


def nets(*widths):
    return [Network(mlp([3, width, 1]), seed=k) for k, width in enumerate(widths)]


def test_one_callback_for_two_networks_is_refused():
    shared = EarlyStopping(monitor="loss", patience=2)
    with pytest.raises(ValueError, match=r"callbacks\[0\] and callbacks\[2\] hold the same EarlyStopping"):
        fit_many(nets(2, 2, 3), X, Y, callbacks=[[shared], [], [shared]])
    seen = []
    fit_many(nets(2, 2), X, Y, epochs=2, callbacks=[[tell := lambda net, epoch, logs: seen.append(epoch)], [tell]])
    assert sorted(seen) == [0, 0, 1, 1]  # a function keeps nothing of a network


def test_copies_of_one_list_know_nothing_of_each_other():
    options = {"epochs": 30, "optimizer": [Adam(0.001), Adam(0.3), Adam(0.05)]}
    many, lone = nets(2, 2, 2), nets(2, 2, 2)
    found = fit_many(many, X, Y, callbacks=[EarlyStopping("loss", patience=1, min_delta=0.02)], **options)
    for net, own, history, rate in zip(many, lone, found, options["optimizer"], strict=True):
        stopping = EarlyStopping("loss", patience=1, min_delta=0.02)
        alone = own.fit(X, Y, optimizer=rate, epochs=30, callbacks=[stopping])
        assert alone["loss"] == history["loss"] and alone.stop_reason == history.stop_reason
        assert np.array_equal(net.predict(X), own.predict(X))


@pytest.mark.parametrize("rows", [None, [np.arange(9), np.arange(12)]], ids=["all", "own"])
@pytest.mark.parametrize("backend", ["array-api-strict", "numpy"])
def test_arrays_that_have_no_len(backend, rows):
    strict = pytest.importorskip("array_api_strict")
    x, y = (strict.asarray(values.astype(np.float32)) for values in (X, Y))
    many = [Network(mlp([3, 2, 1]), seed=k, backend=backend) for k in range(2)]
    found = fit_many(many, x, y, epochs=2, rows=rows)
    wanted = fit_many(nets(2, 2), X, Y, epochs=2, rows=rows)
    assert [one["loss"] for one in found] == [pytest.approx(one["loss"], rel=1e-5) for one in wanted]


@pytest.mark.parametrize(
    "changed, kind, message",
    [
        ({"y": [Y, Y, Y[:5]]}, ValueError, r"y\[2\] must have one entry for each of 30 rows, got 5"),
        ({"y": Y[:5]}, ValueError, r"y must have one entry for each of 30 rows, got 5"),
        (
            {"sample_weight": [None, np.ones(30), np.ones(3)]},
            ValueError,
            r"sample_weight\[2\] must have one entry for each of 30 rows, got 3",
        ),
        ({"rows": [0, -1]}, ValueError, "rows holds -1, but rows of x go from 0 to 29"),
        ({"x": None}, TypeError, "x must be rows that can be read again and have a length, got None"),
        ({"x": (X[i : i + 5] for i in (0, 5))}, TypeError, "x must be rows that can be read again"),
        ({"networks": Network(mlp([3, 1]))}, TypeError, "networks must be a list of lone networks, got one Network"),
    ],
)
def test_what_some_network_cannot_take_is_told_before_any_is_trained(changed, kind, message):
    many = nets(2, 3, 4)
    with pytest.raises(kind, match=message):
        fit_many(**{"networks": many, "x": X, "y": Y, "epochs": 2} | changed)
    assert [net.epoch for net in many] == [0, 0, 0]


def test_some_networks_have_weights_and_some_none():
    weights = [None, np.linspace(0.1, 2.0, 30), None, np.ones(30)]
    many = nets(2, 2, 2, 2)
    found = fit_many(many, X, Y, sample_weight=weights, epochs=3)
    for own, weight, history, net in zip(nets(2, 2, 2, 2), weights, found, many, strict=True):
        assert own.fit(X, Y, sample_weight=weight, epochs=3)["loss"] == history["loss"]
        assert np.array_equal(own.predict(X), net.predict(X))


def test_some_networks_have_rows_of_their_own_and_some_all():
    rows, many = [None, np.arange(9), np.arange(30) % 2 == 0], nets(2, 2, 2)
    found = fit_many(many, X, Y, rows=rows, epochs=3)
    for own, chosen, history, net in zip(nets(2, 2, 2), rows, found, many, strict=True):
        x, y = (X, Y) if chosen is None else (X[chosen], Y[chosen])
        assert own.fit(x, y, epochs=3)["loss"] == history["loss"]
        assert np.array_equal(own.predict(X), net.predict(X))


def test_networks_of_different_types_of_numbers_are_apart():
    many, lone = ([Network(mlp([3, 2, 1]), seed=0, dtype=dtype) for dtype in ("float32", "float64")] for _ in range(2))
    found = fit_many(many, X, Y, optimizer=SGD(0.1), epochs=2)
    for own, net, history in zip(lone, many, found, strict=True):
        assert own.fit(X, Y, optimizer=SGD(0.1), epochs=2)["loss"] == history["loss"]
        assert own.predict(X).dtype == net.predict(X).dtype and np.array_equal(own.predict(X), net.predict(X))


def test_a_share_of_the_time_is_never_more_than_what_is_left():
    now = time.monotonic()
    assert members._share(10.0, now - 4.0, 3, 2) == pytest.approx(6.0, abs=0.5)
    assert members._share(10.0, now, 1, 4) == pytest.approx(2.5, abs=0.5)
    assert 0.0 < members._share(10.0, now - 20.0, 1, 4) < 1e-6


def test_targets_of_different_kinds():
    labels = np.arange(30) % 3
    targets = [labels, np.eye(3)[labels], labels.astype(np.int8), 2 - labels]
    many, lone = ([Network(mlp([3, 4, 3]), seed=k) for k in range(4)] for _ in range(2))
    found = fit_many(many, X, targets, "softmax_cross_entropy", epochs=2)
    for own, y, history in zip(lone, targets, found, strict=True):
        assert own.fit(X, y, "softmax_cross_entropy", epochs=2)["loss"] == history["loss"]


@pytest.mark.parametrize("moment", ["on_fit_begin", "on_epoch_begin", "on_epoch_end"])
def test_weights_that_a_callback_sets_are_trained_on(moment):
    def halve(net, number, *_):
        if number != 1:
            params = net.params
            params[0]["weight"] = params[0]["weight"] * 0.5
            net.params = params

    def asking(k):
        return [[], [LambdaCallback(**{moment: halve})], [lambda net, epoch, logs: epoch == 0]][k]

    many, lone, rates = nets(2, 2, 2), nets(2, 2, 2), [Adam(0.01), Adam(0.1), Adam(0.05)]
    found = fit_many(many, X, Y, epochs=4, optimizer=rates, callbacks=[asking(k) for k in range(3)])
    for k, history in enumerate(found):
        assert lone[k].fit(X, Y, epochs=4, optimizer=rates[k], callbacks=asking(k))["loss"] == history["loss"]
        assert np.array_equal(lone[k].predict(X), many[k].predict(X))
        assert lone[k].fit(X, Y, epochs=1)["loss"] == many[k].fit(X, Y, epochs=1)["loss"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_first_callback_that_asks_to_stop_gives_the_reason(order):
    def asking():  # both in the second epoch
        stopping = EarlyStopping("loss", patience=1, min_delta=1e9)
        return [stopping, lambda net, epoch, logs: epoch == 1][::order]

    found = fit_many(nets(2, 2), X, Y, epochs=5, callbacks=asking())
    for own, history in zip(nets(2, 2), found, strict=True):
        alone = own.fit(X, Y, epochs=5, callbacks=asking())
        assert (alone.stop_reason, alone.epoch) == (history.stop_reason, history.epoch)


def test_of_several_errors_in_threads_that_is_told_which_broke_the_others_off():
    def fails(until):
        raise ValueError("the first")

    def goes_on(until):
        for epoch in range(10**4):
            time.sleep(1e-3)
            until.on_epoch_begin(None, epoch)

    with pytest.raises(ValueError, match="the first"):
        spread([fails, goes_on], 2)
    with pytest.raises(ValueError, match="the first"):
        spread([goes_on, fails], 2)
