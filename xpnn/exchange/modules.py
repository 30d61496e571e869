"""Layers that PyTorch has not, as modules of it: what `to_torch` puts in their place, and `from_torch` reads again."""

from typing import Any

try:
    from torch.nn import Embedding as _Embedding
    from torch.nn import Module, Sequential
except ImportError:  # then nobody asks for them
    _Embedding: Any = object
    Module: Any = object
    Sequential: Any = object


class Standardize(Module):
    """y = (x - mean) / scale, or y = x * scale + mean with `inverse`; the numbers are buffers."""

    mean: Any
    scale: Any

    def __init__(self, mean: Any, scale: Any, inverse: bool = False):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.inverse = inverse

    def forward(self, x: Any) -> Any:
        return x * self.scale + self.mean if self.inverse else (x - self.mean) / self.scale


class Residual(Sequential):
    """y = x + f(x), f being the modules in it one after another."""

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        return x + super().forward(x)


class Embedding(_Embedding):
    """The vectors of the categories that the columns of x are numbers of, side by side."""

    def __init__(self, count: int, features: int, columns: int):
        super().__init__(count, features)
        self.columns = columns

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        return super().forward(x.long()).flatten(-2)
