"""A checkup of a network and its data: each sick case is found and numbered; healthy ones are left in peace."""

import copy

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

import xpnn
from tests.networks import same, state_of
from xpnn import SGD, Adam, Dense, Network, Standardize, mlp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
Y = np.sin(X[:, :1]) + 0.5 * X[:, 1:2] + 0.1 * RNG.normal(size=(400, 1))
CLASSES = (X[:, 0] + X[:, 1] + 0.3 * RNG.normal(size=400) > 0).astype(int)
for shared in (X, Y, CLASSES):
    shared.flags.writeable = False


def healthy(widths=(4, 16, 1), **options):
    return Network(mlp(list(widths), **options), seed=1)


def with_column(values, at=2):
    x = X.copy()
    x[:, at] = values
    return x


def found(net, x, y, kind, loss=None, optimizer=None, **options):
    """The finding of that kind, which must be there once."""
    checkup = net.diagnose(x, y, loss, optimizer, **options)
    assert checkup.kinds.count(kind) == 1, str(checkup)
    finding = checkup[checkup.kinds.index(kind)]
    assert finding.what in str(checkup) and finding.advice in checkup._repr_html_().replace("&quot;", '"')
    assert isinstance(finding.number, float)
    return finding


def scaled(table):
    x, y = table(return_X_y=True)
    return (x - x.mean(axis=0)) / x.std(axis=0), y


def circles_net(seed):
    start = xpnn.truncated_normal(std=1.0, bound=1.0, decimals=3)
    return Network(
        mlp([2, 4, 8, 1], ["relu", "relu", "sigmoid"], weight_init=start, bias_init=start), dtype="float64", seed=seed
    )


