"""Networks from PyTorch's modules and state dicts, and these from networks.

The names are PyTorch's but for one, and so are the shapes: a Linear's weight is (out, in) where that of Dense is (in,
out), and a PReLU's slope is called weight.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xpnn import activations, layers
from xpnn._arguments import as_list
from xpnn.layers import Layer
from xpnn.network import Network

Array = Any
COUNTED = "num_batches_tracked"
"""What every BatchNorm of PyTorch counts for itself; here the network does."""


def from_torch(source: Any, layers: Any = None, backend: Any = "numpy", dtype: Any = None) -> Network:
    """The network that a PyTorch module is, or that a state dict gives to `layers`: outputs at inference are the same.

    Parameters
    ----------
    source : a torch.nn.Sequential, nested where it is, of modules that this library has layers for; or a state dict.
        That a parameter is frozen, by requires_grad=False, is not carried.
    layers : for a state dict, which says nothing of activations: the layers, as `Network` takes them. Its entries go
        to the layers that have parameters in order, by number where they are numbered, as in a Sequential, and else as
        they come (safetensors sorts by name).
    backend, dtype : as in `Network`; dtype None is that of the module, float32 for half precision.

    Raises
    ------
    TypeError for a module that no layer is for, ValueError for entries that do not fit, each naming its place.

    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> print(from_torch(module))
    Network on numpy, float32, seed 0
      0  Dense(2, 3)  -> 3  9 parameters
      1  ReLU()       -> 3
      2  Dense(3, 1)  -> 1  4 parameters
    13 parameters
    """
    if isinstance(source, Mapping):
        return _from_state_dict(source, layers, backend, dtype)
    if not (hasattr(source, "state_dict") and hasattr(source, "children")):
        raise TypeError(f"source must be a torch.nn.Module or a state dict, got {source!r}")
    if layers is not None:
        return _from_state_dict(source.state_dict(), layers, backend, dtype)
    _check_apart(source)
    pairs = _layers_of(source, "")
    if not pairs:
        raise ValueError("source has no modules that a network could be made of")
    net = Network([layer for layer, _ in pairs], backend, dtype or _dtype_of(source.state_dict()))
    net.params = [params for _, params in pairs]
    return net


def _check_apart(module: Any) -> None:
    """Raise where two modules have one parameter: layers here have parameters of their own."""
    places: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if (first := places.setdefault(id(parameter), name)) != name:
            raise ValueError(
                f"source has one parameter in two places, {first} and {name}, which are trained as one in PyTorch and "
                "would not be here: give the second module a copy, by copy.deepcopy"
            )


def _dtype_of(state: Mapping[str, Any]) -> str:
    return "float64" if any(str(one.dtype) == "torch.float64" for one in state.values()) else "float32"


def _host(name: str, tensor: Any) -> np.ndarray:
    """A tensor's numbers, wherever they lie and however they are rounded."""
    if tensor.is_complex() or tensor.is_meta:
        raise TypeError(f"{name} must be real numbers in memory, got {tensor.dtype} on {tensor.device}")
    tensor = tensor.detach().cpu()
    wide = str(tensor.dtype) in ("torch.float32", "torch.float64")
    return np.array((tensor if wide else tensor.float()).numpy())


def _layers_of(module: Any, place: str) -> list[tuple[Layer, Any]]:
    """The layers that a module is, each with its parameters and state as `net.params` has them."""
    name = type(module).__name__
    known = type(module).__module__.startswith(("torch.nn.", "xpnn."))
    if module._forward_hooks or module._forward_pre_hooks:
        raise TypeError(_told(module, place, "without forward hooks, as weight_norm has them too, it can be taken"))
    if known and name in ("Sequential", "Residual"):
        children = module._modules.items()  # `named_children` leaves out one that comes again
        inside = [pair for key, child in children for pair in _layers_of(child, f"{place}.{key}".lstrip("."))]
        if name == "Sequential":
            return inside
        return [(layers.Residual(tuple(layer for layer, _ in inside)), [params for _, params in inside])]
    if name not in _MADE or not known:
        own = "For a model of your own, give its state dict and the layers that it is"
        none = f"there is no layer for it, a Sequential of {', '.join(_MADE)} can be taken. {own}"
        raise TypeError(_told(module, place, none))
    try:
        made = _MADE[name](module, place)
    except ValueError as error:
        raise ValueError(_told(module, place, str(error))) from None
    return [] if made is None else [(made, _arrays_of(made, module.state_dict()))]


