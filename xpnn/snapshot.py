"""A network as named arrays and text, and back: what `save` writes, and what `load` and a resumed `fit` read.

The arrays are named as in `net.layouts`, "0.weight" and so on, as the network shows them; the text says which layers,
seeds and dtype. With the training state there are the optimizer's arrays and the counts too, and the arrays are those
that training goes on from.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn import files
from xpnn._arguments import hyper_parameter
from xpnn._version import __version__
from xpnn.description import built, customs, described
from xpnn.files import UnusableFile
from xpnn.optimizers import Optimizer
from xpnn.progress import COUNTS, Carry, Progress, map_arrays

Array = Any


class Snapshot(NamedTuple):
    """What a file says, its text read and nothing made of it yet."""

    path: Any
    tensors: dict[str, np.ndarray]
    network: Mapping[str, Any]
    training: Mapping[str, Any] | None  # where training stands
    fit: Mapping[str, Any] | None  # where one `fit` stands in its epochs
    metadata: Mapping[str, Any]


def write(
    net: Any,
    path: Any,
    metadata: Mapping[str, Any],
    training: bool,
    fit: tuple[Mapping[str, Any], Mapping[str, np.ndarray]] | None = None,
) -> None:
    """Write the network to `path`; `fit` are further settings and arrays. Raises before anything is written."""
    now = net.progress
    carry = now.carry if training else now.shown
    tensors, texts = dict(_arrays(net, carry)), {"xpnn": __version__, "network": _text(structure(net), "layers")}
    told = [net.layers]
    if training and now.carry.memory is not None:
        told += [now.loss, now.optimizer]
        names = ("loss", "optimizer", "learning_rate")
        state = {name: described(getattr(now, name), name) for name in names}
        counts = {name: np.asarray(getattr(now, name)).tolist() for name in COUNTS}
        texts["training"] = _text(state | counts, "training")
        tensors |= {name: net.backend.to_host(array) for name, array in _named(now.carry.memory)}
    customs(tuple(told))  # refuses two of one name
    if fit is not None:
        texts["fit"] = _text(fit[0], "the state of a callback")
        tensors |= fit[1]
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a dict of what JSON has, got {metadata!r}")
    texts["metadata"] = _text(dict(metadata), "metadata")
    files.write(path, tensors, texts)


def _text(value: Any, name: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        wanted = f"{name} must be of numbers, texts, lists and dicts to be written into a file"
        raise TypeError(f"{wanted}: {error}") from None


def structure(net: Any) -> dict[str, Any]:
    layers = described(net.layers, "layers")
    return {"layers": layers, "seeds": list(net.seeds), "members": net.members, "dtype": net.backend.dtype}


def _arrays(net: Any, carry: Carry) -> Iterator[tuple[str, np.ndarray]]:
    """The parameters and the layer state by name, on the host."""
    for layout, vector in zip(net.layouts, carry[:2], strict=True):
        if layout.size:
            tree = layout.unflatten(net.backend.to_host(vector), xp=np)
            yield from ((entry.label, array) for entry, array in layout.pairs(tree))


def _named(memory: Any, name: str = "optimizer") -> Iterator[tuple[str, Array]]:
    """The arrays of an optimizer's state, named as its fields are."""
    if isinstance(memory, tuple):
        for i, part in enumerate(memory):
            field = getattr(memory, "_fields", range(len(memory)))[i]
            yield from _named(part, f"{name}.{field}")
    elif memory is not None:
        yield name, memory


def read(path: Any) -> Snapshot:
    """What the file at `path` says; raises UnusableFile and OSError."""
    tensors, texts = files.read(path)
    try:
        found = {name: json.loads(texts.get(name, "null")) for name in ("network", "training", "fit", "metadata")}
    except (ValueError, RecursionError) as error:
        raise UnusableFile(f"{path}: its text cannot be read: {error}") from None
    if not isinstance(found["network"], dict):
        raise UnusableFile(f"{path} describes no network: the files of net.save do")
    return Snapshot(path, tensors, **found)


def built_of(snapshot: Snapshot, data: Any, custom: Mapping[str, Any]) -> Any:
    """What the file describes by `data`; raises UnusableFile."""
    try:
        return built(data, custom)
    except Exception as error:
        raise UnusableFile(f"{snapshot.path}: {error}") from error


