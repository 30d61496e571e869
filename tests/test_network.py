"""The network: how it is made and shown, what it computes its parts compute, and a new start gives a new one."""

import numpy as np
import pytest

import xpnn
from tests.networks import EVERY, PLAIN, Through, X, Y, build, same, state_of, train
from xpnn import SGD, BatchNorm, Dense, Network, Sequential, Standardize, mlp
from xpnn.backend import to_host
from xpnn.testing import assert_close


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
    pairs = zip(str(net.summary()).splitlines(), str(net).splitlines(), strict=False)
    assert all(line.startswith(start) for line, start in pairs)
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
    assert same(found[-1], net.predict(X, compile=backend.name != "cupy"))  # where a GPU rounds otherwise
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


def test_weights_and_biases_are_those_of_the_layers_that_have_them(backend):
    net = build(backend)
    assert same(net.weights, [one["weight"] for one in net.params if "weight" in one])
    assert same(net.biases, [one["bias"] for one in net.params if "bias" in one])
    assert Network([Dense(3, 2, bias=False), Dense(2, 1)]).biases[0].shape == (1,)


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


def test_a_container_of_ones_own_is_one_layer_to_the_loss():
    net = Network([Dense(2, 1), Box()], dtype="float64")
    assert net.step(np.ones((3, 2)), np.ones((3, 1)), "bce", SGD(0.1)).shape == ()
