"""What training makes small and what it shows: penalties, averaged parameters, losses of several outputs a target."""

import numpy as np
import pytest

import xpnn
from xpnn import losses
from xpnn.losses import Penalized
from xpnn.progress import START

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ [[1.0], [-2.0], [0.0]] + 0.5


def linear(**options):
    return xpnn.Network(xpnn.mlp([3, 1]), dtype="float64", **options)


@pytest.mark.parametrize("l1, l2", [(0.1, 0.0), (0.0, 0.2), (0.1, 0.2)])
def test_a_penalty_is_of_the_weights_and_not_of_the_biases(l1, l2):
    net = linear(seed=1)
    net.params = [{"weight": np.asarray([[1.0], [-2.0], [0.0]]), "bias": np.asarray([3.0])}]
    plain, grads = net.value_and_grad(X, Y, "mse")
    value, slopes = net.value_and_grad(X, Y, Penalized("mse", l1=l1, l2=l2))
    assert value - plain == pytest.approx(3 * l1 + 2.5 * l2)
    assert slopes[0]["bias"] == grads[0]["bias"]
    expected = [[l1 + l2], [-l1 - 2 * l2], [0.0]]  # |0| has derivative 0
    assert np.allclose(slopes[0]["weight"] - grads[0]["weight"], expected, atol=1e-14)


def test_ridge_regression_is_found():
    net = linear()
    net.fit(X, Y, Penalized("mse", l2=0.3), xpnn.SGD(0.1), epochs=2000, batch_size=None)
    centred = X - X.mean(axis=0)
    expected = np.linalg.solve(centred.T @ centred / 20 + 0.3 * np.eye(3), centred.T @ (Y - Y.mean()) / 20)
    assert np.allclose(net.weights[0], expected, atol=1e-10)


def test_l1_makes_what_does_not_matter_nearly_nought():
    net = linear()
    net.fit(X, Y, Penalized("mse", l1=0.5), xpnn.SGD(0.01), epochs=3000, batch_size=None)
    assert abs(net.weights[0][2, 0]) < 0.01
    assert abs(net.weights[0][1, 0]) > 1.0


def test_history_has_the_objective_and_validation_the_datas_part():
    net = linear()
    loss = Penalized("mse", l2=10.0)
    before = net.evaluate(X, Y, loss)["loss"]
    cost = 5.0 * float(np.sum(net.weights[0] ** 2))
    history = net.fit(X, Y, loss, xpnn.SGD(0.0), epochs=1, batch_size=None, validation_data=(X, Y))
    assert history["val_loss"][0] == pytest.approx(before)
    assert history["loss"][0] == pytest.approx(before + cost)
    assert net.evaluate(X, Y)["loss"] == pytest.approx(before)  # loss=None: the last one, its data's part


def test_penalties_by_member_schedule_and_layer():
    layers = xpnn.mlp([3, 4, 1])
    net = xpnn.Network(layers, dtype="float64", members=2)
    plain, grads = net.value_and_grad(X, Y, "mse")
    value, slopes = net.value_and_grad(X, Y, Penalized("mse", l2=[0.0, 1.0], multipliers={0: 0.0}))
    assert np.allclose(value - plain, [0.0, 0.5 * np.sum(net.weights[1][1] ** 2)])
    assert (slopes[0]["weight"] == grads[0]["weight"]).all()
    assert np.allclose((slopes[2]["weight"] - grads[2]["weight"])[1], net.weights[1][1])
    seen = []

    def falling(step):
        seen.append(step)
        return 1.0 / (1 + step)

    net.fit(X, Y, Penalized("mse", l2=falling), epochs=2, batch_size=20)
    assert sorted(set(seen)) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="l2 has 2 values, but the network is no stack"):
        linear().fit(X, Y, Penalized("mse", l2=[0.1, 0.2]))
    with pytest.raises(ValueError, match="multipliers: 'wieght' is no parameter"):
        linear().fit(X, Y, Penalized("mse", l2=0.1, multipliers={"wieght": 0.0}))


@pytest.mark.parametrize("weight", [None, np.linspace(0.5, 2.0, 40), np.zeros(40)], ids=["rows", "weights", "zero"])
def test_a_penalty_per_row_is_scikit_learns_alpha(weight):
    net, total = linear(), 40 if weight is None else (weight.sum() or 1.0)
    plain, grads = net.value_and_grad(X, Y, "mse", sample_weight=weight)
    value, slopes = net.value_and_grad(X, Y, Penalized("mse", l2=3.0, per_row=True), sample_weight=weight)
    assert value - plain == pytest.approx(1.5 * np.sum(net.weights[0] ** 2) / total)
    assert np.allclose(slopes[0]["weight"] - grads[0]["weight"], 3.0 * net.weights[0] / total)


