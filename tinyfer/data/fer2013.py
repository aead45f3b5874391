"""FER-2013 as a csv, in any of its flavours, plain, gzipped or zipped.

A csv has a header with the columns emotion (0 to 6), pixels (2,304 whole numbers 0 to 255, row by row) and Usage, in
any order, with or without quotes and spaces. Two readers share the work. `parse_line` is the specification: plain
Python, one line, exact errors. `parse_rows` is a Numba kernel that reads well-formed lines at some hundred MB/s and
stops, without an opinion, at any line it cannot read; that one then goes to `parse_line`, which reads it or says what
is wrong."""

from __future__ import annotations

import contextlib
import csv
import gzip
import re
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tinyfer.data.known import NAME_OF_EMOTION, SIDE, SPLIT_OF_USAGE, USAGES, digits
from tinyfer.data.types import LABELS
from tinyfer.errors import UserError
from tinyfer.kernels.compile import kernel

PIXELS = SIDE * SIDE
CHUNK = 16 << 20  # bytes read at a time: bounds the memory, and the bar moves
LONGEST_LINE = 1 << 20  # 2,304 numbers take 11,520 bytes; a longer line than this is no FER csv
SHORTEST_ROW = 2 * PIXELS  # bytes, so a chunk of n bytes holds at most n / SHORTEST_ROW pictures
PREFERRED = ("fer2013.csv", "icml_face_data.csv", "train.csv")
HOW_TO_GET = "data/README.md tells how to get FER-2013"


class Found(NamedTuple):
    """What a loader read: pictures uint8 (N,H,W), labels int64 (N,), splits uint8 (N,) (0 train, 1 val, 2 test),
    the layout in words, and notes for the user (one sentence each)."""

    images: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    layout: str
    notes: tuple[str, ...] = ()


class Columns(NamedTuple):
    """Where a csv's columns stand (from 0; usage -1 when there is none) and how many there are."""

    emotion: int
    pixels: int
    usage: int
    total: int


# --- the header -----------------------------------------------------------------------------------------------------

def read_header(line: bytes, name: str) -> tuple[Columns, str]:
    """A csv's first line -> its columns and which flavour it is; a UserError names a missing column."""
    text = line.decode("utf-8-sig", errors="replace").replace("\t", " ").strip()
    if not text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text:
        raise UserError(f"{name}: neither a csv nor an npz (its first line is not text), expected FER-2013; "
                        f"{HOW_TO_GET}.")
    try:
        fields = [field.strip().lower() for field in next(csv.reader([text], skipinitialspace=True), [])]
    except csv.Error:
        fields = []
    usage = fields.index("usage") if "usage" in fields else -1
    shown = ", ".join(field for field in fields if field)[:80] or "nothing"
    for column in ("emotion", "pixels"):
        if column not in fields:
            hint = ("test.csv comes without labels; icml_face_data.csv holds the same pictures with them"
                    if column == "emotion" and "pixels" in fields else f"is it FER-2013? {HOW_TO_GET}")
            raise UserError(f"{name}: no column {column!r} in its first line (found: {shown}; expected: emotion, "
                            f"pixels, Usage); {hint}.")
    if usage < 0 and "train" not in Path(name).name.lower():
        raise UserError(f"{name}: no column 'Usage' in its first line (found: {shown}), so training and test pictures "
                        f"cannot be told apart; if all rows are for training, call the file train.csv.")
    columns = Columns(fields.index("emotion"), fields.index("pixels"), usage, len(fields))
    if usage < 0:
        return columns, "train.csv (emotion, pixels: all rows are Training)"
    if fields == ["emotion", "usage", "pixels"]:
        return columns, "icml_face_data.csv (emotion, Usage, pixels)"
    return columns, "fer2013.csv (emotion, pixels, Usage)"


# --- one line, plainly ----------------------------------------------------------------------------------------------

