"""What stands in the text of a program: names for people to read, and views as they are written in Python."""

import keyword
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xpnn.compile.simplify import uniform
from xpnn.compile.trace import Node

_RESERVED = {*keyword.kwlist, "erf", "run", "bind", "i", "zip", "range"}
"""What else than functions of NumPy a program has names for."""


def constant_name(node: Node, shape: Any) -> str:
    """The name of a constant: "c0_5" of the number 0.5, "c1_1x128" of a row of 128 ones."""
    if not uniform(node):
        return "table"
    number = "".join(c if c.isalnum() else "_" for c in f"{node.options['value']:g}")
    return f"c{number}" if shape == () else f"c{number}_{'x'.join(map(str, node.shape))}"


def suffix(expression: str) -> str:
    """What the name of "{}.dot" ends in, and of other things made of an array."""
    method = re.match(r"\{\}\.(\w*)", expression)
    known = {"dot": "_dot", "take": "_take", "swapaxes": "_T", "transpose": "_T"}
    return known.get(method[1], "_view") if method else "_view"


def identifier(name: str) -> str:
    """The end of an input's name: "rate" of "numbers.layers[2]['rate']", "keys_3_0" of "numbers.keys[3][0]"."""
    words = re.findall(r"\w+", name)
    start = max(i for i, word in enumerate(words) if not word.isdigit())
    found = "_".join(words[start:])
    return f"{found}_" if found in _RESERVED or hasattr(np, found) else found


def _index(node: Node) -> str:
    texts = []
    for key in node.options["key"]:
        if isinstance(key, slice):
            ends = ":".join("" if end is None else str(end) for end in (key.start, key.stop))
            texts.append(ends if key.step is None else f"{ends}:{key.step}")
        else:
            texts.append("..." if key is Ellipsis else str(key))
    return f"{{}}[{', '.join(texts)}]"


VIEW_TEXTS: Mapping[str, Callable[[Node], str]] = {
    "index": _index,
    "reshape": lambda node: f"{{}}.reshape({node.shape})",
    "permute_dims": lambda node: f"{{}}.transpose({node.options['axes']})",
    "broadcast_to": lambda node: f"broadcast_to({{}}, {node.shape})",
}
