"""A hand-in checked, in a process of its own with a time limit: `grade(lesson, file)` -> Result.

Nothing that a student's file does reaches the process that asks: endless loops, crashes, floods of prints. It is no
sandbox all the same: the code runs with the rights of whoever starts it."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .course import ROOT, Lesson, shown

KEPT = 20_000  # characters of a student's prints that are kept
TOTAL = 180  # seconds that all checks of a lesson may take beside a single one's, where nobody sits before them
MEMORY = 4 << 30  # bytes of address space that a hand-in may have there
_START = 120  # seconds that starting Python and importing may take, on a slow disk

Tell = Callable[[dict], None]


@dataclass
class Result:
    """What came of one file.

    checks: the events of the checks that ran (check, status, text, ...); trouble: why no further one could run, or "";
    collected: how many checks the lesson has; printed: what the student's code printed, cut off; place: the file, with
    line and name of the function where the lesson has only one; seconds: all of it."""

    lesson: Lesson
    path: pathlib.Path
    checks: list[dict] = field(default_factory=list)
    trouble: str = ""
    collected: int = 0
    printed: str = ""
    place: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.trouble and bool(self.checks) and self.right == len(self.checks) == self.collected

    @property
    def right(self) -> int:
        """How many checks were passed."""
        return sum(check["status"] == "ok" for check in self.checks)

    @property
    def failure(self) -> dict:
        """The first check that was not passed, or {}."""
        return next((check for check in self.checks if check["status"] != "ok"), {})


def grade(lesson: Lesson, path: pathlib.Path, *, stop=True, seconds: float | None = None, tell: Tell | None = None,
          apart: pathlib.Path | None = None) -> Result:  # fmt: skip
    """Check one file; `tell` hears of every event as it happens. stop: no further check after a failed one; apart: a
    folder to run in, as somebody else's file is checked, with bounds to all of the time and to the memory."""
    return grade_all(lesson, [path], stop=stop, seconds=seconds, tell=tell, apart=apart)[0]


def grade_all(lesson: Lesson, paths: Sequence[pathlib.Path], *, stop=True, seconds: float | None = None,
              tell: Tell | None = None, apart: pathlib.Path | None = None) -> list[Result]:  # fmt: skip
    """Check several files, one process for as many as it survives."""
    results: list[Result] = []
    while len(results) < len(paths):
        results += _one_process(lesson, paths[len(results) :], stop, seconds or lesson.seconds, tell, apart)
    return results


def _one_process(lesson: Lesson, paths, stop: bool, seconds: float, tell: Tell | None,
                 apart: pathlib.Path | None) -> list[Result]:  # fmt: skip
    request = {"job": "check", "lesson": lesson.name, "files": [str(p.resolve()) for p in paths], "stop": stop,
               "seconds": seconds, "memory": MEMORY if apart else None}  # fmt: skip
    results: list[Result] = []
    waiting, begun = "", time.perf_counter()  # the check that runs now; when the file's turn came
    with Child(request, seconds, apart) as child:
        for event in child.events():
            kind = event["event"]
            if kind == "file":
                results.append(Result(lesson, paths[len(results)]))
                begun = time.perf_counter()
            if not results:
                continue
            result = results[-1]
            if kind == "start":
                waiting = event["check"]
            elif kind == "loaded":
                result.place = event["place"]
            elif kind == "collected":
                result.collected = len(event["checks"])
            elif kind == "check":
                result.checks.append(event)
            elif kind in ("unreadable", "broken"):
                result.trouble = event["text"]
            if kind in ("end", "unreadable"):
                waiting = ""
                result.printed += child.take_prints()
            result.seconds = time.perf_counter() - begun
            if tell:
                tell(event)
    if not results or waiting:
        trouble = child.obituary(waiting, paths[max(0, len(results) - 1)], seconds)
        if not results:
            return [Result(lesson, path, trouble=trouble) for path in paths]
        results[-1].trouble, results[-1].printed = trouble, child.take_prints()
        if tell:
            tell({"event": "trouble", "text": trouble})
    return results


