"""Where the arrays live: a namespace, a device and a dtype, chosen once when a network is constructed.

`resolve("cupy:1")` gives the Backend, or raises `BackendUnavailable` saying what is installed, what failed and which
package to install. Nothing here is global: two networks of one program can live on two devices.
"""

import functools
import inspect
import numbers
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from xpnn._arguments import check_choice
from xpnn.availability import INSTALL, BackendUnavailable, device_label, load, require, status

Array = Any


_OWN = {("numpy", name): np.dtype(name) for name in ("float32", "float64")}


@dataclass(frozen=True)
class Backend:
    """An array namespace, a device of it, and the floating-point type of a network's numbers.

    >>> backend = resolve("numpy", "float64")
    >>> backend
    Backend(numpy, float64)
    >>> backend.asarray([[1, 2]], name="x")
    array([[1., 2.]])
    """

    name: str
    xp: Any
    device: Any = field(hash=False)  # a CuPy device has no hash
    dtype: str
    precision: str | None = None

    def __repr__(self) -> str:
        return f"Backend({', '.join(filter(None, (self.label, self.dtype, self.precision)))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return resolve, (self.label, self.dtype, self.precision)  # a namespace and a device cannot be pickled

    def __getstate__(self) -> dict[str, Any]:  # for those who keep objects without pickle, as skops does
        return {"label": self.label, "dtype": self.dtype, "precision": self.precision}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(resolve(state["label"], state["dtype"], state.get("precision"))))

    @property
    def label(self) -> str:
        """The text that `resolve` turns into this backend."""
        place = device_label(self.name, self.device)
        return f"{self.name}:{place}" if place else self.name

    @property
    def float(self) -> Any:
        """The dtype as the namespace's own object."""
        return getattr(self.xp, self.dtype)

    def owns(self, array: Any) -> bool:
        """Whether `array` is one of this backend's: of its library, and on its device where that can be told."""
        if not _is_array_of(self.name, array):
            return False
        device = getattr(array, "device", None)  # absent from an array that JAX is tracing
        return self.device is None or device is None or device == self.device

    def check(self, array: Any, name: str) -> Array:
        """`array`, an argument of a pure function; raises a TypeError where it is not this backend's."""
        if not self.owns(array):
            wanted = f"{name} must be an array of {self.label}, got {describe(array)}"
            raise TypeError(f"{wanted}: move it with net.backend.asarray")
        return array

    def asarray(self, values: Any, name: str = "array", dtype: Any = "float") -> Array:
        """`values` on this backend: lists, data frames and arrays of any library and device, moved whole, once.

        Parameters
        ----------
        name : what an error calls the argument.
        dtype : "float" casts to the network's own type; None keeps integers as they are; else a dtype of `xp`.

        Raises
        ------
        TypeError for anything that is not numbers, naming the argument.
        """
        if isinstance(dtype, str) and type(values) is np.ndarray and values.dtype is _OWN.get((self.name, self.dtype)):
            return values  # what comes most often, first
        cast, dtype = isinstance(dtype, str), self.float if isinstance(dtype, str) else dtype
        if self.owns(values) and self.name != "numpy":
            if self.xp.isdtype(values.dtype, "complex floating"):
                raise TypeError(f"{name} must be real numbers, got {describe(values)} of dtype {values.dtype}")
            if getattr(values, "requires_grad", False):
                values = values.detach()  # type: ignore  # what is trained here builds no graph in PyTorch
            return values if dtype is None or values.dtype == dtype else self.xp.astype(values, dtype)
        host = to_host(values, name)
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused as that
            host = host.astype(self.dtype, copy=False) if cast else host
        if self.name == "numpy":
            return host if dtype is None else host.astype(dtype, copy=False)
        if self.name == "torch" and not host.flags.writeable:
            host = host.copy()  # PyTorch warns of memory that it may not write
        return self.xp.asarray(np.ascontiguousarray(host) if host.ndim else host, dtype=dtype, device=self.device)

    def to_host(self, array: Array) -> np.ndarray:
        """A NumPy array of the same numbers."""
        return array if isinstance(array, np.ndarray) else to_host(array)

    def copy(self, array: Array) -> Array:
        """The same numbers in memory of their own."""
        return self.xp.asarray(array, copy=True, device=self.device)

    def current(self) -> Any:
        """A context to compute in: on this backend's device, which CuPy asks for, and without NumPy's warnings.

        Overflow and NaN pass silently, as they do on every other array library: training reports them itself.
        """
        return self.xp.cuda.Device(self.device.id) if self.name == "cupy" else np.errstate(all="ignore")


Class = TypeVar("Class", bound=type)


