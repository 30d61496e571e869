"""How a gradient becomes a step: pure functions on the flat vector of all parameters.

`init(params) -> state` and `update(params, grads, state, hyper) -> (params, state)`, with params and grads of shape
(*members, n_params), whatever the depth of the network. `hyper` holds the numbers that may change from step to step,
of shape (*members, 1); whether momentum, say, is there at all is the optimizer's structure and not a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from xpnn._arguments import AT_LEAST_ZERO, Number, bounds_of, check_number, hyper_parameter
from xpnn.layers.base import Array


@dataclass(frozen=True)
class Optimizer:
    """The contract. `numbers` names the fields that go into `hyper`, with the bounds of each (or as a plain tuple): a
    field is a number, one number a member, or a schedule.

    `multipliers` scales the learning rate by parameter name ("bias"), by layer (0, -1) or both ("0.bias"); 0 freezes.
    """

    numbers: ClassVar[Mapping[str, Any] | tuple[str, ...]] = {"learning_rate": AT_LEAST_ZERO}

    def __post_init__(self):
        for name in self.numbers:
            bounds = bounds_of(self.numbers, name)
            object.__setattr__(self, name, hyper_parameter(name, getattr(self, name), **bounds))
        multipliers = getattr(self, "multipliers", {})
        if not isinstance(multipliers, Mapping):
            raise TypeError(f"multipliers must be a dict of factors by parameter name or layer, got {multipliers!r}")
        for key, factor in multipliers.items():
            check_number(f"multipliers[{key!r}]", factor, low=0.0)
        if hasattr(self, "multipliers"):
            object.__setattr__(self, "multipliers", dict(multipliers))  # the caller's may change, an optimizer not

    def init(self, params: Array, *, xp: Any) -> Any:
        """The state before the first update: a NamedTuple of arrays, or () for none."""
        return ()

    def update(self, params: Array, grads: Array, state: Any, hyper: Mapping[str, Array], *, xp: Any):
        """The parameters and the state after one step."""
        raise NotImplementedError(f"{type(self).__name__} has no update")


def number_fields(optimizer: Optimizer) -> dict[str, Number]:
    """The optimizer's numbers by name, as they go into `hyper`."""
    return {f.name: getattr(optimizer, f.name) for f in fields(optimizer) if f.name in optimizer.numbers}
