"""The tutorial "How to code a neural network from scratch in Python", in its order: two clouds of points told apart.

    python examples/01_circles.py                   # on NumPy, figures in examples/figures
    python examples/01_circles.py --backend cupy    # the same numbers on a GPU

Where the tutorial slips, a line here says so.
"""

import argparse
from pathlib import Path

import numpy as np

import xpnn


def layers_and_activations():
    """Chapters 1 and 2: a layer has a weight (n_previous, n) and a bias; an activation stands beside its derivative."""
    tutorial = xpnn.truncated_normal(std=1.0, bound=1.0, decimals=3)
    layer = xpnn.Dense(2, 4, weight_init=tutorial, bias_init=tutorial)
    params = layer.init(np.random.default_rng(0))
    print(f"{layer}: weight {params['weight'].shape}, bias {params['bias'].shape}\n{params['weight']}")

    x = np.asarray([-1000.0, -1.0, 0.0, 1.0, 1000.0])
    print("sigmoid      ", xpnn.sigmoid(x), " its derivative", xpnn.sigmoid.derivative(x).round(4))
    print("relu         ", xpnn.relu(x), " its derivative", xpnn.relu.derivative(x))
    print("(The tutorial's relu derivative overwrites its argument, and its plot of the sigmoid's derivative")
    print(" x (1 - x), a formula of the output, over raw x shows a parabola.)")
    return tutorial


def forward_by_hand(net, x):
    """Chapter 3: z = X @ W, then z + b, then the activation; `net.outputs` lists them all."""
    print(f"\n{net}")
    print("prediction before training, first rows:", net.backend.to_host(net.predict(x))[:3, 0])
    z = x @ net.weights[0]
    z = z + net.biases[0]
    a = xpnn.relu(z)
    outputs = net.outputs(x)  # x, z of layer 1, its activation, z of layer 2 ...
    gap = np.abs(net.backend.to_host(outputs[2]) - net.backend.to_host(a)).max()
    print(f"first layer by hand: z {tuple(z.shape)}, a {tuple(a.shape)}; off net.outputs(x)[2] by {gap:.1g}")


