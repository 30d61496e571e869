"""What all pictures share: their colours, their Axes, and what they take."""

from typing import Any

import numpy as np

# Okabe and Ito's palette, which people with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "os^Dv"
"""One fewer than colours, so that thirty things differ in the one or in the other."""


def look(number: int) -> dict[str, Any]:
    """The colour and the marker of one of several things that differ."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def axes(ax: Any, figsize: tuple[float, float] = (5.0, 4.0), layout: str = "constrained") -> Any:
    """The Axes to draw on, new ones for None.

    Raises ImportError where there is no matplotlib, and TypeError for what is no Axes.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f'plotting needs matplotlib: pip install "xpnn[plot]" ({error})') from None
    if ax is None:
        return plt.subplots(figsize=figsize, layout=layout)[1]
    if not hasattr(ax, "set_xlabel"):
        several = " of several: take one of them" if isinstance(ax, np.ndarray | list | tuple) else ""
        raise TypeError(f"ax must be one matplotlib Axes, got a {type(ax).__name__}{several}")
    return ax


def ink() -> Any:
    """The colour in which matplotlib's style writes."""
    import matplotlib

    return matplotlib.rcParams["text.color"]


def paper() -> Any:
    """The colour on which it writes."""
    import matplotlib

    return matplotlib.rcParams["axes.facecolor"]


def towards(colour: Any, share: Any) -> np.ndarray:
    """`share` of the way from the paper to a colour, or to each of an array of them, as red, green and blue."""
    from matplotlib.colors import to_rgb

    ground = np.asarray(to_rgb(paper()))
    return ground + share * ((np.asarray(to_rgb(colour)) if isinstance(colour, str) else colour) - ground)


def ramp(*colours: Any) -> Any:
    """The colormap that goes evenly from colour to colour."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    return LinearSegmentedColormap.from_list("ramp", [to_rgb(colour) for colour in colours])


def written_on(colour: Any) -> str:
    """Black or white, whichever is the clearer on a colour: its relative luminance, W3C (2008), WCAG 2.0, decides."""
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "white"


def whole(axis: Any) -> None:
    """Ticks of an axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def poles() -> tuple[str, str]:
    """The colours of what is negative and of what is positive, orange and blue, those that are far from the paper."""
    from matplotlib.colors import to_rgb

    return (COLOURS[1], COLOURS[0]) if written_on(to_rgb(paper())) == "black" else (COLOURS[4], COLOURS[5])


def lone(net: Any) -> Any:
    """`net`, once it is known to be one network."""
    if not (hasattr(net, "layers") and hasattr(net, "layouts")):
        hint = ": take its network_" if hasattr(net, "get_params") else ""
        raise TypeError(f"net must be a Network, got {type(net).__name__}{hint}")
    if net.members is not None:
        raise TypeError(f"net must be one network, got a stack of {net.members}: give one of them, net[k]")
    return net
