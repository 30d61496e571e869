"""Networks from scikit-learn's MLPClassifier and MLPRegressor, and these from networks and estimators of ours."""

from typing import Any

import numpy as np

from xpnn import activations
from xpnn.architecture import mlp
from xpnn.exchange.pytorch import check_lone
from xpnn.layers import ActivityPenalty, Dense, Dropout, GaussianNoise, Layer
from xpnn.network import Network

_ENDS = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax", "tanh": "tanh", "relu": "relu"}
"""scikit-learn's names of activations, and ours."""
IN_TRAINING_ALONE = (Dropout, GaussianNoise, ActivityPenalty)
"""Layers that are the identity once a network is trained."""


def from_sklearn(estimator: Any, backend: Any = "numpy", dtype: Any = None) -> Network:
    """The network that a fitted MLPClassifier or MLPRegressor is: it gives the probabilities, or the predictions.

    A classifier of two classes has one output, the probability of the second. An estimator of this library has its
    network as it is, with its training state, in `network_`, of which this gives a copy.

    >>> from sklearn.neural_network import MLPRegressor
    >>> fitted = MLPRegressor(solver="lbfgs", random_state=0).fit([[0.0], [1.0]], [0.0, 1.0])
    >>> net = from_sklearn(fitted)
    >>> bool(abs(net.predict([[0.5]]) - fitted.predict([[0.5]])).max() < 1e-12)
    True

    Raises
    ------
    TypeError for what is no such estimator; ValueError for one that has not been fitted.
    """
    if isinstance(getattr(estimator, "network_", None), Network):
        return estimator.network_.to(backend, dtype)
    wanted = ("hidden_layer_sizes", "activation")
    if not all(hasattr(estimator, name) for name in wanted) or isinstance(estimator, type):
        raise TypeError(f"estimator must be an MLPClassifier or MLPRegressor, got {estimator!r}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"estimator must be fitted, got {estimator}, which has no weights: call its fit")
    weights, biases = estimator.coefs_, estimator.intercepts_
    widths = [weights[0].shape[0], *(weight.shape[1] for weight in weights)]
    ends = _ENDS | {"exp": "exponential"}  # of a Poisson regression
    layers = mlp(widths, _ENDS[estimator.activation], ends[estimator.out_activation_])
    net = Network(layers, backend, str(weights[0].dtype) if dtype is None else dtype)
    pairs, params = iter(zip(weights, biases, strict=True)), net.params
    for layer, own in zip(layers, params, strict=True):
        if isinstance(layer, Dense):
            own["weight"], own["bias"] = next(pairs)
    net.params = params
    return net


def to_sklearn(model: Any, classes: Any = None) -> Any:
    """A fitted MLPClassifier or MLPRegressor of scikit-learn with the weights of a network, or of an estimator of ours.

    Its predictions are the same; it can be pickled and used where only scikit-learn is installed. `partial_fit` goes on
    with a new state of its optimizer. A network that ends in sigmoid or softmax becomes a classifier.

    Parameters
    ----------
    model : a network of Dense layers, one activation of identity, sigmoid, tanh or relu between all of them, and
        identity, sigmoid or softmax at its end (dropout and noise are left out); or a fitted xpnn.sklearn estimator of
        such a network.
    classes : the labels of a network's classes, all different; None is 0, 1, 2, ... scikit-learn has them sorted, and
        the outputs with them.

    Raises
    ------
    ImportError without scikit-learn; TypeError for layers that scikit-learn does not have, naming them; ValueError for
    classes that are not the network's.
    """
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
        from sklearn.preprocessing import LabelBinarizer
        from sklearn.utils import check_random_state
    except ImportError as error:
        raise ImportError(f"{error}: pip install scikit-learn, to exchange networks with it") from None
    net = model if isinstance(model, Network) else getattr(model, "network_", None)
    if not isinstance(net, Network):
        raise TypeError(f"model must be a network or a fitted estimator of xpnn.sklearn, got {model!r}")
    check_lone("model", net)
    hidden, ending = _chain_of(net.layers)
    dense = [params for layer, params in zip(net.layers, net.params, strict=True) if isinstance(layer, Dense)]
    kind: Any = MLPRegressor if ending == "identity" else MLPClassifier
    weights = [[np.array(net.backend.to_host(params[name])) for params in dense] for name in ("weight", "bias")]
    binarizer = None
    if kind is MLPRegressor and classes is not None:
        raise ValueError("classes go with a network that ends in sigmoid or softmax, not with this: leave them out")
    if kind is MLPClassifier:
        width = net.layer.output_shape(net.shapes.sample)[-1]
        several = ending == "logistic" and width > 1  # yes or no for each of several labels
        classes = getattr(model, "classes_", None) if classes is None else classes
        classes = np.arange(max(width, 2)) if classes is None else np.asarray(classes)
        count = width if width > 1 else 2
        if classes.shape != (count,):
            raise ValueError(f"classes must be a list of the {count} that the network has, got {classes.tolist()}")
        if not several:
            classes, order = np.unique(classes, return_index=True)
            if len(classes) != count:
                raise ValueError(f"classes must be {count} different ones, got {classes.tolist()}")
            weights = [[*arrays[:-1], _sorted(arrays[-1], order)] for arrays in weights]
            ending = "logistic" if count == 2 else ending
        binarizer = LabelBinarizer().fit(np.eye(count, dtype=int) if several else classes)
    sizes = tuple(params["weight"].shape[1] for params in dense[:-1])
    made: Any = kind(hidden_layer_sizes=sizes, activation=hidden)
    if not isinstance(model, Network):  # parameters that both have, with values that both take
        shared = {name: value for name, value in model.get_params().items() if name in made.get_params()}
        trial = kind(**shared | {"hidden_layer_sizes": sizes, "activation": hidden})
        made = trial if _accepted(trial) else made
    made.coefs_, made.intercepts_ = weights
    made.out_activation_, made.n_outputs_, made.n_layers_ = ending, weights[0][-1].shape[1], len(dense) + 1
    made.n_features_in_ = weights[0][0].shape[0]
    made.n_iter_, made.t_, made.loss_curve_, made._no_improvement_count = int(net.epoch), 0, [], 0
    made.loss_ = made.best_loss_ = np.inf
    stops = made.early_stopping
    made.validation_scores_, made.best_validation_score_ = ([], -np.inf) if stops else (None, None)
    made._random_state = check_random_state(made.random_state)
    if binarizer is not None:
        made.classes_, made._label_binarizer = classes, binarizer
    if (names := getattr(model, "feature_names_in_", None)) is not None:
        made.feature_names_in_ = names
    return made


def _sorted(last: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The last layer's weights, or biases, for classes in that order; of two one output, as scikit-learn has it.

    >>> _sorted(np.asarray([1.0, 3.0, 8.0]), np.asarray([2, 0, 1])), _sorted(np.asarray([1.0, 3.0]), np.asarray([0, 1]))
    (array([8., 1., 3.]), array([2.]))
    """
    if last.shape[-1] == 1:
        return last if order[0] == 0 else -last
    last = last[..., order]
    if len(order) > 2:
        return last
    return last[..., 1:] - last[..., :1]  # softmax of two is the sigmoid of what is between


def _accepted(estimator: Any) -> bool:
    """Whether scikit-learn takes all of its parameters."""
    try:
        estimator._validate_params()
    except ValueError:
        return False
    return True


def _chain_of(chain: tuple[Layer, ...]) -> tuple[str, str]:
    """scikit-learn's names of the activation between Dense layers, and of that at the end."""
    ours = {activations.get(one): name for name, one in _ENDS.items()}
    names, after_dense = [], False
    for index, layer in enumerate(chain):
        if isinstance(layer, IN_TRAINING_ALONE):
            continue
        if isinstance(layer, Dense) and layer.bias:
            if after_dense:
                names.append("identity")
            after_dense = True
        elif layer in ours and after_dense:
            names.append(ours[layer])
            after_dense = False
        else:
            raise TypeError(
                f"{layer}, layer {index}, is none that scikit-learn's MLP has: it takes Dense layers with a bias, "
                "between them one of identity, sigmoid, tanh and relu, and identity, sigmoid or softmax at the end"
            )
    *between, ending = [*names, *(["identity"] if after_dense else [])]
    if len(set(between)) > 1 or "softmax" in between or ending in ("tanh", "relu"):
        wanted = "one activation for all hidden layers, and identity, sigmoid or softmax at the end"
        raise TypeError(f"scikit-learn's MLP has {wanted}, got {between} and {ending}")
    return (between or ["identity"])[0], ending
