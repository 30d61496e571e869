"""The same training on two array libraries: one seed, one curve.

    python examples/14_two_backends.py --backends numpy cupy
    python examples/14_two_backends.py --backends numpy torch jax

Initial weights, the order of rows and the dropout masks are the same bits everywhere; what rounding makes of them is
all that differs. `net.to` then takes a network from one library to the other in the midst of its training.
"""

import argparse

import numpy as np

import xpnn


def train(backend, epochs):
    """A network with everything that draws random numbers, and its history."""
    x, y = xpnn.datasets.circles(n=400, seed=2)
    layers = [xpnn.Dense(2, 16), xpnn.BatchNorm(16), "relu", xpnn.Dropout(0.2), xpnn.Dense(16, 1), "sigmoid"]
    net = xpnn.Network(layers, backend=backend, dtype="float64", seed=5)
    return net, net.fit(x, y, "binary_cross_entropy", xpnn.Adam(0.01), epochs=epochs, validation_split=0.25)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--backends", nargs="+", default=["numpy", "array-api-strict"], help="the first is compared with"
    )
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    first, *others = arguments.backends
    try:
        for name in arguments.backends:
            xpnn.Network([xpnn.Dense(1, 1)], backend=name)
    except (xpnn.BackendUnavailable, ValueError) as error:
        raise SystemExit(str(error)) from None

    net, history = train(first, arguments.epochs)
    print(f"{first}: loss {history['loss'][0]:.12f} -> {history['loss'][-1]:.12f}")
    for name in others:
        other, found = train(name, arguments.epochs)
        off = np.max(np.abs(np.subtract(found["loss"], history["loss"])) / history["loss"])
        print(f"{name}: loss {found['loss'][0]:.12f} -> {found['loss'][-1]:.12f}, off by {off:.0e} at most")
        x, y = xpnn.datasets.circles(n=400, seed=2)
        moved = other.to(first)
        for one in (net, moved):
            one.fit(x, y, epochs=2)
        off = np.max(np.abs(moved.backend.to_host(moved.predict(x)) - net.backend.to_host(net.predict(x))))
        print(f"  taken to {first} and trained there for two epochs more: its outputs are off by {off:.0e}")
        net, _ = train(first, arguments.epochs)


if __name__ == "__main__":
    main()
