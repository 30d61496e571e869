"""The network: what it hands out is a copy, what it computes its parts compute, and it goes on wherever it is moved."""

import pickle

import numpy as np
import pytest

import xpnn
from tests.conftest import CASES
from xpnn import SGD, Adam, BatchNorm, Dense, Dropout, InverseTimeDecay, Network, Sequential, Standardize, mlp
from xpnn.availability import status
from xpnn.backend import resolve, to_host
from xpnn.testing import assert_close

RNG = np.random.default_rng(1)
X = RNG.normal(size=(12, 3))
Y = RNG.normal(size=(12, 2))
OTHER = RNG.normal(size=(12, 3))
LABELS = np.arange(12) % 2
for shared in (X, Y, OTHER, LABELS):
    shared.flags.writeable = False

PLAIN = mlp([3, 4, 2], "tanh")
# No bias before the norm: its gradient is zero but for rounding, which Adam turns into steps of full length.
EVERY = [Dense(3, 5, bias=False), BatchNorm(5), "tanh", Dropout(0.3), Dense(5, 2)]


@pytest.fixture
def eager(backend):
    """The backends without JAX, which compiles each operation for tens of milliseconds; it has its curve elsewhere."""
    if backend.name == "jax":
        pytest.skip("JAX's arrays cannot be written, and its operations take long to compile")
    return backend


def build(backend, members=None, **options) -> Network:
    """A network of every kind of layer; on JAX, which compiles each operation for seconds, of the plain ones."""
    return Network(PLAIN if backend.name == "jax" else EVERY, backend, backend.dtype, members=members, **options)


def train(net: Network, epochs: int) -> None:
    net.fit(X, Y, optimizer=Adam(InverseTimeDecay(0.1, rate=1.0, steps=4)), epochs=epochs, batch_size=6)


def host(tree):
    """A tree of arrays as NumPy arrays."""
    if isinstance(tree, list | tuple):
        return [host(one) for one in tree]
    return {name: host(one) for name, one in tree.items()} if isinstance(tree, dict) else np.array(to_host(tree))


def same(first, second) -> bool:
    """Whether two trees of arrays are equal to the bit."""
    first, second = host(first), host(second)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    return first.dtype == second.dtype and np.array_equal(first, second)


def state_of(net: Network):
    carry = net.progress.carry
    return host([carry.params, carry.state, *(carry.memory or ())])


def overwrite(tree) -> None:
    """Write into every array of a tree."""
    if isinstance(tree, list | tuple):
        for one in tree:
            overwrite(one)
    elif isinstance(tree, dict):
        overwrite(list(tree.values()))
    elif not type(tree).__module__.startswith("jax"):
        tree[...] = 7.0


def test_it_prints_its_layers_shapes_parameters_and_place(backend):
    net = build(backend, seed=3)
    first, *lines, last = str(net).splitlines()
    assert first == f"Network on {backend.label}, {backend.dtype}, seed 3"
    assert [line.split()[0] for line in lines] == [str(i) for i in range(len(net.layers))]
    for line, layer in zip(lines, net.layers, strict=True):
        assert str(layer) in line
    assert last == f"{net.n_params} parameters"


def test_a_stack_prints_its_members_and_the_parameters_of_one():
    text = str(Network(mlp([2, 50, 20]), members=3))
    assert text.splitlines()[0] == "Network on numpy, float32, 3 members"
    assert text.splitlines()[-1] == "1,170 parameters a member"


def test_the_summary_adds_memory_and_how_far_training_is():
    net = Network([Dense(2, 3), BatchNorm(3)], members=2)
    assert str(net.summary()).startswith(str(net))
    assert repr(net.summary()) == str(net.summary())
    assert "120 bytes of parameters, 48 of layer state" in net.summary()
    assert net.summary().endswith("not trained")
    net.fit(np.ones((4, 2)), np.ones((4, 3)), epochs=3, batch_size=2)
    assert net.summary().endswith("trained for 3 epochs, 6 updates")


