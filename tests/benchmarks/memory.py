"""Training on more data than memory: `python -m tests.benchmarks.memory --gigabytes 4 --limit-gigabytes 1`.

A process trains for one epoch on a `numpy.memmap` of that size, while RLIMIT_DATA lets it allocate no more than the
limit: that counts all private memory that it can write to, interpreter, libraries and heap included, and whatever goes
beyond is refused with a MemoryError. It does not count the pages of the file, which the kernel drops when it likes.
What is printed is the largest RssAnon, such memory as is really in use, looked at every 5 ms. A second process shows
that the limit bites: it reads the file whole. Linux only; elsewhere the limit is not enforced.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.worker import POOLS, ROOT

FEATURES, CLASSES, BATCH = 256, 10, 256
BLOCK = 1 << 14  # rows that are written at once


def write(folder: Path, gigabytes: float, sparse: bool) -> None:
    """Rows x and classes y in two files, drawn block by block; a sparse x is zeros that take no room on the disk."""
    rows = int(gigabytes * 2**30) // (4 * FEATURES)
    rng = np.random.default_rng(0)
    shape = (rows, FEATURES)
    x = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.float32, shape=shape)
    y = np.lib.format.open_memmap(folder / "y.npy", mode="w+", dtype=np.uint8, shape=(rows,))
    centres = rng.normal(size=(CLASSES, FEATURES)).astype(np.float32)
    for start in range(0, rows, BLOCK):
        labels = rng.integers(0, CLASSES, min(BLOCK, rows - start))
        y[start : start + BLOCK] = labels
        if not sparse:
            noise = rng.standard_normal((len(labels), FEATURES), dtype=np.float32)
            x[start : start + BLOCK] = 0.2 * centres[labels] + noise


def run(folder: Path, limit: float, what: str = "epoch") -> dict[str, Any]:
    """What a process of its own reports, under `limit` GiB: "epoch" trains, "whole" reads the file into an array."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--child", what, str(folder), str(limit)]
    env = os.environ | dict.fromkeys(POOLS, "1")  # a BLAS thread takes memory, unused, of its own
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def child(what: str, folder: Path, limit: float) -> dict[str, Any]:
    """The measured process."""
    import resource

    most = int(limit * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    from xpnn import Adam, Network, mlp

    x, y = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in "xy")
    net = Network(mlp([FEATURES, 64, CLASSES], output="softmax"))
    before, watch = _rss_anon(), Watch()
    start = time.perf_counter()
    try:
        if what == "whole":
            x = np.array(x)
        history = net.fit(x, y, "cross_entropy", Adam(1e-3), epochs=1, batch_size=BATCH)
    except MemoryError as error:
        return {"refused": str(error)}
    finally:
        peak = watch.stop()
    seconds = time.perf_counter() - start
    return {"rows": len(x), "seconds": seconds, "loss": history["loss"][0], "before": before, "peak": peak}


class Watch:
    """The largest RssAnon in MiB between its making and `stop()`."""

    def __init__(self):
        self._peak, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            self._peak = max(self._peak, _rss_anon())

    def stop(self) -> float:
        self._ended.set()
        self._thread.join()
        return self._peak


def _rss_anon() -> float:
    """This process's memory in use that no file stands behind, in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="size of the rows on the disk, in GiB")
    parser.add_argument("--limit-gigabytes", type=float, default=1.0, help="what the process may allocate, in GiB")
    parser.add_argument("--sparse", action="store_true", help="rows of zeros, which are neither drawn nor written")
    parser.add_argument("--folder", type=Path, help="where the files are made, and removed; a temporary folder")
    parser.add_argument("--child", nargs=3, metavar=("WHAT", "FOLDER", "LIMIT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        what, folder, limit = chosen.child
        print(json.dumps(child(what, Path(folder), float(limit))))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as made:
        folder = Path(made)
        write(folder, chosen.gigabytes, chosen.sparse)
        found = run(folder, chosen.limit_gigabytes)
        if "refused" in found:
            sys.exit(f"an epoch does not fit in {chosen.limit_gigabytes:g} GiB: {found['refused']}")
        rate = found["rows"] / found["seconds"]
        print(f"{found['rows']:,} rows of {FEATURES} float32, {chosen.gigabytes:g} GiB, in {found['seconds']:.1f} s")
        print(f"{rate:,.0f} rows/s, {rate * FEATURES * 4 / 2**20:,.0f} MiB/s, loss {found['loss']:.4f}")
        print(f"peak {found['peak']:.0f} MiB, {found['before']:.0f} MiB of them before the fit")
        whole = run(folder, chosen.limit_gigabytes, "whole")
        print(f"read whole under the same limit: {whole.get('refused', 'it fits')}")


if __name__ == "__main__":
    main()
