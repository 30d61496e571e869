"""cuBLASLt on a CPU, behind C function pointers: products with a bias, ReLU or a bias's gradient in one call."""

from __future__ import annotations

import ctypes
import functools
import types
from typing import Any

import numpy as np

from tests.pretend_cublas import answering, calls, rounded, stack
from tests.pretend_streams import STREAMS, put
from xpnn.compile import cublaslt
from xpnn.compile.cublas import typed

NOT_SUPPORTED = 15
ATTRIBUTES = {
    "MatmulDesc": {3: ctypes.c_int32, 4: ctypes.c_int32, 7: ctypes.c_uint32, 8: ctypes.c_size_t, 10: ctypes.c_int64},
    "MatrixLayout": {5: ctypes.c_int32, 6: ctypes.c_int64},
    "MatmulPreference": {1: ctypes.c_uint64, **dict.fromkeys(range(5, 9), ctypes.c_uint32)},
}
"""The attributes that are set here, with their types, by the header."""
made: dict[int, dict[Any, Any]] = {}
"""What was created and not yet destroyed."""


def _create(what: str) -> Any:
    def create(place, *arguments) -> int:
        place[0] = max(made, default=1000) + 1
        made[place[0]] = {"what": what, "arguments": arguments}
        return 0

    return create


def _set(what: str) -> Any:
    def attribute(pointer, name, value, size) -> int:
        kind = ATTRIBUTES[what][name]
        assert made[pointer]["what"] == what and size == ctypes.sizeof(kind)
        made[pointer][name] = kind.from_address(value).value
        return 0

    return attribute


def _destroy(pointer) -> int:
    del made[pointer]
    return 0


def _heuristic(handle, operation, a, b, c, d, preference, asked, found, count) -> int:
    """One algorithm; as on a card there is none for the gradients of a stack."""
    assert asked == 1 and c == d and made[preference][1] > 0
    pointers = [made[preference][k] for k in range(5, 9)]
    assert all(alignment & (alignment - 1) == 0 and 4 <= alignment <= 256 for alignment in pointers)
    assert made[operation][8], "the bias's alignment counts"
    if made[operation][7] == 256 and made[d].get(5, 1) > 1:
        return NOT_SUPPORTED
    result = cublaslt.Found.from_address(found)
    result.algorithm[0], result.state, count[0] = 42, 0, 1
    return 0


def _matmul(handle, operation, alpha, a, of_a, b, of_b, beta, c, of_c, d, of_d, algorithm, workspace, size, stream):
    told, (compute, kind) = made[operation], made[operation]["arguments"]
    number, dtype = ((ctypes.c_float, np.float32), (ctypes.c_double, np.float64))[kind]
    assert number.from_address(alpha).value == 1.0 and number.from_address(beta).value == 0.0 and c == d
    assert ctypes.c_uint64.from_address(algorithm).value == 42, "the algorithm is not that which was found"
    assert (stream or 0) == STREAMS[-1].ptr and workspace and size
    epilogue, vector, step = told[7], told[8], told.get(10, 0)

    def matrix(pointer: int, layout: int, transposed: int) -> np.ndarray:
        of_kind, rows, columns, leading = made[layout]["arguments"]
        assert of_kind == kind and leading >= rows
        count, between = made[layout].get(5, 1), made[layout].get(6, 0)
        found = stack(pointer, rows, columns, leading, between, count, dtype)
        return found.swapaxes(1, 2) if transposed else found

    first, second, out = matrix(a, of_a, told.get(3, 0)), matrix(b, of_b, told.get(4, 0)), matrix(d, of_d, 0)
    assert epilogue in (4, 6, 256)
    row = stack(vector, out.shape[1], 1, out.shape[1], step, len(out), dtype)

    def work() -> None:
        product = rounded(first, compute) @ rounded(second, compute)
        if epilogue == 256:
            row[...] = np.sum(first, axis=2, keepdims=True)
        else:
            product = product + row
        out[...] = np.maximum(product, 0) if epilogue == 6 else product

    calls["epilogues"] = calls.get("epilogues", 0) + 1
    put(work)
    return 0


@functools.cache
def pretended() -> Any:
    """cuBLASLt behind C function pointers, so that arguments take the way through their types."""
    functions = {"cublasLtMatmulAlgoGetHeuristic": _heuristic, "cublasLtMatmul": _matmul}
    for what in ATTRIBUTES:
        functions[f"cublasLt{what}Create"], functions[f"cublasLt{what}Destroy"] = _create(what), _destroy
        functions[f"cublasLt{what}SetAttribute"] = _set(what)
    loaded = types.SimpleNamespace()
    for name, function in functions.items():
        setattr(loaded, name, ctypes.CFUNCTYPE(ctypes.c_int, *cublaslt.SIGNATURES[name])(answering(function)))
    return typed(loaded, cublaslt.SIGNATURES)
