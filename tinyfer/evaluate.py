"""python -m tinyfer.evaluate: how good a model is on a split, with an interval, class by class."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import numpy as np

from tinyfer import cli, data, evaluation, machine, models, sources
from tinyfer.cli import option
from tinyfer.errors import UserError
from tinyfer.metrics import Scores, reliability, softmax

PROG = "python -m tinyfer.evaluate"
SPLITS = ("val", "train", "private")


@dataclass(frozen=True)
class Options:
    """The flags of this program."""

    model: str = option("lite", "a model's file, a run's folder, or the name of a shipped model", metavar="MODEL")
    data: str | None = option(None, "FER-2013 as csv, npz or folder, or toyfaces (default: toyfaces for a model that "
                              "was trained on them)", metavar="PATH")
    split: str = option("val", "val is PublicTest; private is PrivateTest, for the very last figure", choices=SPLITS)
    limit: int | None = option(None, "use only N pictures of the split, always the same ones", low=1)
    flip: bool = option(False, "average over each picture and its mirror image")
    ten_crop: bool = option(False, "average over centre and corners, each mirrored too")
    json: bool = option(False, "print JSON instead of text")
    out: str | None = option(None, "folder for confusion.png and scores.json", metavar="FOLDER")
    threads: int | None = option(None, "processor threads (default: all the fast ones)", low=1)


def run(options: Options) -> int:
    """Evaluate as the options say and print the figures."""
    machine.set_threads(options.threads)
    path = models.locate(options.model)
    if str(path) != options.model:
        print(f"using {path}", file=sys.stderr)
    model = models.load(path)
    source = options.data or _own_data(model, path)
    dataset = sources.load(source, options.limit)
    split = _split(dataset, options.split, source)
    if not dataset.info.toy:
        print(dataset.info.text, file=sys.stderr)
    logits, labels = measure(model, split, options), _labels(split, model)
    scores = Scores.of(labels, logits.argmax(axis=1), model.labels)
    temperature = model.meta.get("temperature", 1.0)
    told = {"model": str(path), "data": source, "split": split.name, "views": _views(options),
            "note": model.meta.get("note", ""), **scores.as_dict(), "temperature": temperature,
            "calibration_error": reliability(softmax(logits, temperature), labels).error}
    if options.json:
        print(json.dumps(told, indent=1))
    else:
        print(text(told, scores))
    if options.out:
        _write(options.out, scores, told, quiet=options.json)
    return 0


def _own_data(model, path) -> str:
    if model.meta.get("toy"):
        return sources.TOY
    raise UserError(f"--data: name the pictures to test {path} on, such as fer2013.csv (it was trained on "
                    f"{model.meta.get('data', 'unknown data')}).")


def _split(dataset, name: str, source: str):
    split = {"val": dataset.val, "train": dataset.train, "private": dataset.test}[name]
    if len(split) == 0:
        there = [flag for flag, part in zip(("train", "val", "private"), dataset, strict=True) if len(part)]
        raise UserError(f"--split {name}: {source} has no such pictures, only {', '.join(there)}.")
    return split


def measure(model, split, options: Options) -> np.ndarray:
    """The model's logits (N,7) on the split, with a progress bar on a terminal."""
    from tqdm import tqdm

    machine.tell_of_compiling(stderr=True)
    with tqdm(total=len(split), unit=" pictures", leave=False, disable=not sys.stderr.isatty()) as bar:
        return evaluation.logits(model, split, flip=options.flip, ten_crop=options.ten_crop, progress=bar.update)


def _labels(split, model):
    """The split's labels as indices into the model's own names, which may stand in another order."""
    if sorted(model.labels) != sorted(data.LABELS):
        raise UserError(f"this model tells apart {', '.join(model.labels)}, and the pictures are labelled "
                        f"{', '.join(data.LABELS)}: they cannot be compared.")
    return np.array([model.labels.index(name) for name in data.LABELS])[split.labels]


def _views(options: Options) -> str:
    if options.ten_crop:
        return "ten views averaged"
    return "picture and mirror image averaged" if options.flip else "one view"


def text(told: dict, scores: Scores) -> str:
    """The figures for people; the first line is the accuracy with its 95 % interval."""
    lines = [scores.headline(),
             f"balanced accuracy {100 * scores.balanced_accuracy:.2f} %, macro-F1 {scores.macro_f1:.3f}, calibration "
             f"error {100 * told['calibration_error']:.1f} %",
             f"{scores.total:,} pictures of {told['split']} ({told['data']}), {told['views']}; brackets: 95 % interval",
             "", scores.table(), "", scores.matrix()]
    if told["note"]:
        lines.insert(3, f"this model is {told['note']}")
    return "\n".join(lines)


def _write(out: str, scores: Scores, told: dict, quiet: bool) -> None:
    from tinyfer import plots, runs

    folder = runs.Folder(out)
    folder.create()
    title = f"{told['split']}: {100 * scores.accuracy:.1f} % of {scores.total:,} pictures right"
    folder.write_bytes(folder.confusion, plots.png(plots.confusion(scores, title)))
    folder.write_text(folder.path / "scores.json", json.dumps(told, indent=1) + "\n")
    if not quiet:
        print(f"\nconfusion.png and scores.json lie in {folder.path}")


if __name__ == "__main__":
    cli.main(Options, run, prog=PROG, description=__doc__.partition(": ")[2])