def backward_by_hand(net, x, y, rate=0.01):
    """Chapter 4: the error, its gradient, one step on the last layer by hand, then the whole backward pass."""
    xp, host = net.backend.xp, net.backend.to_host
    outputs = net.outputs(x)
    value, slope = xpnn.losses.mean_squared_error(outputs[-1], y)
    print(f"\nmean squared error {float(value):.4f}; the gradient is 2 (p - y) / n")
    print("(The tutorial leaves out the 2 / n, and speaks of a square root that its code has not.)")

    delta = slope * xpnn.sigmoid.derivative(outputs[-2])  # (n, 1)
    before = net.weights[-1], net.biases[-1]
    after = (
        before[0] - rate * (xp.matrix_transpose(outputs[-3]) @ delta),
        before[1] - rate * xp.sum(delta, axis=0),
    )
    stepped = net.copy()
    stepped.step(x, y, loss="mse", optimizer=xpnn.SGD(rate))
    print("last layer's W before", host(before[0])[:3, 0], " after", host(after[0])[:3, 0])
    print("last layer's b before", host(before[1]), " after", host(after[1]))
    gap = max(
        np.abs(host(a) - host(b)).max() for a, b in zip(after, (stepped.weights[-1], stepped.biases[-1]), strict=True)
    )
    print(f"net.step differs by {gap:.1g}")
    print("(The tutorial's printed step takes the derivative of the layer before and output[-1] where output[-2]")
    print(
        " belongs, and its relu derivative has turned that output into ones, so that all eight weights move by the same"
    )
    print(" 0.00038478; its bias gradient is a mean over the rows, here even over all units, the weights' a sum.)")

    _, grads = net.value_and_grad(x, y, loss="mse")
    gap = 0.0
    for n in (4, 2, 0):  # the Dense layers, from the last; layer n takes outputs[n]
        mine = xp.matrix_transpose(outputs[n]) @ delta
        gap = max(gap, float(np.abs(host(mine) - host(grads[n]["weight"])).max()))
        if n:
            delta = (delta @ xp.matrix_transpose(net.weights[n // 2])) * xpnn.relu.derivative(outputs[n - 1])
    print(f"the whole backward pass by hand differs from value_and_grad by {gap:.1g}")
    print(
        "(The tutorial's loop reads output[capa + 1][1], one row of the output instead of all, and for the same reason"
    )
    print(" prints an error of 0.5 with every estimate 1.)")


def rounded_error(net, x, y):
    """The tutorial's measure: the mean squared error of the rounded predictions."""
    return float(np.mean((np.round(net.backend.to_host(net.predict(x))) - net.backend.to_host(y)) ** 2))


def train(net, x, y, epochs, rate):
    """Chapter 6: full-batch descent. The tutorial's 0.001 on a sum over n rows is 0.001 * n / 2 on our mean."""
    curve = [rounded_error(net, x, y)]
    net.fit(
        x,
        y,
        loss="mean_squared_error",
        optimizer=xpnn.SGD(rate),
        epochs=epochs,
        batch_size=None,
        callbacks=[lambda net, epoch, logs: curve.append(rounded_error(net, x, y))],
    )
    return curve


def draw(folder, net, x, y, curves):
    """The tutorial's pictures, and one that it has not: the decision boundary."""
    import matplotlib

    matplotlib.use("Agg")  # files only: no window is opened
    import matplotlib.pyplot as plt

    from xpnn import plotting

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, name in zip(axes, ("sigmoid", "relu"), strict=True):
        plotting.plot_activation(name, span=10, ax=ax)
    figure.savefig(folder / "activations.png", dpi=120)

    ax = plotting.plot_points(x, y)
    ax.set_title("two clouds of points")
    ax.figure.savefig(folder / "circles.png", dpi=120)

    ax = plotting.plot_history(curves)
    ax.set(title="mean squared error of the rounded predictions", ylabel="error")
    ax.figure.savefig(folder / "error.png", dpi=120)

    ax = plotting.plot_decision_boundary(net, x, y)
    ax.set_title("output of the trained network")
    ax.figure.savefig(folder / "decision_boundary.png", dpi=120)
    plt.close("all")
    print(f"figures written to {folder}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=Path, default=Path(__file__).parent / "figures")
    arguments = parser.parse_args()
    np.set_printoptions(precision=4, suppress=True)

    tutorial = layers_and_activations()
    layers = xpnn.mlp([2, 4, 8, 1], ["relu", "relu", "sigmoid"], weight_init=tutorial, bias_init=tutorial)
    net = xpnn.Network(layers, backend=arguments.backend, seed=arguments.seed)

    rng = np.random.default_rng(arguments.seed)
    made_up = net.backend.asarray(np.round(rng.normal(size=(20, 2)), 3))
    labels = net.backend.asarray(rng.permutation([0.0] * 10 + [1.0] * 10)[:, None])
    forward_by_hand(net, made_up)
    backward_by_hand(net, made_up, labels)

    points, classes = xpnn.datasets.circles(n=150, radii=(2, 0.5), seed=arguments.seed)
    x, y = net.backend.asarray(points), net.backend.asarray(classes)
    rate = 0.001 * len(points) / 2
    print(f"\ncircles: {points.shape[0]} points; the tutorial's learning rate 0.001 is {rate:g} here (0.001 * n / 2)")
    decayed = net.copy()
    curves = {"constant learning rate": train(net, x, y, arguments.epochs, rate)}
    print(f"error of the rounded predictions: before {curves['constant learning rate'][0]:.3f}, ", end="")
    print(f"after {arguments.epochs} epochs {curves['constant learning rate'][-1]:.3f}")

    decay = xpnn.InverseTimeDecay(2 * rate, rate=1.0, steps=max(arguments.epochs / 4, 1))
    curves["decaying learning rate"] = train(decayed, x, y, arguments.epochs, decay)
    print(f"with a learning rate that decays from {2 * rate:g}: {curves['decaying learning rate'][-1]:.3f}")
    print("(The tutorial speaks of learning-rate decay and leaves it out.)")

    try:
        draw(arguments.figures, net, points, classes, curves)
    except ImportError as error:
        print(f"no figures: {error}; pip install matplotlib")


if __name__ == "__main__":
    main()
