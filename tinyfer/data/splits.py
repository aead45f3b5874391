"""Dividing pictures fairly: which are the same, and how to hold some out when a source brings no validation split."""

from __future__ import annotations

import hashlib

import numpy as np

from tinyfer.data.types import Split
from tinyfer.errors import UserError


def digests(images: np.ndarray) -> np.ndarray:
    """Pictures uint8 (N, H, W) -> (N,) of 16 bytes each, equal exactly where the pictures are."""
    return np.array([hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images], "U32")


def hold_out(split: Split, fraction: float = 0.1, seed: int = 0) -> tuple[Split, Split]:
    """A split -> (the larger part, about `fraction` of it held out), class by class, the same for the same seed: at
    least one of each class that has two pictures.

    Copies of one picture stay on one side: FER-2013 has some thousand, and a copy on both sides is a leak."""
    if not 0 < fraction < 1:
        raise UserError(f"hold_out: fraction is {fraction}, expected a number between 0 and 1.")
    _, first, group = np.unique(digests(split.images), return_index=True, return_inverse=True)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(first), bool)
    for label in range(len(split.counts)):
        members = np.flatnonzero(split.labels[first] == label)
        count = max(1, round(fraction * len(members))) if len(members) > 1 else 0
        held[rng.permutation(members)[:count]] = True
    out = held[group]
    return split.take(~out), Split(split.images[out], split.labels[out], f"{split.name} held out")