def test_an_epochs_numbers_hold_no_vector_of_parameters_a_step():
    net = xpnn.Network(xpnn.mlp([3, 50, 1], dropout=0.5), members=2)
    loss = Penalized("mse", l1=0.1, l2=lambda step: 0.1 / (1 + step), multipliers={0: 0.5})
    rows = net._prepare(loss, xpnn.Adam(lambda step: 0.1, multipliers={"bias": 0.0}))[1].epoch(START, 0, 20)
    arrays = {
        id(a): a for row in rows for a in (*row.optimizer.values(), *row.penalty.values(), row.multiplier, row.prices)
    }
    assert sum(a.size for a in arrays.values()) < 2 * net.n_params + 20 * 20


def test_no_penalty_costs_nothing_and_changes_nothing():
    one, other = linear(), linear()
    one.fit(X, Y, "mse", epochs=3)
    other.fit(X, Y, Penalized("mse"), epochs=3)
    assert (one.weights[0] == other.weights[0]).all()


def test_a_penalized_loss_keeps_its_link_and_travels(tmp_path):
    import copy
    import pickle

    loss = Penalized("cross_entropy", l2=0.1)
    assert loss.link == losses.softmax_cross_entropy.link
    assert loss.targets == "classes"
    assert pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss) == loss
    net = xpnn.Network(xpnn.mlp([3, 4, 3], output="softmax"))
    net.fit(X, np.arange(40) % 3, loss, epochs=2)
    assert np.allclose(net.predict(X).sum(axis=-1), 1.0, atol=1e-6)
    again = pickle.loads(pickle.dumps(net))
    again.fit(X, np.arange(40) % 3, epochs=1)
    net.fit(X, np.arange(40) % 3, epochs=1)
    assert (again.weights[0] == net.weights[0]).all()


def test_activity_penalty_is_in_the_objective_alone():
    plain, layers = xpnn.mlp([3, 4, 1]), xpnn.mlp([3, 4, 1])
    layers.insert(2, xpnn.layers.ActivityPenalty(l1=0.5, l2=0.25))
    one, other = (xpnn.Network(some, dtype="float64", seed=3) for some in (plain, layers))
    hidden = one.outputs(X)[2]
    cost = 0.5 * np.abs(hidden).sum(axis=1).mean() + 0.125 * (hidden**2).sum(axis=1).mean()
    assert other.value_and_grad(X, Y)[0] - one.value_and_grad(X, Y)[0] == pytest.approx(cost)
    assert other.evaluate(X, Y) == one.evaluate(X, Y)


# An average of the parameters


def averaged(decay=0.9):
    return xpnn.SGD(0.05, average=decay)


def test_the_average_is_what_the_network_shows_and_predicts_with():
    net, plain = linear(), linear()
    seen = []
    for _ in range(5):
        plain.step(X, Y, "mse", xpnn.SGD(0.05))
        seen.append(plain.weights[0])
        net.step(X, Y, "mse", averaged())
    shares = 0.9 ** np.arange(4, -1, -1.0)
    mean = np.tensordot(shares / shares.sum(), np.stack(seen), axes=1)
    assert np.allclose(net.weights[0], mean, atol=1e-14)
    assert np.allclose(net.params[0]["weight"], mean, atol=1e-14)
    assert np.allclose(net.predict(X), net.apply(net.params, net.backend.asarray(X)))
    assert np.allclose(net.outputs(X)[-1], net.predict(X))
    assert np.allclose(net.vjp(X)[0], net.predict(X))
    assert net.evaluate(X, Y)["loss"] == pytest.approx(np.mean((net.predict(X) - Y) ** 2))
    # training goes on from the parameters themselves
    assert net.value_and_grad(X, Y, "mse")[0] == pytest.approx(plain.value_and_grad(X, Y, "mse")[0])


def test_ten_epochs_and_ten_more_are_twenty_with_an_average():
    one, two = linear(), linear()
    one.fit(X, Y, "mse", averaged(), epochs=4)
    two.fit(X, Y, "mse", averaged(), epochs=2)
    two = two.copy()
    two.fit(X, Y, epochs=2)
    assert (one.weights[0] == two.weights[0]).all()


def test_another_optimizer_starts_from_what_the_network_shows():
    net = linear()
    net.fit(X, Y, "mse", averaged(), epochs=2)
    shown = net.weights[0]
    net.fit(X, Y, "mse", xpnn.SGD(0.0), epochs=1)
    assert (net.weights[0] == shown).all()