def test_counts_follow_training():
    net = Network(PLAIN)
    assert (net.n_params, net.epoch, net.updates, net.seed, net.members) == (26, 0, 0, 0, None)
    assert net.layers == tuple(PLAIN)
    assert [layout.size for layout in Network(EVERY).layouts] == [37, 10]
    net.fit(X, Y, epochs=2, batch_size=5)
    net.step(X, Y)
    assert (net.epoch, net.updates) == (2, 7)
    net.fit(X, Y, epochs=0)
    assert (net.epoch, net.updates, net.history.epoch) == (2, 7, [])


LAYERS = {
    "a list": [Dense(3, 2), xpnn.tanh],
    "a tuple": (Dense(3, 2), xpnn.tanh),
    "an iterator": iter([Dense(3, 2), xpnn.tanh]),
    "names": [Dense(3, 2), "tanh"],
    "a Sequential": Sequential([Dense(3, 2), xpnn.tanh]),
    "nested": [Sequential([Sequential([Dense(3, 2)]), Sequential([xpnn.tanh])])],
}


@pytest.mark.parametrize("form", LAYERS)
def test_layers_are_taken_in_any_form(form):
    reference = Network([Dense(3, 2), xpnn.tanh])
    net = Network(LAYERS[form])
    assert same(net.predict(X), reference.predict(X))
    assert same(net.weights, reference.weights)


def test_widths_may_be_numpys_integers():
    assert str(Network(mlp(np.asarray([3, 4, 2])))) == str(Network(mlp([3, 4, 2])))


def test_one_layer_is_a_network():
    assert Network(Dense(3, 2)).predict(X).shape == (12, 2)
    scaled = Network(Standardize((1.0, 2.0, 3.0), (1.0, 2.0, 4.0)))
    np.testing.assert_allclose(scaled.predict([[2.0, 2.0, 7.0]]), [[1.0, 0.0, 1.0]])
    assert scaled.evaluate(X, X, metrics=())["loss"] > 0.0
    assert (scaled.n_params, scaled.weights, scaled.biases) == (0, [], [])
    assert same(scaled.copy().params, scaled.params)


def test_no_seed_draws_another_each_time():
    first, second = Network(PLAIN, seed=None), Network(PLAIN, seed=None)
    assert first.seed != second.seed
    assert same(Network(PLAIN, seed=first.seed).params, first.params)


def test_predict_is_the_same_called_whole_and_in_parts(backend):
    net = build(backend)
    train(net, 1)
    whole = net.predict(X)
    assert whole.shape == (12, 2)
    assert backend.owns(whole)
    assert whole.dtype == backend.float
    assert same(net(X), whole)
    for batch_size in (1, 5, 12, 10**12) if backend.name != "jax" else (6,):
        assert_close(net.predict(X, batch_size=batch_size), whole, rtol=1e-6, atol=1e-6)


def test_outputs_are_x_and_what_every_layer_gives(backend):
    net = build(backend)
    found = net.outputs(X)
    assert len(found) == len(net.layers) + 1
    np.testing.assert_array_equal(to_host(found[0]), X.astype(backend.dtype))
    assert same(found[-1], net.predict(X))
    assert [one.shape for one in found[1:]] == [(12, *layer_shape) for layer_shape in shapes(net)]


def shapes(net: Network) -> list:
    shape, found = (3,), []
    for layer in net.layers:
        shape = layer.output_shape(shape)
        found.append(shape)
    return found


def test_dropout_and_the_batchs_own_statistics_stay_out_of_predictions(eager):
    net = build(eager)
    train(net, 1)
    one_by_one = np.concatenate([to_host(net.predict(row[None, :])) for row in X[:3]])
    np.testing.assert_allclose(one_by_one, to_host(net.predict(X))[:3], rtol=1e-5, atol=1e-6)
    assert same(net.predict(X), net.predict(X))


def test_what_was_handed_out_is_never_overwritten_later(eager):
    net = build(eager)
    x = eager.asarray(X)
    y, pullback = net.vjp(x)
    handed = [net.predict(x), net(x), net.outputs(x), net.params, net.weights, net.biases, y]
    handed += [*net.value_and_grad(x, Y), *pullback(eager.asarray(Y)), net.step(x, Y)]
    before = host(handed)
    net.predict(OTHER)
    net.outputs(OTHER)
    net.value_and_grad(OTHER, Y)
    net.step(OTHER, Y)
    train(net, 2)
    net.vjp(OTHER)[1](eager.asarray(-Y))
    assert same(handed, before)


