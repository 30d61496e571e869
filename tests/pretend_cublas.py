"""cuBLAS on a CPU, behind C function pointers: it finds the numbers by their addresses, as its documentation says."""

from __future__ import annotations

import ctypes
import functools
import traceback
import types
from typing import Any

import numpy as np

from tests.pretend_streams import STREAMS, put
from xpnn.compile import cublas


def rounded(array: np.ndarray, compute: int) -> np.ndarray:
    """What tensor cores make of float32 numbers: 11 bits of a significand as TF32, 8 as bfloat16, the rest cut off."""
    drop = {75: 16, 77: 13}.get(compute)
    if drop is None:
        return array
    bits = np.ascontiguousarray(array).view(np.uint32)
    half = np.uint32((1 << (drop - 1)) - 1) + ((bits >> np.uint32(drop)) & np.uint32(1))
    return ((bits + half) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)


def stack(pointer: int, rows: int, columns: int, leading: int, step: int, count: int, kind: Any) -> np.ndarray:
    """The matrices that lie there, each by column."""
    size = np.dtype(kind).itemsize
    last = max(0, step) * (count - 1) + leading * max(0, columns - 1) + rows
    numbers = np.frombuffer((ctypes.c_char * (last * size)).from_address(pointer), kind)
    strides = (step * size, size, leading * size)
    return np.lib.stride_tricks.as_strided(numbers, (count, rows, columns), strides)


def _gemm(handle, transa, transb, m, n, k, alpha, a, a_type, lda, step_a, b, b_type, ldb, step_b, beta, c, *rest):
    """The product as NVIDIA's documentation has it: matrices lie by column, op(A) is m x k, C is m x n."""
    c_type, ldc, step_c, count, compute, _ = rest
    kind = (np.float32, np.float64)[a_type]
    assert a_type == b_type == c_type and compute in ((68, 75, 77), (70,))[a_type]
    assert {transa, transb} <= {0, 1}
    rows_a, rows_b = (k if transa else m), (n if transb else k)
    assert lda >= max(1, rows_a) and ldb >= max(1, rows_b) and ldc >= max(1, m), "an illegal leading dimension"
    number = ctypes.c_float if a_type == 0 else ctypes.c_double
    assert number.from_address(alpha).value == 1.0 and number.from_address(beta).value == 0.0

    def work() -> None:
        first = stack(a, rows_a, m if transa else k, lda, step_a, count, kind)
        second = stack(b, rows_b, k if transb else n, ldb, step_b, count, kind)
        first, second = rounded(first, compute), rounded(second, compute)
        first = first.swapaxes(1, 2) if transa else first
        stack(c, m, n, ldc, step_c, count, kind)[...] = first @ (second.swapaxes(1, 2) if transb else second)

    stream, workspace = handles[handle]
    assert stream == STREAMS[-1].ptr, "the product goes to another stream than the current one"
    assert workspace, "a new stream takes the workspace away"
    calls["products"] += 1
    put(work)
    return 0


calls = {"products": 0}
handles: dict[int, tuple[int, int]] = {}
"""Each handle's stream and the size of its workspace."""


def _create(handle) -> int:
    assert STREAMS[-1].recorded is None, "a handle cannot be made during a capture"
    handle[0] = len(handles) + 1
    handles[handle[0]] = 0, 0
    return 0


def _set_stream(handle, stream) -> int:
    handles[handle] = stream or 0, 0
    return 0


def _set_workspace(handle, pointer, size) -> int:
    handles[handle] = handles[handle][0], size
    return 0


def answering(function: Any) -> Any:
    """An error cannot go through C: it becomes a status."""

    def call(*args: Any) -> int:
        try:
            return function(*args)
        except Exception:
            traceback.print_exc()
            return 7  # an invalid value

    return call


@functools.cache
def pretended() -> Any:
    """cuBLAS behind C function pointers, so that arguments take the way through their types."""
    functions = {
        "cublasCreate_v2": _create,
        "cublasSetStream_v2": _set_stream,
        "cublasSetWorkspace_v2": _set_workspace,
        "cublasGemmStridedBatchedEx": _gemm,
    }
    loaded = types.SimpleNamespace()
    for name, function in functions.items():
        setattr(loaded, name, ctypes.CFUNCTYPE(ctypes.c_int, *cublas.SIGNATURES[name])(answering(function)))
    return cublas.typed(loaded)