def on_device(cls: Class) -> Class:
    """A class decorator: every public method runs in `self.backend.current()`, and tells what memory it lacked."""

    def wrapped(function: Any) -> Any:
        @functools.wraps(function)
        def method(self: Any, *args: Any, **options: Any) -> Any:
            try:
                with self.backend.current():
                    return function(self, *args, **options)
            except (MemoryError, RuntimeError) as error:
                if type(error).__name__ != "OutOfMemoryError":  # CuPy's, or PyTorch's
                    raise
                from xpnn.shortage import explained

                raise explained(self, function, args, options, error) from error

        return method

    for name, value in list(vars(cls).items()):
        if inspect.isfunction(value) and (not name.startswith("_") or name in ("_begin", "__getstate__")):
            setattr(cls, name, wrapped(value))
    return cls


def to_host(values: Any, name: str = "array") -> np.ndarray:
    """Any array, data frame or nested list of numbers as a NumPy array; other input is a TypeError naming it."""
    library = type(values).__module__.partition(".")[0]
    if library == "scipy" or isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a dense array without a mask, got {describe(values)}")
    try:
        if library == "cupy":
            host = values.get()
        elif library == "torch":
            values = values.detach().cpu()
            host = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()  # NumPy has no such
        elif library == "array_api_strict":
            import array_api_strict

            host = np.asarray(values.to_device(array_api_strict.Device("CPU_DEVICE")))
        elif hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):  # all that it can
            host = np.from_dlpack(values)
        else:
            host = np.asarray(values)
        if host.dtype == object:
            if not all(isinstance(value, numbers.Real) for value in host.flat):
                raise TypeError("it holds objects that are no numbers")
            host = host.astype(np.float64)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name} must be numbers in a rectangular array, got {describe(values)}: {error}") from None
    if host.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got {describe(values)} of dtype {host.dtype}")
    return host.astype(host.dtype.newbyteorder("="), copy=False)


def describe(values: Any) -> str:
    """A few words on what an argument is, for errors."""
    kind = f"{type(values).__module__.partition('.')[0]}.{type(values).__name__}".removeprefix("builtins.")
    shape = getattr(values, "shape", None)
    device = getattr(values, "device", None)
    text = kind if shape is None else f"{kind} of shape {tuple(shape)}"
    return text if device is None else f"{text} on device {device}"


def resolve(backend: Any = "numpy", dtype: Any = None, precision: str | None = None) -> Backend:
    """The Backend that is meant by a name, an array namespace or a Backend.

    Parameters
    ----------
    backend : "numpy", "cupy", "cupy:1", "torch", "torch:cuda", "jax", "array-api-strict", "array-api-strict:device1",
        "auto" (CuPy where a GPU is usable, else NumPy), a namespace (numpy, array_api_compat.torch ...) or a Backend.
    dtype : "float32" (where None is given and `backend` has none) or "float64".
    precision : on CuPy what compiled steps and predictions compute products of float32 numbers in: None for float32,
        "tf32" for 11 bits of a significand, "bfloat16" for 8, which a card's tensor cores do several times as fast.
        Sums, parameters and all else stay float32. With "auto" it counts where CuPy is taken.

    Raises
    ------
    BackendUnavailable where the library or the device is not usable here, or float64 is asked of JAX without x64.
    ValueError for an unknown name or dtype.

    >>> resolve("auto").name in ("numpy", "cupy")
    True
    """
    own = backend.dtype if isinstance(backend, Backend) else "float32"
    dtype = _dtype_name(own if dtype is None else dtype)
    if isinstance(backend, Backend):
        name, xp, device = backend.name, backend.xp, backend.device
    elif isinstance(backend, ModuleType):
        name = _name_of(backend)
        bare = backend.__name__ in ("cupy", "torch", "jax")  # array API only by way of another namespace
        xp, device = load(name) if bare else backend, None
        if not hasattr(xp, "asarray") or not hasattr(xp, "matmul"):
            raise ValueError(f"backend must be an array namespace, got the module {backend.__name__!r}")
    elif isinstance(backend, str):
        name, _, place = backend.partition(":")
        name = check_choice("backend", name, ("auto", *INSTALL))
        if name == "auto":
            name = "cupy" if status("cupy").usable else "numpy"
        xp, device = load(name), place or None
    else:
        raise TypeError(f"backend must be a name, an array namespace or a Backend, got {backend!r}")
    if not isinstance(backend, Backend):
        if name in INSTALL:
            require(name)
        device = _device(name, xp, device)
    _check_dtype(name, xp, device, dtype)
    if name == "numpy":
        _keep_freed_memory()
    if isinstance(backend, Backend) and precision is None and dtype == "float32":
        precision = backend.precision
    return Backend(name, xp, device, dtype, _precision(precision, name, dtype, chosen=backend != "auto"))


