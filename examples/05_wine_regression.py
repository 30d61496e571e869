"""A number predicted, and how sure that is: an interval that holds the truth nine times out of ten.

    python examples/05_wine_regression.py                  # scikit-learn's diabetes: how the disease has gone on
    python examples/05_wine_regression.py --data FOLDER    # white wine: the mark that tasters give, from its chemistry
    python examples/05_wine_regression.py --backend torch

FOLDER, or the environment variable XPNN_DATA, holds winequality-white.csv. scikit-learn's MLPRegressor gives the number
alone. Here the same estimator does, then networks with three outputs, the quantiles 0.05, 0.5 and 0.95 of what the
number may be.
"""

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

try:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.datasets import load_diabetes
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise SystemExit(f"{error}: pip install scikit-learn") from None

import xpnn
from xpnn.sklearn import MLPRegressor

LEVELS = (0.05, 0.5, 0.95)


def read(folder):
    """Features (n, columns), the number to predict (n,), and what it is called."""
    if folder:
        table = np.loadtxt(Path(folder) / "winequality-white.csv", delimiter=",")
        return table[:, :-1], table[:, -1], "mark of a wine"
    return *load_diabetes(return_X_y=True), "progression of diabetes"


def one_number(x, y, arguments):
    """scikit-learn's way: features and target on one scale, then the estimator."""
    options: Any = {"max_iter": arguments.epochs, "dtype": "float32", "backend": arguments.backend}
    net = MLPRegressor((32,), alpha=1.0, random_state=0, **options)
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), net), transformer=StandardScaler()).fit(x, y)


def three_quantiles(x, y, arguments):
    """Five networks at once that scale by themselves, each stopped by rows that it alone holds back.

    Their outputs cannot cross: each is the one before and something more. In the mean of five, what chance did to each
    partly cancels.
    """
    scale = xpnn.Standardize.fit(np.repeat(y[:, None], 3, axis=1), inverse=True)
    layers = [xpnn.Standardize.fit(x), *xpnn.mlp([x.shape[1], 32, 3], dropout=0.2), xpnn.Increasing(3, 3), scale]
    nets = xpnn.Network(layers, backend=arguments.backend, members=5)
    stop = xpnn.callbacks.EarlyStopping(patience=20)
    options = {"optimizer": xpnn.AdamW(3e-3, weight_decay=0.1), "batch_size": 64, "epochs": arguments.epochs}
    nets.fit(x, y, xpnn.Quantile(LEVELS), validation_split=0.2, callbacks=[stop], **options)
    return nets


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("XPNN_DATA"), help="folder with winequality-white.csv")
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=150, help="at most")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # that a few epochs were not enough

    x, y, what = read(arguments.data)
    parts: Any = train_test_split(x, y, test_size=0.25, random_state=0)
    x, x_test, y, y_test = parts
    print(f"{what}: {len(x)} rows to learn from, {len(x_test)} to be tested on; {y.min():g} to {y.max():g}")

    model = one_number(x, y, arguments)
    off = np.abs(model.predict(x_test) - y_test).mean()
    print(f"\none number is off by {off:.3g} on average, R2 {model.score(x_test, y_test):.2f};", end=" ")
    print(f"always saying {y.mean():.3g} is off by {np.abs(y.mean() - y_test).mean():.3g}")

    nets = three_quantiles(x, y, arguments)
    low, middle, high = nets.backend.to_host(nets.predict(x_test)).mean(axis=0).T
    inside = (low <= y_test) & (y_test <= high)
    print(f"\nthe interval holds {inside.mean():.1%} of the numbers not seen, where 90% are wanted;", end=" ")
    print(f"its middle is off by {np.abs(middle - y_test).mean():.3g}")
    order = np.argsort(high - low)
    quarter = len(order) // 4
    for name, rows in (("surest", order[:quarter]), ("least sure", order[-quarter:])):
        print(f"  the quarter of rows where it is {name}: {(high - low)[rows].mean():.3g} wide,", end=" ")
        print(f"{inside[rows].mean():.1%} inside, the middle off by {np.abs(middle - y_test)[rows].mean():.3g}")
    for row in (order[0], order[-1]):
        print(f"  say {middle[row]:.3g}, from {low[row]:.3g} to {high[row]:.3g}; in truth {y_test[row]:g}")


if __name__ == "__main__":
    main()
