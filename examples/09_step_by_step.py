"""One training step of the circles' network, value by value: what goes forward, what comes back, what it changes.

    python examples/09_step_by_step.py                   # on NumPy
    python examples/09_step_by_step.py --backend cupy    # the same numbers on a GPU

The tutorial's walk through a step, which `net.trace_step` gives for any network, its formulas beside the numbers.
"""

import argparse

import numpy as np

import xpnn


def by_hand(walk, host):
    """Three of the values from those before them, by the formulas that stand beside them."""
    outputs, delta = [host(value.value) for value in walk.forward], host(walk["4.delta"].value)
    gaps = {
        "0.output, x W + b": outputs[1] - (outputs[0] @ host(walk["0.weight"].before) + host(walk["0.bias"].before)),
        "4.weight.gradient, x^T dy": host(walk["4.weight.gradient"].value) - outputs[4].T @ delta,
        "4.bias.gradient, the sum of dy": host(walk["4.bias.gradient"].value) - delta.sum(axis=0),
    }
    for name, gap in gaps.items():
        print(f"  {name}: off by {np.abs(gap).max():.1g}")


def signal(walk, host):
    """How large the gradient is that arrives at each layer's output, from the last to the first."""
    return {value.name: float(np.linalg.norm(host(value.value))) for value in walk.backward if "delta" in value.name}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=1000, help="between the first walk and the second")
    arguments = parser.parse_args()

    start = xpnn.truncated_normal(std=1.0, bound=1.0, decimals=3)
    layers = xpnn.mlp([2, 4, 8, 1], ["relu", "relu", "sigmoid"], weight_init=start, bias_init=start)
    net = xpnn.Network(layers, backend=arguments.backend, dtype="float32", seed=0)
    host = net.backend.to_host
    x, y = xpnn.datasets.circles(n=150, radii=(2, 0.5), seed=0)
    step = {"loss": "mse", "optimizer": xpnn.SGD(0.15)}

    walk = net.trace_step(x, y, **step)
    print(walk)
    print("\nthe same by hand, from the values above")
    by_hand(walk, host)

    net.fit(x, y, **step, epochs=arguments.epochs, batch_size=None)
    later = net.trace_step(x, y, **step)
    print(f"\nloss {float(walk['loss'].value):.3f} at first, {float(later['loss'].value):.3f} ", end="")
    print(f"after {arguments.epochs} epochs; the norm of what comes back at each layer's output, then and now:")
    first, now = signal(walk, host), signal(later, host)
    for name in first:
        print(f"  {name}  {first[name]:.5f}  {now[name]:.5f}")


if __name__ == "__main__":
    main()
