"""Batches that others make: the same training as of arrays, also where an epoch is so long that it goes in pieces."""

import numpy as np
import pytest

from tests import lazy
from tests.lazy import FIT, STOCHASTIC, WEIGHT, Batched, X, Y, network
from tests.trained import state_of
from xpnn import SGD, epochs, mlp
from xpnn.training import NonFiniteLoss

small = lazy.small  # pytest looks for fixtures among the names of the module


@pytest.mark.parametrize("kind", ["an object", "a list", "a list of lists"])
def test_batches_are_trained_bit_for_bit_as_the_array_in_its_order(backend, kind):
    layers = mlp([3, 1]) if backend.name == "jax" else STOCHASTIC
    array, batched = network(backend, layers), network(backend, layers)
    batches = Batched(X, Y, WEIGHT, size=16)
    batches = {"an object": batches, "a list": list(batches), "a list of lists": [list(one) for one in batches]}[kind]
    options = {"loss": "bce", "optimizer": FIT["optimizer"], "epochs": 3}
    options["compile"] = backend.name != "jax"  # XLA fuses what it gathers
    array.fit(X, Y, **options, batch_size=16, shuffle=False, sample_weight=WEIGHT)
    batched.fit(batches, **options)
    assert state_of(batched) == state_of(array)


def test_own_arrays_are_batches_too(backend):
    array, batched = network(backend, mlp([3, 1])), network(backend, mlp([3, 1]))
    own = [tuple(backend.asarray(part) for part in batch) for batch in Batched(X, Y, size=52)]
    array.fit(X, Y, epochs=2, batch_size=52, shuffle=False)
    batched.fit(own, epochs=2)
    assert state_of(batched) == state_of(array)


def test_batches_may_be_of_any_length_and_of_the_members_own(small):
    parts = [slice(0, 50), slice(50, 51), slice(51, 103)]
    stack = network(members=2)
    stack.fit([(np.stack([X[rows], -X[rows]]), Y[rows]) for rows in parts], loss="bce", epochs=3)
    for k, sign in enumerate([1.0, -1.0]):
        alone = network(seed=3 + k)
        alone.fit([(sign * X[rows], Y[rows]) for rows in parts], loss="bce", epochs=3)
        np.testing.assert_allclose([row[k] for row in stack.history["loss"]], alone.history["loss"], rtol=1e-9)
    net = network(layers=mlp([3, 1]))
    net.fit([(X[rows], Y[rows]) for rows in parts], optimizer=SGD(0.0), epochs=1)
    assert net.history["loss"][0] == pytest.approx(net.evaluate(X, Y)["loss"], rel=1e-6)


def test_an_iterator_serves_one_epoch():
    array, batched = network(), network()
    array.fit(X, Y, **FIT, epochs=1, shuffle=False)
    batched.fit(iter(Batched(X, Y, size=16)), loss="bce", optimizer=FIT["optimizer"], epochs=1)
    assert state_of(batched) == state_of(array)


def test_metrics_and_validation_take_passes_of_their_own():
    batches, held = Batched(X, Y), Batched(X[::-1], Y[::-1])
    net, array = network(), network()
    net.fit(batches, loss="bce", epochs=2, metrics=["accuracy"], validation_data=held)
    options = {"batch_size": 20, "shuffle": False, "validation_data": (X[::-1], Y[::-1])}
    array.fit(X, Y, "bce", epochs=2, metrics=["accuracy"], **options)
    for name, values in array.history.history.items():
        assert net.history[name] == pytest.approx(values, rel=1e-6), name
    assert (batches.passes, held.passes) == (4, 2)
    assert net.evaluate(held, loss="bce") == pytest.approx(array.evaluate(X, Y, "bce"), rel=1e-6)


def test_a_schedule_is_asked_for_no_step_that_is_not_made():
    def schedule(step):
        return 0.1 - 0.01 * step  # below zero after the 11th

    batched = network(layers=mlp([3, 1]))
    batched.fit(Batched(X, Y, size=10), optimizer=SGD(schedule), epochs=1)
    array = network(layers=mlp([3, 1]))
    array.fit(X, Y, optimizer=SGD(schedule), batch_size=10, shuffle=False, epochs=1)
    assert state_of(batched) == state_of(array)
    before = state_of(batched, recorded=False)
    with pytest.raises(ValueError, match="schedule's learning_rate must be"):
        batched.fit(Batched(X, Y, size=10), optimizer=None, epochs=1)
    assert state_of(batched, recorded=False) == before


# Long epochs


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("batch_size", [13, 16, 24])
def test_numbers_and_losses_in_pieces_are_the_same(monkeypatch, members, weight, batch_size):
    options = FIT | {"batch_size": batch_size, "sample_weight": weight, "epochs": 2}
    whole, pieces = network(members=members), network(members=members)
    whole.fit(X, Y, **options)
    monkeypatch.setattr(epochs, "PIECE", 4)
    pieces.fit(X, Y, **options)
    assert state_of(pieces) == state_of(whole)


def test_a_long_epoch_ends_where_its_loss_is_not_finite(monkeypatch):
    monkeypatch.setattr(epochs, "PIECE", 4)
    seen = []

    class Counting:
        def __iter__(self):
            seen.append(0)
            for _ in range(1000):
                seen[-1] += 1
                yield X[:8], 1e6 * Y[:8]

    net = network(layers=mlp([3, 1]))
    with pytest.raises(NonFiniteLoss, match=r"epoch 0, step \d+: "):
        net.fit(Counting(), optimizer=SGD(1e30), epochs=1)
    assert seen[0] < 50
    assert net.epoch == 0
