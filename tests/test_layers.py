"""Every layer of the table: forward, backward, members and samples, on every array library."""

import numpy as np
import pytest

from tests.tables import COUPLED, LAYERS
from xpnn import layers
from xpnn.backend import resolve
from xpnn.layers import walk
from xpnn.parameters import Layout, merge
from xpnn.testing import _step, assert_close, check_gradients

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5))
MODES = [pytest.param(False, id="inference"), pytest.param(True, id="training")]


def arrays(layer, members, backend, seed=1):
    """Random parameters and state of a layer, as a tree on the backend."""
    rng = np.random.default_rng(seed)
    lead = () if members is None else (members,)
    learned, state = Layout(layer.init(rng)), Layout(layer.init_state())
    flat, frozen = rng.normal(size=(*lead, learned.size)), rng.uniform(0.5, 1.5, (*lead, state.size))
    trees = [layout.unflatten(backend.asarray(v), xp=backend.xp) for layout, v in ((learned, flat), (state, frozen))]
    return merge(*trees)


def run(layer, backend, members=None, training=False, x=X, pick=None):
    """Output, input gradient and parameter gradients, with sum(y^2)/2 as the scalar; one lane of a stack by `pick`."""
    params = arrays(layer, members, backend)
    step = _step(layer, 3, members, backend) if training else None
    if pick is not None:
        params, members = lane(params, pick), None
        step = _step(layer, 3 + pick, None, backend) if training else None
    y, cache = layer.forward(params, backend.asarray(x), xp=backend.xp, step=step)
    dx, grads = layer.backward(params, cache, y, xp=backend.xp)
    state = layer.update_state(params, cache, xp=backend.xp) if training else None
    return y, dx, grads, state


def lane(tree, k):
    if isinstance(tree, list):
        return [lane(child, k) for child in tree]
    return {name: array[k, ...] for name, array in tree.items()}


def leaves(tree):
    if isinstance(tree, list | tuple):
        return [leaf for child in tree for leaf in leaves(child)]
    if isinstance(tree, dict):
        return [leaf for name in sorted(tree) for leaf in leaves(tree[name])]
    return [] if tree is None else [tree]


@pytest.mark.parametrize("training", MODES)
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_every_backend_gives_numpys_numbers(layer, members, training, backend, tolerance):
    expected = run(layer, resolve("numpy", "float64"), members, training)
    actual = run(layer, backend, members, training)
    for a, b in zip(leaves(actual), leaves(expected), strict=True):
        assert_close(a, backend.asarray(b), rtol=tolerance * 100, atol=tolerance * 10)


@pytest.mark.parametrize("training", MODES)
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("where", ["numpy", "array-api-strict:device1"])
def test_backward_is_the_derivative_of_forward(layer, members, training, where):
    check_gradients(layer, X, members=members, training=training, backend=where)


@pytest.mark.parametrize("training", MODES)
@pytest.mark.parametrize("own", [False, True], ids=["shared x", "own x"])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_lane_k_of_a_stack_is_the_lone_layer(layer, own, training, backend, tolerance):
    x = RNG.normal(size=(3, 6, 5)) if own else X
    stacked = leaves(run(layer, backend, 3, training, x))
    for k in range(3):
        alone = leaves(run(layer, backend, 3, training, x[k] if own else x, pick=k))
        for a, b in zip(stacked, alone, strict=True):
            a = a[k, ...] if a.ndim > b.ndim else a
            assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_leading_axis_of_samples_gives_each_samples_own_gradient(layer, backend, tolerance):
    training = not any(isinstance(leaf, COUPLED) or leaf.random for _, leaf in walk(layer))
    together = run(layer, backend, training=training, x=X[:, None, :])
    for k in range(len(X)):
        alone = run(layer, backend, training=training, x=X[k : k + 1])
        for a, b in zip(leaves(together[:3]), leaves(alone[:3]), strict=True):
            assert_close(a[k, ...], b, rtol=tolerance, atol=tolerance)


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
    y, dx, grads, state = run(layer, backend, training=training)
    assert_close(y, expected.detach(), rtol=1e-12, atol=1e-12)
    assert_close(dx, x.grad, rtol=1e-10, atol=1e-12)
    assert_close(grads["weight"], theirs.weight.grad, rtol=1e-10)
    if training:
        assert_close(state["running_mean"], theirs.running_mean, rtol=1e-12)
        assert_close(state["running_var"], theirs.running_var, rtol=1e-12)


def test_batch_norm_keeps_finite_statistics_on_a_batch_of_one_row(backend):
    layer = layers.BatchNorm(5)
    *_, state = run(layer, backend, training=True, x=X[:1])
    assert all(np.isfinite(backend.to_host(array)).all() for array in state.values())


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


def test_a_layer_that_draws_without_saying_so_is_told():
    class Sly(layers.Layer):
        pass

    step = _step(Sly(), 0, None, resolve("numpy", "float64"))
    with pytest.raises(TypeError, match="random = True"):
        step.bits((2, 2))


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


def test_widths_that_do_not_fit_name_the_layers():
    block = layers.Sequential([layers.Dense(2, 30), layers.Dense(64, 1)])
    with pytest.raises(
        ValueError, match=r"Dense\(64, 1\), layer 1, expects 64 features, got 30 features from Dense\(2, 30\)"
    ):
        block.output_shape((2,))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.Dense(0, 3), "in_features must be >= 1, got 0"),
        (lambda: layers.Dense(2.5, 3), "in_features must be a whole number, got 2.5"),
        (lambda: layers.Dense(2, 3, weight_init="he_norml"), "did you mean 'he_normal'"),
        (lambda: layers.Dropout(1.0), "rate must be >= 0 and < 1, got 1.0"),
        (lambda: layers.Dropout(1.0 - 1e-9), "rate must be >= 0 and < 1"),
        (lambda: layers.Dropout(float("nan")), "rate must be"),
        (lambda: layers.BatchNorm(3, eps=0.0), "eps must be > 0"),
        (lambda: layers.Standardize((0.0,), (0.0,)), r"scale\[0\] must be > 0"),
        (lambda: layers.Standardize((0.0, 1.0), (1.0,)), "mean has 2 features and scale 1"),
        (lambda: layers.Sequential([layers.Dense(2, 3), "relu"]), r"layers\[1\] must be a layer, got 'relu'"),
    ],
)
def test_wrong_hyper_parameters_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