def backend_of(array: Array, dtype: Any = None) -> Backend:
    """The Backend of the library and the device that `array` is of.

    >>> backend_of(np.zeros(3), "float64")
    Backend(numpy, float64)
    """
    from array_api_compat import array_namespace

    name = _name_of(array_namespace(array))
    place = device_label(name, None if name == "numpy" else getattr(array, "device", None))
    return resolve(f"{name}:{place}" if place else name, dtype)


@functools.cache
def _keep_freed_memory() -> None:
    """Make glibc reuse the memory of arrays up to 31 MiB, where it may hand each back to the system and zero a new one.

    Its threshold for doing so rises, for good, to the largest block of up to 32 MiB that was freed (mallopt(3),
    M_MMAP_THRESHOLD): one that is never touched costs a microsecond. Without it an update of 235,000 parameters by
    Adam took 2.0 ms where it takes 0.31. Other allocators take no notice.
    """
    np.empty(31 << 20, dtype=np.uint8)


def _name_of(namespace: ModuleType) -> str:
    root = namespace.__name__.removeprefix("array_api_compat.").partition(".")[0]
    return {"array_api_strict": "array-api-strict"}.get(root, root)


def _device(name: str, xp: Any, place: str | None) -> Any:
    """The device object for the text after the colon; None where the library has one device or takes its default."""
    try:
        if name == "cupy":
            number = int(place or xp.cuda.Device().id)
            if place is not None and not 0 <= number < (count := xp.cuda.runtime.getDeviceCount()):
                raise RuntimeError(f"there are {count} CUDA devices, numbered from 0")
            return xp.cuda.Device(number)
        if name == "torch":
            return xp.zeros(0, device=place or "cpu").device
        if name == "array-api-strict":
            return xp.Device(place or "CPU_DEVICE")
        if name == "jax" and place:
            import jax

            platform, _, index = place.partition(":")
            found = jax.devices(platform)
            if int(index or 0) >= len(found):
                raise RuntimeError(f"there are {len(found)} devices of platform {platform!r}, numbered from 0")
            return found[int(index or 0)]
    except Exception as error:
        text = " ".join(str(error).split())
        hint = f"; for a GPU: pip install {name} with CUDA" if name in ("torch", "jax") else ""
        raise BackendUnavailable(f"backend '{name}:{place}' is not usable here: {text}{hint}") from None
    if place not in (None, "cpu"):
        raise BackendUnavailable(f"backend '{name}:{place}' is not usable here: {name} has no device {place!r}")
    return None


def _is_array_of(name: str, array: Any) -> bool:
    if name == "numpy":
        return isinstance(array, np.ndarray)
    root = type(array).__module__.partition(".")[0]
    if name == "jax":
        if root not in ("jax", "jaxlib"):
            return False
        import jax

        return isinstance(array, jax.Array)  # a traced array is one too
    return root == name.replace("-", "_") and hasattr(array, "shape") and hasattr(array, "dtype")


def _dtype_name(dtype: Any) -> str:
    text = dtype if isinstance(dtype, str) else str(getattr(dtype, "__name__", dtype))
    name = {"float": "float64"}.get(text, text.rpartition(".")[2])  # Python's float is float64, as NumPy has it
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return name


def _precision(precision: Any, name: str, dtype: str, chosen: bool) -> str | None:
    """What products are computed in, None for the dtype itself."""
    if precision not in (None, "float32", "tf32", "bfloat16"):
        raise ValueError(f"precision must be None, 'float32', 'tf32' or 'bfloat16', got {precision!r}")
    if precision in (None, "float32"):
        return None
    if dtype != "float32":
        raise ValueError(f"precision={precision!r} is for products of float32 numbers, got dtype={dtype!r}")
    if name != "cupy":
        if chosen:
            raise ValueError(f"precision={precision!r} needs backend='cupy', got {name!r}: leave precision out there")
        return None
    return precision


def _check_dtype(name: str, xp: Any, device: Any, dtype: str) -> None:
    if dtype == "float64" and name == "jax":
        import jax

        if not jax.config.read("jax_enable_x64"):
            raise BackendUnavailable(
                "float64 on JAX needs x64: set the environment variable JAX_ENABLE_X64=1 before JAX is imported, "
                "or take dtype='float32'"
            )
    if dtype == "float64" and "no_float64" in str(device):
        raise BackendUnavailable(f"{device} has no float64: take dtype='float32'")
    if "no_x64" in str(device):
        raise BackendUnavailable(f"{device} has no int64, which the order of rows is in: take another device")
