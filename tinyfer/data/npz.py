"""Pictures and labels as NumPy arrays in an npz, read without ever unpickling anything."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from tinyfer.data.fer2013 import Found, in_short
from tinyfer.data.known import SPLIT_OF_USAGE, USAGES, label_of
from tinyfer.data.types import LABELS
from tinyfer.errors import UserError


def is_npz(path: Path) -> bool:
    """True for a zip that holds NumPy arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except Exception:  # not a zip, or a damaged one: the name decides which reader tells what is wrong
        return path.suffix.lower() == ".npz"


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an npz, never a pickle; whatever is wrong with the file is one UserError."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except MemoryError:
        raise UserError(f"{path}: its arrays do not fit into memory; is it an npz of FER-2013?") from None
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise a dozen kinds on damaged bytes
        raise UserError(f"{path}: not a readable npz ({in_short(error)}); write it with numpy.savez, without Python "
                        f"objects.") from None


def load_npz(path: Path) -> Found:
    """An npz with pixels uint8 (N,H,W), label (N,) and, if it has them, split (N,), label_names, split_names."""
    arrays = read_arrays(path)
    for key in ("pixels", "label"):
        if key not in arrays:
            found = ", ".join(sorted(arrays))[:80] or "nothing"
            raise UserError(f"{path}: no array {key!r} (found: {found}; expected: pixels, label, split, label_names, "
                            f"split_names).")
    pixels = arrays["pixels"]
    notes: tuple[str, ...] = ()
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.size == 0:
        raise UserError(f"{path}: 'pixels' is {pixels.dtype} {pixels.shape}, expected uint8 (N, height, width).")
    if min(pixels.shape[1:]) < 8:
        raise UserError(f"{path}: pictures of {pixels.shape[2]}x{pixels.shape[1]} pixels, expected at least 8x8.")
    label_names = _names(arrays, "label_names", LABELS, path)
    split_names = _names(arrays, "split_names", USAGES, path)
    label_map = [label_of(name) for name in label_names]
    split_map = [SPLIT_OF_USAGE.get(name.strip()) for name in split_names]
    labels = _mapped(arrays["label"], label_map, label_names, "label", len(pixels), path)
    if "split" in arrays:
        splits = _mapped(arrays["split"], split_map, split_names, "split", len(pixels), path)
    else:
        splits = np.zeros(len(pixels), np.int64)
        notes = ("it has no 'split' array, so every picture is taken for training",)
    return Found(pixels, labels, splits.astype(np.uint8), "npz (pixels, label, split)", notes)


def _names(arrays: dict, key: str, default: tuple[str, ...], path: Path) -> list[str]:
    names = arrays.get(key, np.array(default))
    if names.dtype.kind != "U" or names.ndim != 1:
        raise UserError(f"{path}: {key!r} is {names.dtype} {names.shape}, expected a list of names as text.")
    return [str(name) for name in names]


def _mapped(codes: np.ndarray, mapping: list[int | None], names: list[str], key: str, n: int, path: Path) -> np.ndarray:
    """codes (N,), indices into a file's own names -> int64 (N,), indices into ours."""
    if codes.shape != (n,) or codes.dtype.kind not in "ui":
        raise UserError(f"{path}: {key!r} is {codes.dtype} {codes.shape}, expected whole numbers ({n},), one for each "
                        f"picture.")
    used = np.unique(codes)
    for code in used:
        if not 0 <= code < len(names):
            raise UserError(f"{path}: {key!r} holds {code}, expected 0 to {len(names) - 1} ({', '.join(names)[:80]}).")
        if mapping[int(code)] is None:
            known = ", ".join(LABELS if key == "label" else USAGES)
            raise UserError(f"{path}: {key!r} uses the name {names[int(code)][:30]!r}, expected one of {known}.")
    table = np.array([-1 if index is None else index for index in mapping], np.int64)
    return table[codes.astype(np.int64)]
