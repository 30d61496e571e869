"""Training: it goes on exactly where it stopped, members stay apart, and what it records is what happened."""

import gc

import numpy as np
import pytest

import xpnn
from xpnn import batches
from xpnn.backend import resolve
from xpnn.epochs import run_epoch
from xpnn.inputs import Data
from xpnn.progress import START

X, Y = xpnn.datasets.circles(40)
CLASSES = (Y[:, 0] + (X[:, 0] > 0)).astype(int)
LAYERS = [
    xpnn.Standardize.fit(X),
    *xpnn.mlp([2, 6, 5, 1], ["tanh", "relu"], "sigmoid", dropout=0.2, norm="batch"),
]
FIT = {"loss": "binary_cross_entropy", "optimizer": xpnn.Adam(0.01), "batch_size": 24}


def network(members=None, seed=7, dtype="float64", **options):
    return xpnn.Network(LAYERS, seed=seed, members=members, dtype=dtype, **options)


def same(a, b):
    """Whether two networks' parameters, layer states and optimizer states are bit for bit the same."""
    mine, theirs = a.progress.carry, b.progress.carry
    return all((p == q).all() for p, q in zip((*mine[:2], *mine.memory), (*theirs[:2], *theirs.memory), strict=True))


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize(
    "optimizer", [xpnn.Adam(0.01), xpnn.SGD(xpnn.InverseTimeDecay(0.1, rate=1, steps=5), momentum=0.9)]
)
def test_ten_and_ten_epochs_are_twenty_bit_for_bit(optimizer, members):
    whole, halves = network(members), network(members)
    history = whole.fit(X, Y, "bce", optimizer, epochs=20, batch_size=24)
    first = halves.fit(X, Y, "bce", optimizer, epochs=10, batch_size=24)
    second = halves.fit(X, Y, epochs=10, batch_size=24)  # None: the same loss and optimizer go on
    assert np.array_equal(history["loss"], first["loss"] + second["loss"])
    assert second.epoch == list(range(10, 20))
    assert same(whole, halves)


def test_another_optimizer_starts_new_state():
    net = network()
    net.fit(X, Y, **FIT, epochs=3)
    net.fit(X, Y, optimizer=xpnn.Adam(0.02), epochs=1, batch_size=None)
    assert net.progress.carry.memory.t.tolist() == [1.0]
    assert net.epoch == 4


@pytest.mark.parametrize("batch_size", [24, 31, None])
@pytest.mark.parametrize("split", [0.0, 0.25])
def test_lane_k_is_the_network_that_its_seed_alone_gives(batch_size, split):
    options = FIT | {"batch_size": batch_size, "epochs": 20, "validation_split": split, "metrics": ["accuracy"]}
    stack = network(3)
    together = stack.fit(X, Y, **options)
    for k in range(3):
        alone = network(seed=7 + k)
        history = alone.fit(X, Y, **options)
        for name in history.history:
            np.testing.assert_allclose([row[k] for row in together[name]], history[name], rtol=1e-9)
        np.testing.assert_allclose(stack.predict(X)[k], alone.predict(X), rtol=1e-7)


def test_members_may_have_their_own_rates_rows_targets_and_weights():
    rng, rates = np.random.default_rng(0), [0.1, 0.01, 0.001]
    x, y, weight = np.stack([X, X[::-1], -X]), np.stack([Y, Y[::-1], 1 - Y]), rng.uniform(size=(3, len(X)))
    stack = network(3)
    stack.fit(x, y, "bce", xpnn.Adam(rates), epochs=5, batch_size=24, sample_weight=weight)
    for k in range(3):
        alone = network(seed=7 + k)
        alone.fit(x[k], y[k], "bce", xpnn.Adam(rates[k]), epochs=5, batch_size=24, sample_weight=weight[k])
        np.testing.assert_allclose(stack.predict(x)[k], alone.predict(x[k]), rtol=1e-8)


