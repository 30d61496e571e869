"""The gallery: each example with what it says of itself, what it printed and drew at a small size, and its source."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.documentation.docstrings import rest, summary

EXAMPLES = Path(__file__).parents[2] / "examples"
ARGUMENTS = {
    "01_circles": "--figures {figures}",
    "02_digits": "",
    "03_own_layer": "--epochs 100",
    "07_many_networks": "--sensors 20 --epochs 5",
    "08_stop_resume_serve": "--epochs 6",
    "09_step_by_step": "--epochs 100",
    "11_search": "--epochs 5 --widths 8 4 --figure {figures}/search.png",
    "12_larger_than_memory": "--rows 20000 --epochs 2",
    "13_surrogate": "--epochs 100 --steps 100",
}
"""What an example is run with, where it is not `--epochs 20`; {figures} is a folder that is shown on its page."""
HEAD = """Gallery
=======

Each example is a script in the folder ``examples``. Here it ran at a small size.

.. toctree::
    :hidden:
    :glob:

    [0-9]*

.. list-table::
    :widths: auto
    :class: names

"""


def write(folder: Path, run: bool = True) -> None:
    """Write a page for each example into `folder`; without `run` none is run, and the pages show the source alone."""
    folder.mkdir(parents=True)
    paths, rows = sorted(EXAMPLES.glob("[0-9]*.py")), ""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        printed = list(threads.map(lambda path: _run(path, folder / path.stem), paths)) if run else [""] * len(paths)
    for path, text in zip(paths, printed, strict=True):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        shutil.copy(path, folder)
        figures = sorted(figure.name for figure in (folder / path.stem).glob("*.png"))
        (folder / f"{path.stem}.rst").write_text(_page(path.stem, docstring, text, figures), encoding="utf-8")
        rows += f"    * - :doc:`{path.stem}`\n      - {summary(docstring)}\n"
    (folder / "index.rst").write_text(HEAD + rows, encoding="utf-8")


def _page(stem: str, docstring: str, printed: str, figures: list[str]) -> str:
    title = stem.partition("_")[2].replace("_", " ").capitalize().replace("pytorch", "PyTorch")
    text = f"{title}\n{'=' * len(title)}\n\n{rest(docstring)}\n\n"
    if printed:
        lines = "".join(f"    {line}\n" for line in printed.rstrip().splitlines())
        text += f"What it printed\n---------------\n\n.. code-block:: none\n\n{lines}\n"
    for name in figures:
        text += f".. image:: {stem}/{name}\n    :alt: {name.removesuffix('.png').replace('_', ' ')}\n\n"
    return text + f"Source\n------\n\n.. literalinclude:: {stem}.py\n\n:download:`{stem}.py`\n"


def _run(path: Path, figures: Path) -> str:
    """The command and what it prints, as a user sees it; a failure ends the build, unless a package is missing."""
    figures.mkdir()
    arguments = ARGUMENTS.get(path.stem, "--epochs 20")
    environment = {name: value for name, value in os.environ.items() if name != "XPNN_DATA"} | {"MPLBACKEND": "Agg"}
    environment["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error", str(path), *arguments.format(figures=figures).split()]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=place, timeout=300)
    if done.returncode and ("pip install" not in done.stderr or "Traceback" in done.stderr):
        raise SystemExit(f"{path.name} failed:\n{done.stderr}")
    shown = f"$ python examples/{path.name} {arguments.format(figures='figures')}\n{done.stdout or done.stderr}"
    return shown.replace(str(figures), "figures")
