"""Random networks over the whole catalogue: the gradient equals the numerical one, JAX's and PyTorch's.

The networks' values are written a second time in tests/oracle.py, from the definitions, and differentiated
automatically. Parameters are drawn from a normal distribution, and redrawn where a unit lies within 1e-4 of a kink or
where something divides by almost nothing, which multiplies rounding by hundreds.
"""

import functools
from typing import Any, NamedTuple

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import xpnn
from tests import oracle
from tests.tables import ACTIVATIONS, LAYERS, LOSSES
from xpnn import layers
from xpnn.architecture import trunk
from xpnn.availability import status
from xpnn.inputs import Data
from xpnn.layers import Step
from xpnn.progress import START
from xpnn.testing import _numerical

ELEMENTS = [xpnn.activations.get(name) for name in ACTIVATIONS if name != "prelu"]


class Draw(NamedTuple):
    """A random network, its loss, and what its data are like."""

    layers: tuple
    loss: Any
    kind: str  # of target
    members: int | None
    weighted: bool
    rows: int
    seed: int


@st.composite
def firsts(draw):
    """A layer that takes the data, and the width that it gives."""
    kind = draw(st.sampled_from(["numbers", "numbers", "indices", "table", "picture"]))
    if kind == "indices":
        layer = layers.Embedding(4, draw(st.integers(1, 3)), columns=draw(st.integers(1, 2)))
        return layer, layer.features * layer.columns
    if kind == "table":
        layer = layers.FeatureEmbedding((None, 3, 5, None), features=draw(st.sampled_from([2, (1, 3)])))
        return layer, layer.output_shape((4,))[0]
    if kind == "picture":
        return layers.Flatten((2, 2)), 4
    width = draw(st.integers(1, 4))
    return layers.Dense(width, draw(st.integers(1, 5)), bias=draw(st.booleans())), None


BLOCKS = ["dense", *["activation"] * 4, "maxout", "batch", "layer", "rms", "prelu", "dropout", "noise"]
BLOCKS += ["penalty", "scale", "increasing", "residual", "nest"]


@st.composite
def blocks(draw, width, depth=0):
    """A layer that takes `width` features."""
    kind = draw(st.sampled_from(BLOCKS))
    number = draw(st.integers(1, 5))
    if kind == "dense":
        return layers.Dense(width, number, bias=draw(st.booleans()))
    if kind == "maxout":
        return layers.Maxout(width, number, pieces=draw(st.integers(2, 3)))
    if kind == "batch":
        return layers.BatchNorm(width)
    if kind == "layer" and width > 2:  # of two features all that is left is a sign
        return layers.LayerNorm(width)
    if kind == "rms":
        return layers.RMSNorm(width)
    if kind == "prelu":
        return layers.PReLU(draw(st.sampled_from([1, width])))
    if kind == "dropout":
        return layers.Dropout(0.3)
    if kind == "noise":
        return layers.GaussianNoise(0.2)
    if kind == "penalty":
        return layers.ActivityPenalty(l1=draw(st.sampled_from([0.0, 0.1])), l2=0.2)
    if kind == "scale":
        return layers.Standardize((0.3,) * width, (1.5,) * width, inverse=draw(st.booleans()))
    if kind == "increasing":
        return layers.Increasing(width, width)
    if kind == "residual" and depth == 0:
        inner = [draw(blocks(width, 1))]
        return layers.Residual([*inner, layers.Dense(inner[0].output_shape((width,))[0], width)])
    if kind == "nest" and depth == 0:
        return layers.Sequential([draw(blocks(width, 1))])
    return draw(st.sampled_from(ELEMENTS))


@st.composite
def draws(draw):
    first, width = draw(firsts())
    chain = [first]
    width = first.output_shape(first.input_shape)[0] if width is None else width
    for _ in range(draw(st.integers(0, 4))):
        chain.append(draw(blocks(width)))
        width = chain[-1].output_shape((width,))[0]
    loss, _, kind = draw(st.sampled_from(LOSSES))
    directed = kind in ("classes", "soft") or isinstance(loss, xpnn.losses.CosineDistance)  # of one output: constant
    targets = draw(st.integers(2 if directed else 1, 3))
    outputs = next(n for n in range(targets, 9) if _targets(loss, n) == targets)
    chain.append(layers.Dense(width, outputs))
    if loss.link is not None:  # a linked loss takes its own link or logits
        chain += draw(st.sampled_from([[], [loss.link]]))
    elif getattr(loss, "levels", (0.5,)) != (0.5,) and draw(st.booleans()):
        chain.append(layers.Increasing(outputs, len(loss.levels)))
    penalties = draw(st.sampled_from([{}, {}, {"l1": 0.01, "l2": 0.1}, {"l2": 0.1}]))
    return Draw(
        layers=tuple(chain),
        loss=xpnn.losses.Penalized(loss, **penalties) if penalties else loss,
        kind=kind,
        members=draw(st.sampled_from([None, None, 2])),
        weighted=draw(st.booleans()),
        rows=draw(st.integers(4, 7)),
        seed=draw(st.integers(0, 2**32)),
    )


