"""Streams, events and graphs as CUDA has them, on a CPU.

What goes to a stream other than the default one happens only when somebody waits for it, and what is captured happens
when the graph is launched: where a wait is forgotten, the numbers are wrong.
"""

from __future__ import annotations

import threading
from typing import Any


class Stream:
    """A queue of what is still to be done; the default stream has none, it does everything at once."""

    count = 0

    def __init__(self, non_blocking: bool = False, null: bool = False):
        Stream.count += 1
        self.ptr, self.null, self.queue = 0 if null else Stream.count, null, []
        self.recorded: list[Any] | None = None  # while it captures

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __enter__(self) -> Stream:
        STREAMS.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        STREAMS.pop()

    def put(self, work: Any) -> None:
        if self.recorded is not None:
            self.recorded.append(work)
        elif self.null:
            work()
        else:
            self.queue.append(work)

    def synchronize(self) -> None:
        assert self.recorded is None, "a capturing stream cannot be waited for"
        while self.queue:
            self.queue.pop(0)()

    def wait_event(self, event: Event) -> None:
        event.synchronize()

    def begin_capture(self, mode: Any = None) -> None:
        assert not self.null, "the default stream cannot capture"
        self.recorded = []

    def end_capture(self) -> Graph:
        assert self.recorded is not None
        graph, self.recorded = Graph(self.recorded), None
        return graph


class Graph:
    launched = 0

    def __init__(self, work: list[Any]):
        self.work = work

    def launch(self, stream: Stream | None = None) -> None:
        Graph.launched += 1
        for one in self.work:
            (stream or STREAMS[-1]).put(one)


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False):
        self.stream, self.until = None, 0

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or STREAMS[-1]
        self.left = list(self.stream.queue)

    def synchronize(self) -> None:
        if self.stream is not None:
            while any(work in self.stream.queue for work in self.left):
                self.stream.queue.pop(0)()


class Streams(threading.local):
    """The streams that each thread works on, the current one last."""

    def __init__(self) -> None:
        self.stack = [NULL]

    def __getitem__(self, index: int) -> Stream:
        return self.stack[index]

    def append(self, stream: Stream) -> None:
        self.stack.append(stream)

    def pop(self) -> None:
        self.stack.pop()


NULL = Stream(null=True)
STREAMS = Streams()


def put(work: Any) -> None:
    """Work for the current stream."""
    STREAMS[-1].put(work)
