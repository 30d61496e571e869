"""Each activation beside its derivative, by hand and as a layer."""

import numpy as np
import pytest

from tests.tables import ACTIVATIONS
from xpnn import activations
from xpnn.backend import resolve
from xpnn.testing import assert_close, check_gradients

X = np.asarray([[-3.0, -0.5, 0.25], [1.0, 2.0, -1.5]])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_derivative_on_every_backend(name, backend, tolerance):
    act = activations.get(name)
    assert_close(act(backend.asarray(X)), backend.asarray(act(X)), rtol=tolerance, atol=tolerance)
    assert_close(act.derivative(backend.asarray(X)), backend.asarray(act.derivative(X)), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("members", [None, 2])
def test_the_derivative_is_numerically_right(name, members):
    check_gradients(activations.get(name), X, members=members)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_derivative_by_hand_is_numerically_right(name):
    act, step = activations.get(name), 1e-6
    columns = []
    for j in range(3):
        moved = np.zeros(3)
        moved[j] = step
        columns.append((act(X + moved) - act(X - moved)) / (2 * step))
    jacobian = np.stack(columns, axis=-1)
    expected = jacobian if name == "softmax" else np.einsum("...ii->...i", jacobian)
    assert_close(act.derivative(X), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_pytorchs_numbers_at_kinks_and_far_out_too(name):
    torch = pytest.importorskip("torch")
    theirs = eval(ACTIVATIONS[name], {"torch": torch, "nn": torch.nn})
    x = torch.tensor([[-1000.0, -1.0, 0.0], [0.0, 2.0, 1000.0]], dtype=torch.float64, requires_grad=True)
    y = theirs(x)
    (y * torch.arange(6.0).reshape(2, 3)).sum().backward()
    backend = resolve("torch", "float64")
    ours, kept = activations.get(name).forward({}, x.detach(), xp=backend.xp)
    dx, _ = activations.get(name).backward({}, kept, backend.asarray(np.arange(6.0).reshape(2, 3)), xp=backend.xp)
    assert_close(ours, y.detach(), rtol=1e-12, atol=1e-15)
    assert_close(dx, x.grad, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_stable_far_out_and_the_argument_is_left_alone(name):
    x = np.asarray([-1000.0, 0.0, 1000.0])
    before = x.copy()
    assert np.isfinite(activations.get(name)(x)).all()
    assert np.isfinite(activations.get(name).derivative(x)).all()
    assert (x == before).all()


def test_by_hand_takes_numbers_lists_and_integers():
    assert activations.sigmoid(0) == 0.5
    assert activations.relu([-1, 2]).tolist() == [0.0, 2.0]
    assert activations.tanh.derivative(np.arange(2)).dtype == np.float64
    assert activations.relu(np.float32([1.5])).dtype == np.float32


def test_names_and_near_misses():
    assert activations.get("Linear") is activations.identity
    assert activations.get(activations.ReLU) == activations.relu
    with pytest.raises(ValueError, match="unknown activation 'relo': did you mean 'relu'"):
        activations.get("relo")
