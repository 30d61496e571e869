"""Every layer of the table: forward, backward, members and samples, on every array library."""

from fractions import Fraction

import numpy as np
import pytest

from tests.layer_runs import MODES, RNG, X, arrays, leaves, numbers_of, run, with_numbers
from tests.tables import COUPLED, INITIALIZERS, LAYERS, SCHEDULES, TUNED_ACTIVATIONS
from tests.test_no_sync import LOOKS, STRICT
from xpnn import activations, layers
from xpnn.backend import resolve
from xpnn.layers import walk
from xpnn.testing import _step, assert_close, check_gradients

ONLY = [entry[0] if isinstance(entry, tuple) else entry for entry in LAYERS]
PAIRS = [entry if isinstance(entry, tuple) else (entry, X) for entry in LAYERS]
CASES = [pytest.param(layer, np.asarray(x, dtype=float), id=str(layer)) for layer, x in PAIRS]
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


@pytest.mark.parametrize("layer", [*(layer for layer, _ in PAIRS), layers.Flatten((6,))], ids=str)
def test_a_layer_shows_the_call_that_makes_it(layer):
    names = {name: getattr(family, name) for family in (layers, activations) for name in family.__all__}
    assert "..." in str(layer) or eval(str(layer), names) == layer


def test_numpys_truth_is_a_flag():
    assert layers.Dense(2, 3, bias=np.bool_(False)) == layers.Dense(2, 3, bias=False)
