"""The training loop of "How to code a neural network from scratch in Python", in plain NumPy, for its own problem.

It is transcribed with its slips, which do not change what it costs: biases move by the mean and weights by the sum over
the rows, without the factor 2 / n, and the derivative of ReLU overwrites its argument. Its learning rate of 0.001 is
the workload's 0.15 in those terms. It records the error of the rounded predictions.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from tests.benchmarks.peers import CannotRun, Run
from tests.benchmarks.workloads import Workload


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def sigmoid_slope(y: np.ndarray) -> np.ndarray:
    return y * (1 - y)


def relu(z: np.ndarray) -> np.ndarray:
    return z * (z > 0)


def relu_slope(y: np.ndarray) -> np.ndarray:
    y[y <= 0] = 0
    y[y > 0] = 1
    return y


def epoch(layers: list[list[Any]], x: np.ndarray, y: np.ndarray, learning_rate: float) -> np.ndarray:
    """One update of [weight, bias, activation, slope] of every layer, and the prediction before it."""
    output = [x]
    for weight, bias, activation, _ in layers:
        z = output[-1] @ weight + bias
        output.append(activation(z))
    prediction = output[-1]
    delta = before = None
    for n in reversed(range(len(layers))):
        weight, bias, _, slope = layers[n]
        a = output[n + 1]
        delta = (a - y) * slope(a) if before is None else delta @ before * slope(a)
        before = weight.transpose()
        layers[n][1] = bias - np.mean(delta, axis=0, keepdims=True) * learning_rate
        layers[n][0] = weight - output[n].transpose() @ delta * learning_rate
    return prediction


def script(work: Workload, place: str) -> Run:
    if not work.circles:
        raise CannotRun("it trains its own network on its own data")
    x, y = work.data()
    y = y[:, None].astype(x.dtype)
    *hidden, last = work.initial()
    learning_rate = work.learning_rate * 2 / len(x)

    def run(n: int) -> tuple[float, list[float]]:
        layers = [[weight, bias[None, :], relu, relu_slope] for weight, bias in hidden]
        layers.append([last[0], last[1][None, :], sigmoid, sigmoid_slope])
        errors = []
        start = perf_counter()
        for _ in range(n):
            prediction = epoch(layers, x, y, learning_rate)
            errors.append(np.mean((np.round(prediction) - y) ** 2))
        return perf_counter() - start, errors

    return run
