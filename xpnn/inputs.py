"""What people hand to fit, step, predict and evaluate, checked and moved to the network's device before anything else.

Every refusal names the argument, what it is and what is wanted, and comes before the network is changed.
"""

from collections.abc import Mapping, Sequence
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
    start: int = 0,
) -> Data:
    """Rows, targets and weights together; `check` looks at their values too.

    In errors `of` stands before names, and rows are counted from `start`.
    """
    x = features(x, shapes, backend, name=f"{of}x", lead=lead)
    y = targets(y, x, loss, shapes, backend, name=f"{of}y")
    weight = weights(weight, x, shapes, backend, name=f"{of}sample_weight")
    if class_weight is not None:
        weight = weights(class_weights(class_weight, weight, y, backend, of), x, shapes, backend)
    made = Data(x, y, weight)
    if check:
        check_values(made, loss, shapes, backend, (f"{of}x", f"{of}y", f"{of}sample_weight"), start)
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
        own = f"with an axis of its {shapes.members} members in front or none"
        wanted += f", {'one set of rows' if shapes.members is None else own}"
        raise ValueError(f"{name} of shape {tuple(x.shape)} has an axis too many: the network takes {wanted}")
    if x.shape[extra] == 0:
        raise ValueError(f"{name} has no rows: its shape is {tuple(x.shape)}")


def targets(y: Any, x: Array, loss: Any, shapes: Shapes, backend: Backend, *, name: str = "y") -> Array:
    """`y` on the device, fitting the rows of `x` and the kind of target that the loss declares."""
    width = shapes.output[-1]
    y = y if backend.owns(y) else to_host(y, name)
    xp = np if isinstance(y, np.ndarray) else backend.xp
    shape, indices = target_shape(tuple(y.shape), leading(x, shapes), loss, shapes, name)
    if indices and shape == (leading(x, shapes)[-1], width) and xp.isdtype(y.dtype, "real floating"):
        indices = False  # probabilities, of as many members and rows as classes
    y = y if shape == tuple(y.shape) else xp.reshape(y, shape)
    if not indices:
        return backend.asarray(y, name)
    if not xp.isdtype(y.dtype, ("integral", "bool")):
        got = f"{name} as {describe(y)} of {y.dtype}"
        raise TypeError(f"{_label(loss)} takes class indices of an integer type, got {got}")
    if xp.isdtype(y.dtype, "bool"):
        y = xp.astype(y, xp.int32)
    if xp.iinfo(y.dtype).max > (1 << 31) - 1:  # what int32 would wrap round into the range must stay out of it
        y = xp.where(y > width, xp.asarray(width, dtype=y.dtype, device=getattr(y, "device", None)), y)
        y = xp.where(y < 0, y * 0 - 1, y) if xp.isdtype(y.dtype, "signed integer") else y
    return backend.xp.astype(backend.asarray(y, name, dtype=None), backend.xp.int32)


def leading(x: Array, shapes: Shapes) -> tuple[int, ...]:
    """The axes of `x` before those of a sample: (n,), (members, n) or, for a lone network, (*any, n)."""
    return tuple(x.shape[: x.ndim - len(shapes.sample)])


def target_shape(
    shape: tuple[int, ...], lead: tuple[int, ...], loss: Any, shapes: Shapes, name: str = "y"
) -> tuple[tuple[int, ...], bool]:
    """The shape that targets of `shape` take for rows of x with `lead` before them, and whether they are indices."""
    rows, width, classes = lead[-1], shapes.output[-1], getattr(loss, "targets", "float") == "classes"
    if not classes and hasattr(loss, "target_width"):
        width = loss.target_width(width)
    if classes and len(shape) > 1 and shape[-1] == 1 and width > 1 and shape[:-1] in ((rows,), lead):
        return shape[:-1], True  # a column of indices
    if classes and shape in ((rows,), lead):
        return shape, True
    if not classes and shape in ((rows,), lead) and width == 1:
        shape = (*shape, 1)
    wanted = [(rows, width), (*lead, width)]
    if shapes.members is not None:
        own = (shapes.members, rows)  # each member's own targets of rows that all share
        wanted.append((*own, width))
        if classes and shape not in wanted and shape in (own, (*own, 1)):
            return own, True
        if not classes and shape not in wanted and shape == own and width == 1:
            shape = (*own, 1)
    if shape not in wanted:
        kinds = (
            f"({rows},) class indices or {wanted[0]}" if classes else f"{wanted[0]}" + f" or ({rows},)" * (width == 1)
        )
        raise ValueError(f"{name} must be {kinds} for {rows} rows of x under {_label(loss)}, got shape {shape}")
    return shape, False


def weights(weight: Any, x: Array, shapes: Shapes, backend: Backend, *, name: str = "sample_weight") -> Array | None:
    """Sample weights on the device, one for each row (of each member)."""
    if weight is None:
        return None
    weight = backend.asarray(weight, name)
    check_weight_shape(tuple(weight.shape), leading(x, shapes), shapes, name)
    return weight


def check_weight_shape(
    shape: tuple[int, ...], lead: tuple[int, ...], shapes: Shapes, name: str = "sample_weight"
) -> None:
    """Raise unless weights of `shape` go with rows of x with `lead` before them."""
    wanted = {(lead[-1],), lead} | ({(shapes.members, lead[-1])} if shapes.members else set())
    if shape not in wanted:
        raise ValueError(f"{name} must be ({lead[-1]},), one for each row of x, got shape {shape}")


