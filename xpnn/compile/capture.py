"""Launches that are captured once and replayed as a CUDA graph, which costs the host one launch for all.

A graph knows addresses and no arrays: it is replayed where everything lies as it did, and what the launches needed in
between comes from a memory pool that the graph keeps. Source: NVIDIA, *CUDA C++ Programming Guide*, CUDA Graphs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

KEPT = 4
"""How many graphs a program keeps: the safety copy of each epoch takes the place that the one before it left."""


class Replay:
    """Replays what a program launches, for each place that its arrays lie in.

    What comes for the first time is launched as it is, so that kernels are compiled and nothing is captured that runs
    once; the second time it is captured, when `prepare` has made what cannot be made meanwhile. `reason` says why a
    capture failed; it is then tried no more.
    """

    def __init__(self, cupy: Any, prepare: Callable[[], Any] = lambda: None):
        self._cupy, self._prepare, self.reason = cupy, prepare, ""
        self._graphs: OrderedDict[Hashable, Any] = OrderedDict()
        self._stream: Any = None

    def __call__(self, places: Hashable, launch: Callable[[], None]) -> None:
        """Do what `launch` does, on the current stream."""
        if self.reason:
            launch()
        elif places not in self._graphs:
            launch()
            self._graphs[places] = None
            while len(self._graphs) > KEPT:
                self._graphs.popitem(last=False)
        else:
            self._graphs.move_to_end(places)
            held = self._graphs[places]
            if held is None:
                held = self._graphs[places] = self._captured(launch)
            launch() if held is None else held[0].launch()

    @property
    def captured(self) -> int:
        """How many graphs are kept."""
        return sum(held is not None for held in self._graphs.values())

    def _captured(self, launch: Callable[[], None]) -> Any:
        """A graph and the pool of its memory; None where something cannot be captured."""
        cuda = self._cupy.cuda
        if self._stream is None:
            self._stream = cuda.Stream(non_blocking=True)
        self._prepare()
        pool = cuda.MemoryPool()
        try:
            with self._stream, cuda.using_allocator(pool.malloc):
                self._stream.begin_capture()
                try:
                    launch()
                finally:
                    graph = self._stream.end_capture()
        except Exception as error:  # CUDA's errors, CuPy's refusals: the launches run as they are from now on
            cause = error.__context__ or error  # the end of a capture fails, too, where something in it did
            self.reason = f"{type(cause).__name__}: {cause}"
            self._graphs.clear()
            return None
        return graph, pool