def test_writing_into_what_was_handed_out_changes_nothing(eager):
    net = build(eager)
    train(net, 1)
    x, dy = eager.copy(eager.asarray(X)), eager.copy(eager.asarray(Y))
    before = host([state_of(net), x, dy, net.predict(x)])
    y, pullback = net.vjp(x)
    overwrite([net.predict(x), net.params, net.weights, net.biases, net.value_and_grad(x, Y)[1], y, *pullback(dy)])
    assert same([state_of(net), x, dy, net.predict(x)], before)


def test_the_list_of_outputs_holds_copies_of_x_and_of_every_layers_output(eager):
    net = Network([Dense(3, 2), Dropout(0.5), "identity"], eager, eager.dtype)
    x = eager.copy(eager.asarray(X))
    before = host([x, net.outputs(x)])
    for position in range(4):
        found = net.outputs(x)
        overwrite(found[position])
        found[position] = before[1][position]
        assert same([x, found], before)


def test_rows_and_targets_are_left_as_they_were(eager):
    net = build(eager)
    x, y, weight = eager.asarray(X), eager.asarray(Y), eager.asarray(np.ones(12))
    before = host([x, y, weight])
    net.fit(x, y, sample_weight=weight, epochs=2, batch_size=6)
    net.step(x, y, sample_weight=weight)
    net.vjp(x)[1](y)
    assert same([x, y, weight], before)


def test_weights_and_biases_are_those_of_the_layers_that_have_them(backend):
    net = build(backend)
    assert same(net.weights, [one["weight"] for one in net.params if "weight" in one])
    assert same(net.biases, [one["bias"] for one in net.params if "bias" in one])
    assert Network([Dense(3, 2, bias=False), Dense(2, 1)]).biases[0].shape == (1,)


def test_params_that_are_assigned_are_written_as_copies(backend):
    net, donor = build(backend), build(backend, seed=9)
    train(donor, 1)
    given = donor.params
    net.params = given
    overwrite(given)
    assert same(net.params, donor.params)
    assert same(net.predict(X), donor.predict(X))
    net.params = host(donor.params)  # from NumPy, whatever the backend
    assert same(net.params, donor.params)
    net.params = [{name: value.tolist() for name, value in one.items()} for one in host(donor.params)]
    assert same(net.params, donor.params)


def test_assigning_params_keeps_the_training_state():
    net = Network(PLAIN)
    train(net, 2)
    memory, counts = host(net.progress.carry.memory), (net.epoch, net.updates)
    net.params = Network(PLAIN, seed=5).params
    assert same(net.progress.carry.memory, memory)
    assert (net.epoch, net.updates) == counts


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("members", [None, 2])
def test_value_and_grad_is_exactly_what_the_next_step_uses(eager, members, steps):
    net = build(eager, members)
    for _ in range(steps):
        net.step(X, Y, "mse", SGD(1.0))
    weight = np.linspace(0.0, 1.0, 12)
    before = state_of(net)
    value, grads = net.value_and_grad(X, Y, "mse", sample_weight=weight)
    assert same(state_of(net), before)
    held = host(net.params)
    assert same(net.step(X, Y, "mse", SGD(1.0), sample_weight=weight), value)
    for old, new, grad in zip(held, host(net.params), host(grads), strict=True):
        for name, array in grad.items():
            assert np.array_equal(old[name] - array, new[name])


def test_value_and_grad_has_the_learned_entries_only():
    _, grads = Network(EVERY).value_and_grad(X, Y)
    assert [sorted(one) for one in grads] == [["weight"], ["bias", "weight"], [], [], ["bias", "weight"]]


def test_each_samples_own_gradient_comes_from_a_leading_axis(eager):
    net = Network(PLAIN, eager, eager.dtype)
    values, grads = net.value_and_grad(X[:, None, :], Y[:, None, :])
    assert values.shape == (12,)
    whole, mean = net.value_and_grad(X, Y)
    np.testing.assert_allclose(to_host(values).mean(), to_host(whole), rtol=1e-5)
    for each, together in zip(host(grads), host(mean), strict=True):
        for name in each:
            np.testing.assert_allclose(each[name].mean(axis=0), together[name], rtol=1e-4, atol=1e-6)


