"""The smaller pieces: the flat vector, schedules, initializers, erf, data sets, pictures and `python -m xpnn`."""

import gzip
import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special

import xpnn
from tests.tables import SCHEDULES
from xpnn import initializers, plotting, schedules, special
from xpnn.parameters import Layout
from xpnn.testing import assert_close, check_gradients

SHAPES = st.lists(st.integers(1, 4), max_size=2).map(tuple)


@hypothesis.given(shapes=st.lists(SHAPES, min_size=1, max_size=5), members=st.sampled_from([(), (1,), (3,)]))
def test_flatten_undoes_unflatten(shapes, members):
    layout = Layout([{"weight": np.zeros(shape)} for shape in shapes])
    vector = np.arange(float(np.prod(members, dtype=int) * layout.size)).reshape(*members, layout.size)
    tree = layout.unflatten(vector, xp=np)
    assert all(np.shares_memory(layer["weight"], vector) for layer in tree)
    assert [layer["weight"].shape for layer in tree] == [(*members, *shape) for shape in shapes]
    assert (layout.flatten(tree, xp=np) == vector).all()


def test_the_vector_is_viewed_and_written_back_on_every_backend(backend):
    layout = Layout([{"weight": np.zeros((2, 3)), "bias": np.zeros(3)}, [{"weight": np.zeros((3, 1))}]])
    vector = backend.asarray(np.arange(24.0).reshape(2, 12))
    tree = layout.unflatten(vector, xp=backend.xp)
    assert_close(layout.flatten(tree, xp=backend.xp), vector)
    assert tree[1][0]["weight"].shape == (2, 3, 1)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_schedules_start_at_their_initial_value_and_never_rise(schedule):
    values = [schedule(step) for step in range(100)]
    assert values[0] == 0.1
    assert all(0 < later <= earlier for earlier, later in itertools.pairwise(values))


def test_schedules_by_formula_and_by_member():
    assert schedules.ExponentialDecay([1.0, 2.0], rate=0.5, steps=2)(4) == (0.25, 0.5)
    assert schedules.InverseTimeDecay(1.0, rate=3.0, steps=10)(10) == 0.25
    assert schedules.values("rate", schedules.Constant([1, 2]), range(2), 2) == [[1.0, 2.0]] * 2


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: schedules.ExponentialDecay(-1.0, 0.5, 1), "initial must be >= 0, got -1"),
        (lambda: schedules.ExponentialDecay(1.0, 1.5, 1), "rate must be > 0 and <= 1, got 1.5"),
        (lambda: schedules.InverseTimeDecay(1.0, 0.5, 0), "steps must be > 0, got 0"),
        (
            lambda: schedules.values("learning_rate", (0.1, 0.2), range(1), 3),
            "one value for each of the 3 members, got 2",
        ),
        (lambda: schedules.values("learning_rate", (0.1, 0.2), range(1), None), "no stack of members"),
        (
            lambda: schedules.values("learning_rate", lambda step: -1.0, range(1), None),
            "schedule's learning_rate must be",
        ),
    ],
)
def test_wrong_schedules_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "name, deviation",
    [
        ("glorot_uniform", np.sqrt(2 / 700)),
        ("glorot_normal", np.sqrt(2 / 700)),
        ("he_uniform", np.sqrt(2 / 400)),
        ("he_normal", np.sqrt(2 / 400)),
        ("zeros", 0.0),
        ("constant", 0.0),
    ],
)
def test_initializers_have_the_published_spread(name, deviation):
    values = initializers.get(name)(np.random.default_rng(0), (400, 300), fan_in=400, fan_out=300)
    assert values.shape == (400, 300)
    assert abs(values.mean()) < 5e-4
    assert values.std() == pytest.approx(deviation, rel=0.01)
    if "uniform" in name:
        assert np.abs(values).max() <= deviation * np.sqrt(3)


