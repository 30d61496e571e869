"""Keras 3 on JAX: `Model.fit`, silent, and `Model.predict_on_batch`.

The model stays, since each one compiles anew; its weights and the optimizer's are set back.
"""

from __future__ import annotations

import os
from time import perf_counter
from typing import Any

import numpy as np

from tests.benchmarks.peers import CannotRun, Run
from tests.benchmarks.peers.jax_jit import library
from tests.benchmarks.workloads import Workload


def fit(work: Workload, place: str) -> Run:
    os.environ["KERAS_BACKEND"] = "jax"
    library(work, place)
    import keras

    if work.members > 1:
        raise CannotRun("it is measured on one network, W2")
    keras.config.set_floatx(work.dtype)
    keras.config.set_dtype_policy(work.dtype)
    ending = None if work.optimizer and work.loss != "mean_squared_error" else work.output
    widths = [keras.layers.Dense(width, "relu") for width in work.widths[1:-1]]
    model: Any = keras.Sequential([keras.Input(work.widths[:1]), *widths, keras.layers.Dense(work.widths[-1], ending)])
    initial = [array for layer in work.initial() for array in layer]
    model.set_weights(initial)
    x, y = work.data()
    if work.optimizer is None:

        def predict(n: int) -> tuple[float, list[float]]:
            start = perf_counter()
            for _ in range(n):
                out = model.predict_on_batch(x)
            return perf_counter() - start, np.asarray(out)[0].tolist()

        return predict
    if work.output == "sigmoid":
        y = y[:, None].astype(work.dtype)
    model.compile(_optimizer(work), _loss(work))
    variables: Any = None

    def train(n: int) -> tuple[float, list[float]]:
        nonlocal variables
        if variables is None:
            model.optimizer.build(model.trainable_variables)
            variables = [np.array(variable) for variable in model.optimizer.variables]
        model.set_weights(initial)
        for variable, value in zip(model.optimizer.variables, variables, strict=True):
            variable.assign(value)
        keras.utils.set_random_seed(0)
        start = perf_counter()
        history = model.fit(x, y, work.batch, epochs=n, verbose=0, shuffle=work.batch_size is not None)
        return perf_counter() - start, history.history["loss"]

    return train


def _optimizer(work: Workload) -> Any:
    import keras

    if work.optimizer == "sgd":
        return keras.optimizers.SGD(work.learning_rate)
    return keras.optimizers.Adam(work.learning_rate, epsilon=1e-8)


def _loss(work: Workload) -> Any:
    import keras

    if work.loss == "binary_cross_entropy":
        return keras.losses.BinaryCrossentropy(from_logits=True)
    if work.loss == "softmax_cross_entropy":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return keras.losses.MeanSquaredError()