def _threads() -> int:
    """Threads that a kernel may have where it is asked to: two at least, since one alone never races."""
    return max(2, os.cpu_count() or 1)


class Child:
    """A `lessons.runner.child` process: its events, its prints, and how it ended; with a folder, one that runs there
    and not for long."""

    def __init__(self, request: dict, seconds: float, folder: pathlib.Path | None = None):
        self._request, self._patience, self._folder = request, seconds + _START, folder
        self._total = TOTAL + seconds if folder else float("inf")
        self._end = float("inf")  # known once the first event is there
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._raw: list[str] = []  # what came on stderr that is no event: faulthandler's last words
        self._printed, self._dropped = "", 0
        self._gave_up = False

    def __enter__(self) -> Child:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                       "MPLBACKEND": "agg"}  # fmt: skip
        for name in ("PYTEST_ADDOPTS", "PYTHONIOENCODING"):
            environment.pop(name, None)
        if self._folder:
            environment |= {"TINYFER_WORK": str(self._folder), "TMPDIR": str(self._folder),
                            "NUMBA_NUM_THREADS": str(_threads())}  # fmt: skip
            environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
        command = [sys.executable, "-m", "lessons.runner.child", json.dumps(self._request)]
        self._process = subprocess.Popen(command, env=environment, cwd=self._folder, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                         start_new_session=True)  # fmt: skip
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read_events, self._read_prints)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        if hasattr(os, "killpg"):  # with whatever the student's file has started
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=5)

    def events(self):
        """Every event until the process ends, or is silent for too long."""
        while True:
            try:
                line = self._lines.get(timeout=min(self._patience, max(0, self._end - time.monotonic())))
            except queue.Empty:
                self._gave_up = True
                return
            if line is None:
                self._process.wait()
                return
            if line.startswith('{"event"'):
                self._end = min(self._end, time.monotonic() + self._total)
                yield json.loads(line)
            else:
                self._raw.append(line)

    def take_prints(self) -> str:
        """What was printed since the last time, cut off where it is long."""
        time.sleep(0.02)  # what was flushed before the event may still be on its way through the other pipe
        text, dropped, self._printed, self._dropped = self._printed, self._dropped, "", 0
        return text + (f"\n... and {dropped:,} more characters" if dropped else "")

    def obituary(self, check: str, path: pathlib.Path, seconds: float) -> str:
        """Why the process ended before its time, for the student."""
        text, code = "".join(self._raw), self._process.returncode
        during = f' in the check "{check}"' if check and check != "reading the file" else ""
        where = re.search(r'File "' + re.escape(str(path.resolve())) + r'", line (\d+)', text)
        place = f"{shown(path)}:{where[1]}" if where else shown(path)
        if self._gave_up and time.monotonic() >= self._end:
            return f"{place}: the checks were not done after {self._total:g} s{during}. Does a loop grow too fast?"
        if "Timeout (" in text or self._gave_up:
            return (f"{place}: still running after {seconds:g} s{during}. Is there a loop that never ends, or one that "
                    "grows too fast?")  # fmt: skip
        kind = re.search(r"(?:Fatal Python error|Windows fatal exception): (.*)", text)
        if kind or (code is not None and code < 0):
            why = kind[1] if kind else f"signal {-(code or 0)}, which is often memory running out"
            return f"{place}: the program crashed{during}: {why}. Does a compiled loop write outside of its array?"
        if check:
            return f"{place}: the program ended{during}; does the file call exit()?"
        return f"the checks could not start: {text.strip() or f'exit status {code}'}"

    def _read_events(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.put(line.decode("utf-8", "replace"))
        self._lines.put(None)

    def _read_prints(self) -> None:
        assert self._process.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := os.read(self._process.stdout.fileno(), 65536):  # what is there, without waiting for more
            part = decoder.decode(data)
            room = max(0, KEPT - len(self._printed))
            self._printed += part[:room]
            self._dropped += len(part) - len(part[:room])
