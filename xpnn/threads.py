"""How many threads NumPy's matrix products take: one where they are small, as threads then cost more than they bring.

The number is the process's: it is set once a fit, and put back when the last of the fits that set it ends.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, cast

PAYS = 4_000_000
"""Operations of a product from which a second thread pays: 1.3 times as fast at 4.2 million, no faster at 1 million."""


class _Pool:
    """How many ask for one thread, and what puts back what was before."""

    lock, askers, limit = Lock(), 0, cast(Any, None)


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
    with _pool.lock:
        _pool.askers += 1
        if _pool.askers == 1:
            _pool.limit = _controller().limit(limits=1)
    try:
        yield
    finally:
        with _pool.lock:
            _pool.askers -= 1
            if not _pool.askers:
                _pool.limit.restore_original_limits()


def largest_product(batch: int, widths: Any) -> int:
    """The operations of the largest product of a step: that of `batch` rows with the largest of the weights.

    >>> largest_product(128, [(64, 64), (64,)])
    1048576
    """
    return 2 * batch * max((shape[-1] * shape[-2] for shape in widths if len(shape) > 1), default=0)
