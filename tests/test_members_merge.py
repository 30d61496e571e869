"""Many lone networks at once: each is afterwards what its own `fit` makes of it, to the bit."""

import copy
import math
import threading
import warnings

import numpy as np
import pytest

from tests.networks import same
from xpnn import SGD, Adam, ExponentialDecay, Network, NonFiniteLoss, Penalized, mlp
from xpnn.callbacks import Callback, EarlyStopping, LearningRateScheduler, ReduceLROnPlateau
from xpnn.jobs import structure
from xpnn.members import fit_many
from xpnn.progress import leaves

RNG = np.random.default_rng(3)
X = RNG.normal(size=(90, 4))
Y = np.sin(X[:, :1]) + 0.3 * RNG.normal(size=(90, 1))
WEIGHT = RNG.uniform(0.5, 1.5, size=90)
ROWS = [RNG.permutation(90)[: 50 + 3 * k] for k in range(8)]


def nets(count=8, dropout=0.2, widths=(5, 5, 5, 5, 7, 5, 5, 3), dtype="float64"):
    rates = [dropout + 0.05 * k for k in range(count)]
    return [
        Network(mlp([4, w, 1], "tanh", dropout=r), dtype=dtype, seed=11 * k)
        for k, (w, r) in enumerate(zip(widths, rates, strict=True))
    ]


def alone(net, k, loss, optimizer, epochs, batch_size=16, callbacks=(), weight=None, rows=ROWS, **options):
    """The history of the lone fit, diverged where that says so."""
    weight = None if weight is None else weight[rows[k]]
    options |= {"epochs": epochs, "batch_size": batch_size, "callbacks": callbacks, "sample_weight": weight}
    try:
        return net.fit(X[rows[k]], Y[rows[k]], loss, optimizer, **options)
    except NonFiniteLoss:
        net.history.stop_reason = "diverged"
        return net.history


def assert_equal(net, other, found, wanted):
    assert vars(found) == vars(wanted) and net.history is found
    for one, two in zip(leaves(net.progress.carry), leaves(other.progress.carry), strict=True):
        assert np.array_equal(one, two)
    assert net.progress[1:] == other.progress[1:]
    assert same(net.params, other.params)


def settings(k):
    optimizers = [
        Adam(0.01 * (k + 1)),
        Adam(0.02, beta1=0.8),
        Adam(ExponentialDecay(0.05, 0.9, 10)),
        SGD(0.1),
        SGD(0.2),
    ]
    return Penalized("mse", l2=0.001 * (k + 1)), optimizers[k % 5]


def watching(k):
    each = [
        [EarlyStopping("loss", patience=2, min_delta=0.02)],
        [ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.05)],
        [LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)), EarlyStopping("loss", patience=3, min_delta=0.05)],
        [],
        [lambda net, epoch, logs: epoch == k],
    ]
    return each[k % 5]


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_each_network_is_what_its_own_fit_makes_of_it(watched, weighted):
    many, lone, weight = nets(), nets(), WEIGHT if weighted else None
    chosen = [settings(k) for k in range(8)]
    callbacks = [watching(k) if watched else [] for k in range(8)]
    wanted = [
        alone(net, k, *chosen[k], 12, callbacks=copy.deepcopy(callbacks[k]), weight=weight)
        for k, net in enumerate(lone)
    ]
    losses, optimizers = map(list, zip(*chosen, strict=True))
    options = {"epochs": 12, "batch_size": 16, "rows": ROWS, "callbacks": callbacks, "sample_weight": weight}
    found = fit_many(many, X, Y, losses, optimizers, **options)
    for one in zip(many, lone, found, wanted, strict=True):
        assert_equal(*one)
    if watched:
        assert {history.stop_reason for history in found} == {"finished", "early", "callback"}
        assert len({len(history.epoch) for history in found}) > 3
    # and they go on where they stand, together or alone
    again = [alone(net, k, *chosen[k], 3, weight=weight) for k, net in enumerate(lone)]
    more = fit_many(many, X, Y, losses, optimizers, **(options | {"epochs": 3, "callbacks": ()}))
    for one in zip(many, lone, more, again, strict=True):
        assert_equal(*one)


class Recording(Callback):
    """What a callback is told, and by whom."""

    def __init__(self):
        self.seen = []

    def on_fit_begin(self, net, epochs):
        self.seen.append(("fit begins", net.seed, epochs, net.epoch, net.history.epoch[:]))

    def on_epoch_begin(self, net, epoch):
        self.seen.append(("begins", epoch, net.epoch, net.updates))

    def on_epoch_end(self, net, epoch, logs):
        state = net.params[0]["weight"].tolist(), net.progress.carry.memory.t.tolist()
        self.seen.append(("ends", epoch, net.epoch, net.updates, dict(logs), net.history.epoch[:], *state))
        return epoch == 4 + net.seed % 3

    def on_fit_end(self, net, history):
        self.seen.append(("over", history.epoch[:], history.stop_reason, net.history is history))


