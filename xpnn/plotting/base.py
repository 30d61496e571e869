"""What all pictures share: their colours, their Axes, and host arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnn.backend import to_host

# Okabe and Ito's palette, which people with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "os^Dv"


def axes(ax: Any, figsize: tuple[float, float] = (5.0, 4.0)) -> Any:
    """The Axes to draw on; raises ImportError where there is no matplotlib."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f'plotting needs matplotlib: pip install "xpnn[plot]" ({error})') from None
    return plt.subplots(figsize=figsize, layout="constrained")[1]


def ink() -> Any:
    """The colour in which matplotlib's style writes."""
    import matplotlib

    return matplotlib.rcParams["text.color"]


def paper() -> Any:
    """The colour on which it writes."""
    import matplotlib

    return matplotlib.rcParams["axes.facecolor"]


def column(values: Any, name: str) -> np.ndarray:
    """Numbers (n,) or (n, 1) on the host as (n,); raises ValueError for another shape."""
    host = np.asarray(to_host(values, name), dtype=float)
    if host.ndim == 2 and host.shape[1] == 1:
        host = host[:, 0]
    if host.ndim != 1:
        raise ValueError(f"{name} must be (n,) or (n, 1), got shape {host.shape}")
    return host
