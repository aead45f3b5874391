"""A run's folder: config.toml, log.csv, last.npz, best.npz, final.npz, curves.png, confusion.png, report.html."""

from __future__ import annotations

import itertools
import os
import pathlib
import time

from tinyfer import checkpoint
from tinyfer.errors import UserError
from tinyfer.training import COLUMNS

CURVES_SHARE = 0.02  # of the time, at most, goes into drawing curves


class Folder:
    """The files of one run by name: last (to go on), best (to use: the epoch that validated best), final (the last
    epoch's model, which nothing was chosen by), and what is written for people."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.last, self.best, self.final = (self.path / f"{name}.npz" for name in ("last", "best", "final"))
        self.config, self.log = self.path / "config.toml", self.path / "log.csv"
        self.curves, self.confusion = self.path / "curves.png", self.path / "confusion.png"
        self.report = self.path / "report.html"
        self._next_curves = 0.0

    def create(self) -> None:
        """Make the folder and see that it can be written, before hours of training find out."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".probe-{os.getpid()}"
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            raise UserError(f"--out {self.path}: cannot write there ({error.strerror}); choose a folder of "
                            f"yours.") from error

    def write_bytes(self, path: pathlib.Path, content: bytes) -> None:
        """A file, whole or not at all."""
        checkpoint.write_atomically(path, lambda file: file.write(content))

    def write_text(self, path: pathlib.Path, text: str) -> None:
        """A text file, whole or not at all."""
        self.write_bytes(path, text.encode())

    def write_log(self, rows: list[dict]) -> None:
        """log.csv: one line an epoch, fractions rather than per cent."""
        lines = [",".join(COLUMNS)] + [",".join(_cell(name, row[name]) for name in COLUMNS) for row in rows]
        self.write_text(self.log, "\n".join(lines) + "\n")

    def refresh_curves(self, rows: list[dict], now: bool = False) -> None:
        """Draw curves.png again, unless drawing has lately cost more than a small share of the time."""
        start = time.monotonic()
        if rows and (now or start >= self._next_curves):
            from tinyfer import plots
            self.write_bytes(self.curves, plots.png(plots.curves(rows)))
            spent = time.monotonic() - start
            self._next_curves = start + spent / CURVES_SHARE


def _cell(name: str, value) -> str:
    if name in ("epoch", "step", "size"):
        return str(value)
    return f"{value:.1f}" if name in ("seconds", "images_per_s") else f"{value:.6g}" if name == "lr" else f"{value:.6f}"


def fresh(name: str, root: str = "runs") -> Folder:
    """The first of runs/NAME-1, runs/NAME-2, ... that is not there yet, made: two programs that begin at the same
    moment get one each."""
    for number in itertools.count(1):
        path = pathlib.Path(root) / f"{name}-{number}"
        try:
            path.mkdir(parents=True)
            return Folder(path)
        except OSError as error:
            if not (isinstance(error, FileExistsError) and path.exists()):
                raise UserError(f"{path}: cannot be made ({error.strerror}); name a folder of yours by "
                                f"--out.") from error
    raise AssertionError
