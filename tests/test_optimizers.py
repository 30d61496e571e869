"""Each optimizer on the flat vector: PyTorch's numbers, members apart, schedules and multipliers."""

import numpy as np
import pytest

from tests.tables import OPTIMIZERS
from xpnn import optimizers, schedules
from xpnn.backend import resolve
from xpnn.parameters import Layout, multiplier_table
from xpnn.testing import assert_close

GRADS = np.random.default_rng(0).normal(size=(6, 7))
START = np.linspace(-1.0, 1.0, 7)


def hyper(optimizer, backend, shape=(1,)):
    return {
        name: backend.asarray(np.broadcast_to(value, shape))
        for name, value in optimizers.number_fields(optimizer).items()
    }


def run(optimizer, backend, start=START, grads=GRADS, numbers=None):
    params = backend.asarray(start)
    state = optimizer.init(params, xp=backend.xp)
    numbers = numbers or hyper(optimizer, backend)
    for gradient in grads:
        params, state = optimizer.update(params, backend.asarray(gradient), state, numbers, xp=backend.xp)
    return params


@pytest.mark.parametrize("optimizer, theirs", OPTIMIZERS, ids=str)
def test_pytorchs_steps(optimizer, theirs):
    torch = pytest.importorskip("torch")
    p = torch.tensor(START, requires_grad=True)
    their = eval(f"torch.optim.{theirs}".replace("(p", "([p]"), {"torch": torch, "p": p})
    for gradient in GRADS:
        p.grad = torch.tensor(gradient)
        their.step()
    assert_close(run(optimizer, resolve("numpy", "float64")), p.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimizer, theirs", OPTIMIZERS, ids=str)
def test_every_backend_gives_numpys_numbers(optimizer, theirs, backend, tolerance):
    expected = run(optimizer, resolve("numpy", "float64"))
    assert_close(run(optimizer, backend), backend.asarray(expected), rtol=tolerance * 10, atol=tolerance)


@pytest.mark.parametrize("optimizer, theirs", OPTIMIZERS, ids=str)
def test_members_step_apart_with_their_own_rates(optimizer, theirs):
    backend, rates = resolve("numpy", "float64"), np.asarray([[0.1], [0.01], [0.0]])
    starts, grads = np.stack([START, -START, START + 1]), np.stack([GRADS, 2 * GRADS, -GRADS], axis=1)
    numbers = hyper(optimizer, backend, (3, 1)) | {"learning_rate": rates}
    together = run(optimizer, backend, starts, grads, numbers)
    for k in range(3):
        one = hyper(optimizer, backend) | {"learning_rate": rates[k]}
        assert_close(together[k], run(optimizer, backend, starts[k], grads[:, k], one), rtol=1e-15)


@pytest.mark.parametrize("optimizer, theirs", OPTIMIZERS, ids=str)
def test_nothing_that_is_given_is_written(optimizer, theirs):
    backend, params = resolve("numpy", "float64"), START.copy()
    state = optimizer.init(params, xp=np)
    first, _ = optimizer.update(params, GRADS[0], state, hyper(optimizer, backend), xp=np)
    again, _ = optimizer.update(params, GRADS[0], state, hyper(optimizer, backend), xp=np)
    assert (params == START).all()
    assert (first == again).all()


def test_momentum_is_structure():
    assert optimizers.SGD(0.1).init(START, xp=np) == ()
    assert optimizers.SGD(0.1, momentum=0.5).init(START, xp=np).velocity.shape == START.shape


def test_equal_settings_are_equal_optimizers():
    assert optimizers.Adam(0.1) == optimizers.Adam(0.1)
    assert optimizers.Adam(np.asarray([0.1, 0.2])) == optimizers.Adam([0.1, 0.2])
    assert optimizers.SGD(schedules.Constant(0.1)) == optimizers.SGD(schedules.Constant(0.1))
    assert optimizers.Adam(0.1) != optimizers.Adam(0.2)
    assert hash(optimizers.SGD(0.1, multipliers={"bias": 0.5})) == hash(optimizers.SGD(0.1, multipliers={"bias": 0.5}))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optimizers.SGD(-0.1), "learning_rate must be >= 0, got -0.1"),
        (lambda: optimizers.SGD(0.1, momentum=1.0), "momentum must be >= 0 and < 1"),
        (lambda: optimizers.Adam([0.1, -0.2]), r"learning_rate\[1\] must be >= 0"),
        (lambda: optimizers.Adam("fast"), "learning_rate must be a number, got 'fast'"),
        (lambda: optimizers.Adam(beta2=1.5), "beta2 must be"),
        (lambda: optimizers.Adam(eps=0), "eps must be > 0"),
        (lambda: optimizers.SGD(multipliers={"bias": -1}), r"multipliers\['bias'\] must be >= 0"),
        (lambda: optimizers.get("adom"), "did you mean 'adam'"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


LAYOUT = Layout([{"weight": np.zeros((1, 2)), "bias": np.zeros(2)}, {}, {"weight": np.zeros((2, 1))}])


@pytest.mark.parametrize(
    "multipliers, table",
    [
        ({}, None),
        ({"bias": 0.5}, [1, 1, 0.5, 0.5, 1, 1]),
        ({0: 0}, [0, 0, 0, 0, 1, 1]),
        ({-1: 3}, [1, 1, 1, 1, 3, 3]),
        ({"2.weight": 2, "weight": 0.5}, [0.5, 0.5, 1, 1, 1, 1]),
    ],
)
def test_multipliers_by_name_layer_or_both(multipliers, table):
    assert multiplier_table(LAYOUT, 3, multipliers) == table


def test_a_multiplier_that_reaches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"multipliers: 'biases' is no parameter or layer"):
        multiplier_table(LAYOUT, 3, {"biases": 1.0})
    with pytest.raises(ValueError, match="multipliers: 1 is no"):
        multiplier_table(LAYOUT, 3, {1: 1.0})
