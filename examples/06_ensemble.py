"""Sixteen networks as one estimator: better together, aware of what they do not know, right as often as they say.

    python examples/06_ensemble.py                  # scikit-learn's diabetes: how the disease has gone on
    python examples/06_ensemble.py --data FOLDER    # the marks of white wines, the ages of abalones
    python examples/06_ensemble.py --backend torch

FOLDER, or the environment variable XPNN_DATA, holds winequality-white.csv and abalone.csv. All sixteen are trained at
once, as one stack. Each predicts a mean and a variance; a fifth of the rows, which none of them sees, then shows how
wide an interval has to be to hold the truth as often as it claims.
"""

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

try:
    from sklearn.datasets import load_diabetes
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise SystemExit(f"{error}: pip install scikit-learn") from None

from xpnn.sklearn import MLPRegressor


def tables(folder):
    """The name, features (n, columns) and target (n,) of each table."""
    if not folder:
        yield "progression of diabetes", *load_diabetes(return_X_y=True)
        return
    wine = np.loadtxt(Path(folder) / "winequality-white.csv", delimiter=",")
    yield "mark of a wine", wine[:, :-1], wine[:, -1]
    cells = np.loadtxt(Path(folder) / "abalone.csv", delimiter=",", dtype=str)
    sexes, sizes = cells[:, :1] == list("MFI"), cells[:, 1:].astype(float)
    yield "rings of an abalone", np.hstack([sexes, sizes[:, :-1]]), sizes[:, -1]


def holds(interval, y):
    """The share of the truths inside, and the width of the interval."""
    low, high = interval.T
    return f"{np.mean((low <= y) & (y <= high)):.1%} inside, {np.median(high - low):.3g} wide"


def show(name, x, y, arguments):
    """One table: an estimator alone, the ensemble, what it does not know, and its intervals."""
    parts: Any = train_test_split(x, y, test_size=0.25, random_state=0)
    x, x_test, y, y_test = parts
    print(f"\n{name}: {len(x)} rows to learn from, {len(x_test)} to be tested on; {y.min():g} to {y.max():g}")
    mean, scale = y.mean(), y.std()
    options: Any = {"loss": "gaussian_nll", "max_iter": arguments.epochs, "alpha": 1.0, "random_state": 0}
    options |= {"dtype": "float32", "backend": arguments.backend, "learning_rate_init": 3e-3}

    scaler = StandardScaler().fit(x)
    x, x_test = scaler.transform(x), scaler.transform(x_test)
    alone = MLPRegressor((32,), **options).fit(x, (y - mean) / scale)
    stack = MLPRegressor((32,), ensemble=16, calibration_fraction=0.2, **options).fit(x, (y - mean) / scale)
    one, sixteen = (model.score(x_test, (y_test - mean) / scale) for model in (alone, stack))
    print(f"  R2 of one network {one:.3f}, of sixteen {sixteen:.3f}")

    found, std = (scale * part for part in stack.predict(x_test, return_std=True))
    off, order = np.abs(found + mean - y_test), np.argsort(std)
    quarter = len(order) // 4
    for words, chosen in (("surest", order[:quarter]), ("least sure", order[-quarter:])):
        print(f"  the quarter of rows where they are {words}: std {std[chosen].mean():.3g},", end=" ")
        print(f"off by {off[chosen].mean():.3g}")

    for coverage in (0.9, 0.8):
        plain = scale * alone.predict_interval(x_test, coverage) + mean
        calibrated = scale * stack.predict_interval(x_test, coverage) + mean
        print(f"  {coverage:.0%} wanted: one network {holds(plain, y_test)};", end=" ")
        print(f"sixteen, calibrated, {holds(calibrated, y_test)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.environ.get("XPNN_DATA")
    parser.add_argument("--data", default=folder, help="folder with winequality-white.csv and abalone.csv")
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=60, help="at most")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # that a few epochs were not enough
    for name, x, y in tables(arguments.data):
        show(name, x, y, arguments)


if __name__ == "__main__":
    main()
