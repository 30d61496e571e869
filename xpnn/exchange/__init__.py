"""Networks from other libraries and for them: PyTorch and scikit-learn, neither of which is needed for the rest."""

from typing import TYPE_CHECKING

from xpnn._lazy import attach

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.exchange.estimators import from_sklearn, to_sklearn
    from xpnn.exchange.pytorch import from_torch, to_torch, to_torch_state_dict

_HOME = {
    "estimators": "from_sklearn to_sklearn",
    "pytorch": "from_torch to_torch to_torch_state_dict",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
