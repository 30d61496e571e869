"""The estimators of `xpnn.sklearn` beside scikit-learn's on real tables: `python -m tests.benchmarks.estimators`.

Both get the same rows, prepared in the same way, and the same parameters, scikit-learn's defaults; only the random
numbers differ, as they would between two seeds. Each has a process of its own with one thread. They take turns, and
who is first changes from seed to seed, so that a busy minute of the machine falls on both. Counted is `fit`, in a
process that has fitted something before: imports are not. Its seconds are the processor's, which one thread on a free
core takes by the clock too, and which other programs lengthen less; the clock's stand in the file of results.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from importlib import import_module
from math import sqrt
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter, process_time
from typing import Any

from tests.benchmarks import machine, table
from tests.benchmarks.data import SETS, Split, Table, split
from tests.benchmarks.worker import POOLS

PEERS = {"ours": "xpnn.sklearn", "theirs": "sklearn.neural_network"}


@lru_cache(1)
def _table(name: str, folder: Path) -> Table:
    return SETS[name].read(folder)


@lru_cache(1)
def _split(name: str, folder: Path, seed: int) -> Split:
    return split(SETS[name], _table(name, folder), seed)


def fit(peer: str, name: str, folder: Path, seed: int, max_iter: int) -> dict[str, Any]:
    """One fit, in the peer's process: accuracy or R2 of the test's rows, seconds and epochs."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is what it is, and stands in the table
    rows = _split(name, folder, seed)
    kind = "MLPRegressor" if SETS[name].numbers else "MLPClassifier"
    make = getattr(import_module(PEERS[peer]), kind)
    make(max_iter=1).fit(rows.x[:100], rows.y[:100])  # what the first fit imports
    model = make(max_iter=max_iter, random_state=seed)
    clock, seconds = -perf_counter(), -process_time()
    model.fit(rows.x, rows.y)
    clock, seconds = clock + perf_counter(), seconds + process_time()
    score = float(model.score(rows.x_test, rows.y_test))
    shape = [len(rows.x) + len(rows.x_test), rows.x.shape[1]]
    return {"score": score, "seconds": seconds, "clock": clock, "epochs": model.n_iter_, "shape": shape}


def compared(name: str, folder: Path, seeds: int, max_iter: int, pools: dict[str, ProcessPoolExecutor]) -> dict:
    """All fits of one data set."""
    found: dict[str, Any] = {"max_iter": max_iter} | {peer: {} for peer in PEERS}
    for seed in range(seeds):
        print(f"{name}, seed {seed + 1} of {seeds}", file=sys.stderr)
        for peer in list(PEERS)[:: -1 if seed % 2 else 1]:
            made = pools[peer].submit(fit, peer, name, folder, seed, max_iter).result()
            found["shape"] = made.pop("shape")
            for key, value in made.items():
                found[peer].setdefault(key, []).append(value)
    return found


def error(values: Sequence[float]) -> float:
    """The standard error of the mean; 0 for one value, of which nothing is known."""
    return stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0


def summary(results: dict[str, Any]) -> list[list[str]]:
    """A row for each data set, with a head: mean scores with their standard errors, medians of all else.

    Both estimators see the same rows under each seed: the standard error of the difference of their means is that of
    the mean of the seeds' differences.
    """
    head = ["data", "rows x features", "score ours", "score scikit-learn", "ours - scikit-learn", "in standard errors"]
    head += ["epochs ours, scikit-learn, at most", "fit s ours", "fit s scikit-learn", "scikit-learn / ours"]
    lines = [[*head, "per epoch"]]
    for name, found in results["fits"].items():
        ours, theirs = found["ours"], found["theirs"]
        gaps = [a - b for a, b in zip(ours["score"], theirs["score"], strict=True)]
        epochs = [[s / n for s, n in zip(peer["seconds"], peer["epochs"], strict=True)] for peer in (theirs, ours)]
        far = f"{mean(gaps) / error(gaps):+.1f}" if error(gaps) else table.MISSING
        rows, width = found["shape"]
        lines.append(
            [
                name,
                f"{rows:,} x {width}",
                *(
                    f"{mean(peer['score']):.4f}" + f" ± {error(peer['score']):.4f}" * (results["seeds"] > 1)
                    for peer in (ours, theirs)
                ),
                f"{mean(gaps):+.4f}",
                far,
                ", ".join(f"{median(peer['epochs']):g}" for peer in (ours, theirs)) + f", {found['max_iter']}",
                *(table.short(median(peer["seconds"])) for peer in (ours, theirs)),
                f"{table.ratio(theirs['seconds'], ours['seconds']):.2f}",
                f"{table.ratio(*epochs):.2f}",
            ]
        )
    return lines


def caption(results: dict[str, Any]) -> str:
    """How it was measured, in a sentence or two."""
    made, seeds = results["machine"], results["seeds"]
    fewer = ", ".join(name for name, found in results["fits"].items() if found["max_iter"] < 200)
    defaults = "defaults for both" + f" ({fewer}: fewer epochs)" * bool(fewer)
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in ("numpy", "scikit-learn", "xpnn"))
    return (
        f"Accuracy or R2 on a quarter of the rows, mean of {seeds} seed{'s' * (seeds > 1)} ± standard error; processor "
        f"seconds and ratios are medians. scikit-learn's {defaults}, float64, one thread, interleaved, on "
        f"{made['cpu']} ({made['cores']} cores); Python {made['python']}, {versions}, "
        f"NumPy's BLAS {made['blas']}; {made['date']}."
    )


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.estimators", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("XPNN_DATA"), metavar="FOLDER",
                        help="of the files that scikit-learn does not ship; else the variable XPNN_DATA")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=5, help="train/test splits of each data set")
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS), metavar="NAME",
                        help=f"some of: {', '.join(SETS)}")  # fmt: skip
    parser.add_argument("--max-iter", type=int, metavar="N", help="epochs at most, in the place of the data set's own")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every fit and what it was made on")
    chosen = parser.parse_args()
    if chosen.seeds < 1 or (chosen.max_iter is not None and chosen.max_iter < 1):
        parser.error("--seeds and --max-iter must be at least 1")
    if chosen.data is not None and not Path(chosen.data).is_dir():
        parser.error(f"--data must name a folder, got {chosen.data}")
    return chosen


def main() -> None:
    chosen = options()
    folder = None if chosen.data is None else Path(chosen.data)
    left_out = {name: files for name in chosen.only if (files := SETS[name].missing(folder))}
    os.environ.update(dict.fromkeys(POOLS, "1"))  # inherited by the processes, and read when they load their libraries
    results: dict[str, Any] = {
        "machine": machine.describe("numpy"),
        "seeds": chosen.seeds,
        "left_out": left_out,
        "fits": {},
    }
    with contextlib.ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        pools = {peer: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for peer in PEERS}
        for name in chosen.only:
            if name not in left_out:
                max_iter = chosen.max_iter or SETS[name].max_iter
                results["fits"][name] = compared(name, folder or Path(), chosen.seeds, max_iter, pools)
    if results["fits"]:
        print(table.markdown(summary(results)), caption(results), sep="\n\n")
    for name, files in left_out.items():
        print(f"\n{name} is left out: name the folder that holds {', '.join(files)}, by --data or XPNN_DATA.")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
