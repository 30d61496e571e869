"""Data to try a network on, and readers for the file formats that the examples' data comes in."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from xpnn._arguments import check_count, check_number


def circles(
    n: int = 150, radii: tuple[float, float] = (2.0, 0.5), seed: int | None = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Two classes of points around the origin, on a wide and a narrow disc that overlap: the tutorial's problem.

    By the tutorial's formula a point of the class with radius R is (r cos a, r sin a), rounded to 3 decimals, where
    r = 10 R sqrt(u) and a = 20 pi v; u and v are drawn from the standard normal distribution truncated to (0, 1).

    Parameters
    ----------
    n : points of each class.
    radii : R of class 0 and of class 1.
    seed : of the NumPy generator; None draws one.

    Returns
    -------
    x : (2 n, 2) float64, class 0 first.
    y : (2 n, 1) float64, 0 or 1.

    >>> x, y = circles(n=2)
    >>> x.shape, y.tolist()
    ((4, 2), [[0.0], [0.0], [1.0], [1.0]])
    """
    from scipy.special import ndtr, ndtri

    check_count("n", n)
    if len(radii) != 2:
        raise ValueError(f"radii must be two numbers, one a class, got {radii!r}")
    for i, radius in enumerate(radii):
        check_number(f"radii[{i}]", radius, low=0.0, open_low=True)
    rng = np.random.default_rng(seed)
    points = []
    for radius in radii:
        u, v = ndtri(0.5 + rng.random((2, n)) * (ndtr(1.0) - 0.5))
        r, angle = 10.0 * radius * np.sqrt(u), 20.0 * np.pi * v
        points.append(np.round(np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1), 3))
    return np.concatenate(points), np.repeat([[0.0], [1.0]], n, axis=0)


def read_idx(path: str | Path) -> np.ndarray:
    """An array from a file in the idx format of the MNIST digits, gzipped or not.

    Four bytes say the type and the number of axes, four more bytes (big-endian) each axis' length, then come the
    values (yann.lecun.com/exdb/mnist).

    Raises
    ------
    ValueError where the file is no idx file of unsigned bytes, or shorter than it says.
    """
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rb") as file:
        content = file.read()
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is no idx file of unsigned bytes: it begins with {content[:4]!r}")
    axes = content[3]
    shape = tuple(np.frombuffer(content, dtype=">u4", count=axes, offset=4).tolist())
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes)
    if values.size != np.prod(shape):
        raise ValueError(f"{path} says that it holds {np.prod(shape)} values, but holds {values.size}")
    return values.reshape(shape)
