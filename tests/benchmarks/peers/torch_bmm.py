"""PyTorch, many networks at once: their parameters in stacks, `torch.baddbmm` for a layer of all, one fused Adam.

The loss is the sum of the networks' means, so each network's gradient is its own. Rows that all networks share are
gathered once and seen by each as a view.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from tests.benchmarks.peers import CannotRun, Run
from tests.benchmarks.peers.pytorch import data
from tests.benchmarks.workloads import Workload


def train(work: Workload, place: str) -> Run:
    import torch
    from torch.nn import functional

    if work.members == 1:
        raise CannotRun("one network needs no stack")
    if work.loss != "binary_cross_entropy" or work.optimizer != "adam":
        raise CannotRun("it is written for W7's loss and optimizer")
    x, y = data(work, place)
    members, wait = work.members, torch.cuda.synchronize if place.startswith("cuda") else lambda: None
    initial = [
        torch.from_numpy(array).to(place)
        for weight, bias in work.stacked()
        for array in (weight, bias.reshape(members, 1, -1))
    ]

    def logits(params: Any, h: Any) -> Any:
        for index in range(0, len(params), 2):
            h = torch.baddbmm(params[index + 1], torch.relu(h) if index else h, params[index])
        return h

    def batches(draws: Any) -> Any:
        if work.batch_size is None:
            return [(x.expand(members, -1, -1), y.expand(members, -1, -1))]
        orders = [torch.randperm(work.rows, device=place, generator=draw) for draw in draws]
        parts = torch.stack(orders).split(work.batch_size, dim=1)
        return ((gathered(x, rows), gathered(y, rows)) for rows in parts)

    def gathered(array: Any, rows: Any) -> Any:
        """(members, batch, columns), of shared rows a view."""
        return array.index_select(0, rows.flatten()).view(*rows.shape, -1).expand(members, -1, -1)

    def run(n: int) -> tuple[float, list[float]]:
        draws = [torch.Generator(place).manual_seed(work.seed(k)) for k in range(1 if work.shared else members)]
        params = [array.clone().requires_grad_() for array in initial]
        optimizer, history = torch.optim.Adam(params, lr=work.learning_rate, fused=True), []
        start = perf_counter()
        for _ in range(n):
            values = []
            for inputs, target in batches(draws):
                optimizer.zero_grad()
                out = logits(params, inputs)
                losses = functional.binary_cross_entropy_with_logits(out, target, reduction="none").mean(dim=(1, 2))
                losses.sum().backward()
                optimizer.step()
                values.append(losses.detach())
            history.append(torch.stack(values).mean().item())
        wait()
        return perf_counter() - start, history

    return run