def _targets(loss, outputs):
    try:
        return loss.target_width(outputs)
    except ValueError:
        return None


TARGETS = {
    "real": lambda rng, shape: rng.normal(size=shape),
    "unit": lambda rng, shape: rng.uniform(0.05, 0.95, shape),
    "binary": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "counts": lambda rng, shape: rng.poisson(2.0, shape).astype(float),
    "soft": lambda rng, shape: rng.dirichlet(np.ones(shape[1]), shape[0]),
    "classes": lambda rng, shape: rng.integers(0, shape[1], shape[0]),
}


def features(first, rows, rng):
    """Rows that the first layer takes: numbers, with indices where it wants them."""
    x = rng.normal(size=(rows, *first.input_shape))
    for column, count in first.categories.items():
        x[:, column] = rng.integers(0, count, rows)
    return x


class Case(NamedTuple):
    """A network with random parameters and its data."""

    net: xpnn.Network
    layer: layers.Sequential  # without the loss's link
    loss: Any  # without penalties
    penalties: tuple
    data: Data
    lanes: list
    steps: list  # one for each lane


def build(draw, rng):
    """The drawn network with random parameters, and data for it."""
    net = xpnn.Network(draw.layers, dtype="float64", seed=draw.seed, members=draw.members)
    net.params = redrawn(net.params, rng)
    loss = getattr(draw.loss, "loss", draw.loss)
    penalties = (getattr(draw.loss, "l1", 0.0), getattr(draw.loss, "l2", 0.0))
    width = loss.target_width(net.layer.output_shape(net.layer.input_shape)[0])
    y = TARGETS[draw.kind](rng, (draw.rows, width))
    weight = rng.uniform(0.1, 2.0, draw.rows) if draw.weighted else None
    numbers = net._prepare(draw.loss, xpnn.SGD(0.1))[1].epoch(START)[0]
    lanes = list(range(draw.members)) if draw.members else [None]
    steps = [Step(lane(numbers.layers, k), lane(numbers.keys, k), np) for k in lanes]
    data = Data(features(draw.layers[0], draw.rows, rng), y, weight)
    return Case(net, trunk(net.layer, loss), loss, penalties, data, lanes, steps)


def redrawn(tree, rng):
    if isinstance(tree, list):
        return [redrawn(child, rng) for child in tree]
    fixed = ("running_mean", "running_var", "mean", "scale")
    return {name: a if name in fixed else rng.normal(scale=0.8, size=a.shape) for name, a in tree.items()}


def lane(tree, k):
    """Lane k of every array of a tree; the tree itself for a lone network."""
    if tree is None or k is None:
        return tree
    if isinstance(tree, list):
        return [lane(child, k) for child in tree]
    return {name: lane(child, k) for name, child in tree.items()} if isinstance(tree, dict) else tree[k, ...]


def arrays(tree, lib):
    """Every array of a tree as one of another library."""
    if isinstance(tree, list):
        return [arrays(child, lib) for child in tree]
    if isinstance(tree, dict):
        return {name: arrays(child, lib) for name, child in tree.items()}
    return tree if tree is None else lib.asarray(tree)


def learned(ours, theirs):
    """Pairs of the gradients of each learned array, in one order."""
    if isinstance(ours, list):
        return [pair for a, b in zip(ours, theirs, strict=True) for pair in learned(a, b)]
    return [(np.ravel(ours[name]), np.ravel(np.asarray(theirs[name]))) for name in ours]


def well_posed(draw):
    """The drawn network with parameters redrawn until nothing is delicate; else another draw."""
    lib = quick()
    for attempt in range(30):
        case = build(draw, np.random.default_rng([draw.seed, attempt]))
        kinks, total = oracle.Kinks(), 0.0
        with np.errstate(all="ignore"):
            for k, step in zip(case.lanes, case.steps, strict=True):
                params, data = arrays(lane(case.net.params, k), lib), Data(*(arrays(a, lib) for a in case.data))
                args = (case.layer, case.loss, params, data, step, lib, case.penalties)
                total = max(total, abs(float(oracle.value(*args, note=kinks))))
        if kinks.least > 1e-4 and total < 1e3:
            return case
    return hypothesis.reject()  # such as a batch norm of one unit's softmax, which is constant


