"""Docstrings as reStructuredText: in the source they are plain text, where an asterisk is a product or an axis."""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import dedent, indent

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(\))?")
PATTERN = re.compile(r"`([^`]+)`")
HEADED = re.compile(r"([A-Z][^\n]*)\n-{3,}\n(.*)", re.DOTALL)
ENTRY = re.compile(r"^([*\w](?:[^:\n]|\n(?! ))*?) :(?: |$)", re.MULTILINE)


def rest(docstring: str, arguments: Iterable[str] = ()) -> str:
    """A docstring as reStructuredText. Names in backticks become links where there is such a page, but for `arguments`.

    >>> print(rest("dL/dx = g * dy, `a+b`.\\n\\n    y = g * x\\n\\nParameters\\n----------\\nx, y : rows\\n    of it"))
    dL/dx = g \\* dy, ``a+b``.
    <BLANKLINE>
    .. code-block:: none
    <BLANKLINE>
        y = g * x
    <BLANKLINE>
    .. rubric:: Parameters
    <BLANKLINE>
    ``x``, ``y``
        rows of it
    """
    known = set(arguments)
    return "\n\n".join(_block(block, known) for block in _blocks(docstring) if block.strip())


def summary(docstring: str, arguments: Iterable[str] = ()) -> str:
    """The first sentence, or the formula that stands in its place.

    >>> summary("y = x W. As in\\n`fit`.")
    'y = x W.'
    """
    first = " ".join(docstring.strip().partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[^.\d]\.) (?=[A-Z`])", first)[0]
    return _line(sentence if sentence.count("`") % 2 == 0 else first, set(arguments))


def _blocks(docstring: str) -> list[str]:
    """Paragraphs; what is indented alike, or lies between prompts of one example, stays together."""
    found: list[str] = []
    for block in re.split(r"\n[ \t]*\n", docstring.strip("\n")):
        if found and found[-1].startswith(" ") and block.startswith(" ") and not _bulleted(block):
            found[-1] += "\n\n" + block
        else:
            found.append(block)
    return found


def _bulleted(block: str) -> bool:
    return block.lstrip().startswith("* ")


def _block(block: str, known: set[str]) -> str:
    if block.startswith(">>>"):
        return ".. code-block:: pycon\n\n" + indent(block, "    ")
    if _bulleted(block):
        items = re.split(r"^\* ", dedent(block), flags=re.MULTILINE)[1:]
        return "\n".join(f"* {_line(item, known)}" for item in items)
    if block.startswith(" "):
        return ".. code-block:: none\n\n" + indent(dedent(block), "    ")
    if headed := HEADED.fullmatch(block):
        return f".. rubric:: {headed[1]}\n\n" + _section(headed[2], known)
    return _line(block, known)


def _section(text: str, known: set[str]) -> str:
    """`name, other : what they are` as a list of definitions, and a text without such names as it is."""
    before, *entries = ENTRY.split(text)
    found = [_line(before, known)] if before.strip() else []
    for names, meaning in zip(entries[::2], entries[1::2], strict=True):
        term = ", ".join(f"``{name.strip()}``" for name in names.split(","))
        found.append(f"{term}\n    {_line(meaning, known)}")
    return "\n\n".join(found)


def _line(text: str, known: set[str]) -> str:
    """Running text: code in backticks as code, and every other sign as the sign that it is."""
    words = PATTERN.split(" ".join(text.split()))
    found = ""
    for k, word in enumerate(words):
        if k % 2 == 0:
            found += re.sub(r"([\\*_|`<>])", r"\\\1", word)
            continue
        linked = DOTTED.fullmatch(word) and word not in known
        code = f":py:obj:`{word.removesuffix('()')}`" if linked else f"``{word}``"
        before = "\\ " if re.search(r"[\w-]$", words[k - 1]) else ""
        found += before + code + ("\\ " if re.match(r"[\w*]", words[k + 1]) else "")
    return "\\ " + found if re.match(r"\(?\w+[.)] |[-+] ", found) else found
