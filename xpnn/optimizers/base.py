"""How a gradient becomes a step: pure functions on the flat vector of all parameters.

`init(params) -> state` and `update(params, grads, state, hyper) -> (params, state)`, with params and grads of shape
(*members, n_params), whatever the depth of the network. `hyper` holds the numbers that may change from step to step,
of shape (*members, 1); whether momentum, say, is there at all is the optimizer's structure and not a number.

An optimizer is a rule and what can stand around every rule: the gradient is clipped before it, the parameters decay
beside it, and they are averaged after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

from xpnn._arguments import (
    ABOVE_ZERO,
    AT_LEAST_ZERO,
    BELOW_ONE,
    Number,
    Shown,
    bounds_of,
    check_flag,
    check_multipliers,
    check_number,
    hyper_parameter,
    settle,
)
from xpnn.layers.base import Array

_SHARED = {"weight_decay": AT_LEAST_ZERO, "clip_value": ABOVE_ZERO, "clip_norm": ABOVE_ZERO, "average": BELOW_ONE}


class Averaged(NamedTuple):
    rule: Any  # the rule's own state
    average: Array  # a, (*members, n_params)
    weight: Array  # w, the sum of the weights in it, (*members, 1)


class Factors(Mapping[Any, float]):
    """A table of factors that stands with its optimizer: a fit would not see what is changed in it later.

    >>> Factors({"bias": 0.5})["bias"], Factors({"bias": 0.5}) == {"bias": 0.5}
    (0.5, True)
    """

    def __init__(self, table: Mapping[Any, float]):
        self._table = dict(table)

    def __getitem__(self, key: Any) -> float:
        return self._table[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{key!r}: {factor:.5g}' for key, factor in self._table.items())}}}"


@dataclass(frozen=True, kw_only=True)
class Optimizer(Shown):
    """The contract: a rule f(p, g), and the options that every rule has, none of which costs where it is not asked for:

        clip_value = c     g <- min(max(g, -c), c), element by element
        clip_norm = c      g <- g min(1, c / (||g|| + 1e-6)), the norm over all parameters of a member
        weight_decay = l   p <- f(p, g) - learning_rate * l * p, with p before the step on the right
        average = d        w <- d w + 1,   a <- a + (p - a) / w

    in this order. The decay is beside the rule and never in its moments, and on all parameters. a is the mean of
    p_1 ... p_t under weights d^(t - i), with nothing of the initial p in it; for a constant d, w = (1 - d^t) / (1 - d).
    The network predicts with a and goes on training p.

    Parameters
    ----------
    weight_decay : l >= 0; 0 leaves it out.
    clip_value, clip_norm : c > 0, or None.
    average : d, 0 <= d < 1, or None.
    multipliers : factors on the learning rate, by parameter name ("bias"), by layer (0, -1) or both ("0.bias"); 0
        freezes: what is frozen does not move, decay or count in the norm. (The running statistics of a BatchNorm are
        not learned by gradient: they move on, and are not averaged.)

    Decay: Loshchilov and Hutter (2019), "Decoupled weight decay regularization", in the form of PyTorch's AdamW.
    Clipping: Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks"; numbers of
    PyTorch's `clip_grad_value_` and `clip_grad_norm_`. Average: Polyak and Juditsky (1992), "Acceleration of stochastic
    approximation by averaging", with exponential weights.

    An optimizer of your own is a frozen dataclass that writes `rule`, and `start` where it has a state. `numbers` names
    the fields that go into `hyper`, with the bounds of each (or as a plain tuple): such a field is a number, one number
    a member, or a schedule. `constants` names, likewise, fields that are one number for good. A class that overrides
    `init` and `update` instead works too, without the options above, unless it calls these.

    >>> import numpy as np
    >>> @dataclass(frozen=True)
    ... class SignDescent(Optimizer):
    ...     learning_rate: Number = 0.01
    ...
    ...     def rule(self, params, grads, state, hyper, *, xp):
    ...         return params - hyper["learning_rate"] * xp.sign(grads), state
    >>> sign = SignDescent(0.5, weight_decay=0.5)
    >>> hyper = {name: np.asarray([number]) for name, number in number_fields(sign).items()}
    >>> sign.update(np.asarray([4.0, 4.0]), np.asarray([3.0, -3.0]), (), hyper, xp=np)
    (array([2.5, 3.5]), ())
    """

    weight_decay: Number = 0.0
    clip_value: Number | None = None
    clip_norm: Number | None = None
    average: Number | None = None
    multipliers: Mapping[Any, float] = field(default_factory=dict, hash=False)

    numbers: ClassVar[Mapping[str, Any] | tuple[str, ...]] = {"learning_rate": AT_LEAST_ZERO} | _SHARED
    constants: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "numbers" in cls.__dict__:
            cls.numbers = _SHARED | {name: bounds_of(cls.numbers, name) for name in cls.numbers}

    def __post_init__(self):
        if type(self) is Optimizer:
            raise TypeError("Optimizer is what every optimizer is built on and has no rule: take one, such as Adam()")
        known = {one.name for one in fields(self)}
        for names, table in {"numbers": self.numbers, "constants": self.constants}.items():
            for name in table:
                if name not in known:
                    raise TypeError(f"{type(self).__name__} has no field {name!r}, which its {names} name")
        for name in self.numbers:
            value = getattr(self, name)
            if value is None and getattr(type(self), name, ...) is None:  # an option, not asked for
                continue
            settle(self, hyper_parameter, name, **bounds_of(self.numbers, name))
        for name, bounds in self.constants.items():
            settle(self, check_number, name, **bounds)
        settle(self, check_flag, *(one.name for one in fields(self) if isinstance(one.default, bool)))
        object.__setattr__(self, "multipliers", Factors(check_multipliers(self.multipliers)))

    def start(self, params: Array, *, xp: Any) -> Any:
        """The rule's state before the first step: a NamedTuple of arrays, or () for none."""
        return ()

    def rule(
        self, params: Array, grads: Array, state: Any, hyper: Mapping[str, Array], *, xp: Any
    ) -> tuple[Array, Any]:
        """The parameters and the rule's state after one step of the rule alone."""
        raise NotImplementedError(f"{type(self).__name__} must define rule(self, params, grads, state, hyper, *, xp)")

    def init(self, params: Array, *, xp: Any) -> Any:
        """The state before the first update: nested NamedTuples of arrays, or () for none."""
        state = self.start(params, xp=xp)
        if self.average is None:
            return state
        return Averaged(state, xp.asarray(params, copy=True), xp.zeros_like(params[..., :1]))

    def update(
        self, params: Array, grads: Array, state: Any, hyper: Mapping[str, Array], *, xp: Any
    ) -> tuple[Array, Any]:
        """The parameters and the state after one step: clipping, the rule, decay and average.

        `hyper` has an entry for each of `number_fields`. Where multipliers are given they stand there as "multiplier"
        (n_params,), and are folded into "learning_rate" already.
        """
        if self.clip_value is not None:
            grads = xp.minimum(xp.maximum(grads, -hyper["clip_value"]), hyper["clip_value"])
        if self.clip_norm is not None:
            grads = _hold_norm(grads, hyper["clip_norm"], hyper.get("multiplier"), xp=xp)
        own = state if self.average is None else state.rule
        stepped, own = self.rule(params, grads, own, hyper, xp=xp)
        if self.weight_decay != 0.0:
            stepped = stepped - hyper["learning_rate"] * hyper["weight_decay"] * params
        if self.average is None:
            return stepped, own
        weight = hyper["average"] * state.weight + 1.0
        return stepped, Averaged(own, state.average + (stepped - state.average) / weight, weight)

    def shown(self, params: Array, state: Any) -> Array:
        """The parameters to predict with: their average where the state holds one, else `params`."""
        return state.average if isinstance(state, Averaged) else params

    def restarted(self, params: Array, state: Any) -> Any:
        """The state where `params` were put in from outside: an average starts anew from them, the rest stands."""
        return Averaged(state.rule, params + 0.0, 0.0 * state.weight) if isinstance(state, Averaged) else state


