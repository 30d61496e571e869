"""A network in the place of a costly energy, with forces that are its exact derivative, inside a solver's loop.

    python examples/13_surrogate.py

The energy of three atoms in a plane is learned from samples, by the distances between them; `vjp` pulls it back to the
coordinates, so that energy and forces belong together to the last digit. A velocity-Verlet integrator then moves the
atoms with the network's forces: that the total energy stays is the proof that they are its derivative.
"""

import argparse

import numpy as np

import xpnn

APART = np.asarray(
    [[1.0, -1.0, 0.0], [1.0, 0.0, -1.0], [0.0, 1.0, -1.0]]
)  # pairs of atoms: one's place less the other's


def energy(r):
    """What is costly elsewhere: Morse potentials of the distances (n, 3), with a well at 1."""
    return ((1.0 - np.exp(-1.5 * (r - 1.0))) ** 2).sum(axis=-1, keepdims=True)


def forces_of(net, places, pairs):
    """Energy (1,) and forces (3, 2): the derivative goes through the network, then through the distances."""
    xp = net.backend.xp
    apart = pairs @ places
    r = xp.sqrt(xp.sum(apart**2, axis=-1))
    value, pullback = net.vjp(r[None, :])
    by_distance, _ = pullback(xp.ones_like(value))
    along = apart * xp.reshape(by_distance[0, :] / r, (3, 1))
    return value[0, :], -(xp.matrix_transpose(pairs) @ along)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy", help='"numpy", "cupy", "torch", "jax", "auto" ...')
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--steps", type=int, default=1000, help="of the integrator")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    r = rng.uniform(0.7, 1.8, (4000, 3))
    e = energy(r)
    layers = [xpnn.Standardize.fit(r), *xpnn.mlp([3, 32, 32, 1], "tanh")]  # smooth: so are its forces
    net = xpnn.Network(layers, backend=arguments.backend, dtype="float64", seed=0)
    rate = xpnn.CosineDecay(5e-3, steps=arguments.epochs * 32)
    net.fit(r[:3200], e[:3200], optimizer=xpnn.Adam(rate), epochs=arguments.epochs, batch_size=100)
    off = net.backend.to_host(net.predict(r[3200:])) - e[3200:]
    print(f"energies from {e.min():.3f} to {e.max():.3f}, learned to {np.sqrt(np.mean(off**2)):.1e}")

    xp, asarray = net.backend.xp, net.backend.asarray  # from here on all is where the network is, a GPU say
    places, pairs = asarray([[0.0, 0.0], [1.15, 0.0], [0.5, 0.95]]), asarray(APART)
    value, forces = forces_of(net, places, pairs)
    shift = asarray([[1e-5, 0.0], [0.0, 0.0], [0.0, 0.0]])
    above, below = (forces_of(net, moved, pairs)[0] for moved in (places + shift, places - shift))
    print(f"a force {float(forces[0, 0]):.6f}; by a difference of energies {float((below - above)[0]) / 2e-5:.6f}")

    moving, time, total = xp.zeros_like(places), 0.01, []
    for _ in range(arguments.steps):
        moving = moving + 0.5 * time * forces
        places = places + time * moving
        value, forces = forces_of(net, places, pairs)
        moving = moving + 0.5 * time * forces
        total.append(value + 0.5 * xp.sum(moving**2))  # read when all is done: nothing waits for the device before
    total = net.backend.to_host(xp.concat(total))
    print(f"{arguments.steps} steps: the total energy {np.mean(total):.6f} moves by {np.ptp(total):.1e}")


if __name__ == "__main__":
    main()
