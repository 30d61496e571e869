"""Real tables to compare estimators on: what they are, how they are read, and how they become numbers for a network.

Three ship with scikit-learn. The others are files in a folder that the caller names: Adult, abalone and white wine from
the UCI repository, MNIST's 10,000 test digits, and phoneme of the ELENA project.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Table = tuple[np.ndarray, np.ndarray]
COUNTED = (0, 2, 4, 10, 11, 12)
"""Adult's columns of numbers: age, fnlwgt, education-num, capital-gain, capital-loss, hours-per-week."""


@dataclass(frozen=True)
class DataSet:
    """A table, and how it is learned.

    Parameters
    ----------
    read : folder -> x (n, columns), y (n,).
    files : what `read` needs in the folder; none where scikit-learn ships the data.
    numbers : whether y is a number, predicted by regression; else a class.
    categories : columns of x that hold categories, "?" where one is missing.
    scaled : whether numbers are standardized; pixels are not, all of them being of one scale already.
    max_iter : epochs at most, the same for every estimator: scikit-learn's default, less where that takes minutes.
    """

    name: str
    read: Callable[[Path], Table]
    files: tuple[str, ...] = ()
    numbers: bool = False
    categories: tuple[int, ...] = ()
    scaled: bool = True
    max_iter: int = 200

    def missing(self, folder: Path | None) -> list[str]:
        """The files that are not there."""
        return [file for file in self.files if folder is None or not (folder / file).is_file()]


class Split(NamedTuple):
    """Rows to train on and to be tested on, as a network takes them."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def split(chosen: DataSet, table: Table, seed: int) -> Split:
    """A quarter of the rows is for the test; what the preparation learns, it learns from the others.

    Targets of a regression are standardized as well. R2 is the same in every unit, while the default learning rate
    suits targets near 1.
    """
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, y = table
    parts: Any = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=None if chosen.numbers else y)
    x_train, x_test, y_train, y_test = parts
    ready = preparation(chosen, x.shape[1])
    x_train, x_test = ready.fit_transform(x_train), ready.transform(x_test)
    if chosen.numbers:
        scale = StandardScaler().fit(y_train[:, None])
        y_train, y_test = (np.asarray(scale.transform(part[:, None]))[:, 0] for part in (y_train, y_test))
    return Split(x_train, y_train, x_test, y_test)


def preparation(chosen: DataSet, width: int) -> Any:
    """Numbers standardized; where there are categories, missing ones filled and a column of 0 and 1 for each."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    numbers = StandardScaler() if chosen.scaled else FunctionTransformer()
    if not chosen.categories:
        return numbers
    missing: Any = "?"
    filled = SimpleImputer(missing_values=missing, strategy="most_frequent")
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    counted = [column for column in range(width) if column not in chosen.categories]
    categories = make_pipeline(filled, one_hot), list(chosen.categories)
    return ColumnTransformer([("numbers", numbers, counted), ("categories", *categories)])


def _shipped(name: str) -> Callable[[Path], Table]:
    def read(folder: Path) -> Table:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")(return_X_y=True)

    return read


def _digits(folder: Path) -> Table:
    x, y = _shipped("digits")(folder)
    return x / 16.0, y


def _mnist(folder: Path) -> Table:
    from xpnn.datasets import read_idx

    images, labels = (read_idx(folder / file) for file in MNIST)
    return images.reshape(len(images), -1) / 255.0, labels


def _lines(path: Path) -> np.ndarray:
    """The cells of a file of comma-separated values, as text without the blanks around it."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        return np.asarray([[cell.strip() for cell in line.split(",")] for line in file if line.strip()])


def _adult(folder: Path) -> Table:
    cells = np.concatenate([_lines(folder / file) for file in ADULT])
    x = cells[:, :-1].astype(object)
    x[:, COUNTED] = x[:, COUNTED].astype(float)
    return x, np.char.rstrip(cells[:, -1], ".")  # the labels of the second file end in a full stop


def _abalone(folder: Path) -> Table:
    cells = _lines(folder / "abalone.csv")
    x = cells[:, :-1].astype(object)
    x[:, 1:] = x[:, 1:].astype(float)
    return x, cells[:, -1].astype(float)


def _numbers(file: str, kind: type) -> Callable[[Path], Table]:
    def read(folder: Path) -> Table:
        cells = np.loadtxt(folder / file, delimiter=",")
        return cells[:, :-1], cells[:, -1].astype(kind)

    return read


ADULT = ("adult-train.csv.gz", "adult-test.csv.gz")
MNIST = ("mnist-t10k-images-idx3-ubyte.gz", "mnist-t10k-labels-idx1-ubyte.gz")
SETS = {
    one.name: one
    for one in (
        DataSet("adult", _adult, ADULT, categories=tuple(set(range(14)) - set(COUNTED)), max_iter=20),
        DataSet("mnist", _mnist, MNIST, scaled=False, max_iter=30),
        DataSet("phoneme", _numbers("phoneme.csv", int), ("phoneme.csv",)),
        DataSet("wine-quality", _numbers("winequality-white.csv", float), ("winequality-white.csv",), numbers=True),
        DataSet("abalone", _abalone, ("abalone.csv",), numbers=True, categories=(0,)),
        DataSet("digits", _digits, scaled=False),
        DataSet("breast-cancer", _shipped("breast_cancer")),
        DataSet("diabetes", _shipped("diabetes"), numbers=True),
    )
}