def _whole_number(text: str) -> int | None:
    """'70' -> 70, '-1' -> -1; None for anything that is not a whole number in plain digits."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None


def parse_line(line: bytes, columns: Columns) -> tuple[int, np.ndarray, int]:
    """One csv row -> (label, pixels uint8 (2304,), split); ValueError says what is wrong with it."""
    try:
        fields = next(csv.reader([line.decode("utf-8").rstrip("\r\n")], skipinitialspace=True), [])
    except UnicodeDecodeError:
        raise ValueError("bytes that are not text, expected numbers and names") from None
    except csv.Error as error:
        raise ValueError(f"no readable csv row ({error})") from None
    if len(fields) != columns.total:
        raise ValueError(f"{len(fields)} columns, expected {columns.total} as in the first line")
    emotion = fields[columns.emotion].strip()
    if _whole_number(emotion) not in NAME_OF_EMOTION:
        names = ", ".join(f"{code} {name}" for code, name in NAME_OF_EMOTION.items())
        raise ValueError(f"emotion {emotion[:20]!r}, expected 0 to 6 ({names})")
    usage = fields[columns.usage].strip() if columns.usage >= 0 else USAGES[0]
    if usage not in SPLIT_OF_USAGE:
        raise ValueError(f"unknown Usage {usage[:20]!r}, expected {', '.join(USAGES[:-1])} or {USAGES[-1]}")
    tokens = fields[columns.pixels].split()
    if len(tokens) != PIXELS:
        raise ValueError(f"{digits(len(tokens))} pixels, expected {digits(PIXELS)} ({SIDE} x {SIDE})")
    values = [_whole_number(token) for token in tokens]
    for place, value in enumerate(values):
        if value is None or not 0 <= value <= 255:
            raise ValueError(f"pixel {digits(place + 1)} is {tokens[place][:20]!r}, expected a whole number 0 to 255")
    label = LABELS.index(NAME_OF_EMOTION[int(emotion)])
    return label, np.array(values, np.uint8), SPLIT_OF_USAGE[usage]


# --- many lines, fast -----------------------------------------------------------------------------------------------

_NEWLINE, _RETURN, _SPACE, _TAB, _QUOTE, _COMMA, _ZERO = (ord(c) for c in "\n\r \t\",0")
_USAGE_BYTES = np.zeros((len(USAGES), max(map(len, USAGES)) + 1), np.uint8)  # each name, then zeros
for _row, _name in enumerate(USAGES):
    _USAGE_BYTES[_row, :len(_name)] = np.frombuffer(_name.encode(), np.uint8)


@kernel
def parse_rows(text, start, emotion_at, pixels_at, usage_at, columns, usages, images, labels, splits):
    """Read csv lines from text[start:] (uint8, ends in a newline) into images (R,2304), labels (R,), splits (R,)
    -> (rows read, position reached). Stops at the end, when the arrays are full, or at a line out of the ordinary."""
    rows, here = 0, start
    while here < text.size and rows < labels.size:
        p = here
        if text[p] == _RETURN:
            p += 1
        if text[p] == _NEWLINE:  # an empty line
            here = p + 1
            continue
        label, pixels, split, column = -1, 0, -1 if usage_at >= 0 else 0, 0
        while True:
            while text[p] == _SPACE or text[p] == _TAB:
                p += 1
            quoted = text[p] == _QUOTE
            if quoted:
                p += 1
                while text[p] == _SPACE:
                    p += 1
            if column == pixels_at:
                while _ZERO <= text[p] <= _ZERO + 9:
                    value = 0
                    while _ZERO <= text[p] <= _ZERO + 9 and value <= 255:
                        value = value * 10 + (text[p] - _ZERO)
                        p += 1
                    if value > 255 or pixels == images.shape[1]:
                        return rows, here
                    images[rows, pixels] = value
                    pixels += 1
                    while text[p] == _SPACE:
                        p += 1
            elif column == emotion_at:
                if _ZERO <= text[p] <= _ZERO + 6:
                    label = text[p] - _ZERO
                    p += 1
            elif column == usage_at:
                for name in range(usages.shape[0]):
                    length = 0
                    while usages[name, length] != 0 and text[p + length] == usages[name, length]:
                        length += 1
                    if usages[name, length] == 0:
                        split = name
                        p += length
                        break
            else:
                while text[p] != _NEWLINE and text[p] != _QUOTE and text[p] != _COMMA:
                    p += 1
            while text[p] == _SPACE:
                p += 1
            if quoted:
                if text[p] != _QUOTE:
                    return rows, here
                p += 1
                while text[p] == _SPACE:
                    p += 1
            if text[p] == _RETURN:
                p += 1
            if text[p] != _COMMA:
                break
            p += 1
            column += 1
        if text[p] != _NEWLINE or column + 1 != columns or pixels != images.shape[1] or label < 0 or split < 0:
            return rows, here
        labels[rows] = label
        splits[rows] = split
        rows += 1
        here = p + 1
    return rows, here


def _parse_lines(lines: bytes, columns: Columns, name: str, row: int, number: int):
    """Whole csv lines -> a list of (images, labels, splits), and the rows so far.

    `row` rows and `number` lines came before these: messages count from the top of the file."""
    text = np.frombuffer(lines, np.uint8)
    parts, here = [], 0
    while here < len(lines):
        room = (len(lines) - here) // SHORTEST_ROW + 1
        images, labels, splits = np.empty((room, PIXELS), np.uint8), np.empty(room, np.int64), np.empty(room, np.uint8)
        rows, stop = parse_rows(text, here, columns.emotion, columns.pixels, columns.usage, columns.total,
                                _USAGE_BYTES, images, labels, splits)
        parts.append((images[:rows], labels[:rows], splits[:rows]))
        row += rows
        here = stop
        if here < len(lines) and rows < room:
            end = lines.index(b"\n", here) + 1
            if lines[here:end].strip():
                label, pixels, split = _explained(lines, here, end, columns, name, row, number)
                parts.append((pixels[None], np.array([label]), np.array([split], np.uint8)))
                row += 1
            here = end
    return parts, row


def _explained(lines: bytes, here: int, end: int, columns: Columns, name: str, row: int, number: int):
    """parse_line for the line at lines[here:end], its ValueError told with the file, the row and the line."""
    try:
        return parse_line(lines[here:end], columns)
    except ValueError as error:
        line = number + lines.count(b"\n", 0, here) + 1
        raise UserError(f"{name}, row {digits(row + 1)} (line {digits(line)}): {error}; mend or remove that line, or "
                        f"fetch the file again ({HOW_TO_GET}).") from None


def _read_lines(stream, bar, name: str):
    """The stream's whole lines in blocks of about CHUNK bytes, the last one ended with a newline if it is not."""
    rest = b""
    while block := stream.read(CHUNK):
        bar.update(len(block))
        whole, newline, tail = block.rpartition(b"\n")
        if newline:
            yield rest + whole + newline
            rest = tail
        else:
            rest += block
        if len(rest) > LONGEST_LINE:
            raise UserError(f"{name}: a line of more than {digits(LONGEST_LINE)} bytes, expected {digits(PIXELS)} "
                            f"numbers at most; this is no csv of FER-2013 ({HOW_TO_GET}).")
    if rest:
        yield rest + b"\n"


