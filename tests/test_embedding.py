"""Categories as vectors: duplicates add up, strangers are refused, and every member and sample has its own gradient."""

import numpy as np
import pytest

from tests.layer_runs import arrays
from tests.tables import MIXED
from xpnn import Adam, Network, activations, layers
from xpnn.backend import resolve
from xpnn.layers.embedding import FEW
from xpnn.testing import assert_close


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["lone", "shared x", "own x", "samples"])
@pytest.mark.parametrize("count", [7, FEW + 10], ids=["few", "many"])
def test_a_category_that_comes_often_gathers_every_gradient(count, kind, dtype, backend):
    if dtype > backend.dtype:
        pytest.skip(f"{backend.device} has no {dtype}")
    backend, layer = resolve(backend, dtype), layers.Embedding(count, 2, columns=3)
    rng = np.random.default_rng(0)
    lead = {"lone": (50,), "shared x": (50,), "own x": (4, 50), "samples": (50, 1)}[kind]
    x = np.where(rng.random((*lead, 3)) < 0.8, 3, rng.integers(0, count, (*lead, 3)))
    members = {"lone": (), "shared x": (4,), "own x": (4,), "samples": ()}[kind]
    table, dy = rng.normal(size=(*members, count, 2)), rng.normal(size=(*(members or lead[:-1]), lead[-1], 6))
    params = {"weight": backend.asarray(table)}
    y, cache = layer.forward(params, backend.asarray(x), xp=backend.xp)
    found = backend.to_host(layer.gradients(params, cache, backend.asarray(dy), xp=backend.xp)["weight"])
    expected, rows = np.zeros((*dy.shape[:-2], count, 2)), np.broadcast_to(x, (*dy.shape[:-1], 3))
    for place in np.ndindex(*dy.shape[:-2]):
        taken = table[place if members else ()][rows[place]]  # (batch, columns, features)
        assert_close(y[(*place, ...)], backend.asarray(taken.reshape(len(taken), 6)))
        np.add.at(expected[place], rows[place], dy[place].reshape(-1, 3, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-5)


@pytest.mark.parametrize("places", [1, 2, 3, 64, 100])
def test_many_categories_have_the_gradient_of_few(places):
    """Sorted sums are those of the one-hot product, for any number of places, strangers among them left out."""
    rng = np.random.default_rng(places)
    x = np.where(rng.random((2, places, 1)) < 0.2, np.nan, rng.integers(0, FEW + 1, (2, places, 1)) // 50 * 50.0)
    dy = rng.normal(size=(2, places, 3))
    found = layers.Embedding(FEW + 1, 3).gradients({}, x, dy, xp=np)["weight"]
    assert_close(found, (np.swapaxes(x, -1, -2) == np.arange(FEW + 1.0)[:, None]) @ dy, rtol=1e-12, atol=1e-15)


def test_lane_k_of_many_categories_is_the_lone_one_to_the_bit():
    rng, layer = np.random.default_rng(0), layers.Embedding(FEW + 1, 3)
    x = rng.integers(0, 5, (4, 33, 1)) * 100.0
    dy = np.float32(rng.normal(size=(4, 33, 3)))
    for own in (x, x[0]):
        stacked = layer.gradients({}, own, dy, xp=np)["weight"]
        for k in range(4):
            alone = layer.gradients({}, own[k] if own.ndim == 3 else own, dy[k], xp=np)["weight"]
            assert (stacked[k] == alone).all()


@pytest.mark.parametrize(
    "before",
    [
        layers.Standardize((0.0,) * 3, (1.0,) * 3),
        layers.Dropout(0.1),
        layers.GaussianNoise(0.1),
        layers.Flatten((3,)),
        activations.relu,
        layers.Sequential([layers.Dense(3, 3)]),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "layer", [layers.FeatureEmbedding([None, 3, 4], 2), layers.Embedding(3, 2, columns=3)], ids=str
)
def test_a_layer_before_the_indices_is_refused(before, layer):
    for last in (layer, layers.Sequential([layer])):
        with pytest.raises(ValueError, match=r"layer 1, takes category indices .*layer 0, gives: put it first"):
            Network([before, last, layers.Dense(layer.output_shape((3,))[0], 1)])
    numbers = layers.FeatureEmbedding([None] * 3)
    assert Network([before, numbers, layers.Dense(3, 1)]).predict(np.zeros((2, 3))).shape == (2, 1)


@pytest.mark.parametrize("members", [None, 2])
def test_what_is_no_index_gives_nan_and_nobody_elses_vector(members, backend):
    layer = layers.Embedding(4, 3, columns=2)
    bad = np.asarray([[0, 4], [-1, 3], [1.5, 2], [np.nan, 1], [np.inf, 0], [-np.inf, 3e30], [2, 2**31]])
    y, *_ = layer.forward(arrays(layer, members, backend), backend.asarray(bad), xp=backend.xp)
    blank = np.isnan(backend.to_host(y).reshape(*y.shape[:-1], 2, 3))
    assert (blank == ~np.isin(bad, range(4))[..., None]).all()


def test_feature_embedding_is_its_pieces_side_by_side(backend):
    layer, x = layers.FeatureEmbedding([None, 3, None, None, 4], [2, 3]), np.asarray(MIXED)
    params = arrays(layer, None, backend)
    y, *_ = layer.forward(params, backend.asarray(x), xp=backend.xp)
    tables = [backend.to_host(tree["weight"]) for tree in params]
    first, second = (table[x[:, i].astype(int)] for table, i in zip(tables, (1, 4), strict=True))
    assert_close(y, backend.asarray(np.concatenate([x[:, :1], first, x[:, 2:4], second], axis=1)))
    assert layer.output_shape((5,)) == (8,)
    assert layer.children == (layers.Embedding(3, 2), layers.Embedding(4, 3))


def test_widths_of_embeddings_follow_the_rule_of_thumb():
    columns = [None, 2, 9, 1, 1000]
    assert [child.features for child in layers.FeatureEmbedding(columns).children] == [1, 5, 1, 50]
    assert layers.FeatureEmbedding(np.asarray([3, 4]), np.asarray([2, 2])) == layers.FeatureEmbedding([3, 4], [2, 2])
    plain = layers.FeatureEmbedding([None, None])
    assert not plain.learns and plain.output_shape((2,)) == (2,)


def test_containers_know_the_categories_of_their_first_layer():
    first = layers.FeatureEmbedding([None, 3, 4], 2)
    assert layers.Embedding(3, 2, columns=2).categories == {0: 3, 1: 3}
    assert layers.Residual(layers.Sequential([first, layers.Dense(5, 3)])).categories == {1: 3, 2: 4}
    assert layers.Sequential([layers.Standardize((0.0,) * 3, (1.0,) * 3), first]).categories == {}
    assert layers.Sequential([]).categories == {}


@pytest.mark.parametrize("members", [None, 2])
def test_categories_are_learnt_and_others_refused(members):
    x = np.asarray([[i % 3, 0.1 * i] for i in range(30)])
    y = np.where(x[:, 0] == 1, 2.0, -1.0) + x[:, 1]
    net = Network([layers.FeatureEmbedding([3, None], 2), layers.Dense(3, 1)], members=members)
    net.fit(x, y, optimizer=Adam(0.05), epochs=200)
    assert np.max(net.evaluate(x, y)["loss"]) < 0.01
    for wrong in (3.0, -1.0, 0.5):
        with pytest.raises(ValueError, match=f"holds {wrong:g} in column 0"):
            net.fit(np.where(x == 2, wrong, x), y)
