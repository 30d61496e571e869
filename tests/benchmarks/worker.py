"""One process for each peer, since two BLAS or OpenMP pools in one process slow both; here are both ends of its pipe.

The processes live through the whole run and wait for a line that names a workload; each line is answered by one
measurement. So the peers take turns, and a busy minute of the machine falls on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import PEERS, Train
from tests.benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[2]
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SECONDS = 0.5
"""What one measurement takes: long beside the set-up of a fit, short beside the machine's moods."""


class Worker:
    """A peer in its own process. `skipped` is the reason why it cannot run here, or None; close it after use."""

    def __init__(self, name: str, place: str, threads: int):
        command = [sys.executable, "-m", "tests.benchmarks.worker", name, place]
        env = os.environ | dict.fromkeys(POOLS, str(threads))
        self.name = name
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.skipped: str | None = self._read()["skipped"]

    def measure(self, workload: str) -> float:
        """Microseconds a step, over about half a second of epochs."""
        assert self._process.stdin is not None
        self._process.stdin.write(workload + "\n")
        self._process.stdin.flush()
        return self._read()["microseconds"]

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended with code {self._process.wait()}; its error is above")
        return json.loads(line)


def calibrated(train: Train) -> int:
    """How many epochs take `SECONDS`, found by doubling, which is the warm-up too."""
    epochs, seconds = 1, train(1)
    while seconds < SECONDS / 4:
        epochs *= 2
        seconds = train(epochs)
    return max(1, round(epochs * SECONDS / seconds))


def serve(name: str, place: str) -> None:
    """The process's own end: answer every workload that is asked for until the pipe is closed."""
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not fall among the replies

    def reply(**values: Any) -> None:
        print(json.dumps(values), file=replies, flush=True)

    try:
        PEERS[name](WORKLOADS["W1"], place)
    except (ImportError, RuntimeError, AssertionError) as error:  # no such library, or no such device
        reply(skipped=f"{type(error).__name__}: {error}")
        return
    reply(skipped=None)
    ready: dict[str, tuple[Train, int]] = {}
    for line in sys.stdin:
        work = WORKLOADS[line.strip()]
        if work.name not in ready:
            train = PEERS[name](work, place)
            ready[work.name] = train, calibrated(train)
        train, epochs = ready[work.name]
        reply(microseconds=train(epochs) / (epochs * work.steps) * 1e6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("place")
    arguments = parser.parse_args()
    serve(arguments.name, arguments.place)
