"""What only a run on a GPU tells: kernels, bytes and operations of a step, and the rates that the card reaches.

What a step launches, moves and computes is read off its plan, which needs no card. How fast the card copies and
multiplies is measured, by `python -m tests.benchmarks.card` in a process of its own: the ceilings that the step's rates
are held against. The share of the time in products is that of the peer "limit" by ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from tests.benchmarks import bars
from tests.benchmarks.worker import ROOT
from tests.benchmarks.workloads import WORKLOADS, Workload

COPIED = 1 << 30
"""Bytes of the array that is copied, far more than any cache holds."""
SQUARE = {"float32": 8192, "float64": 4096}
"""Rows of the square matrices that are multiplied, by dtype."""
ROUNDS = 5
SECONDS = 0.1
"""What one measurement of a ceiling takes at least."""


class Step(NamedTuple):
    """What one step of all networks launches, computes and moves."""

    kernels: float
    flops: float
    product_flops: float
    bytes: float

    def scaled(self, factor: float) -> Step:
        return Step(*(value * factor for value in self))


def step_of(work: Workload) -> Step:
    """A step of the plan that CuPy's program is made from, the mean over an epoch where its last batch is short."""
    counts = {work.batch: work.rows // work.batch, work.rest: 1}
    parts = [counted(planned(work, rows)).scaled(count / work.steps) for rows, count in counts.items() if rows]
    return Step(*(sum(values) for values in zip(*parts, strict=True)))


def planned(work: Workload, rows: int) -> Any:
    """The plan of a training step on so many rows as `fit` has it made on a GPU, found without one."""
    import xpnn
    from tests.benchmarks.peers import ours
    from xpnn import inputs
    from xpnn.compile.traced import _emitter
    from xpnn.progress import START

    net = ours.network(work, "numpy", None if work.members > 1 else 0)
    loss, optimizer = xpnn.losses.get(work.loss), ours.optimizer_of(work)
    steps, numbers = net._prepare(loss, optimizer)
    item = None
    if work.batch_size is not None:
        lead = (work.members,) * (work.members > 1 and not work.shared)
        item = np.zeros((*lead, rows), np.int64)
    trees = {
        "carry": net.progress.started(loss, optimizer, xp=net.backend.xp).carry,
        "data": inputs.data(*ours.data(work, net), None, loss, net.shapes, net.backend),
        "numbers": numbers.epoch(START)[0],
        "rows": item,
        "batch": None,
    }
    _, options = _emitter(replace(net.backend, name="cupy"), False)
    with mock.patch("xpnn.compile.traced._emitter", lambda *asked: (_NoProgram, options)):
        return steps.trace("epoch", trees).plan


class _NoProgram:
    """Stands for the program that only CuPy can make of a plan."""

    def __init__(self, plan: Any, bound: list[str]):
        self.bound, self.arguments = bound, [name for name in plan.inputs if name not in bound]


def counted(plan: Any) -> Step:
    """What a plan launches and moves: a kernel reads and writes each of its arrays once, whatever it computes of them.

    The copies of a step's numbers to where a graph looks for them, and of its loss, are not in the plan.
    """
    from xpnn.compile.cost import total
    from xpnn.compile.launches import steps

    found = total(node for unit in plan.units for node in unit.nodes)
    kernels, moved = 0, 0
    for step in steps(plan):
        if step.node.op == "concat":
            missing = plan.to_copy(step.node)
            kernels, moved = kernels + len(missing), moved + sum(2 * arg.nbytes for arg, _, _ in missing)
        else:
            kernels, moved = kernels + 1, moved + sum(node.nbytes for node in step.writes)
            moved += step.node.nbytes if step.node.op == "take" else sum(_read(plan, arg) for arg in set(step.reads))
    own = [node for name, node in plan.outputs.items() if plan.places[name] == "kept"]
    copies = [node for node, _ in plan.copies] + [node for node in own if not _there(plan, node)]
    kernels, moved = kernels + len(copies), moved + sum(2 * node.nbytes for node in copies)
    return Step(kernels, found.flops, found.product_flops, moved)


def _read(plan: Any, node: Any) -> int:
    """The bytes that are read of a node; what is broadcast is read as it lies, and a known number is in the text."""
    from xpnn.compile.simplify import uniform

    return 0 if uniform(node) else min(node.nbytes, plan.root(node).nbytes)


def _there(plan: Any, node: Any) -> bool:
    """Whether a result that is kept is computed in a buffer which it keeps."""
    home = plan.home.get(plan.root(node))
    return home is not None and home.kind in ("block", "kept", "part")


def ceilings(backend: str, dtype: str, copied: int = COPIED, square: int | None = None) -> dict[str, float]:
    """The rates that are reached by a copy of so many bytes, each of them read and written, and by the product of two
    square matrices of so many rows."""
    from xpnn.backend import resolve

    kind, square = resolve(backend, dtype), SQUARE[dtype] if square is None else square
    with kind.current():
        return {"bytes_a_second": copies(kind, copied), "flops_a_second": products(kind, square), "square": square}


def copies(kind: Any, size: int) -> float:
    """Bytes a second, read and written."""
    source = kind.asarray(np.ones(size // np.dtype(kind.dtype).itemsize, kind.dtype))
    return 2 * size / quickest(lambda: kind.copy(source), kind)


def products(kind: Any, rows: int) -> float:
    """Operations a second."""
    rng, dtype = np.random.default_rng(0), np.dtype(kind.dtype).type
    first, second = (kind.asarray(rng.standard_normal((rows, rows), dtype=dtype)) for _ in range(2))
    return 2 * rows**3 / quickest(lambda: kind.xp.matmul(first, second), kind)


def quickest(call: Callable[[], Any], kind: Any) -> float:
    """Seconds a call in the quickest of some rounds, each of as many calls as take that long, waited for once."""

    def took(calls: int) -> float:
        start = perf_counter()
        for _ in range(calls):
            call()
        if kind.name == "cupy":
            kind.xp.cuda.Device().synchronize()
        return perf_counter() - start

    calls = 1
    took(calls)  # libraries load, and memory is taken
    while took(calls) < SECONDS:
        calls *= 2
    return min(took(calls) for _ in range(ROUNDS)) / calls


def measure(backend: str, dtypes: list[str], *options: str) -> dict[str, dict[str, float]]:
    """The ceilings of each dtype, found in a process of its own; RuntimeError where it fails."""
    command = [sys.executable, "-m", "tests.benchmarks.card", "--backend", backend, *options, *dtypes]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"the ceilings could not be measured (code {done.returncode}); the error is above")
    return json.loads(done.stdout)


def tell(results: dict[str, Any], backend: str) -> None:
    """Put into the results of a run on a card what they say of each step, and the ceilings."""
    results["samples_a_second"] = samples(results["microseconds"])
    trained = [name for name in results["microseconds"] if WORKLOADS[name].optimizer]
    for name in trained:
        results["card"]["steps"][name] = described(WORKLOADS[name], results["microseconds"][name])
    try:
        dtypes = sorted({WORKLOADS[name].dtype for name in results["microseconds"]})
        results["card"]["ceilings"] = measure(backend, dtypes) if dtypes else {}
    except (RuntimeError, ValueError) as error:  # what was measured before is not lost for it
        print(error, file=sys.stderr)
        results["card"]["left_out"] = str(error)


def samples(microseconds: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """Rows a second by workload and peer, those of all networks together, from the times of a network's step."""
    return {
        name: {
            peer: WORKLOADS[name].rows / WORKLOADS[name].steps / median(times) * 1e6 for peer, times in rounds.items()
        }
        for name, rounds in microseconds.items()
    }


def described(work: Workload, rounds: dict[str, list[float]]) -> dict[str, float | None]:
    """A step of all networks: what its plan says, and with the times of the rounds what it reaches."""
    step = step_of(work)
    found: dict[str, float | None] = dict(step._asdict())
    if "xpnn" not in rounds:
        return found
    seconds = median(rounds["xpnn"]) * work.members / 1e6
    found |= {"microseconds": seconds * 1e6, "share_of_products": bars.found("limit / ours", rounds)}
    return found | {"bytes_a_second": step.bytes / seconds, "flops_a_second": step.flops / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.card", description=__doc__)
    parser.add_argument("--backend", default="cupy", help="xpnn's: cupy, numpy ...")
    parser.add_argument("--copied", type=int, default=COPIED, metavar="BYTES", help="size of the array that is copied")
    parser.add_argument("--square", type=int, metavar="ROWS", help=f"of the matrices; {SQUARE}")
    parser.add_argument("dtypes", nargs="+", choices=SQUARE)
    asked = parser.parse_args()
    found = {dtype: ceilings(asked.backend, dtype, asked.copied, asked.square) for dtype in asked.dtypes}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