def number_fields(optimizer: Optimizer) -> dict[str, Number]:
    """The optimizer's numbers by name, as they go into `hyper`: those that are there, without decay 0 and None.

    >>> from xpnn.optimizers import Adagrad
    >>> number_fields(Adagrad(0.1, clip_norm=1))
    {'clip_norm': 1.0, 'learning_rate': 0.1}
    """
    found = {one.name: getattr(optimizer, one.name) for one in fields(optimizer) if one.name in optimizer.numbers}
    return {
        name: value for name, value in found.items() if value is not None and (name, value) != ("weight_decay", 0.0)
    }


def _hold_norm(grads: Array, bound: Array, multiplier: Array | None, *, xp: Any) -> Array:
    """g min(1, c / n) as g c / max(c, n), n = ||g|| + 1e-6, with g zero where the multiplier is.

    Both parts of the fraction are divided by the largest |g| where that is above 1: an explosion is what clipping is
    for, and its squares would overflow.
    """
    if multiplier is not None:
        grads = xp.where(multiplier == 0.0, xp.zeros_like(grads), grads)
    largest = xp.maximum(xp.max(xp.abs(grads), axis=-1, keepdims=True), 1.0)  # (*members, 1)
    part = grads / largest
    norm = xp.sqrt(xp.sum(part * part, axis=-1, keepdims=True))
    bound = bound / largest
    return grads * (bound / xp.maximum(bound, norm + 1e-6 / largest))
