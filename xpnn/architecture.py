"""How layers are put together: the usual stack of them, and where it ends as far as a loss is concerned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnn import activations
from xpnn._arguments import as_list, check_count, check_number
from xpnn.activations import Activation
from xpnn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, Sequential


def mlp(
    widths: Sequence[int],
    activation: Any = "relu",
    output: Any = None,
    *,
    dropout: float = 0.0,
    norm: str | None = None,
    weight_init: Any = "glorot_uniform",
    bias_init: Any = "zeros",
) -> list[Layer]:
    """The layers of a multilayer perceptron as a list, to read or edit.

    Parameters
    ----------
    widths : the number of features, of each hidden layer's neurons, and of outputs: [2, 4, 8, 1].
    activation : one for all hidden layers, or a list with one for each; a list with one more names the output's too.
    output : the last layer's activation; None is "identity" (or the last of the `activation` list).
    dropout : rate of a Dropout after every hidden layer; 0 leaves it out.
    norm : "batch" or "layer" puts a BatchNorm or LayerNorm before every hidden activation, in place of the bias.
    weight_init, bias_init : initializers of every Dense layer.

    Raises
    ------
    ValueError for fewer than two widths, a list of activations of another length, or an unknown name.

    >>> mlp([2, 4, 1], "tanh", "sigmoid")
    [Dense(2, 4), Tanh(), Dense(4, 1), Sigmoid()]
    """
    widths = [check_count(f"widths[{i}]", width) for i, width in enumerate(as_list("widths", widths))]
    if len(widths) < 2:
        raise ValueError(f"widths must name at least the inputs and the outputs, got {widths}")
    hidden = len(widths) - 2
    if isinstance(activation, str | Layer | type):
        chosen = [activation] * hidden
    else:
        chosen = as_list("activation", activation)
        if len(chosen) == hidden + 1 and output is None:
            output = chosen.pop()
        if len(chosen) != hidden:
            raise ValueError(
                f"activation must be one, or one for each of the {hidden} hidden layers, got {activation!r}"
            )
    if norm not in (None, "batch", "layer"):
        raise ValueError(f"norm must be None, 'batch' or 'layer', got {norm!r}")
    check_number("dropout", dropout, low=0.0, high=1.0, open_high=True)
    starts = {"weight_init": weight_init, "bias_init": bias_init}
    layers: list[Layer] = []
    for n_in, n_out, name in zip(widths[:-2], widths[1:-1], chosen, strict=True):
        layers += [Dense(n_in, n_out, bias=norm is None, **starts)]
        layers += [BatchNorm(n_out)] if norm == "batch" else [LayerNorm(n_out)] if norm == "layer" else []
        layers += [activations.get(name)]
        layers += [Dropout(dropout)] if dropout else []
    layers.append(Dense(widths[-2], widths[-1], **starts))
    last = activations.get("identity" if output is None else output)
    return layers if last == activations.identity else [*layers, last]


def last_layer(layer: Layer) -> Layer:
    """The layer whose output is the network's: the last, in a Sequential its last; other containers count as one."""
    return (_in_a_row(layer) or [layer])[-1]


def _in_a_row(layer: Layer) -> list[Layer]:
    """The layers of nested Sequentials one after another."""
    if not isinstance(layer, Sequential):
        return [layer]
    return [one for child in layer.layers for one in _in_a_row(child)]


def trunk(layer: Sequential, loss: Any) -> Sequential:
    """The layers up to what the loss takes: without the last activation where that is the loss's link.

    Raises ValueError where the network ends in another activation, or in a probability behind layers that learn
    nothing (a Dropout): its output would pass for logits or scores.
    """
    link, ending = getattr(loss, "link", None), last_layer(layer)
    scores = link is not None or getattr(loss, "threshold", None) is not None
    if not scores or ending == activations.identity:
        return layer
    if link is not None and ending == link:
        return _without_last(layer)
    if ending == activations.log_softmax and link == activations.softmax:  # logits too, of the same probabilities
        return layer
    deciding = [one for one in _in_a_row(layer) if one.learns or isinstance(one, Activation)][-1:]
    if (link is not None and isinstance(ending, Activation)) or getattr(deciding and deciding[0], "probability", False):
        kind = type(getattr(loss, "loss", loss)).__name__
        wanted = f"logits or a last layer {link}" if link is not None else "scores that are no probabilities"
        ends = " and then ".join(str(one) for one in dict.fromkeys((*deciding, ending)))
        raise ValueError(
            f"loss {kind} takes {wanted}, but the network ends in {ends}: leave that layer out, or take the loss that "
            "goes with it"
        )
    return layer


def _without_last(layer: Sequential) -> Sequential:
    *before, last = layer.layers
    if isinstance(last, Sequential):
        return Sequential((*before, _without_last(last)))
    return Sequential(tuple(before))
