"""The README's reference: a table for each family of pieces, made from their classes and docstrings.

`python -m tests.reference` writes it and the pictures of the activations anew, so that a new piece appears by itself.
What stands around the tables is tests/reference.md, where a name in braces is a table of `TABLES`.
"""

from __future__ import annotations

import html
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnn import activations, initializers, layers, losses, metrics, optimizers, plotting, schedules
from xpnn.plotting.activations import curve

ROOT = Path(__file__).parent.parent
README, PICTURES = ROOT / "README.md", ROOT / "examples" / "activations"
TEXT = Path(__file__).with_suffix(".md")
BEGIN, END = "<!-- reference: python -m tests.reference -->", "<!-- end of reference -->"


class Piece(NamedTuple):
    kind: type
    names: list[str]  # what `get` finds it by, its own name before its aliases


class Family(NamedTuple):
    module: Any
    contract: type
    work: str  # the method that does a piece's work: a class that has only the contract's is a base of others


FAMILIES = {
    "layers": Family(layers, layers.Layer, "forward"),
    "activations": Family(activations, activations.Activation, "value"),
    "losses": Family(losses, losses.Loss, "terms"),
    "optimizers": Family(optimizers, optimizers.Optimizer, "rule"),
    "schedules": Family(schedules, schedules.Schedule, "__call__"),
    "initializers": Family(initializers, initializers.Initializer, "__call__"),
    "metrics": Family(metrics, metrics.Metric, "value"),
}


def pieces(family: Family) -> list[Piece]:
    """The pieces that have a name, in the order of the names, and then those that have none, by class.

    >>> [piece.names for piece in pieces(FAMILIES["losses"])][:2]
    [['mean_squared_error', 'mse'], ['mean_absolute_error', 'mae']]
    """
    module, contract, work = family
    names: dict[type, list[str]] = {}
    for name, found in getattr(module, "_NAMES", {}).items():
        found = getattr(module, found) if isinstance(found, str) else found
        names.setdefault(found if isinstance(found, type) else type(found), []).append(name)
    public = (getattr(module, name) for listed in getattr(module, "_HOME", {}).values() for name in listed.split())
    classes = (one for one in public if isinstance(one, type) and is_dataclass(one))
    written = (one for one in classes if getattr(one, work, None) is not getattr(contract, work))
    for one in sorted(written, key=lambda one: one.__name__.lower()):
        names.setdefault(one, [])
    return [Piece(kind, found) for kind, found in names.items()]


def call(kind: type, contract: type) -> str:
    """The call that makes a piece, with its defaults, but for the options that all of its family have.

    >>> call(losses.Huber, losses.Loss), call(optimizers.AdamW, optimizers.Optimizer)[-33:]
    ('Huber(delta=1.0)', 'amsgrad=False, weight_decay=0.01)')
    """
    shared = {one.name: one.default for one in fields(contract)}
    own = [one for one in fields(kind) if one.name not in shared or shared[one.name] != one.default]
    arguments = [one.name + _default(one) for one in sorted(own, key=lambda one: bool(one.kw_only))]
    return f"{kind.__name__}({', '.join(arguments)})"


def _default(field: Any) -> str:
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is MISSING:
        return ""
    return "=" + (f'"{value}"' if isinstance(value, str) else re.sub(r"e-0(?=\d)", "e-", repr(value)))


def formula(described: Any) -> str:
    """The first paragraph of a docstring, as Markdown in one line; with the equations after it where it leads to them.

    >>> formula(optimizers.Lion).partition("<br>")[2]
    '`p <- p - learning_rate sign(beta1 m + (1 - beta1) g)`<br>`m <- beta2 m + (1 - beta2) g`'
    """
    first, *others = paragraphs(described)
    text = re.sub(r' By name(?: also)? "\w+"\.', "", _line(first))  # the names stand beside it
    lines = [re.sub(r"; (?=d\w+/d)", ";<br>", escaped(text))]  # a derivative begins a line
    if text.endswith((":", ",")) and others:
        lines += [code(_line(one, gap="   ")) for one in others[0].splitlines()]
    return "<br>".join(lines)


