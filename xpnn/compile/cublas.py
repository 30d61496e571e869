"""Matrix products by cuBLAS, by a handle of our own, which may be captured into a CUDA graph where CuPy's may not.

CuPy (14.2) refuses cuBLAS during a capture, copies transposed operands of stacks, and chooses TF32 for the whole
process. Here transposes are flags, stacks are strided batches, and each product says what it is computed in. Source:
NVIDIA, *cuBLAS*, https://docs.nvidia.com/cuda/cublas, and its header cublas_api.h.
"""

from __future__ import annotations

import ctypes
import functools
import math
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

Array = Any

_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
_OPERAND = (_POINTER, _INT, _INT, _LONG)  # where it lies, its type, leading dimension, and the step to the next
SIGNATURES = {
    "cublasCreate_v2": (ctypes.POINTER(_POINTER),),
    "cublasSetStream_v2": (_POINTER, _POINTER),
    "cublasSetWorkspace_v2": (_POINTER, _POINTER, ctypes.c_size_t),
    "cublasGemmStridedBatchedEx": (
        *(_POINTER, _INT, _INT, _INT, _INT, _INT, _POINTER, *_OPERAND, *_OPERAND),
        *(_POINTER, *_OPERAND, _INT, _INT, _INT),
    ),
}
"""The functions that are called and the types of their arguments; each gives a status, 0 where all is well."""
N, T = 0, 1
TYPES = {"float32": (0, ctypes.c_float), "float64": (1, ctypes.c_double)}
"""cudaDataType of each dtype, and C's type for factors."""
COMPUTE = {
    ("float32", None): 68,
    ("float32", "tf32"): 77,
    ("float32", "bfloat16"): 75,
    ("float64", None): 70,
}
"""cublasComputeType_t by the dtype of the operands and the precision that is asked for, None for the dtype's own."""
DEFAULT_ALGORITHM = -1
WORKSPACE, LARGE_WORKSPACE = 4 << 20, 32 << 20
"""Bytes that cuBLAS's documentation recommends, the second for cards from Hopper on, which large products alone get."""
LARGEST = 2**31 - 1


class CublasError(RuntimeError):
    """cuBLAS answered with a status other than success."""


class Matrices(NamedTuple):
    """A stack of matrices as cuBLAS is told of it, for which a row of ours is a column: transposed, so to say."""

    pointer: int
    transposed: int  # N or T
    leading: int
    step: int  # from one matrix to the next, in numbers; 0 where all are the same


@functools.cache
def library() -> Any:
    """cuBLAS as it is loaded for CuPy, with the types of its arguments; raises where it cannot be found."""
    pathfinder = import_module("cuda.pathfinder")  # which CuPy requires, and finds it with
    return typed(ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path))


def typed(loaded: Any, signatures: Mapping[str, tuple[Any, ...]] = SIGNATURES) -> Any:
    """A library whose functions know the types of their arguments."""
    for name, arguments in signatures.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, _INT
    return loaded


_handles = threading.local()
_left: dict[int, list[int]] = {}
"""The handles for each device whose threads have ended: to destroy one would wait for the device."""


class Handle:
    """A handle that is one thread's, and the next one's when that has ended."""

    def __init__(self, device: int):
        left = _left.setdefault(device, [])
        try:
            self.value: Any = left.pop()
        except IndexError:
            made = _POINTER()
            checked("cublasCreate_v2", library().cublasCreate_v2(ctypes.byref(made)))
            self.value = made.value
        self._left = left

    def __del__(self) -> None:
        if hasattr(self, "_left"):
            self._left.append(self.value)


def handle(device: int) -> int:
    """This thread's handle for a device, which must be current: a handle has one stream at a time."""
    held = vars(_handles).setdefault("of", {})
    if device not in held:
        held[device] = Handle(device)
    return held[device].value


