"""`python -m tinyfer.data check PATH` and `sheet PATH|toyfaces`: look at a data set before training on it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from tinyfer import data
from tinyfer.data.audit import report
from tinyfer.data.known import SPLITS
from tinyfer.errors import UserError
from tinyfer.seeds import generator


def parser() -> argparse.ArgumentParser:
    """The command line of both programs."""
    main = argparse.ArgumentParser(prog="python -m tinyfer.data", description="Look at a data set before training on "
                                   "it: what it is, what is wrong with it, what its pictures look like.")
    commands = main.add_subparsers(dest="command", required=True, metavar="check|sheet")
    path_help = ("fer2013.csv or icml_face_data.csv (also .gz, .zip, .tar.gz), an npz, a folder of images in "
                 "<split>/<class>/, or the word toyfaces")
    check = commands.add_parser("check", help="say what a data set is, compare its counts with the known ones, and "
                                "look for constant pictures, copies and contradicting labels")
    sheet = commands.add_parser("sheet", help="draw a sheet of labelled samples, a row for each expression",
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for command in (check, sheet):
        command.add_argument("path", metavar="PATH", help=path_help)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    sheet.add_argument("--out", type=Path, default=Path("sheet.png"), help="picture to write (png, pdf, svg)")
    sheet.add_argument("--split", choices=SPLITS, default="train", help="which pictures")
    sheet.add_argument("--columns", type=int, default=10, help="pictures for each expression, 1 to 40")
    sheet.add_argument("--augment", choices=data.AUGMENTATIONS, default="none", help="show them as training sees them")
    sheet.add_argument("--seed", type=int, default=0, help="which samples are drawn")
    return main


def load(path: str, seed: int = 0) -> data.Dataset:
    """A data set by path, or 2,000 drawn faces for the word toyfaces."""
    if path == "toyfaces" and not Path(path).exists():
        return data.toyfaces(2000, generator(seed, "toyfaces"))
    return data.load(path)


def check(options: argparse.Namespace) -> None:
    """Print what was recognised and what is odd about it."""
    dataset = load(options.path)
    print(dataset.info.text)
    print(report(dataset))


def sheet(options: argparse.Namespace) -> None:
    """Write the sheet and say where it is."""
    if not 1 <= options.columns <= 40:
        raise UserError(f"--columns is {options.columns}, expected 1 to 40.")
    if options.seed < 0:
        raise UserError(f"--seed is {options.seed}, expected 0 or more.")
    dataset = load(options.path, options.seed)
    split = getattr(dataset, options.split)
    if len(split) == 0:
        raise UserError(f"{options.path}: it has no {options.split} pictures; choose another with --split.")
    try:
        draw_sheet(split, options, dataset.info).savefig(options.out)
    except (OSError, ValueError) as error:
        raise UserError(f"--out {options.out}: cannot be written ({error}).") from None
    print(f"wrote {options.out}")


def draw_sheet(split: data.Split, options: argparse.Namespace, info: data.Info):
    """Samples of each expression in a row -> a Matplotlib figure."""
    from matplotlib.figure import Figure  # without pyplot, so that no display is looked for
    rng = generator(options.seed, "sheet")
    columns, rows = options.columns, len(data.LABELS)
    figure = Figure(figsize=(1.3 + 0.9 * columns, 0.5 + 0.95 * rows), dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.06})
    figure.subplots_adjust(left=1.15 / figure.get_figwidth(), right=0.99, bottom=0.01,
                           top=1 - 0.4 / figure.get_figheight())
    figure.suptitle(_title(split, options, info), y=1 - 0.12 / figure.get_figheight(), fontsize=11)
    for label, name in enumerate(data.LABELS):
        members = np.flatnonzero(split.labels == label)
        chosen = rng.permutation(members)[:columns]
        pictures = _shown(split.take(chosen), options)
        axes[label, 0].text(-0.12, 0.5, f"{name}\n{len(members):,}", transform=axes[label, 0].transAxes, ha="right",
                            va="center", fontsize=10)
        for column, axis in enumerate(axes[label]):
            axis.set_axis_off()
            if column < len(chosen):
                axis.imshow(pictures[column], cmap="gray", vmin=0, vmax=255)
    return figure


def _title(split: data.Split, options: argparse.Namespace, info: data.Info) -> str:
    augmented = "" if options.augment == "none" else f", augmentation {options.augment!r}"
    return f"{'drawn faces' if info.toy else Path(info.source).name}: {options.split}{augmented}"


def _shown(split: data.Split, options: argparse.Namespace) -> np.ndarray:
    """The pictures as grey values (N,H,W), augmented if asked for."""
    if options.augment == "none" or len(split) == 0:
        return split.images
    preprocess = data.Preprocess(size=split.images.shape[1])
    batches = data.Batches(split, len(split), preprocess, options.seed, options.augment)
    x, _ = batches.batch(int(split.labels[0]), 0)  # another epoch, so other draws, for each expression
    return (x[..., 0] * preprocess.std + preprocess.mean) * 255


def main(arguments: list[str] | None = None) -> int:
    """Run one of the programs -> its exit status."""
    options = parser().parse_args(arguments)
    try:
        {"check": check, "sheet": sheet}[options.command](options)
    except UserError as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
