"""What a network computes without learning: its output, some rows at a time, and how good that is."""

from collections.abc import Callable, Sequence
from typing import Any

from xpnn import metrics
from xpnn._arguments import check_count
from xpnn.architecture import last_layer
from xpnn.inputs import Shapes
from xpnn.layers import Sequential

Array = Any
Forward = Callable[[Array], Array]

ROWS = 8192
"""How many rows validation within `fit` computes at once, so that its memory stays bounded."""


def output(forward: Forward, x: Array, shapes: Shapes, batch_size: int | None, *, xp: Any) -> Array:
    """The output for all rows of `x`, computed `batch_size` rows at a time (None: as `forward` likes)."""
    if batch_size is not None:
        check_count("batch_size", batch_size)
    axis = x.ndim - len(shapes.sample) - 1
    rows = x.shape[axis]
    if batch_size is None or batch_size >= rows:
        return forward(x)
    before = (slice(None),) * axis
    parts = [
        forward(x[(*before, slice(start, min(start + batch_size, rows)), ...)]) for start in range(0, rows, batch_size)
    ]
    return xp.concat(parts, axis=-1 - len(shapes.output))


def usual_metrics(layer: Sequential, loss: Callable) -> tuple[str, ...]:
    """The accuracy where outputs are classes; no metric says something of every regression."""
    return () if metrics.problem(loss, last_layer(layer)) == "numbers" else ("accuracy",)


def evaluate(
    layer: Sequential,
    found: Array,
    y: Array,
    weight: Array | None,
    loss: Callable,
    chosen: Sequence[Callable],
    *,
    xp: Any,
) -> dict[str, Array]:
    """The loss and the chosen metrics of the outputs that the loss takes, of the members' shape, on the device."""
    values = {"loss": loss(found, y, xp=xp, weight=weight)[0]}
    return values | measured(chosen, found, y, weight, loss, layer, xp=xp)


def measured(
    chosen: Sequence[Callable],
    found: Array,
    y: Array,
    weight: Array | None,
    loss: Callable,
    layer: Sequential,
    *,
    xp: Any,
) -> dict[str, Array]:
    """The chosen metrics of the outputs that the loss takes."""
    values = {}
    for metric in chosen:
        prediction, target, more = metrics.convert(metric, found, y, loss, last_layer(layer), xp=xp)
        values[metrics.name_of(metric)] = metric(prediction, target, xp=xp, weight=weight, **more)
    return values
