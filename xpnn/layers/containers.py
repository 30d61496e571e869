"""Layers made of layers. A container nests its children's parameters, states and gradients in lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xpnn.layers.base import Layer


@dataclass(frozen=True)
class Sequential(Layer):
    """The composition y = f_n(... f_2(f_1(x))); backward is the chain rule, from the last layer to the first.

    Its params are a list with an entry for each layer. Every contained layer learns, carries state and draws random
    bits as if it stood alone.

    >>> import numpy as np
    >>> from xpnn.layers import Dense, Dropout
    >>> block = Sequential([Dense(2, 3), Dropout(0.1), Dense(3, 1)])
    >>> params = block.init(np.random.default_rng(0))
    >>> [sorted(layer) for layer in params]
    [['bias', 'weight'], [], ['bias', 'weight']]
    >>> block.output_shape((2,))
    (1,)
    """

    layers: tuple[Layer, ...]

    def __post_init__(self):
        if not isinstance(self.layers, Iterable):
            raise TypeError(f"layers must be a sequence of layers, got {self.layers!r}")
        object.__setattr__(self, "layers", tuple(self.layers))
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers[{index}] must be a layer, got {layer!r}")

    @property
    def children(self):
        return self.layers

    @property
    def learns(self):  # type: ignore[override]
        return any(layer.learns for layer in self.layers)

    @property
    def input_shape(self):
        return next((layer.input_shape for layer in self.layers if layer.input_shape is not None), None)

    def output_shape(self, shape):
        for index, layer in enumerate(self.layers):
            try:
                shape = layer.output_shape(shape)
            except ValueError as error:
                before = f" from {self.layers[index - 1]}, layer {index - 1}" if index else ""
                raise ValueError(f"{layer}, layer {index}, {error}{before}") from None
        return shape

    def init(self, rng):
        return [layer.init(rng) for layer in self.layers]

    def init_state(self):
        return [layer.init_state() for layer in self.layers]

    def forward(self, params, x, *, xp, step=None):
        caches = []
        for index, layer in enumerate(self.layers):
            x, cache = layer.forward(params[index], x, xp=xp, step=None if step is None else step.child(index))
            caches.append(cache)
        return x, caches

    def backward(self, params, caches, dy, *, xp):
        dy, grads = self._back_to(0, params, caches, dy, xp)
        return dy, grads

    def gradients(self, params, caches, dy, *, xp):
        first = next((i for i, layer in enumerate(self.layers) if layer.learns), None)
        if first is None:
            return [{} for _ in self.layers]
        dy, grads = self._back_to(first + 1, params, caches, dy, xp)
        grads[first] = self.layers[first].gradients(params[first], caches[first], dy, xp=xp)
        return grads

    def _back_to(self, stop, params, caches, dy, xp):
        """The chain rule through the layers from the last down to number `stop`."""
        grads = [{} for _ in self.layers]
        for index in range(len(self.layers) - 1, stop - 1, -1):
            dy, grads[index] = self.layers[index].backward(params[index], caches[index], dy, xp=xp)
        return dy, grads

    def update_state(self, params, caches, *, xp):
        return [layer.update_state(params[index], caches[index], xp=xp) for index, layer in enumerate(self.layers)]
