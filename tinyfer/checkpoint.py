"""Files that hold arrays: a model to use (best.npz) or a training run to continue (last.npz). Never a pickle.

A checkpoint is an npz file (a zip of plain arrays, uncompressed) with one more entry, `meta`: JSON text that says what
the file is. Every file has
    {"kind": "tinyfer-model", "version": 1, "sha256": "..."}            the hash is over all of its contents
and a model adds
    {"name": "lite", "options": {...}, "labels": [...], "preprocess": {...}, "meta": {...}}

A file comes from anywhere, so it is read as if by an enemy: nothing in it is executed, nothing is allocated that the
file is not long enough to hold, and whatever is wrong with it ends in one UserError."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import sys
import time
import zipfile

import numpy as np

from tinyfer.errors import UserError

MODEL = "tinyfer-model"  # weights only, and all that is needed to use them
RUN = "tinyfer-run"  # everything that is needed to go on training
VERSION = 1

_KINDS = {MODEL: "a model", RUN: "the state of a training run"}
_DTYPES = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"))
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MAX_ENTRIES = 10_000
_MAX_META = 16 << 20  # bytes


# -------------------------------------------------------------------------------------------------------------- writing


def save(path, arrays: dict[str, np.ndarray], meta: dict, kind: str = MODEL) -> None:
    """Write arrays and a JSON-able meta to `path` so that at every moment the old file or the new one is there, whole.

    The new file grows beside the old one, is flushed to the disk and then takes its name. A folder that cannot be
    written or a full disk is a UserError, and leaves the old file as it was."""
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in arrays.items():
        if not _NAME.fullmatch(name) or name == "meta" or value.dtype.str[1:] not in _DTYPES:
            raise ValueError(f"checkpoint: array {name!r} of dtype {value.dtype} cannot be stored")
    header = {**meta, "kind": kind, "version": VERSION}
    header.pop("sha256", None)  # of the file that meta was read from, perhaps
    text = _json({**header, "sha256": _digest(arrays, header)})
    write_atomically(path, lambda file: _write_npz(file, {"meta": np.array(text), **arrays}))


def write_atomically(path, write) -> None:
    """Call write(file) on a binary file beside `path`, then let it take the name; UserError where that cannot be."""
    path = pathlib.Path(path)
    growing = path.with_name(path.name + ".tmp")
    try:
        with open(growing, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _take_name(growing, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            growing.unlink(missing_ok=True)
        remedy = ("close the program that has it open" if sys.platform == "win32" and isinstance(error, PermissionError)
                  else "free some space")
        raise UserError(f"cannot write {path}: {error.strerror or error}; {remedy} or choose another "
                        f"folder.") from error


def _take_name(growing: pathlib.Path, path: pathlib.Path) -> None:
    """os.replace. Windows refuses while another program has the old file open: a virus scanner soon lets go of it."""
    for wait in (0.05, 0.1, 0.2, 0.4, 0.8) if sys.platform == "win32" else ():
        try:
            os.replace(growing, path)
            return
        except PermissionError:
            time.sleep(wait)
    os.replace(growing, path)


def _sync_folder(folder: pathlib.Path) -> None:
    """Make the new name itself survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_npz(file, arrays: dict[str, np.ndarray]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, value in arrays.items():
            entry = zipfile.ZipInfo(name + ".npy")  # its date is 1980: the same contents are the same bytes
            with archive.open(entry, "w", force_zip64=value.nbytes >= 1 << 31) as member:
                np.lib.format.write_array(member, value, version=None if name == "meta" else (1, 0), allow_pickle=False)


def _json(meta: dict) -> str:
    return json.dumps(meta, sort_keys=True, allow_nan=False)


def _digest(arrays: dict[str, np.ndarray], header: dict) -> str:
    """sha256 over the header and every array: name, type, shape and bytes."""
    digest = hashlib.sha256(_json(header).encode())
    for name in sorted(arrays):
        value = arrays[name]
        digest.update(f"{name} {value.dtype.str[1:]} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


# -------------------------------------------------------------------------------------------------------------- reading


def read(path, kind: str | None = None) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and meta of a checkpoint; with `kind` (MODEL or RUN), of that kind only.

    Every other file is a UserError: missing, empty, cut off, changed, foreign, from a later version, holding Python
    objects or numbers that are not finite."""
    path = pathlib.Path(path)
    data = _bytes(path)
    try:
        entries = _entries(data)
        meta = _meta(entries.pop("meta", None))
        arrays = {name: _array(name, entry) for name, entry in entries.items()}
        header = {key: value for key, value in meta.items() if key != "sha256"}
        if _digest(arrays, header) != meta.get("sha256"):
            raise _Refused("its contents do not match its checksum: it was changed or damaged after it was written")
        for name, value in arrays.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise _Refused(f"{name} holds numbers that are not finite")
    except _Refused as error:
        raise UserError(f"cannot use {path} as a checkpoint: {error}.") from error
    except Exception as error:  # what the parsers of zip, npy and JSON raise on rubbish cannot be listed
        raise UserError(f"cannot use {path} as a checkpoint: it is damaged or cut off; copy it again, or train "
                        f"anew.") from error
    if kind is not None and meta["kind"] != kind:
        hint = "name the model beside it, best.npz" if meta["kind"] == RUN else "name a run's last.npz"
        raise UserError(f"{path} holds {_KINDS[meta['kind']]}, expected {_KINDS[kind]}: {hint}.")
    return arrays, meta


class _Refused(Exception):
    """Why a file is not taken; told to the user with the file's name in front."""


def _bytes(path: pathlib.Path) -> bytes:
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder, expected a checkpoint file such as {path / 'best.npz'}.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}.") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    if not data:
        raise UserError(f"{path} is empty, expected a checkpoint (.npz) written by tinyfer.")
    if not data.startswith(b"PK\x03\x04"):
        raise UserError(f"{path} is not a checkpoint: it does not begin like an npz file; name a .npz written "
                        f"by tinyfer.")
    return data


def _entries(data: bytes) -> dict[str, bytes]:
    """The named entries of the archive: stored, never compressed, so that together they are no longer than the file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        names = [info.filename.removesuffix(".npy") for info in infos]
        if len(infos) > _MAX_ENTRIES or len(set(names)) != len(names):
            raise _Refused("its table of contents is not one that tinyfer writes")
        for name, info in zip(names, infos, strict=True):
            if not (info.filename.endswith(".npy") and _NAME.fullmatch(name)):
                raise _Refused(f"it has an entry {info.filename[:60]!r}, and tinyfer writes none of such a name")
            if info.compress_type != zipfile.ZIP_STORED:
                raise _Refused(f"its entry {name!r} is compressed, and tinyfer writes none that is")
        if sum(info.file_size for info in infos) > len(data):
            raise _Refused("its entries claim to be longer than the file is")
        return {name: archive.read(info) for name, info in zip(names, infos, strict=True)}


def _header(name: str, entry: bytes) -> tuple[np.dtype, tuple[int, ...], bool, bytes]:
    """(dtype, shape, Fortran order?, the bytes after it) of an entry in npy format."""
    file = io.BytesIO(entry)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise _Refused(f"{name} is in a version of the npy format that tinyfer does not write")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise _Refused(f"{name} holds Python objects, which could run code; tinyfer neither writes nor loads such")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if min(shape, default=0) < 0 or size != len(entry) - file.tell():
        raise _Refused(f"{name} claims shape {shape} but has {len(entry) - file.tell()} bytes, not {size}")
    return dtype, shape, fortran, entry[file.tell():]


def _array(name: str, entry: bytes) -> np.ndarray:
    dtype, shape, fortran, rest = _header(name, entry)
    if dtype.str[1:] not in _DTYPES:
        raise _Refused(f"{name} is of dtype {str(dtype)[:40]}, expected plain numbers")
    value = np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
    return np.array(value, dtype.newbyteorder("="), order="C")  # a copy: native, contiguous and writable


def _meta(entry: bytes | None) -> dict:
    if entry is None:
        raise _Refused("it is an npz file, but not one that tinyfer wrote (it has no entry 'meta')")
    dtype, shape, _, rest = _header("meta", entry)
    if dtype.kind != "U" or shape != () or len(rest) > _MAX_META:
        raise _Refused("it is an npz file, but not one that tinyfer wrote (its 'meta' is no text)")
    meta = json.loads(str(np.frombuffer(rest, dtype)[0]), parse_constant=_no_constant)
    if not isinstance(meta, dict) or meta.get("kind") not in _KINDS:
        raise _Refused("it is an npz file, but not one that tinyfer wrote (its 'meta' names no kind of ours)")
    if meta.get("version") != VERSION:
        raise _Refused(f"it has version {str(meta.get('version'))[:20]} of the format and this tinyfer reads version "
                       f"{VERSION}: update tinyfer")
    return meta


def _no_constant(name: str):
    raise _Refused(f"its 'meta' holds {name}, which is no number")


# -------------------------------------------------------------------------------------------------------------- models


def model_meta(model) -> dict:
    """What a model's file says beside the weights: enough to build it again and to feed it as it was trained."""
    return {"name": model.name, "options": model.options, "labels": list(model.labels),
            "preprocess": model.preprocess.to_dict(), "meta": model.meta}
