"""Initializers: the published spread, PyTorch's distributions, orthogonality, sparsity, gains, names and refusals."""

import math
import re
from dataclasses import fields

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats

import xpnn
from tests.tables import INITIALIZERS
from xpnn import initializers
from xpnn.initializers import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    Sparse,
    Uniform,
)

ONLY = [initializer for initializer, _, _ in INITIALIZERS]
MATRICES = (Orthogonal, Sparse)


def draw(initializer, shape=(40, 30), seed=0, **fans):
    fans = fans or {"fan_in": shape[0], "fan_out": shape[-1]}
    return initializers.get(initializer)(np.random.default_rng(seed), shape, **fans)


@pytest.mark.parametrize("initializer, theirs, spread", INITIALIZERS, ids=str)
def test_the_published_spread(initializer, theirs, spread):
    values = draw(initializer, (400, 300))
    centre = {"Constant": 0.5, "Normal": getattr(initializer, "mean", 0.0)}.get(type(initializer).__name__, 0.0)
    if isinstance(initializer, Uniform):
        centre = (initializer.low + initializer.high) / 2
    assert values.shape == (400, 300)
    assert values.dtype == np.float64
    assert values.std() == pytest.approx(spread, rel=0.01)
    assert abs(values.mean() - centre) <= 4 * spread / math.sqrt(values.size)
    if "Uniform" in type(initializer).__name__:
        assert np.abs(values - centre).max() <= spread * math.sqrt(3) * (1 + 1e-12)
        assert np.abs(values - centre).max() > spread * math.sqrt(3) * 0.999


@pytest.mark.parametrize("initializer, theirs, spread", INITIALIZERS, ids=str)
def test_pytorchs_distribution(initializer, theirs, spread):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    w = torch.empty(300, 400, dtype=torch.float64)  # (out, in)
    eval(theirs, vars(torch.nn.init) | {"w": w})
    values = draw(initializer, (400, 300))
    assert values.std() == pytest.approx(float(w.std()), rel=0.02)
    assert scipy.stats.ks_2samp(values.ravel(), w.numpy().ravel()).pvalue > 1e-4


@pytest.mark.parametrize("initializer", ONLY, ids=str)
def test_one_seed_gives_one_draw(initializer):
    first, again, other = draw(initializer), draw(initializer), draw(initializer, seed=1)
    assert (first == again).all()
    assert (first == other).all() == (type(initializer).__name__ in ("Zeros", "Constant"))


@pytest.mark.parametrize(
    "name, by_hand",
    [
        ("glorot_uniform", lambda rng, shape: rng.uniform(-math.sqrt(6 / 100), math.sqrt(6 / 100), shape)),
        ("glorot_normal", lambda rng, shape: rng.normal(0, math.sqrt(2 / 100), shape)),
        ("he_uniform", lambda rng, shape: rng.uniform(-math.sqrt(6 / 70), math.sqrt(6 / 70), shape)),
        ("he_normal", lambda rng, shape: rng.normal(0, math.sqrt(2 / 70), shape)),
        ("lecun_uniform", lambda rng, shape: rng.uniform(-math.sqrt(3 / 70), math.sqrt(3 / 70), shape)),
        ("lecun_normal", lambda rng, shape: rng.normal(0, math.sqrt(1 / 70), shape)),
    ],
)
@pytest.mark.parametrize("shape", [(70, 30), (30,)])
def test_the_formulas_to_the_last_bit(name, by_hand, shape):
    assert (draw(name, shape, fan_in=70, fan_out=30) == by_hand(np.random.default_rng(0), shape)).all()


@pytest.mark.parametrize(
    "kind", [GlorotUniform, GlorotNormal, HeUniform, HeNormal, LeCunUniform, LeCunNormal, Orthogonal]
)
def test_a_number_as_gain_multiplies(kind):
    np.testing.assert_allclose(draw(kind(gain=1.7)), 1.7 * draw(kind()), atol=1e-15)
    assert (draw(kind(gain=1)) == draw(kind())).all()


@pytest.mark.parametrize("kind", [GlorotUniform, GlorotNormal, LeCunUniform, LeCunNormal, Orthogonal])
@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "ReLU", "leaky_relu", "selu"])
def test_a_name_as_gain_is_its_number(kind, name):
    assert (draw(kind(gain=name)) == draw(kind(gain=initializers.gain(name)))).all()


@pytest.mark.parametrize("he, lecun", [(HeUniform, LeCunUniform), (HeNormal, LeCunNormal)])
def test_a_name_takes_the_place_of_relus_gain_in_hes_rule(he, lecun):
    assert (draw(he(gain="relu")) == draw(he())).all()
    for name in ("linear", "tanh", "leaky_relu", "selu"):
        np.testing.assert_allclose(draw(he(gain=name)), draw(lecun(gain=name)), atol=1e-15)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_pytorchs(name):
    init = pytest.importorskip("torch").nn.init
    assert initializers.gain(name) == init.calculate_gain(name)
    assert initializers.gain("leaky_relu", slope=0.3) == init.calculate_gain("leaky_relu", 0.3)


