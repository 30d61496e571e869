"""Reading networks from files that `Network.save` and `callbacks.ModelCheckpoint` have written."""

from collections.abc import Mapping
from typing import Any

from xpnn import snapshot
from xpnn.backend import Backend, resolve
from xpnn.files import UnusableFile
from xpnn.network import Network
from xpnn.resume import history_of

__all__ = ["load"]


def load(
    path: Any, backend: Any = "numpy", dtype: Any = None, custom_layers: Mapping[str, Any] | None = None
) -> Network:
    """The network that the file at `path` holds, on any backend, with its training state where that is in it.

    Before anything is made of it, the file is compared with its checksum; nothing in it is executed.

    Parameters
    ----------
    backend, dtype : as in `Network`; dtype None is that of the file.
    custom_layers : the classes and functions, by name, of layers (losses, optimizers, schedules, initializers) that are
        not part of xpnn: {"MyLayer": MyLayer}.

    Raises
    ------
    UnusableFile, a ValueError, for a file that is cut off, altered, written by a later version, or describes what
    does not fit together; OSError where there is none. Nothing is loaded by half.

    >>> import pathlib, tempfile, xpnn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.safetensors")
    ...     xpnn.Network(xpnn.mlp([2, 3, 1]), seed=[1, 2]).save(path)
    ...     print(load(path, dtype="float64"))
    Network on numpy, float64, 2 members
      0  Dense(2, 3)  -> 3  9 parameters
      1  ReLU()       -> 3
      2  Dense(3, 1)  -> 1  4 parameters
    13 parameters a member
    """
    custom = {} if custom_layers is None else custom_layers
    if not isinstance(custom, Mapping):
        raise TypeError(f"custom_layers must be a dict of classes and functions by name, got {custom!r}")
    found = snapshot.read(path)
    told = found.network
    layers = snapshot.built_of(found, told.get("layers"), custom)
    if dtype is None and not isinstance(backend, Backend):
        dtype = told.get("dtype")
    where = resolve(backend, dtype)
    try:
        seeds, members = told["seeds"], told["members"]
        net = Network(layers, where, seed=seeds[0] if members is None else seeds, members=members)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UnusableFile(f"{path}: no network can be made of what it describes: {error}") from error
    net.history = history_of(found, net.members)
    with net.backend.current():
        net.progress = snapshot.progress_of(found, net, custom)
    net.metadata = dict(found.metadata or {})
    return net
