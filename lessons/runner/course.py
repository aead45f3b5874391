"""Which lessons there are, and where the files of each lie.

A *lesson* is a folder NN_name beside lessons.toml, which says its title, functions, points, minutes and hints. A
student's own file for it is work/NN_name.py; TINYFER_WORK names another folder, for a checkout that cannot be
written.

A *class* is a number that the checks draw their cases from: shapes and values. Students have class 0; whoever grades
may choose another one (`dev variants`), so that what knows the cases by heart does not pass."""

from __future__ import annotations

import functools
import os
import pathlib
import sys
from dataclasses import dataclass, field
from typing import Any

from tinyfer.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LESSONS = pathlib.Path(__file__).resolve().parent.parent
ROOT = LESSONS.parent
CLASS = LESSONS / "class.txt"  # the number of another class than 0, where one was chosen
HINTS = 3  # concept, shape, nearly the line


@dataclass(frozen=True, eq=False)
class Lesson:
    """One lesson: its row of lessons.toml.

    functions  what the student writes, by name      ops     those of them that training can plug in
    points     of the whole course's 100             seconds a single check may take
    minutes    that it takes a student               in_place  function -> positions of the arguments it may write"""

    name: str
    title: str
    functions: tuple[str, ...]
    points: int
    minutes: int
    hints: tuple[str, ...]
    ops: tuple[str, ...] = ()
    seconds: float = 20
    in_place: dict[str, list[int]] = field(default_factory=dict)

    @property
    def number(self) -> str:
        return self.name[:2]

    @property
    def folder(self) -> pathlib.Path:
        return LESSONS / self.name

    @property
    def mine(self) -> pathlib.Path:
        """The student's file, which need not be there yet."""
        return work() / f"{self.name}.py"

    def file(self, name: str) -> pathlib.Path:
        """README.md, exercise.py, solution.py, check.py, show.py, bank.py or picture.png of this lesson."""
        return self.folder / name

    def begin(self) -> bool:
        """Give the student a copy of the exercise, if there is none yet; True where one was made."""
        if self.mine.exists():
            return False
        text = self.file("exercise.py").read_bytes()
        try:
            self.mine.parent.mkdir(parents=True, exist_ok=True)
            self.mine.write_bytes(text)
        except OSError as error:
            raise UserError(
                f"{shown(self.mine)} cannot be written ({error.strerror}): set TINYFER_WORK to a folder of "
                f"yours, such as {pathlib.Path.home() / 'tinyfer-work'}, and type it again."
            ) from error
        return True


def work() -> pathlib.Path:
    """The folder of the student's own files."""
    return pathlib.Path(os.environ.get("TINYFER_WORK") or ROOT / "work").expanduser()


def pictures() -> pathlib.Path:
    """The folder for the pictures that `show` and `try` draw: git leaves it alone."""
    return work() / "pictures" if os.environ.get("TINYFER_WORK") else ROOT / "runs" / "lessons"


def class_seed() -> int:
    """The number of the class whose cases the checks draw: TINYFER_CLASS, else what class.txt says, else 0."""
    said, where = os.environ.get("TINYFER_CLASS"), "TINYFER_CLASS"
    if said is None:
        said, where = (CLASS.read_text(encoding="utf-8") if CLASS.exists() else "0"), shown(CLASS)
    try:
        number = int(said)
    except ValueError:
        number = -1
    if number < 0:
        raise UserError(f"{where} is {said.strip()!r}: expected the number of a class, 0 or more.")
    return number


def shown(path: pathlib.Path) -> str:
    """A path as a reader wants it: from here where that is shorter."""
    relative = os.path.relpath(path) if path.anchor == pathlib.Path.cwd().anchor else str(path)
    return min(relative, str(path), key=len)


@functools.cache
def lessons() -> tuple[Lesson, ...]:
    """All lessons in their order."""
    with open(LESSONS / "lessons.toml", "rb") as file:
        table = tomllib.load(file)
    found = []
    for name, row in sorted(table.items()):
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        found.append(Lesson(name=name, **values))
    return tuple(found)


def find(word: str) -> Lesson:
    """The lesson that a student means: by its number (5, 05), its folder, its file or the beginning of its name."""
    wanted = pathlib.PurePath(word).name.removesuffix(".py").lower()
    for lesson in lessons():
        if wanted in (lesson.name, lesson.number, str(int(lesson.number)), lesson.name[3:]):
            return lesson
    near = [lesson for lesson in lessons() if wanted and lesson.name[3:].startswith(wanted)]
    if len(near) == 1:
        return near[0]
    raise UserError(f"there is no lesson {word!r}; the lessons are {', '.join(one.number for one in lessons())}.")


def after(lesson: Lesson) -> Lesson | None:
    """The next lesson; None after the last."""
    following = lessons()[lessons().index(lesson) + 1 :]
    return following[0] if following else None