def test_members_share_class_targets():
    layers = xpnn.mlp([2, 8, 3], output="softmax")
    stack = xpnn.Network(layers, members=2, dtype="float64")
    stack.fit(X, CLASSES, "cross_entropy", xpnn.Adam(0.01), epochs=3, batch_size=24)
    alone = xpnn.Network(layers, seed=1, dtype="float64")
    alone.fit(X, CLASSES, "cross_entropy", xpnn.Adam(0.01), epochs=3, batch_size=24)
    np.testing.assert_allclose(stack.predict(X)[1], alone.predict(X), rtol=1e-10)
    one_hot = xpnn.Network(layers, members=2, dtype="float64")
    one_hot.fit(X, np.eye(3)[CLASSES], "cross_entropy", xpnn.Adam(0.01), epochs=3, batch_size=24)
    np.testing.assert_allclose(one_hot.predict(X), stack.predict(X), rtol=1e-10)


def test_the_recorded_loss_is_the_mean_over_rows_short_last_batch_included():
    net = xpnn.Network(xpnn.mlp([2, 3, 1]), dtype="float64")
    history = net.fit(X, Y, optimizer=xpnn.SGD(0.0), epochs=1, batch_size=31)
    assert history["loss"][0] == pytest.approx(net.evaluate(X, Y)["loss"], rel=1e-12)
    weight = np.random.default_rng(0).uniform(size=len(X))
    history = net.fit(X, Y, optimizer=xpnn.SGD(0.0), epochs=1, batch_size=31, sample_weight=weight)
    assert history["loss"][0] == pytest.approx(net.evaluate(X, Y, sample_weight=weight)["loss"], rel=1e-12)


def test_every_epoch_sees_every_row_once_in_an_order_of_its_own():
    backend, orders = resolve("numpy", "float64"), []
    rows = np.arange(10.0)[:, None]
    source = xpnn.network.batches.Batches(Data(rows, rows, None), 1, 4, True, [0], False, backend)
    for epoch in range(3):
        batches = list(source.epoch(epoch))
        assert [len(b.x) for b in batches] == [4, 4, 2]
        assert all((b.x == b.y).all() for b in batches)
        orders.append(np.concatenate([b.x[:, 0] for b in batches]).tolist())
        assert sorted(orders[-1]) == list(range(10))
    assert orders[0] != orders[1] != orders[2]
    assert orders[1] == np.concatenate([b.x[:, 0] for b in source.epoch(1)]).tolist()


def test_shuffle_off_keeps_the_order():
    seen = []
    net = xpnn.Network(xpnn.mlp([1, 1]), dtype="float64")

    def spy(prediction, target, *, xp, weight=None):
        seen.append(target[:, 0].tolist())
        return xpnn.losses.mean_squared_error(prediction, target, xp=xp, weight=weight)

    net.fit(np.zeros((5, 1)), np.arange(5.0), spy, epochs=1, batch_size=2, shuffle=False, compile=False)
    assert seen == [[0.0, 1.0], [2.0, 3.0], [4.0]]


def test_a_step_is_what_fit_does_with_one_batch():
    fitted, stepped = network(), network()
    fitted.fit(X, Y, "bce", xpnn.Adam(0.01), epochs=1, batch_size=None)
    value = stepped.step(X, Y, "bce", xpnn.Adam(0.01))
    assert float(value) == fitted.history["loss"][0]
    assert same(fitted, stepped)


def test_multipliers_freeze_and_scale():
    net = xpnn.Network(xpnn.mlp([2, 3, 1]), dtype="float64")
    before = net.params
    net.fit(X, Y, optimizer=xpnn.SGD(0.1, multipliers={0: 0.0, "bias": 0.0}), epochs=2)
    assert (net.params[0]["weight"] == before[0]["weight"]).all()
    assert (net.params[2]["bias"] == before[2]["bias"]).all()
    assert (net.params[2]["weight"] != before[2]["weight"]).all()


