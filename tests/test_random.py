"""The counter-based generator: the same bits everywhere, and bits that pass for random."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from xpnn import random
from xpnn.backend import resolve
from xpnn.batches import step_keys
from xpnn.layers import Dropout, Sequential
from xpnn.testing import assert_close

LAYER = Sequential([Dropout(0.5), Dropout(0.5)])
NUMPY = resolve("numpy", "float64")


def key_of(seed=0, epoch=0, step=0, layer=0):
    return step_keys(LAYER, [seed], epoch, range(step, step + 1), False, NUMPY)[layer][0]


def drawn(shape=(256, 64), **of):
    return random.bits(key_of(**of), shape, xp=np)


def normal(shape=(256, 64), **of):
    return random.normal(key_of(**of), shape, np.float64, xp=np)


def test_every_backend_draws_the_same_bits(backend):
    keys = step_keys(LAYER, [3, 4], 1, range(5, 7), True, backend)
    expected = step_keys(LAYER, [3, 4], 1, range(5, 7), True, NUMPY)
    for key, plain in zip(keys, expected, strict=True):
        found = random.bits(key[1, ...], (5, 7), xp=backend.xp)
        assert (backend.to_host(found) == random.bits(plain[1], (5, 7), xp=np)).all()


def test_a_lane_draws_what_its_seed_alone_draws():
    together = step_keys(LAYER, [3, 4, 5], 2, range(3), True, NUMPY)
    for k in range(3):
        alone = step_keys(LAYER, [3 + k], 2, range(3), False, NUMPY)
        for layer in range(2):
            assert (
                random.bits(together[layer][1], (4, 4), xp=np)[k] == random.bits(alone[layer][1], (4, 4), xp=np)
            ).all()


def test_bits_are_equidistributed():
    found = drawn(shape=(1 << 10, 1 << 10))
    assert found.min() >= 0
    counts = np.bincount(found.ravel() >> 21, minlength=1024)  # the upper ten bits
    chi2 = ((counts - 1024.0) ** 2 / 1024.0).sum()
    assert abs(chi2 - 1023) < 5 * math.sqrt(2 * 1023)
    for bit in range(31):
        assert abs(((found >> bit) & 1).mean() - 0.5) < 5 * 0.5 / 1024


def correlation(a, b):
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("draw", [drawn, normal])
def test_neighbours_are_uncorrelated_along_every_axis(draw, axis, lag):
    found = draw(shape=(512, 512)).astype(float)
    first, second = np.take(found, range(512 - lag), axis), np.take(found, range(lag, 512), axis)
    assert abs(correlation(first, second)) < 5 / math.sqrt(first.size)


@pytest.mark.parametrize("draw", [drawn, normal])
def test_other_seeds_epochs_steps_and_layers_are_uncorrelated(draw):
    kinds = [{}, {"seed": 1}, {"seed": 1 << 32}, {"epoch": 1}, {"step": 1}, {"layer": 1}, {"epoch": 1, "step": 1}]
    fields = [draw(**kind).astype(float) for kind in kinds]
    for a, b in itertools.combinations(fields, 2):
        assert abs(correlation(a, b)) < 5 / math.sqrt(a.size)
        for lag in (1, 17):  # nor are they one another shifted
            assert abs(correlation(a.ravel()[lag:], b.ravel()[:-lag])) < 5 / math.sqrt(a.size)


def test_masks_of_neighbouring_steps_agree_as_often_as_chance():
    masks = np.stack([drawn(step=s, shape=(64, 64)) < (1 << 30) for s in range(100)])
    each = masks.mean(axis=0)  # how often each position was dropped over 100 steps
    assert abs(each.std() - 0.05) < 0.005
    assert abs((masks[1:] == masks[:-1]).mean() - 0.5) < 0.005


def test_keys_do_not_collide():
    keys = step_keys(LAYER, range(50), 0, range(200), True, NUMPY)
    found = np.concatenate([key.reshape(-1, 2) for key in keys])
    assert len(np.unique(found, axis=0)) == len(found) == 50 * 200 * 2
    assert len(np.unique(keys[0][:, 0, 0])) == 200  # the first word alone tells one seed's steps apart


def test_every_backend_draws_the_same_normal_numbers(backend, tolerance):
    keys = step_keys(LAYER, [3, 4], 1, range(2), True, backend)[1][1, ...]
    plain = step_keys(LAYER, [3, 4], 1, range(2), True, NUMPY)[1][1]
    found = random.normal(keys, (5, 7), backend.float, xp=backend.xp)
    expected = random.normal(plain, (5, 7), np.float64, xp=np)
    assert_close(found, backend.asarray(expected), rtol=tolerance, atol=tolerance)
    for k in range(2):
        assert (random.normal(plain[k], (5, 7), np.float64, xp=np) == expected[k]).all()


def test_normal_numbers_are_normal():
    found = normal(shape=(1 << 10, 1 << 10)).ravel()
    n = found.size
    assert abs(found.mean()) < 5 / math.sqrt(n)
    assert abs(found.var() - 1.0) < 5 * math.sqrt(2 / n)
    assert abs((found**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((found**4).mean() - 3.0) < 5 * math.sqrt(96 / n)
    assert scipy.stats.kstest(found, "norm").pvalue > 1e-3
    for bound in (3.0, 4.0, 4.5):  # the tails, of which the moments say little
        expected = 2 * n * scipy.stats.norm.sf(bound)
        assert abs((np.abs(found) > bound).sum() - expected) < 5 * math.sqrt(expected)


def test_normal_numbers_are_independent_beyond_their_correlation():
    """Squares and signs too: two numbers of a pair from one radius, or from one angle, would be uncorrelated."""
    found = normal(shape=(512, 512))
    for other in (found[1:], normal(shape=(512, 512), step=1)[1:], normal(shape=(512, 512), layer=1)[1:]):
        for function in (np.square, np.sign, lambda x: np.maximum(x, 0.0)):
            assert abs(correlation(function(found[:-1]), function(other))) < 5 / math.sqrt(other.size)


def test_normal_numbers_of_one_position_vary_over_steps_as_over_positions():
    fields = np.stack([normal(step=s, shape=(64, 64)) for s in range(100)])
    assert abs(fields.mean(axis=0).std() - 0.1) < 0.01
    assert abs(fields.std(axis=0).mean() - 1.0) < 0.02


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_extremes_of_the_uniform_numbers_give_finite_normal_ones(dtype, monkeypatch):
    words = np.asarray([0, 0x7FFFFFFF, 0, 0x7FFFFFFF, 0, 0, 0x7FFFFFFF, 0x7FFFFFFF], dtype=np.int32)
    monkeypatch.setattr(random, "bits", lambda key, shape, xp: words.reshape(shape))
    found = random.normal(np.zeros(2, dtype=np.int32), (4,), getattr(np, dtype), xp=np)
    assert found.dtype == dtype
    largest = math.sqrt(48 * math.log(2))
    np.testing.assert_allclose(found, [largest, 0.0, largest, 0.0], atol=1e-5)
