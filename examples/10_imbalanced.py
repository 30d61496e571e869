"""Two rows in a hundred are what matters: class weights find them, and a threshold says at what price.

    python examples/10_imbalanced.py

Machines fail rarely. A network that never says so is right 98 times in 100 and of no use. `class_weight="balanced"`
makes a failure weigh as much as all that is well together; the metrics that are watched are those that see it.
"""

import argparse

import numpy as np

import xpnn


def machines(rng, rows):
    """Six readings a machine; where heat, load and age come together one fails more likely."""
    x = rng.normal(size=(rows, 6))
    risk = 4.0 * x[:, 0] + 3.0 * x[:, 1] * (x[:, 2] > 0.0) - x[:, 3] ** 2 - 11.0
    return x, (rng.random(rows) < 1.0 / (1.0 + np.exp(-risk))).astype(int)


def train(x, y, class_weight, arguments):
    """A network that stops by the average precision, the measure that rare classes ask for."""
    layers = [xpnn.Standardize.fit(x), *xpnn.mlp([6, 32, 1], output="sigmoid", dropout=0.1)]
    net = xpnn.Network(layers, backend=arguments.backend, seed=0)
    net.fit(
        x,
        y,
        loss="binary_cross_entropy",
        optimizer=xpnn.Adam(3e-3),
        epochs=arguments.epochs,
        batch_size=128,
        validation_split=0.2,
        class_weight=class_weight,
        metrics=["average_precision"],
        callbacks=[xpnn.EarlyStopping("val_average_precision", patience=10)],
    )
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=60, help="at most")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    (x, y), (x_test, y_test) = machines(rng, 12_000), machines(rng, 12_000)
    print(f"{len(y)} machines, of which {y.mean():.1%} fail; to be tested on {len(y_test)} others")
    watched = ["accuracy", "recall", "precision", "average_precision", "matthews_corrcoef"]
    nets = {}
    for class_weight in (None, "balanced"):
        nets[class_weight] = net = train(x, y, class_weight, arguments)
        found = net.evaluate(x_test, y_test, loss="binary_cross_entropy", metrics=watched)
        print(f"\nclass_weight={class_weight!r}: " + ", ".join(f"{name} {found[name]:.3f}" for name in watched))

    print("\nhow many failures are found, and how many visits each takes, by the probability from which one looks:")
    net = nets["balanced"]
    probability = net.backend.to_host(net.predict(x_test))[:, 0]
    for threshold in (0.3, 0.5, 0.7, 0.9):
        looked = probability >= threshold
        hit = (looked & (y_test == 1)).sum()
        print(f"  {threshold:.1f}: {hit / y_test.sum():6.1%} found, {looked.sum() / max(hit, 1):5.1f} visits each")


if __name__ == "__main__":
    main()
