"""Each activation beside its derivative, by hand and as a layer, and PReLU, which learns."""

import numpy as np
import pytest

import xpnn
from tests.tables import ACTIVATIONS, TUNED_ACTIVATIONS
from xpnn import activations, layers
from xpnn.backend import resolve
from xpnn.testing import assert_close, check_gradients

X = np.asarray([[-4.0, -0.5, 0.25], [1.0, 3.5, -1.5]])  # away from kinks, and on either side of each

CASES = [pytest.param(activations.get(name), *theirs, id=name) for name, theirs in ACTIVATIONS.items()]
CASES += [pytest.param(act, *theirs, id=str(act)) for act, *theirs in TUNED_ACTIVATIONS]
every = pytest.mark.parametrize("act", [pytest.param(case.values[0], id=case.id) for case in CASES])
beside = pytest.mark.parametrize("act, in_torch, in_jax", CASES)


# What of the largest number is the largest whose function is a finite number: for the softmaxes the largest whose
# difference to its opposite is one.
LARGEST = {activations.SELU: 0.95, activations.Sine: 0.3, activations.Softmax: 0.49, activations.LogSoftmax: 0.49}


def far(act, size):
    """`size`, or as far as the function itself is a finite number, in float32 too."""
    return min(size, 80.0) if isinstance(act, activations.Exponential) else size


def elementwise(act):
    """Whether each output depends on one input: else the derivative is a matrix."""
    return act.derivative(X).shape == X.shape


@every
def test_value_and_derivative_on_every_backend(act, backend, tolerance):
    end = far(act, 1e4)
    for x in (X, np.asarray([-end, -20.0, -3.0, -0.0, 0.0, 3.0, 20.0, end])):
        for function in (act, act.derivative):
            found, expected = function(backend.asarray(x)), backend.asarray(function(x))
            assert_close(found, expected, rtol=tolerance, atol=tolerance)


@every
@pytest.mark.parametrize("members", [None, 2])
def test_the_derivative_is_numerically_right(act, members):
    check_gradients(act, X, members=members)
    check_gradients(act, 3.0 * np.random.default_rng(1).normal(size=(5, 4)), members=members)


@every
def test_the_derivative_by_hand_is_numerically_right(act):
    step = 1e-6
    columns = []
    for j in range(3):
        moved = np.zeros(3)
        moved[j] = step
        columns.append((act(X + moved) - act(X - moved)) / (2 * step))
    jacobian = np.stack(columns, axis=-1)
    expected = np.einsum("...ii->...i", jacobian) if elementwise(act) else jacobian
    assert_close(act.derivative(X), expected, rtol=1e-6, atol=1e-9)


@beside
def test_pytorchs_numbers_at_kinks_and_far_out_too(act, in_torch, in_jax):
    torch = pytest.importorskip("torch")
    theirs = eval(in_torch, {"torch": torch, "nn": torch.nn})
    x = [[-1e4, -1000.0, -30.0, -3.0, -1.0, -0.0], [0.0, 2.0, 3.0, 21.0, 1000.0, 1e4]]
    x, dy = torch.tensor(x, dtype=torch.float64, requires_grad=True), 1.0 + np.arange(12.0).reshape(2, 6)
    expected = theirs(x)
    (expected * torch.tensor(dy)).sum().backward()
    backend = resolve("torch", "float64")
    y, kept = act.forward({}, x.detach(), xp=backend.xp)
    dx, _ = act.backward({}, kept, backend.asarray(dy), xp=backend.xp)
    assert_close(y, expected.detach(), rtol=1e-12, atol=1e-14)
    assert_close(dx, x.grad, rtol=1e-10, atol=1e-14)


