"""Arrays and text in one file that is whole or refused: the safetensors format, a checksum, and a write that replaces.

A file is written beside its place, flushed to the disk and renamed: whatever happens meanwhile, in its place is the old
file or the new one. What is read is compared with its checksum before anything is made of it. Nothing in a file is ever
executed.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FORMAT, VERSION = "xpnn", 1
"""What a file says of itself. A version stands for what names and texts in a file mean; older ones stay readable."""
HEADER = 100_000_000
"""The longest header that is read, as in safetensors."""
TEMPORARY = ".tmp"


class UnusableFile(ValueError):
    """A file that cannot be used: cut off, altered, of another kind, or written by a later version."""


class Content(NamedTuple):
    """What a file holds: host arrays by name, and text by name."""

    tensors: dict[str, np.ndarray]
    texts: dict[str, str]


def write(path: Any, tensors: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Write host arrays and text to `path` in place of what is there; raises OSError, and leaves that, where it cannot.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(folder + "/a.safetensors", {"x": np.eye(2)}, {"note": "two"})
    ...     read(folder + "/a.safetensors").tensors["x"][0], read(folder + "/a.safetensors").texts["note"]
    (array([1., 0.]), 'two')
    """
    from safetensors.numpy import save

    # safetensors takes an array's memory as it lies: one that is transposed or strided would be saved wrong
    rows = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    rows = {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in rows.items()}
    texts = {**texts, "format": FORMAT, "format_version": str(VERSION)}
    replace(path, save(rows, {**texts, "sha256": checksum(rows, texts)}))


def replace(path: Any, content: bytes) -> None:
    """Put `content` in the place of the file at `path`, at once: at any moment there is the old file or the new one.

    Raises OSError where it cannot be written; then the old file stands.
    """
    place = os.path.realpath(checked(path))  # a link stays a link
    folder, name = os.path.split(place)
    if os.path.isdir(place):
        raise IsADirectoryError(f"path: {path!r} is a folder: give the path of a file in it")
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"path: there is no folder {folder!r} to write {name!r} into")
    beside = os.path.join(folder, f".{name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY}")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    with suppress(OSError):  # the name too is to be on the disk; not every system can say so
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def checked(path: Any, name: str = "path", of: str = "a file") -> Any:
    """The path of a file or folder; raises TypeError where it is none."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise TypeError(f"{name} must be the path of {of}, got {path!r}")
    return path


def clear(folder: Any) -> None:
    """Remove what writes that were broken off, by a crash say, have left in `folder`."""
    for path in Path(folder).glob(f".*{TEMPORARY}"):
        with suppress(OSError):
            path.unlink()


def read(path: Any) -> Content:
    """What the file at `path` holds, its checksum compared.

    Raises
    ------
    UnusableFile for a file that is cut off, altered, of another kind or of a later version; OSError where there is no
    file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if os.path.isdir(checked(path)):
        raise IsADirectoryError(f"{path} is a folder: give the path of a file in it")
    with open(path, "rb") as file:
        begin = file.read(8)
        length, size = int.from_bytes(begin, "little"), os.fstat(file.fileno()).st_size
        if len(begin) < 8 or length > min(size - 8, HEADER):
            raise UnusableFile(
                f"{path} is cut off, or no safetensors file: its beginning speaks of a header of {length} bytes, the "
                f"file has {size}"
            )
        header = file.read(length)
        texts = _texts(path, header)
        content = begin + header + file.read()
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UnusableFile(f"{path} is cut off or altered: {error}") from None
    said = texts.pop("sha256", None)
    if said != checksum(tensors, texts):
        raise UnusableFile(
            f"{path} is altered: its content does not give the checksum that it was written with. Take a copy of it"
        )
    return Content(tensors, texts)


def _texts(path: Any, header: bytes) -> dict[str, str]:
    """The text of a header, of a kind and a version that can be read."""
    try:
        found = json.loads(header)
    except (ValueError, RecursionError):
        raise UnusableFile(f"{path} is altered, or no safetensors file: its header cannot be read") from None
    texts: Any = found.get("__metadata__") if isinstance(found, dict) else None
    plain = isinstance(texts, dict) and all(isinstance(text, str) for text in texts.values())
    if not plain or texts.get("format") != FORMAT:
        raise UnusableFile(
            f"{path} was not written by xpnn: arrays of other libraries' files go into a network through its `params`"
        )
    version = texts.get("format_version", "")
    if not (version.isascii() and version.isdigit()) or int(version) < 1:
        raise UnusableFile(f"{path} is altered: it names {version!r} as the version of its format")
    if int(version) > VERSION:
        raise UnusableFile(
            f"{path} has format {version}, of a later xpnn than this one, which reads up to {VERSION}: "
            "pip install --upgrade xpnn"
        )
    if not header.startswith(b"{") or not header.rstrip(b" ").endswith(b"}"):  # what only padding could hide
        raise UnusableFile(f"{path} is altered: its header is not filled up with blanks")
    return dict(texts)


def checksum(tensors: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> str:
    """The SHA-256 of texts, and of the names, dtypes, shapes and bytes of arrays, whatever their order in the file."""
    found = hashlib.sha256()
    for part in _parts(tensors, texts):
        found.update(len(part).to_bytes(8, "little"))  # so that no two contents are the same string of bytes
        found.update(part)
    return found.hexdigest()


def _parts(tensors: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> Iterator[Any]:
    for name in sorted(texts):
        yield from (name.encode(), texts[name].encode())
    for name in sorted(tensors):
        array = tensors[name]
        about = [name, array.dtype.str.replace(">", "<"), list(array.shape)]
        yield json.dumps(about).encode()
        yield np.ravel(array).view(np.uint8).data if array.size else b""
