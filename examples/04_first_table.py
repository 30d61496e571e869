"""A first table of one's own: columns of numbers and of words, missing entries, and one class rarer than the other.

    python examples/04_first_table.py                      # scikit-learn's breast cancer: which tumours are malignant?
    python examples/04_first_table.py --data FOLDER        # the census income of UCI's Adult: who earns over $50,000?
    python examples/04_first_table.py --backend torch

FOLDER, or the environment variable XPNN_DATA, holds adult-train.csv.gz and adult-test.csv.gz. The network is a step of
a scikit-learn pipeline like any other; it takes what scikit-learn's own does not, a weight for each class and rows of
one's choice to stop by.
"""

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

try:
    import pandas as pd
    import sklearn
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.datasets import load_breast_cancer
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.metrics import accuracy_score, precision_score, recall_score
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
except ImportError as error:
    raise SystemExit(f"{error}: pip install scikit-learn pandas") from None

from xpnn.sklearn import MLPClassifier

COLUMNS = """age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain
capital-loss hours-per-week native-country income"""


def read(folder) -> Any:
    """The rows to learn from, those to be tested on, their classes, and the class that is looked for."""
    if folder:
        names = [Path(folder) / f"adult-{part}.csv.gz" for part in ("train", "test")]
        options = {"header": None, "names": COLUMNS.split(), "skipinitialspace": True, "na_values": "?"}
        train, test = (pd.read_csv(name, **options) for name in names)
        y = train.pop("income"), test.pop("income").str.rstrip(".")  # a full stop ends the labels of the second file
        return train, test, *y, ">50K"
    data: Any = load_breast_cancer(as_frame=True)
    x = data.data.mask(np.random.default_rng(0).random(data.data.shape) < 0.01)  # nothing is missing: strike some out
    return *train_test_split(x, data.target_names[data.target], random_state=0), "malignant"


def pipeline(arguments, **options):
    """Numbers filled in and put on one scale, words as columns of 0 and 1, then the network."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)  # a missing word is a category as well
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (words, make_column_selector(dtype_exclude="number")),
    )
    options |= {"batch_size": 64, "max_iter": arguments.epochs, "dtype": "float32", "backend": arguments.backend}
    options |= {"scoring": "roc_auc"}  # how well the classes are told apart, wherever the line between them is drawn
    net = MLPClassifier((64, 32), alpha=1e-3, early_stopping=True, random_state=0, **options)
    net.set_fit_request(X_val=True, y_val=True)
    return Pipeline([("columns", columns), ("net", net)], transform_input=["X_val"])  # they pass the columns too


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("XPNN_DATA"), help="folder with Adult's files")
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=50, help="at most")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # that a few epochs were not enough
    sklearn.set_config(enable_metadata_routing=True)  # lets a pipeline hand X_val and y_val on

    x, x_test, y, y_test, wanted = read(arguments.data)
    parts: Any = train_test_split(x, y, test_size=0.15, random_state=0)
    x, x_val, y, y_val = parts
    print(f"{len(x)} rows to learn from, {len(x_val)} to stop by, {len(x_test)} to be tested on; {x.shape[1]} columns,")
    print(f"{x.isna().any(axis=1).mean():.1%} of the rows with missing entries, {(y == wanted).mean():.1%} {wanted}")

    for weight in (None, "balanced"):
        model = pipeline(arguments, class_weight=weight).fit(x, y, X_val=x_val, y_val=y_val)
        net: Any = model["net"]
        found = model.predict(x_test)
        best = net.validation_scores_.index(net.best_validation_score_) + 1
        right, kind = accuracy_score(y_test, found), dict[str, Any](pos_label=wanted)
        print(f"\nclass_weight={weight!r}: epoch {best} of {net.n_iter_} was the best; on rows not seen")
        print(f"  {right:.1%} of the answers are right,")
        print(f"  {recall_score(y_test, found, **kind):.1%} of the {wanted} are found,")
        print(f"  {precision_score(y_test, found, **kind):.1%} of those said to be {wanted} are so")

    chance = model.predict_proba(x_test.iloc[:1])[0, list(model.classes_).index(wanted)]
    print(f"\nthe first row of the test is {wanted} with probability {chance:.1%}; in truth it is {y_test[0]}")


if __name__ == "__main__":
    main()
