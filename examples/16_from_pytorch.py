"""From PyTorch and back: a model that was trained there goes on here, on NumPy, and returns.

    pip install torch
    python examples/16_from_pytorch.py

`from_torch` takes a Sequential with its weights, statistics and settings; `to_torch` makes one. What is computed is the
same on both sides, so that a network can be trained where the data are and run where it is wanted.
"""

import argparse

import numpy as np

try:
    import torch
except ImportError as error:
    raise SystemExit(f"{error}: pip install torch") from None

import xpnn


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=100, help="on each side")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    x, y = xpnn.datasets.circles(n=300, seed=3)
    inputs, targets = (torch.tensor(array, dtype=torch.float32) for array in (x, y))
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 16),
        torch.nn.BatchNorm1d(16),
        torch.nn.Tanh(),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(16, 1),
        torch.nn.Sigmoid(),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(arguments.epochs):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        there = model(inputs).numpy()
    print(f"trained in PyTorch: {np.mean((there > 0.5) == y):.1%} right")

    net = xpnn.from_torch(model, backend=arguments.backend)
    here = net.backend.to_host(net.predict(x))
    print(f"taken here: outputs off by {np.max(np.abs(here - there)):.0e}")
    print(net)
    net.fit(x, y, "binary_cross_entropy", xpnn.Adam(0.01), epochs=arguments.epochs, batch_size=None)
    print(f"trained on: {net.evaluate(x, y)['accuracy']:.1%} right")

    back = xpnn.to_torch(net)
    with torch.no_grad():
        again = back(inputs).numpy()
    print(f"taken back: outputs off by {np.max(np.abs(again - net.backend.to_host(net.predict(x)))):.0e}")


if __name__ == "__main__":
    main()
