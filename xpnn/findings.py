"""What can be wrong with data before a network sees it: features, targets, and how they go with the network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from xpnn import activations as act
from xpnn import inputs, layers, losses
from xpnn.architecture import last_layer, trunk
from xpnn.inputs import Data

SCALES = 100.0
"""How far the largest values of two features may be apart. Curvatures go with the square: a learning rate that one
feature allows is then 10^4 times too small for the other (LeCun, Bottou, Orr and Mueller (1998), "Efficient BackProp",
section 4.3). A rare column of 0 and 1 beside standardized ones stays far below."""
LARGE, SMALL = 30.0, 0.01
"""The root mean square of features, or of what the last layers are to give, beyond which initial weights, which are
drawn for numbers about 1, are of the wrong size: a sum of inputs of size 30 has a tanh or a sigmoid at its ends, and
Adam at 0.001 takes 10^4 steps for a bias to come to 10. Bytes of pictures (0 to 255) and prices are above."""
ALONE = 0.995
"""The share of each class's rows that one feature tells by thresholds, from which on it is suspicious."""
CORRELATION = 0.999
"""The correlation of a feature with the target, of values or of ranks, from which on it is suspicious: but for 0.2 % of
the variance it is the target."""
ENOUGH = 30
"""Rows from which on such a feature is not one by chance: two classes of 15 rows part in 1 of 8e7 random orders."""
IMBALANCE = 10.0
"""How many times as large as the rarest class the largest may be: above, always the same answer is right for 10 of 11
rows of two classes, and accuracy says little (He and Garcia (2009), "Learning from imbalanced data")."""
ROWS = 20_000
"""How many rows, drawn at random, are sorted and correlated."""
_ENDS: dict[type, tuple[float, float]] = {
    act.Sigmoid: (0.0, 1.0),
    act.Softmax: (0.0, 1.0),
    act.Tanh: (-1.0, 1.0),
    act.ReLU: (0.0, np.inf),
    act.Softplus: (0.0, np.inf),
}


class Finding(NamedTuple):
    """Something that a checkup found."""

    kind: str  # "constant features", "learning rate too high" ...
    what: str  # what was seen
    number: float  # how much of it
    advice: str  # what to do

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}. {self.advice}."


def not_finite(data: Data, net: Any) -> Iterator[Finding]:
    """NaN and infinity in what is given."""
    for array, name in zip(data, ("x", "y", "sample_weight"), strict=True):
        wrong = ~np.isfinite(net.backend.to_host(array)) if array is not None else np.zeros(1, dtype=bool)
        if wrong.any():
            row = int(np.argwhere(wrong)[0][0])
            count = "1 value" if wrong.sum() == 1 else f"{wrong.sum()} values"
            what = f"{count} of {name} {_are(int(wrong.sum()))} NaN or infinite, the first in row {row}"
            rest = "; a file that is read wrongly, or a division by 0, may be the cause"
            yield Finding("non-finite values", what, float(wrong.sum()), f"fill them in or leave those rows out{rest}")


def of_features(net: Any, x: np.ndarray, y: np.ndarray, labels: np.ndarray | None, names: Any) -> Iterator[Finding]:
    """Features (n, *sample) that carry nothing, the same twice, too much, or numbers of the wrong size."""
    if len(x) < 2:
        return
    flat = x.reshape(len(x), -1).astype(np.float64)
    low, high = flat.min(axis=0), flat.max(axis=0)
    eps = 10.0 * np.finfo(x.dtype).eps
    constant = high - low <= eps * np.maximum(np.abs(low), np.abs(high))
    if constant.any():
        which, count = _columns(np.flatnonzero(constant), names), int(constant.sum())
        what = f"{count} of {constant.size} features {_are(count)} the same in all rows: {which}"
        advice = "they carry nothing: leave them out, or see whether they were read rightly"
        yield Finding("constant features", what, float(count), advice)
    numeric = np.asarray([i for i in np.flatnonzero(~constant) if i not in net.shapes.categories], dtype=int)
    yield from _scales(net, x, numeric, names)
    rng = np.random.default_rng(0)
    rows = np.arange(len(x)) if len(x) <= ROWS else rng.choice(len(x), ROWS, replace=False)
    yield from _twins(flat[rows], np.flatnonzero(~constant), names)
    if len(x) >= ENOUGH and constant.size > 1:
        yield from _telling(flat[rows], y[rows], None if labels is None else labels[rows], numeric, names)