def _arrays_of(layer: Layer, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A module's tensors as the layer has them, by its own names."""
    found = {name: _host(name, tensor) for name, tensor in tensors.items() if name != COUNTED}
    if isinstance(layer, layers.Dense) and "weight" in found:
        found["weight"] = found["weight"].T
    if isinstance(layer, layers.PReLU) and "weight" in found:
        found["slope"] = found.pop("weight")
    return found


def _told(module: Any, place: str, wanted: str) -> str:
    return f"module {place or 'source'} is {module}: {wanted}"


def _softmax(kind: Layer) -> Callable[[Any, str], Layer]:
    def made(module: Any, place: str) -> Layer:
        if module.dim not in (1, -1):
            raise TypeError(_told(module, place, "over the features, dim=-1, is what can be taken"))
        return kind

    return made


def _batch_norm(module: Any, place: str) -> Layer:
    if not module.affine or not module.track_running_stats or module.momentum is None or module.bias is None:
        wanted = "with affine=True, a bias, track_running_stats=True and a momentum it can be taken"
        raise TypeError(_told(module, place, wanted))
    return layers.BatchNorm(module.num_features, eps=module.eps, momentum=module.momentum)


def _layer_norm(module: Any, place: str) -> Layer:
    shape = tuple(module.normalized_shape)
    if len(shape) != 1 or not module.elementwise_affine:
        raise TypeError(_told(module, place, "over one axis, with elementwise_affine=True, it can be taken"))
    if type(module).__name__ == "RMSNorm":
        eps = _torch().finfo(module.weight.dtype).eps if module.eps is None else module.eps
        return layers.RMSNorm(shape[0], eps=eps)
    return layers.LayerNorm(shape[0], eps=module.eps, bias=module.bias is not None)


def _softplus(module: Any, place: str) -> Layer:
    if module.beta != 1.0 or module.threshold != 20.0:
        raise TypeError(_told(module, place, "with beta=1 and threshold=20 it can be taken"))
    return activations.softplus


def _flatten(module: Any, place: str) -> None:
    """Rows of features need none."""
    if (module.start_dim, module.end_dim) != (1, -1):
        wanted = "with start_dim=1 and end_dim=-1, where rows need no such step, it is left out"
        raise TypeError(_told(module, place, wanted))


def _embedding(module: Any, place: str) -> Layer:
    if module.padding_idx is not None or module.max_norm is not None or module.scale_grad_by_freq:
        wanted = "without padding_idx, max_norm and scale_grad_by_freq it can be taken"
        raise TypeError(_told(module, place, wanted))
    return layers.Embedding(module.num_embeddings, module.embedding_dim, getattr(module, "columns", 1))


_PLAIN = {"ReLU": "relu", "SELU": "selu", "Softplus": "softplus", "SiLU": "silu", "GELU": "gelu", "Mish": "mish"}
_PLAIN |= {"Hardsigmoid": "hard_sigmoid", "Hardswish": "hard_swish", "Sigmoid": "sigmoid", "Tanh": "tanh"}
_PLAIN |= {"Softsign": "softsign", "Identity": "identity"}
"""Activations without numbers of their own, by the names of PyTorch's modules."""
_MADE: dict[str, Callable[[Any, str], Layer | None]] = {
    name: lambda m, _, one=one: activations.get(one) for name, one in _PLAIN.items()
} | {
    "Linear": lambda m, _: layers.Dense(m.in_features, m.out_features, bias=m.bias is not None),
    "LeakyReLU": lambda m, _: activations.LeakyReLU(m.negative_slope),
    "ELU": lambda m, _: activations.ELU(m.alpha),
    "Softplus": _softplus,
    "GELU": lambda m, _: activations.gelu if m.approximate == "none" else activations.gelu_tanh,
    "Softmax": _softmax(activations.softmax),
    "LogSoftmax": _softmax(activations.log_softmax),
    "PReLU": lambda m, _: layers.PReLU(m.num_parameters),
    "Dropout": lambda m, _: layers.Dropout(m.p),
    "BatchNorm1d": _batch_norm,
    "LayerNorm": _layer_norm,
    "RMSNorm": _layer_norm,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "Identity": lambda m, _: None,
    "Standardize": lambda m, _: layers.Standardize(m.mean.tolist(), m.scale.tolist(), m.inverse),
}


def _from_state_dict(state: Mapping[str, Any], given: Any, backend: Any, dtype: Any) -> Network:
    if given is None:
        raise ValueError(
            "layers must be given with a state dict, which says nothing of activations: "
            "from_torch(state_dict, layers=mlp([2, 8, 1]))"
        )
    for key, value in state.items():
        if not hasattr(value, "detach"):
            raise TypeError(
                f"source must be a state dict, names and tensors, got {key!r} with {type(value).__name__}: of a "
                'checkpoint take its part, checkpoint["state_dict"] say'
            )
    chosen = given.layers if isinstance(given, Network) else as_list("layers", given)
    net = Network(chosen, backend, dtype or _dtype_of(state))
    groups: dict[str, dict[str, Any]] = {}
    for key, tensor in state.items():
        module, _, name = key.rpartition(".")
        if name != COUNTED:
            groups.setdefault(module, {})[name] = tensor
    params = net.params
    wanted = [(place, layer, arrays) for place, layer, arrays in _leaves(net.layers, params) if arrays]
    if len(groups) != len(wanted):
        raise ValueError(
            f"the state dict has entries of {len(groups)} modules, {', '.join(groups)}, and layers with parameters are "
            f"{len(wanted)}: {', '.join(f'{layer}, layer {place}' for place, layer, _ in wanted) or 'none'}"
        )
    for (place, layer, arrays), module in zip(wanted, _in_order(groups), strict=True):
        found = _arrays_of(layer, groups[module])
        shapes = [{name: tuple(one.shape) for name, one in each.items()} for each in (found, arrays)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{layer}, layer {place}, has {shapes[1]}; {module or 'the state dict'} gives {shapes[0]}")
        arrays.update(found)
    net.params = params
    return net


def _in_order(modules: Iterable[str]) -> list[str]:
    """Names of modules by their numbers, where they are numbered; else as they come.

    >>> _in_order(["net.0", "net.10", "net.2"]), _in_order(["out", "hidden"])
    (['net.0', 'net.2', 'net.10'], ['out', 'hidden'])
    """
    parts = {module: module.split(".") for module in modules}
    common = 0
    while len(parts) > 1 and len({tuple(each[: common + 1]) for each in parts.values()}) == 1:
        common += 1
    if not all(part.isdigit() for each in parts.values() for part in each[common:]):
        return list(parts)
    return sorted(parts, key=lambda module: [int(part) for part in parts[module][common:]])


def _leaves(chain: Sequence[Layer], params: Any, place: str = "") -> Iterator[tuple[str, Layer, dict[str, Array]]]:
    """Every layer that is no container, with its place and its arrays."""
    for index, (layer, own) in enumerate(zip(chain, params, strict=True)):
        if isinstance(own, list):
            yield from _leaves(layer.children, own, f"{place}{index}.")
        else:
            yield f"{place}{index}", layer, own


def to_torch(net: Network) -> Any:
    """The network as a torch.nn.Sequential with a module for each layer, whose outputs in eval mode are the same.

    It is in eval mode; its parameters are copies.

    >>> from xpnn import mlp
    >>> to_torch(Network(mlp([2, 3, 1], "tanh")))
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): Tanh()
      (2): Linear(in_features=3, out_features=1, bias=True)
    )

    Raises
    ------
    ImportError without PyTorch; TypeError for a stack (take net[k]), and for a layer that PyTorch has no module for.
    """
    check_lone("net", net)
    module = _sequence(net.layers, "")
    module = module.double() if net.backend.dtype == "float64" else module
    module.load_state_dict(to_torch_state_dict(net))
    return module.eval()


def to_torch_state_dict(net: Network) -> dict[str, Any]:
    """The network's numbers as PyTorch's tensors under its names: what the Sequential with a module a layer loads.

    >>> from xpnn import mlp
    >>> {name: tuple(one.shape) for name, one in to_torch_state_dict(Network(mlp([2, 3]))).items()}
    {'0.weight': (3, 2), '0.bias': (3,)}
    """
    check_lone("net", net)
    torch, state = _torch(), {}
    for place, layer, arrays in _leaves(net.layers, net.params):
        for name, array in arrays.items():
            host = np.array(net.backend.to_host(array))
            host = np.ascontiguousarray(host.T) if isinstance(layer, layers.Dense) and name == "weight" else host
            state[f"{place}.{'weight' if name == 'slope' else name}"] = torch.from_numpy(host)
        if isinstance(layer, layers.BatchNorm):
            state[f"{place}.{COUNTED}"] = torch.tensor(net.progress.step, dtype=torch.int64)
    return state


def check_lone(name: str, net: Any) -> None:
    """Raise TypeError for what is no network, or is many."""
    if not isinstance(net, Network):
        raise TypeError(f"{name} must be a Network, got {net!r}")
    if net.members is not None:
        raise TypeError(f"{name} must be one network, got a stack of {net.members}: give one of them, net[k]")


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise ImportError(f"{error}: pip install torch, to exchange networks with PyTorch") from None


def _sequence(chain: Sequence[Layer], place: str) -> Any:
    nn = _torch().nn
    return nn.Sequential(*(_module(layer, f"{place}{index}", nn) for index, layer in enumerate(chain)))


def _module(layer: Layer, place: str, nn: Any) -> Any:
    """The module for a layer, with numbers of its own yet."""
    if isinstance(layer, layers.Sequential):
        return _sequence(layer.children, f"{place}.")
    own = importlib.import_module("xpnn.exchange.modules")
    if isinstance(layer, layers.Residual):
        return own.Residual(*_sequence(layer.children, f"{place}."))
    torch = _torch()
    kinds: dict[Any, Callable[[Any], Any]] = {
        layers.Dense: lambda one: nn.Linear(one.in_features, one.out_features, one.bias),
        layers.BatchNorm: lambda one: nn.BatchNorm1d(one.features, one.eps, one.momentum),
        layers.LayerNorm: lambda one: nn.LayerNorm(one.features, one.eps, bias=one.bias),
        layers.RMSNorm: lambda one: nn.RMSNorm(one.features, one.eps),
        layers.PReLU: lambda one: nn.PReLU(one.features),
        layers.Embedding: lambda one: own.Embedding(one.count, one.features, one.columns),
        layers.Flatten: lambda _: nn.Flatten(),
        layers.Dropout: lambda one: nn.Dropout(_number(one.rate)),
        layers.Standardize: lambda one: own.Standardize(torch.tensor(one.mean), torch.tensor(one.scale), one.inverse),
        activations.LeakyReLU: lambda one: nn.LeakyReLU(one.negative_slope),
        activations.ELU: lambda one: nn.ELU(one.alpha),
        type(activations.softmax): lambda one: nn.Softmax(-1),
        type(activations.log_softmax): lambda one: nn.LogSoftmax(-1),
        type(activations.gelu_tanh): lambda one: nn.GELU(approximate="tanh"),
    }
    kinds |= {type(activations.get(one)): lambda _, name=name: getattr(nn, name)() for name, one in _PLAIN.items()}
    if type(layer) not in kinds:
        raise TypeError(f"{layer}, layer {place}, has no module in PyTorch that would do the same")
    return kinds[type(layer)](layer)


def _number(rate: Any) -> Any:
    """A rate as PyTorch's Dropout takes it; that of a schedule's beginning."""
    return rate(0) if callable(rate) else rate