class Products:
    """Products into given arrays, on the caller's stream, in a workspace of its own.

    A captured graph writes to the workspace that it was captured with, so that what may run at once, as two programs
    on two streams, needs two.

    Parameters
    ----------
    cupy : the module.
    precision : what products of float32 numbers are computed in: None for float32, "tf32" or "bfloat16".
    large : whether operands of some megabytes are among them.
    """

    def __init__(self, cupy: Any, precision: str | None = None, large: bool = False):
        self._cupy, self.precision, self._library = cupy, precision, library()
        device = cupy.cuda.Device()
        size = workspace(device, large)
        self._device, self.size, self._workspace = device.id, size, cupy.cuda.alloc(size)
        self.workspace = self._workspace.ptr
        self.prepare()

    def prepare(self) -> None:
        """Make what this thread needs and a capture does not allow to make."""
        handle(self._device)

    def begin(self, stream: Any) -> None:
        """The products that follow go to this stream."""
        self.handle, self.stream = handle(self._device), stream.ptr
        checked("cublasSetStream_v2", self._library.cublasSetStream_v2(self.handle, self.stream))
        given = self.handle, self.workspace, self.size  # which a new stream takes away
        checked("cublasSetWorkspace_v2", self._library.cublasSetWorkspace_v2(*given))

    def __call__(self, a: Array, b: Array, out: Array) -> None:
        """out = a @ b, for (..., m, k) and (..., k, n) of one dtype, float32 or float64."""
        if not self._direct(a, b, out):
            self._cupy.copyto(out, self._cupy.matmul(a, b))

    def _direct(self, a: Array, b: Array, out: Array) -> bool:
        """Compute it, if strides can say where everything lies."""
        lead, (rows, columns) = out.shape[:-2], out.shape[-2:]
        if out.size == 0:
            return True
        if str(out.dtype) not in TYPES or not a.dtype == b.dtype == out.dtype or a.ndim < 2 or b.ndim < 2:
            return False
        first, second, to = (matrices(array, lead) for array in (a, b, out))
        if first is None or second is None or to is None:
            return False
        if to.transposed:  # lies by column: the transposed product is then by row
            first, second = (place._replace(transposed=1 - place.transposed) for place in (second, first))
            rows, columns = columns, rows
        if max(rows, columns, a.shape[-1], first.leading, second.leading, to.leading) > LARGEST:
            return False
        kind, number = TYPES[str(out.dtype)]
        one, zero = number(1.0), number(0.0)
        compute = COMPUTE[str(out.dtype), self.precision if str(out.dtype) == "float32" else None]
        status = self._library.cublasGemmStridedBatchedEx(
            *(self.handle, second.transposed, first.transposed, columns, rows, a.shape[-1], ctypes.addressof(one)),
            *(second.pointer, kind, second.leading, second.step),
            *(first.pointer, kind, first.leading, first.step),
            *(ctypes.addressof(zero), to.pointer, kind, to.leading, to.step),
            *(math.prod(lead), compute, DEFAULT_ALGORITHM),
        )
        checked("cublasGemmStridedBatchedEx", status)
        return True


def workspace(device: Any, large: bool = True) -> int:
    """The bytes that products take beside their operands; from Hopper on, large ones are faster with more."""
    return LARGE_WORKSPACE if large and int(device.compute_capability) >= 90 else WORKSPACE


def products(cupy: Any, precision: str | None, large: bool) -> Products | None:
    """Products by a handle of our own; None where cuBLAS cannot be called so, and CuPy's own functions serve."""
    try:
        return Products(cupy, precision, large)
    except (ImportError, OSError, AttributeError, RuntimeError) as error:  # not found, of another ABI, or no handle
        if precision is not None:
            raise RuntimeError(f"precision={precision!r} needs cuBLAS, which cannot be called: {error}") from error
        return None


def matrices(array: Array, lead: tuple[int, ...]) -> Matrices | None:
    """Where a stack of matrices lies, broadcast to the leading axes `lead`; None where no strides can say it."""
    size = array.dtype.itemsize
    strides = [stride // size for stride in array.strides]
    if any(stride % size for stride in array.strides):
        return None
    (rows, columns), (down, across) = array.shape[-2:], strides[-2:]
    if (across == 1 or columns == 1) and (down >= columns or rows == 1):
        turned, leading = N, max(down if rows > 1 else columns, columns, 1)
    elif (down == 1 or rows == 1) and (across >= rows or columns == 1):
        turned, leading = T, max(across if columns > 1 else rows, rows, 1)
    else:
        return None
    step = _step([*array.shape[:-2]], strides[:-2], lead)
    return None if step is None else Matrices(array.data.ptr, turned, leading, step)


def _step(shape: list[int], strides: list[int], lead: tuple[int, ...]) -> int | None:
    """How far it is from one matrix to the next of all in `lead`, in their order; None where that is not always as far.

    >>> _step([4], [6], (4,)), _step([], [], (4,)), _step([3, 4], [24, 6], (3, 4)), _step([4], [6], (3, 4))
    (6, 0, 6, None)
    """
    missing = len(lead) - len(shape)
    strides = [0] * missing + [0 if n == 1 else stride for n, stride in zip(shape, strides, strict=True)]
    axes = [(n, stride) for n, stride in zip(lead, strides, strict=True) if n > 1]
    if not axes:
        return 0
    step, reach = axes[-1][1], 1
    for n, stride in reversed(axes):
        if stride != step * reach:
            return None
        reach *= n
    return step


def checked(name: str, status: int) -> None:
    """Raise CublasError where the status of a call is not success."""
    if status:
        raise CublasError(f"{name} of cuBLAS gave status {status}")
