"""Rows that are read by slices, batches that others make, and small blocks of rows, for the tests of sources."""

import numpy as np
import pytest

from xpnn import Adam, Network, mlp, sources

RNG = np.random.default_rng(4)
X = RNG.normal(size=(103, 3)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0.0).astype(np.float32)
CLASSES = (np.abs(X).argmax(axis=1)).astype(np.int16)
WEIGHT = RNG.uniform(size=103).astype(np.float32)
STOCHASTIC = mlp([3, 6, 1], "tanh", "sigmoid", dropout=0.2, norm="batch")
FIT = {"loss": "bce", "optimizer": Adam(lambda step: 0.1 / (1 + step)), "batch_size": 16}


class Lazy:
    """What stands for an h5py.Dataset or a zarr.Array: rows by slices, nothing else, here all in the same memory."""

    def __init__(self, values, chunks=None):
        self.values, self.slices, self.chunks = np.asarray(values), [], chunks
        self.shape, self._buffer = self.values.shape, np.empty_like(self.values)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        assert rows.step is None
        self.slices.append((rows.start, rows.stop))
        found = self._buffer[: rows.stop - rows.start]
        found[...] = self.values[rows]
        return found


class Batched:
    """An iterable of batches that begins anew, as a data loader does."""

    def __init__(self, *arrays, size=20):
        self.arrays, self.size, self.passes = arrays, size, 0

    def __iter__(self):
        self.passes += 1
        for start in range(0, len(self.arrays[0]), self.size):
            yield tuple(array[start : start + self.size] for array in self.arrays)


@pytest.fixture
def small(monkeypatch):
    """Blocks of 10 rows, 4 of them in memory at once, for rows of 3 features and an output."""
    monkeypatch.setattr(sources, "NUMBERS", 160)
    monkeypatch.setattr(sources, "BLOCKS", 4)


def network(backend="numpy", layers=STOCHASTIC, **options):
    dtype = options.pop("dtype", getattr(backend, "dtype", "float64"))
    return Network(layers, backend, dtype, **{"seed": 3} | options)