def load_csv(path: Path) -> Found:
    """A FER-2013 csv, plain, in a .gz, a .tar.gz or a .zip -> what was found in it. Some hundred MB a second."""
    with opened(path) as (stream, size, name, packed):
        with tqdm(total=size, unit="B", unit_scale=True, desc=f"reading {name}", delay=0.5, leave=False,
                  disable=None) as bar:
            columns, layout, parts, row, number = None, "", [], 0, 0
            for lines in _read_lines(stream, bar, name):
                here = 0
                if columns is None:
                    here = lines.index(b"\n") + 1
                    columns, layout = read_header(lines[:here], name)
                    number = 1
                new, row = _parse_lines(lines[here:], columns, name, row, number)
                parts.extend(new)
                number += lines.count(b"\n", here)
    if columns is None:
        raise UserError(f"{name}: the file is empty, expected a csv of FER-2013; {HOW_TO_GET}.")
    if row == 0:
        raise UserError(f"{name}: a first line but no rows, expected one row for each picture; {HOW_TO_GET}.")
    images, labels, splits = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Found(images.reshape(-1, SIDE, SIDE), labels, splits, layout + packed)


# --- packed files ---------------------------------------------------------------------------------------------------

def _choose(names: list[str], where: str) -> str:
    """The csv to read among a container's names: the official names first, else the only one."""
    tables = [name for name in names if name.lower().endswith(".csv") and not Path(name).name.startswith(("._", "."))]
    for preferred in PREFERRED:
        for name in tables:
            if Path(name).name.lower() == preferred:
                return name
    if len(tables) == 1:
        return tables[0]
    pictures = any(Path(name).suffix.lower() in (".png", ".jpg", ".jpeg") for name in names)
    what = "pictures but no csv; unpack it and give the folder" if pictures and not tables else (
        f"{len(tables)} csv files, none called {' or '.join(PREFERRED)}; unpack it and give the one to read")
    raise UserError(f"{where}: the archive holds {what}.")


@contextlib.contextmanager
def opened(path: Path):
    """A csv's bytes, unpacked -> (stream, size in bytes or None, name for messages, ", gzipped" or the like)."""
    with path.open("rb") as file:
        magic = file.read(2)
    if magic not in (b"\x1f\x8b", b"PK"):
        with path.open("rb") as stream:
            yield stream, path.stat().st_size, path.name, ""
        return
    try:
        with (_zipped if magic == b"PK" else _gzipped)(path) as unpacked:
            yield unpacked
    except (UserError, MemoryError):
        raise
    except Exception as error:  # zipfile, tarfile and zlib raise a dozen kinds on damaged bytes
        raise UserError(f"{path}: the archive is damaged or cut short ({in_short(error)}); fetch it again.") from None


@contextlib.contextmanager
def _zipped(path: Path):
    with zipfile.ZipFile(path) as archive:
        name = _choose(archive.namelist(), path.name)
        with archive.open(name) as stream:
            yield stream, archive.getinfo(name).file_size, f"{path.name}/{name}", ", zipped"


@contextlib.contextmanager
def _gzipped(path: Path):
    with gzip.open(path) as stream:
        tarred = stream.read(512)[257:262] == b"ustar"
    if not tarred:
        with gzip.open(path) as stream:
            yield stream, None, path.name, ", gzipped"
        return
    with tarfile.open(path, "r:gz") as archive:
        name = _choose([member.name for member in archive if member.isfile()], path.name)
        member = archive.getmember(name)
        yield archive.extractfile(member), member.size, f"{path.name}/{name}", ", in a tar.gz"


def in_short(error: Exception) -> str:
    """An exception in a few words, on one line."""
    return " ".join(str(error).split())[:80] or type(error).__name__