def test_callbacks_see_what_they_would_see_alone():
    many, lone = nets(), nets()
    for k in (1, 4):  # these have been trained before
        for net in (many[k], lone[k]):
            alone(net, k, "mse", Adam(0.01), 2)
    told, wanted = [Recording() for _ in many], [Recording() for _ in lone]
    for k, net in enumerate(lone):
        alone(net, k, "mse", Adam(0.01), 6, callbacks=[wanted[k]])
    fit_many(many, X, Y, "mse", Adam(0.01), 6, 16, rows=ROWS, callbacks=[[one] for one in told])
    assert [one.seen for one in told] == [one.seen for one in wanted]


def test_one_list_of_callbacks_is_copied_for_each_network():
    stop = EarlyStopping("loss", patience=1, min_delta=0.05)
    many, lone = nets(), nets()
    found = fit_many(many, X, Y, "mse", Adam(0.05), 15, 16, rows=ROWS, callbacks=[stop])
    wanted = [alone(net, k, "mse", Adam(0.05), 15, callbacks=[copy.deepcopy(stop)]) for k, net in enumerate(lone)]
    for one in zip(many, lone, found, wanted, strict=True):
        assert_equal(*one)
    assert stop.best is None and len({len(one.epoch) for one in found}) > 1
    assert all(isinstance(one.best_epoch, int) for one in found)


@pytest.mark.parametrize("watched", [False, True])
def test_a_network_that_diverges_is_stopped_alone(watched):
    rates = [0.1, 1e200, 0.1, 0.1, 0.1, 0.1, 0.1, 1e160]
    many, lone = nets(dropout=0.0), nets(dropout=0.0)
    stops = [[EarlyStopping("loss", patience=3)] if watched else [] for _ in rates]
    with np.errstate(all="ignore"):
        wanted = [
            alone(net, k, "mse", SGD(rates[k]), 5, callbacks=copy.deepcopy(stops[k])) for k, net in enumerate(lone)
        ]
        with pytest.warns(RuntimeWarning, match=r"^networks \[1, 7\] diverged") as told:
            found = fit_many(many, X, Y, "mse", [SGD(rate) for rate in rates], 5, 16, rows=ROWS, callbacks=stops)
    assert len(told) == 1 and told[0].filename == __file__
    assert [one.stop_reason == "diverged" for one in found] == [k in (1, 7) for k in range(8)]
    for one in zip(many, lone, found, wanted, strict=True):
        assert_equal(*one)


