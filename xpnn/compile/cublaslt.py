"""Products together with what follows them, in one launch, by cuBLASLt: the "epilogues" that `launches.py` finds.

Only where the environment variable XPNN_EPILOGUES is 1: whether they pay hangs on the card and the shapes, and what
becomes of NaN under cuBLASLt's ReLU is not documented. Source: NVIDIA, *cuBLAS*,
https://docs.nvidia.com/cuda/cublas, and its header cublasLt.h.
"""

import ctypes
import functools
import os
from importlib import import_module
from typing import Any, NamedTuple

from xpnn.compile.cublas import COMPUTE, TYPES, Matrices, Products, checked, matrices, typed

Array = Any

_POINTER, _INT, _LONG, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_size_t
_MADE, _ATTRIBUTE = ctypes.POINTER(_POINTER), (_POINTER, _INT, _POINTER, _SIZE)
SIGNATURES = {
    "cublasLtMatmulDescCreate": (_MADE, _INT, _INT),
    "cublasLtMatmulDescSetAttribute": _ATTRIBUTE,
    "cublasLtMatmulDescDestroy": (_POINTER,),
    "cublasLtMatrixLayoutCreate": (_MADE, _INT, ctypes.c_uint64, ctypes.c_uint64, _LONG),
    "cublasLtMatrixLayoutSetAttribute": _ATTRIBUTE,
    "cublasLtMatrixLayoutDestroy": (_POINTER,),
    "cublasLtMatmulPreferenceCreate": (_MADE,),
    "cublasLtMatmulPreferenceSetAttribute": _ATTRIBUTE,
    "cublasLtMatmulPreferenceDestroy": (_POINTER,),
    "cublasLtMatmulAlgoGetHeuristic": (*(_POINTER,) * 7, _INT, _POINTER, ctypes.POINTER(_INT)),
    "cublasLtMatmul": (*(_POINTER,) * 14, _SIZE, _POINTER),
}
"""The functions that are called and the types of their arguments; each gives a status, 0 where all is well."""
EPILOGUES = {"bias": 4, "relu_bias": 6, "bias_gradient": 256}
"""cublasLtEpilogue_t: BIAS, RELU_BIAS and BGRADA, whose A is the second operand of ours."""
TRANSPOSED_A, TRANSPOSED_B, EPILOGUE, BIAS_POINTER, BIAS_STEP = 3, 4, 7, 8, 10  # cublasLtMatmulDescAttributes_t
BATCH_COUNT, BATCH_STEP = 5, 6  # cublasLtMatrixLayoutAttribute_t
WORKSPACE, ALIGNMENT_A = 1, 5  # cublasLtMatmulPreferenceAttributes_t; those of B, C and D follow


class Found(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace", _SIZE),
        ("state", _INT),
        ("waves", ctypes.c_float),
        ("reserved", _INT * 4),
    )


class Asked(NamedTuple):
    """All that cuBLASLt is told of a product but where its numbers lie."""

    epilogue: str
    dtype: str
    compute: int
    sizes: tuple[int, int, int]  # m, n, k: D is (m, n) by column, which is ours transposed
    operands: tuple[Matrices, Matrices, Matrices]  # A, B, D, with pointers of 0
    count: int  # of matrices in a stack
    step: int  # from one member's bias to the next one's
    alignments: tuple[int, int, int]


def wanted() -> bool:
    """Whether epilogues are asked for."""
    return os.environ.get("XPNN_EPILOGUES") == "1"


