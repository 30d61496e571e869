"""A table larger than memory, trained from the disk: a memmap is read block by block, and shuffled all the same.

    python examples/12_larger_than_memory.py --rows 2000000        # 0.5 GB; --rows 20000000 is 5 GB

The file is written in pieces, opened as a numpy.memmap and handed to `fit` as any array would be. What is held at a
time is some blocks of it. An h5py.Dataset or a zarr.Array works in the same way, and so does an iterable of batches.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import xpnn

FEATURES, PIECE = 64, 100_000


def write(path, rows, rng):
    """A table whose last column is what is to be learned, written piece by piece."""
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, FEATURES + 1))
    weights = rng.normal(size=(FEATURES, 3)).astype(np.float32) / np.sqrt(FEATURES)
    for start in range(0, rows, PIECE):
        x = rng.normal(size=(min(PIECE, rows - start), FEATURES)).astype(np.float32)
        hidden = np.tanh(x @ weights)
        table[start : start + len(x), :-1] = x
        table[start : start + len(x), -1] = hidden[:, 0] * hidden[:, 1] + hidden[:, 2]
    table.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write the table; a temporary folder where not given")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "table.npy"
        write(path, arguments.rows, np.random.default_rng(0))
        print(f"{arguments.rows} rows, {path.stat().st_size / 1e6:,.0f} MB on the disk")
        table = np.load(path, mmap_mode="r")
        held = min(arguments.rows // 10, PIECE)
        x, y = table[held:, :-1], table[held:, -1:]
        x_test, y_test = np.array(table[:held, :-1]), np.array(table[:held, -1])

        net = xpnn.Network(xpnn.mlp([FEATURES, 32, 1], "tanh"), backend=arguments.backend, seed=0)
        start = time.perf_counter()
        history = net.fit(x, y, optimizer=xpnn.Adam(3e-3), epochs=arguments.epochs, batch_size=256)
        seconds = time.perf_counter() - start
        print(f"{arguments.epochs * len(x) / seconds:,.0f} rows a second")
        print(f"loss {history['loss'][0]:.3f} in the first epoch, {history['loss'][-1]:.3f} in the last")
        print(f"share of the variance explained: {net.evaluate(x_test, y_test, metrics=['r2'])['r2']:.3f}")
        del x, y, table
        os.unlink(path)


if __name__ == "__main__":
    main()
