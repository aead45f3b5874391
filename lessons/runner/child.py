"""The process in which a student's code runs: `python -m lessons.runner.child JSON`.

The JSON names a job: {"job": "check", "lesson", "files", "stop", "seconds", "memory"}, or {"job": "show", "lesson",
...}. What happens is told on stderr, a JSON object a line (see `Channel`); stdout belongs to the student's prints. When
a check, or the reading of a file, takes longer than `seconds`, faulthandler writes to stderr where the student's code
was and ends the process.

Checks run on one thread, on every machine the same; what is held to several threads asks for them (`hold_threads`, and
the guard of every parallel function)."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import pathlib
import sys
import tempfile
import time
import traceback

import numba
import pytest

import tinyfer.ops  # noqa: F401  decorates our kernels, which settles where they are cached
from lessons.checking import Fault, Handin, Todo, record
from lessons.runner import course
from lessons.runner.course import Lesson
from tinyfer.errors import UserError

READING = "reading the file"


class Channel:
    """Where events go: the process's first stderr. Whatever else writes to stderr ends up with the prints."""

    def __init__(self):
        self.file = os.fdopen(os.dup(2), "w", encoding="ascii")
        os.dup2(1, 2)
        sys.stdout.reconfigure(line_buffering=True)  # what was printed before an endless loop shall be seen
        sys.stderr = sys.stdout
        faulthandler.enable(self.file)

    def tell(self, event: str, **values) -> None:
        sys.stdout.flush()
        print(json.dumps({"event": event, **values}), file=self.file, flush=True)

    @contextlib.contextmanager
    def limit(self, seconds: float):
        """End the process, telling where it was, when the block takes longer."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=self.file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


class Recorder:
    """The pytest plugin that hands over the student's file and tells each check's outcome."""

    def __init__(self, channel: Channel, handin: Handin, seconds: float):
        self.channel, self.handin, self.seconds = channel, handin, seconds
        self.error: BaseException | None = None
        self.failed = False  # a check of this file has, and not by a fault of the course

    def pytest_configure(self, config):
        config.handin = self.handin

    def pytest_collectreport(self, report):
        if report.failed:
            self.channel.tell("broken", text=str(report.longrepr))

    def pytest_collection_finish(self, session):
        self.channel.tell("collected", checks=[_label(item) for item in session.items])

    def pytest_internalerror(self, excrepr, excinfo):
        if isinstance(excinfo.value, MemoryError):
            text = "the memory ran out. Is something kept from call to call, or an array far too large?"
            self.channel.tell("unreadable", text=f"{course.shown(self.handin.path)}: {text}")
        else:
            self.channel.tell("broken", text=str(excrepr))

    def pytest_runtest_makereport(self, item, call):
        if call.excinfo:
            self.error = call.excinfo.value

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        record.clear()
        self.error = None
        self.handin.called.clear()
        self.channel.tell("start", check=_label(item))
        start = time.perf_counter()
        with self.channel.limit(self.seconds):
            result = yield
        told = _described(self.error, self.handin, self.failed)
        self.failed |= told["status"] in ("fail", "todo")
        self.channel.tell("check", check=_label(item), took=time.perf_counter() - start, **told)
        return result


def _label(item) -> str:
    """What the verdict calls a check: test_one_pixel -> one pixel."""
    return item.name.removeprefix("test_").replace("_", " ")


def _described(error: BaseException | None, handin: Handin, failed: bool) -> dict:
    """An outcome as an event has it; a fault that names no place is one of the function that was called.

    failed: an earlier check has. A later one may then stumble over what that one has told already, such as None."""
    if error is None:
        return {"status": "ok", "text": str(record)}
    if isinstance(error, Todo):
        return {"status": "todo", "text": str(error)}
    if isinstance(error, Fault):
        parts = ("text", "case", "rows", "looks", "place")
        told = {name: getattr(error, name) for name in parts}
        return {"status": "fail", **told, "place": error.place or handin.about()}
    if failed:
        text = f"it cannot be checked before the failure above is mended ({type(error).__name__}: {error})"
        return {"status": "fail", "text": text, "case": "", "rows": [], "looks": "", "place": handin.about()}
    return {"status": "broken", "text": "".join(traceback.format_exception(error)[-4:])}


def check(channel: Channel, lesson: Lesson, file: pathlib.Path, stop: bool, seconds: float) -> None:
    """Run check.py on one file and tell each check's outcome."""
    channel.tell("file", file=str(file))
    channel.tell("start", check=READING)
    try:
        with channel.limit(seconds):
            handin = Handin(file, lesson)
    except UserError as error:
        channel.tell("unreadable", text=str(error).replace(str(file), course.shown(file)))
        return
    handin.say = lambda sentence: channel.tell("say", text=sentence)
    whole = len(lesson.functions) > 1  # then each check that fails says which of them it is about
    place = course.shown(file) if whole else f"{handin.place(lesson.functions[0])} {lesson.functions[0]}"
    channel.tell("loaded", place=place)
    words = ["-c", str(course.LESSONS / "pytest.ini"), "--import-mode=importlib", "--assert=plain", "--capture=no"]
    for plugin in ("cacheprovider", "terminal", "faulthandler"):
        words += ["-p", f"no:{plugin}"]
    words += ["--maxfail=1"] * stop + [str(lesson.file("check.py"))]
    pytest.main(words, plugins=[Recorder(channel, handin, seconds)])
    channel.tell("end")


def bound_memory(size: int) -> None:
    """What asks for more than so many bytes gets a MemoryError, where the system knows such bounds."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> int:
    request = json.loads(sys.argv[1])
    channel = Channel()
    lesson = course.find(request["lesson"])
    # A student's kernel may ask for a cache: it gets a folder that is thrown away.
    with tempfile.TemporaryDirectory(prefix="lesson-", ignore_cleanup_errors=True) as cache:
        numba.config.CACHE_DIR = cache  # type: ignore[attr-defined]
        if request["job"] == "show":
            from lessons.runner import pictures

            return pictures.job(channel, lesson, request)
        numba.set_num_threads(1)
        if request["memory"]:
            bound_memory(request["memory"])
        for file in request["files"]:
            check(channel, lesson, pathlib.Path(file), request["stop"], request["seconds"])
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # at once: a thread that the student's file has started may never end
