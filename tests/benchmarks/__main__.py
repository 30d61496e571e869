"""The training step of xpnn, and a prediction, beside those of its peers: `python -m tests.benchmarks`.

In every round of a workload each peer measures it once, in an order drawn once and rotated from round to round, so that
no peer always follows the same other. What is counted stands in `peers/`, what is computed in `workloads.py`, what must
be reached in `bars.py`. Where many networks are trained, W7, a step is that of one of them. With more than one thread a
peer "xpnn one thread" stands beside ours, for what the others bring.

With `--backend cupy` all of it is on a GPU: PyTorch's peers and JAX's compute there or are left out, as are those that
can only compute on the processor. The bars are then those of a card, and `card.py` adds what only a card tells.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import card, imports, installed, machine, table
from tests.benchmarks.peers import PEERS
from tests.benchmarks.worker import SECONDS, Worker
from tests.benchmarks.workloads import WORKLOADS
from xpnn.availability import status

PROCESSOR = ("xpnn jit", "tutorial script", "scikit-learn", "scikit-learn jobs")
"""The peers that have no GPU."""
ON_CARD = 4
"""Threads, and cores, of each peer in a run on a GPU: the libraries hand work to the card from more than one."""


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
    parser.add_argument(
        "--threads", type=int, help=f"of every BLAS, OpenMP and XLA pool, and cores; 1, or {ON_CARD} beside a GPU"
    )
    parser.add_argument("--only", type=workloads, default=list(WORKLOADS), metavar="W1,W2", help="some workloads")
    parser.add_argument("--peers", type=peers, default=list(PEERS), metavar="limit,xpnn", help="some peers")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="what a measurement takes, or one epoch")
    parser.add_argument("--backend", default="numpy", help="xpnn's: numpy, cupy, torch ...")
    parser.add_argument("--torch-device", help="PyTorch's: cpu, or cuda beside --backend cupy")
    parser.add_argument("--import-time", action="store_true", help="measure the imports too")
    parser.add_argument("--size", action="store_true", help="weigh what is installed too")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results and what they were made on")
    chosen = parser.parse_args()
    if reason := refused(chosen.backend):
        parser.error(reason)
    on_card = machine.is_card(chosen.backend)
    chosen.torch_device = chosen.torch_device or ("cuda" if on_card else "cpu")
    if chosen.threads is None:
        chosen.threads = min(ON_CARD, os.cpu_count() or 1) if on_card else 1
    if chosen.rounds < 1 or chosen.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    return chosen


def refused(backend: str) -> str | None:
    """Why nothing can be measured on that backend; None where it can."""
    if backend == "auto" or backend.startswith("cupy:"):
        return f"--backend {backend} names no one device for all peers: take cupy, and CUDA_VISIBLE_DEVICES for a card"
    found = status(backend) if machine.is_card(backend) else None
    if found is None or found.usable:
        return None
    return f"--backend cupy needs a GPU: {found.reason}. Install it with: pip install {found.install}"


def places(chosen: argparse.Namespace) -> dict[str, str]:
    """Where each peer computes, in its library's word for it."""
    found: dict[str, Any] = dict.fromkeys(PEERS, "cpu")
    found |= dict.fromkeys((peer for peer in PEERS if peer.startswith("PyTorch")), chosen.torch_device)
    found |= dict.fromkeys((peer for peer in PEERS if peer.startswith("xpnn")), chosen.backend)
    found["limit"] = chosen.backend
    if machine.is_card(chosen.backend):
        found |= dict.fromkeys((peer for peer in PEERS if "JAX" in peer), "cuda")
        for peer in PROCESSOR:
            del found[peer]
    return found


def started(stack: contextlib.ExitStack, chosen: argparse.Namespace, results: dict[str, Any]) -> list[Worker]:
    """The processes of all peers that can run here."""
    where, on_card = places(chosen), machine.is_card(chosen.backend)
    asked = [(name, name, chosen.threads) for name in chosen.peers if name in where]
    for name in chosen.peers:
        if name not in where:
            leave_out(name, "it computes on the processor alone", results)
    if chosen.threads > 1 and "xpnn" in chosen.peers and not on_card:
        asked.append(("xpnn one thread", "xpnn", 1))
        results["peer_threads"]["xpnn one thread"] = 1
    workers = []
    for name, peer, threads in asked:
        worker = Worker(name, peer, where[peer], threads)
        stack.callback(worker.close)
        if worker.skipped is None:
            workers.append(worker)
        else:
            leave_out(name, worker.skipped, results)
    return workers


def leave_out(name: str, reason: str, results: dict[str, Any]) -> None:
    print(f"{name} is left out: {reason}", file=sys.stderr)
    results["left_out"][name] = reason


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
                    for found_before in (times, busy):
                        found_before.pop(worker.name, None)
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
    if machine.is_card(chosen.backend):
        results["card"] = {"steps": {}, "ceilings": {}}
    with contextlib.ExitStack() as stack:
        measure(started(stack, chosen, results), chosen, results)
    if "card" in results:
        card.tell(results, chosen.backend)
    if chosen.import_time:
        results["import_milliseconds"] = imports.measure(chosen.rounds)
    if chosen.size:
        results["installed_mebibytes"] = installed.measure()
    print(table.parts(results, table.plain))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
