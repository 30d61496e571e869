"""Each loss: its gradient is that of exactly its value, with weights, members and every kind of target."""

import numpy as np
import pytest

from tests.tables import LOSSES
from xpnn import losses
from xpnn.testing import assert_close, check_loss

RNG = np.random.default_rng(0)
WEIGHT = np.asarray([1.0, 0.0, 2.5, 0.5])
SOFT = np.asarray([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.1, 0.1, 0.8]])


def case(name, outputs=3, members=None):
    """A prediction (4 rows) and a target of the kind that the loss takes."""
    prediction = RNG.normal(size=(4, outputs) if members is None else (members, 4, outputs))
    kind = LOSSES[name][1]
    if kind == "classes":
        return prediction, np.asarray([2, 0, 1, 2]) % outputs
    return prediction, RNG.normal(size=(4, outputs)) if kind == "real" else RNG.uniform(size=(4, outputs))


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_the_value(name, outputs, members, weight):
    prediction, target = case(name, outputs, members)
    for where in ("numpy", "array-api-strict:device1"):
        check_loss(losses.get(name), prediction, target, weight=weight, backend=where)


def test_soft_targets_of_any_mass():
    check_loss(losses.softmax_cross_entropy, RNG.normal(size=(4, 3)), SOFT * [[1.0], [2.0], [0.5], [0.0]])


@pytest.mark.parametrize("name", LOSSES)
def test_every_backend_gives_numpys_numbers(name, backend, tolerance):
    prediction, target = case(name)
    expected = losses.get(name)(prediction, target, xp=np, weight=WEIGHT)
    moved = backend.asarray(target, dtype=None if LOSSES[name][1] == "classes" else "float")
    given = {"xp": backend.xp, "weight": backend.asarray(WEIGHT)}
    value, gradient = losses.get(name)(backend.asarray(prediction), moved, **given)
    assert_close(value, backend.asarray(expected[0]), rtol=tolerance * 10)
    assert_close(gradient, backend.asarray(expected[1]), rtol=tolerance * 10, atol=tolerance)


@pytest.mark.parametrize("name", LOSSES)
def test_pytorchs_value_and_gradient(name):
    torch = pytest.importorskip("torch")
    prediction, target = case(name)
    theirs = eval(LOSSES[name][0], {"nn": torch.nn})
    at = torch.tensor(prediction, requires_grad=True)
    expected = theirs(at, torch.tensor(target))
    expected.backward()
    value, gradient = losses.get(name)(prediction, target)
    assert abs(float(value) - expected.item()) < 1e-12
    assert np.abs(gradient - at.grad.numpy()).max() < 1e-12


@pytest.mark.parametrize("name", LOSSES)
def test_weights_are_a_weighted_mean_and_all_zero_is_zero(name):
    prediction, target = case(name)
    loss = losses.get(name)
    rows = [loss(prediction[i : i + 1], target[i : i + 1])[0] for i in range(4)]
    value, _ = loss(prediction, target, weight=WEIGHT)
    assert abs(value - np.average(rows, weights=WEIGHT)) < 1e-14
    value, gradient = loss(prediction, target, weight=np.zeros(4))
    assert value == 0.0
    assert (gradient == 0.0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_lane_k_of_a_stack_has_its_own_value(name):
    prediction, target = case(name, members=3)
    value, gradient = losses.get(name)(prediction, target, xp=np)
    for k in range(3):
        alone = losses.get(name)(prediction[k], target, xp=np)
        assert_close(value[k], alone[0], rtol=1e-14)
        assert_close(gradient[k], alone[1], rtol=1e-14)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "softmax_cross_entropy"])
def test_stable_where_the_probability_rounds_to_nought(name):
    wrong, right = (np.asarray([[-1000.0, 1000.0]]), [0]), (np.asarray([[1000.0, -1000.0]]), [0])
    if name == "binary_cross_entropy":
        wrong, right = (np.asarray([[-1000.0]]), [[1.0]]), (np.asarray([[1000.0]]), [[1.0]])
    loss = losses.get(name)
    assert loss(*wrong)[0] >= 1000.0
    assert loss(*right)[0] == 0.0
    assert np.isfinite(loss(*wrong)[1]).all()


def test_one_hot_rows_equal_indices():
    prediction, target = case("softmax_cross_entropy")
    by_index = losses.softmax_cross_entropy(prediction, target)
    by_row = losses.softmax_cross_entropy(prediction, np.eye(3)[target])
    assert_close(by_row[1], by_index[1], rtol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_that_would_broadcast_are_refused(name):
    prediction, _ = case(name, outputs=1)
    with pytest.raises(ValueError, match=r"target of shape \(3,\) does not fit prediction of shape \(4, 1\)"):
        losses.get(name)(prediction, np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match=r"prediction must be \(batch, outputs\)"):
        losses.get(name)(np.zeros(4), np.zeros(4))


def test_a_weight_that_would_broadcast_is_refused():
    with pytest.raises(ValueError, match=r"weight must be \(4,\), one a row, got shape \(4, 1\)"):
        losses.mean_squared_error(np.zeros((4, 1)), np.zeros((4, 1)), weight=np.ones((4, 1)))


def test_names():
    assert losses.get("mse") is losses.mean_squared_error
    with pytest.raises(ValueError, match="did you mean 'mean_squared_error'"):
        losses.get("mean_square_error")
