"""A layer of your own: write its forward and backward once, and it trains on every backend, lone or stacked.

    python examples/03_own_layer.py --backend torch

The layer passes a share g of its input through and bends the rest, g learned for each feature:

    y = g x + (1 - g) tanh(x),    dy/dx = g + (1 - g) (1 - tanh(x)^2),    dy/dg = x - tanh(x)
"""

import argparse
from dataclasses import dataclass

import numpy as np

import xpnn


@dataclass(frozen=True)
class Blend(xpnn.Layer):
    """The layer above. `xp` is the array library in use; only functions of the array API standard are called on it."""

    features: int

    @property
    def input_shape(self):
        return (self.features,)

    def init(self, rng):
        return {"share": rng.uniform(0.0, 1.0, self.features)}

    def forward(self, params, x, *, xp, step=None):
        share, bent = params["share"][..., None, :], xp.tanh(x)  # axes are counted from the end
        return share * x + (1.0 - share) * bent, (x, bent)

    def backward(self, params, cache, dy, *, xp):
        (x, bent), share = cache, params["share"][..., None, :]
        dx = dy * (share + (1.0 - share) * (1.0 - bent * bent))
        return dx, {"share": xp.sum(dy * (x - bent), axis=-2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=300)
    arguments = parser.parse_args()

    sample = np.random.default_rng(0).normal(size=(6, 5))
    xpnn.testing.check_gradients(Blend(5), sample)
    xpnn.testing.check_gradients(Blend(5), sample, members=3)
    print("backward is the derivative of forward, lone and stacked")

    x, y = xpnn.datasets.circles()
    layers = [xpnn.Standardize.fit(x), xpnn.Dense(2, 16), Blend(16), xpnn.Dense(16, 16), Blend(16), xpnn.Dense(16, 1)]
    net = xpnn.Network(layers, backend=arguments.backend, members=4)
    net.fit(x, y, loss="binary_cross_entropy", optimizer=xpnn.Adam(0.01), epochs=arguments.epochs, batch_size=None)
    print(net)
    found = net.evaluate(x, y, loss="binary_cross_entropy")
    print("accuracy of four networks trained at once:", found["accuracy"].round(3))


if __name__ == "__main__":
    main()