def _scales(net: Any, x: np.ndarray, numeric: np.ndarray, names: Any) -> Iterator[Finding]:
    """The sizes of the features as the first layer that learns sees them."""
    seen, backend = net.backend.asarray(x), net.backend
    for index, layer in enumerate(net.layers):
        learns = layer.learns or isinstance(layer, act.Activation)
        if isinstance(layer, layers.BatchNorm):
            return  # which standardizes by itself
        if learns and not isinstance(layer, layers.FeatureEmbedding):
            break
        if not learns:
            seen = layer.forward(net.params[index], seen, xp=backend.xp)[0]
    seen = backend.to_host(seen).reshape(len(x), -1).astype(np.float64)
    if not numeric.size or seen.shape[1] <= numeric.max():
        return
    seen = seen[:, numeric]
    size, norm = np.abs(seen).max(axis=0), float(np.sqrt(np.mean(seen * seen)))
    most, least = int(size.argmax()), int(size.argmin())
    advice = "put xpnn.Standardize.fit(x) before the first layer, of the training rows alone"
    if size[most] > SCALES * size[least]:
        ends = (f"{_columns([numeric[i]], names)} at most {size[i]:.3g}" for i in (least, most))
        ratio = float(size[most] / size[least]) if size[least] else np.inf
        what = f"features are on scales {ratio:.3g} times apart: {' and '.join(ends)} in size"
        yield Finding("scales of features", what, ratio, advice)
    elif not SMALL <= norm <= LARGE:
        what = f"the features' root mean square is {norm:.3g}, where initial weights suit numbers about 1"
        yield Finding("size of features", what, norm, advice)


def _twins(flat: np.ndarray, varying: np.ndarray, names: Any) -> Iterator[Finding]:
    """Columns that are equal but for scale and offset, with the same sign: encoders give the two of a yes and a no."""
    first: dict[bytes, int] = {}
    pairs = []
    for column in varying:
        values = flat[:, column] - flat[:, column].mean()
        values = np.round(values / max(float(np.sqrt(np.mean(values * values))), 1e-300), 4) + 0.0
        twin = first.setdefault(values.tobytes(), int(column))
        if twin != column:
            pairs.append(f"{_columns([column], names)} and {_columns([twin], names)}")
    if pairs and len(flat) > 2:
        what = f"{len(pairs)} features repeat others, but for scale and offset: {_some(pairs)}"
        yield Finding("duplicated features", what, float(len(pairs)), "leave one of each pair out")


def _telling(
    flat: np.ndarray, y: np.ndarray, labels: np.ndarray | None, numeric: np.ndarray, names: Any
) -> Iterator[Finding]:
    """Features that alone nearly determine the target."""
    for column in numeric:
        values = flat[:, column]
        if labels is not None:
            number, least = _told(values, labels), ALONE
            seen = f"tells the class of {number:.1%} of the rows by thresholds"
        else:
            number, least = max(map(abs, _correlations(values, y.reshape(len(y), -1)))), CORRELATION
            seen = f"is correlated with the target by {number:.4f}"
        if number >= least:
            advice = "see whether it is known when predictions are made, or comes from the answer; leave it out if so"
            yield Finding("a telling feature", f"{_columns([column], names)} alone {seen}", float(number), advice)


def _told(values: np.ndarray, labels: np.ndarray) -> float:
    """The share of each class's rows that thresholds between the classes tell, of the two classes told worst.

    Classes of fewer than five rows are left out.
    """
    classes, counts = np.unique(labels, return_counts=True)
    groups = [np.sort(values[labels == one]) for one in classes[counts >= 5]]
    groups.sort(key=lambda group: float(np.median(group)))
    if len(groups) < 2:
        return 0.0
    errors = []
    for below, above in pairwise(groups):
        cuts = np.concatenate([below, above])
        wrong_below = 1.0 - np.searchsorted(below, cuts, "right") / len(below)
        wrong_above = np.searchsorted(above, cuts, "right") / len(above)
        errors.append(float(np.min(wrong_below + wrong_above)) / 2.0)
    return 1.0 - max(errors)


