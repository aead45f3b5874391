"""Make a shipped model of a finished run on FER-2013, and keep the run's papers:

    python -m tools.ship RUN NAME --data fer2013.csv
    python -m tools.ship RUN --data fer2013.csv             # the papers alone

What is shipped is final.npz, the last epoch's model, which no figure was chosen by. Its temperature is fitted on
PublicTest. Written are tinyfer/weights/NAME.npz, with matrices as float16, and docs/runs/RUN: the run's settings, log
and curves, and scores.json, how such a file does on PublicTest by one view, two and ten, and which weights it is made
of: its own and those that it began with or learned from."""

from __future__ import annotations

import json
import pathlib
import tempfile
from dataclasses import dataclass

import numpy as np

from tinyfer import cli, evaluation, models, runs, sources, train
from tinyfer.cli import option
from tinyfer.errors import UserError
from tinyfer.metrics import Scores, fit_temperature, reliability, softmax
from tools import papers

PROTOCOL = ("trained on FER-2013 Training, every choice made on PublicTest, PrivateTest never read; one network, no "
            "other data")
LICENCE = "MIT, as the code; the pictures it was trained on are not distributed"
VIEWS: dict[str, dict] = {"one view": {}, "picture and mirror image": {"flip": True}, "ten views": {"ten_crop": True}}


@dataclass(frozen=True)
class Options:
    """The flags of this program."""

    run: str = option("", "the folder of a finished run", metavar="RUN", positional=True)
    name: str = option("", "the name by which it will be loaded; without one nothing is shipped", metavar="NAME",
                       positional=True)
    data: str = option("", "FER-2013, with its PublicTest", metavar="PATH")


def main(options: Options) -> int:
    """Ship the run and print what was reached."""
    folder = runs.Folder(options.run)
    if not (options.run and options.data):
        raise UserError("name a run's folder, the name to ship it by, and --data fer2013.csv.")
    if not folder.final.exists():
        raise UserError(f"{folder.path}: there is no final.npz, which comes with a run's last epoch.")
    dataset = sources.load(options.data)
    if dataset.info.toy or len(dataset.val) == 0:
        raise UserError(f"--data {options.data}: it has no PublicTest to calibrate on.")
    model = models.load(folder.final)
    for trained in (model.meta, *model.meta.get("lineage", ())):  # and whatever it began with
        if trained["trained_on"] != f"Training ({len(dataset.train):,} pictures)":
            raise UserError(f"{folder.final}: it was trained on {trained['trained_on']}, not on FER-2013's Training.")
    whole = evaluation.logits(model, dataset.val)
    model.meta |= {"temperature": fit_temperature(whole, dataset.val.labels), "protocol": PROTOCOL,
                   "licence": LICENCE}
    with tempfile.TemporaryDirectory() as scratch:
        path = models.WEIGHTS / f"{options.name}.npz" if options.name else pathlib.Path(scratch, "model.npz")
        models.save(model, path, half=True)
        shipped = models.load(path)
        scores = reached(shipped, dataset.val, seen(shipped, dataset.val)) | {
            "parameters": [train.fingerprint(model), train.fingerprint(shipped)],
            "before": list(dict.fromkeys(earlier["parameters"] for earlier in model.meta.get("lineage", ()))),
            "float32_accuracy": accuracy(whole, dataset.val.labels), "shipped_as": options.name,
            "bytes": path.stat().st_size, "processor": model.meta.get("processor", "an unknown processor"),
            "cores": model.meta.get("cores", "some")}
    into = papers.RUNS / folder.path.name
    papers.keep(folder, into, curves=True)
    file_scores(scores, into)
    print(told(scores))
    written = [path.relative_to(papers.ROOT)] if options.name else []
    print(f"{', '.join(map(str, [*written, into.relative_to(papers.ROOT)]))} ({scores['bytes'] / 1e6:.1f} MB)")
    return 0


def file_scores(scores: dict, into: pathlib.Path) -> None:
    """Write a run's scores.json. Each name is that of one run alone: whichever had it before has it no longer, and a
    run whose papers alone are made anew keeps the name of its weights."""
    for path in papers.RUNS.glob("*/scores.json"):
        earlier = json.loads(path.read_text())
        if path.parent == into and not scores["shipped_as"] and earlier.get("parameters") == scores["parameters"]:
            scores = scores | {"shipped_as": earlier["shipped_as"]}
        elif path.parent != into and earlier["shipped_as"] and earlier["shipped_as"] == scores["shipped_as"]:
            path.write_text(json.dumps(earlier | {"shipped_as": ""}, indent=1) + "\n")
    (into / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


def seen(model: models.Model, split) -> dict[str, np.ndarray]:
    """A model's logits (N,7) for a split by every way of looking at its pictures."""
    return {name: evaluation.logits(model, split, **ways) for name, ways in VIEWS.items()}


def reached(model: models.Model, split, views: dict[str, np.ndarray]) -> dict:
    """How well a model does on a split by what it said of it."""
    found: dict = {"model": repr(model), "split": split.name, "views": {}}
    for name, logits in views.items():
        scores = Scores.of(split.labels, logits.argmax(axis=1), model.labels)
        error = reliability(softmax(logits, model.meta.get("temperature", 1.0)), split.labels).error
        found["views"][name] = scores.as_dict() | {"calibration_error": error}
    return found | {"temperature": model.meta.get("temperature", 1.0)}


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of answers that is right."""
    return float((logits.argmax(axis=1) == labels).mean())


def told(scores: dict) -> str:
    """What was reached, a line a way of looking."""
    lines = [f"{name}: {100 * found['accuracy']:.2f} % [{100 * found['interval'][0]:.1f}, "
             f"{100 * found['interval'][1]:.1f}], macro-F1 {found['macro_f1']:.3f}, calibration error "
             f"{100 * found['calibration_error']:.1f} %" for name, found in scores["views"].items()]
    gap = scores["views"]["one view"]["accuracy"] - scores["float32_accuracy"]
    return "\n".join([*lines, f"temperature {scores['temperature']:.3f}; float16 matrices: {100 * gap:+.2f} points"])


if __name__ == "__main__":
    cli.main(Options, main, prog="python -m tools.ship", description="ship a finished run")
