"""A run's papers, kept in docs/runs: its settings and its log; its curves too, where it is a result of its own."""

from __future__ import annotations

import csv
import pathlib
import shutil

from tinyfer import runs

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUNS = ROOT / "docs" / "runs"


def keep(folder: runs.Folder, into: pathlib.Path, curves: bool = False) -> None:
    """Copy the papers; of the data's path only the file's name is kept."""
    into.mkdir(parents=True, exist_ok=True)
    lines = folder.config.read_text(encoding="utf-8").splitlines()
    (into / folder.config.name).write_text("\n".join(map(_named, lines)) + "\n", encoding="utf-8")
    for file in (folder.log, folder.curves) if curves else (folder.log,):
        shutil.copy(file, into / file.name)


def _named(line: str) -> str:
    """A line of config.toml, without the folders of `data`."""
    key, _, value = line.partition(" = ")
    return f'data = "{pathlib.PurePath(value.strip(chr(34))).name}"' if key == "data" else line


def read_log(folder: pathlib.Path) -> list[dict[str, float]]:
    """The rows of a kept run's log.csv, as numbers."""
    with open(folder / "log.csv", encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
