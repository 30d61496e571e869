"""A stack of networks: each member is the network that its seed alone gives."""

import numpy as np
import pytest

from tests.networks import OTHER, PLAIN, X, Y, build, same, train
from xpnn import Adam, Network
from xpnn.backend import to_host


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


def test_a_reset_stack_takes_one_seed_or_each_members():
    net = Network(PLAIN, members=2)
    net.reset(5)
    assert net.seed == [5, 6]
    net.reset([4, 9])
    assert same(net.predict(X)[1], Network(PLAIN, seed=9).predict(X))