def test_a_schedule_reaches_the_step():
    decayed, by_hand = network(), network()
    schedule = xpnn.ExponentialDecay(0.1, rate=0.5, steps=1)
    decayed.fit(X, Y, "bce", xpnn.SGD(schedule), epochs=3, batch_size=None)
    carry, numbers = by_hand.progress.carry._replace(memory=()), None
    for epoch in range(3):
        program, numbers = by_hand._prepare(xpnn.losses.binary_cross_entropy, xpnn.SGD(0.1 * 0.5**epoch))
        data = Data(X, Y, None)
        source = xpnn.network.batches.Batches(data, 1, None, True, by_hand.seeds, False, by_hand.backend)
        carry = run_epoch(program, carry, source, numbers.epoch(START._replace(epoch=epoch, step=epoch)), epoch).carry
    assert np.allclose(decayed.progress.carry.params, carry.params, rtol=1e-12)


def test_any_number_can_be_scheduled_dropout_rate_too():
    dropped = []

    class Spy(xpnn.Layer):
        def forward(self, params, x, *, xp, step=None):
            if step is not None:
                dropped.append(float(xp.mean(xp.astype(x == 0.0, x.dtype))))
            return x, None

        def backward(self, params, cache, dy, *, xp):
            return dy, {}

    rising = xpnn.Dropout(lambda step: 0.25 * step)
    net = xpnn.Network([xpnn.Dense(2, 200), rising, Spy(), xpnn.Dense(200, 1)], dtype="float64")
    net.fit(X, Y, epochs=4, batch_size=None, compile=False)  # a layer that looks at numbers
    assert np.allclose(dropped[-4:], [0.0, 0.25, 0.5, 0.75], atol=0.02)


@pytest.mark.parametrize(
    "layers, optimizer, name",
    [
        ([xpnn.Dense(2, 3), xpnn.Dropout(lambda step: 1.5), xpnn.Dense(3, 1)], "adam", "rate"),
        ([xpnn.Dense(2, 1)], xpnn.SGD(0.1, momentum=lambda step: 2.0), "momentum"),
        ([xpnn.Dense(2, 1)], xpnn.SGD(lambda step: -1.0), "learning_rate"),
    ],
)
def test_a_schedule_keeps_the_bounds_of_its_number(layers, optimizer, name):
    with pytest.raises(ValueError, match=f"the schedule's {name} must be"):
        xpnn.Network(layers).fit(X, Y, optimizer=optimizer, epochs=1)


def test_class_labels_reach_a_metric_as_zeros_and_ones():
    seen = []

    class Labels(xpnn.metrics.Metric):
        needs, name = "labels", "labels"

        def __call__(self, prediction, target, *, xp, weight=None):
            seen.append((prediction, target))
            return xp.mean(prediction, axis=-1)

    net = xpnn.Network(LAYERS, dtype="float64")
    net.evaluate(X, Y, loss="bce", metrics=[Labels()])
    prediction, target = seen[0]
    assert (target == Y[:, 0]).all()
    assert (prediction == (net.predict(X)[:, 0] > 0.5)).all()


def test_layer_state_that_overflows_is_reported():
    net = xpnn.Network([xpnn.BatchNorm(2), xpnn.Dense(2, 1)])
    with pytest.raises(xpnn.NonFiniteLoss, match="scale of the data"):
        net.fit(X * 1e25, Y, epochs=1)
    assert np.isfinite(net.progress.carry.state).all()


def test_two_threads_may_ask_for_two_losses():
    from concurrent.futures import ThreadPoolExecutor

    net = xpnn.Network(xpnn.mlp([2, 4, 1]), dtype="float64")
    expected = {loss: float(net.value_and_grad(X, Y, loss=loss)[0]) for loss in ("mse", "bce")}
    names = ["mse", "bce"] * 200
    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(lambda loss: float(net.value_and_grad(X, Y, loss=loss)[0]), names))
    assert all(value == expected[loss] for value, loss in zip(values, names, strict=True))


