"""A layer's arrays, drawn at random, and what it computes from them, for the tests of layers and other pieces."""

from dataclasses import fields, replace

import numpy as np
import pytest

from xpnn.parameters import Layout, merge
from xpnn.testing import _step

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