@beside
def test_jaxs_numbers_away_from_kinks(act, in_torch, in_jax):
    jax = pytest.importorskip("jax")
    x, dy = np.asarray([[-1e4, -30.0, *X[0]], [*X[1], 30.0, 1e4]]), 1.0 + np.arange(10.0).reshape(2, 5)
    expected, pullback = jax.vjp(eval(in_jax, {"jnp": jax.numpy, "nn": jax.nn}), jax.numpy.asarray(x))
    backend = resolve("jax", "float64")
    y, kept = act.forward({}, backend.asarray(x), xp=backend.xp)
    dx, _ = act.backward({}, kept, backend.asarray(dy), xp=backend.xp)
    assert_close(y, expected, rtol=1e-12, atol=1e-14)
    assert_close(dx, pullback(backend.asarray(dy))[0], rtol=1e-10, atol=1e-14)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_without_a_warning_for_every_finite_number_and_the_argument_is_left_alone(act, dtype):
    sizes = [0.0, float(np.finfo(dtype).tiny), 1e-20, 1e-3, 1.0, 8.0, 30.0, 90.0, 800.0, 1e4, 1e20]
    sizes.append(float(np.finfo(dtype).max) * LARGEST.get(type(act), 1.0))
    x = np.asarray([[-far(act, size), far(act, size)] for size in sizes], dtype=dtype)
    before = x.copy()
    for function in (act, act.derivative):  # the tests turn warnings into errors
        y = function(x)
        assert y.dtype == dtype
        assert np.isfinite(y).all()
    assert (x == before).all()


@every
def test_float32_is_float64_rounded(act):
    near, out = np.linspace(-40.0, 40.0, 20_000), np.geomspace(1e-20, far(act, 1e4), 1000)
    x = np.concatenate([near, out, -out]).astype(np.float32).reshape(-1, 5)
    digits = 4e-7 if act != activations.Sine(2.5) else 2e-3  # three roundings; a phase of 25,000 has fewer digits
    for function in (act, act.derivative):
        exact, found = function(x.astype(np.float64)), function(x)
        assert (np.abs(found - exact) <= digits * np.maximum(np.abs(exact), 1.0)).all()


@every
def test_by_hand_takes_numbers_lists_and_integers(act, backend):
    integers = [[-2, 0, 1], [3, 4, 5]]
    for function in (act, act.derivative):
        exact = function(np.asarray(integers, dtype=float))
        assert_close(function(integers), exact)
        assert_close(function(np.asarray(integers)), exact)
        found = function(backend.asarray(integers, dtype=None))
        assert backend.owns(found)
        np.testing.assert_allclose(backend.to_host(found), exact, rtol=1e-5, atol=1e-6)
        if elementwise(act):
            assert function(3) == pytest.approx(exact[1, 0], abs=1e-15)


def test_by_hand_keeps_float32():
    assert activations.relu(np.float32([1.5])).dtype == np.float32
    assert activations.tanh.derivative(np.arange(2)).dtype == np.float64


def test_small_numbers_keep_their_digits():
    """Where y is close to 0 it is close in proportion, so that a float32 network sees the same tails as PyTorch's."""
    x = np.float32([-15.0, -8.0, -1e-6, 1e-6])
    for name in ("elu", "selu", "softplus", "silu", "gelu_tanh", "mish", "softsign", "exponential", "sine"):
        act = activations.get(name)
        inside = x[2:] if name == "gelu_tanh" else x  # whose own tail falls faster than float32 resolves exponents
        np.testing.assert_allclose(act(inside), act(inside.astype(float)), rtol=1e-6)


def test_the_exponential_overflows_as_numpys_does():
    with pytest.warns(RuntimeWarning, match="overflow encountered in exp"):
        assert activations.exponential([1000.0]) == np.inf


def test_names_and_near_misses():
    assert activations.get("Linear") is activations.identity
    assert activations.get("swish") is activations.silu
    assert activations.get("exp") is activations.exponential
    assert activations.get("sin") is activations.sine
    for name in ("Leaky-ReLU", "LeakyReLU", "leakyrelu", "leaky relu"):
        assert activations.get(name) is activations.leaky_relu
    assert activations.get("GELUTanh") is activations.gelu_tanh
    assert activations.get(activations.ReLU) == activations.relu
    assert activations.get(activations.ELU) == activations.elu
    assert activations.get("prelu") == layers.PReLU()
    assert set(ACTIVATIONS) | {"prelu"} == set(activations._NAMES.values())
    assert [str(act) for act, *_ in TUNED_ACTIVATIONS[1:3]] == ["LeakyReLU(negative_slope=0)", "ELU(alpha=2)"]