def check_values(
    made: Data, loss: Any, shapes: Shapes, backend: Backend, names: tuple[str, ...], start: int = 0
) -> None:
    """Raise for NaN or infinity, class indices or probabilities out of range, and negative weights.

    Errors name the first row of such a value, counted from `start`.
    """
    xp = backend.xp

    def first(wrong: Array, after: int = 0) -> str:
        """Where the first True is; `after` is how many axes the array has after that of its rows."""
        return _at(np.argwhere(backend.to_host(wrong))[0], after, start)

    after = (len(shapes.sample), 0 if xp.isdtype(made.y.dtype, "integral") else 1, 0)
    for array, name, behind in zip(made, names, after, strict=True):
        if array is not None and xp.isdtype(array.dtype, "real floating") and not bool(xp.all(xp.isfinite(array))):
            wrong = ~np.isfinite(backend.to_host(array))
            raise ValueError(
                f"{name} holds {wrong.sum()} values that are NaN or infinite, the first at {first(wrong, behind)}"
            )
    for column, count in shapes.categories.items():
        values = made.x[..., column]
        wrong = (values < 0.0) | (values >= float(count)) | (values != xp.floor(values))
        if bool(xp.any(wrong)):
            found = backend.to_host(values).ravel()[backend.to_host(wrong).ravel()][0]
            raise ValueError(
                f"{names[0]} holds {found:g} in column {column}, which takes whole numbers from 0 to {count - 1}: "
                f"indices of {count} categories; the first that is none is at {first(wrong)}"
            )
    if xp.isdtype(made.y.dtype, "integral"):
        low, high, classes = int(xp.min(made.y)), int(xp.max(made.y)), shapes.output[-1]
        if low < 0 or high >= classes:
            where = first((made.y < 0) | (made.y >= classes))
            raise ValueError(
                f"{names[1]} holds class indices from {low} to {high}, but the network has {classes} outputs: "
                f"indices go from 0 to {classes - 1}; the first that does not is at {where}"
            )
    elif (bounds := getattr(loss, "target_range", None)) is not None:
        low, high = float(xp.min(made.y)), float(xp.max(made.y))
        if low < bounds[0] or high > bounds[1]:
            where = first((made.y < bounds[0]) | (made.y > bounds[1]), 1)
            raise ValueError(
                f"{names[1]} holds values from {low:g} to {high:g}, but {_label(loss)} takes targets "
                f"from {bounds[0]:g} to {bounds[1]:g}; the first outside is at {where}"
            )
    if made.weight is not None and (low := float(xp.min(made.weight))) < 0.0:
        raise ValueError(
            f"{names[2]} must not be negative, got {low:g}; the first below 0 is at {first(made.weight < 0.0)}"
        )


def validation(given: Any, split: float) -> tuple[Any, Any, Any]:
    """x, y and weight of `validation_data`, which excludes a split; of an iterable of batches itself and nothing."""
    if split:
        raise ValueError("give validation_data or validation_split, not both")
    named = isinstance(given, tuple | list | str | Mapping) or hasattr(given, "shape")
    if not named and hasattr(given, "__iter__"):
        return given, None, None
    return triple("validation_data", given)


def triple(name: str, given: Any) -> tuple[Any, Any, Any]:
    """x, y and weight of (x, y) or (x, y, sample_weight); raises TypeError for anything else."""
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        count = f" of {len(given)}" if isinstance(given, Sequence) else ""
        raise TypeError(f"{name} must be (x, y) or (x, y, sample_weight), got {describe(given)}{count}")
    x, y, weight = (*given, None)[:3]
    return x, y, weight


def class_weights(class_weight: Any, weight: Array | None, y: Array, backend: Backend, of: str = "") -> np.ndarray:
    """`weight` times each row's class weight, from {class: weight} or "balanced" (n / (classes * count))."""
    labels = labels_to_weigh(y, backend)
    lanes = labels.reshape(-1, labels.shape[-1])
    rows = np.stack([class_factors(class_weight, lane, of) for lane in lanes]).reshape(labels.shape)
    return rows if weight is None else rows * backend.to_host(weight)


def labels_to_weigh(y: Array, backend: Backend) -> np.ndarray:
    """The class of each row, as `class_labels` gives it; raises ValueError where the targets are no classes."""
    labels = class_labels(y, backend)
    if labels is None:
        raise ValueError("class_weight needs targets that are classes: indices, one-hot rows or a column of 0 and 1")
    return labels


def class_factors(class_weight: Any, labels: np.ndarray, of: str = "") -> np.ndarray:
    """The weight of each label (n,) of one member; in errors `of` stands before y."""
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
            raise ValueError(f"class_weight names classes {unknown} that {of}y does not hold: it holds {list(table)}")
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


def _label(loss: Any) -> str:
    return getattr(loss, "__name__", type(loss).__name__)


def _at(index: np.ndarray, after: int, start: int) -> str:
    """An index in words: `after` axes come after that of the rows, which are counted from `start`.

    >>> _at(np.asarray([1, 2, 3]), 1, 100)
    'member 1, row 102, column 3'
    """
    rows = len(index) - 1 - after
    names = ["member"] * rows + ["row"] + (["column"] if after == 1 else [f"axis {i + 1}" for i in range(after)])
    return ", ".join(f"{name} {i + start * (name == 'row')}" for name, i in zip(names, index, strict=True))
