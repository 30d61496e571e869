"""Neural networks written once against the array API standard: NumPy on a CPU, CuPy on a GPU.

The public names are found when first used, so that `import xpnn` loads no array library, not even NumPy.

>>> import xpnn
>>> x, y = xpnn.datasets.circles()
>>> net = xpnn.Network(xpnn.mlp([2, 4, 8, 1], activation="relu", output="sigmoid"), backend="numpy", seed=0)
>>> history = net.fit(x / 10, y, loss="binary_cross_entropy", epochs=5)
>>> len(history["loss"])
5
"""

from typing import TYPE_CHECKING

from xpnn._lazy import attach
from xpnn._version import __version__

if TYPE_CHECKING:  # what the lazy names below are, for type checkers and editors
    from xpnn import (
        activations,
        callbacks,
        datasets,
        initializers,
        layers,
        losses,
        metrics,
        optimizers,
        plotting,
        schedules,
        testing,
    )
    from xpnn.activations import (
        ELU,
        GELU,
        SELU,
        Activation,
        GELUTanh,
        HardSigmoid,
        HardSwish,
        LeakyReLU,
        Mish,
        ReLU,
        Sigmoid,
        SiLU,
        Sine,
        Softmax,
        Softplus,
        Tanh,
        identity,
        relu,
        sigmoid,
        softmax,
        tanh,
    )
    from xpnn.availability import BackendUnavailable, OutOfDeviceMemory, backends
    from xpnn.backend import Backend
    from xpnn.callbacks import (
        Callback,
        CSVLogger,
        EarlyStopping,
        LearningRateScheduler,
        ModelCheckpoint,
        ReduceLROnPlateau,
        TimeLimit,
    )
    from xpnn.checkpoint import load
    from xpnn.exchange import from_sklearn, from_torch, to_sklearn, to_torch, to_torch_state_dict
    from xpnn.files import UnusableFile
    from xpnn.history import History
    from xpnn.initializers import truncated_normal
    from xpnn.layers import (
        ActivityPenalty,
        BatchNorm,
        Dense,
        Dropout,
        Embedding,
        FeatureEmbedding,
        Flatten,
        GaussianNoise,
        Increasing,
        Layer,
        LayerNorm,
        Maxout,
        PReLU,
        Residual,
        RMSNorm,
        Sequential,
        Standardize,
    )
    from xpnn.losses import (
        BinaryCrossEntropy,
        Focal,
        GaussianNLL,
        Huber,
        Loss,
        MeanAbsoluteError,
        MeanSquaredError,
        Penalized,
        Poisson,
        Quantile,
        SoftmaxCrossEntropy,
    )
    from xpnn.members import fit_many
    from xpnn.network import Network, mlp
    from xpnn.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, Optimizer, RAdam, RMSprop
    from xpnn.schedules import (
        CosineDecay,
        ExponentialDecay,
        InverseScaling,
        InverseTimeDecay,
        OneCycle,
        Piecewise,
        PolynomialDecay,
        Schedule,
        StepDecay,
    )
    from xpnn.training import NonFiniteLoss

_MODULES = (
    "activations",
    "callbacks",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "plotting",
    "schedules",
    "testing",
)
_HOME = {
    "activations": "Activation ELU GELU GELUTanh HardSigmoid HardSwish LeakyReLU Mish ReLU SELU SiLU Sigmoid Sine "
    "Softmax Softplus Tanh identity relu sigmoid softmax tanh",
    "availability": "BackendUnavailable OutOfDeviceMemory backends",
    "backend": "Backend",
    "callbacks": "CSVLogger Callback EarlyStopping LearningRateScheduler ModelCheckpoint ReduceLROnPlateau TimeLimit",
    "checkpoint": "load",
    "exchange": "from_sklearn from_torch to_sklearn to_torch to_torch_state_dict",
    "files": "UnusableFile",
    "history": "History",
    "initializers": "truncated_normal",
    "layers": "ActivityPenalty BatchNorm Dense Dropout Embedding FeatureEmbedding Flatten GaussianNoise Increasing "
    "Layer LayerNorm Maxout PReLU RMSNorm Residual Sequential Standardize",
    "losses": "BinaryCrossEntropy Focal GaussianNLL Huber Loss MeanAbsoluteError MeanSquaredError Penalized Poisson "
    "Quantile SoftmaxCrossEntropy",
    "members": "fit_many",
    "network": "Network mlp",
    "optimizers": "SGD Adagrad Adam AdamW Lion NAdam Optimizer RAdam RMSprop",
    "schedules": "CosineDecay ExponentialDecay InverseScaling InverseTimeDecay OneCycle Piecewise PolynomialDecay "
    "Schedule StepDecay",
    "training": "NonFiniteLoss",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOME, _MODULES)
__all__ += ["__version__"]
