"""What people hand to fit, step, predict and evaluate, checked and moved to the network's device before anything else.

Every refusal names the argument, what it is and what is wanted, and comes before the network is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from xpnn._arguments import check_number
from xpnn.backend import Backend, describe, to_host

Array = Any


class Data(NamedTuple):
    """Rows with their targets, on the device. Each array is shared by all members or has their axis in front."""

    x: Array  # (n, *sample) or (members, n, *sample)
    y: Array  # (n, outputs) or (n,) class indices, or with the members' axis
    weight: Array | None  # (n,) or (members, n)


class Shapes(NamedTuple):
    """What a network takes and gives, and how many members it has (None for a lone network)."""

    sample: tuple[int, ...]
    output: tuple[int, ...]
    members: int | None
    first: str  # the first layer, for errors
    categories: Mapping[int, int] = {}  # how many categories each column has that holds their indices


def data(
    x: Any,
    y: Any,
    weight: Any,
    loss: Any,
    shapes: Shapes,
    backend: Backend,
    *,
    lead: bool = False,
    check: bool = False,
    class_weight: Any = None,
    of: str = "",
) -> Data:
    """Rows, targets and weights together; `check` looks at their values too, `of` stands before names in errors."""
    x = features(x, shapes, backend, name=f"{of}x", lead=lead)
    y = targets(y, x, loss, shapes, backend, name=f"{of}y")
    weight = weights(weight, x, shapes, backend, name=f"{of}sample_weight")
    if class_weight is not None:
        weight = weights(class_weights(class_weight, weight, y, backend), x, shapes, backend)
    made = Data(x, y, weight)
    if check:
        check_values(made, loss, shapes, backend, (f"{of}x", f"{of}y", f"{of}sample_weight"))
    return made


def features(x: Any, shapes: Shapes, backend: Backend, *, name: str = "x", lead: bool = False) -> Array:
    """`x` on the device, (n, *sample) or (members, n, *sample); with `lead`, a lone network takes leading axes too."""
    x = backend.asarray(x, name)
    check_features(x, shapes, name, lead)
    return x


def check_features(x: Array, shapes: Shapes, name: str = "x", lead: bool = False) -> None:
    """Raise unless the shape of `x` is one that `features` gives."""
    rank = len(shapes.sample)
    wanted = f"(n, {', '.join(map(str, shapes.sample))})"
    if x.ndim == rank and tuple(x.shape) == shapes.sample:
        hint = f"{name}[None, ...]" if rank != 1 or shapes.sample != (1,) else f"{name}[:, None]"
        raise ValueError(f"{name} must be {wanted}, got one sample of shape {tuple(x.shape)}: give {hint}")
    extra = x.ndim - rank - 1
    if extra < 0 or tuple(x.shape[x.ndim - rank :]) != shapes.sample:
        raise ValueError(f"{shapes.first}, expects {name} of shape {wanted}, got an array of shape {tuple(x.shape)}")
    if extra and not (lead and shapes.members is None) and (extra > 1 or x.shape[0] != shapes.members):
        of = (
            "one set of rows" if shapes.members is None else f"an axis of its {shapes.members} members in front or none"
        )
        raise ValueError(f"{name} of shape {tuple(x.shape)} has an axis too many: the network takes {wanted}, {of}")
    if x.shape[extra] == 0:
        raise ValueError(f"{name} has no rows: its shape is {tuple(x.shape)}")


def targets(y: Any, x: Array, loss: Any, shapes: Shapes, backend: Backend, *, name: str = "y") -> Array:
    """`y` on the device, fitting the rows of `x` and the kind of target that the loss declares."""
    lead = tuple(x.shape[: x.ndim - len(shapes.sample)])  # (n,), (members, n) or, for a lone network, (*any, n)
    rows, width, label = lead[-1], shapes.output[-1], getattr(loss, "__name__", type(loss).__name__)
    classes = getattr(loss, "targets", "float") == "classes"
    if not classes and hasattr(loss, "target_width"):
        width = loss.target_width(width)
    y = y if backend.owns(y) else to_host(y, name)
    xp = np if isinstance(y, np.ndarray) else backend.xp
    shape = tuple(y.shape)
    if classes and len(shape) > 1 and shape[-1] == 1 and width > 1 and shape[:-1] in ((rows,), lead):
        y, shape = xp.reshape(y, shape[:-1]), shape[:-1]  # a column of indices
    if classes and shape in ((rows,), lead):
        if not xp.isdtype(y.dtype, ("integral", "bool")):
            raise TypeError(f"{label} takes class indices of an integer type, got {name} as {describe(y)} of {y.dtype}")
        if xp.isdtype(y.dtype, "bool"):
            y = xp.astype(y, xp.int32)
        if xp.iinfo(y.dtype).max > (1 << 31) - 1:  # what int32 would wrap round into the range must stay out of it
            y = xp.where(y > width, xp.asarray(width, dtype=y.dtype, device=getattr(y, "device", None)), y)
            y = xp.where(y < 0, y * 0 - 1, y) if xp.isdtype(y.dtype, "signed integer") else y
        return backend.xp.astype(backend.asarray(y, name, dtype=None), backend.xp.int32)
    if not classes and shape in ((rows,), lead) and width == 1:
        y, shape = xp.reshape(y, (*shape, 1)), (*shape, 1)
    wanted = [(rows, width), (*lead, width)]
    if shapes.members is not None:
        wanted.append((shapes.members, rows, width))
    if shape not in wanted:
        kinds = (
            f"({rows},) class indices or {wanted[0]}" if classes else f"{wanted[0]}" + f" or ({rows},)" * (width == 1)
        )
        raise ValueError(f"{name} must be {kinds} for {rows} rows of x under {label}, got shape {shape}")
    return backend.asarray(y, name)


def weights(weight: Any, x: Array, shapes: Shapes, backend: Backend, *, name: str = "sample_weight") -> Array | None:
    """Sample weights on the device, one for each row (of each member)."""
    if weight is None:
        return None
    weight = backend.asarray(weight, name)
    lead = tuple(x.shape[: x.ndim - len(shapes.sample)])
    wanted = {(lead[-1],), lead} | ({(shapes.members, lead[-1])} if shapes.members else set())
    if tuple(weight.shape) not in wanted:
        raise ValueError(f"{name} must be ({lead[-1]},), one for each row of x, got shape {tuple(weight.shape)}")
    return weight


def check_values(made: Data, loss: Any, shapes: Shapes, backend: Backend, names: tuple[str, ...]) -> None:
    """Raise for NaN or infinity, class indices or probabilities out of range, and negative weights."""
    xp = backend.xp
    for array, name in zip(made, names, strict=True):
        if array is not None and xp.isdtype(array.dtype, "real floating") and not bool(xp.all(xp.isfinite(array))):
            where = np.argwhere(~np.isfinite(backend.to_host(array)))
            raise ValueError(f"{name} holds {len(where)} values that are NaN or infinite, the first at {_at(where[0])}")
    for column, count in shapes.categories.items():
        values = made.x[..., column]
        wrong = (values < 0.0) | (values >= float(count)) | (values != xp.floor(values))
        if bool(xp.any(wrong)):
            first = backend.to_host(values).ravel()[backend.to_host(wrong).ravel()][0]
            raise ValueError(
                f"{names[0]} holds {first:g} in column {column}, which takes whole numbers from 0 to {count - 1}: "
                f"indices of {count} categories"
            )
    if xp.isdtype(made.y.dtype, "integral"):
        low, high, classes = int(xp.min(made.y)), int(xp.max(made.y)), shapes.output[-1]
        if low < 0 or high >= classes:
            raise ValueError(
                f"{names[1]} holds class indices from {low} to {high}, but the network has {classes} outputs: "
                f"indices go from 0 to {classes - 1}"
            )
    elif (bounds := getattr(loss, "target_range", None)) is not None:
        low, high = float(xp.min(made.y)), float(xp.max(made.y))
        if low < bounds[0] or high > bounds[1]:
            raise ValueError(
                f"{names[1]} holds values from {low:g} to {high:g}, but {type(loss).__name__} takes targets "
                f"from {bounds[0]:g} to {bounds[1]:g}"
            )
    if made.weight is not None and float(xp.min(made.weight)) < 0.0:
        raise ValueError(f"{names[2]} must not be negative, got {float(xp.min(made.weight)):g}")


def validation(given: Any, split: float) -> tuple[Any, Any, Any]:
    """x, y and weight of `validation_data`, which excludes a split."""
    if split:
        raise ValueError("give validation_data or validation_split, not both")
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise TypeError(
            f"validation_data must be (x, y) or (x, y, sample_weight), got {describe(given)}{_count(given)}"
        )
    x, y, weight = (*given, None)[:3]
    return x, y, weight


def class_weights(class_weight: Any, weight: Array | None, y: Array, backend: Backend) -> np.ndarray:
    """`weight` times each row's class weight, from {class: weight} or "balanced" (n / (classes * count))."""
    labels = class_labels(y, backend)
    if labels is None:
        raise ValueError("class_weight needs targets that are classes: indices, one-hot rows or a column of 0 and 1")
    lanes = labels.reshape(-1, labels.shape[-1])
    rows = np.stack([_factors(class_weight, lane) for lane in lanes]).reshape(labels.shape)
    return rows if weight is None else rows * backend.to_host(weight)


