"""What people hand to a network: rows, targets and weights in the forms they have them in, all meaning the same."""

import functools

import numpy as np
import pytest

from tests.conftest import CASES
from xpnn import Network, mlp
from xpnn.availability import status
from xpnn.backend import resolve, to_host

RNG = np.random.default_rng(2)
X = RNG.normal(size=(12, 3))
CLASSES = np.asarray([0, 1, 2, 2, 1, 0, 2, 2, 2, 2, 1, 2])
TWO = np.minimum(CLASSES, 1)
REAL = RNG.normal(size=12)
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]

ONE_OUTPUT = {
    "rows": lambda y: y,
    "a column": lambda y: y[:, None],
    "a list": lambda y: y.tolist(),
    "a list of rows": lambda y: y[:, None].tolist(),
    "bool": lambda y: y.astype(bool),
    "a column of bool": lambda y: y.astype(bool)[:, None],
    "big endian": lambda y: y.astype(">f8"),
    "a Series": lambda y: pytest.importorskip("pandas").Series(y),
    "a Series of bool": lambda y: pytest.importorskip("pandas").Series(y.astype(bool)),
    "a nullable Series": lambda y: pytest.importorskip("pandas").Series(y, dtype="Int64"),
    "a categorical Series": lambda y: pytest.importorskip("pandas").Series(y, dtype="category"),
    "a data frame": lambda y: pytest.importorskip("pandas").DataFrame({"y": y}),
}
"""Forms of 0 and 1, one a row."""

for dtype in [*INTEGERS, "float32", "float64"]:
    ONE_OUTPUT[dtype] = functools.partial(np.asarray, dtype=dtype)
    ONE_OUTPUT[f"a column of {dtype}"] = lambda y, dtype=dtype: y[:, None].astype(dtype)

INDICES = {name: form for name, form in ONE_OUTPUT.items() if "bool" not in name and "float" not in name}
del INDICES["big endian"]
INDICES |= {
    "big endian": lambda y: y.astype(">i4"),
    "one-hot": lambda y: np.eye(3)[y],
    "one-hot of integers": lambda y: np.eye(3, dtype=int)[y],
    "one-hot of bool": lambda y: np.eye(3, dtype=bool)[y],
    "a one-hot list": lambda y: np.eye(3)[y].tolist(),
    "a one-hot data frame": lambda y: pytest.importorskip("pandas").get_dummies(y),
}
"""Forms of class indices, one a row."""

PLACES = ["numpy", "torch", "jax", "strict-device1"]


def backend_of(case: str):
    place, dtype = CASES[case]
    if not status(place.partition(":")[0]).usable:
        pytest.skip(status(place.partition(":")[0]).reason)
    return resolve(place, dtype)


def gradient(net: Network, *batch, **options):
    """The loss and its gradient on (x, y) as one flat vector, on the host."""
    value, grads = net.value_and_grad(*batch, **options)
    return to_host(value), np.concatenate([to_host(g).ravel() for one in grads for g in one.values()])


def assert_same(first, second, rtol: float = 1e-12) -> None:
    for one, two in zip(first, second, strict=True):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=rtol)


# Rows


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.tolist(),
        lambda x: [list(row) for row in x],
        lambda x: list(x),
        lambda x: pytest.importorskip("pandas").DataFrame(x, columns=list("abc")),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x.astype(">f8"),
    ],
    ids=["lists", "lists of scalars", "a list of arrays", "a data frame", "Fortran order", "strided", "big endian"],
)
def test_rows_may_come_in_any_form(form):
    net = Network(mlp([3, 2, 1]), dtype="float64")
    assert_same(gradient(net, form(X), REAL), gradient(net, X, REAL), rtol=1e-14)
    np.testing.assert_allclose(net.predict(form(X)), net.predict(X), rtol=1e-14)


@pytest.mark.parametrize("place", PLACES)
def test_own_arrays_and_arrays_from_elsewhere_are_the_same_rows(place):
    backend = backend_of(place)
    net = Network(mlp([3, 2, 1]), backend, backend.dtype)
    expected = gradient(net, X, REAL)
    for other in map(backend_of, PLACES):
        assert_same(gradient(net, other.asarray(X), other.asarray(REAL)), expected)