def test_callbacks_see_each_epoch_and_may_stop():
    seen = []

    class Watch(xpnn.Callback):
        def on_fit_begin(self, net, epochs):
            seen.append(epochs)

        def on_epoch_end(self, net, epoch, logs):
            seen.append((epoch, net.epoch, sorted(logs)))
            return epoch == 1

        def on_fit_end(self, net, history):
            seen.append(len(history.epoch))

    history = network().fit(X, Y, **FIT, epochs=9, callbacks=[Watch()], validation_data=(X, Y), metrics=["accuracy"])
    names = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert seen == [9, (0, 1, names), (1, 2, names), 2]
    assert history.epoch == [0, 1]


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_silence_or_a_line_an_epoch_where_no_terminal_is(verbose, capsys):
    network().fit(X, Y, **FIT, epochs=3, verbose=verbose)
    out, err = capsys.readouterr()
    assert out.count("loss") == (3 if verbose == 2 else 0)
    assert err == ""  # a bar is for terminals


def test_an_own_loss_and_an_own_metric_are_plain_functions():
    def absolute(prediction, target, *, xp, weight=None):
        error = prediction - target
        return xp.mean(xp.abs(error), axis=(-2, -1)), xp.sign(error) / (error.shape[-1] * error.shape[-2])

    def worst(prediction, target, *, xp, weight=None):
        return xp.max(xp.abs(prediction - target), axis=(-2, -1))

    net = xpnn.Network(xpnn.mlp([2, 8, 1]))
    history = net.fit(X, Y, absolute, xpnn.Adam(0.01), epochs=20, metrics=[worst])
    assert history["loss"][-1] < history["loss"][0]
    assert list(history.history) == ["loss", "worst"]


@pytest.mark.parametrize("activation, loss, output", [("relu", "bce", "sigmoid"), ("tanh", "cross_entropy", "softmax")])
def test_it_learns(backend, activation, loss, output):
    if backend.name == "jax":
        epochs, floor = 15, 0.6  # eager JAX dispatches slowly; the curve is held against NumPy's elsewhere
    else:
        epochs, floor = 60, 0.8
    y, width = (Y, 1) if loss == "bce" else (CLASSES, 3)
    layers = [xpnn.Standardize.fit(X), *xpnn.mlp([2, 32, width], activation, output)]
    net = xpnn.Network(layers, backend=backend, seed=0)
    net.fit(X, y, loss, xpnn.Adam(0.03), epochs=epochs, batch_size=20)
    assert net.evaluate(X, y)["accuracy"] > floor


def test_a_step_leaves_nothing_for_the_garbage_collector():
    """A reference cycle would keep a step's vectors until a collection: more memory, and every array a cold one."""
    net = network()
    net.fit(X, Y, **FIT, epochs=1)
    for call in (lambda: net.step(X, Y), lambda: net.fit(X, Y, epochs=1, metrics=["accuracy"], validation_split=0.2)):
        call()
        gc.collect()
        gc.disable()
        try:
            call()
            assert gc.collect() == 0
        finally:
            gc.enable()


def test_a_metric_that_does_not_fit_is_refused_before_the_first_step():
    net = xpnn.Network(xpnn.mlp([2, 1]))
    with pytest.raises(ValueError, match="metric f1 needs classes"):
        net.fit(X, Y, "mse", metrics=["f1"], epochs=3)
    assert net.updates == 0


def test_rows_in_columns_order_are_laid_out_once_and_give_the_same_numbers():
    x = np.random.default_rng(0).normal(size=(50, 2))
    curves = []
    for given in (x, np.asfortranarray(x)):
        net = xpnn.Network(xpnn.mlp([2, 3, 1]), dtype="float64")
        curves.append(net.fit(given, x[:, 0], epochs=3, batch_size=8)["loss"])
    assert curves[0] == curves[1]
    backend = net.backend
    data = Data(np.asfortranarray(x), x[:, :1], None)
    assert batches.Batches(data, 1, 8, True, [0], False, backend).data.x.flags.c_contiguous
