"""FER-2013 as folders of images, in the layouts that circulate: <split>/<class>/*.jpg, however nested."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tinyfer.data.fer2013 import HOW_TO_GET, Found
from tinyfer.data.known import SIDE, SPLIT_OF_USAGE, digits, label_of
from tinyfer.data.preprocess import resize_area
from tinyfer.data.types import LABELS
from tinyfer.errors import UserError

SMALLEST = 8  # pixels: nothing of a face is left below
DEPTH = 3  # how far down the split folders are searched (archives nest images/images)
PICTURES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm"))
SPLIT_OF_FOLDER = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "publictest": 1,
                   "test": 2, "testing": 2, "privatetest": 2}

MERGED = ("7178-merged protocol: its test folder mixes PublicTest and PrivateTest and the file names do not tell them "
          "apart, so there is no validation split and no figure on it compares with published ones")
OTHER_SPLIT = ("its train and validation folders are another split than FER-2013's own, with pictures of PrivateTest "
               "likely in both, so results on it do not compare with published ones")


class Picture(NamedTuple):
    """One file: its path, its label and its split, both as indices."""

    path: Path
    label: int
    split: int


def load_folder(path: Path) -> Found:
    """A folder of images -> what was found in it, every picture grey and 48x48 (others are area-resized)."""
    pictures, layout, notes = survey(path)
    images = np.empty((len(pictures), SIDE, SIDE), np.uint8)
    resized = 0
    for i, picture in enumerate(tqdm(pictures, desc=f"reading {path.name}", unit=" pictures", delay=0.5, leave=False,
                                     disable=None)):
        image = read_grey(picture.path)
        resized += image.shape != (SIDE, SIDE)
        images[i] = resize_area(image[None], SIDE, SIDE)[0]
    if resized:
        notes += (f"{digits(resized)} pictures were of another size and have been resized to {SIDE}x{SIDE}",)
    labels = np.array([picture.label for picture in pictures], np.int64)
    splits = np.array([picture.split for picture in pictures], np.uint8)
    return Found(images, labels, splits, layout, notes)


def fingerprint(path: Path) -> tuple[int, str]:
    """(bytes in all, a key over names, sizes and times) of the pictures under a folder."""
    digest, total = hashlib.sha256(), 0
    for picture in survey(path)[0]:
        status = picture.path.stat()
        total += status.st_size
        digest.update(f"{picture.path.relative_to(path)} {status.st_size} {status.st_mtime_ns}\n".encode(
            errors="surrogateescape"))
    return total, digest.hexdigest()


def read_grey(path: Path) -> np.ndarray:
    """An image file -> uint8 (H, W) grey; a UserError names the file that cannot be one."""
    from PIL import Image  # Matplotlib depends on Pillow, so it is there
    try:
        with Image.open(path) as image:
            if min(image.size) < SMALLEST:
                raise UserError(f"{path}: a picture of {image.size[0]}x{image.size[1]} pixels, expected at least "
                                f"{SMALLEST}x{SMALLEST} (FER-2013's have {SIDE}x{SIDE}); remove it or fetch it again.")
            if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip instead of scale
                return (np.asarray(image).clip(0, 65535) // 256).astype(np.uint8)
            return np.array(image.convert("L"))
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files
        reason = " ".join(str(error).split())[:80].replace(str(path), "it")
        raise UserError(f"{path}: not a readable image ({reason}); remove it or fetch it again.") from None


# --- which folder is what -------------------------------------------------------------------------------------------

def _subfolders(path: Path) -> list[Path]:
    """Sorted folders in `path`, without hidden ones and the litter of archives."""
    with os.scandir(path) as entries:
        return sorted(Path(entry.path) for entry in entries
                      if entry.is_dir() and not entry.name.startswith((".", "__")))


def _classes(path: Path) -> list[Path]:
    return [folder for folder in _subfolders(path) if label_of(folder.name) is not None]


def _split_folders(path: Path) -> dict[Path, int]:
    """The folders in `path` that are splits: named like one and holding class folders."""
    return {folder: SPLIT_OF_FOLDER[folder.name.lower()] for folder in _subfolders(path)
            if folder.name.lower() in SPLIT_OF_FOLDER and _classes(folder)}


def _find_splits(path: Path) -> dict[Path, int]:
    """The split folders at or below `path`, the shallowest that hold any; a folder of classes is all training."""
    level = [path]
    for _ in range(DEPTH + 1):
        for folder in level:
            if splits := _split_folders(folder):
                return splits
            if _classes(folder):
                return {folder: SPLIT_OF_FOLDER.get(folder.name.lower(), 0)}
        level = [sub for folder in level for sub in _subfolders(folder)]
    raise UserError(f"{path}: no folders named after the classes ({', '.join(LABELS)}) in it or in its train and test "
                    f"folders, and no csv of FER-2013; {HOW_TO_GET}.")


def survey(path: Path) -> tuple[list[Picture], str, tuple[str, ...]]:
    """The pictures under `path` in a fixed order, the layout in words, and notes; no picture is opened."""
    folders = dict(sorted(_find_splits(path).items(), key=lambda item: item[1]))
    pictures = [picture for folder, split in folders.items() for picture in _pictures_of(folder, split)]
    if not pictures:
        raise UserError(f"{path}: class folders but not one picture in them ({', '.join(sorted(PICTURES))}); "
                        f"{HOW_TO_GET}.")
    layout, notes = _layout(folders, pictures)
    return pictures, layout, notes


def _pictures_of(folder: Path, split: int) -> list[Picture]:
    """One split folder's pictures, class by class; a class that is none of the seven is refused, not dropped."""
    pictures = []
    for sub in _subfolders(folder):
        label = label_of(sub.name)
        if label is None:
            raise UserError(f"{sub}: a class called {sub.name!r}, expected only {', '.join(LABELS)} (or angry, "
                            f"disgusted, fearful, ...); move that folder elsewhere.")
        with os.scandir(sub) as entries:
            names = sorted(entry.name for entry in entries if os.path.splitext(entry.name)[1].lower() in PICTURES
                           and not entry.name.startswith("."))
        pictures += [Picture(sub / name, label, _split_of_name(name, split)) for name in names]
    return pictures


