"""What an epoch gave, shown or written where people look: a file, a bar, a line."""

import csv
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnn import files
from xpnn._arguments import check_flag, settle
from xpnn.callbacks.base import Callback, busy, numbers_of, range_of, repeated, trained, unused


@dataclass(eq=False)
class CSVLogger(Callback):
    """A line for each epoch in the file at `path`: its number and what was recorded, of a stack loss_0, loss_1, ...

    The columns stand in the first line; each line is in the file when its epoch ends. Numbers are as exact as in
    `history`. An epoch that is undone leaves no line, where the file is one that can be taken back. A fit that is
    resumed writes on after the line of its checkpoint.

    Parameters
    ----------
    path : of the file, whose folder must be there.
    append : write on where the file ends, which must have the same columns; False writes it anew.
    separator : the character between the numbers.

    Raises
    ------
    Before training, OSError where the file cannot be opened and ValueError where its columns are others, or another
    training writes into it.

    >>> import pathlib, tempfile, xpnn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLogger(folder + "/log.csv")
    ...     history = xpnn.Network(xpnn.mlp([1, 1])).fit([[0.0]], [0.0], epochs=2, callbacks=[log])
    ...     print(pathlib.Path(log.path).read_text(), end="")
    epoch,loss
    0,0.0
    1,0.0
    """

    path: Any
    append: bool = False
    separator: str = ","

    def __post_init__(self):
        files.checked(self.path)
        settle(self, check_flag, "append")
        if not isinstance(self.separator, str) or len(self.separator) != 1:
            raise ValueError(f"separator must be one character, got {self.separator!r}")
        self._file: Any = None

    def on_fit_begin(self, net, epochs):
        names, self._count, self._row = list(net.history.better), net.members or 1, None
        if net.members is not None:
            names = [f"{name}_{k}" for name in names for k in range(net.members)]
        columns, found = ["epoch", *names], None
        if self.append and os.path.isfile(self.path):
            with open(self.path, newline="", encoding="utf-8") as file:
                found = next(csv.reader(file, delimiter=self.separator), None)
        if found not in (None, columns):
            differ = f"path: {self.path} has the columns {found}, this training records {columns}"
            raise ValueError(f"{differ}: give another path, or append=False to write it anew")
        place = unused("path", self.path)
        resumed = bool(net.history.epoch) and os.path.isfile(self.path)
        mode = "r+" if resumed else "a" if self.append else "w"
        self._columns = columns
        self._file = open(self.path, mode, newline="", encoding="utf-8")  # noqa: SIM115
        self._place = place
        busy.add(place)
        if found is None and not resumed:
            self._write(columns)

    def on_epoch_end(self, net, epoch, logs):
        self._row = epoch, self._file.tell() if self._file.seekable() else None
        self._row_of(epoch, logs)

    def state(self):
        return {"size": self._file.tell() if self._file.seekable() else None}

    def restore(self, net, state):
        """Lines of epochs that came after the checkpoint are taken back, they will be written again."""
        size = state["size"]
        if size is None or not self._file.seekable():
            return
        if size <= self._file.seek(0, os.SEEK_END):
            self._file.seek(size)
            self._file.truncate()
            return
        self._file.seek(0)  # another file than then: all that was recorded
        self._file.truncate()
        self._write(self._columns)
        for i, epoch in enumerate(net.history.epoch):
            self._row_of(epoch, {name: values[i] for name, values in net.history.history.items()})

    def _row_of(self, epoch: int, logs: Any) -> None:
        self._write([epoch, *(one for value in logs.values() for one in repeated(numbers_of(value), self._count))])

    def _write(self, row: list[Any]) -> None:
        csv.writer(self._file, delimiter=self.separator, lineterminator="\n").writerow(row)
        self._file.flush()

    def on_fit_end(self, net, history):
        busy.discard(self._place)
        with self._file as file:
            self._file = None  # an open file can be neither copied nor pickled
            epoch, start = self._row or (None, None)
            if start is not None and history.epoch[-1:] != [epoch]:
                file.truncate(start)


class _Report(Callback):
    """What is told after each epoch: what was recorded, the learning rate, rows a second."""

    reads_weights: ClassVar = False

    def on_fit_begin(self, net, epochs):
        self._epochs, self._behind, self._began = epochs, len(net.history.epoch), time.perf_counter()

    def _told(self, net: Any, logs: Mapping[str, Any]) -> dict[str, str]:
        """Names and short texts; of a stack the range over the members still trained, and how many these are."""
        told = {name: range_of(value) for name, value in logs.items()}
        if net.learning_rate is not None:
            told["learning_rate"] = range_of(net.learning_rate)
        count, members = len(trained(logs["loss"])), len(numbers_of(logs["loss"]))
        if count < members:
            told["trained"] = f"{count} of {members}"
        made, seconds = len(net.history.epoch) - self._behind, time.perf_counter() - self._began
        if net.history.samples and made and seconds > 0.0:
            told["rows/s"] = f"{made * net.history.samples / seconds:,.0f}"
        return told


class ProgressBar(_Report):
    """A tqdm bar on standard error: time gone and left, the last epoch's numbers, the learning rate, rows a second.

    `fit(verbose=1)` adds one. In a notebook it is a notebook's bar; where standard error is no terminal, as in a log
    file, there is none.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([1, 1]))
    >>> history = net.fit([[0.0], [1.0]], [1.0, 3.0], epochs=2, callbacks=[ProgressBar()])
    """

    def on_fit_begin(self, net, epochs):
        from tqdm.auto import tqdm

        super().on_fit_begin(net, epochs)
        notebook = any(one.__module__ == "tqdm.notebook" for one in tqdm.__mro__)  # where no stream is a terminal
        hidden = False if notebook else None  # None: where the stream is no terminal
        self._bar: Any = tqdm(total=epochs, initial=self._behind, unit="epoch", dynamic_ncols=True, disable=hidden)

    def on_epoch_end(self, net, epoch, logs):
        if not self._bar.disable:
            self._bar.set_postfix(self._told(net, logs), refresh=False)
            self._bar.update()

    def on_fit_end(self, net, history):
        self._bar.close()
        self._bar = None


class PrintEpoch(_Report):
    """One line an epoch on standard output, in columns; `fit(verbose=2)` adds one.

    >>> import xpnn
    >>> net = xpnn.Network(xpnn.mlp([1, 1]))
    >>> history = net.fit([[0.0]], [0.0], epochs=10, callbacks=[PrintEpoch()])  # doctest: +ELLIPSIS
    epoch  1/10  loss         0  learning_rate     0.001  rows/s ...
    epoch  2/10  loss         0  learning_rate     0.001  rows/s ...
    ...
    """

    def on_epoch_end(self, net, epoch, logs):
        number, told = len(net.history.epoch), self._told(net, logs)
        columns = [f"{name} {text:>9}" for name, text in told.items()]
        print(f"epoch {number:>{len(str(self._epochs))}}/{self._epochs}", *columns, sep="  ")