def test_an_initializer_may_be_a_plain_function():
    layer = xpnn.Dense(2, 3, weight_init=lambda rng, shape, *, fan_in, fan_out: np.full(shape, fan_in))
    assert (layer.init(np.random.default_rng(0))["weight"] == 2).all()


def test_erf_on_every_backend(backend, tolerance):
    x = np.concatenate([np.linspace(-6, 6, 1001), [0.0, 1e-8, -30.0, np.inf, -np.inf]])
    found = special.erf(backend.asarray(x), xp=backend.xp)
    np.testing.assert_allclose(backend.to_host(found), scipy.special.erf(x), rtol=tolerance, atol=tolerance)


def test_erfs_fallback_is_good_to_1e_14():
    x = np.linspace(-7, 7, 100_001)
    assert np.abs(special.erf_fallback(x, xp=np) - scipy.special.erf(x)).max() < 1e-14
    assert np.isnan(special.erf_fallback(np.asarray([np.nan]), xp=np)).all()


def test_read_idx(tmp_path):
    values = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    header = b"\x00\x00\x08\x03" + np.asarray([1, 2, 3], dtype=">u4").tobytes()
    with gzip.open(tmp_path / "digits.gz", "wb") as file:
        file.write(header + values.tobytes())
    assert (xpnn.datasets.read_idx(tmp_path / "digits.gz") == values).all()
    (tmp_path / "short").write_bytes(header + b"\x01")
    with pytest.raises(ValueError, match="says that it holds 6 values, but holds 1"):
        xpnn.datasets.read_idx(tmp_path / "short")
    (tmp_path / "text").write_bytes(b"hello")
    with pytest.raises(ValueError, match="is no idx file"):
        xpnn.datasets.read_idx(tmp_path / "text")


@pytest.mark.parametrize("arguments", [{"n": 0}, {"n": 1.5}, {"radii": (1.0,)}, {"radii": (1.0, -1.0)}])
def test_circles_refuses_what_it_cannot_draw(arguments):
    with pytest.raises((ValueError, TypeError), match=next(iter(arguments))):
        xpnn.datasets.circles(**arguments)


def test_pictures(tmp_path):
    import matplotlib.pyplot as plt

    x, y = xpnn.datasets.circles(20)
    net = xpnn.Network(xpnn.mlp([2, 4, 1], output="sigmoid"), members=None)
    history = net.fit(x, y, epochs=3, validation_data=(x, y))
    stack = xpnn.Network(xpnn.mlp([2, 4, 1]), members=3).fit(x, y, epochs=3)
    for ax in (
        history.plot(),
        plotting.plot_history(stack),
        plotting.plot_points(x, y),
        plotting.plot_decision_boundary(net, x, y, points=20),
    ):
        ax.figure.savefig(tmp_path / "figure.png")
        assert ax.get_xlabel()
        assert ax.get_legend() is not None
    own = plt.subplots()[1]
    assert plotting.plot_activation("tanh", ax=own) is own
    plt.close("all")
    with pytest.raises(ValueError, match=r"x must be \(n, 2\)"):
        plotting.plot_decision_boundary(net, np.zeros((3, 3)), y)


def test_a_wrong_gradient_is_caught():
    class Wrong(xpnn.layers.Dense):
        def gradients(self, params, x, dy, *, xp):
            found = super().gradients(params, x, dy, xp=xp)
            return found | {"bias": xp.mean(dy, axis=-2)}  # the tutorial's slip

    with pytest.raises(AssertionError, match=r"gradient of bias is off"):
        check_gradients(Wrong(3, 2), np.random.default_rng(0).normal(size=(4, 3)))


@pytest.mark.parametrize(
    "other, what",
    [(np.float32([1.0]), "dtype"), (np.asarray([[1.0]]), "shape"), (np.asarray([1.1]), "Not equal to tolerance")],
)
def test_assert_close_looks_at_the_kind_before_the_values(other, what):
    with pytest.raises(AssertionError, match=what):
        assert_close(np.asarray([1.0]), other)
