"""One process for each peer, since two BLAS or OpenMP pools in one process slow both; here are both ends of its pipe.

The processes live through the whole run. Each waits for a line that names a job and answers it with another, so the
peers take turns, and a busy minute of the machine falls on all of them.

Threads are held in three ways: the variables that BLAS and OpenMP read, XLA's own, and the cores that the process may
run on, as many as there are threads. Of XLA's, NPROC is the size of its pool; the option for Eigen's threads, which is
commonly given alone, left 1.75 cores at work (jaxlib 0.10.2, 2 cores). Whether all this was obeyed is measured: `busy`
is the processor's time by the clock's.

On a GPU all peers hold their arrays on one card, of which JAX would take three quarters for itself; it is told not to.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from tests.benchmarks.peers import PEERS, CannotRun, Run, made
from tests.benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).resolve().parents[2]
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SECONDS = 0.5
"""What one measurement takes: long beside the set-up of a fit, short beside the machine's moods."""


def environment(threads: int) -> dict[str, str]:
    """The variables under which every pool has that many threads."""
    one_thread = " --xla_cpu_multi_thread_eigen=false" * (threads == 1)
    xla = (os.environ.get("XLA_FLAGS", "") + one_thread).strip()
    own = {"XLA_FLAGS": xla, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return os.environ | dict.fromkeys((*POOLS, "NPROC"), str(threads)) | own


def cores(threads: int) -> list[int]:
    """The cores that a peer of that many threads may use, the last ones; none where the system cannot say."""
    return sorted(os.sched_getaffinity(0))[-threads:] if sys.platform == "linux" else []


class Worker:
    """A peer in its own process, called `name` in the results. `skipped` is the reason why it cannot run here, or None.

    To be closed after use.
    """

    def __init__(self, name: str, peer: str, place: str, threads: int):
        command = [sys.executable, "-m", "tests.benchmarks.worker", peer, place]
        if (mine := cores(threads)) and shutil.which("taskset"):  # a preexec_fn would fork, which JAX warns of
            command = ["taskset", "--cpu-list", ",".join(map(str, mine)), *command]
        self.name = name
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.skipped: str | None = self._read().get("skipped")

    def measure(self, work: Workload, seconds: float = SECONDS) -> dict[str, Any]:
        """{"microseconds": a step's, "busy": cores' worth of work}, over about `seconds`, or {"skipped": why}."""
        return self._ask(work=asdict(work), seconds=seconds)

    def found(self, work: Workload, epochs: int) -> dict[str, Any]:
        """{"found": the loss of each of some epochs, or the first row's output}, or {"skipped": why}."""
        return self._ask(work=asdict(work), epochs=epochs)

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()

    def _ask(self, **job: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended with code {self._process.wait()}; its error is above")
        return json.loads(line)


def ready(peer: str, work: Workload, place: str, seconds: float) -> tuple[Run, int]:
    """The peer, warm, and how many epochs take that long, found by doubling.

    The first epoch, in which libraries compile, tells nothing.
    """
    run = made(peer, work, place)
    run(1)
    epochs, took = 1, run(1)[0]
    while took < seconds / 4:
        epochs *= 2
        took = run(epochs)[0]
    return run, max(1, round(epochs * seconds / took))


def measured(run: Run, epochs: int, work: Workload) -> dict[str, float]:
    """One measurement, of a step of one network; `busy` is taken over the whole call, with what of it is not timed."""
    clock, processor = perf_counter(), process_time()
    seconds, _ = run(epochs)
    busy = (process_time() - processor) / (perf_counter() - clock)
    return {"microseconds": seconds / (epochs * work.steps * work.members) * 1e6, "busy": busy}


def release() -> None:
    """Give back the memory of what is held no more, on a card too, where the other peers need room."""
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        sys.modules["torch"].cuda.empty_cache()
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()


def serve(peer: str, place: str) -> None:
    """The process's own end: answer every job until the pipe is closed. It holds one workload at a time."""
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not fall among the replies

    def reply(values: dict[str, Any]) -> None:
        print(json.dumps(values), file=replies, flush=True)

    try:
        made(peer, WORKLOADS["W1"], place)
    except CannotRun:  # as it may for one workload
        pass
    except (ImportError, RuntimeError, AssertionError) as error:  # no such library, or no such device
        reply({"skipped": f"{type(error).__name__}: {error}"})
        return
    reply({})
    held: dict[Workload, tuple[Run, int]] = {}
    for line in sys.stdin:
        job = json.loads(line)
        work = Workload(**(job["work"] | {"widths": tuple(job["work"]["widths"])}))
        try:
            if "epochs" in job:
                _, found = made(peer, work, place)(job["epochs"])
                reply({"found": [float(value) for value in found]})
                continue
            if work not in held:
                held.clear()
                release()
                held[work] = ready(peer, work, place, job["seconds"])
            reply(measured(*held[work], work))
        except CannotRun as error:
            reply({"skipped": str(error)})
        except Exception as error:  # no memory left on a card, say: the other workloads and peers go on
            traceback.print_exc()
            reply({"skipped": f"it failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("place")
    arguments = parser.parse_args()
    serve(arguments.peer, arguments.place)
