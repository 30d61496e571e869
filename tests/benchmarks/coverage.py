"""How often the intervals of `MLPRegressor` hold on rows not seen: `python -m tests.benchmarks.coverage --data FOLDER`.

In every split a quarter of the rows is for the test. Each model is an ensemble, trained on the others with a share of
them held out to calibrate by; beside it stands the same without calibration, where its head states an interval at all.
Coverage is the share of the test's rows that lie inside, on average over the splits. It should be what was asked for,
within two points; the rows of a single split allow more.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from tests.benchmarks import table
from tests.benchmarks.data import SETS, Split, split
from tests.benchmarks.estimators import error

NUMBERS = ("wine-quality", "abalone", "diabetes")
COVERAGES = (0.9, 0.8)
WITHIN = 0.02


def heads(coverage: float) -> dict[str, dict[str, Any]]:
    """What is trained: of two quantile heads one for another coverage than is asked for."""
    from xpnn.losses import Quantile

    levels = {stated: ((1.0 - stated) / 2.0, (1.0 + stated) / 2.0) for stated in (coverage, 0.5)}
    return {
        "quantiles": {"loss": Quantile(levels[coverage])},
        "quantiles of 0.5": {"loss": Quantile(levels[0.5])},
        "gaussian": {"loss": "gaussian_nll"},
        "spread": {"loss": "squared_error"},
    }


def held(options: dict[str, Any], rows: Split, coverages: tuple[float, ...]) -> list[tuple[float, float]]:
    """Of one fit the share of the test's rows inside and the median width, by coverage; NaN where none is."""
    from xpnn.sklearn import MLPRegressor

    x, x_test = (np.asarray(part, dtype=np.float32) for part in (rows.x, rows.x_test))
    model = MLPRegressor((32,), **options).fit(x, rows.y.astype(np.float32))
    found = []
    for coverage in coverages:
        try:
            low, high = model.predict_interval(x_test, coverage).T
        except ValueError:
            found.append((float("nan"), float("nan")))
            continue
        inside = (low <= rows.y_test) & (rows.y_test <= high)
        found.append((float(inside.mean()), float(np.median(high - low))))
    return found


def measure(name: str, folder: Path, chosen: argparse.Namespace) -> dict[tuple[str, float], list[tuple[float, ...]]]:
    """By head and coverage, for each split: coverage and width calibrated, and the same as the head states them."""
    data, results = SETS[name].read(folder), {}
    common = {"ensemble": chosen.ensemble, "max_iter": chosen.epochs, "learning_rate_init": 0.01}
    for seed in range(chosen.splits):
        print(f"{name}, split {seed + 1} of {chosen.splits}", file=sys.stderr)
        rows = split(SETS[name], data, seed)
        for coverage in COVERAGES:
            for head, options in heads(coverage).items():
                if head != "quantiles" and coverage != COVERAGES[0]:  # the same network serves any other
                    continue
                asked = (coverage,) if head == "quantiles" else COVERAGES
                options = common | options | {"random_state": seed}
                calibrated = held(options | {"calibration_fraction": chosen.calibration}, rows, asked)
                plain = held(options, rows, asked) if head in ("quantiles", "gaussian") else [(float("nan"),) * 2] * 2
                for one, other, stated in zip(calibrated, plain, asked, strict=False):
                    results.setdefault((head, stated), []).append((*one, *other))
    return results


def lines(name: str, results: dict[tuple[str, float], list[tuple[float, ...]]]) -> list[list[str]]:
    """A row for each head and coverage."""
    found = []
    for (head, coverage), splits in sorted(results.items(), key=lambda item: -item[0][1]):
        shares, widths, plain, plain_widths = zip(*splits, strict=True)
        stands = f"{mean(plain):.1%}, {mean(plain_widths):.2f}" if plain[0] == plain[0] else table.MISSING
        off = mean(shares) - coverage
        cells = [f"{coverage:.0%}", f"{mean(shares):.1%} ± {error(shares):.1%}", f"{mean(widths):.2f}"]
        far = " (too far)" * (abs(off) > WITHIN)
        found.append([name, head, *cells, f"{100.0 * off:+.1f}{far}", stands])
    return found


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.coverage", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("XPNN_DATA"), metavar="FOLDER",
                        help="of winequality-white.csv and abalone.csv; else the variable XPNN_DATA")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=NUMBERS, default=NUMBERS[:2], metavar="NAME",
                        help=f"some of: {', '.join(NUMBERS)}")  # fmt: skip
    parser.add_argument("--splits", type=int, default=20, help="of each data set")
    parser.add_argument("--epochs", type=int, default=15, help="of each fit, at most")
    parser.add_argument("--ensemble", type=int, default=4, help="members of each")
    parser.add_argument("--calibration", type=float, default=0.25, help="share of the rows to calibrate by")
    chosen = parser.parse_args()
    if min(chosen.splits, chosen.epochs, chosen.ensemble) < 1 or not 0.0 < chosen.calibration < 1.0:
        parser.error("--splits, --epochs and --ensemble must be at least 1, --calibration between 0 and 1")
    if chosen.data is not None and not Path(chosen.data).is_dir():
        parser.error(f"--data must name a folder, got {chosen.data}")
    return chosen


def main() -> None:
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)  # that few epochs were not enough
    chosen = options()
    folder = None if chosen.data is None else Path(chosen.data)
    left_out = {name: files for name in chosen.only if (files := SETS[name].missing(folder))}
    head = ["data", "head", "asked for", "coverage", "width", "points off", "uncalibrated: coverage, width"]
    rows = [head]
    for name in chosen.only:
        if name not in left_out:
            rows += lines(name, measure(name, folder or Path(), chosen))
    if len(rows) > 1:
        print(table.markdown(rows))
        print(f"\nMean of {chosen.splits} splits ± standard error; widths in standard deviations of the target.")
    for name, files in left_out.items():
        print(f"\n{name} is left out: name the folder that holds {', '.join(files)}, by --data or XPNN_DATA.")


if __name__ == "__main__":
    main()
