"""A search for hyper-parameters beside scikit-learn's: `python -m tests.benchmarks.search`.

5-fold cross-validation of 24 candidates, 6 learning rates times 4 penalties, by `xpnn.sklearn.MLPSearchCV` over
`xpnn.sklearn.MLPClassifier` and by `GridSearchCV` over scikit-learn's, both with as many jobs as threads. Rows and
folds are the same, and so are all other parameters, the estimators' defaults; only the random numbers differ, as they
would between two seeds. Each has a process of its own, and as many cores as there are threads. They take turns, and
who is first changes from round to round.

Counted is `fit` by the clock, in a process that has searched before: neither imports nor the start of joblib's
processes are. Both fit the best candidate again on all rows and say how long that took. `search` is the time without
it, which is that of refit=False.
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
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np

from tests.benchmarks import bars, machine, table
from tests.benchmarks.data import SETS, Table, preparation
from tests.benchmarks.estimators import error
from tests.benchmarks.worker import POOLS, cores

GRID = {
    "learning_rate_init": np.geomspace(1e-4, 1e-1, 6).tolist(),
    "alpha": np.geomspace(1e-5, 1e-2, 4).tolist(),
}
FOLDS = 5
FASTER = bars.Bar(6.0)
"""How many times as fast ours must be."""
NAMES = [name for name, one in SETS.items() if not one.numbers]
SEARCHED = ["breast-cancer", "digits"]
PEERS = ("ours", "theirs")


@lru_cache(1)
def _table(name: str, folder: Path) -> Table:
    """All rows, standardized."""
    x, y = SETS[name].read(folder)
    return np.asarray(preparation(replace(SETS[name], scaled=True), x.shape[1]).fit_transform(x)), y


def _search(peer: str, jobs: int, **parameters: Any) -> Any:
    if peer == "ours":
        from xpnn.sklearn import MLPClassifier, MLPSearchCV

        return MLPSearchCV(MLPClassifier(**parameters), GRID, cv=FOLDS, n_jobs=jobs)
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    return GridSearchCV(MLPClassifier(**parameters), GRID, cv=FOLDS, n_jobs=jobs)


def fit(peer: str, name: str, folder: Path, seed: int, max_iter: int, jobs: int, dtype: str) -> dict[str, Any]:
    """One search, in the peer's process: its seconds, those without the refit, and the best candidate's folds."""
    from joblib import parallel_config
    from joblib.externals.loky import get_reusable_executor
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is what it is, and stands below the table
    x, y = _table(name, folder)
    x = x.astype(dtype)
    few = np.concatenate([np.flatnonzero(y == label)[: 2 * FOLDS] for label in np.unique(y)])
    with parallel_config("loky", inner_max_num_threads=1):  # as without the variables that this process has
        _search(peer, jobs, max_iter=1).fit(x[few], y[few])  # what the first search imports and starts
        search = _search(peer, jobs, max_iter=max_iter, random_state=seed)
        start = perf_counter()
        search.fit(x, y)
        seconds = perf_counter() - start
    get_reusable_executor().shutdown()  # else joblib's processes keep this one for five minutes after its last job
    folds = [float(search.cv_results_[f"split{fold}_test_score"][search.best_index_]) for fold in range(FOLDS)]
    assert len(search.cv_results_["params"]) == len(GRID["learning_rate_init"]) * len(GRID["alpha"])
    found = {"seconds": seconds, "search": seconds - search.refit_time_, "folds": folds}
    return found | {"best": search.best_params_, "shape": list(x.shape)}


def compared(name: str, chosen: argparse.Namespace, pools: dict[str, ProcessPoolExecutor]) -> dict[str, Any]:
    """All searches on one data set."""
    found: dict[str, Any] = {peer: {} for peer in PEERS}
    for seed in range(chosen.rounds):
        for peer in PEERS[:: -1 if seed % 2 else 1]:
            print(f"{name}, round {seed + 1} of {chosen.rounds}, {peer}", file=sys.stderr)
            job = fit, peer, name, Path(chosen.data or ""), seed, chosen.max_iter, chosen.threads, chosen.dtype
            made = pools[peer].submit(*job).result()
            found["shape"] = made.pop("shape")
            for key, value in made.items():
                found[peer].setdefault(key, []).append(value)
    return found


def summary(results: dict[str, Any]) -> table.Table:
    """A row for each data set, with a head: medians of seconds and ratios, and the best candidates' scores.

    A score is the mean over rounds and folds, with the standard error of the folds' means. Both have the same folds:
    the standard error of the difference is that of the mean of the folds' differences.
    """
    head = ["data", "rows x features", "search s ours", "scikit-learn", "scikit-learn / ours (bar)"]
    head += ["with refit s ours", "scikit-learn", "scikit-learn / ours", "best score ours", "best score scikit-learn"]
    lines = [[*head, "ours - scikit-learn", "in standard errors"]]
    for name, found in results["searches"].items():
        ours, theirs = (found[peer] for peer in PEERS)
        scores = [_by_fold(peer["folds"]) for peer in (ours, theirs)]
        gaps = [a - b for a, b in zip(*scores, strict=True)]
        rows, width = found["shape"]
        cells = []
        for key in ("search", "seconds"):
            value = table.ratio(theirs[key], ours[key])
            said = f" {bars.verdict(value, FASTER, at_most=False)} ({FASTER.bar:g})" * (key == "search")
            cells += [*(table.short(median(peer[key])) for peer in (ours, theirs)), f"{value:.2f}{said}"]
        cells += [f"{mean(score):.4f} ± {error(score):.4f}" for score in scores]
        far = f"{mean(gaps) / error(gaps):+.1f}" if error(gaps) else table.MISSING
        lines.append([name, f"{rows:,} x {width}", *cells, f"{mean(gaps):+.4f}", far])
    return lines


def _by_fold(rounds: Sequence[Sequence[float]]) -> list[float]:
    """The mean of the rounds in each fold."""
    return [mean(fold) for fold in zip(*rounds, strict=True)]


def caption(results: dict[str, Any]) -> str:
    """How it was measured, in a sentence or two."""
    made, rounds, threads = results["machine"], results["rounds"], results["threads"]
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in ("numpy", "scikit-learn", "xpnn"))
    grid = " x ".join(f"{len(values)} {name}" for name, values in GRID.items())
    return (
        f"{FOLDS}-fold search over {grid} in {results['dtype']}, at most {results['max_iter']} epochs, else "
        f"scikit-learn's defaults; "
        f"medians of {rounds} interleaved round{'s' * (rounds > 1)} by the clock, {threads} "
        f"thread{'s' * (threads > 1)}, both with n_jobs={threads}; accuracy of the best candidate, mean over "
        f"folds ± standard error. {made['cpu']} ({made['cores']} cores); Python {made['python']}, {versions}, "
        f"NumPy's BLAS {made['blas']}; {made['date']}."
    )


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.search", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("XPNN_DATA"), metavar="FOLDER",
                        help="of the files that scikit-learn does not ship; else the variable XPNN_DATA")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="searches by each on each data set, a seed each")
    parser.add_argument("--threads", type=int, default=2, help="of each, which are its jobs")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=SEARCHED, metavar="NAME",
                        help=f"some of: {', '.join(NAMES)}; by default {', '.join(SEARCHED)}")  # fmt: skip
    parser.add_argument("--max-iter", type=int, default=200, metavar="N", help="epochs at most of each fit")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="of the rows, for both")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every search and what it was made on")
    chosen = parser.parse_args()
    if min(chosen.rounds, chosen.threads, chosen.max_iter) < 1:
        parser.error("--rounds, --threads and --max-iter must be at least 1")
    if chosen.data is not None and not Path(chosen.data).is_dir():
        parser.error(f"--data must name a folder, got {chosen.data}")
    return chosen


def _pin(threads: int) -> None:
    """Keep this process, and those that it starts, to as many cores as it has threads."""
    if mine := cores(threads):
        os.sched_setaffinity(0, mine)


def main() -> None:
    chosen = options()
    folder = None if chosen.data is None else Path(chosen.data)
    left_out = {name: files for name in chosen.only if (files := SETS[name].missing(folder))}
    # Inherited by the processes, and read when they load their libraries.
    os.environ.update(dict.fromkeys(POOLS, str(chosen.threads)))
    results: dict[str, Any] = {"machine": machine.describe("numpy"), "rounds": chosen.rounds}
    results |= {"threads": chosen.threads, "max_iter": chosen.max_iter, "dtype": chosen.dtype}
    results |= {"left_out": left_out, "searches": {}}
    with contextlib.ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        pools = {peer: stack.enter_context(ProcessPoolExecutor(1, spawn, _pin, (chosen.threads,))) for peer in PEERS}
        for name in chosen.only:
            if name not in left_out:
                results["searches"][name] = compared(name, chosen, pools)
    if results["searches"]:
        print(table.markdown(summary(results)), caption(results), sep="\n\n")
    for name, files in left_out.items():
        print(f"\n{name} is left out: name the folder that holds {', '.join(files)}, by --data or XPNN_DATA.")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
