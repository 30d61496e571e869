"""One network for each of 200 sensors, trained at once, each on its own rows, saved each by its name.

    python examples/07_many_networks.py --folder networks

Every sensor has a data set of its own, of 300 to 9,000 rows, and a learning rate of its own. The networks are the
members of one stack: no row is padded or copied for another's sake, and one that diverges is stopped alone.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np

import xpnn


def readings(rng, rows):
    """What a sensor has measured: y depends on four conditions x in a way of the sensor's own."""
    x = rng.uniform(-2.0, 2.0, (rows, 4))
    a, b, c = rng.uniform(0.5, 2.0, 3)
    y = a * np.sin(2.0 * x[:, 0]) + b * x[:, 1] * x[:, 2] + c * np.abs(x[:, 3])
    return x, y + 0.1 * rng.normal(size=rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--sensors", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where to save the networks")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    names = [f"sensor-{k:03}" for k in range(arguments.sensors)]
    counts = np.exp(rng.uniform(np.log(300), np.log(9000), len(names))).astype(int)
    data = [readings(rng, count) for count in counts]
    train = [(x[: -len(x) // 4], y[: -len(x) // 4]) for x, y in data]
    held = [(x[-len(x) // 4 :], y[-len(x) // 4 :]) for x, y in data]
    rates = 10.0 ** rng.uniform(-2.5, 0.0, len(names))
    print(f"{len(names)} data sets of {counts.min()} to {counts.max()} rows, {counts.sum()} in all")

    stack = xpnn.Network(xpnn.mlp([4, 16, 16, 1]), backend=arguments.backend, members=len(names))
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of members that diverge: they are named below
        history = stack.fit(
            [x for x, _ in train],
            [y for _, y in train],
            optimizer=xpnn.SGD(rates, momentum=0.9),
            epochs=arguments.epochs,
            batch_size=64,
        )
    print(f"trained for {arguments.epochs} epochs in {time.perf_counter() - start:.1f} s")

    diverged = [k for k, reason in enumerate(history.stop_reason) if reason == "diverged"]
    print(f"{len(diverged)} diverged:", *(f"{names[k]} (learning rate {rates[k]:.2f})" for k in diverged))

    errors = stack.evaluate([x for x, _ in held], [y for _, y in held], metrics=["r2"])
    good = np.setdiff1d(np.arange(len(names)), diverged)
    print(f"share of the variance of rows not seen that is explained: median {np.median(errors['r2'][good]):.3f}")

    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        for k in good:
            stack[k].save(arguments.folder / f"{names[k]}.safetensors", {"sensor": names[k], "rows": int(counts[k])})
        print(f"saved {len(good)} networks in {arguments.folder}")


if __name__ == "__main__":
    main()
