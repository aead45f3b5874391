"""The course's own lint: what must hold of every lesson, so that no student meets a lesson that cannot be solved.

the exercise is what its solution makes it             every solution passes, in less than 20 s
an exercise fails every check as still to be written   checks that collect nothing are an error
nothing of a later lesson is used                      the README is at most two screens, with its picture
three hints, known functions, a bank                   the table of mistakes lists the banks as they are
work/ is empty upstream                                the instructors' guide lists the lessons"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator

from tinyfer import ops
from tinyfer.errors import UserError

from . import bank, course, exercises, grading
from .course import HINTS, Lesson, shown

LINES = 100  # two screens of a README
ANSWER = (3, 45)  # lines that a lesson asks for
SECONDS = 20  # that a solution's checks may take
FILES = ("README.md", "solution.py", "exercise.py", "check.py", "show.py", "bank.py", "picture.png")


def run(lessons: list[Lesson]) -> int:
    """`dev lint`: print every fault; 0 when there is none."""
    count = 0
    for lesson in lessons:
        found = list(faults(lesson))
        count += len(found)
        print(f"{lesson.number} {lesson.title:<24} {'ok' if not found else ''}".rstrip(), flush=True)
        for fault in found:
            print(f"      {fault}")
    for fault in of_the_whole():
        count += 1
        print(f"      {fault}")
    print("the lessons are in order" if not count else f"{count} to mend")
    return 1 if count else 0


def faults(lesson: Lesson) -> Iterator[str]:
    """Every fault of one lesson."""
    missing = [name for name in FILES if not lesson.file(name).exists()]
    if missing:
        yield f"missing: {', '.join(missing)}"
        return
    yield from _row(lesson)
    yield from _readme(lesson)
    yield from _sources(lesson)
    yield from _runs(lesson)


def _row(lesson: Lesson) -> Iterator[str]:
    if len(lesson.hints) != HINTS:
        yield f"lessons.toml: {len(lesson.hints)} hints, expected {HINTS}"
    if not set(lesson.ops) <= set(ops.NAMES) & set(lesson.functions):
        yield f"lessons.toml: ops {lesson.ops} are not all functions of the lesson and names of ops"


def _readme(lesson: Lesson) -> Iterator[str]:
    text = lesson.file("README.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    if len(lines) > LINES:
        yield f"README.md: {len(lines)} lines, two screens are {LINES}"
    if "](picture.png)" not in text:
        yield "README.md: it does not show picture.png"
    if not lines or lines[0] != f"# {lesson.number} {lesson.title}":
        yield f'README.md: its first line is not "# {lesson.number} {lesson.title}"'
    for name in lesson.functions:
        if name not in text:
            yield f"README.md: it does not mention {name}"
    for heading in ("The trap", "If you are fast"):
        if f"## {heading}" not in text:
            yield f'README.md: there is no part "## {heading}"'


def _sources(lesson: Lesson) -> Iterator[str]:
    try:
        text = exercises.expected(lesson)
    except UserError as error:
        yield str(error)
        return
    if lesson.file("exercise.py").read_text(encoding="utf-8") != text:
        yield "exercise.py is not what solution.py makes it: python -m lessons dev exercises"
    count = exercises.answer_lines(lesson.file("solution.py").read_text(encoding="utf-8"))
    if not ANSWER[0] <= count <= ANSWER[1]:
        yield f"solution.py: {count} lines to write, expected {ANSWER[0]} to {ANSWER[1]}"
    defined = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    if not set(lesson.functions) <= defined:
        yield f"solution.py: it does not define {', '.join(sorted(set(lesson.functions) - defined))}"
    for name in ("solution.py", "check.py", "show.py", "bank.py"):
        yield from _later(lesson, name)
    if re.search(r"solution|our_functions", _code(lesson, "check.py")):
        yield "check.py: it reads solution.py, which a student's tree does not have"


def _code(lesson: Lesson, name: str) -> str:
    """A file without its comments and docstrings."""
    tree = ast.parse(lesson.file(name).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _later(lesson: Lesson, name: str) -> Iterator[str]:
    text = _code(lesson, name)
    for other in course.lessons():
        if other.name > lesson.name and other.name in text:
            yield f"{name}: it uses the later lesson {other.name}"


def _runs(lesson: Lesson) -> Iterator[str]:
    """What can only be told by running the checks: the solution passes, the exercise is still to be written."""
    solved, stub = (grading.grade(lesson, lesson.file(name), stop=False) for name in ("solution.py", "exercise.py"))
    if not solved.collected:
        yield f"check.py collects nothing {solved.trouble}".rstrip()
        return
    if not solved.passed:
        why = solved.trouble or "; ".join(
            f"{one['check']}: {one['text']}" for one in solved.checks if one["status"] != "ok"
        )
        yield f"the solution does not pass: {why}"
    if solved.seconds > SECONDS:
        yield f"the solution's checks take {solved.seconds:.0f} s, more than {SECONDS} s"
    for one in stub.checks:
        if one["status"] != "todo":
            yield f'the exercise gives "{one["status"]} {one["text"]}" in the check "{one["check"]}", expected "to do"'
    if stub.trouble:
        yield f"the exercise: {stub.trouble}"


def of_the_whole() -> Iterator[str]:
    """Faults of the course as such."""
    points = sum(lesson.points for lesson in course.lessons())
    if points > 100:
        yield f"lessons.toml: {points} points, expected 100"
    if not bank.TABLE.exists():
        yield f"{shown(bank.TABLE)} is missing: make lessons-bank"
    else:
        text = bank.TABLE.read_text(encoding="utf-8")
        for lesson in course.lessons():
            titles = [entry.title for entry in bank.entries(lesson) if not entry.right]
            lost = [title for title in titles if f"| {bank._cell(title)} |" not in text]
            if lost:
                yield f'{shown(bank.TABLE)} lacks "{lost[0]}" of lesson {lesson.number}: make lessons-bank'
    guide = (course.ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
    for lesson in course.lessons():
        if f"\n| {lesson.number} {lesson.title} | {lesson.minutes} |" not in guide:
            yield f"docs/instructors.md lists no lesson {lesson.number} with its title and {lesson.minutes} minutes"
    listed = subprocess.run(["git", "ls-files", "work", str(course.CLASS)], cwd=course.ROOT, capture_output=True,
                            text=True)  # fmt: skip
    if listed.returncode == 0 and listed.stdout.strip():
        yield f"work/ and class.txt belong to students and classes, and are not upstream: {listed.stdout.split()[0]}"
