"""Rows on their way from the host to the device: on a GPU the next ones are read and copied while these are computed.

A thread reads the rows of what comes next, puts them into memory that the system may not move ("pinned"), and has them
copied on a stream of its own. Two such buffers take turns. Nobody waits on the host but for a buffer that is still
being copied: streams wait for each other by events. Source: NVIDIA, *CUDA C++ Best Practices Guide*.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import Any, Self

import numpy as np

from xpnn.backend import Backend
from xpnn.inputs import Data

Array = Any


def upload(data: Data, backend: Backend) -> Data:
    """Data of the host, as `inputs.data` gives it there, on the device."""
    return Data(*(None if array is None else backend.asarray(array, dtype=None) for array in data))


def uploaded(read: Callable[[Any], Data], places: Iterable[Any], backend: Backend) -> Iterator[tuple[Any, Data]]:
    """Each place with its rows on the device, as `read(place)` gives them on the host, in their order.

    What is handed out must be let go of before the next is asked for. Elsewhere than on a GPU each is read when it is
    asked for. Raises what `read` raises, in its turn.
    """
    if backend.name != "cupy":
        for place in places:
            yield place, upload(read(place), backend)
        return
    copier = Copier(backend)
    with copier, ThreadPoolExecutor(1, "xpnn-read-ahead") as thread:  # waits for what it is at, however this ends
        coming: tuple[Any, Future[tuple[Data, Any]]] | None = None
        for place in places:
            following = place, thread.submit(copier.copied, read, place)
            if coming is not None:
                yield coming[0], copier.handed(coming[1].result())
                copier.done()
            coming = following
        if coming is not None:
            yield coming[0], copier.handed(coming[1].result())
            copier.done()


class Copier:
    """Copies rows to a GPU behind the back of what computes there."""

    def __init__(self, backend: Backend):
        self._cupy, self._device = import_module("cupy"), backend.device
        self._empty_pinned = import_module("cupyx").empty_pinned
        with self._cupy.cuda.Device(self._device.id):
            self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._turn = 0
        self._buffers: list[dict[int, np.ndarray]] = [{}, {}]
        self._copied: list[Any] = [None, None]
        self.done()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stream.synchronize()  # before the buffers, and memory that nobody took, are another's

    def copied(self, read: Callable[[Any], Data], place: Any) -> tuple[Data, Any]:
        """In the thread: the rows in memory of the device, which they are on their way to, and when they are there."""
        data = read(place)
        with self._cupy.cuda.Device(self._device.id):
            turn, self._turn = self._turn, 1 - self._turn
            if self._copied[turn] is not None:
                self._copied[turn].synchronize()  # the buffer is still being read
            with self._stream:
                found = Data(*(self._sent(array, turn, k) for k, array in enumerate(data)))
                event = self._cupy.cuda.Event(disable_timing=True)
                event.record(self._stream)
            self._copied[turn] = event
        return found, event

    def handed(self, found: tuple[Data, Any]) -> Data:
        """The rows for the current stream, which waits for them."""
        data, event = found
        self._cupy.cuda.get_current_stream().wait_event(event)
        return data

    def done(self) -> None:
        """Everything that reads what was handed out so far has been launched."""
        event = self._cupy.cuda.Event(disable_timing=True)
        event.record(self._cupy.cuda.get_current_stream())
        self._used = event

    def _sent(self, array: np.ndarray | None, turn: int, field: int) -> Array:
        if array is None:
            return None
        held = self._buffers[turn].get(field)
        if held is None or held.nbytes < array.nbytes:
            held = self._buffers[turn][field] = self._empty_pinned((array.nbytes,), np.uint8)
        pinned = held[: math.prod(array.shape) * array.itemsize].view(array.dtype).reshape(array.shape)
        pinned[...] = array
        found = self._cupy.empty(array.shape, array.dtype)
        self._stream.wait_event(self._used)  # it may be memory that was let go of this moment, and is still being read
        found.set(pinned, stream=self._stream)
        return found
