"""`coefs_` and `intercepts_`: the weights and biases of the fully connected layers, under scikit-learn's names."""

from __future__ import annotations

from typing import Any

from xpnn import layers

__all__ = ["Coefficients"]

Array = Any

_ATTRIBUTES = {"weight": "coefs_", "bias": "intercepts_"}


class Coefficients:
    """The part of an estimator that shows the parameters of its network, an ensemble's with the members' axis in front.

    A list has an entry for each fully connected layer: a copy. Assigning a list of all of them changes the network.
    """

    network_: Any

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrix of each fully connected layer: copies. Assigning a list of all of them changes them."""
        return self._dense("weight")

    @coefs_.setter
    def coefs_(self, values) -> None:
        self._assign("weight", values)

    @property
    def intercepts_(self) -> list[Array]:
        """The bias of each fully connected layer; one before a batch norm, which has none, is left out. Copies, too."""
        return self._dense("bias")

    @intercepts_.setter
    def intercepts_(self, values) -> None:
        self._assign("bias", values)

    @property
    def _first_weight(self) -> Array:
        return self.coefs_[0]

    def _dense(self, name: str) -> list[Array]:
        if not hasattr(self, "network_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute '{_ATTRIBUTES[name]}'")
        return [params[name] for params in self._holders(name, self.network_.params)]

    def _assign(self, name: str, values) -> None:
        params = self.network_.params
        holders = self._holders(name, params)
        if len(values) != len(holders):
            raise ValueError(f"{_ATTRIBUTES[name]} must be a list of {len(holders)} arrays, got {len(values)}")
        for holder, value in zip(holders, values, strict=True):
            holder[name] = value
        self.network_.params = params

    def _holders(self, name: str, params: list[dict]) -> list[dict]:
        """The parameters of each fully connected layer that has one of that name."""
        pairs = zip(self.network_.layers, params, strict=True)
        return [own for layer, own in pairs if isinstance(layer, layers.Dense) and name in own]