def _split_of_name(name: str, default: int) -> int:
    """The split that a file name such as PrivateTest_123.jpg tells, whatever folder it is in; else the folder's."""
    return SPLIT_OF_USAGE.get(name.partition("_")[0], default)


def _layout(folders: dict[Path, int], pictures: list[Picture]) -> tuple[str, tuple[str, ...]]:
    """Which of the known layouts the folders are, in words, with what a user should know about it."""
    names = "/".join(folder.name for folder in folders)
    if len(folders) == 1 and next(iter(folders)).name.lower() not in SPLIT_OF_FOLDER:
        return "image folders, one for each class", ("there are no split folders, so every picture is taken for "
                                                      "training",)
    splits = set(folders.values())
    if splits == {0, 1}:
        return f"image folders {names} (as jonathanoheix/face-expression-recognition-dataset)", (OTHER_SPLIT,)
    if splits != {0, 2}:
        return f"image folders {names}", ()
    fearful = any(picture.path.parent.name.lower() == "fearful" for picture in pictures)
    layout = f"image folders {names} (as {'atulapra/Emotion-detection' if fearful else 'msambare/fer2013'})"
    in_test = [picture for picture in pictures if folders[picture.path.parent.parent] == 2]
    told = sum(_split_of_name(picture.path.name, 9) != 9 for picture in in_test)
    if in_test and told == len(in_test):
        return layout, ("the names of the files in its test folder tell PublicTest from PrivateTest: they became val "
                        "and test",)
    return layout, (MERGED,) if in_test else ()
