"""CuPy pretended on a CPU: as much of it as the package calls, strict where the real one is.

Arrays are no NumPy arrays and turn into none by themselves. Kernels are the very C text, compiled by g++. cuBLAS is
called through the types of its header and finds the numbers by their addresses. What goes to a stream other than the
default one happens only when somebody waits for it, and what is captured happens when the graph is launched: where
a wait is forgotten, or an argument's place is not the graph's, the numbers are wrong.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import array_api_compat.numpy as real
import numpy as np
from scipy import special as scipy_special

from tests import c_kernels, pretend_cublaslt
from tests.pretend_cublas import pretended
from tests.pretend_memory import TOTAL, MemoryPool, OutOfMemoryError, Pointer, held, memory
from tests.pretend_streams import STREAMS, Event, Stream, put
from xpnn import availability
from xpnn.compile import cublas, cublaslt

MODULES = ("cupy", "cupyx", "cupyx.scipy", "cupyx.scipy.special", "array_api_compat.cupy")


class using_allocator:
    def __init__(self, allocator: Any):
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        pass


class Device:
    def __init__(self, number: int = 0):
        self.id, self.compute_capability = number, "75"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    __hash__ = None  # type: ignore[assignment]

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    @property
    def mem_info(self) -> tuple[int, int]:
        return memory["free"], TOTAL

    def synchronize(self) -> None:
        pass


class ndarray:
    """An array of the device."""

    __array_ufunc__ = None  # NumPy's arrays leave operators to it

    def __init__(self, shape: Any, dtype: Any = float, memptr: Pointer | None = None):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        memptr = Pointer(size) if memptr is None else memptr
        self._a = memptr.mem[:size].view(dtype).reshape(shape)

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    device = property(lambda self: Device(0))
    data = property(lambda self: types.SimpleNamespace(ptr=self._a.ctypes.data))
    shape = property(lambda self: self._a.shape, lambda self, value: setattr(self._a, "shape", value))

    def __getattr__(self, name: str) -> Any:
        if name in ("dtype", "ndim", "size", "nbytes", "strides", "flags", "itemsize"):
            return getattr(self._a, name)
        raise AttributeError(f"cupy.ndarray has no {name!r} here")

    def __getitem__(self, key: Any) -> ndarray:
        return _of(self._a[_bare(key)], view=True)

    def __setitem__(self, key: Any, value: Any) -> None:
        put(lambda: self._a.__setitem__(_bare(key), _bare(value)))

    def __len__(self) -> int:
        return len(self._a)

    def view(self) -> ndarray:
        return _of(self._a.view(), view=True)

    def copy(self) -> ndarray:
        return _called(np.array, self)

    def get(self, stream: Any = None) -> np.ndarray:
        STREAMS[-1].synchronize()
        return np.array(self._a)

    def set(self, array: np.ndarray, stream: Stream | None = None) -> None:
        assert isinstance(array, np.ndarray) and array.dtype == self.dtype and array.shape == self.shape
        (stream or STREAMS[-1]).put(lambda: self._a.__setitem__(..., array))

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __float__(self) -> float:
        return float(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __index__(self) -> int:
        return self.get().__index__()


def _operator(name: str) -> Any:
    def operator(self: ndarray, *others: Any) -> Any:
        return _called(lambda *arrays: getattr(np.ndarray, name)(*arrays), self, *others)

    return operator


for _name in ("add", "sub", "mul", "truediv", "matmul", "pow", "mod", "floordiv", "and", "or", "xor", "rshift"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(ndarray, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ("neg", "abs", "invert", "eq", "ne", "lt", "le", "gt", "ge", "lshift"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
ndarray.__module__ = "cupy"


def _of(array: Any, view: bool = False) -> ndarray:
    if not view:  # into memory of its own
        array = np.asarray(array)
        made = ndarray(array.shape, array.dtype)
        made._a[...] = array
        return made
    made = object.__new__(ndarray)
    made._a = array
    return made


def _bare(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, tuple | list):
        return type(value)(_bare(one) for one in value)
    return value


def _wrapped(found: Any) -> Any:
    if isinstance(found, np.ndarray | np.generic):
        found = np.asarray(found)
        if found.base is None:
            held(found, found.nbytes)
        return _of(found, view=True)
    return type(found)(map(_wrapped, found)) if isinstance(found, tuple | list) else found


def _called(function: Any, *args: Any, **options: Any) -> Any:
    """A function of the library: on a stream that waits, its result is there and its numbers come later."""
    if isinstance(STREAMS[-1], Stream) and not STREAMS[-1].null and STREAMS[-1].recorded is None:
        STREAMS[-1].synchronize()
    bare = [_bare(arg) for arg in args]
    found = function(*bare, **{name: _bare(value) for name, value in options.items()})
    recorded = STREAMS[-1].recorded
    if recorded is not None and isinstance(found, np.ndarray):
        recorded.append(lambda: np.copyto(found, function(*bare, **options)))
    return _wrapped(found)


def _function(name: str) -> Any:
    function = getattr(real, name)

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if options.get("device") is not None:
            assert isinstance(options["device"], Device), f"{name}(device={options['device']!r})"
        options.pop("device", None)
        if name not in ("asarray", "full") and any(isinstance(arg, np.ndarray) for arg in args):
            raise TypeError(f"Unsupported type numpy.ndarray in {name}")
        if name == "asarray" and args and not isinstance(args[0], ndarray):
            return _called(np.array, args[0], dtype=options.get("dtype"))  # the device has memory of its own
        return _called(function, *args, **options)

    return call


class ElementwiseKernel:
    """Compiled with all that were made since the last launch."""

    made: dict[str, Any] = {}  # noqa: RUF012
    waiting: dict[str, Any] = {}  # noqa: RUF012
    launched = 0

    def __init__(self, in_params: str, out_params: str, operation: str, name: str, preamble: str = "", **options: Any):
        reads, writes = (_nodes(params) for params in (in_params, out_params))
        self.name, self.count = name, len(reads)
        text = types.SimpleNamespace(reads=reads, writes=writes, operation=operation, preamble=preamble, name=name)
        text.in_params, text.out_params = in_params, out_params
        if name not in self.made:
            self.waiting[name] = text

    def __call__(self, *arrays: ndarray, size: int | None = None) -> None:
        if self.waiting:
            self.made.update(c_kernels.built(self.waiting.values(), Path(tempfile.mkdtemp(dir=_folder.name))))
            self.waiting.clear()
        run, bare = self.made[self.name], [_bare(array) for array in arrays]
        given, out = bare[: self.count], bare[self.count :]

        def work() -> None:
            ElementwiseKernel.launched += 1
            raw = {} if size is None else {"shapes": [to.shape for to in out]}
            for to, found in zip(out, run(size or out[0].shape, *given, **raw), strict=True):
                to[...] = found

        put(work)


class ReductionKernel:
    made: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, in_params: str, out_params: str, *parts: str):
        map_expr, reduce_expr, post_map_expr, identity, self.name, reduce_type = parts
        args, node = _nodes(in_params), _nodes(out_params)[0]
        node.args = args
        if self.name not in self.made:
            text = types.SimpleNamespace(node=node, map_expr=map_expr, reduce_expr=reduce_expr, name=self.name)
            text.post_map_expr, text.identity, text.reduce_type = post_map_expr, identity, reduce_type
            self.made |= c_kernels.reducing([text], Path(tempfile.mkdtemp(dir=_folder.name)))

    def __call__(self, array: ndarray, out: ndarray, axis: Any, keepdims: bool) -> None:
        bare, to, run = array._a, out._a, self.made[self.name]
        axes = range(bare.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        axes = sorted(one % bare.ndim for one in axes)
        if bare.flags.c_contiguous and axes == list(range(bare.ndim - len(axes), bare.ndim)):
            assert to.flags.c_contiguous, "CUB, which CuPy takes for these, writes as if `out` lay in a row"

        def work() -> None:
            kept = [one for one in range(bare.ndim) if one not in axes]
            lines = np.ascontiguousarray(bare.transpose(*kept, *axes)).reshape(
                *(bare.shape[one] for one in kept), int(np.prod([bare.shape[one] for one in axes]))
            )
            found = np.empty(lines.shape[:-1], to.dtype)
            for index in np.ndindex(*lines.shape[:-1]):
                found[index] = run(lines[index])
            to[...] = found.reshape(to.shape)

        put(work)


def _nodes(params: str) -> list[Any]:
    return [types.SimpleNamespace(dtype=np.dtype(one.split()[-2])) for one in params.split(", ") if one]


_folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
atexit.register(_folder.cleanup)  # rather than by the collector, which warns


def _asarray(values: Any, dtype: Any = None, **options: Any) -> ndarray:
    return namespace.asarray(values, dtype=dtype)


def _copyto(to: ndarray, array: Any) -> None:
    assert isinstance(to, ndarray) and isinstance(array, ndarray), "copyto is from the device to the device"
    put(lambda: np.copyto(to._a, array._a))


def _take(array: ndarray, indices: ndarray, axis: int | None = None, out: ndarray | None = None) -> Any:
    if out is None:
        return _called(np.take, array, indices, axis=axis)
    put(lambda: np.copyto(out._a, np.take(array._a, indices._a, axis=axis)))
    return out


def _product(a: ndarray, b: ndarray, out: ndarray | None = None) -> Any:
    assert STREAMS[-1].recorded is None, "CuPy's own products cannot be captured"
    if out is None:
        return _called(np.matmul, a, b)
    put(lambda: np.copyto(out._a, np.matmul(a._a, b._a)))
    return out


def _empty_pinned(shape: Any, dtype: Any = float, order: Any = "C") -> np.ndarray:
    return np.empty(shape, dtype, order)


namespace = types.ModuleType("array_api_compat.cupy")
for _name in dir(real):
    if not _name.startswith("_"):
        _value = getattr(real, _name)
        setattr(namespace, _name, _function(_name) if callable(_value) and not isinstance(_value, type) else _value)
namespace.__array_namespace_info__ = real.__array_namespace_info__  # type: ignore[attr-defined]


def _module() -> types.ModuleType:
    module = types.ModuleType("cupy")
    pool = MemoryPool()
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda number: {"name": b"a CPU that pretends"},
        runtimeGetVersion=lambda: 12090,
    )
    module.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        **{one.__name__: one for one in (Stream, Event, Device, MemoryPool, using_allocator)},
        alloc=lambda size: Pointer(size),
        get_current_stream=lambda: STREAMS[-1],
        runtime=runtime,
        memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    )
    own = {"ndarray": ndarray, "asarray": _asarray, "copyto": _copyto, "take": _take, "dot": _product}
    own |= {"matmul": _product, "ElementwiseKernel": ElementwiseKernel, "ReductionKernel": ReductionKernel}
    own |= {"empty": ndarray, "ascontiguousarray": lambda array: _called(np.ascontiguousarray, array)}
    own |= {"get_default_memory_pool": lambda: pool, "__version__": "14.2.0 (pretended)"}
    own |= {"asnumpy": lambda array: array.get(), "ones": namespace.ones, "zeros": namespace.zeros}
    own |= {name: getattr(np, name) for name in ("float32", "float64", "int32", "int64")}
    vars(module).update(own)
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)  # type: ignore[attr-defined]
    namespace.cuda, namespace.matmul = module.cuda, _product  # type: ignore[attr-defined]
    return module


class installed:
    """A context in which CuPy is this one: `with installed(): Network(layers, backend="cupy")`."""

    def __enter__(self) -> types.ModuleType:
        self.before = {name: sys.modules.get(name) for name in MODULES}
        module, (pinned, scipy, special) = _module(), map(types.ModuleType, MODULES[1:4])
        pinned.empty_pinned = _empty_pinned  # type: ignore[attr-defined]
        special.erf = lambda x: _called(scipy_special.erf, x)  # type: ignore[attr-defined]
        sys.modules.update(dict(zip(MODULES, (module, pinned, scipy, special, namespace), strict=True)))
        self.libraries = cublas.library, cublaslt.library
        cublas.library, cublaslt.library = pretended, pretend_cublaslt.pretended
        availability.status.cache_clear()
        self._forget()
        return module

    def __exit__(self, *error: Any) -> None:
        for name, module in self.before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
        cublas.library, cublaslt.library = self.libraries
        self._forget()
        availability.status.cache_clear()

    def _forget(self) -> None:
        """The handles of one library are nothing to another."""
        vars(cublas._handles).clear()
        cublas._left.clear()