@pytest.mark.parametrize("error", [ValueError("no more"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
def test_where_it_is_broken_off_each_keeps_its_last_finished_epoch(error):
    def fails(net, epoch, logs):
        if net.seed == 22 and epoch == 2:
            raise error

    many, lone = nets(widths=[5] * 8), nets(widths=[5] * 8)
    told = [Recording() for _ in many]
    with pytest.raises(type(error)):
        fit_many(many, X, Y, "mse", Adam(0.01), 6, 16, rows=ROWS, callbacks=[[one, fails] for one in told])
    for k, (net, other) in enumerate(zip(many, lone, strict=True)):
        wanted = alone(other, k, "mse", Adam(0.01), 2)
        wanted.stop_reason = None
        assert_equal(net, other, net.history, wanted)
        assert told[k].seen[-1] == ("over", [0, 1], None, True)


def test_before_the_first_epoch_nothing_has_changed():
    def fails(net, epochs):
        raise ValueError("not now")

    from xpnn.callbacks import LambdaCallback

    many = nets(widths=[5] * 8)
    before = [net.progress for net in many]
    callbacks = [[LambdaCallback(on_fit_begin=fails)] if k == 3 else [] for k in range(8)]
    with pytest.raises(ValueError, match="not now"):
        fit_many(many, X, Y, rows=ROWS, callbacks=callbacks)
    assert all(net.progress is kept and not net.history.epoch for net, kept in zip(many, before, strict=True))


@pytest.fixture
def stacks(monkeypatch):
    """How often networks were stacked, and what each stack was trained on."""
    seen, original = [], Network.fit

    def spy(net, x, y=None, *args, **options):
        seen.append((net.members, x, y, options))
        return original(net, x, y, *args, **options)

    monkeypatch.setattr(Network, "fit", spy)
    return seen


def test_what_can_be_stacked_is(stacks):
    chosen = [settings(k) for k in range(8)]
    losses, optimizers = map(list, zip(*chosen, strict=True))
    fit_many(nets(), X, Y, losses, optimizers, 1, rows=ROWS)
    assert sorted(members or 1 for members, *_ in stacks) == [1, 1, 1, 5]
    assert all(x is X for members, x, *_ in stacks if members)
    del stacks[:]
    fit_many(nets(widths=[5] * 8), X, Y, epochs=[1, 1, 1, 1, 2, 2, 2, 2], batch_size=[8, 16] * 4)
    assert [members for members, *_ in stacks] == [2] * 4
    del stacks[:]
    fit_many(nets(widths=[5] * 8), X, Y, optimizer=[SGD(0.1), SGD(0.1, momentum=0.9)] * 4, epochs=1)
    assert [members for members, *_ in stacks] == [4, 4]


def test_own_data_come_as_lists_and_each_array_once(stacks):
    parts = [(X[:30], Y[:30]), (X[20:70], Y[20:70])]
    own = [parts[k % 2] for k in range(8)]
    many, lone = nets(widths=[5] * 8), nets(widths=[5] * 8)
    xs, ys = map(list, zip(*own, strict=True))
    rows = [None, np.arange(0, 50, 2), np.arange(30) % 3 == 0, *[None] * 5]
    found = fit_many(many, xs, ys, epochs=3, batch_size=8, rows=rows)
    ((members, x, *_),) = stacks
    assert (members, x.shape) == (8, (80, 4))
    for k, net in enumerate(lone):
        chosen = slice(None) if rows[k] is None else rows[k]
        assert_equal(many[k], net, found[k], net.fit(xs[k][chosen], ys[k][chosen], epochs=3, batch_size=8))


@pytest.mark.parametrize("classes", [False, True])
def test_own_targets_and_weights_of_one_x(stacks, classes):
    def build():
        return [Network(mlp([4, 3, 2 if classes else 1]), dtype="float64", seed=k) for k in range(4)]

    ys = [(Y[:, 0] > 0.2 * k).astype(int) if classes else Y[:, 0] + k for k in range(4)]
    weights, options = [WEIGHT * (k + 1) ** np.sign(X[:, 0]) for k in range(4)], {"epochs": 2, "batch_size": 16}
    loss = "softmax_cross_entropy" if classes else "mse"
    for own_y, own_weight in ((ys, WEIGHT), (ys[0], weights), (ys, weights)):
        many, lone = build(), build()
        del stacks[:]
        fit_many(many, X, own_y, loss, rows=ROWS[:4], sample_weight=own_weight, **options)
        ((members, x, *_),) = stacks
        assert members == 4 and (x is X or (classes and own_y is ys))
        for k, net in enumerate(lone):
            y, weight = (own[k] if isinstance(own, list) else own for own in (own_y, own_weight))
            net.fit(X[ROWS[k]], y[ROWS[k]], loss, sample_weight=weight[ROWS[k]], **options)
            assert same(net.params, many[k].params)


def test_memory_bounds_a_stack_and_changes_no_number(stacks):
    many, other = nets(widths=[5] * 8), nets(widths=[5] * 8)
    fit_many(many, X, Y, epochs=2, rows=ROWS)
    fit_many(other, X, Y, epochs=2, rows=ROWS, max_memory=40_000)
    assert len(stacks) > 2
    assert all(same(net.params, twin.params) for net, twin in zip(many, other, strict=True))


def test_a_time_limit_ends_all():
    found = fit_many(nets(), X, Y, epochs=10**9, rows=ROWS, time_limit=0.2, callbacks=[EarlyStopping("loss", 10**9)])
    assert {one.stop_reason for one in found} == {"time"}
    found = fit_many(nets(widths=[5] * 8), X, Y, epochs=10**9, rows=ROWS, time_limit=1e-9)
    assert [(one.stop_reason, len(one.epoch)) for one in found] == [("time", 1)] * 8


def test_on_every_backend(eager):
    def build():
        return [Network(mlp([4, 5, 1], "tanh", dropout=0.1 * k), eager, eager.dtype, seed=k) for k in range(1, 4)]

    many, lone = build(), build()
    options = {"loss": "mse", "epochs": 3, "batch_size": 16}
    stops = [[EarlyStopping("loss", patience=1, min_delta=0.01)], [], []]
    found = fit_many(
        many, X, Y, optimizer=[Adam(0.01), Adam(0.05), Adam(0.1)], rows=ROWS[:3], callbacks=stops, **options
    )
    for k, net in enumerate(lone):
        optimizer = Adam([0.01, 0.05, 0.1][k])
        wanted = net.fit(X[ROWS[k]], Y[ROWS[k]], optimizer=optimizer, callbacks=copy.deepcopy(stops[k]), **options)
        assert np.allclose(found[k]["loss"], wanted["loss"], rtol=1e-9 if eager.dtype == "float64" else 1e-4)
        assert many[k].backend.owns(many[k].progress.carry.params)


def test_dropout_rates_and_penalties_are_no_structure_but_whether_they_are_there_is():
    assert structure(mlp([2, 3, 1], dropout=0.1)) == structure(mlp([2, 3, 1], dropout=0.2))
    assert structure(mlp([2, 3, 1])) != structure(mlp([2, 4, 1]))
    assert (
        structure(Penalized("mse", l2=0.1))
        == structure(Penalized("mse", l2=0.2))
        != structure(Penalized("mse", l1=0.1))
    )
    assert structure(Adam(0.1, multipliers={"bias": 0.5})) != structure(Adam(0.1))
    assert hash(structure(Adam(0.1, multipliers={"bias": 0.5}))) == hash(
        structure(Adam(0.2, multipliers={"bias": 0.5}))
    )


TWICE = Network(mlp([4, 2, 1]))
REFUSED = {
    "a stack": ({"networks": [Network(mlp([4, 1]), members=2)]}, TypeError, r"networks\[0\] must be a lone Network"),
    "one twice": ({"networks": [TWICE, TWICE]}, ValueError, "networks must name each network once"),
    "too few optimizers": ({"optimizer": [Adam()]}, ValueError, "optimizer must be one for all, or a list .*, got 1"),
    "no epochs": ({"epochs": [1, -1]}, ValueError, r"epochs\[1\] must be >= 0"),
    "no batch": ({"batch_size": 0}, ValueError, "batch_size must be >= 1"),
    "a row too many": ({"rows": [[0], [90]]}, ValueError, r"rows\[1\] holds 90, but rows of x go from 0 to 89"),
    "no row": ({"rows": [[0], []]}, (ValueError, TypeError), r"rows\[1\] must"),
    "a mask too short": ({"rows": [True, False]}, ValueError, "rows is a mask of 2 entries for 90 rows of x"),
    "too few rows": ({"rows": [[0]]}, ValueError, "rows must be one array for all, or one for each of 2 networks"),
    "other features": ({"x": X[:, :3]}, ValueError, "expects x of shape"),
    "too few arrays": ({"x": [X], "y": [Y]}, ValueError, "x must be one for all, or a list"),
    "too little memory": ({"max_memory": 100}, ValueError, "max_memory=100 bytes is too small for one network"),
    "no time": ({"time_limit": 0}, ValueError, "time_limit must be > 0"),
    "no threads": ({"threads": 0}, ValueError, "threads must be >= 1"),
    "no callback": ({"callbacks": [[3], []]}, TypeError, "callbacks must be Callback objects"),
    "no loss": ({"loss": ["mse", "mze"]}, ValueError, "unknown loss 'mze'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_arguments_are_refused_before_anything_is_trained(case):
    changed, kind, message = REFUSED[case]
    networks = [Network(mlp([4, 2, 1])) for _ in range(2)]
    with pytest.raises(kind, match=message), warnings.catch_warnings():
        fit_many(**{"networks": networks, "x": X, "y": Y, "epochs": 1} | changed)
    assert all(net.epoch == 0 for net in networks)


def test_histories_end_where_training_ended():
    found = fit_many(nets(), X, Y, optimizer=Adam(0.05), epochs=9, rows=ROWS, callbacks=[EarlyStopping("loss", 1, 0.1)])
    assert all(math.isfinite(loss) for one in found for loss in one["loss"])


def test_networks_of_different_shapes_are_spread_over_threads(monkeypatch):
    monkeypatch.setattr("xpnn.members.blas_threads", lambda: 2)
    seen = set()
    watch = [[lambda net, epoch, logs: seen.add(threading.current_thread())] for _ in range(8)]
    mine, lone = (nets(widths=(3, 4, 5, 6, 7, 8, 9, 3)) for _ in range(2))
    found = fit_many(mine, X, Y, optimizer=Adam(0.01), epochs=4, rows=ROWS, callbacks=watch)
    assert threading.main_thread() not in seen
    for k, net in enumerate(lone):
        assert_equal(mine[k], net, found[k], alone(net, k, None, Adam(0.01), 4, batch_size=32))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_where_one_of_several_threads_fails_the_others_end_with_their_epoch(monkeypatch, error):
    monkeypatch.setattr("xpnn.members.blas_threads", lambda: 2)
    failing = threading.Event()

    def fail(net, epoch, logs):
        if epoch == 2:
            failing.set()
            raise error("stop")

    def wait(net, epoch, logs):
        assert failing.wait(10.0)

    two = nets(2, widths=(3, 4))
    with pytest.raises(error, match="stop"):
        fit_many(two, X, Y, optimizer=Adam(0.01), epochs=10**6, callbacks=[[fail], [wait]])
    assert two[0].epoch == len(two[0].history.epoch) == 2
    assert 1 <= two[1].epoch < 10**6
    assert two[1].epoch == len(two[1].history.epoch)
