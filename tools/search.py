"""Which settings help? Train the runs that tools/search.toml lists, those that are not there yet:

    python -m tools.search --data fer2013.csv --out ~/searches

They differ from a common base in one setting each. Their settings and logs are kept in docs/runs/GROUP, and what is
there is not done again; `python -m tools.results` makes the tables of docs/results.md of them. Ctrl-C stops; the same
command goes on."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tinyfer import cli, runs
from tinyfer.cli import option
from tinyfer.errors import UserError
from tinyfer.train import Options as Training
from tools import papers

PLAN = papers.ROOT / "tools" / "search.toml"


@dataclass(frozen=True)
class Options:
    """The flags of this program."""

    data: str = option("", "FER-2013, with its PublicTest", metavar="PATH")
    out: str = option("", "where the runs' folders go", metavar="FOLDER")
    only: tuple[str, ...] = option((), "only these groups of tools/search.toml", metavar="GROUP")
    seed: int | None = option(None, "only the runs of this seed")
    threads: int | None = option(None, "processor threads of each run (default: all): two searches by two seeds on a "
                                 "thread each get further than one on two", low=1)


class Trial(NamedTuple):
    """One run of a group: what is different in it (nothing in the base), its seed, all its settings."""

    group: str
    variant: str
    seed: int
    settings: dict

    @property
    def folder(self) -> str:
        """Where it lies, below a folder of runs: small/rate-0.1-seed-1."""
        return f"{self.group}/{slug(self.variant)}-seed-{self.seed}"


def slug(variant: str) -> str:
    """A variant's name as part of a folder's."""
    return re.sub(r"[^a-z0-9.]+", "-", variant.lower()).strip("-")


def groups(plan=PLAN) -> dict[str, dict]:
    """The groups of the plan: what, seeds, base, variants."""
    return cli.read_toml(plan)


def trials(name: str, group: dict) -> Iterator[Trial]:
    """A group's runs: all of the first seed, beginning with the base, then all of the second."""
    for seed in group["seeds"]:
        for variant, change in {"base": {}, **group["variants"]}.items():
            yield Trial(name, variant, seed, {**group["base"], **change, "seed": seed})


def main(options: Options) -> int:
    """Train what is missing."""
    if not (options.data and options.out):
        raise UserError("name --data fer2013.csv and, for the runs, --out FOLDER.")
    plan = groups()
    for name in options.only:
        if name not in plan:
            raise UserError(f"--only {name}: tools/search.toml has the groups {', '.join(plan)}.")
    for name in options.only or plan:
        for trial in trials(name, plan[name]):
            if options.seed in (None, trial.seed) and not (papers.RUNS / trial.folder).exists():
                train(trial, options)
    return 0


def train(trial: Trial, options: Options) -> None:
    """One run, in a process of its own, to its end; its papers are kept."""
    folder = runs.Folder(f"{options.out}/{trial.folder}")
    print(f"\n=== {trial.group}: {trial.variant}, seed {trial.seed}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        config = pathlib.Path(scratch, "config.toml")
        config.write_text(cli.to_toml(Training(**{key.replace("-", "_"): value
                                                  for key, value in trial.settings.items()})), encoding="utf-8")
        command = [sys.executable, "-m", "tinyfer.train", "--config", str(config), "--data", options.data,
                   "--out", str(folder.path), "--resume"]
        if options.threads:
            command += ["--threads", str(options.threads)]
        status = subprocess.run(command).returncode
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise UserError(f"{trial.folder}: the training ended with status {status}; what it said stands above.")
    papers.keep(folder, papers.RUNS / trial.folder)


if __name__ == "__main__":
    cli.main(Options, main, prog="python -m tools.search", description="train the runs of tools/search.toml")