@hypothesis.given(rows=st.integers(1, 30), columns=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_orthogonal_matrices_are_orthogonal(rows, columns, seed):
    weight = draw(Orthogonal(gain=1.5), (rows, columns), seed)
    assert weight.shape == (rows, columns)
    assert weight.flags.c_contiguous
    product = weight.T @ weight if rows >= columns else weight @ weight.T
    np.testing.assert_allclose(product, 1.5**2 * np.eye(min(rows, columns)), atol=1e-13)


def test_orthogonal_matrices_are_drawn_uniformly():
    """Of uniform ones the trace has mean 0 and variance 1; of a plain QR's, without the signs, the mean is off."""
    rng = np.random.default_rng(0)
    traces = [np.trace(Orthogonal()(rng, (4, 4))) for _ in range(4000)]
    assert abs(np.mean(traces)) < 4 / math.sqrt(4000)
    assert np.var(traces) == pytest.approx(1.0, abs=4 * math.sqrt(2 / 4000))


@hypothesis.given(
    rows=st.integers(1, 40), columns=st.integers(1, 20), sparsity=st.floats(0.0, 0.999), seed=st.integers(0, 2**32)
)
def test_every_unit_has_equally_many_inputs(rows, columns, sparsity, seed):
    weight = draw(Sparse(sparsity, std=0.5), (rows, columns), seed)
    zeros = (weight == 0.0).sum(axis=0)
    assert (zeros == min(math.ceil(sparsity * rows), rows - 1)).all()


def test_the_zeros_lie_anywhere():
    share = np.mean([draw(Sparse(0.5), (10, 20), seed) == 0.0 for seed in range(500)], axis=0)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / math.sqrt(500)


def test_an_initializer_may_be_a_plain_function():
    layer = xpnn.Dense(2, 3, weight_init=lambda rng, shape, *, fan_in, fan_out: np.full(shape, fan_in))
    assert (layer.init(np.random.default_rng(0))["weight"] == 2).all()


OF_A_LAYER = {
    "Dense": (lambda **init: xpnn.layers.Dense(3, 4, **init), "weight_init", (3, 4)),
    "Dense's bias": (lambda **init: xpnn.layers.Dense(3, 4, **init), "bias_init", (4,)),
    "Maxout": (lambda **init: xpnn.layers.Maxout(3, 4, **init), "weight_init", (3, 4)),
    "Maxout's bias": (lambda **init: xpnn.layers.Maxout(3, 4, **init), "bias_init", (4,)),
    "Embedding": (lambda **init: xpnn.layers.Embedding(3, 4, **init), "weight_init", (3, 4)),
}


@pytest.mark.parametrize("place", OF_A_LAYER)
@pytest.mark.parametrize(
    "rule, error, message",
    [
        (lambda rng, shape, *, fan_in, fan_out: rng.normal(size=(*shape[::-1], 2)), ValueError, "{shape}, got shape"),
        (lambda rng, shape, *, fan_in, fan_out: 0.5, ValueError, r"{shape}, got shape \(\)"),
        (lambda rng, shape, *, fan_in, fan_out: np.full(shape, np.nan), ValueError, "finite numbers, got NaN"),
        (lambda rng, shape, *, fan_in, fan_out: np.full(shape, np.inf), ValueError, "finite numbers, got NaN or inf"),
        (lambda rng, shape, *, fan_in, fan_out: np.full(shape, "a"), TypeError, "real numbers, got values of"),
        (lambda rng, shape: rng.normal(size=shape), TypeError, r"form \(rng, shape, \*, fan_in, fan_out\), got <func"),
        (lambda shape: np.zeros(shape), TypeError, r"form \(rng, shape, \*, fan_in, fan_out\)"),
    ],
)
def test_a_layer_refuses_what_is_no_start_for_it(place, rule, error, message):
    make, name, shape = OF_A_LAYER[place]
    wanted = message.replace("{shape}", re.escape(str(shape)))
    with pytest.raises(error, match=f"^{name} must .*{wanted}"):
        make(**{name: rule}).init(np.random.default_rng(0))


def test_an_error_within_an_initializer_is_its_own():
    def broken(rng, shape, *, fan_in, fan_out):
        return rng.normal(shape=shape)

    with pytest.raises(TypeError, match="unexpected keyword argument 'shape'"):
        xpnn.Dense(2, 3, weight_init=broken).init(np.random.default_rng(0))


@pytest.mark.parametrize("name, kind", initializers._NAMES.items())
def test_every_name_and_alias_makes_its_initializer(name, kind):
    assert initializers.get(name) == initializers.get(name.upper()) == initializers.get(kind) == kind()
    made = kind(**{field.name: 0.5 for field in fields(kind) if field.name in ("gain", "std", "value", "sparsity")})
    given = {field.name: getattr(made, field.name) for field in fields(kind)}
    assert initializers.get(name, **given) == initializers.get(kind, **given) == initializers.get(made) == made
    assert getattr(initializers, name, kind) is kind
    assert eval(repr(made), vars(initializers)) == made
    assert hash(made) == hash(kind(**given))


@pytest.mark.parametrize("name", sorted(initializers._NAMES))
@pytest.mark.parametrize("as_object", [False, True])
def test_a_network_starts_from_it(name, as_object):
    chosen = initializers.get(name) if as_object else name
    layers = xpnn.mlp([20, 10, 3], weight_init=chosen)
    weight = xpnn.Network(layers, seed=3, dtype="float64").weights[0]
    again, stack = (
        xpnn.Network(layers, seed=3, dtype="float64"),
        xpnn.Network(layers, members=2, seed=2, dtype="float64"),
    )
    assert weight.shape == (20, 10)
    assert (weight == again.weights[0]).all()
    assert (weight == stack.weights[0][1]).all()


def test_a_networks_weights_have_the_initializers_options():
    net = xpnn.Network(xpnn.mlp([20, 10, 3], weight_init=Orthogonal(gain="tanh")), dtype="float64")
    first, second = net.weights
    np.testing.assert_allclose(first.T @ first, (5 / 3) ** 2 * np.eye(10), atol=1e-13)
    np.testing.assert_allclose(second.T @ second, (5 / 3) ** 2 * np.eye(3), atol=1e-13)
    few = xpnn.Network(xpnn.mlp([20, 10, 3], weight_init=Sparse(0.75)), dtype="float64")
    assert [(w == 0.0).sum(axis=0).tolist() for w in few.weights] == [[15] * 10, [8] * 3]


@pytest.mark.parametrize("initializer", ONLY, ids=str)
def test_biases_take_what_needs_no_matrix(initializer):
    if isinstance(initializer, MATRICES):
        with pytest.raises(ValueError, match=rf"{type(initializer).__name__} draws weights, of two axes, got .*\(3,\)"):
            xpnn.Network([xpnn.Dense(2, 3, bias_init=initializer)])
    else:
        net = xpnn.Network([xpnn.Dense(2, 3, bias_init=initializer)])
        assert net.biases[0].shape == (3,)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: initializers.get("ortogonal"), "unknown initializer 'ortogonal': did you mean 'orthogonal'"),
        (lambda: initializers.get("he"), "did you mean 'he_uniform' or 'he_normal'"),
        (lambda: initializers.get("glorot"), "did you mean 'glorot_normal' or 'glorot_uniform'"),
        (lambda: initializers.get(3), "initializer must be a name or an object of that kind, got 3"),
        (lambda: initializers.get("orthogonal", gian=2.0), "unknown option of Orthogonal 'gian': did you mean 'gain'"),
        (lambda: initializers.get("zeros", gain=2.0), "Zeros takes no options, got gain"),
        (
            lambda: initializers.get(Orthogonal(), gain=2.0),
            r"options \(gain\) go with a name or a class of initializer, got Orth",
        ),
        (lambda: initializers.get(np.zeros, gain=2.0), r"options \(gain\) go with a name or a class of initializer"),
        (
            lambda: initializers.gain("gelu_"),
            "unknown gain 'gelu_': did you mean .* The names are identity, leaky_relu",
        ),
        (lambda: initializers.gain("leaky_relu", slope="steep"), "slope must be a number, got 'steep'"),
        (lambda: initializers.Initializer()(None, (1,), fan_in=1, fan_out=1), r"Initializer must define __call__\("),
        (lambda: Normal(std=0.0), "std must be > 0, got 0"),
        (lambda: Normal(mean=math.nan), "mean must be finite, got nan"),
        (lambda: Uniform(0.5, 0.5), r"high must be > low \(0.5\), got 0.5"),
        (lambda: Uniform("a", 0.5), "low must be a number, got 'a'"),
        (lambda: Sparse(1.0), "sparsity must be >= 0 and < 1, got 1"),
        (lambda: Sparse(0.5, std=-1.0), "std must be > 0, got -1"),
        (lambda: Orthogonal()(np.random.default_rng(0), (2, 3, 4)), r"Orthogonal draws weights, .*\(2, 3, 4\)"),
        (lambda: xpnn.Dense(2, 3, weight_init="he_norml"), "did you mean 'he_normal'"),
    ],
)
def test_wrong_initializers_are_refused(make, message):
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=message):
        make()


@pytest.mark.parametrize(
    "kind", [GlorotUniform, GlorotNormal, HeUniform, HeNormal, LeCunUniform, LeCunNormal, Orthogonal]
)
@pytest.mark.parametrize(
    "gain, message",
    [
        (0.0, "gain must be > 0, got 0"),
        (-1, "gain must be > 0, got -1"),
        (math.inf, "gain must be > 0, got inf"),
        (None, "gain must be a number, got None"),
        ("relo", "unknown gain 'relo': did you mean 'relu'"),
    ],
)
def test_wrong_gains_are_refused(kind, gain, message):
    with pytest.raises((ValueError, TypeError), match=message):
        kind(gain=gain)