def _factors(class_weight: Any, labels: np.ndarray) -> np.ndarray:
    """The weight of each label (n,) of one member."""
    classes, counts = np.unique(labels, return_counts=True)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be a dict or 'balanced', got {class_weight!r}")
        table = {int(c): labels.size / (len(classes) * n) for c, n in zip(classes, counts, strict=True)}
    elif isinstance(class_weight, Mapping):
        for label, factor in class_weight.items():
            check_number(f"class_weight[{label!r}]", factor, low=0.0)
        table = {int(c): float(class_weight.get(int(c), 1.0)) for c in classes}
        if unknown := [c for c in class_weight if c not in table]:
            raise ValueError(f"class_weight names classes {unknown} that y does not hold: it holds {list(table)}")
    else:
        raise TypeError(f"class_weight must be a dict or 'balanced', got {class_weight!r}")
    return np.vectorize(table.__getitem__, otypes=[float])(labels)


def class_labels(y: Array, backend: Backend) -> np.ndarray | None:
    """The class of each row as host integers, (n,) or (members, n), or None where the targets are no classes."""
    labels = backend.to_host(y)
    if labels.dtype.kind in "iu":
        return labels
    if labels.ndim < 2 or not np.isin(labels, (0.0, 1.0)).all():
        return None
    if labels.shape[-1] == 1:
        return labels[..., 0].astype(np.int64)
    return labels.argmax(axis=-1) if (labels.sum(axis=-1) == 1.0).all() else None


def _count(values: Any) -> str:
    return f" of {len(values)}" if hasattr(values, "__len__") else ""


def _at(index: np.ndarray) -> str:
    names = ["row", "column"] if len(index) <= 2 else [f"axis {i}" for i in range(len(index))]
    return ", ".join(f"{name} {i}" for name, i in zip(names, index, strict=False))
