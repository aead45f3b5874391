"""Hand-ins as they come: a folder of zips and folders, opened so that nothing in them can do harm yet.

    for handin in found(folder): handin.name, handin.files, handin.remark
    with handin.laid_out(lesson) as path: ...       the student's file, in a folder of its own that is thrown away

Of a hand-in only Python files are taken, those beside (and below) the files of lessons, into memory: bounded in size
and number, never through a link, never from or to a path outside. What cannot be opened gets a remark and does not
stop the others."""

from __future__ import annotations

import ast
import contextlib
import pathlib
import re
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tinyfer.errors import UserError

from . import course
from .course import Lesson

ZIP = 50 << 20  # bytes of a zip that is opened at all
ENTRIES = 20_000  # files in a zip, or in the folders that are looked into
FILE, ALL, COUNT = 1 << 20, 10 << 20, 300  # bytes of a Python file, of all that are taken, and how many these may be
ARCHIVES = (".rar", ".7z", ".tar", ".tgz", ".gz", ".bz2", ".xz")  # somebody's work, and no zip


class Unfit(Exception):
    """Why a hand-in is not opened, one sentence."""


@dataclass
class Handed:
    """One hand-in: whose it is, by the name of the zip or folder; its Python files; what is odd about it, or "".

    lessons: where the file of each lesson is, by the lesson's name."""

    name: str
    files: dict[PurePosixPath, bytes] = field(default_factory=dict)
    lessons: dict[str, PurePosixPath] = field(default_factory=dict)
    remark: str = ""

    def borrows(self, lesson: Lesson) -> list[str]:
        """Packages that the lesson's file imports and its exercise does not, such as tinyfer, which has all answers."""
        if lesson.name not in self.lessons:
            return []
        path = self.lessons[lesson.name]
        beside = {other.relative_to(path.parent).parts[0].removesuffix(".py") for other in self.files
                  if other.is_relative_to(path.parent)}  # fmt: skip
        given = {"numpy", "numba"} | _imports(lesson.file("exercise.py").read_bytes())
        return sorted(_imports(self.files[path]) - given - beside - sys.stdlib_module_names)

    @contextlib.contextmanager
    def laid_out(self, lesson: Lesson) -> Iterator[pathlib.Path]:
        """The lesson's file and what lies beside it, fresh in the folder work/ of a folder of their own."""
        where = self.lessons[lesson.name].parent
        with tempfile.TemporaryDirectory(prefix="handin-", ignore_cleanup_errors=True) as folder:
            for path, content in self.files.items():
                if path.is_relative_to(where):
                    target = pathlib.Path(folder, "work", path.relative_to(where))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)
            yield pathlib.Path(folder, "work", f"{lesson.name}.py")


def found(folder: pathlib.Path) -> tuple[list[Handed], list[str]]:
    """All hand-ins of a folder, by name, and the names of files that are none; UserError where there is none. The
    folder may also be a single hand-in itself, or a zip."""
    if folder.is_file() and folder.suffix.lower() == ".zip":
        return [opened(folder, folder.stem)], []
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; expected one with a zip or folder for each student.")
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
    zips = [path for path in entries if path.suffix.lower() == ".zip"]
    if _is_handin(folder):
        if zips:
            raise UserError(f"{folder} holds files of lessons, and zips: is it one hand-in, or many? Put the files of "
                            "lessons into a folder of their own.")  # fmt: skip
        return [opened(folder, folder.resolve().name)], []
    ours = [path for path in entries if path.is_dir() or path in zips or path.suffix.lower() in ARCHIVES]
    if not ours and any(path.suffix == ".py" for path in entries):  # a hand-in, of files that are none of a lesson
        return [opened(folder, folder.resolve().name)], []
    if not ours:
        raise UserError(f"{folder} holds no hand-in: expected a zip or a folder for each student.")
    stems = [path.stem for path in ours]
    names = [path.stem if path in zips and stems.count(path.stem) == 1 else path.name for path in ours]
    passed_over = [path.name for path in entries if path not in ours]
    return [opened(path, name) for path, name in zip(ours, names, strict=True)], passed_over


def opened(path: pathlib.Path, name: str) -> Handed:
    """One hand-in; whatever is wrong with it becomes its remark."""
    handed = Handed(name)
    try:
        if path.is_symlink():
            raise Unfit("it is a link, which is not followed")
        if path.is_dir():
            _fill(handed, _Folder(path))
            inside = [one for one in sorted(path.glob("*.zip")) if not one.is_symlink()]
            if not handed.lessons and len(inside) == 1:  # as some learning platforms hand them out
                with _Zip(inside[0]) as source:
                    _fill(handed, source)
        elif path.suffix.lower() == ".zip":
            with _Zip(path) as source:
                _fill(handed, source)
        else:
            raise Unfit(f"it is a {path.suffix} file: hand in a zip, or a folder")
        if not handed.lessons and not handed.remark:
            raise Unfit("it holds no file of a lesson, such as work/05_conv_forward.py")
    except Unfit as why:
        handed = Handed(name, remark=str(why))
    except Exception as error:  # a broken zip breaks in many ways
        handed = Handed(name, remark=f"it cannot be opened: {error or type(error).__name__}")
    return handed


