"""Random networks: the gradient equals the numerical one, and that of two automatic differentiations of other formulas.

The oracles are written from the definitions with JAX's and PyTorch's own functions; they share no code with the
library. Biases are drawn from a normal distribution, and a network is redrawn where a unit lies within 1e-4 of a kink
or where a batch norm divides by almost nothing (a dead unit before it), which multiplies rounding by hundreds.
"""

from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import xpnn
from tests.tables import ACTIVATIONS, LOSSES
from xpnn import layers
from xpnn.testing import _numerical


class Draw(NamedTuple):
    """A random network with data: (width, activation, batch norm) of each layer after the first width."""

    first: int
    stack: tuple
    loss: str
    soft: bool
    members: int | None
    weighted: bool
    rows: int
    seed: int


@st.composite
def draws(draw):
    layer = st.tuples(st.integers(1, 5), st.sampled_from(sorted(ACTIVATIONS)), st.booleans())
    stack = draw(st.lists(layer, min_size=1, max_size=5))
    loss = draw(st.sampled_from(sorted(LOSSES)))
    link = {"binary_cross_entropy": "sigmoid", "softmax_cross_entropy": "softmax"}.get(loss)
    if link:  # a linked loss takes its own link or logits
        stack[-1] = (stack[-1][0], draw(st.sampled_from([link, "identity"])), stack[-1][2])
    return Draw(
        first=draw(st.integers(1, 4)),
        stack=tuple(stack),
        loss=loss,
        soft=draw(st.booleans()),
        members=draw(st.sampled_from([None, 3])),
        weighted=draw(st.booleans()),
        rows=draw(st.integers(3, 6)),
        seed=draw(st.integers(0, 2**32)),
    )


def build(draw, rng):
    """The network with random parameters, and data for it."""
    chain, width = [], draw.first
    for n, activation, norm in draw.stack:
        chain += [layers.Dense(width, n)] + [layers.BatchNorm(n)] * norm + [xpnn.activations.get(activation)]
        width = n
    net = xpnn.Network(chain, dtype="float64", seed=draw.seed, members=draw.members)
    net.params = [{k: rng.normal(size=v.shape) if "running" not in k else v for k, v in p.items()} for p in net.params]
    x, kind = rng.normal(size=(draw.rows, draw.first)), LOSSES[draw.loss][1]
    if kind == "classes":
        y = rng.dirichlet(np.ones(width), draw.rows) if draw.soft else rng.integers(0, width, draw.rows)
    else:
        y = rng.normal(size=(draw.rows, width)) if kind == "real" else rng.uniform(size=(draw.rows, width))
    return net, x, y, rng.uniform(0.1, 2.0, draw.rows) if draw.weighted else None


def forward(draw, params, x, lib):
    """The logits (without a linked loss's last activation), and numbers that must stay 1e-4 away from zero."""
    delicate = []
    for number, (_, activation, norm) in enumerate(draw.stack):
        p = params[number]
        x = x @ p["weight"] + p["bias"]
        if norm:
            centred = x - x.mean(0)
            variance = (centred**2).mean(0)
            delicate.append(0.01 * variance)
            x = centred / (variance + 1e-5) ** 0.5 * p["scale"] + p["shift"]
        last = number == len(draw.stack) - 1
        if last and draw.loss != "mean_squared_error":
            break
        if activation == "relu":
            delicate.append(x)
        x = lib[activation](x)
    return x, delicate


def per_layer(draw, tree, k):
    """The library's list of dicts as one dict a Dense layer, of lane k."""
    found, position = [], 0
    for _, _, norm in draw.stack:
        names = dict(tree[position])
        if norm:
            names |= {"scale": tree[position + 1]["weight"], "shift": tree[position + 1]["bias"]}
        found.append({name: array if k is None else array[k] for name, array in names.items()})
        position += 2 + norm
    return found


def well_posed(draw):
    """The drawn network, with parameters redrawn until nothing is delicate; else another draw."""
    lib = {
        "identity": lambda z: z,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": np.tanh,
        "relu": lambda z: z * (z > 0),
        "softmax": lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True),
    }
    for attempt in range(30):
        net, x, y, weight = build(draw, np.random.default_rng([draw.seed, attempt]))
        lanes = range(draw.members) if draw.members else [None]
        delicate = [z for k in lanes for z in forward(draw, per_layer(draw, net.params, k), x, lib)[1]]
        if all(np.abs(z).min() > 1e-4 for z in delicate):
            return net, x, y, weight
    return hypothesis.reject()  # softmax of one unit is constant, whatever its parameters


