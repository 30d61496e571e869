"""Who is compared: for each library, a workload as a user of that library would write it.

A peer is a function `(workload, place) -> run`. `run(n)` trains a network for n epochs from `workload.initial()`, or at
inference calls it n times, and gives the seconds that took, with the loss of every epoch or the first row's output, by
which a test finds that all peers do the same. Counted are the shuffling, the gather of each batch, forward, loss,
backward, update, and the record of the loss, which every peer reads once an epoch. Not counted are making the data, in
the library's own arrays, the network and the optimizer, and what a library compiles. Only scikit-learn's `fit` makes
its network in the counted time, and xpnn's, like it, checks the input there; `worker.py` takes so many epochs that this
is below a hundredth.

Of many networks `run(n)` trains all for n epochs, and its seconds are those of all, also where it trained only some
and multiplied; its losses are means over the networks that it trained.

The networks, batches, types and optimizers are equal. Libraries are imported where they are used: a process holds one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from statistics import fmean

from tests.benchmarks.workloads import Workload

Run = Callable[[int], tuple[float, list[float]]]


class CannotRun(Exception):
    """This peer has not this workload, or not here; the message says why."""


def of_all(work: Workload, seconds: float, histories: Iterable[Iterable[float]]) -> tuple[float, list[float]]:
    """What a run gives, where the first `work.lone` networks took `seconds` and each had its losses of all epochs."""
    return seconds * work.members / work.lone, [fmean(each) for each in zip(*histories, strict=True)]


PEERS = {
    "limit": "limit:products",
    "xpnn": "ours:compiled",
    "xpnn jit": "ours:jit",
    "xpnn epilogues": "ours:epilogues",
    "xpnn eager": "ours:eager",
    "xpnn loop": "ours:loop",
    "tutorial script": "tutorial:script",
    "scikit-learn": "scikit_learn:estimator",
    "scikit-learn jobs": "scikit_learn:jobs",
    "PyTorch eager": "pytorch:eager",
    "PyTorch compile": "pytorch:compiled",
    "PyTorch graphs": "torch_graphs:graphs",
    "PyTorch bmm": "torch_bmm:train",
    "JAX step": "jax_jit:step",
    "JAX scan": "jax_jit:scan",
    "JAX vmap": "jax_jit:vmap",
    "Keras on JAX": "keras_on_jax:fit",
}
"""Each peer's module and function in this folder."""


def made(name: str, work: Workload, place: str) -> Run:
    """The peer of that name, ready to run `work` on the device `place`, which is the library's word for it.

    Raises CannotRun, or what the library raises where it, or the device, is not there.
    """
    module, _, function = PEERS[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), function)(work, place)
