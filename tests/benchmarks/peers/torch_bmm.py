"""PyTorch, many networks at once: their parameters in stacks, `torch.baddbmm` for a layer of all, one fused Adam.

The loss is the sum of the networks' means, so each network's gradient is its own. Rows that all networks share are
gathered once and seen by each as a view.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from tests.benchmarks.peers import CannotRun, Run
from tests.benchmarks.peers.pytorch import data, optimizer_of, waiting
from tests.benchmarks.workloads import Workload


def train(work: Workload, place: str) -> Run:
    import torch

    wait = waiting(place)
    refuse(work)
    (x, y), initial = data(work, place), parameters(work, place)

    def batches(draws: Any) -> Any:
        if work.batch_size is None:
            return [shared(work, x, y)]
        parts = order(work, place, draws).split(work.batch_size, dim=1)
        return ((gathered(work, x, rows), gathered(work, y, rows)) for rows in parts)

    def run(n: int) -> tuple[float, list[float]]:
        draws = generators(work, place)
        params = [array.clone().requires_grad_() for array in initial]
        optimizer, history = optimizer_of(work, params), []
        start = perf_counter()
        for _ in range(n):
            values = []
            for inputs, target in batches(draws):
                optimizer.zero_grad()
                losses = losses_of(params, inputs, target)
                losses.sum().backward()
                optimizer.step()
                values.append(losses.detach())
            history.append(torch.stack(values).mean().item())
        wait()
        return perf_counter() - start, history

    return run


def refuse(work: Workload) -> None:
    """Raise CannotRun where the workload is not one of many networks as it is written for."""
    if work.members == 1:
        raise CannotRun("one network needs no stack")
    if work.loss != "binary_cross_entropy" or work.optimizer != "adam":
        raise CannotRun("it is written for W7's loss and optimizer")


def parameters(work: Workload, place: str) -> list[Any]:
    """Weight (members, inputs, outputs) and bias (members, 1, outputs) of each layer, one after another."""
    import torch

    return [
        torch.from_numpy(array).to(place)
        for weight, bias in work.stacked()
        for array in (weight, bias.reshape(work.members, 1, -1))
    ]


def losses_of(params: Any, h: Any, target: Any) -> Any:
    """Each network's mean loss, (members,)."""
    import torch
    from torch.nn import functional

    for index in range(0, len(params), 2):
        h = torch.baddbmm(params[index + 1], torch.relu(h) if index else h, params[index])
    return functional.binary_cross_entropy_with_logits(h, target, reduction="none").mean(dim=(1, 2))


def generators(work: Workload, place: str) -> list[Any]:
    """What draws the orders: one for each network, or one for all."""
    import torch

    members = range(1 if work.shared else work.members)
    return [torch.Generator(place).manual_seed(work.seed(member)) for member in members]


def order(work: Workload, place: str, draws: list[Any]) -> Any:
    """The rows of an epoch, (members, rows), or (1, rows) where all share them."""
    import torch

    return torch.stack([torch.randperm(work.rows, device=place, generator=draw) for draw in draws])


def gathered(work: Workload, array: Any, rows: Any) -> Any:
    """(members, batch, columns), of shared rows a view."""
    return array.index_select(0, rows.flatten()).view(*rows.shape, -1).expand(work.members, -1, -1)


def shared(work: Workload, x: Any, y: Any) -> tuple[Any, Any]:
    """All rows, as every network sees them."""
    return x.expand(work.members, -1, -1), y.expand(work.members, -1, -1)