def _correlations(values: np.ndarray, y: np.ndarray) -> Iterator[float]:
    """Pearson's and Spearman's with each target."""
    for target in y.T:
        for one, other in ((values, target), (_ranks(values), _ranks(target))):
            spread = float(np.std(one) * np.std(other))
            yield float(np.mean((one - one.mean()) * (other - other.mean())) / spread) if spread > 0.0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * counts)[inverse]


def of_targets(
    net: Any, loss: Any, y: np.ndarray, labels: np.ndarray | None, weight: np.ndarray | None, prediction: np.ndarray
) -> Iterator[Finding]:
    """Classes that are rare or missing, and numbers that the network does not reach, or not soon."""
    if labels is not None:
        width = net.shapes.output[-1]
        counts = np.bincount(labels, weights=weight, minlength=width if width > 1 else 2)
        missing = np.flatnonzero(counts == 0.0)
        if missing.size:
            what = f"{missing.size} of {counts.size} classes {_are(missing.size)} not in y: {_some(missing)}"
            yield Finding("missing classes", what, float(missing.size), "see whether y is whole and rightly numbered")
        rare, common = (counts[counts > 0.0].min(), counts.max()) if counts.any() else (1.0, 1.0)
        if common > IMBALANCE * rare:
            rarest = int(np.flatnonzero(counts == rare)[0])
            what = f"class {int(counts.argmax())} weighs {common:.6g} and class {rarest} {rare:.6g}"
            advice = (
                'take class_weight="balanced" in fit, and metrics such as "balanced_accuracy" or "average_precision"'
            )
            yield Finding("imbalanced classes", f"{what}, {common / rare:.3g} to 1", float(common / rare), advice)
        return
    inner, ends = loss.loss if isinstance(loss, losses.Penalized) else loss, _ENDS.get(type(last_layer(net.layer)))
    plain = getattr(inner, "link", None) is None and getattr(inner, "target_range", None) is None
    if not plain or isinstance(inner, losses.CosineDistance):
        return
    y = y.astype(np.float64)
    if ends is not None and trunk(net.layer, loss) is net.layer:
        outside = float(np.mean((y < ends[0]) | (y > ends[1])))
        if outside:
            what = f"{outside:.1%} of the targets lie outside of {ends[0]:g} to {ends[1]:g}, which is all that"
            what += f" {last_layer(net.layer)}, the last layer, can give"
            yield Finding(
                "targets out of reach", what, outside, "leave the last activation out, or scale y to its range"
            )
            return
    if prediction.shape == y.shape and np.mean((prediction - y) ** 2) < 0.5 * np.var(y):
        return  # it gives targets of that size already
    end = net.layers[-1]
    if isinstance(end, layers.Standardize) and end.inverse:
        y = (y - np.asarray(end.mean)) / np.asarray(end.scale)
    norm, spread = float(np.sqrt(np.mean(y * y))), float(np.std(y, axis=0).max())
    advice = "standardize y, or end the network in xpnn.Standardize.fit(y, inverse=True), which gives the units back"
    if spread == 0.0:
        yield Finding("constant target", "y is the same in all rows", 0.0, "see whether it was read rightly")
    elif norm > LARGE or spread < SMALL:
        what = f"the targets' root mean square is {norm:.3g} and their spread {spread:.3g}, where a network begins at 1"
        yield Finding("scale of targets", what, norm, advice)


def class_labels(y: Any, backend: Any) -> np.ndarray | None:
    """The class of each row where the targets are classes, by any loss."""
    return inputs.class_labels(y, backend)


def _columns(columns: Any, names: Any) -> str:
    shown = [f"{i}" if names is None else f"{i} ({names[i]!r})" for i in columns]
    return f"column{'s' * (len(shown) > 1)} {_some(shown)}"


def _some(words: Any) -> str:
    words = [str(word) for word in words]
    return ", ".join(words if len(words) <= 5 else [*words[:5], f"and {len(words) - 5} more"])


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
