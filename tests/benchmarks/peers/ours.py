"""xpnn: `Network.fit` and `Network.predict`, compiled, as they are without being told or by numba, and eager.

Many networks are one stack, or one after another where the peer is the loop. Reading an epoch's loss waits for the
device, and so does bringing a prediction to the host: a GPU has finished when the clock is read.
"""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from tests.benchmarks.peers import CannotRun, Run, of_all
from tests.benchmarks.workloads import Workload


def compiled(work: Workload, place: str) -> Run:
    """The step, or the forward pass, as the plan that it was traced to; where that failed, an error and no figure."""
    warnings.filterwarnings("error", message=".* is not compiled")
    return _run(work, place, compile=True)


def jit(work: Workload, place: str) -> Run:
    """The same plan with loops that numba compiles, for NumPy."""
    if find_spec("numba") is None or work.optimizer is None:
        raise CannotRun("numba is not installed" if work.optimizer else "outputs are not computed by loops of numba's")
    return _run(work, place, compile="jit")


def epilogues(work: Workload, place: str) -> Run:
    """The step with biases, ReLU and biases' gradients in the launches of products, on a GPU."""
    if not place.startswith("cupy"):
        raise CannotRun("cuBLASLt is a GPU's")
    os.environ["XPNN_EPILOGUES"] = "1"  # of this process, which is this peer's alone
    return compiled(work, place)


def eager(work: Workload, place: str) -> Run:
    """The mathematics as it is written."""
    return _run(work, place, compile=False)


def loop(work: Workload, place: str) -> Run:
    """Compiled, the lone network of each seed, one after another."""
    if work.members == 1:
        raise CannotRun("one network is xpnn's own figure")
    warnings.filterwarnings("error", message=".* is not compiled")
    nets = [network(work, place, member) for member in range(work.lone)]
    x, y = data(work, nets[0])
    runs = [_train(work, net, x, y, compile=True) for net in nets]

    def run(n: int) -> tuple[float, list[float]]:
        found = [one(n) for one in runs]
        return of_all(work, sum(seconds for seconds, _ in found), (losses for _, losses in found))

    return run


def _run(work: Workload, place: str, compile: bool | str) -> Run:
    net = network(work, place, None if work.members > 1 else 0)
    x, y = data(work, net)
    if work.optimizer is not None:
        return _train(work, net, x, y, compile)

    def predict(n: int) -> tuple[float, list[float]]:
        start = perf_counter()
        for _ in range(n):
            out = net.predict(x, compile=bool(compile))
        first = net.backend.to_host(out[:1, :])
        return perf_counter() - start, first[0].tolist()

    return predict


def network(work: Workload, place: str, member: int | None) -> Any:
    """A network, or with None the stack of all."""
    import xpnn

    layers: Any = xpnn.mlp(work.widths, "relu", work.output)
    kind: dict[str, Any] = {"backend": place, "dtype": work.dtype}
    if member is None:
        net, values = xpnn.Network(layers, members=work.members, **kind), work.stacked()
    else:
        net, values = xpnn.Network(layers, seed=work.seed(member), **kind), work.initial(member)
    initial = net.params
    learned = [params for params in initial if "weight" in params]
    for params, (weight, bias) in zip(learned, values, strict=True):
        params["weight"], params["bias"] = net.backend.asarray(weight), net.backend.asarray(bias)
    net.params = initial
    return net


def data(work: Workload, net: Any) -> tuple[Any, Any]:
    """x and y as the network's own arrays."""
    x, y = work.data()
    return net.backend.asarray(x), net.backend.asarray(y, dtype=None)


def optimizer_of(work: Workload) -> Any:
    import xpnn

    return (xpnn.SGD if work.optimizer == "sgd" else xpnn.Adam)(work.learning_rate)


def _train(work: Workload, net: Any, x: Any, y: Any, compile: bool | str) -> Run:
    initial, lone = net.params, net.members is None
    options: dict[str, Any] = {"loss": work.loss, "optimizer": optimizer_of(work), "batch_size": work.batch_size}
    options["shuffle"] = True if lone or not work.shared else "shared"

    def train(n: int) -> tuple[float, list[float]]:
        net.reset()
        net.params = initial
        # What is compiled is so in an epoch of its own, which no peer's time holds.
        losses = net.fit(x, y, epochs=1, compile=compile, **options)["loss"]
        start = perf_counter()
        losses = losses + net.fit(x, y, epochs=n, compile=compile, **options)["loss"]
        seconds = perf_counter() - start
        _tell(net)
        return seconds, [loss if lone else float(loss.mean()) for loss in losses[:n]]

    return train


def _tell(net: Any) -> None:
    """Warn where a step on a GPU could not be captured as a graph: what is measured then are its launches."""
    for traced in net._prepared[0].traced.values():
        replay = getattr(traced.program, "replay", None)
        if replay is not None and replay.reason:
            warnings.warn(f"no CUDA graph of the step: {replay.reason}", RuntimeWarning, stacklevel=2)