# ---------------------------------------------------------------------------------------------------- what may be taken


def _is_handin(folder: pathlib.Path) -> bool:
    """True for a student's own folder: files of lessons lie at its top or in work/."""
    homes = (folder, folder / "work")
    return any((home / f"{lesson.name}.py").is_file() for home in homes for lesson in course.lessons())


def _fill(handed: Handed, source: _Folder | _Zip) -> None:
    """Take the lessons' files and the Python files beside them."""
    paths = list(source.paths())
    remarks = []
    for lesson in course.lessons():
        near = sorted((path for path in paths if path.name == f"{lesson.name}.py" and _depth(path) < 4), key=_depth)
        if near:
            handed.lessons[lesson.name] = near[0]
            if len(near) > 1 and _depth(near[1]) == _depth(near[0]):
                remarks.append(f"{near[0]} was graded, and {near[1]} was not")
    remarks += [f"{path} is a link, which is not followed" for path in source.links if _lesson_file(path)]
    homes = {path.parent for path in handed.lessons.values()}
    taken = [path for path in paths if path.suffix == ".py" and any(path.is_relative_to(home) for home in homes)]
    if len(taken) > COUNT:
        raise Unfit(f"it holds {len(taken)} Python files beside those of lessons: hand in the folder work/ alone")
    room = ALL
    for path in taken:
        content = source.read(path, min(FILE, room) + 1)
        room -= len(content)
        if len(content) > FILE or room < 0:
            raise Unfit(f"{path} is too large for a Python file, or all of them together are")
        handed.files[path] = content
    handed.remark = "; ".join(remarks)


def _depth(path: PurePosixPath) -> int:
    """0 at the top, 1 in work/, 2 one folder deeper, 3 in work/ there; 4 for all that is too deep."""
    above = path.parts[:-1]
    inside = above[-1:] == ("work",)
    return 2 * (len(above) - inside) + inside


def _lesson_file(path: PurePosixPath) -> bool:
    return any(path.name == f"{lesson.name}.py" for lesson in course.lessons())


def _imports(source: bytes) -> set[str]:
    """The packages that some Python code imports anywhere; none where it is not valid."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in found}


def _hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") or part in ("__MACOSX", "__pycache__", "site-packages") for part in parts)


class _Folder:
    """The files of a folder."""

    def __init__(self, path: pathlib.Path):
        self.top, self.links = path, list[PurePosixPath]()

    def paths(self) -> Iterator[PurePosixPath]:
        """Files that are not hidden, relative to the top; links are noted and left out."""
        waiting, count = [self.top], 0
        while waiting:
            for path in sorted(waiting.pop(0).iterdir()):
                count += 1
                if count > ENTRIES:
                    raise Unfit(f"it holds more than {ENTRIES:,} files: hand in the folder work/ alone")
                relative = PurePosixPath(path.relative_to(self.top).as_posix())
                if path.is_symlink():
                    self.links.append(relative)
                elif path.is_dir() and not _hidden([path.name]):
                    waiting.append(path)
                elif path.is_file() and not _hidden([path.name]):
                    yield relative

    def read(self, path: PurePosixPath, size: int) -> bytes:
        """The file, `size` bytes at most."""
        with open(self.top / path, "rb") as file:
            return file.read(size)


class _Zip:
    """The files of a zip; nothing of it is written anywhere."""

    def __init__(self, path: pathlib.Path):
        if path.stat().st_size > ZIP:
            raise Unfit(f"it is a zip of more than {ZIP >> 20} MB: hand in the folder work/ alone")
        self._zip, self.links = zipfile.ZipFile(path), list[PurePosixPath]()
        self._entries: dict[PurePosixPath, zipfile.ZipInfo] = {}

    def __enter__(self) -> _Zip:
        return self

    def __exit__(self, *_) -> None:
        self._zip.close()

    def paths(self) -> Iterator[PurePosixPath]:
        """Files that are not hidden; a path that leads outside is refused with the whole zip."""
        if len(self._zip.infolist()) > ENTRIES:
            raise Unfit(f"it holds more than {ENTRIES:,} files: hand in the folder work/ alone")
        for entry in self._zip.infolist():
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", str(path)):
                raise Unfit(f"it holds the path {entry.filename!r}, which leads outside: nothing of it was opened")
            if stat.S_ISLNK(entry.external_attr >> 16):
                self.links.append(path)
            elif not entry.is_dir() and not _hidden(path.parts):
                self._entries[path] = entry
        yield from self._entries

    def read(self, path: PurePosixPath, size: int) -> bytes:
        """The file, `size` bytes at most."""
        entry = self._entries[path]
        if entry.flag_bits & 1:
            raise Unfit("it is a zip with a password")
        with self._zip.open(entry) as file:
            return file.read(size)
