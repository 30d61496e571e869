"""A training step walked through: every value against what the network computes without being watched, to the bit."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import xpnn
from tests.networks import LABELS, build, host, same, state_of
from tests.networks import X as ROWS
from tests.networks import Y as TARGETS
from tests.tables import INDICES, LAYERS, LOSSES, MIXED, OPTIMIZERS
from tests.test_tutorial import X, Y, manual_gradients, network
from xpnn import Adam, Dense, Network, Penalized, formulas, layers
from xpnn.availability import status
from xpnn.backend import to_host
from xpnn.layers import walk as leaves

RNG = np.random.default_rng(0)


def check(net, x, y, loss=None, optimizer=None, sample_weight=None):
    """Everything in the walk against value_and_grad, step and params; the network stays as it is. The walk."""
    before, count = state_of(net), net.updates
    walk = net.trace_step(x, y, loss, optimizer, sample_weight)
    assert same(before, state_of(net)) and net.updates == count and net.history.epoch == []

    stepped, fresh = net.copy(), net.copy()
    fresh.progress = fresh.progress.started(
        fresh._loss_of(loss), fresh._optimizer_of(optimizer), xp=fresh.backend.xp
    )  # an average's parameters
    value, grads = fresh.value_and_grad(x, y, loss, sample_weight)
    returned = stepped.step(x, y, loss, optimizer, sample_weight, compile=False)
    objective = walk["objective" if "objective" in walk else "loss"].value
    assert same(objective, returned) and same(objective, value)
    for entry, array in net.layouts[0].pairs(grads):
        assert same(walk[f"{entry.label}.gradient"].value, array), entry.label
    before = fresh._tree(fresh.progress.carry)
    after = stepped._tree(stepped.progress.carry)
    for (entry, old), (_, new) in zip(net.layouts[0].pairs(before), net.layouts[0].pairs(after), strict=True):
        assert same(walk[entry.label].before, old) and same(walk[entry.label].value, new)
    for (entry, old), (_, new) in zip(net.layouts[1].pairs(before), net.layouts[1].pairs(after), strict=True):
        assert same(old, new) or (same(walk[entry.label].before, old) and same(walk[entry.label].value, new))
    for path, layer in leaves(net.layer):
        label = ".".join(map(str, path))
        assert f"{label}.output" in walk
        assert walk[f"{label}.output"].by == f"layer {label}, {layer!r}"
    for one in walk:
        assert net.backend.owns(one.value) and one.shape == tuple(one.value.shape)
        assert one.formula or one.name.endswith(".delta")
        assert "\n" not in one.formula and "  " not in one.formula.replace(",  ", ", ")
    assert walk.title in str(walk) and "<table>" in walk._repr_html_()
    return walk


@pytest.mark.parametrize("row", LAYERS, ids=repr)
@pytest.mark.parametrize("members", [None, 3])
def test_every_layer(row, members):
    layer, x = row if isinstance(row, tuple) else (row, RNG.normal(size=(6, 5)))
    shape = layer.output_shape(np.shape(x)[1:])
    first = layer.children[0] if isinstance(layer, layers.Sequential) else layer
    made = [layer] if first.categories or len(np.shape(x)) > 2 else [Dense(5, 5), layer]
    net = Network([*made, Dense(shape[0], 2)], members=members, dtype="float64", seed=1)
    walk = check(net, x, RNG.normal(size=(len(x), 2)), optimizer=Adam(0.1))
    assert walk.forward[0].name == "x"


def test_the_tables_inputs_are_used():
    assert {id(row[1]) for row in LAYERS if isinstance(row, tuple)} >= {id(INDICES), id(MIXED)}


@pytest.mark.parametrize("loss, _, kind", LOSSES, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize("weight", [None, np.linspace(0.5, 2.0, 12)], ids=["", "weights"])
def test_every_loss(loss, _, kind, weight):
    y = {
        "real": TARGETS,
        "counts": np.abs(TARGETS),
        "classes": LABELS,
        "soft": np.full((12, 2), 0.5),
        "unit": np.full((12, 2), 0.3),
        "binary": np.eye(2)[LABELS],
    }[kind]
    outputs = 4 if isinstance(loss, xpnn.losses.GaussianNLL) else 2
    if isinstance(loss, xpnn.losses.Quantile):
        outputs, y = len(loss.levels), TARGETS[:, :1]
    net = Network(xpnn.mlp([3, 4, outputs], "tanh"), dtype="float64")
    walk = check(net, ROWS, y, loss, "sgd", weight)
    assert formulas.forward(loss) in walk["loss"].formula
    assert "as the backward of" not in walk["2.delta"].formula


@pytest.mark.parametrize("optimizer, _", OPTIMIZERS, ids=lambda value: repr(value)[:40])
def test_every_optimizer_in_its_second_step(optimizer, _):
    net = Network(xpnn.mlp([3, 4, 2], "tanh"), dtype="float64")
    net.step(ROWS, TARGETS, optimizer=optimizer)
    assert "<-" in check(net, ROWS, TARGETS, None, optimizer)["0.weight"].formula


@pytest.mark.parametrize("members", [None, 3])
def test_everything_at_once(eager, members):
    net = build(eager, members, seed=3)
    loss = Penalized("mse", l1=0.1, l2=[0.1, 0.2, 0.3] if members else 0.2, multipliers={0: 2.0})
    options = {"clip_norm": 0.1, "clip_value": 0.2, "average": 0.9, "weight_decay": 0.1, "multipliers": {"bias": 0.5}}
    optimizer = Adam(xpnn.InverseTimeDecay(0.1, rate=1.0, steps=4), **options)
    net.step(ROWS, TARGETS, loss, optimizer)
    walk = check(net, ROWS, TARGETS, loss, optimizer, np.linspace(0.5, 2.0, 12))
    total = to_host(walk["0.weight.loss_gradient"].value) + to_host(walk["0.weight.penalty_gradient"].value)
    np.testing.assert_allclose(to_host(walk["0.weight.gradient"].value), total, rtol=1e-6)
    clipped = [to_host(one.value).reshape(members or 1, -1) for one in walk if one.name.endswith(".clipped")]
    np.testing.assert_allclose(np.linalg.norm(np.hstack(clipped), axis=-1), 0.1, rtol=1e-3)
    assert float(to_host(walk["learning_rate"].value).ravel()[0]) == pytest.approx(0.1 / 1.25)
    assert same(walk["4.bias.multiplier"].value, 0.5 * eager.xp.ones_like(walk["4.bias.multiplier"].value))
    stepped = net.copy()
    stepped.step(ROWS, TARGETS, loss, optimizer, np.linspace(0.5, 2.0, 12), compile=False)
    assert same(walk["0.weight.average"].value, stepped.params[0]["weight"])
    assert "running <- " in walk["1.running_mean"].formula


def test_the_compiled_step_within_rounding():
    net = build(xpnn.backend.resolve("numpy", "float64"))
    walk = net.trace_step(ROWS, TARGETS, optimizer="sgd")
    assert float(net.step(ROWS, TARGETS, optimizer="sgd")) == pytest.approx(float(walk["loss"].value), rel=1e-12)
    np.testing.assert_allclose(net.params[0]["weight"], walk["0.weight"].value, rtol=1e-12)


@pytest.mark.skipif(not status("jax").usable, reason="JAX is not usable here")
def test_on_jax():
    net = Network(xpnn.mlp([3, 4, 2], "tanh"), "jax")
    walk = net.trace_step(ROWS, TARGETS, optimizer="sgd")
    value, grads = net.value_and_grad(ROWS, TARGETS)
    assert same(walk["loss"].value, value) and same(walk["2.weight.gradient"].value, grads[2]["weight"])
    assert "dL/dW = x^T dy" in str(walk)
    checkup = net.diagnose(ROWS, TARGETS)
    assert checkup.rates is not None and np.isfinite(checkup.rates.losses[:6]).all()


def test_dropout_has_the_mask_of_that_step():
    net = Network([layers.Dropout(0.5), Dense(3, 2)], dtype="float64")
    first = net.trace_step(ROWS, TARGETS)["0.output"].value
    assert same(first, net.trace_step(ROWS, TARGETS)["0.output"].value)
    net.step(ROWS, TARGETS)
    assert not same(first, net.trace_step(ROWS, TARGETS)["0.output"].value)
    assert set(np.round(first / ROWS, 9).ravel()) == {0.0, 2.0}


def test_the_tutorials_numbers():
    net = network()
    walk, outputs = check(net, X, Y, "mse", xpnn.SGD(0.05)), net.outputs(X)
    assert same([one.value for one in walk.forward], outputs)
    delta = 2 * (outputs[-1] - Y) / len(X)
    np.testing.assert_allclose(walk["5.delta"].value, delta, rtol=1e-13)
    np.testing.assert_allclose(walk["4.delta"].value, delta * outputs[-1] * (1 - outputs[-1]), rtol=1e-12)
    for n, (weight, bias) in zip((0, 2, 4), manual_gradients(net, X, Y), strict=True):
        np.testing.assert_allclose(walk[f"{n}.weight.gradient"].value, weight, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(walk[f"{n}.bias"].value, net.params[n]["bias"] - 0.05 * bias, rtol=1e-12)
    names = ["5.delta", "4.delta", "4.weight.gradient", "4.bias.gradient", "3.delta", "2.delta"]
    assert [one.name for one in walk.backward][:6] == names
    assert walk["4.weight.gradient"].formula == "dL/dW = x^T dy"
    assert walk["4.delta"].formula == "dL/dx = dy * dy/dx,  dy/dx = y (1 - y)"
    assert walk["0.weight"].formula.endswith("p <- p - learning_rate g")
    assert walk["2.output"].by == "layer 2, Dense(4, 8)"


def test_a_last_activation_that_the_loss_takes_in():
    net = network()
    walk = check(net, X, Y, "bce", "sgd")
    assert same(walk["5.output"].value, net.predict(X, compile=False))
    assert "5.delta" not in walk
    np.testing.assert_allclose(walk["4.delta"].value, (net.predict(X) - Y) / len(X), rtol=1e-10, atol=1e-16)
    assert "the loss takes its input z" in walk["5.output"].formula


@dataclass(frozen=True)
class Gate(xpnn.Layer):
    """y = g x, with g learned.

    Backward: dL/dx = g dy,  dL/dg = the sum of x dy.
    """

    features: int

    def init(self, rng):
        return {"gain": rng.uniform(0.5, 1.5, self.features)}

    def forward(self, params, x, *, xp, step=None):
        return x * params["gain"][..., None, :], x

    def backward(self, params, x, dy, *, xp):
        return dy * params["gain"][..., None, :], {"gain": xp.sum(x * dy, axis=-2)}


@dataclass(frozen=True)
class Silent(Gate):
    def forward(self, params, x, *, xp, step=None):
        return x * params["gain"][..., None, :], x


@dataclass(frozen=True)
class Both(layers.Container):
    """y = first(x) + second(x), of two fields instead of a list."""

    first: xpnn.Layer
    second: xpnn.Layer

    @property
    def children(self):
        return self.first, self.second

    def forward(self, params, x, *, xp, step=None):
        parts = [
            layer.forward(params[i], x, xp=xp, step=None if step is None else step.child(i))
            for i, layer in enumerate(self.children)
        ]
        return parts[0][0] + parts[1][0], [cache for _, cache in parts]

    def backward(self, params, caches, dy, *, xp):
        found = [layer.backward(params[i], caches[i], dy, xp=xp) for i, layer in enumerate(self.children)]
        return found[0][0] + found[1][0], [grads for _, grads in found]


@dataclass(frozen=True)
class Made(Both):
    """y = first(x) + second(x), its children made anew whenever somebody asks."""

    first: xpnn.Layer = field(default=None, init=False)  # type: ignore[assignment]
    second: xpnn.Layer = field(default=None, init=False)  # type: ignore[assignment]

    @property
    def children(self):
        return Gate(3), Gate(3)


def squares(prediction, target, *, xp, weight=None):
    """l = the sum of (p - t)^2; dl/dp = 2 (p - t)."""
    error = prediction - target
    return xp.sum(error * error, axis=(-2, -1)), 2.0 * error


def test_pieces_of_ones_own():
    walk = check(Network([Gate(3), Dense(3, 2)]), ROWS, TARGETS, squares)
    assert walk["0.output"].formula == "y = g x, with g learned"
    assert walk["0.gain.gradient"].formula == "dL/dg = the sum of x dy"
    assert walk["loss"].formula == "l = the sum of (p - t)^2" and walk["loss"].by == "squares"
    assert walk["1.delta"].formula == "dl/dp = 2 (p - t)"


def test_a_layer_that_says_nothing_is_not_taken_for_its_base():
    walk = check(Network([Silent(3), Dense(3, 2)]), ROWS, TARGETS)
    assert walk["0.output"].formula == "as Silent(3) computes it"
    assert walk["0.gain.gradient"].formula == "as the backward of Silent(3) computes it"


def test_a_container_of_ones_own_and_one_layer_at_two_places():
    gate = Gate(3)
    walk = check(Network([Both(gate, layers.Residual((gate, gate))), gate, Dense(3, 2)]), ROWS, TARGETS)
    for label in ("0.0", "0.1", "0.1.0", "0.1.1", "1"):
        assert f"{label}.output" in walk and f"{label}.delta" in walk
    assert walk.names.count("0.1.1.gain.gradient") == 1


@dataclass(frozen=True)
class Twice(layers.Residual):
    """y = f(f(x)): one set of weights at two places."""

    def forward(self, params, x, *, xp, step=None):
        (layer,) = self.layers
        middle, first = layer.forward(params[0], x, xp=xp)
        y, second = layer.forward(params[0], middle, xp=xp)
        return y, (first, second)

    def backward(self, params, caches, dy, *, xp):
        (layer,) = self.layers
        dy, second = layer.backward(params[0], caches[1], dy, xp=xp)
        dx, first = layer.backward(params[0], caches[0], dy, xp=xp)
        return dx, [{name: first[name] + second[name] for name in first}]

    def gradients(self, params, caches, dy, *, xp):
        return self.backward(params, caches, dy, xp=xp)[1]

    def update_state(self, params, caches, *, xp):
        return [{}]


def test_one_set_of_weights_at_two_places():
    walk = check(Network([Twice((Dense(3, 3),)), Dense(3, 2)]), ROWS, TARGETS)
    parts = [one.value for one in walk if one.name == "0.0.weight.part_of_gradient"]
    assert len(parts) == 2 and walk.names.count("0.0.output") == walk.names.count("0.0.delta") == 2
    np.testing.assert_allclose(walk["0.0.weight.gradient"].value, parts[0] + parts[1], rtol=1e-6)


@dataclass(frozen=True)
class TwoLetters(Gate):
    """y = w W x"""

    def init(self, rng):
        return {"w": np.asarray([2.0]), "W": np.asarray([3.0])}

    def forward(self, params, x, *, xp, step=None):
        return x * params["w"][..., None, :] * params["W"][..., None, :], x

    def backward(self, params, x, dy, *, xp):
        total = xp.sum(x * dy, axis=(-2, -1))[..., None]
        return dy * params["w"][..., None, :] * params["W"][..., None, :], {
            "w": total * params["W"],
            "W": total * params["w"],
        }


def test_names_that_differ_by_case_alone():
    walk = check(Network([TwoLetters(3), Dense(3, 2)]), ROWS, TARGETS)
    assert float(walk["0.w"].before[0]) == 2.0 and float(walk["0.W"].before[0]) == 3.0


def test_children_that_cannot_be_watched_are_within_their_container():
    walk = Network([Made(), Dense(3, 2)]).trace_step(ROWS, TARGETS)
    assert "0.output" in walk and "0.0.output" not in walk
    assert walk["0.1.gain.gradient"].shape == (3,)


def test_values_are_copies():
    net, x = Network(xpnn.mlp([3, 2])), ROWS.astype("float32").copy()
    walk = net.trace_step(x, TARGETS, optimizer="sgd")
    kept = host([[one.value, *([] if one.before is None else [one.before])] for one in walk])
    x[...] = 7.0
    net.fit(ROWS, TARGETS, epochs=3)
    assert same(kept, [[one.value, *([] if one.before is None else [one.before])] for one in walk])


def test_a_walk_is_a_sequence():
    walk = Network(xpnn.mlp([3, 2])).trace_step(ROWS, TARGETS)
    assert walk[0].name == "x" and walk[-1].name == "0.bias" and len(walk) == len(list(walk)) == len(walk.names)
    assert list(walk) == [*walk.forward, *walk.loss, *walk.backward, *walk.update]
    with pytest.raises(ValueError, match=r"unknown value '0.weigth': did you mean '0.weight'"):
        walk["0.weigth"]


@pytest.mark.parametrize(
    "x, y, message",
    [(ROWS[:, :2], TARGETS, "expects x of shape"), (ROWS, TARGETS[:, :1], "y must be"), (ROWS, TARGETS[:5], "12 rows")],
)
def test_unusable_arguments(x, y, message):
    with pytest.raises(ValueError, match=message):
        Network(xpnn.mlp([3, 2])).trace_step(x, y)
