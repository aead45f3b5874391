"""One door for every layout: `load(path)` recognises what is there, reads it, and says what it found."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import numpy as np

from tinyfer.data import cache, fer2013, folders, npz
from tinyfer.data.known import COUNTS, SPLITS, USAGES, class_counts, digits
from tinyfer.data.types import LABELS, Dataset, Info, Split
from tinyfer.errors import UserError

TABLES = ("fer2013.csv", "icml_face_data.csv")  # looked for in a folder, before image folders are
PACKED = ("", ".gz", ".zip")
OTHERS = ("fer2013.tar.gz", "fer2013.npz")


def load(path: str | os.PathLike) -> Dataset:
    """Load FER-2013 from a csv (also .gz, .zip, .tar.gz), an npz or a folder of images -> Dataset.

    Training becomes train, PublicTest val and PrivateTest test; what the source lacks is an empty Split. `.info.text`
    says what was recognised, the counts, and where they differ from the known ones. Anything large is parsed once and
    then kept in a cache beside it. A UserError says in one sentence what is wrong with the file."""
    source = Path(path).expanduser()
    try:
        if str(path) == "" or not source.exists():
            raise UserError(_missing(source))
        found = _recognised(source)
    except OSError as error:
        raise UserError(f"{error.filename or source}: cannot be read ({error.strerror or error}).") from None
    except MemoryError:
        raise UserError(f"{source}: it does not fit into memory; is it FER-2013? ({fer2013.HOW_TO_GET})") from None
    train, val, test = splits = [_split(found, code) for code in range(len(SPLITS))]
    return Dataset(train, val, test, Info(str(source), found.layout, describe(source, found, splits)))


def _recognised(path: Path) -> fer2013.Found:
    """Read whatever stands at `path`, through the cache where that saves time."""
    if path.is_dir():
        for name in [table + packed for table in TABLES for packed in PACKED] + list(OTHERS):
            if (path / name).is_file():
                return _recognised(path / name)
        size, key = folders.fingerprint(path)
        return cache.remembered(path, size, key, lambda: folders.load_folder(path))
    if not path.is_file():
        raise UserError(f"{path}: neither a file nor a folder, expected FER-2013; {fer2013.HOW_TO_GET}.")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty, expected FER-2013; {fer2013.HOW_TO_GET}.")
    if npz.is_npz(path):
        return npz.load_npz(path)
    status = path.stat()
    return cache.remembered(path, status.st_size, f"{status.st_size} {status.st_mtime_ns}",
                            lambda: fer2013.load_csv(path))


def _missing(path: Path) -> str:
    """What to say when nothing stands at `path`: what is near, or how to get the data."""
    message = f"{str(path)!r}: no such file or folder"
    if not path.name or str(path) == ".":
        return f"no path given, expected a csv, an npz or a folder of FER-2013; {fer2013.HOW_TO_GET}."
    if path.parent.is_dir():
        near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
        if near:
            return f"{message}; did you mean {str(path.parent / near[0])!r}?"
    return f"{message}; {fer2013.HOW_TO_GET}, and drawn faces need no file at all (--data toyfaces)."


def _split(found: fer2013.Found, code: int) -> Split:
    """One split of what was found, in the file's order."""
    index = np.flatnonzero(found.splits == code)
    return Split(found.images[index], found.labels[index].astype(np.int64), _name(found, code))


def _name(found: fer2013.Found, code: int) -> str:
    """What a split is called: as in FER-2013, unless it is known to be another one."""
    if folders.OTHER_SPLIT in found.notes:
        return f"its own {SPLITS[code]}"
    if folders.MERGED in found.notes and SPLITS[code] == "test":
        return "PublicTest and PrivateTest, mixed"
    return USAGES[code]


# --- in words -------------------------------------------------------------------------------------------------------

def describe(path: Path, found: fer2013.Found, splits: list[Split]) -> str:
    """What was recognised, in lines: the layout, notes, each split's counts, differences from the known counts."""
    side = "x".join(str(length) for length in found.images.shape[:0:-1])
    lines = [f"{path}: {found.layout}, {digits(len(found.images))} pictures of {side}"]
    lines += [f"  note: {note}." for note in found.notes]
    for split, kind in zip(splits, SPLITS, strict=True):
        if len(split):
            lines.append(f"  {kind:5} {split.name:11} {digits(len(split)):>6}   {class_counts(split.counts)}")
        else:
            lines.append(f"  {kind:5} {split.name:11}   none")
    return "\n".join(lines + [f"  differs: {line}." for line in differences(found, splits)])


def differences(found: fer2013.Found, splits: list[Split]) -> list[str]:
    """Where the counts are not those of FER-2013 as published (or, for the other split in circulation, of that)."""
    if folders.OTHER_SPLIT in found.notes:
        return [f"{kind} has {digits(len(split))} pictures, that collection has {digits(known)}"
                for kind, split, known in zip(SPLITS, splits, (28_821, 7_066), strict=False) if len(split) != known]
    expected = dict(COUNTS)
    if folders.MERGED in found.notes:
        expected = {"train": COUNTS["train"], "val": np.zeros(7, int), "test": COUNTS["val"] + COUNTS["test"]}
    return [_difference(kind, split, expected[kind]) for kind, split in zip(SPLITS, splits, strict=True)
            if (split.counts != expected[kind]).any()]


def _difference(kind: str, split: Split, expected: np.ndarray) -> str:
    if len(split) == 0:
        return f"{kind} ({split.name}) is missing, FER-2013 has {digits(expected.sum())}"
    if len(split) != expected.sum():
        return f"{kind} ({split.name}) has {digits(len(split))} pictures, FER-2013 has {digits(expected.sum())}"
    where = ", ".join(f"{name} {digits(mine)} instead of {digits(known)}"
                      for name, mine, known in zip(LABELS, split.counts, expected, strict=True) if mine != known)
    return f"{kind} ({split.name}) has as many pictures as FER-2013 but other labels: {where}"
