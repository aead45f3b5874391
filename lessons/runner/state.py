"""Which lessons are ticked and which hints were given: a cache in the user's own folder, which may be lost.

A tick belongs to the very bytes of the student's file and of check.py: edit either, and it goes grey. That a solution
was read before its time is no cache: it is written into work/given-up.txt, which the student hands in with the rest."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import pathlib

from tinyfer.errors import UserError
from tinyfer.places import user_cache

from .course import Lesson, shown, work

DONE, EDITED, BEGUN, TODO = "done", "edited", "begun", "to do"


def _path() -> pathlib.Path:
    key = hashlib.sha256(str(work().resolve()).encode()).hexdigest()[:12]
    return user_cache() / "lessons" / f"{key}.json"


def _read() -> dict:
    with contextlib.suppress(OSError, ValueError):
        table = json.loads(_path().read_text(encoding="utf-8"))
        if isinstance(table, dict):
            return table
    return {}


def _write(table: dict) -> None:
    with contextlib.suppress(OSError):  # a home that cannot be written: ticks are a convenience
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(table, indent=1), encoding="utf-8")
        os.replace(part, path)


def fingerprint(lesson: Lesson) -> str:
    """Of the student's file and the checks as they are now."""
    digest = hashlib.sha256(lesson.mine.read_bytes())
    digest.update(lesson.file("check.py").read_bytes())
    return digest.hexdigest()


def of(lesson: Lesson) -> str:
    """DONE, EDITED (it has passed before), BEGUN or TODO."""
    if not lesson.mine.exists():
        return TODO
    passed = _read().get(lesson.name, {}).get("passed")
    if passed is None:
        return BEGUN
    return DONE if passed == fingerprint(lesson) else EDITED


def tick(lesson: Lesson, passed: bool) -> None:
    """Remember that the lesson's checks passed, or no longer do."""
    table = _read()
    row = table.setdefault(lesson.name, {})
    if passed:
        row["passed"] = fingerprint(lesson)
    elif row.get("passed") == fingerprint(lesson):  # else it was another file that passed, which may come back
        row["passed"] = None
    _write(table)


def next_hint(lesson: Lesson) -> int:
    """The number of the hint to give now, from 0; after the last one all have been given, and it stays at that."""
    table = _read()
    row = table.setdefault(lesson.name, {})
    number = row.get("hints", 0)
    row["hints"] = min(number + 1, len(lesson.hints))
    _write(table)
    return number


def record_given_up(lesson: Lesson) -> None:
    """Write down that the solution was read before the checks passed."""
    path = work() / "given-up.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{datetime.date.today()} {lesson.name}\n")
    except OSError as error:
        raise UserError(
            f"{shown(path)} cannot be written ({error.strerror}), and so the solution stays shut."
        ) from error


def given_up(lesson: Lesson) -> bool:
    """True once the solution was read before its time."""
    with contextlib.suppress(OSError):
        lines = (work() / "given-up.txt").read_text(encoding="utf-8").splitlines()
        return any(line.split()[-1:] == [lesson.name] for line in lines)
    return False
