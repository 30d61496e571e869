"""A training step laid out: each value of it by name, with the formula that made it, as a list, as text and as HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnn._arguments import lookup
from xpnn.backend import to_host
from xpnn.display import html_table

Array = Any
PARTS = ("forward", "loss", "backward", "update")
FEW = 6
"""Up to how many numbers of a value are printed; of more the first three, the last, and the norm."""


class StepValue(NamedTuple):
    """One value of a training step."""

    name: str  # "2.output": of layer 2; "3.1.weight": of layer 1 inside layer 3
    value: Array  # of the network's own library, a copy
    formula: str
    by: str = ""  # what made it: a layer, the loss, the optimizer
    part: str = "forward"
    before: Array = None  # where the step replaced something, what that was

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, with the members of a stack in front."""
        return tuple(self.value.shape)

    def numbers(self) -> str:
        """The value in a few words.

        >>> StepValue("x", np.asarray([[3.0, 4.0]]), "").numbers()
        '[3, 4]'
        >>> StepValue("x", np.zeros((20, 3)), "").numbers()
        '[0, 0, 0, ..., 0], norm 0'
        """
        after = to_host(self.value)
        if self.before is None:
            return _brief(after) + ("" if after.size <= FEW else f", norm {_norm(after):.4g}")
        change = "" if after.size <= FEW else f", moved by {_norm(after - to_host(self.before)):.4g}"
        return f"{_brief(to_host(self.before))} -> {_brief(after)}{change}"


class Walk(Sequence[StepValue]):
    """The values of a training step in the order in which they come to be.

    `walk["2.weight"]` is the value of that name and `walk[0]` the first; `walk.names` lists all names, and
    `walk.forward`, `walk.loss`, `walk.backward` and `walk.update` are the parts of the step. `print(walk)` shows all of
    it, a notebook a table.
    """

    def __init__(self, title: str, values: Sequence[StepValue]):
        self.title, self._values = title, tuple(values)
        self._by_name: dict[str, StepValue] = {}
        for value in self._values:
            self._by_name.setdefault(value.name, value)

    def __getitem__(self, which: Any) -> Any:
        if not isinstance(which, str):
            return self._values[which]
        return self._by_name[which] if which in self._by_name else lookup("value", which, self._by_name)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[StepValue]:
        return iter(self._values)

    def __contains__(self, name: Any) -> bool:
        return name in self._by_name

    @property
    def names(self) -> list[str]:
        """The names of all values in order."""
        return [value.name for value in self._values]

    @property
    def forward(self) -> tuple[StepValue, ...]:
        """x, and the output of each layer."""
        return self._part("forward")

    @property
    def loss(self) -> tuple[StepValue, ...]:
        """The targets, the loss, and what is added to it."""
        return self._part("loss")

    @property
    def backward(self) -> tuple[StepValue, ...]:
        """The gradient with respect to each layer's output, its delta, from the last on; and to each parameter."""
        return self._part("backward")

    @property
    def update(self) -> tuple[StepValue, ...]:
        """The numbers that the optimizer took, and what the step replaced: each parameter, and the layers' state."""
        return self._part("update")

    def _part(self, part: str) -> tuple[StepValue, ...]:
        return tuple(value for value in self._values if value.part == part)

    def __str__(self) -> str:
        wide = max(len(value.name) for value in self)
        tall, lines = max(len(_shape(value.shape)) for value in self), [self.title]
        for part in PARTS:
            lines.append(part)
            last = ""
            for value in self._part(part):
                lines.append(f"  {value.name:<{wide}}  {_shape(value.shape):<{tall}}  {value.numbers()}")
                said = f"{value.formula}   ({value.by})" if value.by else value.formula
                if said != last:  # one rule updates all parameters
                    lines += textwrap.wrap(said, 116, initial_indent=" " * 6, subsequent_indent=" " * 8)
                last = said
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [
            (value.part, value.name, _shape(value.shape), value.numbers(), value.formula, value.by) for value in self
        ]
        return html_table(self.title, ("", "name", "shape", "value", "formula", "by"), rows)


def _norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values.astype(np.float64).ravel()))


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "number"


def _brief(values: np.ndarray) -> str:
    """A few of the numbers, in the order of memory; -0 is shown as 0."""
    flat = values.ravel()
    if values.ndim == 0:
        return f"{flat[0]:.5g}"
    shown = [f"{number + 0:.4g}" for number in (flat if flat.size <= FEW else (*flat[:3], flat[-1]))]
    return f"[{', '.join(shown if flat.size <= FEW else [*shown[:3], '...', shown[3]])}]"
