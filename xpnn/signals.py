"""What can be wrong inside of a network: units that no longer move, and gradients that do not arrive or explode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from xpnn import activations as act
from xpnn.findings import Finding
from xpnn.layers import walk as leaves
from xpnn.walk import Walk

DEAD = 0.5
"""The share of a layer's ReLUs above which those that give 0 for all rows are reported. Training by Adam at 0.01 leaves
up to a third of them so in networks that learn well; one that begins with half of them is born dead (Lu, Shin, Su and
Karniadakis (2020), "Dying ReLU and initialization")."""
SATURATED = 0.5
"""The share of a layer's values above which those at an end of their range are reported. At an end is within a
hundredth of the range, where the slope is below a 25th of its largest (Glorot and Bengio (2010), "Understanding the
difficulty of training deep feedforward neural networks", section 3)."""
CONTRADICTED = 0.4
"""The share of the network's outputs at the wrong end of their range above which they are reported: one answer for all
rows is wrong for half of them where two classes are as many."""
FADED = 1e-3
"""How much smaller (or, inverted, larger) the gradient may be at the first layer's output than where the loss hands it
in. A well-made network keeps it within a factor of 10 (Glorot and Bengio, section 4.2)."""
_ENDS: dict[type, tuple[float, float]] = {
    act.Sigmoid: (0.0, 1.0),
    act.HardSigmoid: (0.0, 1.0),
    act.Tanh: (-1.0, 1.0),
}


def of_units(net: Any, walk: Walk, y: np.ndarray) -> Iterator[Finding]:
    """ReLUs that give 0 for every row; sigmoids and the like at the ends of their range."""
    outputs = [(path, layer) for path, layer in leaves(net.layer) if f"{_label(path)}.delta" in walk]
    last = list(leaves(net.layer))[-1][0]
    for path, layer in outputs:
        values = net.backend.to_host(walk[f"{_label(path)}.output"].value)
        where = f"layer {_label(path)}, {layer!r},"
        if isinstance(layer, act.ReLU) and path != last:
            dead = int((values.reshape(-1, values.shape[-1]) <= 0.0).all(axis=0).sum())
            if dead > DEAD * values.shape[-1]:
                what = f"{dead} of {values.shape[-1]} units of {where} give 0 for all {len(values)} rows"
                advice = (
                    "no gradient passes them: take a lower learning rate, standardized features, or leaky_relu or elu"
                )
                yield Finding("dead units", what, dead / values.shape[-1], advice)
        elif (ends := _ENDS.get(type(layer))) is not None:
            yield from _saturated(values, ends, where, y if path == last else None)


def _saturated(values: np.ndarray, ends: tuple[float, float], where: str, y: np.ndarray | None) -> Iterator[Finding]:
    margin = 0.01 * (ends[1] - ends[0])
    at_end = (values < ends[0] + margin) | (values > ends[1] - margin)
    if y is None:
        share = float(at_end.mean())
        if share > SATURATED:
            what = f"{share:.1%} of the values of {where} lie at the ends of their range, {ends[0]:g} and {ends[1]:g}"
            advice = "hardly a gradient passes there: take standardized features, smaller initial weights, or relu"
            yield Finding("saturated units", what, share, advice)
    elif y.shape == values.shape:
        share = float((at_end & (np.abs(values - y) > 0.5 * (ends[1] - ends[0]))).mean())
        if share > CONTRADICTED:
            what = (
                f"{share:.1%} of the outputs of {where} lie at the wrong end of their range, where the slope is near 0"
            )
            advice = "take a loss that is computed with that activation, such as binary_cross_entropy"
            yield Finding("saturated outputs", what, share, advice)


def of_gradients(net: Any, walk: Walk) -> Iterator[Finding]:
    """The gradient on its way from the loss to the first layer, by the norm of that at each layer's output."""
    deltas = [value for value in walk.backward if value.name.endswith(".delta")]
    sizes = [(value.name.removesuffix(".delta"), _norm(net.backend.to_host(value.value))) for value in deltas]
    bad = next((name for name, size in sizes if not np.isfinite(size)), None)
    if bad is not None:
        advice = "take a lower learning rate, smaller initial weights, standardized features, or clip_norm"
        yield Finding("exploding gradients", f"the gradient at the output of layer {bad} overflows", np.inf, advice)
        return
    fixed = {_label(path) for path, one in leaves(net.layer) if not one.learns and not isinstance(one, act.Activation)}
    while sizes and sizes[0][0] in fixed:  # a Standardize that gives the target its units back scales its gradient too
        del sizes[0]
    if len(sizes) < 2 or sizes[0][1] == 0.0:
        return
    (top, first), (bottom, last) = sizes[0], sizes[-1]
    ratio = last / first
    path = ", ".join(f"{name}: {size:.2g}" for name, size in sizes)
    if ratio < FADED:
        what = f"the gradient at layer {bottom} is {ratio:.2g} times that at layer {top} (norms by layer {path})"
        advice = 'the first layers hardly learn: take relu for sigmoid or tanh, norm="batch", Residual, or fewer layers'
        yield Finding("vanishing gradients", what, ratio, advice)
    elif ratio > 1.0 / FADED:
        what = f"the gradient at layer {bottom} is {ratio:.3g} times that at layer {top} (norms by layer {path})"
        advice = 'take smaller initial weights, norm="batch", standardized features, or clip_norm in the optimizer'
        yield Finding("exploding gradients", what, ratio, advice)


def not_finite(net: Any, walk: Walk) -> Iterator[Finding]:
    """The first output that is not finite, or the loss."""
    for value in (*walk.forward, *walk.loss):
        if not np.isfinite(net.backend.to_host(value.value)).all():
            what = f"{value.name} ({value.by or 'given'}) holds values that are NaN or infinite"
            advice = "see whether weights or features are huge; net.reset() makes the weights new"
            yield Finding("non-finite values", what, np.inf, advice)
            return


def _norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values.astype(np.float64).ravel()))


def _label(path: tuple[int, ...]) -> str:
    return ".".join(map(str, path))