def test_a_vjp_is_the_derivative_of_predict(backend, tolerance):
    reference, small = Network(EVERY, dtype="float64", seed=2), 1e-6
    train(reference, 1)
    net = reference.to(backend, backend.dtype)
    direction = RNG.normal(size=(12, 2))
    y, pullback = net.vjp(X)
    assert same(y, net.predict(X))
    dx, grads = pullback(backend.asarray(direction))

    def slope(dx, dparams):
        """The numerical derivative of sum(predict * direction) on the way that is given."""
        ends = []
        for sign in (1.0, -1.0):
            moved, params = reference.copy(), reference.params
            for (position, name), turn in dparams.items():
                params[position][name] += sign * small * turn
            moved.params = params
            ends.append(float(np.sum(moved.predict(X + sign * small * dx) * direction)))
        return (ends[0] - ends[1]) / (2.0 * small)

    rtol = 10 * max(tolerance, 1e-7)
    towards = RNG.normal(size=X.shape)
    np.testing.assert_allclose(np.sum(to_host(dx) * towards), slope(towards, {}), rtol=rtol)
    for position, name in [(0, "weight"), (1, "weight"), (1, "bias"), (4, "weight"), (4, "bias")]:
        turn = RNG.normal(size=reference.params[position][name].shape)
        found = np.sum(to_host(grads[position][name]) * turn)
        np.testing.assert_allclose(found, slope(0.0, {(position, name): turn}), rtol=rtol)


@pytest.mark.parametrize("changed", ["the network", "x", "y"])
def test_a_vjp_stands_by_the_moment_it_was_taken(eager, changed):
    net = Network([*EVERY, "sigmoid"], eager, eager.dtype)
    x, dy = eager.copy(eager.asarray(X)), eager.asarray(Y)
    y, pullback = net.vjp(x)
    before = host(pullback(dy))
    if changed == "the network":
        train(net, 1)
    else:
        overwrite(x if changed == "x" else y)
    assert same(pullback(dy), before)


def test_apply_is_predict_of_given_parameters(backend):
    net, other = build(backend), build(backend, seed=4)
    x = backend.asarray(X)
    assert same(net.apply(net.params, x), net.predict(x))
    assert same(net.apply(other.params, x), other.predict(x))


def test_jax_differentiates_apply_as_vjp_does():
    jax = pytest.importorskip("jax")
    net = Network(PLAIN, "jax", "float64")
    x, dy = net.backend.asarray(X), net.backend.asarray(Y)

    def scalar(params, x):
        return jax.numpy.sum(net.apply(params, x) * dy)

    grads, dx = jax.jit(jax.grad(scalar, argnums=(0, 1)))(net.params, x)
    expected, own = net.vjp(x)[1](dy)
    assert_close(dx, expected, rtol=1e-10, atol=1e-12)
    for one, two in zip(grads, own, strict=True):
        for name in one:
            assert_close(one[name], two[name], rtol=1e-10, atol=1e-12)


def test_pytorch_differentiates_apply_as_vjp_does():
    torch = pytest.importorskip("torch")
    net = Network(EVERY, "torch", "float64")
    params, x = net.params, net.backend.asarray(X).requires_grad_()
    dy = net.backend.asarray(Y)
    weight = params[0]["weight"].requires_grad_()
    torch.sum(net.apply(params, x) * dy).backward()
    dx, grads = net.vjp(X)[1](dy)
    assert_close(x.grad, dx, rtol=1e-10, atol=1e-12)
    assert_close(weight.grad, grads[0]["weight"], rtol=1e-10, atol=1e-12)


def test_training_on_pytorch_tensors_with_gradients_builds_no_graph():
    torch = pytest.importorskip("torch")
    net = Network(PLAIN, "torch")
    net.fit(torch.tensor(X, dtype=torch.float32, requires_grad=True), Y, epochs=2)
    assert not net.progress.carry.params.requires_grad
    net.copy()


