"""PyTorch: the loop of its tutorials, with the data as one tensor and the fused optimizer; eager, and by torch.compile.

Compiled are the network and the loss as one function; its backward pass is compiled with it. Many networks are trained
one after another; all at once, as products of stacks, they are in `torch_bmm.py`. On a GPU the products of float32
numbers are computed in float32, as xpnn's are. The step as a CUDA graph is in `torch_graphs.py`.
"""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any

from tests.benchmarks.peers import CannotRun, Run, of_all
from tests.benchmarks.workloads import Workload


def eager(work: Workload, place: str) -> Run:
    return _run(work, place, lambda function: function)


def compiled(work: Workload, place: str) -> Run:
    """Its run raises CannotRun where torch.compile fails, for want, say, of the C++ compiler that it needs."""
    import torch

    if work.members > 1:
        raise CannotRun("it is measured on one network, W2")
    torch.compiler.reset()  # what it has seen of another workload would make it compile for any shape
    inner = _run(work, place, partial(torch.compile, dynamic=False))

    def run(n: int) -> tuple[float, list[float]]:
        try:
            return inner(n)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise CannotRun(f"torch.compile: {type(error).__name__}: {reason}") from error

    return run


def _run(work: Workload, place: str, through: Any) -> Run:
    import torch

    wait = waiting(place)
    x, y = data(work, place)
    if work.optimizer is None:
        forward = through(predictor(work, place))

        def predict(n: int) -> tuple[float, list[float]]:
            with torch.inference_mode():
                start = perf_counter()
                for _ in range(n):
                    out = forward(x)
                wait()
                return perf_counter() - start, out[0].tolist()

        return predict
    of = criterion(work)
    nets = [network(work, member).to(place) for member in range(work.lone)]
    initial = [copy.deepcopy(net.state_dict()) for net in nets]
    losses = [through(lambda inputs, target, net=net: of(net(inputs), target)) for net in nets]

    def batches() -> Any:
        if work.batch_size is None:
            return [(x, y)]
        order = torch.randperm(work.rows, device=place).split(work.batch_size)
        return ((x.index_select(0, rows), y.index_select(0, rows)) for rows in order)

    def one(n: int, member: int) -> tuple[float, list[float]]:
        torch.manual_seed(work.seed(member))
        net, loss_of, history = nets[member], losses[member], []
        net.load_state_dict(initial[member])
        optimizer = optimizer_of(work, net.parameters())
        start = perf_counter()
        for _ in range(n):
            values = []
            for inputs, target in batches():
                optimizer.zero_grad()
                loss = loss_of(inputs, target)
                loss.backward()
                optimizer.step()
                values.append(loss.detach())
            history.append(torch.stack(values).mean().item())
        return perf_counter() - start, history

    def train(n: int) -> tuple[float, list[float]]:
        found = [one(n, member) for member in range(work.lone)]
        return of_all(work, sum(seconds for seconds, _ in found), (losses for _, losses in found))

    return train


def waiting(place: str) -> Any:
    """What waits for the device, which becomes the current one; raises RuntimeError where there is none."""
    if not place.startswith("cuda"):
        return lambda: None
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"PyTorch {torch.__version__} finds no CUDA here")
    if ":" in place:
        torch.cuda.set_device(place)
    torch.set_float32_matmul_precision("highest")
    return torch.cuda.synchronize


def criterion(work: Workload) -> Any:
    """The mean loss of the network's output and the target."""
    from torch import nn

    kinds = {"binary_cross_entropy": nn.BCEWithLogitsLoss, "softmax_cross_entropy": nn.CrossEntropyLoss}
    return kinds.get(work.loss, nn.MSELoss)()


def optimizer_of(work: Workload, parameters: Any, capturable: bool = False) -> Any:
    """Fused SGD or Adam; of the two only Adam counts its steps, which a graph must be told of."""
    import torch

    if work.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=work.learning_rate, fused=True)
    return torch.optim.Adam(parameters, lr=work.learning_rate, fused=True, capturable=capturable)


def predictor(work: Workload, place: str) -> Any:
    """The network with the softmax that ends it at inference."""
    from torch import nn

    return nn.Sequential(network(work, 0).to(place), nn.Softmax(dim=1))


def data(work: Workload, place: str) -> tuple[Any, Any]:
    """x (rows, features), and y (rows, 1) of numbers or (rows,) of classes."""
    import torch

    x, y = (torch.from_numpy(array).to(place) for array in work.data())
    return x, y.to(x.dtype).unsqueeze(1) if work.output == "sigmoid" else y


def network(work: Workload, member: int) -> Any:
    """Up to the logits; a sigmoid ends it where the loss is the squared error."""
    import torch
    from torch import nn

    layers = [part for sizes in pairwise(work.widths) for part in (nn.Linear(*sizes), nn.ReLU())]
    last = [nn.Sigmoid()] if work.loss == "mean_squared_error" else []
    net = nn.Sequential(*layers[:-1], *last).to(getattr(torch, work.dtype))
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, (weight, bias) in zip(linear, work.initial(member), strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
    return net
