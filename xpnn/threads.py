"""How many threads NumPy's matrix products take: one where they are small, as threads then cost more than they bring.

Some builds of BLAS keep the number for the process, some for each thread: it is set where a fit begins and put back
where it ends, to what it was before the first of the fits that run at once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, local
from typing import Any, cast

PAYS = 4_000_000
"""Operations of a product from which a second thread pays: 1.3 times as fast at 4.2 million, no faster at 1 million."""


class _Pool:
    """How many fits take one thread now, and what was there before."""

    lock, askers, before = Lock(), 0, cast(list[int], [])


_pool = _Pool()


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_thread(wanted: bool) -> Iterator[None]:
    """A context in which products take one thread, where that is wanted."""
    if not wanted:
        yield
        return
    libraries = _controller().lib_controllers
    with _pool.lock:
        if not _pool.askers:
            _pool.before = [library.num_threads for library in libraries]
        _pool.askers += 1
        before = _pool.before
        _set(libraries, [1] * len(before))
    try:
        yield
    finally:
        with _pool.lock:
            _pool.askers -= 1
            _set(libraries, before)


_here = local()


@contextmanager
def single() -> Iterator[None]:
    """A context for one of several threads that train at once: what is trained in it starts none of its own."""
    _here.single = True
    try:
        yield
    finally:
        _here.single = False


def blas_threads() -> int:
    """How many threads products take outside any fit: as many as somebody lets this process have."""
    if getattr(_here, "single", False):
        return 1
    with _pool.lock:
        numbers = _pool.before if _pool.askers else [one.num_threads for one in _controller().lib_controllers]
    return max(numbers, default=1)


def _set(libraries: Any, numbers: list[int]) -> None:
    for library, number in zip(libraries, numbers, strict=True):
        library.set_num_threads(number)


def largest_product(batch: int, widths: Any) -> int:
    """The operations of the largest product of a step: that of `batch` rows with the largest of the weights.

    >>> largest_product(128, [(64, 64), (64,)])
    1048576
    """
    return 2 * batch * max((shape[-1] * shape[-2] for shape in widths if len(shape) > 1), default=0)