def test_assigned_parameters_are_shown_and_trained_on():
    net = linear()
    net.fit(X, Y, "mse", averaged(), epochs=2)
    wanted = [{"weight": np.ones((3, 1)), "bias": np.ones(1)}]
    net.params = wanted
    assert (net.weights[0] == 1.0).all()
    before = net.value_and_grad(X, Y)[1][0]["weight"]
    net.step(X, Y)
    assert np.allclose(net.weights[0], 1.0 - 0.05 * before)  # the average starts anew


@pytest.mark.parametrize("where", ["array-api-strict:device1", "jax", "torch"])
def test_the_average_moves_with_the_network(where):
    if not xpnn.availability.status(where.partition(":")[0]).usable:
        pytest.skip(f"{where} is not installed")
    net = linear(members=2)
    net.fit(X, Y, "mse", xpnn.Adam(0.05, average=0.5, weight_decay=0.1, clip_norm=1.0), epochs=2)
    moved = net.to(where)
    assert np.allclose(moved.backend.to_host(moved.predict(X)), net.predict(X), atol=1e-12)
    moved.fit(X, Y, epochs=1)
    net.fit(X, Y, epochs=1)
    assert np.allclose(moved.backend.to_host(moved.weights[0]), net.weights[0], atol=1e-12)


def test_weight_decay_and_clipping_can_be_scheduled():
    steps = []

    def number(step):
        steps.append(step)
        return 0.1 / (1 + step)

    linear().fit(X, Y, "mse", xpnn.Adam(0.01, weight_decay=number, clip_norm=lambda step: 1.0), epochs=3, batch_size=20)
    assert max(steps) == 5


# Losses of several outputs a target


def test_quantiles_of_a_network_do_not_cross():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (400, 1))
    y = x + np.abs(x) * rng.normal(size=(400, 1))
    levels = (0.1, 0.5, 0.9)
    layers = [*xpnn.mlp([1, 16, 3], "tanh"), xpnn.layers.Increasing(3, 3)]
    net = xpnn.Network(layers, dtype="float64")
    net.fit(x, y, losses.Quantile(levels), xpnn.Adam(0.02), epochs=60, metrics=["mae"])
    found = net.predict(x)
    assert (np.diff(found, axis=-1) >= 0).all()
    assert np.allclose((y <= found).mean(axis=0), levels, atol=0.08)
    assert net.evaluate(x, y[:, 0], metrics=["mae"])["mean_absolute_error"] == pytest.approx(
        np.abs(found[:, 1:2] - y).mean()
    )


def test_a_gaussian_network_learns_mean_and_variance():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (2000, 1))
    y = 2 * x + (0.1 + x) * rng.normal(size=(2000, 1))
    net = xpnn.Network(xpnn.mlp([1, 16, 2], "tanh"))
    net.fit(x, y, "gaussian_nll", xpnn.Adam(0.01), epochs=60)
    mean, log_variance = net.predict([[0.2], [0.8]]).T
    assert np.allclose(mean, [0.4, 1.6], atol=0.15)
    assert np.allclose(np.exp(0.5 * log_variance), [0.3, 0.9], rtol=0.2)


def test_a_poisson_network_predicts_rates():
    x = RNG.uniform(0, 1, (2000, 1))
    y = RNG.poisson(np.exp(1 + x))
    net = xpnn.Network(xpnn.mlp([1, 8, 1], "tanh", "exponential"))
    history = net.fit(x, y, "poisson", xpnn.Adam(0.01), epochs=30, metrics=["mse"])
    assert np.allclose(net.predict([[0.0], [1.0]]).ravel(), np.exp([1.0, 2.0]), rtol=0.15)
    assert history["mean_squared_error"][-1] == pytest.approx(np.mean((net.predict(x) - y) ** 2), rel=1e-4)


@pytest.mark.parametrize("loss, outputs", [(losses.Quantile((0.1, 0.5, 0.9)), 4), ("gaussian_nll", 3)])
def test_outputs_that_do_not_go_with_the_loss_are_refused(loss, outputs):
    net = xpnn.Network(xpnn.mlp([3, outputs]))
    with pytest.raises(ValueError, match=rf"outputs? for each target.* got {outputs}"):
        net.fit(X, Y, loss)


@pytest.mark.parametrize("ending", ["relu", "tanh", "softplus", "softmax"])
@pytest.mark.parametrize("loss", ["bce", "poisson", "focal"])
def test_an_activation_that_is_not_the_losss_own_is_no_logit(ending, loss):
    net = xpnn.Network(xpnn.mlp([3, 2, 1], output=ending))
    with pytest.raises(ValueError, match="takes logits or a last layer"):
        net.fit(X, np.ones(40), loss)


