"""PyTorch under CUDA graphs: the whole step, from the gather to the update, captured once and replayed.

It is captured as PyTorch's documentation captures a whole network (CUDA semantics, CUDA Graphs): after some steps on a
side stream, with inputs that stay where they are. Those are the numbers of a batch's rows, copied there in each step;
the data, the parameters and Adam's state stand. Losses are added up inside the graph and read once an epoch. Many
networks are one step of stacks, as in `torch_bmm.py`. A last batch with fewer rows has a graph of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from tests.benchmarks.peers import CannotRun, Run, torch_bmm
from tests.benchmarks.peers.pytorch import criterion, data, network, optimizer_of, predictor, waiting
from tests.benchmarks.workloads import Workload

WARM = 3
"""Steps before the capture, which the documentation asks for."""
Capture = Callable[[Callable[[], None]], Callable[[], None]]


def graphs(work: Workload, place: str) -> Run:
    import torch

    if not place.startswith("cuda") or not torch.cuda.is_available():
        raise CannotRun("CUDA graphs are captured on a GPU")
    wait = waiting(place)
    return (train if work.optimizer else predict)(work, place, captured, wait)


def captured(work: Callable[[], None]) -> Callable[[], None]:
    """What replays `work`, which reads and writes the same memory in every call."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class Learner(NamedTuple):
    """One network or a stack of them."""

    params: list[Any]
    losses: Callable[[Any], Any]  # by the numbers of a batch's rows, None for all: of each network
    orders: Callable[[], Callable[[], Any]]  # begun anew, what draws the rows of the next epoch, the last axis


def train(work: Workload, place: str, capture: Capture, wait: Callable[[], None]) -> Run:
    """The training, with `capture` to make of a step what replays it."""
    import torch

    learner = (_stack if work.members > 1 else _lone)(work, place)
    params, initial = learner.params, [array.detach().clone() for array in learner.params]
    optimizer = optimizer_of(work, params, capturable=place.startswith("cuda"))
    total = torch.zeros(work.members, dtype=params[0].dtype, device=place)

    def step(rows: Any) -> None:
        losses = learner.losses(rows)
        (losses.sum() if losses.ndim else losses).backward()
        optimizer.step()
        optimizer.zero_grad()  # gradients must not be there yet when a graph makes them in memory of its own
        total.add_(losses.detach())

    first = learner.orders()() if work.batch_size else None
    sizes = [work.batch] * (work.rows >= work.batch) + [work.rest] * (work.rest > 0)
    places: list[Any] = [None if first is None else first[..., :size].contiguous() for size in sizes]
    replays = [capture(lambda rows=rows: step(rows)) for rows in places]
    by_size = dict(zip(sizes, zip(places, replays, strict=True), strict=True))

    def restore() -> None:
        with torch.no_grad():
            for array, value in zip(params, initial, strict=True):
                array.copy_(value)
        for state in optimizer.state.values():
            for value in state.values():
                if value is not None:
                    value.zero_()

    def run(n: int) -> tuple[float, list[float]]:
        restore()
        order, history = learner.orders(), []
        wait()
        start = perf_counter()
        for _ in range(n):
            total.zero_()
            if work.batch_size is None:
                replays[0]()
            else:
                for rows in order().split(work.batch_size, dim=-1):
                    where, replay = by_size[rows.shape[-1]]
                    where.copy_(rows)
                    replay()
            history.append(total.mean().item() / work.steps)
        return perf_counter() - start, history

    return run


def predict(work: Workload, place: str, capture: Capture, wait: Callable[[], None]) -> Run:
    """The forward pass, whose output stays in the same place."""
    import torch

    x, _ = data(work, place)
    forward, found = predictor(work, place), []

    def call() -> None:
        found[:] = [forward(x)]

    with torch.inference_mode():
        replay = capture(call)

    def run(n: int) -> tuple[float, list[float]]:
        start = perf_counter()
        for _ in range(n):
            replay()
        wait()
        return perf_counter() - start, found[0][0].tolist()

    return run


def _lone(work: Workload, place: str) -> Learner:
    import torch

    (x, y), net, of = data(work, place), network(work, 0).to(place), criterion(work)

    def losses(rows: Any) -> Any:
        if rows is None:
            return of(net(x), y)
        return of(net(x.index_select(0, rows)), y.index_select(0, rows))

    def orders() -> Callable[[], Any]:
        torch.manual_seed(work.seed(0))
        return lambda: torch.randperm(work.rows, device=place)

    return Learner(list(net.parameters()), losses, orders)


def _stack(work: Workload, place: str) -> Learner:
    torch_bmm.refuse(work)
    x, y = data(work, place)
    params = [array.requires_grad_() for array in torch_bmm.parameters(work, place)]

    def losses(rows: Any) -> Any:
        if rows is None:
            return torch_bmm.losses_of(params, *torch_bmm.shared(work, x, y))
        inputs, target = (torch_bmm.gathered(work, array, rows) for array in (x, y))
        return torch_bmm.losses_of(params, inputs, target)

    def orders() -> Callable[[], Any]:
        draws = torch_bmm.generators(work, place)
        return lambda: torch_bmm.order(work, place, draws)

    return Learner(params, losses, orders)
