"""The network's gradients: what the next step uses, the derivative of predict, and what JAX and PyTorch find."""

import numpy as np
import pytest

from tests.networks import EVERY, PLAIN, RNG, X, Y, build, host, overwrite, same, state_of, train
from xpnn import SGD, Network
from xpnn.backend import to_host
from xpnn.testing import assert_close


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("members", [None, 2])
def test_value_and_grad_is_exactly_what_the_next_step_uses(eager, members, steps):
    net = build(eager, members)
    for _ in range(steps):
        net.step(X, Y, "mse", SGD(1.0), compile=False)
    weight = np.linspace(0.0, 1.0, 12)
    before = state_of(net)
    value, grads = net.value_and_grad(X, Y, "mse", sample_weight=weight)
    assert same(state_of(net), before)
    held = host(net.params)
    assert same(net.step(X, Y, "mse", SGD(1.0), sample_weight=weight, compile=False), value)
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
    assert same(y, net.predict(X, compile=net.backend.name != "cupy"))  # where a GPU rounds otherwise
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
    compile = net.backend.name != "cupy"  # where a GPU rounds otherwise
    assert same(net.apply(net.params, x), net.predict(x, compile=compile))
    assert same(net.apply(other.params, x), other.predict(x, compile=compile))


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