# Targets


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_targets_of_one_output_may_come_in_any_form(place, loss):
    backend = backend_of(place)
    net = Network(mlp([3, 2, 1]), backend, backend.dtype)
    expected = gradient(net, X, TWO[:, None].astype(float), loss)
    for name, form in ONE_OUTPUT.items():
        found = gradient(net, X, form(TWO), loss)
        assert found[1].shape == expected[1].shape, name
        assert_same(found, expected)


@pytest.mark.parametrize("place", PLACES)
def test_class_indices_may_come_in_any_form(place):
    backend = backend_of(place)
    net = Network(mlp([3, 2, 3], output="softmax"), backend, backend.dtype)
    expected = gradient(net, X, CLASSES, "cross_entropy")
    for form in INDICES.values():
        assert_same(gradient(net, X, form(CLASSES), "cross_entropy"), expected)
    assert_same(gradient(net, X, backend.asarray(CLASSES, dtype=None), "cross_entropy"), expected)
    assert_same(gradient(net, X, backend.asarray(np.eye(3)[CLASSES]), "cross_entropy"), expected)


def test_two_classes_may_be_bool():
    net = Network(mlp([3, 2, 2], output="softmax"), dtype="float64")
    expected = gradient(net, X, TWO, "cross_entropy")
    assert_same(gradient(net, X, TWO.astype(bool), "cross_entropy"), expected)
    assert_same(gradient(net, X, np.stack([1 - TWO, TWO], axis=1), "cross_entropy"), expected)


def test_what_fit_and_evaluate_take_is_what_value_and_grad_takes():
    for loss, layers, y, forms in [
        ("bce", mlp([3, 1], output="sigmoid"), TWO, ONE_OUTPUT),
        ("cross_entropy", mlp([3, 3], output="softmax"), CLASSES, INDICES),
    ]:
        reference = Network(layers).fit(X, y, loss, epochs=2, batch_size=5, metrics=["accuracy"], validation_split=0.25)
        for name, form in forms.items():
            net = Network(layers)
            history = net.fit(X, form(y), loss, epochs=2, batch_size=5, metrics=["accuracy"], validation_split=0.25)
            assert history.history == reference.history, name
            assert net.evaluate(X, form(y)) == pytest.approx(net.evaluate(X, y)), name


# Members

