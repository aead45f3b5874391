"""`grade DIR`: every hand-in of a folder checked, and the marks as CSV, as an HTML board and for Gradescope.

Each file runs in a process of its own, laid out in a folder that is thrown away, with a time limit for each check and
for all of them, one thread (two and more where a lesson seeks races), bounded memory, and a Numba cache that is thrown
away with it. What one student's code does, the next one's does not see. It is no sandbox: the code runs with the rights
of whoever grades.

A lesson's points (lessons.toml) are given when all its checks pass, and otherwise none."""

from __future__ import annotations

import csv
import io
import json
import os
import pathlib
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tinyfer.errors import UserError

from . import board, course, grading, unpacking, verdict
from .course import Lesson, shown
from .unpacking import Handed
from .verdict import say

NO_SANDBOX = ("Each file runs in a process of its own, with limits. That is no sandbox: it runs with your rights. "
              "Grade strangers' code in a container or with an account of its own.")  # fmt: skip


@dataclass
class Row:
    """One hand-in's marks: by lesson what its checks said (no entry where nothing was handed in), and a remark."""

    name: str
    results: dict[Lesson, grading.Result] = field(default_factory=dict)
    remark: str = ""
    seconds: float = 0.0

    def points(self, lesson: Lesson) -> int:
        """The lesson's points, or 0."""
        return lesson.points if lesson in self.results and self.results[lesson].passed else 0

    def total(self, lessons: Iterable[Lesson]) -> int:
        return sum(map(self.points, lessons))

    def remarks(self) -> str:
        """The remark, and a few words on each lesson that was not passed."""
        failed = [f"{lesson.number} {verdict.why(result)}" for lesson, result in self.results.items()
                  if not result.passed]  # fmt: skip
        return "; ".join([self.remark] * bool(self.remark) + failed)


def run(folder: pathlib.Path, lessons: Sequence[Lesson], *, out: str | None, html: str | None, gradescope: str | None,
        seconds: float | None, jobs: int) -> int:  # fmt: skip
    """Grade all hand-ins of the folder; whatever they are like, the answer is 0."""
    if not (out or html or gradescope):
        raise UserError(f"where should the marks go? For example: python -m lessons grade {folder} --out grades.csv")
    for place in (out, html, gradescope):
        _expect_writable(place)
    handed, passed_over = unpacking.found(folder)
    say(f"{len(handed)} hand-in{'s' * (len(handed) != 1)}, lessons {' '.join(lesson.number for lesson in lessons)}, "
        f"cases of class {course.class_seed()}\n{verdict.filled(NO_SANDBOX, 0)}")  # fmt: skip
    if passed_over:
        say(f"passed over, neither zip nor folder: {', '.join(passed_over)}")
    rows: list[Row] = []
    try:
        for row in _graded(handed, lessons, seconds, jobs):
            rows.append(row)
            _tell(row, lessons, len(rows), len(handed))
    finally:  # Ctrl-C keeps what there is
        rows.sort(key=lambda row: row.name)
        _write_all(rows, lessons, out, html, gradescope, many=len(handed) > 1)
    return 0


def _graded(handed: list[Handed], lessons: Sequence[Lesson], seconds: float | None, jobs: int) -> Iterable[Row]:
    """The rows, as they are ready."""
    def row(one: Handed) -> Row:
        return _row(one, lessons, seconds)

    if jobs == 1:  # in this thread, so that Ctrl-C ends what runs
        yield from map(row, handed)
        return
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(row, handed)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _row(handed: Handed, lessons: Sequence[Lesson], seconds: float | None) -> Row:
    borrowed = [f"{lesson.number} imports {', '.join(names)}" for lesson in lessons
                if (names := handed.borrows(lesson))]  # fmt: skip
    row = Row(handed.name, remark="; ".join([handed.remark] * bool(handed.remark) + borrowed))
    begun = time.perf_counter()
    for lesson in lessons:
        if lesson.name in handed.lessons:
            try:
                row.results[lesson] = _result(handed, lesson, seconds)
            except Exception as error:  # of ours, or of a full disk: the other hand-ins shall not wait for it
                trouble = f"this could not be graded: {type(error).__name__} {error}".rstrip()
                row.results[lesson] = grading.Result(lesson, pathlib.Path(f"{lesson.name}.py"), trouble=trouble)
    row.seconds = time.perf_counter() - begun
    return row


