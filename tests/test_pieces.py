"""The smaller pieces: the flat vector, erf, data sets, pictures and checks of a user's own."""

import gzip

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special

import xpnn
from xpnn import plotting, special
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
