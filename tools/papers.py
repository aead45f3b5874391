"""A run's papers, kept in docs/runs: its settings and its log; its curves too, where it is a result of its own."""

from __future__ import annotations

import csv
import json
import pathlib
import shutil

from tinyfer import cli, runs

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUNS = ROOT / "docs" / "runs"


def keep(folder: runs.Folder, into: pathlib.Path, curves: bool = False) -> None:
    """Copy the papers; of the data's path only the file's name is kept."""
    into.mkdir(parents=True, exist_ok=True)
    data = pathlib.PureWindowsPath(cli.read_toml(folder.config)["data"]).name  # it knows either kind of slash
    lines = [f"data = {json.dumps(data)}" if line.startswith("data = ") else line
             for line in folder.config.read_text(encoding="utf-8").splitlines()]
    (into / folder.config.name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for file in (folder.log, folder.curves) if curves else (folder.log,):
        shutil.copy(file, into / file.name)


def read_log(folder: pathlib.Path) -> list[dict[str, float]]:
    """The rows of a kept run's log.csv, as numbers."""
    with open(folder / "log.csv", encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
