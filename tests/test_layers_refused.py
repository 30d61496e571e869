"""What no layer can be is refused: shapes and widths that do not fit, and hyper-parameters out of their range."""

import numpy as np
import pytest

from tests.layer_runs import X
from xpnn import layers
from xpnn.backend import resolve
from xpnn.schedules import Constant
from xpnn.testing import _step, check_gradients


def test_a_residual_must_give_the_shape_that_it_takes():
    block = layers.Sequential([layers.Residual([layers.Dense(5, 4), layers.Dense(4, 3)])])
    with pytest.raises(ValueError, match=r"Residual\(.*layer 0, .*must give the shape \(5,\), got \(3,\)"):
        block.output_shape((5,))


@pytest.mark.parametrize(
    "layer", [layers.Dropout(0.5), layers.GaussianNoise(0.1), layers.ActivityPenalty(0.1), layers.Dense(6, 1)], ids=str
)
def test_samples_of_several_axes_are_to_be_flattened_first(layer):
    with pytest.raises(ValueError, match=r"\(put Flatten\(\(2, 3\)\) before it\), got samples of shape \(2, 3\)"):
        layers.Sequential([layer, layers.Flatten((2, 3))]).output_shape((2, 3))


def test_a_layer_that_draws_without_saying_so_is_told():
    class Sly(layers.Layer):
        pass

    step = _step(Sly(), 0, None, resolve("numpy", "float64"))
    with pytest.raises(TypeError, match=r"step\.bits must .*random = True"):
        step.bits((2, 2))
    with pytest.raises(TypeError, match=r"step\.normal must .*random = True"):
        step.normal((2, 2), np.float64)


def test_a_penalty_whose_gradient_is_forgotten_is_caught():
    class Wrong(layers.ActivityPenalty):
        def backward(self, params, cache, dy, *, xp):
            return dy, {}

    check_gradients(Wrong(0.1), X)
    with pytest.raises(AssertionError, match="gradient of x is off"):
        check_gradients(Wrong(0.1), X, training=True)


def test_widths_that_do_not_fit_name_the_layers():
    block = layers.Sequential([layers.Dense(2, 30), layers.Dense(64, 1)])
    with pytest.raises(
        ValueError, match=r"Dense\(64, 1\), layer 1, expects 64 features, got 30 features from Dense\(2, 30\)"
    ):
        block.output_shape((2,))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.Dense(0, 3), "in_features must be >= 1, got 0"),
        (lambda: layers.Dense(2.5, 3), "in_features must be a whole number, got 2.5"),
        (lambda: layers.Dense(2, 3, weight_init="he_norml"), "did you mean 'he_normal'"),
        (lambda: layers.Dropout(1.0), "rate must be >= 0 and < 1, got 1.0"),
        (lambda: layers.Dropout(1.0 - 1e-9), "rate must be >= 0 and < 1"),
        (lambda: layers.Dropout(float("nan")), "rate must be"),
        (lambda: layers.BatchNorm(3, eps=0.0), "eps must be > 0"),
        (lambda: layers.Standardize((0.0,), (0.0,)), r"scale\[0\] must be > 0"),
        (lambda: layers.Standardize((0.0, 1.0), (1.0,)), "mean has 2 features and scale 1"),
        (lambda: layers.Sequential([layers.Dense(2, 3), "relu"]), r"layers\[1\] must be a layer, got 'relu'"),
        (lambda: layers.Sequential(["relu"]), r"got 'relu': write activations.get\('relu'\)"),
        (lambda: layers.Residual([]), "layers must be at least one, got none"),
        (lambda: layers.Dense(3, 4, "relu"), "bias must be True or False, got 'relu': an activation is a layer of its"),
        (lambda: layers.Dense(3, 4, bias=1), "bias must be True or False, got 1"),
        (lambda: layers.LayerNorm(3, bias=None), "bias must be True or False, got None"),
        (lambda: layers.Standardize((0.0,), (1.0,), "inverse"), "inverse must be True or False, got 'inverse'"),
        (lambda: layers.GaussianNoise(Constant), r"std must be a number or a schedule, .*object, Constant\(...\)"),
        (lambda: layers.FeatureEmbedding([3], weight_init="normall"), "unknown initializer 'normall'"),
        (lambda: layers.Residual("relu"), "layers must be a list, got 'relu'"),
        (lambda: layers.Residual(5), "layers must be a list, got 5"),
        (lambda: layers.LayerNorm(3, eps=-1.0), "eps must be > 0"),
        (lambda: layers.RMSNorm(0), "features must be >= 1"),
        (lambda: layers.RMSNorm(3, eps="auto"), "eps must be a number, got 'auto'"),
        (lambda: layers.Flatten(()), "shape must have at least one axis"),
        (lambda: layers.Flatten((2, 0)), r"shape\[1\] must be >= 1, got 0"),
        (lambda: layers.Flatten(5), "shape must be a list, got 5"),
        (lambda: layers.Embedding(0, 3), "count must be >= 1, got 0"),
        (lambda: layers.Embedding((1 << 24) + 1, 3), r"count must be <= 16777216 .*, got 16777217"),
        (lambda: layers.Embedding(3, 2, columns=0), "columns must be >= 1, got 0"),
        (lambda: layers.Embedding(3, 2, weight_init="normall"), "unknown initializer 'normall'"),
        (lambda: layers.FeatureEmbedding([]), "columns must name at least one column"),
        (lambda: layers.FeatureEmbedding([None, 2.5]), r"columns\[1\] must be a whole number, got 2.5"),
        (lambda: layers.FeatureEmbedding([3, None, 4], [2]), "for each of the 2 categorical columns, got 1"),
        (lambda: layers.FeatureEmbedding([3], 0), "features must be >= 1, got 0"),
        (lambda: layers.FeatureEmbedding([3], "wide"), "features must be a list, got 'wide'"),
        (lambda: layers.Maxout(2, 3, pieces=0), "pieces must be >= 1, got 0"),
        (lambda: layers.GaussianNoise(-0.1), "std must be >= 0, got -0.1"),
        (lambda: layers.ActivityPenalty(l2=-1.0), "l2 must be >= 0, got -1"),
        (lambda: layers.Increasing(7, 3), "features must be a multiple of count=3, got 7"),
    ],
)
def test_wrong_hyper_parameters_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