HEALTHY = {
    "relu": (lambda: healthy(), X, Y, None, None),
    "tanh, deep": (lambda: healthy((4, 32, 32, 32, 32, 1), activation="tanh"), X, Y, None, None),
    "sigmoid": (lambda: healthy((4, 32, 32, 1), activation="sigmoid"), X, Y, None, None),
    "batch norm": (lambda: healthy(norm="batch"), X, Y, "huber", Adam(0.01)),
    "dropout": (lambda: healthy((4, 32, 32, 1), dropout=0.3), X, Y, None, None),
    "momentum": (lambda: healthy(), X, Y, None, SGD(0.01, momentum=0.9)),
    "warm-up": (lambda: healthy(), X, Y, None, Adam(xpnn.CosineDecay(0.01, 1000, warmup=100))),
    "penalties": (lambda: healthy(), X, Y, xpnn.Penalized("mse", l2=1e-3), xpnn.AdamW(clip_norm=1.0, average=0.9)),
    "classes": (lambda: healthy((4, 16, 2)), X, CLASSES, "cross_entropy", None),
    "probabilities": (lambda: healthy((4, 16, 1), output="sigmoid"), X, CLASSES, "bce", None),
    "scores": (lambda: healthy(), X, CLASSES, "hinge", None),
    "counts": (lambda: healthy(), X, np.floor(np.exp(Y + 1)), "poisson", None),
    "mean and variance": (lambda: healthy((4, 16, 2)), X, Y, "gaussian_nll", None),
    "linear": (lambda: Network([Dense(4, 1)]), X, Y, None, None),
    "units of their own": (
        lambda: Network([Standardize.fit(1e4 * X), *mlp([4, 16, 1]), Standardize.fit(1e4 * Y, inverse=True)]),
        1e4 * X,
        1e4 * Y,
        "huber",
        Adam(0.01),
    ),
    "breast cancer": (lambda: healthy((30, 32, 1), output="sigmoid"), *scaled(load_breast_cancer), "bce", None),
    "iris": (lambda: healthy((4, 16, 3), output="softmax"), *scaled(load_iris), "cross_entropy", None),
    "wine": (lambda: healthy((13, 16, 3), activation="tanh"), *scaled(load_wine), "cross_entropy", None),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_where_all_is_well(name):
    make, x, y, loss, optimizer = HEALTHY[name]
    net = make()
    checkup = net.diagnose(x, y, loss, optimizer)
    assert len(checkup) == 0 and not checkup, str(checkup)
    assert "Nothing found" in str(checkup) and "Nothing found" in checkup._repr_html_()
    net.fit(x, y, loss, optimizer, epochs=20)
    assert len(after := net.diagnose(x, y)) == 0, str(after)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_found_in_the_tutorials_circles(seed):
    net, (x, y) = circles_net(seed), xpnn.datasets.circles(seed=seed)
    for _ in range(2):
        checkup = net.diagnose(x, y, "mse", SGD(0.15), batch_size=None)
        assert len(checkup) == 0, str(checkup)
        net.fit(x, y, "mse", SGD(0.15), epochs=1000, batch_size=None)


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_tutorials_rate_without_its_factor_is_too_low(seed):
    """0.001 on the mean's gradient, with which nothing is learned in 1,000 epochs."""
    x, y = xpnn.datasets.circles()
    finding = found(circles_net(seed), x, y, "learning rate too low", "mse", SGD(0.001), batch_size=None)
    assert finding.number == 0.001 and "30 steps at 0.001 took the loss from 0." in finding.what


def test_values_that_are_none():
    finding = found(healthy(), with_column(np.nan), Y, "non-finite values")
    assert finding.number == 400 and "of x are NaN or infinite, the first in row 0" in finding.what
    y = np.where(np.arange(400)[:, None] == 7, np.inf, Y)
    checkup = healthy().diagnose(X, y)
    assert (
        checkup.kinds == ["non-finite values"]
        and "1 value of y is NaN or infinite, the first in row 7" in checkup[0].what
    )
    assert checkup.rates is None and checkup.suggested_rate is None
    with pytest.raises(ValueError, match="no learning rates were tried"):
        checkup.plot()


def test_a_network_that_overflows():
    net = healthy()
    net.params = [{name: 1e38 * np.ones_like(array) for name, array in layer.items()} for layer in net.params]
    assert "0.output (layer 0, Dense(4, 16))" in found(net, X, Y, "non-finite values").what


def test_features_that_carry_nothing():
    finding = found(healthy(), with_column(5.0), Y, "constant features")
    assert finding.number == 1.0 and finding.what == "1 of 4 features is the same in all rows: column 2"


def test_features_on_different_scales():
    finding = found(healthy(), X * [1.0, 1.0, 1.0, 5000.0], Y, "scales of features")
    assert 1000 < finding.number < 50000 and "Standardize.fit(x)" in finding.advice
    assert "column 3 at most" in finding.what


def test_features_with_names():
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(X * [1.0, 1.0, 1.0, 5000.0], columns=["age", "size", "rooms", "price"])
    assert "column 3 ('price') at most" in found(healthy(), x, Y, "scales of features").what


@pytest.mark.parametrize("factor", [127.0, 1e-4])
def test_features_of_the_wrong_size(factor):
    finding = found(healthy(), factor * X, Y, "size of features")
    assert finding.number == pytest.approx(factor, rel=0.1)


def test_scales_are_those_behind_what_standardizes():
    x = X * [1.0, 1.0, 1.0, 5000.0]
    for layers in ([Standardize.fit(x), *mlp([4, 16, 1])], [xpnn.BatchNorm(4), *mlp([4, 16, 1])]):
        assert not {"scales of features", "size of features"} & set(Network(layers).diagnose(x, Y).kinds)


def test_categories_have_no_scale():
    x = np.column_stack([X[:, 0], RNG.integers(0, 500, 400)])
    net = Network([xpnn.layers.FeatureEmbedding((None, 500), 3), *mlp([4, 16, 1])])
    assert net.diagnose(x, Y, None, Adam(0.01)).kinds == []


@pytest.mark.parametrize("leak", [lambda y: y, lambda y: -3 * y + 1, lambda y: y**3])
def test_a_feature_that_is_the_target(leak):
    finding = found(healthy(), with_column(leak(Y[:, 0])), Y, "a telling feature")
    assert finding.number > 0.999 and finding.what.startswith("column 2 alone is correlated")


@pytest.mark.parametrize("classes", [2, 3])
def test_a_feature_that_tells_the_class(classes):
    y = RNG.integers(0, classes, 400)
    x = with_column(np.asarray([2.0, -1.0, 0.5])[y] + 0.01 * RNG.normal(size=400))
    finding = found(healthy((4, 16, classes)), x, y, "a telling feature", "cross_entropy")
    assert finding.number == 1.0 and "column 2 alone tells the class of 100.0%" in finding.what


def test_no_feature_tells_by_being_rare():
    y = (np.arange(400) < 6).astype(int)
    assert "a telling feature" not in healthy((4, 16, 2)).diagnose(X, y, "cross_entropy").kinds


def test_features_that_repeat_others():
    finding = found(healthy(), with_column(3 * X[:, 0] + 1), Y, "duplicated features")
    assert finding.number == 1.0 and "column 2 and column 0" in finding.what


def test_classes_that_are_rare():
    y = (np.arange(400) % 20 == 0).astype(int)
    finding = found(healthy((4, 16, 2)), X, y, "imbalanced classes", "cross_entropy")
    assert finding.number == 19.0 and "class 0 weighs 380 and class 1 20, 19 to 1" in finding.what
    assert 'class_weight="balanced"' in finding.advice
    assert found(healthy(), X, y, "imbalanced classes", "bce").number == 19.0
    weight = np.where(y == 1, 19.0, 1.0)
    checkup = healthy((4, 16, 2)).diagnose(X, y, "cross_entropy", sample_weight=weight)
    assert "imbalanced classes" not in checkup.kinds


def test_classes_that_are_missing():
    finding = found(healthy((4, 16, 4)), X, CLASSES, "missing classes", "cross_entropy")
    assert finding.number == 2.0 and finding.what == "2 of 4 classes are not in y: 2, 3"


def test_targets_on_a_bad_scale():
    finding = found(healthy(), X, 100 * Y + 150, "scale of targets")
    assert finding.number == pytest.approx(170, rel=0.1) and "inverse=True" in finding.advice
    assert found(healthy(), X, 1e-4 * Y, "scale of targets").number < 1e-3
    assert found(healthy(), X, 0 * Y + 2, "constant target").number == 0.0
    x, y = load_diabetes(return_X_y=True)
    assert "scale of targets" in healthy((10, 16, 1)).diagnose(x, y).kinds


@pytest.mark.parametrize("output, share", [("sigmoid", 0.5), ("tanh", 0.25), ("relu", 0.5)])
def test_targets_out_of_reach(output, share):
    finding = found(healthy(output=output), X, Y, "targets out of reach", "mse")
    assert finding.number == pytest.approx(share, abs=0.25)


def test_units_that_are_dead():
    net = healthy()
    params = net.params
    params[0]["bias"] = np.where(np.arange(16) < 12, -100.0, 0.0)
    net.params = params
    finding = found(net, X, Y, "dead units")
    assert finding.number == 0.75 and "12 of 16 units of layer 1, ReLU(), give 0 for all 400 rows" in finding.what


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_units_that_are_saturated(activation):
    net = healthy(activation=activation)
    net.params = [net.params[0] | {"weight": 50 * net.params[0]["weight"]}, *net.params[1:]]
    assert found(net, X, Y, "saturated units").number > 0.7


def test_outputs_that_are_sure_and_wrong():
    net = healthy(output="sigmoid")
    net.params = [*net.params[:2], net.params[2] | {"bias": np.asarray([100.0])}, {}]
    assert found(net, X, CLASSES, "saturated outputs", "mse").number == pytest.approx(0.5, abs=0.05)


def test_gradients_that_vanish():
    net = healthy((4, *[16] * 8, 1), activation="sigmoid")
    finding = found(net, X, Y, "vanishing gradients")
    assert finding.number < 1e-3 and "(norms by layer 16: " in finding.what


def test_gradients_that_explode():
    net = healthy((4, *[16] * 6, 1), activation="relu")
    net.params = [{name: 10 * array for name, array in layer.items()} for layer in net.params]
    assert found(net, X, Y, "exploding gradients").number > 1e3


@pytest.mark.parametrize("rate", [1.0, 100.0])
@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_a_rate_that_is_too_high(optimizer, rate):
    rate = rate if optimizer is Adam else 10 * rate
    finding = found(healthy(), X, Y, "learning rate too high", None, optimizer(rate))
    assert finding.number == rate and "begin with" in finding.advice


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_a_rate_that_is_too_low(optimizer):
    net = healthy()
    finding = found(net, X, Y, "learning rate too low", None, optimizer(1e-6))
    assert finding.number == 1e-6
    suggested = net.diagnose(X, Y, None, optimizer(1e-6)).suggested_rate
    assert f"begin with {suggested:g}" in finding.advice
    assert len(net.diagnose(X, Y, None, optimizer(suggested))) == 0
    start = net.evaluate(X, Y)["loss"]
    net.fit(X, Y, None, optimizer(suggested), epochs=20)
    assert net.evaluate(X, Y)["loss"] < 0.2 * start


def test_what_was_assigned_stands_in_the_place_of_the_rate():
    net = healthy()
    net.fit(X, Y, epochs=1)
    net.learning_rate = 1e-7
    assert found(net, X, Y, "learning rate too low").number == 1e-7


def test_the_picture():
    checkup = healthy().diagnose(X, Y)
    ax = checkup.plot()
    assert checkup.rates is not None and ax.get_xscale() == "log" and ax.get_xlabel() == "learning rate"
    assert len(ax.lines[0].get_xdata()) == len(checkup.rates.rates) and np.isfinite(ax.lines[0].get_ydata()).all()
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1] == f"suggested, {checkup.suggested_rate:g}"
    assert checkup.plot(ax=ax) is ax


