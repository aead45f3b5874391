"""For whoever teaches: the students' tree, and cases of one's own.

    python -m lessons dev release DIR          the project without solutions, banks, tests and instructors' tools
    python -m lessons dev variants --seed N    from now on this tree checks and grades with the cases of class N

Students keep the cases of class 0. A class of its own has other numbers, and other shapes besides; so what answers by
heart what the public cases ask fails when it is graded."""

from __future__ import annotations

import os
import pathlib
import shutil

from tinyfer.errors import UserError

from . import course, grading
from .course import CLASS, LESSONS, ROOT, shown
from .verdict import say

# What students get, of the project's top folder; of that, what they do not get, as patterns of paths.
KEPT = (".gitignore", "LICENSE", "Makefile", "data/README.md", "docs", "lessons", "pyproject.toml", "recipes",
        "tinyfer", "tools")  # fmt: skip
INSTRUCTORS = ("bank", "board", "gradebook", "lint", "release", "unpacking")  # files of the runner
LEFT_OUT = ("lessons/*/solution.py", "lessons/*/bank.py", "lessons/classroom", "lessons/class.txt", "docs/lessons*",
            "docs/instructors*", *(f"lessons/runner/{name}.py" for name in INSTRUCTORS))  # fmt: skip
PUT = {"README.md": "README.md", "lessons.yml": ".github/workflows/lessons.yml"}  # from lessons/classroom
FOR_AUTHORS = "## For those who"  # the heading in lessons/README.md where the students' part ends


def release(folder: pathlib.Path) -> int:
    """Write the students' tree into a new or empty folder; 0."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty: name a new folder for the students' tree.")
    if ROOT in folder.resolve().parents:
        raise UserError(f"{folder} lies inside this project: name a folder elsewhere, such as ../students.")
    try:
        for name in KEPT:
            _copy(ROOT / name, folder / name)
        for name, place in PUT.items():
            _copy(LESSONS / "classroom" / name, folder / place)
        (folder / "work").mkdir()
        page = folder / "lessons" / "README.md"
        page.write_text(page.read_text(encoding="utf-8").partition(FOR_AUTHORS)[0].rstrip() + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be written ({error.strerror}).") from error
    count = sum(path.is_file() for path in folder.rglob("*"))
    say(f"{shown(folder)}: {count} files, {len(course.lessons())} lessons, without solutions, banks and tests")
    say("look at it as a student would: cd there, make setup, .venv/bin/python -m lessons")
    return 0


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """A file, or a folder without what is left out."""

    def ignored(parent: str, names: list[str]) -> set[str]:
        inside = {name: (pathlib.Path(parent) / name).relative_to(ROOT) for name in names}
        return {name for name, path in inside.items()
                if name.startswith((".", "__pycache__")) or any(map(path.match, LEFT_OUT))}  # fmt: skip

    if source.is_dir():
        shutil.copytree(source, target, ignore=ignored)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def variants(seed: int | None) -> int:
    """Let this tree draw the cases of another class, once our solutions have passed them; 0 when they do."""
    if seed is None:
        raise UserError("dev variants: which class? For example: python -m lessons dev variants --seed 2027")
    before = os.environ.get("TINYFER_CLASS")
    os.environ["TINYFER_CLASS"] = str(seed)
    failed = 0
    try:
        for lesson in course.lessons():
            result = grading.grade(lesson, lesson.file("solution.py"))
            failed += not result.passed
            why = "" if result.passed else result.trouble or f'fails at "{result.failure.get("check")}"'
            say(f"  {'ok  ' if result.passed else 'FAIL'}  {lesson.number} {lesson.title:<24} {why}".rstrip())
    finally:
        if before is None:
            del os.environ["TINYFER_CLASS"]
        else:
            os.environ["TINYFER_CLASS"] = before
    if failed:
        say(f"our own solutions do not pass the cases of class {seed}: take another number")
        return 1
    if seed:
        CLASS.write_text(f"{seed}\n", encoding="utf-8")
    else:
        CLASS.unlink(missing_ok=True)
    say(f"our solutions pass the cases of class {seed}; from now on this tree checks and grades with them"
        + (f" ({shown(CLASS)} says so)" if seed else ""))  # fmt: skip
    return 0