ACCURACY = {
    "a probability": (mlp([3, 4, 1], output="sigmoid"), "bce", LABELS, lambda out: out[:, 0] > 0.5),
    "a probability as a column": (
        mlp([3, 4, 1], output="sigmoid"),
        "bce",
        LABELS[:, None],
        lambda out: out[:, 0] > 0.5,
    ),
    "a logit": (mlp([3, 4, 1]), "bce", LABELS, lambda out: out[:, 0] > 0.0),
    "a probability under mse": (mlp([3, 4, 1], output="sigmoid"), "mse", LABELS, lambda out: out[:, 0] > 0.5),
    "softmax": (mlp([3, 4, 3], output="softmax"), "cross_entropy", np.arange(12) % 3, lambda out: out.argmax(1)),
    "logits of classes": (mlp([3, 4, 3]), "cross_entropy", np.arange(12) % 3, lambda out: out.argmax(1)),
    "one-hot": (mlp([3, 4, 3]), "cross_entropy", np.eye(3)[np.arange(12) % 3], lambda out: np.eye(3)[out.argmax(1)]),
    "softmax under mse": (
        mlp([3, 4, 3], output="softmax"),
        "mse",
        np.eye(3)[np.arange(12) % 3],
        lambda out: np.eye(3)[out.argmax(1)],
    ),
    "several labels": (
        mlp([3, 4, 2], output="sigmoid"),
        "bce",
        (X[:, :2] > 0.0).astype(float),
        lambda out: (out > 0.5).astype(float),
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", ACCURACY)
@pytest.mark.parametrize("place", ["numpy", "torch", "array-api-strict:device1"])
def test_accuracy_is_scikit_learns(place, case, weighted):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    if not status(place.partition(":")[0]).usable:
        pytest.skip(f"{place} is not usable")
    layers, loss, y, decide = ACCURACY[case]
    net = Network(layers, place, "float64", seed=3)
    weight = np.linspace(0.0, 1.0, 12) if weighted else None
    found = net.evaluate(X, y, loss, sample_weight=weight)
    predicted = np.asarray(decide(to_host(net.predict(X))), dtype=float)
    truth = np.asarray(y, dtype=float)
    truth = truth[:, 0] if truth.shape[1:] == (1,) else truth
    expected = sklearn_metrics.accuracy_score(truth, predicted, sample_weight=weight)
    assert found["accuracy"] == pytest.approx(expected)
    assert all(isinstance(value, float) for value in found.values())
    value, _ = Network(layers, place, "float64", seed=3).value_and_grad(X, y, loss, sample_weight=weight)
    assert found["loss"] == pytest.approx(float(value))
    assert net.evaluate(X, y, loss, sample_weight=weight, batch_size=5) == pytest.approx(found)


def test_evaluate_takes_the_loss_that_training_used_last():
    net = Network(mlp([3, 1], output="sigmoid"))
    net.fit(X, LABELS, "bce", epochs=1)
    assert net.evaluate(X, LABELS) == net.evaluate(X, LABELS, "bce") != net.evaluate(X, LABELS, "mse")


def test_a_stack_is_evaluated_member_by_member(eager):
    net = Network(mlp([3, 4, 3], output="softmax"), eager, eager.dtype, members=2, seed=3)
    found = net.evaluate(X, np.arange(12) % 3, "cross_entropy")
    for k in range(2):
        alone = Network(mlp([3, 4, 3], output="softmax"), eager, eager.dtype, seed=3 + k)
        expected = alone.evaluate(X, np.arange(12) % 3, "cross_entropy")
        assert {name: values[k] for name, values in found.items()} == pytest.approx(expected, rel=1e-6)
    assert all(isinstance(values, np.ndarray) and values.shape == (2,) for values in found.values())


def test_a_metric_may_be_any_function():
    def largest_error(prediction, target, *, xp, weight=None):
        return xp.max(xp.abs(prediction - target))

    net = Network(PLAIN, dtype="float64")
    expected = np.max(np.abs(net.predict(X) - Y))
    assert net.evaluate(X, Y, metrics=[largest_error])["largest_error"] == pytest.approx(expected)


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("way", [Network.copy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_a_copy_goes_on_bit_for_bit_and_on_its_own(backend, way, members):
    if backend.name == "jax" and members:
        pytest.skip("one network on JAX will do")
    unbroken, net = build(backend, members), build(backend, members)
    train(unbroken, 4)
    train(net, 2)
    before = state_of(net)
    other = way(net)
    assert (other.backend, other.seed, other.epoch, other.updates) == (net.backend, net.seed, 2, 4)
    assert other.history.history.keys() == net.history.history.keys()
    train(other, 2)
    assert same(state_of(other), state_of(unbroken))
    assert same(state_of(net), before)
    train(net, 2)
    assert same(state_of(net), state_of(unbroken))


def test_a_pickle_keeps_loss_and_optimizer():
    net = Network(mlp([3, 1], output="sigmoid"))
    net.fit(X, LABELS, "bce", SGD(0.3, momentum=0.9), epochs=2)
    other = pickle.loads(pickle.dumps(net))
    net.fit(X, LABELS, epochs=2)
    other.fit(X, LABELS, epochs=2)
    assert same(state_of(other), state_of(net))
    assert other.progress.optimizer == SGD(0.3, momentum=0.9)


@pytest.mark.parametrize("there", [case for case, (_, dtype) in CASES.items() if dtype == "float64"])
@pytest.mark.parametrize("here", ["numpy", "torch", "strict-device1"])
def test_a_network_moved_in_its_training_goes_on_to_the_same_numbers(here, there):
    for place in (CASES[here][0], CASES[there][0]):
        if not status(place.partition(":")[0]).usable:
            pytest.skip(status(place.partition(":")[0]).reason)
    layers = PLAIN if there == "jax" else EVERY
    unbroken, net = (Network(layers, dtype="float64") for _ in range(2))
    train(unbroken, 4)
    net = net.to(CASES[here][0])
    train(net, 2)
    before = state_of(net)
    moved = net.to(CASES[there][0])
    assert (moved.backend.label, moved.backend.dtype) == (resolve(CASES[there][0]).label, "float64")
    train(moved, 2)
    for one, two in zip(state_of(moved), state_of(unbroken), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)
    assert same(state_of(net), before)


def test_to_takes_a_dtype_or_that_of_a_backend():
    net = Network(PLAIN, dtype="float64")
    assert net.to("numpy").backend.dtype == "float64"
    assert net.to("numpy", "float32").predict(X).dtype == np.float32
    assert net.to(resolve("numpy", "float32")).backend.dtype == "float32"


def test_networks_of_the_same_layers_share_nothing(eager):
    layers = [Dense(3, 2), BatchNorm(2)]
    one, two = (Network(layers, eager, eager.dtype) for _ in range(2))
    before = state_of(two)
    one.fit(X, Y, epochs=1, batch_size=None)
    assert same(state_of(two), before)


def test_a_stack_has_its_members_in_front(eager):
    net = build(eager, 2)
    assert (net.members, net.seed) == (2, [0, 1])
    assert [one.shape for one in net.weights] == [(2, *one.shape) for one in build(eager).weights]
    assert net.predict(X).shape == (2, 12, 2)
    assert net.predict(np.stack([X, OTHER])).shape == (2, 12, 2)
    assert net.value_and_grad(X, Y)[0].shape == net.step(X, Y).shape == (2,)
    dx, _ = net.vjp(X)[1](net.predict(X))
    assert dx.shape[-2:] == (12, 3)
    assert net.fit(X, Y, epochs=1)["loss"][0].shape == (2,)


@pytest.mark.parametrize("own_x", [False, True])
@pytest.mark.parametrize("own_y", [False, True])
def test_a_member_is_the_network_that_its_seed_alone_gives(eager, own_x, own_y):
    net = build(eager, seed=[7, 3])
    xs, ys = [X, OTHER if own_x else X], [Y, -Y if own_y else Y]
    train_on = {"epochs": 2, "batch_size": 6, "optimizer": Adam(0.05)}
    net.fit(np.stack(xs) if own_x else X, np.stack(ys) if own_y else Y, **train_on)
    predicted = to_host(net.predict(np.stack(xs)))
    for k, seed in enumerate([7, 3]):
        alone = build(eager, seed=seed)
        alone.fit(xs[k], ys[k], **train_on)
        rtol = 1e-9 if eager.dtype == "float64" else 1e-3
        np.testing.assert_allclose(predicted[k], to_host(alone.predict(xs[k])), rtol=rtol, atol=rtol)
        np.testing.assert_allclose(np.asarray(net.history["loss"])[:, k], alone.history["loss"], rtol=rtol)


@pytest.mark.parametrize(
    "seeds", [[7, 3], (7, 3), np.asarray([7, 3]), range(7, 2, -4)], ids=["list", "tuple", "array", "range"]
)
def test_seeds_are_named_in_any_sequence(seeds):
    net = Network(PLAIN, seed=seeds)
    assert (net.members, net.seed) == (2, [7, 3])
    assert same(net.predict(X)[1], Network(PLAIN, seed=3).predict(X))


def test_a_stack_of_one_is_the_network_with_an_axis_in_front():
    net, alone = Network(PLAIN, members=1), Network(PLAIN)
    train(net, 2)
    train(alone, 2)
    assert net.predict(X).shape == (1, 12, 2)
    np.testing.assert_allclose(net.predict(X)[0], alone.predict(X), rtol=1e-5)


def test_a_reset_network_is_a_new_one(backend):
    net = build(backend)
    train(net, 1)
    net.reset()
    assert (net.epoch, net.updates, net.history.epoch) == (0, 0, [])
    assert same(state_of(net), state_of(build(backend)))
    train(net, 1)
    net.reset(seed=5)
    fresh = build(backend, seed=5)
    assert net.seed == 5
    train(net, 1)
    train(fresh, 1)
    assert same(state_of(net), state_of(fresh))


def test_a_reset_stack_takes_one_seed_or_each_members():
    net = Network(PLAIN, members=2)
    net.reset(5)
    assert net.seed == [5, 6]
    net.reset([4, 9])
    assert same(net.predict(X)[1], Network(PLAIN, seed=9).predict(X))


def test_the_history_of_a_fit_counts_epochs_over_the_networks_life():
    net = Network(PLAIN)
    train(net, 2)
    history = net.fit(X, Y, epochs=3)
    assert history is net.history
    assert history.epoch == [2, 3, 4]
    assert len(history["loss"]) == 3


def test_everything_runs_with_the_networks_own_device_current(monkeypatch):
    entered = []

    class Current:
        def __enter__(self):
            entered.append(True)

        def __exit__(self, *error):
            entered.pop()

    seen = []
    net = Network(EVERY, dtype="float64")
    monkeypatch.setattr(type(net.backend), "current", lambda self: Current())
    forward, backward = Sequential.forward, Sequential.backward

    def noted(function):
        return lambda *args, **options: (seen.append(bool(entered)), function(*args, **options))[1]

    monkeypatch.setattr(Sequential, "forward", noted(forward))
    train(net, 1)
    net.step(X, Y)
    net.evaluate(X, Y)
    net(X), net.apply(net.params, X), net.value_and_grad(X, Y)
    _, pullback = net.vjp(X)
    assert len(seen) >= 6
    assert all(seen)
    assert not entered
    monkeypatch.setattr(Sequential, "backward", noted(backward))
    pullback(np.ones((12, 2)))
    assert all(seen)


class Through(xpnn.Layer):
    """A layer that hands its input on."""

    def forward(self, params, x, *, xp, step=None):
        return x, None

    def backward(self, params, cache, dy, *, xp):
        return dy, {}


class Box(Through):
    """A container that is no Sequential, with a sigmoid inside."""

    @property
    def children(self):
        return (xpnn.sigmoid,)

    def init(self, rng):
        return [{}]

    def init_state(self):
        return [{}]

    def update_state(self, params, cache, *, xp):
        return [{}]


def test_a_prediction_is_never_the_callers_own_array():
    x = np.ones((2, 3))
    net = Network([Dropout(0.5), Dense(3, 3)], dtype="float64")
    net.layer = Sequential([Through()])
    assert not np.shares_memory(net.predict(x), x)


def test_a_container_of_ones_own_is_one_layer_to_the_loss():
    net = Network([Dense(2, 1), Box()], dtype="float64")
    assert net.step(np.ones((3, 2)), np.ones((3, 1)), "bce", SGD(0.1)).shape == ()


def test_a_backend_survives_pickling_and_hashing(backend):
    assert pickle.loads(pickle.dumps(backend)).label == backend.label
    assert hash(backend) == hash(pickle.loads(pickle.dumps(backend)))
