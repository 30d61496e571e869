"""What a device's memory was too small for, told as an error that says how much was needed and what would fit.

A planned step takes `fixed + rows * row` bytes, which two plans tell: they are made on the host, once memory has run
out. Figures are "about": a pool rounds up, and libraries have workspaces of their own.
"""

import inspect
import traceback
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from xpnn.availability import OutOfDeviceMemory
from xpnn.compile.cublas import workspace
from xpnn.compile.explain import traced_step, unit
from xpnn.progress import START, map_arrays

PLANNED = 64, 128
"""Rows of the batches whose plans are compared."""
SHARE = 0.9
"""Of the free memory that a batch may take: memory is handed out in whole pages."""


class Need(NamedTuple):
    """Bytes on the device."""

    data: int  # what the caller gave that is not there yet
    fixed: int  # of a step, whatever its rows
    row: int  # of a step, each row

    def of(self, rows: int) -> int:
        return self.data + self.fixed + rows * self.row

    def fitting(self, free: int) -> int:
        """How many rows a batch may have.

        >>> Need(0, 100, 10).fitting(1000), Need(0, 1000, 10).fitting(1000)
        (80, 0)
        """
        return max(0, int(SHARE * free - self.data - self.fixed) // self.row)


def explained(net: Any, function: Any, args: Any, options: Any, error: Exception) -> OutOfDeviceMemory:
    """The error to raise for `error`, of a public method of `net`.

    What the call held on the device is let go first: an error keeps the arrays of every function that it came through.
    """
    name, told = function.__name__, str(error).partition("\n")[0]
    given = inspect.signature(function).bind_partial(net, *args, **options)
    given.apply_defaults()
    if "_outputs" in net.__dict__:
        net._forget()
    traceback.clear_frames(error.__traceback__)
    error.__traceback__ = None  # frames hold their closures still
    start = f"{name.strip('_')} on {net.backend} ran out of memory"
    free = free_bytes(net.backend)
    try:
        text = advice(need_of(net, given.arguments), given.arguments, free)
    except Exception:  # a network that cannot be traced, or is not whole yet: what is known is told
        text = f"{amount(free)} are free: give it fewer rows at once, or a smaller network"
    return OutOfDeviceMemory(f"{start}: {text} ({told})")


def need_of(net: Any, given: dict[str, Any]) -> Need:
    """What a step takes beside the parameters that are there already: for `predict` and the like, as an upper bound."""
    loss, optimizer = net._loss_of(given.get("loss")), net._optimizer_of(given.get("optimizer"))
    data = sum(bytes_of(given.get(name), net.backend) for name in ("x", "y", "sample_weight"))
    twin = net.to("numpy")
    steps, numbers = twin._prepare(loss, optimizer)
    now, kept = twin.progress.started(loss, optimizer, xp=twin.backend.xp), 0

    def count(array: Any) -> Any:
        nonlocal kept
        kept += array.nbytes
        return array

    map_arrays(count, now.carry)
    few, many = PLANNED
    first, second = (
        traced_step(steps, now.carry, numbers.epoch(START)[0], net.shapes, rows).plan.memory for rows in PLANNED
    )
    row = max(1, 2 * (second - first) // (many - few))  # the last batch of an epoch, of fewer rows, has its own
    space = 2 * workspace(net.backend.device) if net.backend.name == "cupy" else 0
    fixed = space + 2 * kept + max(0, first - few * row // 2)  # of what is trained a copy is kept for an epoch
    return Need(data, fixed, row)


def bytes_of(values: Any, backend: Any) -> int:
    """What an array or a list of them takes that is not on the device; what is read in blocks is not held whole."""
    if values is None or backend.owns(values) or isinstance(values, np.memmap):
        return 0
    if isinstance(values, list | tuple) and all(hasattr(one, "shape") for one in values):
        return sum(bytes_of(one, backend) for one in values)
    shape = getattr(values, "shape", None) or np.shape(values)
    return int(np.prod(shape)) * np.dtype(backend.dtype).itemsize


def free_bytes(backend: Any) -> int:
    """What can be had: of the device and, of CuPy, of its pool, within the bound that the pool has."""
    if backend.name == "torch":
        return backend.xp.cuda.mem_get_info()[0]
    pool = import_module("cupy").get_default_memory_pool()
    free, limit = backend.device.mem_info[0] + pool.free_bytes(), pool.get_limit()
    return min(free, limit - pool.used_bytes()) if limit else free


def advice(need: Need, given: dict[str, Any], free: int) -> str:
    """What was needed, what is free, and what would fit.

    >>> advice(Need(0, 100_000, 1000), {"batch_size": 4096}, 1_100_000)
    '4,096 rows at once take about 4.2 MB, and 1.1 MB are free: batch_size=890 would fit'
    """
    rows = given.get("batch_size")
    rows = len(given["x"]) if rows is None else rows
    data = f", {amount(need.data)} of it for the data" if need.data else ""
    start = f"{rows:,} rows at once take about {amount(need.of(rows))}{data}, and {amount(free)} are free"
    fits = need.fitting(free)
    if fits >= rows:
        return f"{start} now: something else held them, such as results that you keep"
    if need._replace(data=0).fitting(free) and not fits:
        return f"{start}: give x as a numpy.memmap or an iterable of batches, which are copied there in blocks"
    if not fits:
        return f"{start}: not even one row fits, only a smaller network or another device will do"
    return f"{start}: batch_size={fits} would fit"


def amount(size: int) -> str:
    return f"{unit(size)}B"