@pytest.mark.parametrize(
    "behind", [xpnn.Dropout(0.1), xpnn.GaussianNoise(0.1), xpnn.layers.ActivityPenalty(), xpnn.Flatten((3,))]
)
@pytest.mark.parametrize("loss, ending", [("cross_entropy", "softmax"), ("bce", "sigmoid"), ("hinge", "sigmoid")])
def test_a_probability_behind_a_layer_that_learns_nothing_is_no_logit(loss, ending, behind):
    net = xpnn.Network([*xpnn.mlp([3, 3], output=ending), behind])
    with pytest.raises(ValueError, match=f"takes (logits|scores).* but the network ends in .*{ending.title()}"):
        net.evaluate(X, np.ones((40, 3)) / 3, loss)


@pytest.mark.parametrize("ending", ["sigmoid", "softmax"])
def test_hinge_takes_scores_and_no_probabilities(ending):
    with pytest.raises(ValueError, match="Hinge takes scores that are no probabilities"):
        xpnn.Network(xpnn.mlp([3, 2, 1], output=ending)).fit(X, np.ones(40), "hinge")


def test_log_softmax_goes_with_the_cross_entropy():
    y = np.arange(40) % 3
    nets = [xpnn.Network(xpnn.mlp([3, 4, 3], output=name), dtype="float64") for name in ("softmax", "log_softmax")]
    for net in nets:
        net.fit(X, y, "cross_entropy", epochs=3, metrics=["accuracy"])
    assert np.allclose(nets[0].predict(X), np.exp(nets[1].predict(X)), atol=1e-12)
    assert np.allclose(nets[0].history["loss"], nets[1].history["loss"], atol=1e-12)
    assert nets[0].history["accuracy"] == nets[1].history["accuracy"]


def test_a_hinge_network_is_a_classifier():
    y = (X[:, 0] > X[:, 1]).astype(int)
    net = xpnn.Network(xpnn.mlp([3, 1]))
    net.fit(X, y, "hinge", xpnn.Adam(0.1), epochs=50)
    assert net.evaluate(X, y)["accuracy"] > 0.9
    with pytest.raises(ValueError, match=r"y holds values from -1 to 1, but Hinge takes targets from 0 to 1"):
        net.fit(X, 2 * y - 1, "hinge")


# Columns of indices

TABLE = np.column_stack([RNG.normal(size=60), RNG.integers(0, 4, 60), RNG.integers(0, 3, 60)])


def embedded(**options):
    first = xpnn.layers.FeatureEmbedding((None, 4, 3), features=2)
    return xpnn.Network([first, *xpnn.mlp([5, 8, 1])], **options)


def test_categories_are_learned():
    effect = np.asarray([1.0, -2.0, 3.0, 0.0])
    y = effect[TABLE[:, 1].astype(int)] + TABLE[:, 0]
    net = embedded()
    net.fit(TABLE, y, optimizer=xpnn.Adam(0.03), epochs=150)
    assert net.evaluate(TABLE, y)["loss"] < 0.05


@pytest.mark.parametrize("wrong", [4.0, -1.0, 2.5])
def test_an_index_out_of_range_is_refused_before_anything_changes(wrong):
    net, bad = embedded(), TABLE.copy()
    bad[7, 1] = wrong
    before = net.weights[0]
    message = rf"x holds {wrong:g} in column 1, which takes whole numbers from 0 to 3: indices of 4 categories"
    with pytest.raises(ValueError, match=message):
        net.fit(bad, np.ones(60))
    with pytest.raises(ValueError, match=f"validation {message}"):
        net.fit(TABLE, np.ones(60), validation_data=(bad, np.ones(60)))
    with pytest.raises(ValueError, match=message):
        net.evaluate(bad, np.ones(60))
    assert (net.weights[0] == before).all()
    found = net.predict(bad)
    assert np.isnan(found[7]).all()
    assert np.isfinite(np.delete(found, 7, axis=0)).all()


def test_pictures_are_flattened_and_nothing_ends_in_one():
    net = xpnn.Network([xpnn.layers.Flatten((2, 3)), *xpnn.mlp([6, 1])])
    assert net.predict(np.zeros((5, 2, 3))).shape == (5, 1)
    with pytest.raises(ValueError, match=r"expects x of shape \(n, 2, 3\), got an array of shape \(5, 6\)"):
        net.predict(np.zeros((5, 6)))

    class Square(xpnn.Layer):
        input_shape = (4,)

        def output_shape(self, shape):
            return (2, 2)

    with pytest.raises(ValueError, match=r"the network ends in samples of shape \(2, 2\): put Flatten\(\(2, 2\)\)"):
        xpnn.Network([Square()])
