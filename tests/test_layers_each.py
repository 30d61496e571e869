"""Each layer by itself: the numbers of PyTorch or of its formula written out, and what it alone does."""

import numpy as np
import pytest

from tests.layer_runs import MODES, X, arrays, leaves, run
from tests.tables import INDICES, PICTURES
from xpnn import Network, layers
from xpnn.backend import resolve
from xpnn.parameters import Layout
from xpnn.testing import _step, assert_close


@pytest.mark.parametrize("training", MODES)
def test_batch_norm_is_pytorchs(training):
    torch = pytest.importorskip("torch")
    layer, backend = layers.BatchNorm(5, eps=1e-3, momentum=0.2), resolve("torch", "float64")
    params = arrays(layer, None, backend)
    theirs = torch.nn.BatchNorm1d(5, eps=1e-3, momentum=0.2, dtype=torch.float64).train(training)
    theirs.load_state_dict(params | {"num_batches_tracked": torch.tensor(0)})
    x = torch.tensor(X, requires_grad=True)
    expected = theirs(x)
    (0.5 * expected**2).sum().backward()
    y, dx, grads, state, _ = run(layer, backend, training=training)
    assert_close(y, expected.detach(), rtol=1e-12, atol=1e-12)
    assert_close(dx, x.grad, rtol=1e-10, atol=1e-12)
    assert_close(grads["weight"], theirs.weight.grad, rtol=1e-10)
    if training:
        assert_close(state["running_mean"], theirs.running_mean, rtol=1e-12)
        assert_close(state["running_var"], theirs.running_var, rtol=1e-12)


def test_batch_norm_keeps_finite_statistics_on_a_batch_of_one_row(backend):
    layer = layers.BatchNorm(5)
    *_, state, _ = run(layer, backend, training=True, x=X[:1])
    assert all(np.isfinite(backend.to_host(array)).all() for array in state.values())


