"""Drop-in estimators for scikit-learn: change the import, keep the code, and gain a GPU and what its own MLP refuses.

They need scikit-learn: `pip install xpnn[sklearn]`. It is imported when one of the names is first used, so that a file
with an estimator's network can be read where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnn._lazy import attach

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn.sklearn.classifier import MLPClassifier
    from xpnn.sklearn.export import export_onnx
    from xpnn.sklearn.regressor import MLPRegressor
    from xpnn.sklearn.search import MLPSearchCV

_HOME = {
    "classifier": "MLPClassifier",
    "export": "export_onnx",
    "regressor": "MLPRegressor",
    "search": "MLPSearchCV",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME)
