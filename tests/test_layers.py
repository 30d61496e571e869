"""Every layer of the table: forward, backward, members and samples, on every array library."""

from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest

from tests.tables import COUPLED, INDICES, INITIALIZERS, LAYERS, PICTURES, SCHEDULES, TUNED_ACTIVATIONS
from tests.test_no_sync import LOOKS, STRICT
from xpnn import Network, activations, layers
from xpnn.backend import resolve
from xpnn.layers import walk
from xpnn.parameters import Layout, merge
from xpnn.schedules import Constant
from xpnn.testing import _step, assert_close, check_gradients

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5))
ONLY = [entry[0] if isinstance(entry, tuple) else entry for entry in LAYERS]
PAIRS = [entry if isinstance(entry, tuple) else (entry, X) for entry in LAYERS]
CASES = [pytest.param(layer, np.asarray(x, dtype=float), id=str(layer)) for layer, x in PAIRS]
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
    """What a layer computes, with sum(y^2)/2 (and its penalty) as the scalar; one lane of a stack by `pick`.

    That is the output, the gradients of the input and of the parameters, the new state and the penalty.
    """
    params = arrays(layer, members, backend)
    step = _step(layer, 3, members, backend) if training else None
    if pick is not None:
        params, members = lane(params, pick), None
        step = _step(layer, 3 + pick, None, backend) if training else None
    y, cache = layer.forward(params, backend.asarray(x), xp=backend.xp, step=step)
    dx, grads = layer.backward(params, cache, y, xp=backend.xp)
    state = layer.update_state(params, cache, xp=backend.xp) if training else None
    penalty = layer.penalty(params, cache, xp=backend.xp) if training and layer.penalizes else None
    return y, dx, grads, state, penalty


def numbers_of(piece):
    """The fields of a piece that hold floats, by name."""
    found = {field.name: getattr(piece, field.name) for field in fields(piece) if field.init}
    return {name: value for name, value in found.items() if isinstance(value, float)}


def with_numbers(piece, kind):
    """The piece with every float given as a number of another kind."""
    return replace(piece, **{name: kind(value) for name, value in numbers_of(piece).items()})


EVERY_PIECE = [*ONLY, *(entry[0] for table in (TUNED_ACTIVATIONS, SCHEDULES, INITIALIZERS) for entry in table)]


