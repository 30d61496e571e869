"""Reading the compiled program: what a training step becomes, line by line, and what that saves.

    python examples/15_compiled_program.py

The first step of a `fit` is traced with arrays that hold no numbers, planned (which result goes into whose memory) and
written out as plain Python that calls NumPy's own functions. `explain` shows that program; `compile=False` runs the
layers as they are written, with the same numbers.
"""

import argparse
import statistics
import time

import numpy as np

import xpnn


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30, help="that are timed")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 8)).astype(np.float32)
    y = np.sin(x[:, :1] * x[:, 1:2])
    layers = xpnn.mlp([8, 16, 1], "tanh")
    asked = {"loss": "mse", "optimizer": xpnn.SGD(0.05, momentum=0.9)}

    net = xpnn.Network(layers)
    print(net.explain(batch_size=64, **asked))
    print()
    print(net.summary(batch_size=64))

    curves, times = {}, {True: [], False: []}
    for _ in range(arguments.epochs):
        for compile in (True, False):
            net = curves.setdefault(compile, xpnn.Network(layers))
            start = time.perf_counter()
            net.fit(x, y, epochs=1, batch_size=64, compile=compile, **asked)
            times[compile].append(time.perf_counter() - start)
    compiled, written = (1e6 * statistics.median(times[compile]) / 8 for compile in (True, False))
    print(f"\na step of 64 rows: {compiled:.0f} us compiled, {written:.0f} us as the layers are written")
    off = np.max(np.abs(curves[True].predict(x) - curves[False].predict(x)))
    print(f"the two networks differ by {off:.0e} after {arguments.epochs} epochs")


if __name__ == "__main__":
    main()
