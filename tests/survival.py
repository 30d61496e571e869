"""What files survive: `python -m tests.survival` kills, flips and fills at full length; the suite runs a smaller part.

* `kills`: a process that saves without a pause is killed at a random moment, again and again. What stands in the place
  is always one of the networks that were saved, whole.
* `trainings`: a training that writes checkpoints is killed at random moments until it comes to its end, and ends bit
  for bit where one ends that nobody disturbed: a network, a stack and an estimator.
* `flips`: every byte of a file changed in turn, and the file cut off at every length: all are refused.
* `full`: a disk without room; the old file stands, and nothing is left beside it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import xpnn
from xpnn import files
from xpnn.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from xpnn.progress import leaves

ROOT = Path(__file__).parent.parent
KINDS = ("network", "stack", "estimator")
WIDTH = 120  # of what is saved: some 100 kB, so that a write takes a while


def marked(number: int) -> xpnn.Network:
    """A network all of whose weights are one number."""
    net = xpnn.Network(xpnn.mlp([WIDTH, WIDTH, WIDTH], weight_init="zeros"))
    net.params = [{name: np.full_like(array, number) for name, array in layer.items()} for layer in net.params]
    return net


def save_without_end(path: str) -> None:
    for number in range(1, 10**9):
        marked(number % 1000).save(path)
        print(number, flush=True)


def train(kind: str, folder: str, epochs: int, pause: float) -> Any:
    """A training with checkpoints, which takes `pause` seconds an epoch; the parameters that it ends with."""
    x, y = xpnn.datasets.circles()
    saved = ModelCheckpoint(folder, every=2, monitor=None if kind == "estimator" else "val_loss")

    def told(net: Any, epoch: int, logs: Any) -> None:
        print(epoch, flush=True)
        time.sleep(pause)

    wait = [told] if pause else []
    if kind == "estimator":
        from xpnn.sklearn import MLPClassifier

        model = MLPClassifier((8,), max_iter=epochs, random_state=1, early_stopping=True, n_iter_no_change=epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # all epochs are made
            model.set_params(callbacks=[*wait, saved]).fit(x, y[:, 0], resume=folder)
        return model.network_
    layers = [xpnn.Dense(2, 8), xpnn.BatchNorm(8), "relu", xpnn.Dropout(0.2), xpnn.Dense(8, 1), "sigmoid"]
    net = xpnn.Network(layers, seed=1, members=3 if kind == "stack" else None)
    watch = [EarlyStopping(patience=epochs // 2), ReduceLROnPlateau(patience=5, factor=0.5), *wait, saved]
    options = {"validation_split": 0.3, "callbacks": watch, "epochs": epochs, "resume": folder}
    net.fit(x, y, "bce", xpnn.Adam(0.05, average=0.9), **options)
    return net


def started(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.survival", *args]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kills(count: int, folder: str, rng: random.Random) -> int:
    """How many networks had been saved by processes that were killed `count` times while they saved."""
    path, saved = os.path.join(folder, "net.safetensors"), 0
    for _ in range(count):
        with started("--save-without-end", path) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
            time.sleep(rng.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
            saved += 1 + len(process.stdout.readlines())
        weights = xpnn.load(path).weights
        assert len({float(value) for array in weights for value in np.unique(array)}) == 1, "a mixture of two networks"
    files.clear(folder)
    assert os.listdir(folder) == ["net.safetensors"]
    return saved


def trainings(kind: str, epochs: int, folder: str, rng: random.Random, every: float = 0.3, pause: float = 0.02) -> int:
    """How often a training was killed, after up to `every` seconds of it, before it came to its end.

    An epoch takes `pause` seconds at least.
    """
    whole, broken = os.path.join(folder, "whole"), os.path.join(folder, "broken")
    wanted, count = train(kind, whole, epochs, 0.0), 0
    while True:
        with started("--train", kind, broken, str(epochs), str(pause)) as process:
            assert process.stdout is not None
            process.stdout.readline()  # an epoch has ended
            try:
                process.wait(rng.uniform(0.0, every))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                count += 1
        if process.returncode == 0:
            break
    found = train(kind, broken, epochs, 0.0)  # from the last checkpoint on
    pairs = zip(leaves(wanted.progress.carry), leaves(found.progress.carry), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs), f"another {kind} than that of an unbroken training"
    assert str(wanted.history.history) == str(found.history.history)
    return count


def flips(path: str, masks: Any) -> Iterator[bytes]:
    """The file at `path` with one byte changed, each in turn, and cut off at each length; longer, too."""
    with open(path, "rb") as file:
        whole = file.read()
    for place in range(len(whole)):
        for mask in masks:
            yield whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :]
        yield whole[:place]
    yield whole + b"\0"
    yield whole + whole


def refused(path: str, masks: Any) -> int:
    """How many damaged files were refused: all of them."""
    count, damaged = 0, path + ".damaged"
    for content in flips(path, masks):
        with open(damaged, "wb") as file:
            file.write(content)
        try:
            xpnn.load(damaged)
        except xpnn.UnusableFile:
            count += 1
        else:
            raise AssertionError(f"a damaged file was read: {damaged}")
    os.unlink(damaged)
    return count


def small(path: str) -> None:
    """A small file of all that there can be in one: layers, state, optimizer and text."""
    net = xpnn.Network([xpnn.Dense(2, 1), xpnn.BatchNorm(1), xpnn.sigmoid], seed=[1, 2])
    net.fit([[0.0, 1.0], [1.0, 1.0]], [0.0, 1.0], "bce", epochs=1)
    net.save(path, {"of": "a test"}, training=True)


def full(folder: str) -> None:
    """Save into a folder on a disk that is too small for a second file."""
    path = os.path.join(folder, "net.safetensors")
    marked(1).save(path)
    with open(path, "rb") as file:
        before = file.read()
    try:
        marked(2).save(path)
    except OSError as error:
        print(f"refused: {error}")
    else:
        raise AssertionError("there was room for a second file")
    with open(path, "rb") as file:
        assert file.read() == before
    assert os.listdir(folder) == ["net.safetensors"]


def with_full_disk() -> str:
    """`full` on a tmpfs with room for one file and a half; what there is to say of it."""
    size = 6 * WIDTH * WIDTH * 2
    with tempfile.TemporaryDirectory() as place:
        inner = f"mount -t tmpfs -o size={size} none {place} && {sys.executable} -m tests.survival --full {place}"
        mounting = ["unshare", "--mount", "--map-root-user", "sh", "-c", inner]
        try:
            done = subprocess.run(mounting, cwd=ROOT, capture_output=True, text=True)
        except FileNotFoundError:
            return "not tried: there is no `unshare`"
    if "AssertionError" in done.stderr:
        raise AssertionError(done.stderr)
    return f"not tried: {done.stderr.strip()}" if done.returncode else done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of a process that saves")
    parser.add_argument("--epochs", type=int, default=400, help="of each training that is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--save-without-end", metavar="PATH", help=argparse.SUPPRESS)
    parser.add_argument("--train", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--full", metavar="FOLDER", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.save_without_end:
        save_without_end(asked.save_without_end)
    elif asked.train:
        kind, folder, epochs, pause = asked.train
        train(kind, folder, int(epochs), float(pause))
    elif asked.full:
        full(asked.full)
    else:
        rng = random.Random(asked.seed)
        with tempfile.TemporaryDirectory() as folder:
            print(f"{asked.kills} kills while {kills(asked.kills, folder, rng)} networks were saved: each file whole")
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as folder:
                count = trainings(kind, asked.epochs, folder, rng)
            print(f"{kind}: killed {count} times in {asked.epochs} epochs, and ended where the unbroken one did")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "small.safetensors")
            small(path)
            print(f"{refused(path, range(1, 256))} damaged files of {os.path.getsize(path)} bytes: all refused")
        print(f"a full disk: {with_full_disk()}")


if __name__ == "__main__":
    main()
