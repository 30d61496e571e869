"""Functions of one array that the standard lacks, and the one place that infers a namespace from an array.

`erf` is the backend's own where it has one, else a fallback in array API operations of double precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any


def by_hand(values: Any) -> tuple[Array, Any]:
    """`values` as a floating-point array and its namespace, for the functions that people call by hand.

    Numbers, lists and integer arrays become floating point; arrays of any library stay where they are.
    """
    x: Any = values
    if not isinstance(x, np.ndarray):
        from array_api_compat import array_namespace, is_array_api_obj

        if is_array_api_obj(values) and not isinstance(values, np.generic):
            xp: Any = array_namespace(values)
            return (x if xp.isdtype(x.dtype, "real floating") else xp.astype(x, xp.float32)), xp
        x = np.asarray(x)
    return (x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)), np


def erf(x: Array, *, xp: Any) -> Array:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    NumPy arrays go to scipy.special, PyTorch, JAX and CuPy arrays to their own function, any other namespace to
    `erf_fallback`.

    >>> import numpy as np
    >>> erf(np.asarray([0.0, 1.0]), xp=np)
    array([0.        , 0.84270079])
    """
    library = xp.__name__.removeprefix("array_api_compat.").partition(".")[0]
    if library == "numpy":
        from scipy.special import erf as function
    elif library == "torch":
        from torch import erf as function
    elif library == "jax":
        from jax.scipy.special import erf as function
    elif library == "cupy":
        from cupyx.scipy.special import erf as function
    elif library == "xpnn":
        function = xp.erf  # one operation to the compiled step
    else:
        return erf_fallback(x, xp=xp)
    return function(x)


def erf_fallback(x: Array, *, xp: Any) -> Array:
    """`erf` in array API operations alone, within 1e-14 of the true value.

    For |x| < 2 the series 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (1 * 3 * ... * (2n+1)), whose terms are all of
    one sign (Abramowitz and Stegun 7.1.6); above, 1 - erfc(x) by the continued fraction of 7.1.14, written as a
    recurrence from the far end.
    """
    a = xp.abs(x)
    near = xp.minimum(a, 2.0)
    square = near * near
    series = xp.ones_like(x)
    for n in range(44, 0, -1):  # Horner's scheme: 44 terms reach 1e-17 at |x| = 2
        series = 1.0 + series * square * (2.0 / (2 * n + 1))
    inner = 2.0 / math.sqrt(math.pi) * near * xp.exp(-square) * series

    far = xp.minimum(xp.maximum(a, 2.0), 30.0)
    fraction = far
    for n in range(60, 0, -1):
        fraction = far + (0.5 * n) / fraction
    outer = 1.0 - xp.exp(-far * far) / (math.sqrt(math.pi) * fraction)

    value = xp.where(a < 2.0, inner, outer)
    return xp.where(xp.isnan(x), x, xp.sign(x) * value)
