"""What a layer is: frozen hyper-parameters with pure functions; what it learns is plain data handed in and back.

Shapes have the batch and the features last, so that a leading axis of independent networks (members) or of samples
costs nothing: x (*members, batch, in_features), weight (*members, in_features, out_features), bias
(*members, out_features). The functions index axes from the end and never look at the leading ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from xpnn import random
from xpnn._arguments import Shown

Array = Any
Tree = Any
"""Arrays by name: a dict for one layer, nested in a list where a layer contains others."""


class Step(NamedTuple):
    """What a layer is handed in a training step, and only there: its scheduled numbers and its random bits.

    `hyper` holds the numbers that the layer lists in `tunable`, as arrays of shape (*members, 1, 1). `key` is the
    layer's own int32 key of shape (*members, 2). For a container both are lists, one entry a child.
    """

    hyper: Any
    key: Any
    xp: Any

    def child(self, index: int) -> Step:
        """The step of the container's layer number `index`."""
        return Step(self.hyper[index], self.key[index], self.xp)

    def bits(self, shape: tuple[int, ...]) -> Array:
        """Random int32 in [0, 2^31) of shape (*members, *shape); a layer that asks declares `random = True`."""
        return random.bits(self._own_key("bits"), shape, xp=self.xp)

    def normal(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Standard normal numbers of shape (*members, *shape); a layer that asks declares `random = True`."""
        return random.normal(self._own_key("normal"), shape, dtype, xp=self.xp)

    def _own_key(self, asked: str) -> Array:
        if self.key is None:
            raise TypeError(f"a layer that calls step.{asked} must declare the class attribute `random = True`")
        return self.key


@dataclass(frozen=True)
class Layer(Shown):
    """The contract of a layer. Subclasses are frozen dataclasses of hyper-parameters and override what they need.

    Class attributes: `tunable` names the fields that a schedule may change (they arrive in `step.hyper`), with the
    bounds of each (`{"rate": {"low": 0.0}}`) or as a plain tuple; `random` says that `forward` calls `step.bits` or
    `step.normal`; `learns = False` says that there are no learned parameters, which lets training stop the backward
    pass before such a layer where nothing below it learns; `penalizes` says that `penalty` is part of what training
    makes small.
    """

    tunable: ClassVar[Mapping[str, Any] | tuple[str, ...]] = ()
    random: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    penalizes: ClassVar[bool] = False

    @property
    def children(self) -> tuple[Layer, ...]:
        """The layers inside this one, for containers."""
        return ()

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of one sample that the layer takes, or None where any will do."""
        return None

    @property
    def categories(self) -> Mapping[int, int]:
        """How many categories each column of the input has that holds their indices, by the column's number."""
        return {}

    def init(self, rng: Any) -> Tree:
        """Initial learned parameters, host arrays by name, from a NumPy Generator."""
        return {}

    def init_state(self) -> Tree:
        """What the layer carries along without learning it by gradient: host arrays by name."""
        return {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one sample after the layer; raises ValueError where the layer cannot take `shape`."""
        wanted = self.input_shape
        if wanted is not None and tuple(shape) != wanted:
            hint = _flatten_first(shape) if len(wanted) == 1 else ""
            raise ValueError(f"expects {_count(wanted)}{hint}, got {_count(shape)}")
        return shape

    def forward(self, params: Tree, x: Array, *, xp: Any, step: Step | None = None) -> tuple[Array, Any]:
        """The output and whatever `backward` needs; `step` is None at inference."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, params, x, *, xp, step=None)")

    def backward(self, params: Tree, cache: Any, dy: Array, *, xp: Any) -> tuple[Array, Tree]:
        """The gradients with respect to the input and to each learned parameter, from that of the output."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(self, params, cache, dy, *, xp)")

    def gradients(self, params: Tree, cache: Any, dy: Array, *, xp: Any) -> Tree:
        """Only the parameters' gradients, for a first layer, whose input nobody differentiates.

        Worth overriding where the input's gradient is dear: in the first of three layers it is a third of the work.
        """
        return self.backward(params, cache, dy, xp=xp)[1]

    def update_state(self, params: Tree, cache: Any, *, xp: Any) -> Tree:
        """The state after a training step, with the names of `init_state`."""
        return {name: params[name] for name in self.init_state()}

    def penalty(self, params: Tree, cache: Any, *, xp: Any) -> Array:
        """What the layer adds to the objective of a training step, of the members' shape, where it `penalizes`.

        Its gradient is part of what `backward` gives.
        """
        raise NotImplementedError(f"{type(self).__name__} must define penalty(self, params, cache, *, xp)")


def walk(layer: Layer, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Layer]]:
    """Every layer that is no container, depth first, with its path of positions."""
    if not layer.children:
        yield path, layer
    for index, child in enumerate(layer.children):
        yield from walk(child, (*path, index))


def map_layers(function: Any, layer: Layer, path: tuple[int, ...] = ()) -> Any:
    """`function(path, layer)` of every layer that is no container, nested in lists as the layers are."""
    if not layer.children:
        return function(path, layer)
    return [map_layers(function, child, (*path, index)) for index, child in enumerate(layer.children)]


def one_axis(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape`, refused where a sample has several axes: for layers to which the last two axes are batch and features.

    >>> one_axis((2, 3))
    Traceback (most recent call last):
        ...
    ValueError: expects samples of one axis (put Flatten((2, 3)) before it), got samples of shape (2, 3)
    """
    if len(shape) != 1:
        raise ValueError(f"expects samples of one axis{_flatten_first(shape)}, got {_count(shape)}")
    return shape


def _flatten_first(shape: tuple[int, ...]) -> str:
    return f" (put Flatten({tuple(shape)}) before it)" if len(shape) > 1 else ""


def _count(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} features" if len(shape) == 1 else f"samples of shape {tuple(shape)}"
