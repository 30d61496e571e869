"""Pictures of activations, of training and of what a network has learned, by matplotlib.

Every function draws on `ax`, or on new Axes, and returns the Axes; none opens a window or writes a file. Text, axes and
lines that belong to the picture take the colours of matplotlib's style, so that they can be read on dark and on light.
What colours tell apart, dashes, markers or numbers tell apart too.
"""

from typing import TYPE_CHECKING

from xpnn._lazy import attach

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.plotting.activations import plot_activation
    from xpnn.plotting.base import COLOURS
    from xpnn.plotting.data import plot_decision_boundary, plot_points
    from xpnn.plotting.network import plot_network
    from xpnn.plotting.results import plot_confusion, plot_predictions
    from xpnn.plotting.search import plot_search
    from xpnn.plotting.training import plot_gradient_flow, plot_history
    from xpnn.plotting.weights import plot_weights

_HOME = {
    "activations": "plot_activation",
    "base": "COLOURS",
    "data": "plot_decision_boundary plot_points",
    "network": "plot_network",
    "results": "plot_confusion plot_predictions",
    "search": "plot_search",
    "training": "plot_gradient_flow plot_history",
    "weights": "plot_weights",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