FOUR_CLASSES = np.stack([(np.roll(CLASSES, k) + k) % 3 for k in range(4)])  # counts of their own, too
FOUR_X = np.stack([np.roll(X, k, axis=1) for k in range(4)])
OPTIONS = {
    "whole": {"batch_size": None},
    "batches": {"batch_size": 5},
    "held out": {"batch_size": 5, "validation_split": 0.25, "metrics": ["accuracy"]},
    "weighted": {"batch_size": 5, "class_weight": "balanced"},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    ("y", "own_x"),
    [
        (CLASSES, False),
        (CLASSES, True),
        (FOUR_CLASSES, True),  # beside shared rows (members, n) would be read as (n, outputs)
        (np.eye(3)[CLASSES], True),
        (np.eye(3)[FOUR_CLASSES], False),
        (np.eye(3)[FOUR_CLASSES], True),
    ],
    ids=["shared", "shared, own x", "indices, own x", "shared one-hot, own x", "one-hot", "one-hot, own x"],
)
def test_members_learn_classes_as_they_would_alone(y, own_x, options):
    layers = mlp([3, 4, 3], "tanh", "softmax")
    net = Network(layers, dtype="float64", members=4, seed=5)
    net.fit(FOUR_X if own_x else X, y, "cross_entropy", epochs=3, **OPTIONS[options])
    for k in range(4):
        alone = Network(layers, dtype="float64", seed=5 + k)
        own_y = y[k] if y.shape[0] == 4 else y
        alone.fit(FOUR_X[k] if own_x else X, own_y, "cross_entropy", epochs=3, **OPTIONS[options])
        for name, values in alone.history.history.items():
            np.testing.assert_allclose(np.asarray(net.history[name])[:, k], values, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(net.weights[0][k], alone.weights[0], rtol=1e-9)


@pytest.mark.parametrize("own", ["x", "y", "weight", "all"])
@pytest.mark.parametrize("place", ["numpy", "torch", "strict-device1"])
def test_members_share_what_has_no_axis_of_theirs(place, own):
    backend = backend_of(place)
    weight = np.linspace(0.5, 2.0, 12)
    x = FOUR_X if own in ("x", "all") else X
    y = np.stack([REAL + k for k in range(4)])[..., None] if own in ("y", "all") else REAL
    w = np.stack([weight + k for k in range(4)]) if own in ("weight", "all") else weight
    net = Network(mlp([3, 2, 1], "tanh"), backend, "float64", members=4)
    net.fit(x, y, sample_weight=w, epochs=2, batch_size=5)
    for k in range(4):
        alone = Network(mlp([3, 2, 1], "tanh"), backend, "float64", seed=k)
        of = (x[k] if x.ndim == 3 else x, y[k] if y.ndim == 3 else y, w[k] if w.ndim == 2 else w)
        alone.fit(*of[:2], sample_weight=of[2], epochs=2, batch_size=5)
        np.testing.assert_allclose(to_host(net.weights[1])[k], to_host(alone.weights[1]), rtol=1e-10)
        np.testing.assert_allclose(np.asarray(net.history["loss"])[:, k], alone.history["loss"], rtol=1e-10)


# Weights

LOSSES = {
    "mse": (mlp([3, 4, 1], "tanh"), "mse", REAL),
    "mse of three": (mlp([3, 4, 3], "tanh"), "mse", X[::-1]),
    "bce": (mlp([3, 4, 1], "tanh", "sigmoid"), "bce", TWO),
    "softmax": (mlp([3, 4, 3], "tanh", "softmax"), "cross_entropy", CLASSES),
    "one-hot": (mlp([3, 4, 3], "tanh", "softmax"), "cross_entropy", np.eye(3)[CLASSES]),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", LOSSES)
def test_a_weight_of_k_is_a_row_k_times(place, case):
    backend, (layers, loss, y) = backend_of(place), LOSSES[case]
    if place == "jax" and case != "bce":
        pytest.skip("one loss on JAX will do")
    times = np.asarray([1, 2, 0, 3, 1, 0, 2, 1, 1, 4, 1, 2])
    net = Network(layers, backend, backend.dtype)
    weighted = gradient(net, X, y, loss, sample_weight=times)
    repeated = gradient(net, np.repeat(X, times, axis=0), np.repeat(y, times, axis=0), loss)
    assert_same(weighted, repeated, rtol=1e-10)
    assert_same(gradient(net, X, y, loss, sample_weight=np.ones(12)), gradient(net, X, y, loss), rtol=1e-10)
    assert_same(gradient(net, X, y, loss, sample_weight=7.0 * times), weighted, rtol=1e-10)


@pytest.mark.parametrize("case", LOSSES)
def test_weights_that_are_all_zero_give_zero(case):
    layers, loss, y = LOSSES[case]
    net = Network(layers, dtype="float64")
    value, grads = gradient(net, X, y, loss, sample_weight=np.zeros(12))
    assert value == 0.0
    assert not grads.any()
    before = net.predict(X)
    net.fit(
        X, y, loss, "sgd", sample_weight=np.eye(12)[0], epochs=1, batch_size=4
    )  # two batches of three weigh nothing
    assert np.isfinite(net.predict(X)).all()
    assert not np.array_equal(net.predict(X), before)


CLASS_TARGETS = {
    "a column of 0 and 1": (mlp([3, 1], output="sigmoid"), "bce", TWO[:, None].astype(float)),
    "0 and 1": (mlp([3, 1], output="sigmoid"), "bce", TWO),
    "indices": (mlp([3, 3], output="softmax"), "cross_entropy", CLASSES),
    "one-hot": (mlp([3, 3], output="softmax"), "cross_entropy", np.eye(3)[CLASSES]),
}


def fitted(layers, loss, y, **options):
    net = Network(layers, dtype="float64")
    net.fit(X, y, loss, epochs=2, batch_size=5, **options)
    return [net.weights[0], np.asarray(net.history["loss"])]


@pytest.mark.parametrize("case", CLASS_TARGETS)
@pytest.mark.parametrize("weight", [None, np.linspace(0.5, 2.0, 12)], ids=["alone", "with weights"])
def test_class_weights_are_the_sample_weights_that_they_mean(case, weight):
    layers, loss, y = CLASS_TARGETS[case]
    labels = CLASSES if np.shape(y)[-1] == 3 or loss == "cross_entropy" else TWO
    table = {0: 3.0, 1: 0.5}  # a class that is not named weighs 1
    rows = np.asarray([table.get(int(label), 1.0) for label in labels]) * (1.0 if weight is None else weight)
    for given in (table, {np.int64(key): value for key, value in table.items()}):
        assert_same(
            fitted(layers, loss, y, class_weight=given, sample_weight=weight),
            fitted(layers, loss, y, sample_weight=rows),
        )


@pytest.mark.parametrize("case", CLASS_TARGETS)
def test_balanced_is_scikit_learns_balanced(case):
    compute = pytest.importorskip("sklearn.utils.class_weight").compute_sample_weight
    layers, loss, y = CLASS_TARGETS[case]
    rows = compute("balanced", CLASSES if loss == "cross_entropy" else TWO)
    assert_same(fitted(layers, loss, y, class_weight="balanced"), fitted(layers, loss, y, sample_weight=rows))


# Validation


@pytest.mark.parametrize("case", CLASS_TARGETS)
@pytest.mark.parametrize("seed", range(5))
def test_the_rows_held_out_have_each_classs_share(case, seed):
    layers, loss, y = CLASS_TARGETS[case]
    labels = CLASSES if loss == "cross_entropy" else TWO
    seen = []

    def count(prediction, target, *, xp, weight=None):
        target = to_host(target)
        seen.append(target.argmax(-1) if target.ndim == 2 and target.shape[1] == 3 else target.ravel().astype(int))
        return xp.mean(prediction)

    net = Network(layers, seed=seed)
    net.fit(X, y, loss, epochs=1, validation_split=0.25, metrics=[count])
    trained, held = (np.bincount(one, minlength=3) for one in seen)
    assert (trained + held == np.bincount(labels, minlength=3)).all()
    shares = 0.25 * np.bincount(labels, minlength=3)
    assert held.sum() == 3
    assert (np.abs(held - shares) < 1.0).all()


def rows_held_out(seed, members=None, split=0.25) -> np.ndarray:
    """Which rows `fit` holds out, told by their targets."""
    seen = []

    def remember(prediction, target, *, xp, weight=None):
        seen.append(to_host(target)[..., 0])
        return xp.mean(prediction, axis=(-2, -1))

    net = Network(mlp([3, 1]), dtype="float64", seed=seed, members=members)
    net.fit(X, np.arange(12.0), epochs=2, validation_split=split, metrics=[remember])
    trained, held, again_trained, again_held = seen
    np.testing.assert_array_equal(again_held, held)  # the same rows every epoch
    np.testing.assert_array_equal(again_trained, trained)
    both = np.sort(np.concatenate([trained, held], axis=-1), axis=-1)
    np.testing.assert_array_equal(both, np.broadcast_to(np.arange(12.0), both.shape))
    return held


def test_the_seed_chooses_the_rows_held_out():
    np.testing.assert_array_equal(rows_held_out(0), rows_held_out(0))
    assert len({tuple(rows_held_out(seed)) for seed in range(6)}) > 3
    assert len(rows_held_out(0, split=0.5)) == 6


def test_each_member_holds_out_the_rows_of_its_seed():
    for held, seed in zip(rows_held_out([3, 8], members=2), [3, 8], strict=True):
        np.testing.assert_array_equal(held, rows_held_out(seed))


def test_weights_go_with_their_rows_into_the_rows_held_out():
    weight = np.linspace(0.0, 1.0, 12)
    seen = []

    def remember(prediction, target, *, xp, weight=None):
        seen.append((to_host(target)[:, 0], to_host(weight)))
        return xp.mean(prediction)

    net = Network(mlp([3, 1]), dtype="float64")
    net.fit(X, np.arange(12.0), sample_weight=weight, epochs=1, validation_split=0.25, metrics=[remember])
    for rows, weights in seen:
        np.testing.assert_allclose(weights, weight[rows.astype(int)])


def test_validation_data_may_have_weights():
    net = Network(mlp([3, 1]), dtype="float64")
    weight = np.linspace(0.0, 1.0, 12)
    history = net.fit(X, REAL, validation_data=(X[::-1], REAL[::-1], weight), epochs=1, metrics=["accuracy"])
    expected = net.evaluate(X[::-1], REAL[::-1], sample_weight=weight, metrics=["accuracy"])
    assert history["val_loss"][-1] == pytest.approx(expected["loss"])
    assert history["val_accuracy"][-1] == pytest.approx(expected["accuracy"])
    assert net.fit(X, REAL, validation_data=[X.tolist(), REAL.tolist()], epochs=1)["val_loss"]
