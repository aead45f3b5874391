"""What --data may say, the same for every program: a path, or drawn faces, which need no file at all.

    toyfaces          4,000 drawn faces
    toyfaces:1000     as many as wanted"""

from __future__ import annotations

import contextlib
import hashlib
import pathlib

import numpy as np

from tinyfer import checkpoint, data
from tinyfer.data import Dataset, Split
from tinyfer.errors import UserError
from tinyfer.places import user_cache

TOY = "toyfaces"
TOY_COUNT = 4000


def load(source: str, limit: int | None = None) -> Dataset:
    """The data set that --data names, at most `limit` pictures of each split: drawn, since many a source has its
    pictures sorted by class, and always the same ones."""
    loaded = toyfaces(source) if is_toy(source) else data.load(source)
    if limit is None:
        return loaded
    train, val, test = (split.take(np.sort(np.random.default_rng(0).permutation(len(split))[:limit]))
                        for split in loaded)
    return Dataset(train, val, test, loaded.info)


def is_toy(source: str) -> bool:
    """True where --data names drawn faces rather than a path."""
    return source.partition(":")[0] == TOY


def toyfaces(source: str = TOY) -> Dataset:
    """The drawn faces that `source` names: always the same ones, drawn once and then kept in the user's cache."""
    text = source.partition(":")[2]
    if ":" in source and not (text.isdecimal() and len(text) < 9):
        raise UserError(f"--data {source}: expected {TOY} or {TOY}:N with a number of pictures, such as {TOY}:1000.")
    count = int(text) if text else TOY_COUNT
    place = user_cache() / "data" / f"{TOY}-{count}-{_drawing_hash()}.npz"
    with contextlib.suppress(UserError, OSError, KeyError, TypeError, ValueError):
        return _read(place)
    drawn = data.toyfaces(count, np.random.default_rng(0))
    with contextlib.suppress(OSError, UserError):
        place.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"{split.name}_{key}": getattr(split, key) for split in drawn for key in ("images", "labels")}
        checkpoint.save(place, arrays, {"info": vars(drawn.info), "splits": [split.name for split in drawn]})
    return drawn


def _read(place: pathlib.Path) -> Dataset:
    arrays, meta = checkpoint.read(place)
    train, val, test = [Split(arrays[f"{name}_images"], arrays[f"{name}_labels"], name) for name in meta["splits"]]
    return Dataset(train, val, test, data.Info(**meta["info"]))


def _drawing_hash() -> str:
    """Changes when the code that draws does, or NumPy, whose random streams it uses."""
    digest = hashlib.sha256(np.__version__.encode())
    folder = pathlib.Path(data.__file__).parent
    for name in ("toyfaces.py", "portrait.py", "drawing.py", "looks.py"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]
