"""Drop-in estimators for scikit-learn: change the import, keep the code, and gain a GPU and what its own MLP refuses.

They need scikit-learn: `pip install xpnn[sklearn]`.
"""

from xpnn.sklearn.classifier import MLPClassifier
from xpnn.sklearn.export import export_onnx
from xpnn.sklearn.regressor import MLPRegressor
from xpnn.sklearn.search import MLPSearchCV

__all__ = ["MLPClassifier", "MLPRegressor", "MLPSearchCV", "export_onnx"]
