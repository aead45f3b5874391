"""Known facts of FER-2013 and the names its copies use: what loaders map from and compare with."""

from __future__ import annotations

import numpy as np

from tinyfer.data.types import LABELS

SIDE = 48
SPLITS = ("train", "val", "test")
USAGES = ("Training", "PublicTest", "PrivateTest")  # the csv's names for SPLITS, in that order
SPLIT_OF_USAGE = {"Training": 0, "PublicTest": 1, "PrivateTest": 2}

# Class counts in the order of LABELS, as in the official fer2013.csv (ICML 2013, Goodfellow et al., arXiv 1307.0414).
COUNTS = {
    "train": np.array((3995, 436, 4097, 7215, 4830, 3171, 4965)),
    "val": np.array((467, 56, 496, 895, 653, 415, 607)),
    "test": np.array((491, 55, 528, 879, 594, 416, 626)),
}
TOTAL = sum(int(counts.sum()) for counts in COUNTS.values())  # 35,887

# What `emotion` says in fer2013.csv, by name.
NAME_OF_EMOTION = {0: "angry", 1: "disgust", 2: "fear", 3: "happy", 4: "sad", 5: "surprise", 6: "neutral"}

# Every spelling of a class in circulation, in folder names and npz label lists.
_SPELLINGS = {
    "angry": ("angry", "anger"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "fearful", "afraid"),
    "happy": ("happy", "happiness"),
    "sad": ("sad", "sadness"),
    "surprise": ("surprise", "surprised"),
    "neutral": ("neutral", "neutrality"),
}
LABEL_OF_NAME = {spelling: LABELS.index(name) for name, all_ in _SPELLINGS.items() for spelling in all_}


def label_of(name: str) -> int | None:
    """The index into LABELS that a class name such as "Happy", "happiness" or "Disgusted" means, or None."""
    return LABEL_OF_NAME.get(name.strip().lower())


def digits(count: int) -> str:
    """4711 -> '4,711', as every message writes a count."""
    return f"{int(count):,}"


def class_counts(counts) -> str:
    """'angry 3,995  disgust 436  ...' for counts (7,) in the order of LABELS."""
    return "  ".join(f"{name} {digits(count)}" for name, count in zip(LABELS, counts, strict=True))