@pytest.mark.parametrize("kind", [np.float32, np.float64, Fraction], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("piece", EVERY_PIECE, ids=str)
def test_numbers_of_another_kind_make_the_same_piece(piece, kind):
    given = with_numbers(piece, kind)
    assert given == with_numbers(piece, lambda value: float(kind(value)))
    assert all(type(value) is float for value in numbers_of(given).values())
    assert str(given) == str(with_numbers(piece, lambda value: float(kind(value))))


@pytest.mark.parametrize("training", MODES)
@pytest.mark.parametrize("layer, x", CASES)
def test_numpys_numbers_do_not_widen_float32(layer, x, training):
    backend = resolve("numpy", "float32")
    for leaf in leaves(run(with_numbers(layer, np.float64), backend, training=training, x=x)):
        assert leaf.dtype == np.float32


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
@pytest.mark.parametrize("layer, x", CASES)
def test_every_backend_gives_numpys_numbers(layer, x, members, training, backend, tolerance):
    expected = run(layer, resolve("numpy", "float64"), members, training, x)
    actual = run(layer, backend, members, training, x)
    for a, b in zip(leaves(actual), leaves(expected), strict=True):
        assert_close(a, backend.asarray(b), rtol=tolerance * 100, atol=tolerance * 10)


@pytest.mark.parametrize("training", MODES)
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("layer, x", CASES)
@pytest.mark.parametrize("where", ["numpy", "array-api-strict:device1"])
def test_backward_is_the_derivative_of_forward(layer, x, members, training, where):
    check_gradients(layer, x, members=members, training=training, backend=where)


@pytest.mark.parametrize("training", MODES)
@pytest.mark.parametrize("own", [False, True], ids=["shared x", "own x"])
@pytest.mark.parametrize("layer, x", CASES)
def test_lane_k_of_a_stack_is_the_lone_layer(layer, x, own, training, backend, tolerance):
    if own:
        x = RNG.normal(size=(3, 6, 5)) if x is X else np.stack([np.roll(x, k, axis=0) for k in range(3)])
    stacked = leaves(run(layer, backend, 3, training, x))
    for k in range(3):
        alone = leaves(run(layer, backend, 3, training, x[k] if own else x, pick=k))
        for a, b in zip(stacked, alone, strict=True):
            a = a[k, ...] if a.ndim > b.ndim else a
            assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layer, x", CASES)
def test_a_leading_axis_of_samples_gives_each_samples_own_gradient(layer, x, backend, tolerance):
    training = not any(isinstance(leaf, COUPLED) or leaf.random for _, leaf in walk(layer))
    *together, _, price = run(layer, backend, training=training, x=x[:, None, ...])
    for k in range(len(x)):
        *alone, _, cost = run(layer, backend, training=training, x=x[k : k + 1])
        for a, b in zip(leaves([*together, price]), leaves([*alone, cost]), strict=True):
            assert_close(a[k, ...], b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", MODES)
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("layer, x", CASES)
def test_no_layer_reads_a_value(layer, x, members, training, monkeypatch):
    backend = resolve("array-api-strict:device1", "float64")
    params, x = arrays(layer, members, backend), backend.asarray(x)
    step = _step(layer, 0, members, backend) if training else None

    def look(self, *args, **kwargs):
        raise AssertionError("a value was read on the host")

    for name in LOOKS:
        if hasattr(STRICT, name):
            monkeypatch.setattr(STRICT, name, look)
    y, cache = layer.forward(params, x, xp=backend.xp, step=step)
    layer.backward(params, cache, y, xp=backend.xp)
    layer.gradients(params, cache, y, xp=backend.xp)
    if training:
        layer.update_state(params, cache, xp=backend.xp)
        layer.penalizes and layer.penalty(params, cache, xp=backend.xp)


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


def test_a_residual_must_give_the_shape_that_it_takes():
    block = layers.Sequential([layers.Residual([layers.Dense(5, 4), layers.Dense(4, 3)])])
    with pytest.raises(ValueError, match=r"Residual\(.*layer 0, .*must give the shape \(5,\), got \(3,\)"):
        block.output_shape((5,))


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


@pytest.mark.parametrize(
    "layer", [layers.Dropout(0.5), layers.GaussianNoise(0.1), layers.ActivityPenalty(0.1), layers.Dense(6, 1)], ids=str
)
def test_samples_of_several_axes_are_to_be_flattened_first(layer):
    with pytest.raises(ValueError, match=r"\(put Flatten\(\(2, 3\)\) before it\), got samples of shape \(2, 3\)"):
        layers.Sequential([layer, layers.Flatten((2, 3))]).output_shape((2, 3))


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
    with pytest.raises(TypeError, match=r"step\.bits must .*random = True"):
        step.bits((2, 2))
    with pytest.raises(TypeError, match=r"step\.normal must .*random = True"):
        step.normal((2, 2), np.float64)


def test_a_penalty_whose_gradient_is_forgotten_is_caught():
    class Wrong(layers.ActivityPenalty):
        def backward(self, params, cache, dy, *, xp):
            return dy, {}

    check_gradients(Wrong(0.1), X)
    with pytest.raises(AssertionError, match="gradient of x is off"):
        check_gradients(Wrong(0.1), X, training=True)


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


@pytest.mark.parametrize("layer", [*(layer for layer, _ in PAIRS), layers.Flatten((6,))], ids=str)
def test_a_layer_shows_the_call_that_makes_it(layer):
    names = {name: getattr(family, name) for family in (layers, activations) for name in family.__all__}
    assert "..." in str(layer) or eval(str(layer), names) == layer


def test_numpys_truth_is_a_flag():
    assert layers.Dense(2, 3, bias=np.bool_(False)) == layers.Dense(2, 3, bias=False)


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
        (lambda: layers.Sequential(["relu"]), r"got 'relu': write activations.get\('relu'\)"),
        (lambda: layers.Residual([]), "layers must be at least one, got none"),
        (lambda: layers.Dense(3, 4, "relu"), "bias must be True or False, got 'relu': an activation is a layer of its"),
        (lambda: layers.Dense(3, 4, bias=1), "bias must be True or False, got 1"),
        (lambda: layers.LayerNorm(3, bias=None), "bias must be True or False, got None"),
        (lambda: layers.Standardize((0.0,), (1.0,), "inverse"), "inverse must be True or False, got 'inverse'"),
        (lambda: layers.GaussianNoise(Constant), r"std must be a number or a schedule, .*object, Constant\(...\)"),
        (lambda: layers.FeatureEmbedding([3], weight_init="normall"), "unknown initializer 'normall'"),
        (lambda: layers.Residual("relu"), "layers must be a list, got 'relu'"),
        (lambda: layers.Residual(5), "layers must be a list, got 5"),
        (lambda: layers.LayerNorm(3, eps=-1.0), "eps must be > 0"),
        (lambda: layers.RMSNorm(0), "features must be >= 1"),
        (lambda: layers.RMSNorm(3, eps="auto"), "eps must be a number, got 'auto'"),
        (lambda: layers.Flatten(()), "shape must have at least one axis"),
        (lambda: layers.Flatten((2, 0)), r"shape\[1\] must be >= 1, got 0"),
        (lambda: layers.Flatten(5), "shape must be a list, got 5"),
        (lambda: layers.Embedding(0, 3), "count must be >= 1, got 0"),
        (lambda: layers.Embedding((1 << 24) + 1, 3), r"count must be <= 16777216 .*, got 16777217"),
        (lambda: layers.Embedding(3, 2, columns=0), "columns must be >= 1, got 0"),
        (lambda: layers.Embedding(3, 2, weight_init="normall"), "unknown initializer 'normall'"),
        (lambda: layers.FeatureEmbedding([]), "columns must name at least one column"),
        (lambda: layers.FeatureEmbedding([None, 2.5]), r"columns\[1\] must be a whole number, got 2.5"),
        (lambda: layers.FeatureEmbedding([3, None, 4], [2]), "for each of the 2 categorical columns, got 1"),
        (lambda: layers.FeatureEmbedding([3], 0), "features must be >= 1, got 0"),
        (lambda: layers.FeatureEmbedding([3], "wide"), "features must be a list, got 'wide'"),
        (lambda: layers.Maxout(2, 3, pieces=0), "pieces must be >= 1, got 0"),
        (lambda: layers.GaussianNoise(-0.1), "std must be >= 0, got -0.1"),
        (lambda: layers.ActivityPenalty(l2=-1.0), "l2 must be >= 0, got -1"),
        (lambda: layers.Increasing(7, 3), "features must be a multiple of count=3, got 7"),
    ],
)
def test_wrong_hyper_parameters_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
