"""Pictures of activations, of training and of what a network has learned, by matplotlib.

Every function draws on `ax`, or on new Axes, and returns the Axes; none opens a window or writes a file. Text, axes and
lines that belong to the picture take the colours of matplotlib's style, so that they can be read on dark and on light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnn._lazy import attach

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.plotting.activations import plot_activation
    from xpnn.plotting.base import COLOURS
    from xpnn.plotting.data import plot_decision_boundary, plot_points
    from xpnn.plotting.results import plot_confusion, plot_predictions, plot_search
    from xpnn.plotting.structure import plot_network, plot_weights
    from xpnn.plotting.training import plot_gradient_flow, plot_history

_HOME = {
    "activations": "plot_activation",
    "base": "COLOURS",
    "data": "plot_decision_boundary plot_points",
    "results": "plot_confusion plot_predictions plot_search",
    "structure": "plot_network plot_weights",
    "training": "plot_gradient_flow plot_history",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