def progress_of(snapshot: Snapshot, net: Any, custom: Mapping[str, Any]) -> Progress:
    """Where the file leaves a network of these layers, as its own arrays; loss and optimizer made anew."""
    if snapshot.training is None:
        return Progress(_carry(snapshot, net))
    loss, optimizer = (built_of(snapshot, snapshot.training.get(name), custom) for name in ("loss", "optimizer"))
    if not callable(loss) or not isinstance(optimizer, Optimizer):
        raise UnusableFile(f"{snapshot.path} has no loss and optimizer that training can go on with")
    return continued(snapshot, net, loss, optimizer, custom)


def continued(snapshot: Snapshot, net: Any, loss: Any, optimizer: Any, custom: Mapping[str, Any]) -> Progress:
    """The same with this loss and this optimizer."""
    carry, training, xp = _carry(snapshot, net), snapshot.training or {}, net.backend.xp
    fresh = optimizer.init(carry.params, xp=xp)
    names = iter([name for name, _ in _named(fresh)])
    memory = map_arrays(lambda array: _like(snapshot, next(names), array, net), fresh)
    try:
        counts = {name: _count(training[name], net.members) for name in COUNTS}
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableFile(f"{snapshot.path}: its counts of epochs and steps cannot be used: {error}") from None
    rate = built_of(snapshot, training.get("learning_rate"), custom)
    try:
        rate = None if rate is None else hyper_parameter("learning_rate", rate)
    except (TypeError, ValueError) as error:
        raise UnusableFile(f"{snapshot.path}: {error}") from None
    return Progress(carry._replace(memory=memory), loss, optimizer, **counts, learning_rate=rate)


def _count(value: Any, members: int | None) -> Any:
    numbers = value if isinstance(value, list) else [value]
    if any(type(one) is not int or one < 0 for one in numbers) or (numbers is value and len(value) != members):
        raise ValueError(f"{value!r} for {members or 1} members")
    return np.asarray(value, np.int64) if isinstance(value, list) else value


def _carry(snapshot: Snapshot, net: Any) -> Carry:
    """Parameters and layer state as the network's own vectors."""
    lead, vectors = () if net.members is None else (net.members,), []
    names = {entry.label for layout in net.layouts for entry in layout.entries}
    given = {name for name in snapshot.tensors if name[:1].isdigit()}
    if given != names:
        raise UnusableFile(
            f"{snapshot.path} has not the arrays of its layers: missing {sorted(names - given)}, beyond "
            f"them {sorted(given - names)}"
        )
    kind = snapshot.network.get("dtype")
    for layout, now in zip(net.layouts, net.progress.carry[:2], strict=True):
        parts = []
        for entry in layout.entries:
            array = snapshot.tensors[entry.label]
            _check(snapshot, entry.label, array, (*lead, *entry.shape), kind)
            parts.append(array.reshape((*lead, entry.stop - entry.start)))
        vectors.append(net.backend.asarray(np.concatenate(parts, axis=-1)) if layout.size else now)
    return Carry(vectors[0], vectors[1], None)


def _check(snapshot: Snapshot, name: str, array: np.ndarray, shape: Sequence[int], dtype: Any) -> None:
    if array.shape != tuple(shape):
        raise UnusableFile(f"{snapshot.path}: {name} must have shape {tuple(shape)}, it has {array.shape}")
    if array.dtype.name != dtype:
        raise UnusableFile(f"{snapshot.path}: {name} must be {dtype}, it is {array.dtype.name}")


def _like(snapshot: Snapshot, name: str, fresh: Array, net: Any) -> Array:
    """The array of that name, of the kind of one that has just begun."""
    if name not in snapshot.tensors:
        raise UnusableFile(f"{snapshot.path} lacks {name}, which the optimizer needs to go on")
    array, xp = snapshot.tensors[name], net.backend.xp
    real = xp.isdtype(fresh.dtype, "real floating")
    _check(snapshot, name, array, fresh.shape, snapshot.network.get("dtype") if real else array.dtype.name)
    return net.backend.copy(net.backend.asarray(array, dtype=fresh.dtype))
