"""Handwritten digits: a network of one hidden layer, trained on real images and tested on ones that it has not seen.

    python examples/02_digits.py                      # scikit-learn's 1,797 digits of 8 x 8
    python examples/02_digits.py --data FOLDER        # MNIST's 10,000 test digits of 28 x 28, where FOLDER has them
    python examples/02_digits.py --backend cupy

FOLDER, or the environment variable XPNN_DATA, holds the files mnist-t10k-images-idx3-ubyte.gz and
mnist-t10k-labels-idx1-ubyte.gz.
"""

import argparse
import os
from pathlib import Path

import numpy as np

import xpnn


def read(folder):
    """Images (n, side, side) and labels (n,), from the folder or from scikit-learn."""
    if folder:
        images = xpnn.datasets.read_idx(Path(folder) / "mnist-t10k-images-idx3-ubyte.gz")
        return images, xpnn.datasets.read_idx(Path(folder) / "mnist-t10k-labels-idx1-ubyte.gz")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("no --data folder, and no scikit-learn for its digits: pip install scikit-learn") from None
    pixels, labels = load_digits(return_X_y=True)
    return pixels.reshape(-1, 8, 8), labels


def show(image):
    """A digit in characters, one a pixel (two across, as characters are tall)."""
    shades = np.asarray(list(" .:-=+*#%@"))
    level = np.round(image / image.max() * 9).astype(int)
    rows = ("  " + "".join(np.repeat(row, 2)).rstrip() for row in shades[level])
    return "\n".join(row for row in rows if row.strip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("XPNN_DATA"), help="folder with MNIST's files")
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    images, labels = read(arguments.data)
    x = images.reshape(len(images), -1) / images.max()
    order = np.random.default_rng(arguments.seed).permutation(len(x))
    train, test = np.split(order, [len(x) * 8 // 10])

    net = xpnn.Network(
        xpnn.mlp([x.shape[1], 128, 10], "relu", "softmax"), backend=arguments.backend, seed=arguments.seed
    )
    print(net)
    print(f"{len(train)} digits to learn from, {len(test)} to be tested on")
    net.fit(
        x[train],
        labels[train],
        loss="softmax_cross_entropy",
        optimizer=xpnn.Adam(learning_rate=1e-3),
        epochs=arguments.epochs,
        batch_size=64,
        verbose=1,
    )
    found = net.evaluate(x[test], labels[test])
    print(f"accuracy on digits not seen: {found['accuracy']:.1%}")

    probability = net.backend.to_host(net.predict(x[test]))
    belief = probability[np.arange(len(test)), labels[test]]  # in the right answer
    print("the digits that it gets most wrong:")
    for row in np.argsort(belief)[:3]:
        guess = probability[row].argmax()
        print(f"\n  a {labels[test][row]}, taken for a {guess} with probability {probability[row].max():.1%}")
        print(show(images[test][row]))


if __name__ == "__main__":
    main()
