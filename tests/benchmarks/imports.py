"""How long an import takes, each in a fresh interpreter and without the interpreter's own start.

`import xpnn` finds its names when they are first used, so what a program pays in the end is `from xpnn import Network`;
all are measured against `import numpy`, which every user of NumPy pays already.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from tests.benchmarks.worker import ROOT

STATEMENTS = ("import numpy", "import xpnn", "from xpnn import Network")
OTHERS = ("import sklearn.neural_network", "import torch", "import jax.numpy")
ROUNDS = 15


def milliseconds(statement: str) -> float:
    """The time of one import in a new process."""
    clock = f"from time import perf_counter; start = perf_counter(); {statement}; print(perf_counter() - start)"
    done = subprocess.run([sys.executable, "-c", clock], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout) * 1e3


def measure(rounds: int) -> dict[str, list[float]]:
    """Milliseconds by statement, one a round; the statements take turns at being first."""
    statements = STATEMENTS + tuple(one for one in OTHERS if find_spec(one.split()[1].partition(".")[0]))
    for statement in statements:  # the first time reads from the disk and writes the bytecode
        milliseconds(statement)
    found: dict[str, list[float]] = {statement: [] for statement in statements}
    for i in range(max(rounds, ROUNDS)):
        turn = i % len(statements)
        for statement in statements[turn:] + statements[:turn]:
            found[statement].append(milliseconds(statement))
    return found
