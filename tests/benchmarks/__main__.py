"""The training step of xpnn, and a prediction, beside those of its peers: `python -m tests.benchmarks`.

In every round of a workload each peer measures it once, in an order drawn once and rotated from round to round, so that
no peer always follows the same other. What is counted stands in `peers/`, what is computed in `workloads.py`, what must
be reached in `bars.py`. Where many networks are trained, W7, a step is that of one of them. With more than one thread a
peer "xpnn one thread" stands beside ours, for what the others bring.
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
from typing import Any

from tests.benchmarks import imports, installed, machine, table
from tests.benchmarks.peers import PEERS
from tests.benchmarks.worker import SECONDS, Worker
from tests.benchmarks.workloads import WORKLOADS


def workloads(text: str) -> list[str]:
    """The names in "W1,W6", where W6 is W6a and W6b; argparse turns the error into a usage message."""
    asked = [name for name in text.split(",") if name]
    if unknown := [name for name in asked if not any(known.startswith(name) for known in WORKLOADS)]:
        raise argparse.ArgumentTypeError(f"unknown workloads {unknown}: there are {', '.join(WORKLOADS)}")
    return [known for known in WORKLOADS if known.startswith(tuple(asked))]


def peers(text: str) -> list[str]:
    """The names in "limit,xpnn"."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"unknown peers {unknown}: there are {', '.join(PEERS)}")
    return names


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each workload by each peer")
    parser.add_argument("--threads", type=int, default=1, help="of every BLAS, OpenMP and XLA pool, and cores")
    parser.add_argument("--only", type=workloads, default=list(WORKLOADS), metavar="W1,W2", help="some workloads")
    parser.add_argument("--peers", type=peers, default=list(PEERS), metavar="limit,xpnn", help="some peers")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="what a measurement takes, or one epoch")
    parser.add_argument("--backend", default="numpy", help="xpnn's: numpy, cupy, torch ...")
    parser.add_argument("--torch-device", default="cpu", help="PyTorch's: cpu, or cuda beside --backend cupy")
    parser.add_argument("--import-time", action="store_true", help="measure the imports too")
    parser.add_argument("--size", action="store_true", help="weigh what is installed too")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results and what they were made on")
    chosen = parser.parse_args()
    if chosen.rounds < 1 or chosen.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    return chosen


def started(stack: contextlib.ExitStack, chosen: argparse.Namespace, results: dict[str, Any]) -> list[Worker]:
    """The processes of all peers that can run here."""
    places: dict[str, str] = dict.fromkeys(("PyTorch eager", "PyTorch compile", "PyTorch bmm"), chosen.torch_device)
    places |= dict.fromkeys(("limit", "xpnn", "xpnn jit", "xpnn eager", "xpnn loop"), chosen.backend)
    asked = [(name, name, chosen.threads) for name in chosen.peers]
    if chosen.threads > 1 and "xpnn" in chosen.peers:
        asked.append(("xpnn one thread", "xpnn", 1))
        results["peer_threads"]["xpnn one thread"] = 1
    workers = []
    for name, peer, threads in asked:
        worker = Worker(name, peer, places.get(peer, "cpu"), threads)
        stack.callback(worker.close)
        if worker.skipped is None:
            workers.append(worker)
        else:
            print(f"{name} is left out: {worker.skipped}", file=sys.stderr)
            results["left_out"][name] = worker.skipped
    return workers


def measure(workers: Sequence[Worker], chosen: argparse.Namespace, results: dict[str, Any]) -> None:
    """Microseconds a step, and how many cores were at work, by workload and peer, one a round."""
    # Threads of a pool spin for a while after their last job: let them fall asleep before the next peer begins.
    pause = 0.3 if chosen.threads > 1 else 0.0
    order = random.Random(0).sample(list(workers), len(workers))
    for name in chosen.only:
        times, busy = results["microseconds"].setdefault(name, {}), results["busy"].setdefault(name, {})
        able = list(order)
        for i in range(chosen.rounds):
            print(f"{name}, round {i + 1} of {chosen.rounds}", file=sys.stderr)
            turn = i % max(1, len(able))
            for worker in able[turn:] + able[:turn]:
                time.sleep(pause)
                found = worker.measure(WORKLOADS[name], chosen.seconds)
                if "skipped" in found:
                    able.remove(worker)
                    print(f"{worker.name} has no {name}: {found['skipped']}", file=sys.stderr)
                    results["no_such"].setdefault(name, {})[worker.name] = found["skipped"]
                    continue
                times.setdefault(worker.name, []).append(found["microseconds"])
                busy.setdefault(worker.name, []).append(found["busy"])
    for worker in workers:
        reasons = [
            reason for found in results["no_such"].values() for name, reason in found.items() if name == worker.name
        ]
        if reasons and not any(worker.name in times for times in results["microseconds"].values()):
            results["left_out"][worker.name] = reasons[0]


def main() -> None:
    chosen = options()
    results: dict[str, Any] = {"machine": machine.describe(chosen.backend)}
    results |= {"rounds": chosen.rounds, "threads": chosen.threads, "peer_threads": {}}
    results |= {"left_out": {}, "no_such": {}, "microseconds": {}, "busy": {}}
    with contextlib.ExitStack() as stack:
        measure(started(stack, chosen, results), chosen, results)
    if chosen.import_time:
        results["import_milliseconds"] = imports.measure(chosen.rounds)
    if chosen.size:
        results["installed_mebibytes"] = installed.measure()
    print(table.parts(results, table.plain))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
