"""Pictures: they show the numbers, nothing is cut off in light or dark, and bad input is named."""

from types import SimpleNamespace

import numpy as np
import pytest

import xpnn
from xpnn import Network, mlp, plotting

plt = pytest.importorskip("matplotlib.pyplot")
RNG = np.random.default_rng(0)
X, Y = xpnn.datasets.circles(60)
FOUR, CLASSES = RNG.normal(size=(40, 4)), np.arange(40) % 3
NET = Network(mlp([2, 6, 1], "tanh", "sigmoid", dropout=0.1), seed=1)
THREE = Network(mlp([4, 30, 3], output="softmax"), seed=1)
SEARCH = SimpleNamespace(
    cv_results_={
        "params": [{"rate": r, "alpha": a, "kind": "k"} for r in (1e-4, 1e-3, 1e-2) for a in (0.1, 0.2)],
        "mean_test_score": np.asarray([0.1, 0.2, 0.6, 0.5, np.nan, 0.3]),
        "std_test_score": np.full(6, 0.05),
    }
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def history(members=None):
    net = Network(mlp([2, 6, 1], output="sigmoid"), members=members, seed=1)
    stop = xpnn.EarlyStopping(patience=2)
    return net.fit(X, Y, "bce", xpnn.Adam(0.1), epochs=12, validation_split=0.3, metrics=["accuracy"], callbacks=[stop])


PICTURES = {
    "activation": lambda: plotting.plot_activation("relu"),
    "activations": lambda: plotting.plot_activation(["relu", xpnn.ELU(0.5), "softmax", "prelu"]),
    "history": lambda: plotting.plot_history(history()),
    "history of a stack": lambda: plotting.plot_history(history(3)),
    "points": lambda: plotting.plot_points(X, Y),
    "boundary": lambda: plotting.plot_decision_boundary(NET, X, Y, points=20),
    "boundary of logits": lambda: plotting.plot_decision_boundary(Network(mlp([2, 3, 1])), X, Y, points=20),
    "boundary of classes": lambda: plotting.plot_decision_boundary(THREE, FOUR, CLASSES, points=20, features=(0, 3)),
    "network": lambda: plotting.plot_network(NET),
    "large network": lambda: plotting.plot_network(THREE),
    "weights": lambda: plotting.plot_weights(THREE, -2),
    "weights as images": lambda: plotting.plot_weights(THREE, image_shape=(2, 2), count=7),
    "predictions": lambda: plotting.plot_predictions(FOUR[:, 0], FOUR[:, 1], unit="mm"),
    "intervals": lambda: plotting.plot_predictions(FOUR[:, 0], FOUR[:, 1], FOUR[:, [1]] + [-1.0, 1.0]),
    "confusion": lambda: plotting.plot_confusion(CLASSES, CLASSES[::-1].copy(), ["first class", "second", "third"]),
    "search": lambda: plotting.plot_search(SEARCH),
    "search over one": lambda: plotting.plot_search(SEARCH, "rate"),
    "search over words": lambda: plotting.plot_search(SEARCH, ["kind"]),
    "gradient flow": lambda: plotting.plot_gradient_flow(NET, X, Y, loss="bce"),
}


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("name", PICTURES)
def test_nothing_is_cut_off(name, style):
    with plt.style.context(style):
        ax = PICTURES[name]()
        figure = ax.figure
        figure.canvas.draw()
        drawn, (width, height) = figure.get_tightbbox(figure.canvas.get_renderer()), figure.get_size_inches()
        assert drawn.x0 > -0.02 and drawn.y0 > -0.02 and drawn.x1 < width + 0.02 and drawn.y1 < height + 0.02, drawn
        if ax.axison and "activation" not in name:
            assert ax.get_xlabel() or "images" in name


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_drawn_where_they_are_asked_for(name, monkeypatch):
    own = plt.subplots(figsize=(6, 5))[1]
    monkeypatch.setattr(plt, "subplots", None)
    functions = {part: getattr(plotting, part) for part in plotting.__all__ if part.startswith("plot_")}
    for part, function in functions.items():
        monkeypatch.setattr(plotting, part, lambda *a, _f=function, **o: _f(*a, **o, ax=own), raising=False)
    assert PICTURES[name]() is own


def test_an_activation_beside_its_derivative():
    ax = plotting.plot_activation("tanh", span=2.0)
    _, value, slope = ax.lines
    x = value.get_xdata()
    assert np.allclose(value.get_ydata(), np.tanh(x)) and np.allclose(slope.get_ydata(), 1.0 - np.tanh(x) ** 2)
    assert slope.get_linestyle() == "--" and x.min() == -2.0
    with pytest.raises(ValueError, match="name at least one"):
        plotting.plot_activation()


def test_a_history_with_the_epoch_that_was_kept():
    found = history()
    ax = plotting.plot_history(found, ("loss", "val_loss"))
    lines = {line.get_label(): line for line in ax.lines}
    assert np.allclose(lines["val_loss"].get_ydata(), found["val_loss"]) and lines["val_loss"].get_linestyle() == "--"
    assert lines["loss"].get_color() == lines["val_loss"].get_color()
    assert lines["weights kept"].get_xdata() == [found.best_epoch + 1] * 2
    with pytest.raises(KeyError, match="'nothing' was not recorded"):
        plotting.plot_history(found, ("nothing",))
    stack = history(3)
    ax = plotting.plot_history(stack, ("val_loss",))
    assert np.allclose(ax.lines[0].get_ydata(), np.nanmedian(np.asarray(stack["val_loss"]), axis=1))


def test_a_boundary_lies_at_one_half_or_at_zero():
    seen = {}

    class Seen:
        def __init__(self, ax):
            self.ax = ax

        def __getattr__(self, name):
            return getattr(self.ax, name)

        def contour(self, *args, **options):
            seen["level"] = options["levels"]
            return self.ax.contour(*args, **options)

    for net, level in ((NET, [0.5]), (Network(mlp([2, 3, 1])), [0.0])):
        plotting.plot_decision_boundary(net, X, Y, points=30, ax=Seen(plt.subplots()[1]))
        assert seen.pop("level", level) == level


def test_a_large_layer_is_summarised():
    ax = plotting.plot_network(THREE)
    circles = [len(one.get_offsets()) for one in ax.collections if hasattr(one, "get_sizes") and len(one.get_sizes())]
    assert circles == [4, 12, 3]
    assert "30\nDense\nReLU" in [text.get_text() for text in ax.texts]


def test_weights_as_images_have_the_weights():
    ax = plotting.plot_weights(THREE, image_shape=(2, 2), count=4)
    picture = np.asarray(ax.images[0].get_array().filled(np.nan))
    weight = THREE.weights[0]
    assert np.allclose(picture[:2, :2], weight[:, 0].reshape(2, 2))
    assert np.allclose(picture[3:, 3:], weight[:, 3].reshape(2, 2)) and np.isnan(picture[2]).all()


def test_a_confusion_counts():
    ax = plotting.plot_confusion(np.asarray(["a", "b", "b"]), np.asarray(["a", "a", "b"]))
    assert [text.get_text() for text in ax.texts] == ["1", "0", "1", "1"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b"]
    outputs = np.asarray([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert [text.get_text() for text in plotting.plot_confusion([0, 1, 1], outputs).texts] == ["1", "0", "1", "1"]
    ax = plotting.plot_confusion([0, 1, 1], np.asarray([[0.4], [0.6], [0.1]]))
    assert [text.get_text() for text in ax.texts] == ["1", "0", "1", "1"]


def test_a_search_shows_the_best_of_each_setting():
    ax = plotting.plot_search(SEARCH)
    texts = [text.get_text() for text in ax.texts]
    assert "* 0.600" in texts and len(texts) == 5  # one has no score
    ax = plotting.plot_search(SEARCH, "rate")
    assert ax.get_xscale() == "log" and np.allclose(ax.lines[0].get_ydata(), [0.2, 0.6, 0.3])
    with pytest.raises(ValueError, match=r"'wrong' was not searched; there are \['rate', 'alpha', 'kind'\]"):
        plotting.plot_search(SEARCH, "wrong")
    with pytest.raises(ValueError, match="search must be fitted"):
        plotting.plot_search(SimpleNamespace())


def test_gradients_are_those_of_the_network():
    _, grads = NET.value_and_grad(X, Y, loss="bce")
    ax = plotting.plot_gradient_flow(NET, X, Y, loss="bce")
    wanted = [np.sqrt(np.mean(np.square(one, dtype=float))) for layer in grads for one in layer.values()]
    assert np.allclose([bar.get_height() for bar in ax.containers[0]], wanted, rtol=1e-5)


def test_bad_input_is_named():
    stack = Network(mlp([2, 1]), members=2)
    for call, message in (
        (lambda: plotting.plot_network(stack), r"take one of them, net\[k\]"),
        (lambda: plotting.plot_weights(stack), r"take one of them, net\[k\]"),
        (lambda: plotting.plot_decision_boundary(stack, X, Y), r"take one of them, net\[k\]"),
        (lambda: plotting.plot_gradient_flow(stack, X, Y), r"take one of them, net\[k\]"),
        (lambda: plotting.plot_decision_boundary(THREE, FOUR, CLASSES), r"features=\(0, 3\) choose two"),
        (lambda: plotting.plot_decision_boundary(THREE, FOUR, CLASSES, features=(0, 9)), "from 0 to 3"),
        (lambda: plotting.plot_weights(NET, 1), r"layer 1, has no weight matrix: layers \[0, 3\] have one"),
        (lambda: plotting.plot_weights(NET, 9), "layer must be from 0 to 4, got 9"),
        (lambda: plotting.plot_weights(NET, 0, (3, 3)), "image_shape must have 2 pixels"),
        (lambda: plotting.plot_predictions([1.0], [1.0, 2.0]), "an entry for each target, got 2 for 1"),
        (lambda: plotting.plot_predictions([1.0], [1.0], [[1.0]]), r"interval must have shape \(1, 2\), got \(1, 1\)"),
        (lambda: plotting.plot_predictions(np.ones((2, 2)), [1.0]), r"target must be \(n,\) or \(n, 1\)"),
        (lambda: plotting.plot_confusion([0, 1], [0]), r"must be \(n,\) classes"),
        (lambda: plotting.plot_confusion([0, 1], [0, 1], ["a"]), "names must be 2"),
        (lambda: plotting.plot_points(FOUR, CLASSES), r"x must be \(n, 2\)"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            call()


def test_without_matplotlib_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'plotting needs matplotlib: pip install "xpnn\[plot\]"'):
        plotting.plot_points(X, Y)