@functools.cache
def quick():
    """The library to note kinks with: PyTorch costs a tenth of JAX where nothing is compiled."""
    return oracle.PyTorch() if status("torch").usable else oracle.JAX()


def compare(case, draw, value_and_grad):
    """Value and gradient of each lane against `value_and_grad(function, params)` of one network."""
    x, y, weight = case.data
    value, grads = case.net.value_and_grad(x, y, loss=draw.loss, sample_weight=weight)
    for k, step in zip(case.lanes, case.steps, strict=True):
        expected, gradient = value_and_grad(case, lane(case.net.params, k), step)
        mine = value if k is None else value[k]
        assert abs(mine - expected) <= 1e-10 * max(abs(expected), 1.0)
        pairs = learned(lane(grads, k), gradient)
        ours, theirs = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
        assert np.linalg.norm(ours - theirs) <= 1e-10 * max(np.linalg.norm(theirs), 1e-3)


@hypothesis.settings(max_examples=200)
@hypothesis.given(draw=draws())
def test_gradients_equal_jaxs(draw):
    jax = pytest.importorskip("jax")
    lib = oracle.JAX()

    def value_and_grad(case, params, step):
        data = Data(*(arrays(a, lib) for a in case.data))

        def objective(params):
            return oracle.value(case.layer, case.loss, params, data, step, lib, case.penalties)

        return jax.value_and_grad(objective)(params)

    compare(well_posed(draw), draw, value_and_grad)


@hypothesis.settings(max_examples=50)
@hypothesis.given(draw=draws())
def test_gradients_equal_pytorchs(draw):
    torch = pytest.importorskip("torch")
    lib = oracle.PyTorch()

    def tensors(tree):
        if isinstance(tree, list):
            return [tensors(child) for child in tree]
        return {name: torch.tensor(array, requires_grad=True) for name, array in tree.items()}

    def slopes(tree):
        if isinstance(tree, list):
            return [slopes(child) for child in tree]
        return {name: (torch.zeros_like(a) if a.grad is None else a.grad).numpy() for name, a in tree.items()}

    def value_and_grad(case, params, step):
        params = tensors(params)
        data = Data(*(arrays(a, lib) for a in case.data))
        value = oracle.value(case.layer, case.loss, params, data, step, lib, case.penalties)
        value.backward()
        return value.item(), slopes(params)

    compare(well_posed(draw), draw, value_and_grad)


@hypothesis.settings(max_examples=50)
@hypothesis.given(draw=draws())
def test_gradients_equal_numerical_ones(draw):
    if not (status("torch").usable or status("jax").usable):
        pytest.skip("neither PyTorch nor JAX is installed to say where a kink is")
    case = well_posed(draw)
    net, (x, y, weight) = case.net, case.data
    _, grads = net.value_and_grad(x, y, loss=draw.loss, sample_weight=weight)
    layout, flat, carry = net.layouts[0], np.array(net.progress.carry.params), net.progress.carry

    def total(moved):
        net.progress = net.progress._replace(carry=carry._replace(params=moved))
        return float(np.sum(net.value_and_grad(x, y, loss=draw.loss, sample_weight=weight)[0]))

    numerical, exact = _numerical(total, flat), layout.flatten(grads, xp=np)
    assert np.linalg.norm(exact - numerical) <= 1e-6 * max(np.linalg.norm(exact), 1e-3)


def test_the_catalogue_is_drawn_whole():
    """What the tables have, the random networks have, and the oracle knows."""
    seen = set()

    @hypothesis.settings(max_examples=600, database=None)
    @hypothesis.given(draw=draws())
    def look(draw):
        seen.update(type(leaf).__name__ for one in draw.layers for _, leaf in layers.walk(one))
        seen.update(type(one).__name__ for one in draw.layers)
        seen.add(type(getattr(draw.loss, "loss", draw.loss)).__name__)

    look()
    rows = [entry[0] if isinstance(entry, tuple) else entry for entry in LAYERS]
    pieces = {type(leaf).__name__ for one in rows for _, leaf in layers.walk(one)}
    pieces |= {type(activation).__name__ for activation in ELEMENTS} | {type(loss).__name__ for loss, _, _ in LOSSES}
    assert pieces - seen == set()
