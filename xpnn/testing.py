"""Checks for people who write a layer: gradients against numerical ones, and arrays against arrays.

`check_gradients(layer, x)` is all that a new layer needs to be trusted; the library's own tests use it for every one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnn import schedules
from xpnn._arguments import check_number
from xpnn.backend import Backend, describe, resolve, to_host
from xpnn.batches import step_keys
from xpnn.layers import Layer, Step, map_layers
from xpnn.losses import Loss
from xpnn.numbers import pick
from xpnn.parameters import Layout, merge

Array = Any


def assert_close(actual: Any, desired: Any, *, rtol: float = 1e-7, atol: float = 0.0, name: str = "array") -> None:
    """Raise an AssertionError unless two arrays are of one library, device, dtype and shape, and close in value.

    >>> assert_close(np.asarray([1.0]), np.asarray([1.0 + 1e-9]))
    >>> assert_close(np.asarray([1.0]), np.asarray([[1.0]]))
    Traceback (most recent call last):
        ...
    AssertionError: array: shape (1,) is not (1, 1)
    """
    for what, of in (("library", _library), ("device", _device), ("dtype", _dtype), ("shape", _shape)):
        if of(actual) != of(desired):
            raise AssertionError(f"{name}: {what} {of(actual)} is not {of(desired)}")
    np.testing.assert_allclose(to_host(actual), to_host(desired), rtol=rtol, atol=atol, err_msg=name)


def check_gradients(
    layer: Layer,
    x: Any,
    *,
    backend: Any = "numpy",
    training: bool = False,
    seed: int = 0,
    members: int | None = None,
    rtol: float = 1e-6,
) -> None:
    """Raise an AssertionError unless a layer's `backward` is the derivative of its `forward`, in float64.

    The layer is given parameters drawn from a normal distribution (zero biases would put many units on a kink) and the
    scalar sum(y * r) with random r, plus in training the layer's penalty where it has one, is differentiated by central
    differences in every element of x and of every learned parameter. Columns of x that hold category indices are not
    moved: their gradient must be zero. Differences are measured relative to the gradient's norm.

    Parameters
    ----------
    layer : the layer, or a Sequential of several.
    x : (batch, features), or (batch, *shape) for the layer's `input_shape`; away from kinks by 1e-4 at least.
    backend : where to compute; float64 must exist there.
    training : check the training mode (a fixed mask of random bits, the batch's own statistics).
    members : stack so many layers with parameters of their own.

    >>> from xpnn import Dense
    >>> check_gradients(Dense(2, 3), np.asarray([[1.0, -2.0], [0.5, 3.0]]))
    """
    check_number("rtol", rtol, low=0.0)
    backend = resolve(backend, "float64")
    xp, rng = backend.xp, np.random.default_rng(seed)
    learned, state, params = _random_parameters(layer, rng, members)
    shift, x = state.size and rng.uniform(0.5, 1.5, (*params.shape[:-1], state.size)), to_host(x, "x").astype(float)
    frozen = backend.asarray(shift) if state.size else None
    step = _step(layer, seed, members, backend) if training else None

    def forward(flat: np.ndarray, x: np.ndarray) -> tuple[Any, Any, Any]:
        tree = learned.unflatten(backend.asarray(flat), xp=xp)
        tree = merge(tree, state.unflatten(frozen, xp=xp)) if state.size else tree
        return tree, *layer.forward(tree, backend.asarray(x), xp=xp, step=step)

    tree, y, cache = forward(params, x)
    promised = (len(x), *layer.output_shape(x.shape[1:]))
    if tuple(y.shape)[-len(promised) :] != promised:
        raise AssertionError(f"{layer}: output of shape {tuple(y.shape)} is not what output_shape promises")
    # As in a stack, where the gradient that arrives is each member's own even if all see the same output.
    direction = rng.normal(size=y.shape if members is None else (members, *promised))
    dx, grads = layer.backward(tree, cache, backend.asarray(direction), xp=xp)

    def scalar(flat: np.ndarray, x: np.ndarray) -> float:
        tree, y, cache = forward(flat, x)
        penalty = to_host(layer.penalty(tree, cache, xp=xp)) if training and layer.penalizes else 0.0
        return float(np.sum(to_host(y) * direction) + np.sum(penalty))

    found = to_host(dx)
    found = found if found.shape == x.shape else found.sum(axis=0)  # x shared by the members: their gradients add up
    smooth = np.ones(x.shape, dtype=bool)
    smooth[..., list(layer.categories)] = False
    numerical = _numerical(lambda moved: scalar(params, moved), x, where=smooth)
    _compare(found, numerical, rtol, f"{layer}: gradient of x")
    if learned.size:
        flat = to_host(learned.flatten(grads, xp=xp))
        numerical = _numerical(lambda moved: scalar(moved, x), params)
        for entry in learned.entries:
            at = np.s_[..., entry.start : entry.stop]
            scale = float(np.linalg.norm(numerical))
            _compare(flat[at], numerical[at], rtol, f"{layer}: gradient of {entry.label}", scale)
        alone = to_host(learned.flatten(layer.gradients(tree, cache, backend.asarray(direction), xp=xp), xp=xp))
        _compare(alone, flat, 1e-12, f"{layer}: gradients() beside backward()")


def check_loss(
    loss: Loss, prediction: Any, target: Any, *, weight: Any = None, backend: Any = "numpy", rtol: float = 1e-6
) -> None:
    """Raise an AssertionError unless a loss's gradient is the derivative of its value, in float64.

    >>> from xpnn.losses import mean_squared_error
    >>> check_loss(mean_squared_error, [[1.0], [2.0]], [[0.0], [0.0]])
    """
    backend = resolve(backend, "float64")
    target = to_host(target, "target")
    target = backend.asarray(target, dtype=None if target.dtype.kind in "iu" else "float")
    weight = None if weight is None else backend.asarray(weight)
    prediction = to_host(prediction, "prediction").astype(float)

    def value_and_grad(moved: np.ndarray) -> tuple[Array, Array]:
        return loss(backend.asarray(moved), target, xp=backend.xp, weight=weight)

    numerical = _numerical(lambda moved: float(np.sum(to_host(value_and_grad(moved)[0]))), prediction)
    _compare(to_host(value_and_grad(prediction)[1]), numerical, rtol, f"{loss}: gradient")


def _random_parameters(layer: Layer, rng: Any, members: int | None) -> tuple[Layout, Layout, np.ndarray]:
    learned, state = Layout(layer.init(rng)), Layout(layer.init_state())
    return learned, state, rng.normal(size=(*(() if members is None else (members,)), learned.size))


def _step(layer: Layer, seed: int, members: int | None, backend: Backend) -> Step:
    """A training step's hyper-parameters at their own values, and keys."""
    seeds = [seed + k for k in range(members or 1)]
    lead = () if members is None else (members,)

    def numbers(path: tuple[int, ...], leaf: Layer) -> dict[str, Array]:
        found = {name: schedules.values(name, getattr(leaf, name), range(1), members)[0] for name in leaf.tunable}
        return {name: backend.asarray(np.reshape(value, (*lead, 1, 1))) for name, value in found.items()}

    keys = step_keys(layer, seeds, 0, range(1), members is not None, backend)
    return Step(map_layers(numbers, layer), pick(keys, 0), backend.xp)


def _numerical(
    function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5, *, where: Any = True
) -> np.ndarray:
    """Central differences in every element, or in those of a mask and else 0; of error O(step^2)."""
    gradient = np.zeros(at.shape)
    for index in map(tuple, np.argwhere(np.broadcast_to(where, at.shape))):
        moved = at.copy()
        moved[index] = at[index] + step
        above = function(moved)
        moved[index] = at[index] - step
        gradient[index] = (above - function(moved)) / (2.0 * step)
    return gradient


def _compare(actual: np.ndarray, desired: np.ndarray, rtol: float, name: str, scale: float | None = None) -> None:
    if actual.shape != desired.shape:
        raise AssertionError(f"{name}: shape {actual.shape} is not {desired.shape}")
    norm = max(float(np.linalg.norm(desired)) if scale is None else scale, 1e-3)
    error = float(np.linalg.norm(actual - desired)) / norm
    if not error <= rtol:
        raise AssertionError(
            f"{name} is off by {error:.2g} of its norm (more than {rtol:g}):\n{actual}\nnot\n{desired}"
        )


def _library(array: Any) -> str:
    return type(array).__module__.partition(".")[0].replace("jaxlib", "jax")


def _device(array: Any) -> str:
    return str(getattr(array, "device", "cpu"))


def _dtype(array: Any) -> str:
    return str(getattr(array, "dtype", describe(array)))


def _shape(array: Any) -> tuple[int, ...]:
    return tuple(getattr(array, "shape", ()))