def paragraphs(described: Any) -> list[str]:
    return inspect.cleandoc(described.__doc__).split("\n\n")


def parameters(kind: type) -> dict[str, str]:
    """What a docstring's list says of each parameter.

    >>> parameters(losses.Huber)
    {'delta': 'where the quadratic part ends, > 0, in the units of the target.'}
    """
    listed = inspect.cleandoc(kind.__doc__ or "").partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?! )", listed):
        names, _, text = entry.partition(" : ")
        found |= dict.fromkeys(names.split(", "), _line(text))
    return found


def _line(text: str, gap: str = " ") -> str:
    """`text` in one line, with `gap` in the place of three spaces and more."""
    one = " ".join(line.strip() for line in text.splitlines())
    return re.sub(r" {3,}", gap, one.strip())


def escaped(text: str) -> str:
    """Plain text as Markdown that shows it so in a cell of a table; what stands in backticks is code.

    >>> print(escaped("|w_0| * `a_b` < 1"))
    \\|w\\_0\\| \\* `a_b` &lt; 1
    """
    parts = text.split("`")
    parts[::2] = [re.sub(r"([\\|*_~\[\]$])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2]]
    parts[1::2] = map(code, parts[1::2])
    return "".join(parts)


def code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table, its first row the head."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *body))


def family_table(family: str, head: str, **columns: Callable[[Any], str]) -> str:
    """The pieces of a family: names, the class with its formula, and in further `columns` what these say of it."""
    contract, found = FAMILIES[family].contract, pieces(FAMILIES[family])
    if not any(one.names for one in found):
        return table((family, head), *((code(call(one.kind, contract)), formula(one.kind)) for one in found))
    rows = [(names_of(one), told(one, contract), *(tell(one.kind) for tell in columns.values())) for one in found]
    return table((family, head, *columns), *rows)


def activation_table() -> str:
    contract, rows = FAMILIES["activations"].contract, []
    for one in pieces(FAMILIES["activations"]):
        picture = PICTURES.relative_to(ROOT).joinpath(picture_of(one)).as_posix()
        image = f'<img src="{picture}" width="160" alt="{one.names[0]} and its derivative">'
        rows.append((image, names_of(one), told(one, contract)))
    # A page makes pictures narrower before it breaks text: these spaces, which do not break, keep them as they are.
    return table(("&nbsp;" * 36, "activations", "value and derivative"), *rows)


def names_of(piece: Piece) -> str:
    return "<br>".join(map(code, piece.names))


def told(piece: Piece, contract: type) -> str:
    return f"{code(call(piece.kind, contract))}<br>{formula(piece.kind)}"


def option_table() -> str:
    """The options that every optimizer has: what is said of them, and their equations."""
    equations = [
        re.split(r" {3,}", line.strip(), maxsplit=1) for line in paragraphs(optimizers.Optimizer)[1].split("\n")
    ]
    steps = {left.partition(" = ")[0]: f"<br>{code(_line(step, gap='   '))}" for left, step in equations}
    said = parameters(optimizers.Optimizer)
    rows = [
        (code(one.name + _default(one)), escaped(said[one.name]) + steps.get(one.name, ""))
        for one in fields(optimizers.Optimizer)
    ]
    return table(("option", ""), *rows)


def target_of(loss: Any) -> str:
    """What a loss takes as its target, and its link, by name."""
    if not hasattr(loss, "targets"):
        return "as its loss"
    target, span = "numbers", loss.target_range
    if loss.targets == "classes":
        target = "class indices or rows of probabilities"
    elif span is not None:
        target += f" from {span[0]:g} to {span[1]:g}" if span[1] < math.inf else f" &gt;= {span[0]:g}"
    links = [one.names[0] for one in pieces(FAMILIES["activations"]) if one.kind is type(loss.link)]
    return "<br>".join([target, *map(code, links)])


def outputs_of(metric: Any) -> str:
    """Which outputs a metric is of."""
    if metric.needs == "predictions":
        return "numbers"
    what = "probabilities" if metric.needs == "class_probabilities" else "classes"
    return f"{what}, multilabel" if metric.multilabel or metric.needs == "labels" else what


def scheduled() -> str:
    """Which numbers take a schedule."""
    of_layers = {one.kind.__name__: one.kind.tunable for one in pieces(FAMILIES["layers"])}  # type: ignore
    owners = of_layers | {"Penalized": losses.Penalized.numbers}
    named = [f"{' and '.join(map(code, numbers))} of `{owner}`" for owner, numbers in owners.items() if numbers]
    return f"most numbers of optimizers; {'; '.join(named)}"


TABLES: dict[str, Callable[[], str]] = {
    "layers": lambda: family_table("layers", "y of x"),
    "activations": activation_table,
    "losses": lambda: family_table("losses", "l of a row", **{"target, link": target_of}),
    "optimizers": lambda: family_table("optimizers", "step"),
    "options": option_table,
    "scheduled": scheduled,
    "schedules": lambda: family_table("schedules", "value"),
    "initializers": lambda: family_table("initializers", "distribution"),
    "gain": lambda: " ".join(escaped(_line(one)) for one in paragraphs(initializers.gain)[:2]),
    "metrics": lambda: family_table("metrics", "value", of=outputs_of),
}


def section() -> str:
    """The reference as Markdown: the text with every table in its place."""
    return re.sub(r"\{([a-z]+)\}", lambda place: TABLES[place[1]](), TEXT.read_text(encoding="utf-8").strip())


def rewritten(readme: str) -> str:
    """The README with the reference as it is now."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the README has no place for the reference, between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{section()}\n\n{END}{after}"


def picture_of(piece: Piece) -> str:
    return f"{piece.names[0]}.svg"


def draw(folder: Path) -> None:
    """A picture of every activation with its derivative, in `folder`, and no other picture there."""
    import matplotlib
    from matplotlib.figure import Figure

    drawn = set()
    # The same bytes in every run; numbers as text, which takes a fifth of the room of their outlines.
    with matplotlib.rc_context({"svg.hashsalt": "xpnn", "svg.fonttype": "none", "font.size": 7}):
        for piece in pieces(FAMILIES["activations"]):
            figure = Figure(figsize=(1.6, 1.1), dpi=100, layout="constrained", facecolor="white")
            _plot(figure.subplots(), activations.get(piece.names[0]))
            drawn.add(folder / picture_of(piece))
            figure.savefig(folder / picture_of(piece), metadata={"Date": None, "Creator": None})
    for other in set(folder.glob("*.svg")) - drawn:
        other.unlink()


def _plot(ax: Any, function: Any) -> None:
    from matplotlib.ticker import MultipleLocator

    x = np.linspace(-4.0, 4.0, 801)
    curves = curve(function, x)
    for line in (ax.axhline, ax.axvline):
        line(0.0, color="0.75", linewidth=0.6)
    for y, colour, style in zip(curves, plotting.COLOURS, ("-", "--"), strict=False):
        jumps = np.flatnonzero(np.abs(np.diff(y)) > 0.1)
        ax.plot(np.insert(x, jumps + 1, np.nan), np.insert(y, jumps + 1, np.nan), style, color=colour, linewidth=1.3)
    low, high = np.clip([np.min(curves), np.max(curves)], -2.2, 3.2)
    margin = 0.06 * (high - low)
    ax.set(xlim=(-4.0, 4.0), ylim=(low - margin, high + margin), xticks=(-3, 0, 3))
    ax.yaxis.set_major_locator(MultipleLocator(1.0 if high - low > 1.5 else 0.5))
    ax.tick_params(length=0, pad=2, labelcolor="0.35")
    for side in ax.spines.values():
        side.set_visible(False)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    draw(PICTURES)
    README.write_text(rewritten(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
