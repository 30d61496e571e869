"""The training step of xpnn beside that of its peers: `python -m tests.benchmarks`.

In every round each workload is measured once by each peer, in an order drawn once and rotated from round to round, so
that no peer always follows the same other. What is counted stands in `peers.py`, what is trained in `workloads.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import imports, machine, table
from tests.benchmarks.peers import PEERS
from tests.benchmarks.worker import Worker
from tests.benchmarks.workloads import WORKLOADS

Rounds = dict[str, dict[str, list[float]]]


def workloads(text: str) -> list[str]:
    """The names in "W1,W2"; argparse turns the error into a usage message."""
    names = [name for name in text.split(",") if name]
    if unknown := set(names) - set(WORKLOADS):
        raise argparse.ArgumentTypeError(f"unknown workloads {sorted(unknown)}: there are {', '.join(WORKLOADS)}")
    return names


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each workload by each peer")
    parser.add_argument("--threads", type=int, default=1, help="of every BLAS and OpenMP pool")
    parser.add_argument("--only", type=workloads, default=list(WORKLOADS), metavar="W1,W2", help="some workloads")
    parser.add_argument("--backend", default="numpy", help="xpnn's: numpy, cupy, torch ...")
    parser.add_argument("--torch-device", default="cpu", help="PyTorch's: cpu, or cuda beside --backend cupy")
    parser.add_argument("--import-time", action="store_true", help="measure the imports too")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results and what they were made on")
    chosen = parser.parse_args()
    if chosen.rounds < 1 or chosen.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    return chosen


def started(stack: contextlib.ExitStack, places: dict[str, str], threads: int) -> list[Worker]:
    """The processes of all peers that can run here."""
    workers = []
    for name in PEERS:
        worker = Worker(name, places.get(name, "cpu"), threads)
        stack.callback(worker.close)
        if worker.skipped:
            print(f"{name} is left out: {worker.skipped}", file=sys.stderr)
        else:
            workers.append(worker)
    return workers


def measured(workers: Sequence[Worker], names: Sequence[str], rounds: int, pause: float) -> Rounds:
    """Microseconds a step by workload and peer, one a round."""
    order = random.Random(0).sample(list(workers), len(workers))
    found: Rounds = {name: {worker.name: [] for worker in workers} for name in names}
    for i in range(rounds):
        print(f"round {i + 1} of {rounds}", file=sys.stderr)
        turn = i % len(order)
        for name in names:
            for worker in order[turn:] + order[:turn]:
                time.sleep(pause)
                found[name][worker.name].append(worker.measure(name))
    return found


def main() -> None:
    chosen = options()
    # Threads of a pool spin for a while after their last job: let them fall asleep before the next peer begins.
    pause = 0.3 if chosen.threads > 1 else 0.0
    results = {"machine": machine.describe(chosen.backend), "rounds": chosen.rounds, "threads": chosen.threads}
    with contextlib.ExitStack() as stack:
        places = {"limit": chosen.backend, "xpnn eager": chosen.backend, "PyTorch eager": chosen.torch_device}
        workers = started(stack, places, chosen.threads)
        results["microseconds"] = measured(workers, chosen.only, chosen.rounds, pause)
    print(table.plain(table.steps(results)))
    if chosen.import_time:
        results["import_milliseconds"] = imports.measure(chosen.rounds)
        print("\n" + table.plain(table.imports(results)))
    print("\n" + table.caption(results))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
