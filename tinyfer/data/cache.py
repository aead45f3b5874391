"""What was parsed once is kept as an uncompressed npz, so that the second start takes under a second.

The cache stands beside the source, or in the user's cache folder where that cannot be written. It carries a key, made
of the source's size and time; a cache with another key, or one that cannot be read, is rebuilt without a word."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinyfer.data.fer2013 import Found
from tinyfer.data.npz import read_arrays
from tinyfer.errors import UserError
from tinyfer.places import user_cache

VERSION = 1  # of what Found means: raise it when a loader changes its mind
WORTHWHILE = 1 << 20  # bytes: below this, parsing takes no time and a cache would only be litter


def places(path: Path) -> tuple[Path, Path]:
    """Where the cache of `path` may stand: beside it, else in the user's cache folder."""
    path = path.resolve()
    name = f"{path.name}.tinyfer-cache.npz"
    unique = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return path.with_name(name), user_cache() / "data" / f"{unique}-{name}"


def remembered(path: Path, size: int, key: str, build: Callable[[], Found]) -> Found:
    """build(), or what it gave last time for this path and key; nothing is written for a source under 1 MB."""
    if size < WORTHWHILE:
        return build()
    key = f"{VERSION} {key}"
    for place in places(path):
        with contextlib.suppress(UserError, OSError, ValueError, KeyError, TypeError):
            return _read(place, key)
    found = build()
    for place in places(path):
        with contextlib.suppress(OSError):
            _write(place, key, found)
            break
    return found


def _read(place: Path, key: str) -> Found:
    """The cache at `place`; any error at all means that it is not to be used."""
    if not place.is_file():
        raise FileNotFoundError(place)
    arrays = read_arrays(place)
    meta = json.loads(str(arrays["meta"]))
    if meta["key"] != key:
        raise KeyError(key)
    found = Found(arrays["pixels"], arrays["label"], arrays["split"], meta["layout"], tuple(meta["notes"]))
    n = len(found.images)
    if found.images.dtype != np.uint8 or found.images.ndim != 3 or found.labels.shape != (n,) \
            or found.splits.shape != (n,):
        raise ValueError(place)
    return found


def _write(place: Path, key: str, found: Found) -> None:
    """Write the cache whole or not at all: into a temporary file, then renamed."""
    meta = json.dumps({"key": key, "layout": found.layout, "notes": found.notes})
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez(file, pixels=found.images, label=found.labels, split=found.splits, meta=np.array(meta))
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)
