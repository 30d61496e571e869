"""Going on with a `fit` that was broken off: what a checkpoint holds of its epochs, and the way back into them.

Everything that further epochs depend on is in it: parameters, layer state, the optimizer's state, counts, what was
recorded, which members have stopped and what each callback has seen. Orders of rows and random bits depend on seed and
epoch alone. So the fit ends where one that was never broken off would have ended.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn import snapshot
from xpnn.callbacks import Callback
from xpnn.callbacks.checkpoint import latest
from xpnn.description import customs, described
from xpnn.files import UnusableFile
from xpnn.history import History
from xpnn.progress import Progress
from xpnn.snapshot import Snapshot


class Standing(NamedTuple):
    """Where a fit stands after an epoch that nothing undoes any more: `save(path)` writes all that it takes to go on.

    `rates` are the learning rates of a stack's members that have stopped, as they were then.
    """

    net: Any
    history: History
    watchers: Sequence[Callback]
    rates: Mapping[int, Any]

    def save(self, path: Any) -> None:
        """Write it to `path`, in place of what is there; raises OSError where it cannot be written."""
        arrays: dict[str, Any] = {}
        states = [
            [type(watcher).__name__, _packed(watcher.state(), f"callbacks.{i}", arrays)]
            for i, watcher in enumerate(_keeping(self.watchers))
        ]
        history, rates = self.history, {str(k): described(rate, "rate") for k, rate in self.rates.items()}
        fit = {"callbacks": states, "rates": rates, "better": history.better, "stop_reason": history.stop_reason}
        arrays["history.epoch"] = np.asarray(history.epoch, np.int64)
        if history.trained is not None:
            arrays["history.trained"] = history.trained
        recorded = {name: np.asarray(values, np.float64) for name, values in history.history.items()}
        arrays |= {f"history.of.{name}": values for name, values in recorded.items()}
        host = {name: self.net.backend.to_host(array) for name, array in arrays.items()}
        snapshot.write(self.net, path, {}, True, (fit | {"recorded": list(recorded)}, host))


class Resumed(NamedTuple):
    """Where a checkpoint says that a fit stands."""

    progress: Progress
    history: History
    rates: dict[int, Any]
    states: list[Any]  # of the callbacks that have one, in their order

    def hand_out(self, net: Any, watchers: Sequence[Callback]) -> None:
        """Give each callback what it knew."""
        for watcher, state in zip(_keeping(watchers), self.states, strict=True):
            watcher.restore(net, state)


def _keeping(watchers: Sequence[Callback]) -> list[Callback]:
    """The callbacks that have a state."""
    return [watcher for watcher in watchers if type(watcher).state is not Callback.state]


def resumed(
    net: Any, place: Any, loss: Any, optimizer: Any, watchers: Sequence[Callback], better: Mapping[str, str]
) -> Resumed | None:
    """Where the file at `place`, or the latest checkpoint in that folder, leaves this fit; None where there is none.

    Raises
    ------
    UnusableFile for a file that is damaged; ValueError where it is of another network or another training, naming what
    differs. Nothing is changed then.
    """
    path = latest(place)
    if path is None:
        return None
    found = snapshot.read(path)
    if found.training is None or found.fit is None:
        raise ValueError(f"resume: {path} is a network and no checkpoint of a fit: xpnn.load gives the network")
    _compare(found, net, loss, optimizer)
    fit: Mapping[str, Any] = found.fit
    history = history_of(found, net.members)
    try:
        names, states = [name for name, _ in fit["callbacks"]], [state for _, state in fit["callbacks"]]
        rates = {int(k): snapshot.built_of(found, rate, {}) for k, rate in fit["rates"].items()}
        states = [_unpacked(state, found.tensors) for state in states]
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableFile(f"{path}: its record of training cannot be used: {error!r}") from error
    mine = [type(watcher).__name__ for watcher in _keeping(watchers)]
    for what, given, wanted in (("callbacks", mine, names), ("records", list(better), list(history.better))):
        if given != wanted:
            raise ValueError(f"resume: {path} is of a fit with the {what} {wanted}, this one has {given}")
    if history.epoch and history.epoch[0] != net.epoch:
        began = f"{path} is of a fit that began after {history.epoch[0]} epochs"
        raise ValueError(f"resume: {began}, this network has {net.epoch} behind it")
    known = customs((net.layers, loss, optimizer))
    return Resumed(snapshot.continued(found, net, loss, optimizer, known), history, rates, states)


def _compare(found: Snapshot, net: Any, loss: Any, optimizer: Any) -> None:
    """Raise where the checkpoint is of another network, loss or optimizer."""
    mine = snapshot.structure(net) | {"loss": described(loss, "loss"), "optimizer": described(optimizer, "optimizer")}
    theirs = {**found.network, **(found.training or {})}
    for name, own in mine.items():
        other = theirs.get(name)
        if other == own:
            continue
        if isinstance(own, list) and isinstance(other, list) and len(own) == len(other):
            k = next(k for k, pair in enumerate(zip(own, other, strict=True)) if pair[0] != pair[1])
            name, own, other = f"{name}[{k}]", own[k], other[k]
        raise ValueError(
            f"resume: {found.path} was made with another {name}:\n  there {other}\n  here  {own}\nGive the same "
            "network, loss and optimizer as then, or another folder"
        )


def history_of(found: Snapshot, members: int | None) -> History:
    """What was recorded until the checkpoint; nothing where the file is none. Raises UnusableFile."""
    if found.fit is None:
        return History(members=members)
    try:
        history = History(found.fit["better"], members)
        history.epoch = found.tensors["history.epoch"].tolist()
        for name in found.fit["recorded"]:
            values = found.tensors[f"history.of.{name}"]
            history.history[name] = list(values) if values.ndim > 1 else values.tolist()
        if members is not None:
            history.trained = found.tensors["history.trained"].copy()
        reasons = found.fit["stop_reason"] if members is not None else [found.fit["stop_reason"]]
        reasons = [None if one == "time" else one for one in reasons]  # who ran out of time may have got more since
    except (KeyError, TypeError) as error:
        raise UnusableFile(f"{found.path}: its record of training cannot be used: {error!r}") from error
    history.stop_reason = reasons if members is not None else reasons[0]
    return history


def _packed(state: Any, name: str, arrays: dict[str, Any]) -> Any:
    """The state of a callback as JSON has it, its arrays put into `arrays` by name."""
    if isinstance(state, Mapping):
        return {str(key): _packed(value, f"{name}.{key}", arrays) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_packed(value, f"{name}.{i}", arrays) for i, value in enumerate(state)]
    if isinstance(state, np.generic):
        return state.item()
    if hasattr(state, "shape"):
        arrays[name] = state
        return {"array": name}
    return state


def _unpacked(state: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    if isinstance(state, list):
        return [_unpacked(one, tensors) for one in state]
    if isinstance(state, dict):
        if list(state) == ["array"]:
            return tensors[state["array"]].copy()
        return {name: _unpacked(value, tensors) for name, value in state.items()}
    return state