def _result(handed: Handed, lesson: Lesson, seconds: float | None) -> grading.Result:
    with handed.laid_out(lesson) as path:
        result = grading.grade(lesson, path, seconds=seconds, apart=path.parent.parent)
        short = pathlib.Path("work", path.name)
        result.trouble = result.trouble.replace(shown(path), short.as_posix())
        result.path = short
    return result


def _tell(row: Row, lessons: Sequence[Lesson], count: int, of: int) -> None:
    states = {True: "--", False: ".."}
    marks = " ".join(lesson.number if row.points(lesson) else states[lesson in row.results] for lesson in lessons)
    total = f"{row.total(lessons):>3} of {sum(lesson.points for lesson in lessons)}"
    say(f"[{count:>{len(str(of))}}/{of}]  {total}  {marks}  {row.seconds:5.1f} s  {row.name}"
        + (f": {row.remark}" if row.remark else ""))  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ the files


def _expect_writable(place: str | None) -> None:
    """UserError now, and not after an hour, where a file could not be written."""
    path = pathlib.Path(place) if place else None
    if path and not (path.parent.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)):
        raise UserError(f"{place} cannot be written: name a file in a folder that is there and is yours.")


def _write_all(rows: list[Row], lessons: Sequence[Lesson], out, html, gradescope, many: bool) -> None:
    texts = {out: csv_text(rows, lessons)} if out else {}
    if html:
        texts[html] = board.page(rows, lessons)
    told = ", ".join(texts)
    if gradescope:
        path = pathlib.Path(gradescope)
        names = {row.name: path.with_name(f"{path.stem}-{row.name}{path.suffix}") if many else path for row in rows}
        texts |= {str(names[row.name]): json.dumps(gradescope_results(row, lessons), indent=1) for row in rows}
        told += f"{', ' * bool(told)}{path.with_name(path.stem + '-NAME' + path.suffix) if many else path}"
    for place, text in texts.items():
        pathlib.Path(place).write_text(text, encoding="utf-8", newline="")
    say(f"written: {told}")


def csv_text(rows: list[Row], lessons: Sequence[Lesson]) -> str:
    """A line a hand-in: points by lesson (empty: not handed in; 0: not passed), their sum, and a remark."""
    text = io.StringIO()
    writer = csv.writer(text)
    most = sum(lesson.points for lesson in lessons)
    writer.writerow(["hand-in", *(f"{one.number} {one.title} ({one.points})" for one in lessons), f"total ({most})",
                     "remark"])  # fmt: skip
    for row in rows:
        points = [row.points(lesson) if lesson in row.results else "" for lesson in lessons]
        writer.writerow([_cell(row.name), *points, row.total(lessons), _cell(row.remarks())])
    return text.getvalue()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def gradescope_results(row: Row, lessons: Sequence[Lesson]) -> dict[str, Any]:
    """One hand-in as Gradescope's results.json (https://gradescope-autograders.readthedocs.io/en/latest/specs/)."""
    tests = []
    for lesson in lessons:
        result = row.results.get(lesson)
        tests.append({
            "number": lesson.number, "name": f"{lesson.number} {lesson.title}", "score": row.points(lesson),
            "max_score": lesson.points, "status": "passed" if result and result.passed else "failed",
            "output": verdict.whole(result) if result else "not handed in", "visibility": "visible"})  # fmt: skip
    return {"tests": tests, "output": row.remark, "execution_time": round(row.seconds, 1), "visibility": "visible",
            "stdout_visibility": "hidden"}  # fmt: skip