@pytest.mark.parametrize(
    "layer, theirs, x",
    [
        (layers.LayerNorm(5), "LayerNorm(5, dtype=D)", X),
        (layers.LayerNorm(5, eps=1e-2, bias=False), "LayerNorm(5, eps=1e-2, bias=False, dtype=D)", 1e4 * X),
        (layers.RMSNorm(5), "RMSNorm(5, dtype=D)", X),
        (layers.RMSNorm(5), "RMSNorm(5, dtype=D)", 1e-8 * X),
        (layers.RMSNorm(5, eps=1e-2), "RMSNorm(5, eps=1e-2, dtype=D)", X),
        (layers.Maxout(5, 2, pieces=3), "Linear(5, 6, dtype=D)", X),
        (layers.Embedding(4, 3, columns=2), "Embedding(4, 3, dtype=D)", np.asarray(INDICES)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_are_pytorchs(layer, theirs, x, dtype):
    torch = pytest.importorskip("torch")
    backend = resolve("torch", dtype)
    params, near = arrays(layer, None, backend), {"float32": 1e-5, "float64": 1e-12}[dtype]
    theirs = eval(theirs, vars(torch.nn) | {"D": backend.float})
    transposed = isinstance(layer, layers.Maxout)
    theirs.load_state_dict({n: v.T if n == "weight" and transposed else v for n, v in params.items()})
    inputs = torch.tensor(x) if x.dtype.kind == "i" else backend.asarray(x).requires_grad_()
    expected = theirs(inputs)
    expected = expected.reshape(6, 3, 2).amax(1) if transposed else expected.reshape(6, -1)
    (0.5 * expected**2).sum().backward()
    y, dx, grads, *_ = run(layer, backend, x=x)
    assert_close(y, expected.detach(), rtol=near, atol=near)
    assert_close(dx, torch.zeros_like(dx) if inputs.grad is None else inputs.grad, rtol=near, atol=near)
    for name, grad in grads.items():
        wanted = getattr(theirs, name).grad
        wanted = wanted.T if name == "weight" and transposed else wanted
        assert_close(grad, wanted, rtol=near, atol=near * float(wanted.abs().max()))


def test_maxout_is_the_largest_piece_and_the_first_of_equals_takes_the_gradient():
    layer, backend = layers.Maxout(5, 3, pieces=4), resolve("numpy", "float64")
    params, (y, _, grads, *_) = arrays(layer, None, backend), run(layer, backend)
    pieces = zip(np.split(params["weight"], 4, axis=1), np.split(params["bias"], 4), strict=True)
    z = np.stack([X @ weight + bias for weight, bias in pieces])
    winner = [(i, j, z[:, i, j].argmax()) for i in range(6) for j in range(3)]
    assert_close(y, np.asarray([z[k, i, j] for i, j, k in winner]).reshape(6, 3), rtol=1e-12)
    slow = np.zeros((5, 12))
    for i, j, k in winner:
        slow[:, 3 * k + j] += X[i] * y[i, j]
    assert_close(grads["weight"], slow, rtol=1e-12)
    same = {"weight": np.ones((1, 3)), "bias": np.zeros(3)}
    _, cache = layers.Maxout(1, 1, pieces=3).forward(same, np.ones((2, 1)), xp=np)
    assert layers.Maxout(1, 1, pieces=3).gradients(same, cache, np.ones((2, 1)), xp=np)["bias"].tolist() == [2, 0, 0]


@pytest.mark.parametrize("rule", ["orthogonal", "glorot_uniform", "normal"])
def test_each_piece_of_a_maxout_is_drawn_as_a_dense_layer_is(rule):
    rng = np.random.default_rng(0)
    dense = [layers.Dense(6, 3, weight_init=rule).init(rng)["weight"] for _ in range(4)]
    weight = layers.Maxout(6, 3, pieces=4, weight_init=rule).init(np.random.default_rng(0))["weight"]
    assert (weight == np.concatenate(dense, axis=1)).all()
    if rule == "orthogonal":
        for piece in np.split(weight, 4, axis=1):
            assert_close(piece.T @ piece, np.eye(3), atol=1e-12)


def test_a_residual_adds_its_input_and_hands_on_state_and_random_bits():
    inner, backend = [layers.BatchNorm(5), layers.Dropout(0.5), layers.Dense(5, 5)], resolve("numpy", "float64")
    y, dx, grads, state, _ = run(layers.Residual(inner), backend, training=True)
    plain = layers.Sequential(inner)
    params, step = arrays(plain, None, backend), _step(plain, 3, None, backend)
    through, cache = plain.forward(params, X, xp=np, step=step)
    back, expected = plain.backward(params, cache, y, xp=np)
    assert_close(y, X + through, rtol=1e-12)
    assert_close(dx, y + back, rtol=1e-12)
    for a, b in zip(leaves([grads, state]), leaves([expected, plain.update_state(params, cache, xp=np)]), strict=True):
        assert_close(a, b, rtol=1e-12)


def test_gaussian_noise_has_its_deviation_in_training_alone():
    backend, layer = resolve("numpy", "float64"), layers.GaussianNoise([0.0, 0.5, 2.0])
    x = np.full((1000, 50), 3.0)
    y, _ = layer.forward({}, x, xp=np, step=_step(layer, 0, 3, backend))
    assert (y[0] == x).all()
    assert np.allclose(y.mean(axis=(1, 2)), 3.0, atol=0.05)
    assert np.allclose(y.std(axis=(1, 2)), [0.0, 0.5, 2.0], rtol=0.02)
    assert layer.forward({}, x, xp=np)[0] is x


def test_activity_penalty_is_the_batch_mean_and_part_of_the_objective():
    layer, backend = layers.ActivityPenalty(l1=[0.0, 1.0], l2=[0.5, 0.0]), resolve("numpy", "float64")
    *_, price = run(layer, backend, 2, training=True)
    assert_close(price, np.asarray([0.25 * (X**2).sum(), np.abs(X).sum()]) / 6, rtol=1e-12)
    assert layer.forward({}, X, xp=np)[0] is X
    chain = [layers.Dense(5, 4), layers.Residual(layers.ActivityPenalty(0.1, 0.2)), layers.Dense(4, 1)]
    net, y = Network(chain, dtype="float64"), X[:, :1]
    value, grads = net.value_and_grad(X, y)
    hidden = net.outputs(X)[1]
    cost = (0.1 * np.abs(hidden) + 0.1 * hidden**2).sum() / 6
    assert value == pytest.approx(net.evaluate(X, y)["loss"] + cost)
    plain = Network([chain[0], layers.Residual(layers.Dropout(0.0)), chain[2]], dtype="float64")
    plain.params = net.params
    slope = X.T @ (0.1 * np.sign(hidden) + 0.2 * hidden) / 6
    assert_close(grads[0]["weight"], plain.value_and_grad(X, y)[1][0]["weight"] + slope, rtol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_increasing_levels_never_cross(scale, backend, tolerance):
    layer = layers.Increasing(66, 33)
    x = np.random.default_rng(0).normal(size=(200, 66)) * scale
    y = backend.to_host(layer.forward({}, backend.asarray(x), xp=backend.xp)[0]).reshape(200, 33, 2)
    assert (np.diff(y, axis=1) >= 0.0).all()
    steps = np.logaddexp(x.reshape(200, 33, 2), 0.0)
    steps[:, 0] = x[:, :2]
    np.testing.assert_allclose(y, np.cumsum(steps, axis=1), rtol=tolerance, atol=tolerance * scale)


def test_pictures_go_through_a_flatten(backend):
    net = Network([layers.Flatten((2, 3)), layers.Dense(6, 1)], backend)
    x, y = np.asarray(PICTURES), np.arange(6.0)
    net.fit(x, y, epochs=2, batch_size=4, validation_split=0.5)
    assert net.predict(x).shape == (6, 1)
    assert net.vjp(x)[1](net.predict(x))[0].shape == (6, 2, 3)
    with pytest.raises(ValueError, match=r"expects x of shape \(n, 2, 3\)"):
        net.predict(x.reshape(6, 6))


def test_dropout_drops_its_rate_and_keeps_the_mean():
    backend, layer = resolve("numpy", "float64"), layers.Dropout(0.3)
    y, _ = layer.forward({}, np.ones((500, 200)), xp=np, step=_step(layer, 0, None, backend))
    assert abs((y == 0).mean() - 0.3) < 0.005
    assert set(np.unique(y).round(12)) == {0.0, round(1 / 0.7, 12)}
    assert layer.forward({}, X, xp=np)[0] is X


def test_dropout_rate_can_differ_by_member():
    backend, layer = resolve("numpy", "float64"), layers.Dropout([0.0, 0.5, 0.9])
    step = _step(layer, 0, 3, backend)
    y, _ = layer.forward({}, np.ones((1000, 50)), xp=np, step=step)
    assert np.allclose((y == 0).mean(axis=(1, 2)), [0.0, 0.5, 0.9], atol=0.01)


def test_standardize_fit_gives_columns_of_mean_zero_and_deviation_one(backend):
    x = backend.asarray(X * [1.0, 10.0, 0.1, 5.0, 2.0] + [0.0, 5.0, 1.0, -3.0, 2.0])
    layer = layers.Standardize.fit(x)
    tree = Layout(layer.init_state()).unflatten(
        backend.asarray(np.concatenate([layer.mean, layer.scale])), xp=backend.xp
    )
    y = backend.to_host(layer.forward(tree, x, xp=backend.xp)[0])
    assert np.allclose(y.mean(axis=0), 0.0, atol=1e-5)
    assert np.allclose(y.std(axis=0), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    "value, dtype", [(0.1, np.float32), (1e6 + 0.1, np.float64), (5.0, np.float64), (0.0, np.float32)]
)
def test_standardize_leaves_a_constant_column_its_scale_whatever_rounding_says(value, dtype):
    assert layers.Standardize.fit(np.full((1000, 1), value, dtype=dtype)).scale == (1.0,)
