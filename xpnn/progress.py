"""Where training stands: what a step changes, and the counts beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn.backend import Backend
from xpnn.optimizers import Optimizer
from xpnn.own import merged, merged_number, own, own_number

Array = Any
COUNTS = ("epoch", "step", "first")


class Carry(NamedTuple):
    """What a training step changes, and all of it."""

    params: Array  # (*members, n_params)
    state: Array  # (*members, n_state): what layers carry along without learning it
    memory: Any  # the optimizer's state

    def arrays(self) -> list[Array]:
        """All of them in order."""
        return leaves(self)

    def made_of(self, arrays: Sequence[Array], backend: Backend) -> Carry:
        """One that is built alike, of other arrays, as the backend's own."""
        given = iter(arrays)
        return map_arrays(lambda array: backend.copy(backend.asarray(next(given), dtype=array.dtype)), self)


class Progress(NamedTuple):
    """Where training stands. A value: keeping it is a safety copy, putting it back undoes what came after.

    A count is a number, or an array with one for each member of a stack where they differ.
    """

    carry: Carry
    loss: Any = None
    optimizer: Optimizer | None = None
    epoch: Any = 0  # epochs that `fit` has finished
    step: Any = 0  # updates made
    first: Any = 0  # updates made when the optimizer's state began
    learning_rate: Any = None  # what stands in the place of the optimizer's own, where a callback has set one

    def started(self, loss: Any, optimizer: Optimizer, *, xp: Any) -> Progress:
        """Where training goes on from: with the optimizer's state, or with a new one for another optimizer."""
        if self.carry.memory is None or (optimizer is not self.optimizer and optimizer != self.optimizer):
            memory = optimizer.init(self.shown.params, xp=xp)
            return self._replace(
                carry=self.shown._replace(memory=memory),
                loss=loss,
                optimizer=optimizer,
                first=self.step,
                learning_rate=self.learning_rate if self.carry.memory is None else None,
            )
        same = loss is self.loss and optimizer is self.optimizer
        return self if same else self._replace(loss=loss, optimizer=optimizer)

    def advanced(self, carry: Carry, epochs: Any, steps: Any) -> Progress:
        """After so many more epochs and updates, which are numbers or arrays with one for each member."""
        return self._replace(carry=carry, epoch=count(self.epoch + epochs), step=count(self.step + steps))

    def of(self, lanes: Any) -> Progress:
        """The same with the counts of some members alone."""
        return self._replace(**{name: count(counted(getattr(self, name), lanes)) for name in COUNTS})

    def lane(self, member: int) -> Progress:
        """Where one member of a stack stands: views of its arrays, and what it has of hyper-parameters."""
        epoch, step, first = (int(counted(getattr(self, name), member)) for name in COUNTS)
        carry = map_arrays(lambda array: array[member, ...], self.carry)
        loss, optimizer = own(self.loss, member), own(self.optimizer, member)
        return Progress(carry, loss, optimizer, epoch, step, first, own_number(self.learning_rate, member))

    @property
    def shown(self) -> Carry:
        """What the network shows and predicts with: the average of its parameters where the optimizer keeps one."""
        params, _, memory = self.carry
        return self.carry if memory is None else self.carry._replace(params=self.optimizer.shown(params, memory))  # type: ignore

    def replaced(self, params: Array, state: Array) -> Progress:
        """The same with other parameters and layer state, from which an average of parameters starts anew."""
        memory = self.carry.memory
        memory = memory if memory is None else self.optimizer.restarted(params, memory)  # type: ignore
        return self._replace(carry=Carry(params, state, memory))

    def with_rates(self, rates: Mapping[int, Any]) -> Progress:
        """The same of a stack, some members of which have other learning rates; None is the optimizer's own."""
        members, own = range(self.carry.params.shape[0]), getattr(self.optimizer, "learning_rate", None)
        now = [own_number(self.learning_rate, k) for k in members]
        each = [rates.get(k, rate) for k, rate in enumerate(now)]
        if each == now:
            return self
        return self._replace(learning_rate=merged_rates(each, [own_number(own, k) for k in members]))

    def carry_of(self, chosen: Sequence[bool], rest: Carry | None, backend: Backend) -> Carry:
        """The carry, for the members that are not `chosen` that of `rest`. One bool stands for a lone network."""
        if rest is None or all(chosen):
            return self.carry
        if not any(chosen):
            return rest
        mine = backend.asarray([[one] for one in chosen], dtype=None)  # (members, 1)
        return map_arrays(lambda own, other: backend.xp.where(mine, own, other), self.carry, rest)

    def map(self, function: Callable[[Array], Array]) -> Progress:
        """The same with every array replaced by `function` of it: copied, or moved elsewhere."""
        return self._replace(carry=map_arrays(function, self.carry))


START = Progress(Carry(None, None, None))
"""Before the first epoch: counts alone."""


def map_arrays(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """A NamedTuple of arrays, of NamedTuples or of nothing, with every array replaced by `function` of it.

    `others` are built alike; `function` then takes the arrays that stand in the same place of each.
    """
    if tree is None:
        return None
    if isinstance(tree, tuple):
        return type(tree)(*(map_arrays(function, *part) for part in zip(tree, *others, strict=True)))
    return function(tree, *others)


def leaves(tree: Any) -> list[Array]:
    """Every array of such a NamedTuple."""
    found: list[Array] = []
    map_arrays(found.append, tree)
    return found


def joined(each: Sequence[Progress], *, xp: Any) -> Progress:
    """Lone networks' progress as that of a stack; raises ValueError where those cannot be."""
    started = [one.carry.memory is not None for one in each]
    if any(started) and not all(started):
        lone = started.index(False)
        raise ValueError(
            f"network {lone} has not been trained and others have: train all or none, or reset() them, to stack them"
        )
    loss, optimizer = (merged([getattr(one, name) for one in each], name) for name in ("loss", "optimizer"))
    carry = map_arrays(lambda *arrays: xp.stack(arrays), *(one.carry for one in each))
    counts = {name: count(np.asarray([getattr(one, name) for one in each])) for name in COUNTS}
    own = [getattr(one.optimizer, "learning_rate", None) for one in each]
    rate = merged_rates([one.learning_rate for one in each], own)
    return Progress(carry, loss, optimizer, **counts, learning_rate=rate)


def merged_rates(rates: Sequence[Any], own: Sequence[Any]) -> Any:
    """The members' learning rates as one of a stack; None stands for a member's `own`, alone for that of all."""
    if all(rate is None for rate in rates):
        return None
    each = [given if rate is None else rate for rate, given in zip(rates, own, strict=True)]
    return merged_number(each, "learning_rate")


def counted(counts: Any, lanes: Any) -> Any:
    """The counts of some members, or of one."""
    return counts[lanes] if isinstance(counts, np.ndarray) else counts


def count(counts: Any) -> Any:
    """A count as a number where it is one, or the same for all members.

    >>> count(np.asarray([3, 3])), count(np.asarray([3, 4]))
    (3, array([3, 4]))
    """
    if not isinstance(counts, np.ndarray):
        return int(counts)
    return int(counts[0]) if (counts == counts[0]).all() else counts
