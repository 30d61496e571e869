"""What the network hands out is a copy, what it is given stays as it was, and a copy goes on wherever it is moved."""

import pickle

import numpy as np
import pytest

from tests.conftest import CASES
from tests.networks import EVERY, LABELS, OTHER, PLAIN, Through, X, Y, build, host, overwrite, same, state_of, train
from xpnn import SGD, BatchNorm, Dense, Dropout, Network, Sequential, mlp
from xpnn.availability import status
from xpnn.backend import resolve


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


def test_a_prediction_is_never_the_callers_own_array():
    x = np.ones((2, 3))
    net = Network([Dropout(0.5), Dense(3, 3)], dtype="float64")
    net.layer = Sequential([Through()])
    assert not np.shares_memory(net.predict(x), x)


def test_a_backend_survives_pickling_and_hashing(backend):
    assert pickle.loads(pickle.dumps(backend)).label == backend.label
    assert hash(backend) == hash(pickle.loads(pickle.dumps(backend)))
