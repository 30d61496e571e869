"""Checkpoints: files from which a training goes on that was broken off, and the best network so far."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from xpnn import files
from xpnn._arguments import check_count
from xpnn.callbacks.base import busy, numbers_of, unused
from xpnn.callbacks.monitor import Monitor

_NAME = re.compile(r"epoch-(\d{6,})\.safetensors")


def latest(place: Any) -> Path | None:
    """The file at `place`, or the checkpoint of the latest epoch in that folder; None where there is neither.

    >>> latest("no/such/folder") is None
    True
    """
    place = Path(files.checked(place, "resume", "a folder or a file"))
    if place.is_file():
        return place
    found = _checkpoints(place)
    return found[max(found)] if found else None


def _checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by the number of epochs that had ended."""
    if not folder.is_dir():
        return {}
    return {int(found[1]): path for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))}


@dataclass(eq=False)
class ModelCheckpoint(Monitor):
    """Writes the training into a folder as it goes, so that `fit(resume=folder)` goes on where it was broken off.

    A checkpoint "epoch-000012.safetensors" is written after every `every` epochs, here when 12 were finished: network,
    optimizer, what was recorded and what the other callbacks know. It is in its place whole or not at all, whenever the
    process is killed. With `monitor` there is "best.safetensors" too, the network of the best epoch as `net.save`
    writes it; of a stack each member's own best. `xpnn.load` reads both.

    Parameters
    ----------
    directory : the folder; it is made where it is not there.
    every : epochs from one checkpoint to the next.
    keep : how many checkpoints stay, the latest ones; None keeps all.
    monitor, mode : what is recorded, and which end of it is better, as in `EarlyStopping`; None writes no best one.

    Raises
    ------
    ValueError, before training, where the folder has checkpoints of later epochs than the network's (of an earlier
    run: give `resume`, or another folder), or serves another training that runs. OSError where a file cannot be
    written; the network then stands as after its last epoch.

    >>> import tempfile, xpnn
    >>> x, y = xpnn.datasets.circles()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for epochs in (5, 8):  # 5 epochs, and then, as if in another process, the 3 that are left of 8
    ...         net = xpnn.Network(xpnn.mlp([2, 8, 1], output="sigmoid"))
    ...         saved = ModelCheckpoint(folder)
    ...         history = net.fit(x, y, "bce", epochs=epochs, callbacks=[saved], resume=folder)
    >>> len(history["loss"]), net.epoch
    (8, 8)
    """

    directory: Any
    every: int = 1
    keep: int | None = 1
    monitor: str | None = None
    mode: str = "auto"

    patience: ClassVar = 0
    min_delta: ClassVar = 0.0

    def __post_init__(self):
        if not isinstance(self.directory, str | os.PathLike):
            raise TypeError(f"directory must be the path of a folder, got {self.directory!r}")
        self.every = check_count("every", self.every)
        self.keep = None if self.keep is None else check_count("keep", self.keep)
        if self.monitor is not None:
            super().__post_init__()
        self._held: str | None = None

    def on_fit_begin(self, net, epochs):
        if self.monitor is not None:
            super().on_fit_begin(net, epochs)
        folder = Path(self.directory)
        folder.mkdir(parents=True, exist_ok=True)
        place = unused("directory", folder)
        later = [number for number in _checkpoints(folder) if number > net.epoch]
        if later and not net.history.epoch:
            raise ValueError(
                f"directory: {folder} has checkpoints up to epoch {max(later)} of an earlier run, and this network has "
                f"{net.epoch} epochs behind it: give fit(resume={str(folder)!r}) to go on from them, or another folder"
            )
        self._held = place
        busy.add(place)
        files.clear(folder)
        self._best: list[float] = []
        self._carry: Any = None  # of a stack, what each member's best epoch left

    def on_epoch_end(self, net, epoch, logs):
        if self.monitor is not None:
            self._found = numbers_of(logs[self.monitor])

    def on_epoch_kept(self, net, epoch, standing):
        if self.monitor is not None:
            self._keep_best(net)
        if len(standing.history.epoch) % self.every == 0:
            folder = Path(self.directory)
            standing.save(folder / f"epoch-{net.epoch:06d}.safetensors")
            found = _checkpoints(folder)
            for number in sorted(found)[: -self.keep] if self.keep else ():
                found[number].unlink(missing_ok=True)

    def _keep_best(self, net: Any) -> None:
        before = self._best or [math.nan] * len(self._found)
        better = [self.is_better(value, best) for value, best in zip(self._found, before, strict=True)]
        if not any(better):
            return
        self._best = [new if is_new else old for new, old, is_new in zip(self._found, before, better, strict=True)]
        best = net
        if net.members is not None:
            each = better if len(better) > 1 else better * net.members
            self._carry = net.progress.carry_of(each, self._carry, net.backend)
            best = net.copy()
            best.progress = net.progress._replace(carry=self._carry)
        best.save(Path(self.directory) / "best.safetensors")

    def on_fit_end(self, net, history):
        busy.discard(self._held or "")
        self._held = self._carry = None

    def state(self):
        return {"best": self._best, "carry": None if self._carry is None else self._carry.arrays()}

    def restore(self, net, state):
        self._best, carry = state["best"], state["carry"]
        self._carry = None if carry is None else net.progress.carry.made_of(carry, net.backend)