@functools.cache
def library() -> Any:
    """cuBLASLt as CuPy's cuBLAS brings it, with the types of its arguments; raises where it cannot be found."""
    pathfinder = import_module("cuda.pathfinder")
    return typed(ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublasLt").abs_path), SIGNATURES)


class Epilogues:
    """Products with what follows them, on the stream and with the handle and workspace of these products."""

    def __init__(self, products: Products):
        self._products, self._library = products, library()
        self._launches: dict[Asked, Launch | None] = {}

    def __call__(self, epilogue: str, a: Array, b: Array, out: Array, vector: Array) -> bool:
        """Compute `a @ b` and what follows into `out`, with the bias `vector` or its gradient into that.

        False where nothing was done: what lies otherwise, overlaps, or has no algorithm takes two launches.
        """
        asked, pointers = self._asked(epilogue, a, b, out, vector), (b.data.ptr, a.data.ptr, out.data.ptr)
        written = (out, vector) if epilogue == "bias_gradient" else (out,)
        if asked is None or any(_overlap(one, other) for one in written for other in (a, b)):
            return False
        if asked not in self._launches:
            launch = Launch(self._library, asked)
            found = launch.prepared(self._products, vector.data.ptr)
            self._launches[asked] = launch if found else None
        launch = self._launches[asked]
        if launch is not None:
            launch(self._products, pointers, vector.data.ptr)
        return launch is not None

    def _asked(self, epilogue: str, a: Array, b: Array, out: Array, vector: Array) -> Asked | None:
        """What cuBLASLt would be told; None where strides cannot say where everything lies."""
        lead, dtype = out.shape[:-2], str(out.dtype)
        if out.size == 0 or dtype not in TYPES or not a.dtype == b.dtype == out.dtype or len(lead) > 1:
            return None
        places = tuple(matrices(array, lead) for array in (b, a, out))
        across, step = vector.strides[-1] // vector.itemsize, 0
        if vector.ndim > 2 and vector.shape[0] > 1:
            step = vector.strides[0] // vector.itemsize
        if None in places or places[2].transposed or (across != 1 and vector.shape[-1] > 1):  # type: ignore[union-attr]
            return None
        aligned = tuple(min(256, place.pointer & -place.pointer) for place in places)  # type: ignore[union-attr]
        precision = self._products.precision if dtype == "float32" else None
        return Asked(
            epilogue,
            dtype,
            COMPUTE[dtype, precision],
            (out.shape[-1], out.shape[-2], a.shape[-1]),
            tuple(place._replace(pointer=0) for place in places),  # type: ignore[union-attr,arg-type]
            lead[0] if lead else 1,
            step,
            aligned,  # type: ignore[arg-type]
        )


class Launch:
    """What cuBLASLt is told of products that differ in nothing but where their numbers lie."""

    def __init__(self, loaded: Any, asked: Asked):
        self._library, self._made = loaded, list[tuple[str, Any]]()
        kind, self._number = TYPES[asked.dtype]
        (m, n, k), (a, b, to) = asked.sizes, asked.operands
        self._one, self._zero, self._found = self._number(1.0), self._number(0.0), Found()
        self._operation = self._create("MatmulDesc", asked.compute, kind)
        self._set("MatmulDesc", self._operation, TRANSPOSED_A, ctypes.c_int32(a.transposed))
        self._set("MatmulDesc", self._operation, TRANSPOSED_B, ctypes.c_int32(b.transposed))
        self._set("MatmulDesc", self._operation, EPILOGUE, ctypes.c_uint32(EPILOGUES[asked.epilogue]))
        if asked.count > 1:
            self._set("MatmulDesc", self._operation, BIAS_STEP, ctypes.c_int64(asked.step))
        lying = ((k, m) if a.transposed else (m, k)), ((n, k) if b.transposed else (k, n)), (m, n)
        self._layouts = [
            self._layout(kind, *shape, place, asked.count) for shape, place in zip(lying, (a, b, to), strict=True)
        ]
        self._alignments = (*asked.alignments[:2], asked.alignments[2], asked.alignments[2])

    def prepared(self, products: Products, vector: int) -> bool:
        """Whether there is an algorithm for it, which is then kept; `vector` is where the bias lies."""
        self._set("MatmulDesc", self._operation, BIAS_POINTER, _POINTER(vector))  # its alignment counts
        preference, count = self._create("MatmulPreference"), _INT()
        self._set("MatmulPreference", preference, WORKSPACE, ctypes.c_uint64(products.size))
        for k, alignment in enumerate(self._alignments):
            self._set("MatmulPreference", preference, ALIGNMENT_A + k, ctypes.c_uint32(alignment))
        a, b, to = self._layouts
        status = self._library.cublasLtMatmulAlgoGetHeuristic(
            *(products.handle, self._operation, a, b, to, to, preference, 1),
            *(ctypes.addressof(self._found), ctypes.byref(count)),
        )
        return status == 0 and count.value == 1 and self._found.state == 0  # any other status: not supported

    def __call__(self, products: Products, pointers: tuple[int, int, int], vector: int) -> None:
        """Launch it for what lies there."""
        self._set("MatmulDesc", self._operation, BIAS_POINTER, _POINTER(vector))
        (first, second, out), (a, b, to) = pointers, self._layouts
        one, zero = ctypes.addressof(self._one), ctypes.addressof(self._zero)
        status = self._library.cublasLtMatmul(
            *(products.handle, self._operation, one, first, a, second, b, zero, out, to, out, to),
            *(ctypes.addressof(self._found.algorithm), products.workspace, products.size, products.stream),
        )
        checked("cublasLtMatmul", status)

    def __del__(self) -> None:
        for what, made in self._made:
            getattr(self._library, f"cublasLt{what}Destroy")(made)

    def _layout(self, kind: int, rows: int, columns: int, place: Matrices, count: int) -> Any:
        made = self._create("MatrixLayout", kind, rows, columns, place.leading)
        if count > 1:
            self._set("MatrixLayout", made, BATCH_COUNT, ctypes.c_int32(count))
            self._set("MatrixLayout", made, BATCH_STEP, ctypes.c_int64(place.step))
        return made

    def _create(self, what: str, *arguments: int) -> Any:
        made, name = _POINTER(), f"cublasLt{what}Create"
        checked(name, getattr(self._library, name)(ctypes.byref(made), *arguments))
        self._made.append((what, made))
        return made

    def _set(self, what: str, made: Any, attribute: int, value: Any) -> None:
        name = f"cublasLt{what}SetAttribute"
        checked(name, getattr(self._library, name)(made, attribute, ctypes.byref(value), ctypes.sizeof(value)))


def _overlap(one: Array, other: Array) -> bool:
    """Whether two arrays may share memory, by their first and last numbers."""
    (low, high), (start, stop) = _span(one), _span(other)
    return low < stop and start < high


def _span(array: Array) -> tuple[int, int]:
    reach = sum((n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True))
    return array.data.ptr, array.data.ptr + reach + array.itemsize
