"""Files: whole, altered, cut off, foreign, newer; and a write that fails leaves what was there."""

import json
import os
import random
import resource
import subprocess
import sys

import numpy as np
import pytest

import xpnn
from tests import survival
from xpnn import UnusableFile, files

ARRAYS = {
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "fortran": np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
    "strided": np.arange(12)[::3],
    "reversed": np.arange(5.0)[::-1],
    "broadcast": np.broadcast_to(np.float64(2.0), (3, 2)),
    "big endian": np.arange(3, dtype=">f8"),
    "empty": np.zeros((0, 3), np.float32),
    "number": np.float64(3.0),
    "bools": np.asarray([[True, False]]),
}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_were_however_they_lie_in_memory(name, path):
    files.write(path, {"x": ARRAYS[name], "y": np.ones(2)}, {"text": "Gewürz\n"})
    found = files.read(path)
    assert np.array_equal(found.tensors["x"], ARRAYS[name]) and found.tensors["x"].shape == ARRAYS[name].shape
    assert found.tensors["x"].dtype == ARRAYS[name].dtype.newbyteorder("=")
    assert found.texts["text"] == "Gewürz\n"


def test_other_tools_read_the_file_and_a_foreign_file_is_refused(path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    xpnn.Network(xpnn.mlp([2, 1])).save(path)
    with safe_open(path, framework="np") as opened:
        assert set(opened.keys()) == {"0.weight", "0.bias"} and opened.metadata()["format"] == "xpnn"
    save_file({"0.weight": np.ones((2, 1))}, path)
    with pytest.raises(UnusableFile, match="was not written by xpnn"):
        files.read(path)


def test_every_damaged_file_is_refused(path):
    survival.small(path)
    assert survival.refused(path, (0x01, 0x20, 0xFF)) > 3 * os.path.getsize(path)


def header(text: bytes, length=None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text


META = {"format": "xpnn", "format_version": "1", "network": "{}"}
FOREIGN = {
    "nothing": (b"", "cut off"),
    "a few bytes": (b"abc", "cut off"),
    "an oversized header": (header(b"{}", 1 << 60), "a header of 1152921504606846976 bytes"),
    "a header beyond the file": (header(b"{}", 100), "a header of 100 bytes"),
    "a pickle": (b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00N.", "cut off|no safetensors file"),
    "no JSON": (header(b"{" + b"[" * 20), "header cannot be read"),
    "deeply nested": (header(b"[" * 100_000), "header cannot be read"),
    "not Unicode": (header(b'{"\xff":1}'), "header cannot be read"),
    "a list": (header(b"[1]"), "was not written by xpnn"),
    "numbers for text": (header(json.dumps({"__metadata__": META | {"format": 1}}).encode()), "was not written by"),
    "no version": (header(json.dumps({"__metadata__": META | {"format_version": "x"}}).encode()), "names 'x' as"),
    "a later version": (
        header(json.dumps({"__metadata__": META | {"format_version": "2"}}).encode()),
        "format 2, of a later xpnn than this one, which reads up to 1: pip install --upgrade xpnn",
    ),
    "no checksum": (header(json.dumps({"__metadata__": META}).encode()), "does not give the checksum"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_no_such_file_is_refused_with_its_reason(case, path):
    content, message = FOREIGN[case]
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(UnusableFile, match=message) as caught:
        xpnn.load(path)
    assert path in str(caught.value)


def test_a_file_that_is_not_there_and_a_folder_are_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        xpnn.load(tmp_path / "no.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        xpnn.load(tmp_path)


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(fails, path, tmp_path, monkeypatch):
    files.write(path, {"x": np.ones(3)}, {})

    def broken(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, broken)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, {"x": np.zeros(3)}, {})
    monkeypatch.undo()
    assert files.read(path).tensors["x"].tolist() == [1.0] * 3 and os.listdir(tmp_path) == ["a.safetensors"]


def test_a_file_larger_than_may_be_written_leaves_the_old_one(path, tmp_path):
    files.write(path, {"x": np.ones(3)}, {})
    code = (
        "import resource, signal, sys, numpy; from xpnn import files; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); files.write(sys.argv[1], {'x': numpy.ones(999)}, {})"
    )
    done = subprocess.run([sys.executable, "-c", code, path], cwd=survival.ROOT, capture_output=True, text=True)
    assert "OSError" in done.stderr and resource.RLIMIT_FSIZE is not None
    assert files.read(path).tensors["x"].tolist() == [1.0] * 3 and os.listdir(tmp_path) == ["a.safetensors"]


def test_a_full_disk_leaves_the_old_file():
    found = survival.with_full_disk()
    if found.startswith("not tried"):
        pytest.skip(found)
    assert "No space left on device" in found


def test_processes_killed_while_they_save_leave_whole_files(tmp_path):
    assert survival.kills(4, str(tmp_path), random.Random(0)) >= 4


def test_what_is_no_path_is_told(tmp_path):
    net = xpnn.Network(xpnn.mlp([2, 1]))
    for wrong in (3.5, None, ""):
        for call in (net.save, xpnn.load):
            with pytest.raises(TypeError, match="path must be the path of a file, got"):
                call(wrong)
    with pytest.raises(TypeError, match="resume must be the path of a folder or a file, got 3"):
        net.fit([[0.0, 1.0]], [1.0], resume=3)
    with pytest.raises(IsADirectoryError, match="is a folder: give the path of a file in it"):
        net.save(tmp_path)


def test_a_link_stays_a_link_and_a_missing_folder_is_told(path, tmp_path):
    link = tmp_path / "link.safetensors"
    files.write(path, {"x": np.ones(1)}, {})
    link.symlink_to(path)
    files.write(link, {"x": np.zeros(1)}, {})
    assert link.is_symlink() and files.read(path).tensors["x"] == 0.0
    with pytest.raises(FileNotFoundError, match=r"there is no folder .* to write 'a.safetensors' into"):
        files.write(tmp_path / "no" / "a.safetensors", {}, {})
