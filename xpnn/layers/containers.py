"""Layers made of layers. A container nests its children's parameters, states and gradients in lists."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from xpnn._arguments import as_list
from xpnn.layers.base import Layer


@dataclass(frozen=True)
class Container(Layer):
    """What all containers share, a user's own too: each of the `children` is asked in turn.

    Subclasses write `children`, `output_shape`, `forward` and `backward`. The cache that `forward` gives is a list with
    an entry for each child.
    """

    @cached_property  # both are asked in every step
    def learns(self):  # type: ignore[override]
        return any(layer.learns for layer in self.children)

    @cached_property
    def penalizes(self):  # type: ignore[override]
        return any(layer.penalizes for layer in self.children)

    def init(self, rng):
        return [layer.init(rng) for layer in self.children]

    def init_state(self):
        return [layer.init_state() for layer in self.children]

    def update_state(self, params, caches, *, xp):
        return [layer.update_state(params[index], caches[index], xp=xp) for index, layer in enumerate(self.children)]

    def penalty(self, params, caches, *, xp):
        children = enumerate(self.children)
        return sum(layer.penalty(params[i], caches[i], xp=xp) for i, layer in children if layer.penalizes)


@dataclass(frozen=True)
class Chain(Container):
    """The composition f_n(... f_2(f_1(x))) of layers in order, of which the containers below make theirs."""

    layers: tuple[Layer, ...]

    def __post_init__(self):
        layers = [self.layers] if isinstance(self.layers, Layer) else as_list("layers", self.layers)
        object.__setattr__(self, "layers", tuple(layers))
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                hint = f": write activations.get({layer!r})" if isinstance(layer, str) else ""
                raise TypeError(f"layers[{index}] must be a layer, got {layer!r}{hint}")

    @property
    def children(self):
        return self.layers

    @property
    def input_shape(self):
        return next((layer.input_shape for layer in self.layers if layer.input_shape is not None), None)

    @property
    def categories(self):
        return self.layers[0].categories if self.layers else {}

    def output_shape(self, shape):
        for index, layer in enumerate(self.layers):
            before = f"{self.layers[index - 1]}, layer {index - 1}" if index else ""
            if before and layer.categories:
                raise ValueError(
                    f"{layer}, layer {index}, takes category indices from x itself, but gets what {before}, gives: put "
                    "it first, and standardize columns of numbers before they become x, or by a BatchNorm after it"
                )
            try:
                shape = layer.output_shape(shape)
            except ValueError as error:
                raise ValueError(f"{layer}, layer {index}, {error}{f' from {before}' if before else ''}") from None
        return shape

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


@dataclass(frozen=True)
class Sequential(Chain):
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


@dataclass(frozen=True)
class Residual(Chain):
    """y = x + f(x), with f the composition of `layers`: what they learn is the difference to their input.

    Backward: dL/dx = dy + the gradient that f gives, so that a deep stack of such blocks passes dy on whole.

    Parameters
    ----------
    layers : one layer or a list of them, as in Sequential, at least one; f gives back the shape that it takes.

    He, Zhang, Ren and Sun (2016), "Deep residual learning for image recognition".

    >>> import numpy as np
    >>> from xpnn.layers import Dense
    >>> block = Residual(Dense(2, 2, weight_init="zeros"))
    >>> params = block.init(np.random.default_rng(0))
    >>> y, cache = block.forward(params, np.asarray([[1.0, 2.0]]), xp=np)
    >>> y
    array([[1., 2.]])
    >>> block.backward(params, cache, np.ones((1, 2)), xp=np)[0]
    array([[1., 1.]])
    """

    def __post_init__(self):
        super().__post_init__()
        if not self.layers:
            raise ValueError("layers must be at least one, got none: y = x + f(x) is nothing without f")

    def output_shape(self, shape):
        inner = super().output_shape(shape)
        if tuple(inner) != tuple(shape):
            raise ValueError(
                f"adds what its layers give to what they take, so they must give the shape {tuple(shape)}, "
                f"got {tuple(inner)}"
            )
        return shape

    def forward(self, params, x, *, xp, step=None):
        y, caches = super().forward(params, x, xp=xp, step=step)
        return x + y, caches

    def backward(self, params, caches, dy, *, xp):
        dx, grads = super().backward(params, caches, dy, xp=xp)
        return dy + dx, grads
