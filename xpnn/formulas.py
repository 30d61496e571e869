"""The formulas of a piece, read from its docstring: layers, losses and optimizers say there what they compute.

By the custom of this library, which a piece of one's own may follow, the first paragraph is what comes out, "Backward"
begins what its gradients are, and an equation is written as "dL/dx = ...", set off by ";" or by a comma and two spaces.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

_CONTRACTS = {"Layer", "Container", "Chain", "Activation", "Loss", "Optimizer"}
_COMPUTES = {"forward", "backward", "value", "slope", "terms", "__call__", "rule", "update"}
_DERIVATIVE = r"d\w+/d\w+"
_SECTION = re.compile(r"^(?:Parameters|Raises|Returns|Attributes|Notes|Examples)\n-{3,}|^>>> ", re.MULTILINE)


def forward(piece: Any) -> str:
    """What comes out of a layer, a loss or an optimizer, as its docstring begins.

    >>> import xpnn
    >>> forward(xpnn.Dense(2, 3))
    'y = x W + b, with W of shape (in_features, out_features) and b of shape (out_features,)'
    >>> forward(xpnn.tanh), forward(xpnn.SGD()).partition(": ")[2]
    ('y = tanh(x)', 'p <- p - learning_rate g')
    """
    found = _paragraphs(piece)
    if not found:
        return f"as {name(piece)} computes it"
    clauses = re.split(r"(?<=[;.])\s+", found[0])
    kept = clauses[:1]
    for clause in clauses[1:] if "=" in found[0] or "<-" in found[0] else ():
        if re.match(rf"{_DERIVATIVE}|backward|by name", clause, re.IGNORECASE):
            break
        kept.append(clause)
    return _tidy(" ".join(kept))


def backward(piece: Any, *symbols: str) -> str:
    """The equation for the gradient with respect to the first of `symbols` that has one; else all that is said of it.

    >>> import xpnn
    >>> backward(xpnn.Dense(2, 3), "x"), backward(xpnn.Dense(2, 3), *names_of("weight"))
    ('dL/dx = dy W^T', 'dL/dW = x^T dy')
    >>> backward(xpnn.tanh, "x")
    'dL/dx = dy * dy/dx,  dy/dx = 1 - y^2'
    """
    found = _backward_text(_paragraphs(piece))
    if not found:
        return f"as the backward of {name(piece)} computes it"
    equations = dict(_equations(found))
    for symbol in symbols:
        if symbol in equations:
            equation = equations.pop(symbol)
            return equation if not equation.startswith("dy/d") else f"dL/dx = dy * dy/dx,  {equation}"
    others = [equation for symbol, equation in equations.items() if symbol not in ("x", "p", "z")]
    return others[0] if len(others) == 1 and "x" not in symbols else _tidy(found)


def names_of(parameter: str) -> tuple[str, ...]:
    """What a formula may call a parameter: by its name or by its first letter.

    >>> names_of("weight")
    ('weight', 'W', 'w')
    """
    return parameter, parameter[:1].upper(), parameter[:1]


def option(optimizer: type, name: str) -> str:
    """What an option of every optimizer does, from the line of the docstring that begins with it.

    >>> import xpnn
    >>> option(xpnn.Optimizer, "clip_value")
    'g <- min(max(g, -c), c), element by element; c = clip_value'
    """
    line = re.search(rf"^ +{name} = (\w+) +(\S.*)$", inspect.getdoc(optimizer) or "", re.MULTILINE)
    return f"{re.sub(r'  +', ' ', line[2])}; {line[1]} = {name}" if line else name


def state(piece: Any) -> str:
    """How a layer's state moves: the part of its docstring that says `<-`."""
    found = re.search(r"\w+ <- .*?(?=\.\s|\.?$)", "\n".join(_paragraphs(piece)), re.MULTILINE)
    return found[0] if found else f"as {name(piece)} computes it"


def _tidy(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"(?<!\.)[.;]$", "", text.strip()))


def name(piece: Any) -> str:
    """What a piece is called: a function by its name, an object by the call that makes it."""
    return getattr(piece, "__name__", None) or repr(piece)


def _paragraphs(piece: Any) -> list[str]:
    """The docstring before its sections; a formula that is set off stands with the sentence that leads to it."""
    found: list[str] = []
    for part in re.split(r"\n\s*\n", _SECTION.split(_docstring(piece))[0].strip("\n")):
        lines = [line for line in part.splitlines() if line.strip()]
        if lines and all(line.startswith("    ") for line in lines):
            block = ";  ".join(line.strip().rstrip(",;") for line in lines if not _of_an_option_left_out(line, piece))
            found[-1:] = [f"{found[-1]} {block}"] if found else [block]
        elif lines:
            found.append(" ".join(line.strip() for line in lines))
    return found


def _of_an_option_left_out(line: str, piece: Any) -> bool:
    """Whether a line of a formula ends in the name of an option, set off by spaces, that `piece` does not use."""
    found = re.search(r"\s{3,}(\w+)$", line)
    return found is not None and not getattr(piece, found[1], True)


def _docstring(piece: Any) -> str:
    """The docstring of a function, or of the class that says what an object computes."""
    if not isinstance(piece, type) and hasattr(piece, "__name__"):
        return inspect.getdoc(piece) or ""
    for one in inspect.getmro(type(piece)):
        if one.__name__ in _CONTRACTS and one.__module__.startswith("xpnn."):
            break
        written = vars(one).get("__doc__") or ""
        if written and not written.startswith(f"{one.__name__}("):  # which a dataclass writes where there is none
            return inspect.cleandoc(written)
        if _COMPUTES & vars(one).keys():  # what its base says need not hold for it
            break
    return ""


def _backward_text(paragraphs: list[str]) -> str:
    """From the word "Backward", or from the first derivative, to the end of the paragraph."""
    for pattern in (r"(?:(?<=[.;:]\s)|^)[Bb]ackward\b", _DERIVATIVE):
        for paragraph in paragraphs:
            if where := re.search(pattern, paragraph):
                return re.sub(r"^[Bb]ackward: ", "", paragraph[where.start() :])
    return ""


def _equations(text: str) -> Iterable[tuple[str, str]]:
    """Each equation for a derivative of the loss or the output, by what it is taken with respect to."""
    end = rf"(?=,\s\s|[,;]\s+(?:so that\s+)?{_DERIVATIVE}\s*=|;\s|\.(?:\s|$)|$)"
    for found in re.finditer(rf"d(?:L|l|y)/d(\w+) = (.*?){end}", text):
        yield found[1], found[0]