@pytest.mark.parametrize(
    "given, meant",
    [("relo", "relu"), ("hardswich", "hard_swish"), ("leakyrelo", "leaky_relu"), ("gelutan", "gelu_tanh"),
     ("sinus", "sin"), ("softpuls", "softplus"), ("logsoftmx", "log_softmax"), ("soft", "softmax")],
)  # fmt: skip
def test_a_near_miss_is_named(given, meant):
    with pytest.raises(ValueError, match=f"unknown activation '{given}': did you mean '{meant}'"):
        activations.get(given)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: activations.get("relu", x=1), "ReLU takes no options, got x"),
        (lambda: activations.get("soft"), "did you mean 'softmax', 'softsign' or 'softplus'"),
        (lambda: activations.LeakyReLU("x"), "negative_slope must be a number, got 'x'"),
        (lambda: activations.LeakyReLU(-0.1), "negative_slope must be >= 0 and <= 1, got -0.1"),
        (lambda: activations.LeakyReLU(1.5), "negative_slope must be >= 0 and <= 1, got 1.5"),
        (lambda: activations.ELU(-1), "alpha must be >= 0, got -1"),
        (lambda: activations.ELU(True), "alpha must be a number, got True"),
        (lambda: activations.Sine(0), "frequency must be > 0, got 0"),
        (lambda: activations.Sine(float("inf")), "frequency must be > 0, got inf"),
        (lambda: layers.PReLU(0), "features must be >= 1, got 0"),
        (lambda: layers.PReLU(2.5), "features must be a whole number, got 2.5"),
        (lambda: layers.PReLU(initial=float("nan")), "initial must be finite, got nan"),
        (lambda: layers.PReLU(3).output_shape((4,)), "expects 3 features, got 4 features"),
        (lambda: layers.PReLU().output_shape((4, 5)), "expects samples of one axis .*Flatten.*got samples of shape"),
    ],
)
def test_wrong_numbers_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_numpys_numbers_do_not_widen_float32():
    for act in (
        activations.LeakyReLU(np.float64(0.1)),
        activations.ELU(np.float64(2)),
        activations.Sine(np.float64(3)),
    ):
        assert act(np.float32([-1.0])).dtype == np.float32
        assert act.derivative(np.float32([-1.0])).dtype == np.float32


@pytest.mark.parametrize("features, width", [(1, 4), (4, 4)])
def test_prelu_is_pytorchs_at_the_kink_too(features, width):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.PReLU(features, init=0.4, dtype=torch.float64)
    x = torch.tensor([[-2.0, -0.0, 0.0, 3.0], [0.0, -1e4, 1e4, -1.0]], dtype=torch.float64, requires_grad=True)
    dy = torch.arange(1.0, 9.0, dtype=torch.float64).reshape(2, width)
    (theirs(x) * dy).sum().backward()
    layer, xp = layers.PReLU(features, initial=0.4), resolve("torch", "float64").xp
    params = {"slope": torch.tensor(layer.init(None)["slope"])}
    y, cache = layer.forward(params, x.detach(), xp=xp)
    dx, grads = layer.backward(params, cache, dy, xp=xp)
    assert_close(y, theirs(x).detach(), rtol=1e-15)
    assert_close(dx, x.grad, rtol=1e-15)
    assert_close(grads["slope"], theirs.weight.grad, rtol=1e-15)


@pytest.mark.parametrize("members", [None, 3])
def test_a_network_learns_its_slopes(members):
    x = np.linspace(-1.0, 1.0, 40)[:, None]
    net = xpnn.Network(xpnn.mlp([1, 8, 8, 1], activation="prelu"), members=members)
    assert net.layer.layers[1::2] == (layers.PReLU(), layers.PReLU())
    history = net.fit(x, np.abs(x), optimizer=xpnn.Adam(0.01), epochs=100)
    assert np.max(history["loss"][-1]) < 0.1 * np.min(history["loss"][0])
    slope = np.asarray(net.params[1]["slope"])
    assert slope.shape == (1,) if members is None else (3, 1)
    assert (slope != 0.25).all()
    assert xpnn.mlp([1, 8, 1], layers.PReLU(8))[1] == layers.PReLU(8)


def test_log_softmax_before_the_cross_entropy_changes_only_what_predict_gives():
    x, y = np.random.default_rng(0).normal(size=(7, 4)), np.arange(7) % 3
    found = {}
    for output in ("log_softmax", "softmax"):
        net = xpnn.Network(xpnn.mlp([4, 5, 3], "tanh", output), dtype="float64", seed=1)
        value, grads = net.value_and_grad(x, y, loss="softmax_cross_entropy")
        found[output] = value, grads[0]["weight"], net.predict(x)
    (value, grad, logs), (other_value, other_grad, probabilities) = found.values()
    np.testing.assert_allclose(value, other_value, rtol=1e-13)
    np.testing.assert_allclose(grad, other_grad, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(np.exp(logs), probabilities, rtol=1e-13)