@pytest.mark.parametrize("trained", [False, True])
def test_nothing_of_the_network_changes(eager, trained):
    net = Network([xpnn.BatchNorm(4), *mlp([4, 8, 1], dropout=0.2)], eager, eager.dtype, seed=2)
    if trained:
        net.fit(X, Y, optimizer=Adam(0.01, average=0.9), epochs=2)
    before, prediction = state_of(net), net.predict(X)
    counts, history = (net.updates, net.epoch, net.learning_rate), copy.deepcopy(net.history.history)
    rows, targets = net.backend.asarray(X), Y.copy()
    checkup = net.diagnose(rows, targets)
    assert same(before, state_of(net)) and same(prediction, net.predict(X)) and same(rows, net.backend.asarray(X))
    assert counts == (net.updates, net.epoch, net.learning_rate) and history == net.history.history
    assert isinstance(str(checkup), str) and (targets == Y).all()


def test_training_goes_on_as_if_nobody_had_looked():
    looked, left = healthy(dropout=0.2), healthy(dropout=0.2)
    for net in (looked, left):
        net.fit(X, Y, epochs=2)
    looked.diagnose(X, Y, "huber", SGD(0.1))
    looked.trace_step(X, Y, "huber", SGD(0.1))
    for net in (looked, left):
        net.fit(X, Y, epochs=2)
    assert same(state_of(looked), state_of(left)) and looked.history["loss"] == left.history["loss"]


def test_an_optimizer_without_a_rate():
    class Halving(xpnn.Optimizer):
        numbers = ()

        def rule(self, params, grads, state, hyper, *, xp):
            return 0.5 * params, state

    checkup = healthy().diagnose(X, Y, None, Halving())
    assert checkup.rates is None and checkup.kinds == []


def test_a_stack_is_refused():
    with pytest.raises(TypeError, match=r"this is a stack of 3: take net\[k\]"):
        Network(mlp([4, 1]), members=3).diagnose(X, Y)


@pytest.mark.parametrize(
    "x, y, loss, message",
    [
        (X[:, :2], Y, None, "expects x of shape"),
        (X, Y[:5], None, "y must be"),
        (X, CLASSES + 5, "cross_entropy", "the network has 2 outputs"),
        (X, Y, "bce", "BinaryCrossEntropy takes targets from 0 to 1"),
    ],
)
def test_unusable_arguments(x, y, loss, message):
    with pytest.raises(ValueError, match=message):
        healthy((4, 8, 2) if loss == "cross_entropy" else (4, 8, 1)).diagnose(x, y, loss)


def test_few_rows():
    for n in (1, 2, 5):
        assert isinstance(str(healthy().diagnose(X[:n], Y[:n])), str)