def compare(draw, ours, theirs):
    """Gradients of all layers and lanes, relative to the norm of the whole gradient."""
    ours = np.concatenate([np.ravel(layer[name]) for layer in ours for name in sorted(layer)])
    theirs = np.concatenate([np.ravel(layer[name]) for layer in theirs for name in sorted(layer)])
    assert np.linalg.norm(ours - theirs) <= 1e-10 * max(np.linalg.norm(theirs), 1e-3)


def check_against(draw, value_and_grad):
    """Value and gradient of each lane against `value_and_grad(params, x, y, weight)` of one network."""
    net, x, y, weight = well_posed(draw)
    value, grads = net.value_and_grad(x, y, loss=draw.loss, sample_weight=weight)
    for k in range(draw.members) if draw.members else [None]:
        expected, gradient = value_and_grad(per_layer(draw, net.params, k), x, y, weight)
        mine = value if k is None else value[k]
        assert abs(mine - expected) <= 1e-10 * max(abs(expected), 1.0)
        compare(draw, per_layer(draw, grads, k), gradient)


@hypothesis.settings(max_examples=50)
@hypothesis.given(draw=draws())
def test_gradients_equal_jaxs(draw):
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    lib = {"identity": lambda z: z, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu}
    lib["softmax"] = jax.nn.softmax

    def objective(params, x, y, weight):
        z, _ = forward(draw, params, x, lib)
        if draw.loss == "mean_squared_error":
            rows = ((z - y) ** 2).mean(-1)
        elif draw.loss == "binary_cross_entropy":
            rows = -(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z)).mean(-1)
        else:
            y = jax.nn.one_hot(y, z.shape[-1]) if y.ndim == 1 else y
            rows = -(y * jax.nn.log_softmax(z)).sum(-1)
        return rows.mean() if weight is None else (weight * rows).sum() / weight.sum()

    check_against(draw, jax.value_and_grad(objective))


@hypothesis.settings(max_examples=50)
@hypothesis.given(draw=draws())
def test_gradients_equal_pytorchs(draw):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    lib = {"identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
    lib["softmax"] = lambda z: torch.softmax(z, -1)

    def value_and_grad(params, x, y, weight):
        params = [{name: torch.tensor(v, requires_grad=True) for name, v in layer.items()} for layer in params]
        z, _ = forward(draw, params, torch.tensor(x), lib)
        y = torch.tensor(y)
        if draw.loss == "mean_squared_error":
            rows = f.mse_loss(z, y, reduction="none").mean(-1)
        elif draw.loss == "binary_cross_entropy":
            rows = f.binary_cross_entropy_with_logits(z, y, reduction="none").mean(-1)
        else:
            rows = f.cross_entropy(z, y, reduction="none")
        value = rows.mean() if weight is None else (torch.tensor(weight) * rows).sum() / weight.sum()
        value.backward()
        zeros = lambda v: torch.zeros_like(v) if v.grad is None else v.grad  # noqa: E731
        return value.item(), [{name: zeros(v).numpy() for name, v in layer.items()} for layer in params]

    check_against(draw, value_and_grad)


@hypothesis.settings(max_examples=50)
@hypothesis.given(draw=draws())
def test_gradients_equal_numerical_ones(draw):
    net, x, y, weight = well_posed(draw)
    _, grads = net.value_and_grad(x, y, loss=draw.loss, sample_weight=weight)
    layout, flat = net.layouts[0], np.array(net.progress.carry.params)
    state = net.params

    def total(moved):
        tree = layout.unflatten(moved, xp=np)
        net.params = [old | new for old, new in zip(state, tree, strict=True)]
        return float(np.sum(net.value_and_grad(x, y, loss=draw.loss, sample_weight=weight)[0]))

    numerical, exact = _numerical(total, flat), layout.flatten(grads, xp=np)
    assert np.linalg.norm(exact - numerical) <= 1e-6 * max(np.linalg.norm(exact), 1e-3)
