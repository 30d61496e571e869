"""Pictures: they show the numbers, nothing is cut off in light or dark, and bad input is named."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import xpnn
from xpnn import Network, mlp, plotting

plt = pytest.importorskip("matplotlib.pyplot")
matplotlib = pytest.importorskip("matplotlib")
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
DRAWN = SimpleNamespace(  # at random: no two candidates share a value
    cv_results_={
        "params": [{"rate": 10.0**-k, "net__alpha": float(k * k)} for k in range(1, 9)],
        "mean_test_score": np.asarray([0.1, 0.2, 0.9, 0.5, np.nan, 0.3, 0.2, 0.1]),
        "std_test_score": np.full(8, 0.05),
    }
)
PIXELS = Network([xpnn.Flatten((5, 6)), xpnn.Sequential([xpnn.Dense(30, 4), xpnn.Tanh()]), xpnn.Dense(4, 2)], seed=1)
STEPS = [NET.value_and_grad(X[k:], Y[k:], loss="bce")[1] for k in range(3)]
MANY = np.arange(120) % 40


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
    "many activations": lambda: plotting.plot_activation("relu", "gelu", "tanh", "elu", "silu", "softplus", "mish"),
    "history": lambda: plotting.plot_history(history()),
    "history of one epoch": lambda: plotting.plot_history({"loss": [0.5], "mae": [0.1]}),
    "history of a stack": lambda: plotting.plot_history(history(3)),
    "points": lambda: plotting.plot_points(X, Y),
    "boundary": lambda: plotting.plot_decision_boundary(NET, X, Y, points=20),
    "boundary of logits": lambda: plotting.plot_decision_boundary(Network(mlp([2, 3, 1])), X, Y, points=20),
    "boundary of classes": lambda: plotting.plot_decision_boundary(THREE, FOUR, CLASSES, points=20, features=(0, 3)),
    "network": lambda: plotting.plot_network(NET),
    "large network": lambda: plotting.plot_network(THREE),
    "network of images": lambda: plotting.plot_network(PIXELS),
    "all weights": lambda: plotting.plot_weights(PIXELS),
    "many weights": lambda: plotting.plot_weights(Network(mlp([3, 40, 1, 5, 5]))),
    "weights": lambda: plotting.plot_weights(THREE, -2),
    "weights as images": lambda: plotting.plot_weights(THREE, image_shape=(2, 2), count=7),
    "predictions": lambda: plotting.plot_predictions(FOUR[:, 0], FOUR[:, 1], unit="mm"),
    "intervals": lambda: plotting.plot_predictions(FOUR[:, 0], FOUR[:, 1], FOUR[:, [1]] + [-1.0, 1.0]),
    "confusion": lambda: plotting.plot_confusion(CLASSES, CLASSES[::-1].copy(), ["first class", "second", "third"]),
    "confusion of many": lambda: plotting.plot_confusion(MANY, MANY),
    "search": lambda: plotting.plot_search(SEARCH),
    "search over one": lambda: plotting.plot_search(SEARCH, "rate"),
    "search over words": lambda: plotting.plot_search(SEARCH, ["kind"]),
    "drawn search": lambda: plotting.plot_search(DRAWN),
    "gradients over steps": lambda: plotting.plot_gradient_flow(NET, grads=STEPS),
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
        assert ax.get_xlabel() or "images" in name or not ax.axison


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
    softmax = plotting.plot_activation("softmax", span=2.0).lines[1].get_ydata()
    assert np.allclose(softmax, 1.0 / (1.0 + np.exp(-x)))


def test_no_two_curves_differ_in_colour_alone():
    names = ("relu", "gelu", "tanh", "elu", "silu", "softplus", "mish")
    for ax in (plotting.plot_activation(*names), plotting.plot_history({"loss": [2, 1], "mae": [3, 2], "r2": [4, 3]})):
        looks = [(line.get_marker(), line.get_linestyle()) for line in ax.lines if line.get_label()[0] != "_"]
        assert len(set(looks)) >= min(len(looks), len(plotting.base.MARKERS))


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
    found = np.asarray(stack["val_loss"])
    assert np.allclose(ax.lines[0].get_ydata(), np.nanmedian(found, axis=1))
    band = ax.collections[0].get_datalim(ax.transData)
    assert np.allclose((band.y0, band.y1), (np.nanmin(found), np.nanmax(found)))


def test_members_that_stopped_early_leave_the_median():
    loss = [np.asarray([1.0, 3.0]), np.asarray([np.nan, 2.0]), np.asarray([np.nan, np.nan])]
    ax = plotting.plot_history({"loss": loss}, "loss")
    assert ax.lines[0].get_xdata().tolist() == [1, 2] and ax.lines[0].get_ydata().tolist() == [2.0, 2.0]


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
    labels = [text.get_text() for text in plotting.plot_network(PIXELS).texts]
    assert labels == ["30\n5 x 6\ninput\nFlatten", "4\nDense\nTanh", "2\nDense"]


def test_lines_of_a_network_have_the_signs_and_sizes_of_its_weights():
    net = Network([xpnn.Dense(2, 2)])
    net.params = [{"weight": np.asarray([[2.0, -1.0], [0.0, -0.5]]), "bias": np.zeros(2)}]
    for style, (blue, orange) in (("default", (0, 1)), ("dark_background", (5, 4))):
        with plt.style.context(style):
            positive, negative = plotting.plot_network(net).collections[:2]
        assert len(positive.get_segments()) == 1 and len(negative.get_segments()) == 2
        assert np.allclose(positive.get_linewidths(), 2.0) and np.allclose(negative.get_linewidths(), (1.2, 0.8))
        for lines, colour in ((positive, blue), (negative, orange)):
            assert np.allclose(lines.get_color()[0][:3], matplotlib.colors.to_rgb(plotting.COLOURS[colour]))


def test_weights_as_images_have_the_weights():
    ax = plotting.plot_weights(THREE, image_shape=(2, 2), count=4)
    picture = np.asarray(ax.images[0].get_array().filled(np.nan))
    weight = THREE.weights[0]
    assert np.allclose(picture[:2, :2], weight[:, 0].reshape(2, 2))
    assert np.allclose(picture[3:, 3:], weight[:, 3].reshape(2, 2)) and np.isnan(picture[2]).all()


def test_every_weight_matrix_is_on_its_own_scale():
    ax = plotting.plot_weights(PIXELS)
    for inner, weight in zip(ax.child_axes, PIXELS.weights, strict=True):
        (image,), far = inner.images, np.abs(weight).max()
        assert np.allclose(image.get_array(), weight) and np.allclose(image.get_clim(), (-far, far))
        assert inner.get_title().endswith(f"largest {far:.2g}")
    assert plotting.plot_weights(PIXELS, 1).images[0].get_array().shape == (30, 4)


def test_a_network_that_diverged_can_be_drawn():
    net = Network(mlp([2, 3, 1]))
    params = net.params
    params[0]["weight"][0, 0], params[2]["weight"][1, 0] = np.nan, np.inf
    net.params = params
    for draw in (plotting.plot_network, plotting.plot_weights, lambda net: plotting.plot_weights(net, 0, (1, 2))):
        draw(net).figure.canvas.draw()
    plotting.plot_gradient_flow(net, grads=[params] * 2).figure.canvas.draw()
    ax = plotting.plot_gradient_flow(net, grads=params)
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == ["0.weight (not finite)", "0.bias", "2.weight (not finite)", "2.bias"]


def test_intervals_need_not_hold_their_prediction():
    ax = plotting.plot_predictions([1.0, 2.0], [5.0, 2.5], [[0.0, 2.0], [3.0, 4.0]])
    bars = [one.get_segments()[0][:, 1].tolist() for one in ax.collections]
    assert bars == [[0.0, 2.0], [3.0, 4.0]]
    points = [(line.get_xdata()[0], line.get_ydata()[0], line.get_marker()) for line in ax.lines[:2]]
    assert points == [(1.0, 5.0, "o"), (2.0, 2.5, "^")]
    assert ax.get_title().startswith("50.0 %")


def test_a_confusion_counts():
    ax = plotting.plot_confusion(np.asarray(["a", "b", "b"]), np.asarray(["a", "a", "b"]))
    cells = ["1\n100 %", "0", "1\n50 %", "1\n50 %"]
    assert [text.get_text() for text in ax.texts] == cells
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b"]
    outputs = np.asarray([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert [text.get_text() for text in plotting.plot_confusion([0, 1, 1], outputs).texts] == cells
    ax = plotting.plot_confusion([0, 1, 1], np.asarray([[0.4], [0.6], [0.1]]))
    assert [text.get_text() for text in ax.texts] == cells


def test_a_confusion_has_classes_that_do_not_occur():
    ax = plotting.plot_confusion([2, 0], [0, 0], names=["a", "b", "c"])
    assert np.allclose(ax.images[0].get_array(), [[1, 0, 0], [0, 0, 0], [1, 0, 0]])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]
    assert plotting.plot_confusion([0, 1], np.eye(4)[:2]).images[0].get_array().shape == (4, 4)
    assert plotting.plot_confusion([0, 5], [5, 5]).images[0].get_array().shape == (2, 2)


def test_a_search_shows_the_best_of_each_setting():
    ax = plotting.plot_search(SEARCH)
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["0.100", "0.200", "$\\bigstar$\n0.600", "0.500", "0.300"]  # one has no score
    ax = plotting.plot_search(SEARCH, "rate")
    assert ax.get_xscale() == "log" and np.allclose(ax.lines[0].get_ydata(), [0.2, 0.6, 0.3])
    assert ax.lines[1].get_xdata() == [1e-3] and ax.lines[1].get_label() == "best"
    ax = plotting.plot_search(DRAWN)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale(), ax.get_yscale()) == ("alpha", "rate", "log", "log")
    assert len(ax.collections[0].get_offsets()) == 7 and ax.lines[0].get_xydata().tolist() == [[9.0, 1e-3]]


def test_a_search_by_several_metrics_or_halving_shows_what_decided():
    params = [{"rate": 0.1}, {"rate": 0.2}]
    found = {f"{kind}_test_{name}": [k, 1.0 - k] for kind in ("mean", "std") for k, name in enumerate(("f1", "r2"))}
    ax = plotting.plot_search(SimpleNamespace(cv_results_={"params": params, **found}, refit="r2"))
    assert ax.get_ylabel() == "mean r2 of the folds" and ax.lines[0].get_ydata().tolist() == [1.0, 0.0]
    rounds = {"params": [*params, params[0]], "n_resources": [1, 1, 3]}
    scores = {"mean_test_score": [0.9, 0.2, 0.5], "std_test_score": [0.0] * 3}
    ax = plotting.plot_search(SimpleNamespace(cv_results_=rounds | scores))
    assert ax.lines[0].get_ydata().tolist() == [0.5, 0.2]


def test_gradients_are_those_of_the_network():
    _, grads = NET.value_and_grad(X, Y, loss="bce")
    ax = plotting.plot_gradient_flow(NET, X, Y, loss="bce")
    wanted = [np.sqrt(np.mean(np.square(one, dtype=float))) for layer in grads for one in layer.values()]
    assert np.allclose([bar.get_height() for bar in ax.containers[0]], wanted, rtol=1e-5)
    size = np.sqrt(np.mean(np.square(NET.weights[0], dtype=float)))
    assert ax.texts[0].get_text() == f"{wanted[0] / size:.2g}"
    again = plotting.plot_gradient_flow(NET, grads=grads)
    assert [bar.get_height() for bar in again.containers[0]] == [bar.get_height() for bar in ax.containers[0]]
    ax = plotting.plot_gradient_flow(NET, grads=STEPS)
    assert [line.get_label() for line in ax.lines] == ["0.weight", "3.weight"]
    assert np.allclose(ax.lines[0].get_ydata()[0], wanted[0], rtol=1e-5) and len(ax.lines[1].get_ydata()) == 3


def test_gradients_of_nested_layers_are_not_taken_for_steps():
    net = Network([xpnn.Residual([xpnn.Dense(2, 2)]), xpnn.Dense(2, 1)])
    _, grads = net.value_and_grad(X, Y)
    assert len(plotting.plot_gradient_flow(net, grads=grads).containers[0]) == 4
    assert len(plotting.plot_gradient_flow(net, grads=[grads] * 3).lines) == 2


def test_bad_input_is_named():
    stack = Network(mlp([2, 1]), members=2)
    several = plt.subplots(1, 2)[1]
    estimator = SimpleNamespace(get_params=None)
    unscored = SimpleNamespace(cv_results_=SEARCH.cv_results_ | {"mean_test_score": np.full(6, np.nan)})
    for call, message in (
        (lambda: plotting.plot_activation(), "activation must be one or several, got none"),
        (lambda: plotting.plot_activation("rellu"), "unknown activation 'rellu': did you mean"),
        (lambda: plotting.plot_activation("relu", span=0.0), "span must be > 0"),
        (
            lambda: plotting.plot_activation("relu", ax=several),
            "one matplotlib Axes, got a ndarray of several: take one",
        ),
        (lambda: plotting.plot_history({"loss": [1.0]}, "nothing"), "'nothing' was not recorded; there are"),
        (lambda: plotting.plot_history({"loss": []}), r"history must have epochs to draw, got none for \['loss'\]"),
        (
            lambda: plotting.plot_history(estimator),
            r"history must be what fit gives.*: take \{\"loss\": its loss_curve_\}",
        ),
        (lambda: plotting.plot_network(estimator), "net must be a Network, got SimpleNamespace: take its network_"),
        (lambda: plotting.plot_weights(Network([xpnn.LayerNorm(2)])), "net has no layer with a weight matrix"),
        (lambda: plotting.plot_weights(NET, image_shape=2), r"image_shape must be rows and columns, as in \(28, 28\)"),
        (lambda: plotting.plot_weights(NET, image_shape=(1, 2), count=0), "count must be >= 1, got 0"),
        (lambda: plotting.plot_decision_boundary(NET, X, Y, points=1), "points must be >= 2, got 1"),
        (lambda: plotting.plot_points(X, Y[1:]), "y must have a class for each row of x"),
        (lambda: plotting.plot_predictions([], []), r"target must be \(n,\) or \(n, 1\) with n > 0"),
        (lambda: plotting.plot_predictions([1.0], [1.0], [[2.0, 0.0]]), "lower end first, but row 0 is"),
        (
            lambda: plotting.plot_search(SEARCH, "wrong"),
            r"parameters must be of those searched, \['rate', 'alpha', 'kind'\], got 'wrong'",
        ),
        (lambda: plotting.plot_search(SEARCH, ["rate", "rate"]), "one or two different names"),
        (
            lambda: plotting.plot_search(SimpleNamespace()),
            "search must be fitted, got a SimpleNamespace without cv_results_: call its fit",
        ),
        (lambda: plotting.plot_search(unscored), "search has no score to draw"),
        (lambda: plotting.plot_gradient_flow(NET), "x and y must be given, or grads"),
        (lambda: plotting.plot_gradient_flow(NET, X, Y, grads=STEPS), "grads must be None where x and y are given"),
        (lambda: plotting.plot_gradient_flow(NET, grads=[{}]), "grads must be gradients of this network"),
        (lambda: plotting.plot_gradient_flow(NET, grads=[*STEPS, 1.0]), "grads must be gradients of this network"),
        (lambda: plotting.plot_gradient_flow(Network([xpnn.Flatten((2, 2))]), grads=[{}]), "net has no parameters"),
        (lambda: plotting.plot_network(stack), "net must be one network, got a stack of 2: give"),
        (lambda: plotting.plot_weights(stack), "net must be one network, got a stack of 2: give"),
        (lambda: plotting.plot_decision_boundary(stack, X, Y), "net must be one network, got a stack of 2: give"),
        (lambda: plotting.plot_gradient_flow(stack, X, Y), "net must be one network, got a stack of 2: give"),
        (
            lambda: plotting.plot_decision_boundary(THREE, FOUR, CLASSES),
            r"x must be \(n, 2\), or features=\(0, 3\) choose two",
        ),
        (lambda: plotting.plot_decision_boundary(THREE, FOUR, CLASSES, features=(0, 9)), "from 0 to 3"),
        (lambda: plotting.plot_weights(NET, 1), r"layer 1, has no weight matrix: layers \[0, 3\] have one"),
        (lambda: plotting.plot_weights(NET, 9), "layer must be from 0 to 4, or negative from the end, got 9"),
        (lambda: plotting.plot_weights(NET, 0, (3, 3)), "image_shape must have 2 pixels"),
        (lambda: plotting.plot_predictions([1.0], [1.0, 2.0]), "an entry for each target, got 2 for 1"),
        (lambda: plotting.plot_predictions([1.0], [1.0], [[1.0]]), r"interval must have shape \(1, 2\), got \(1, 1\)"),
        (lambda: plotting.plot_predictions(np.ones((2, 2)), [1.0]), r"target must be \(n,\) or \(n, 1\)"),
        (lambda: plotting.plot_confusion([0, 1], [0]), r"must be \(n,\) classes"),
        (lambda: plotting.plot_confusion([0, 1], [0, 1], ["a"]), "names must be 2"),
        (lambda: plotting.plot_points(FOUR, CLASSES), r"x must be \(n, 2\)"),
    ):
        with pytest.raises((ValueError, TypeError, KeyError), match=message):
            call()


@pytest.mark.parametrize("name", PICTURES)
def test_without_matplotlib_it_is_named(name, monkeypatch):
    for module in [module for module in sys.modules if module.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'plotting needs matplotlib: pip install "xpnn\[plot\]"'):
        PICTURES[name]()
