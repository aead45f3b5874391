"""python -m lessons: the list, the checks, hints, pictures and training of the course.

python -m lessons              the list: done, current, to do, and the next command to type
python -m lessons 05           check your work/05_...py; stops at the first failure
python -m lessons hint 05      the next of three hints
python -m lessons show 05      the picture, with your function
python -m lessons try 05       train the network with your function plugged in
python -m lessons solution 05  ours, once yours passes (before: --give-up, which is recorded)
python -m lessons reset 05     begin anew; your file is kept beside it
python -m lessons watch 05     check whenever you save the file
python -m lessons check-all    every lesson that you have begun
python -m lessons doctor       is everything there?
python -m lessons grade DIR    mark a folder of hand-ins (docs/instructors.md)"""

from __future__ import annotations

import contextlib
import importlib
import pathlib
import shutil
import time
import types
from collections.abc import Callable
from dataclasses import dataclass

from tinyfer import cli
from tinyfer.cli import option
from tinyfer.errors import UserError

from . import course, grading, state, verdict
from .course import Lesson, shown
from .verdict import colour, say

PROG = "python -m lessons"
NO_SOLUTIONS = "this tree has no solutions; ask your instructor."


@dataclass(frozen=True)
class Options:
    """The words and flags of the command."""

    words: tuple[str, ...] = option(
        (),
        "a lesson's number, which checks it; or hint, show, try, solution, reset or watch and a number; or check-all, "
        "doctor, grade; nothing: the list",
        positional=True,
        metavar="[VERB] [LESSON]",
    )
    file: str | None = option(
        None, "check, show or try this file in place of the one in work/", metavar="FILE", group="check, show, try"
    )
    all: bool = option(False, "go on after a check that failed", group="check, show, try")
    limit: float | None = option(
        None,
        "seconds that one check may take, in grade, too (default: the lesson's own, 20)",
        above=0,
        metavar="SECONDS",
        group="check, show, try",
    )
    open: bool = option(True, "show: open the picture, where there is a screen", group="check, show, try")
    mine: bool = option(
        False, "show, try: also plug in your ops of earlier lessons that pass", group="check, show, try"
    )
    minutes: float | None = option(
        None,
        "try: how long to train with yours, and as long with ours (default: 1)",
        above=0,
        high=600,
        group="check, show, try",
    )
    give_up: bool = option(False, "solution: read it before yours passes; that is recorded", group="solution")
    solutions: bool = option(False, "check-all: the course's own solutions", group="check-all")
    out: str | None = option(None, "the marks, a line a hand-in", metavar="CSV", group="grade")
    html: str | None = option(None, "the marks and verdicts as a page", metavar="HTML", group="grade")
    gradescope: str | None = option(None, "the marks for Gradescope", metavar="JSON", group="grade")
    jobs: int = option(
        1, "hand-ins at once; checks that measure speed want it to be 1", low=1, high=64, group="grade"
    )
    seed: int | None = option(None, "dev variants: the number of the class; 0: the public cases", low=0,
                              metavar="CLASS", group="dev")  # fmt: skip
    quarter: int | None = option(
        None, "dev bank: only every fourth mistake, from number N on", low=0, high=3, group="dev"
    )


def main(argv: list[str]) -> int:
    """Run the command; its exit status."""
    return cli.status(Options, run, argv, prog=PROG, description=__doc__.partition(": ")[2].partition("\n")[0])


def run(options: Options) -> int:
    """The verb that the words name, on the lesson that they name."""
    words = list(options.words)
    if not words:
        return overview()
    if words[0] not in VERBS:
        words.insert(0, "check")
    verb, *rest = words
    handler, takes_lesson = VERBS[verb]
    if takes_lesson:
        if not rest:
            raise UserError(f"{verb}: which lesson? For example: {PROG} {verb} {current().number}")
        if len(rest) > 1:
            raise UserError(f"{' '.join(rest)}: one lesson at a time, such as {PROG} {verb} {rest[0]}.")
        return handler(course.find(rest[0]), options)
    return handler(rest, options)


# ------------------------------------------------------------------------------------------------------------ the list


def overview() -> int:
    """The list of lessons, and the next command to type."""
    marks = {state.DONE: "[x]", state.EDITED: "[~]", state.BEGUN: "[ ]", state.TODO: "[ ]"}
    said = {state.EDITED: "edited since it passed", state.BEGUN: "begun"}
    all_lessons, here = course.lessons(), current()
    states = {lesson: state.of(lesson) for lesson in all_lessons}
    done = sum(one == state.DONE for one in states.values())
    say(f"tinyfer, the lessons: {done} of {len(all_lessons)} done")
    for lesson in all_lessons:
        arrow = ">" if lesson is here else " "
        given_up = "solution read" if state.given_up(lesson) and states[lesson] != state.DONE else ""
        note = ", ".join(part for part in (said.get(states[lesson], ""), given_up) if part)
        row = f" {arrow} {marks[states[lesson]]} {lesson.number} {lesson.title:<24} {lesson.minutes:>3} min   {note}"
        say(row.rstrip())
    if done == len(all_lessons):
        say("All done. python -m lessons check-all looks at them once more.")
        return 0
    if states[here] == state.TODO:
        say(f"read {shown(here.file('README.md'))}")
    next_command(f"{PROG} {here.number}")
    return 0


def current() -> Lesson:
    """The first lesson that is not done; the last one, when all are."""
    waiting = (lesson for lesson in course.lessons() if state.of(lesson) != state.DONE)
    return next(waiting, course.lessons()[-1])


def next_command(text: str) -> None:
    say(f"  {colour('next', 'next')}: {text}")


# ------------------------------------------------------------------------------------------------------------ checking


def check(lesson: Lesson, options: Options) -> int:
    """Check the student's file, tick the lesson or not, and say what to do next; 0 when it passes."""
    path = pathlib.Path(options.file) if options.file else lesson.mine
    if not options.file and lesson.begin():
        say(f"{shown(path)} is yours now: read {shown(lesson.file('README.md'))}, then write your code there.")
    result = examine(lesson, path, options)
    if not options.file:
        state.tick(lesson, result.passed)
    if result.passed:
        say("  all checks passed")
        following = course.after(lesson)
        next_command(f"{PROG} show {lesson.number}" + (f", and then lesson {following.number}" if following else ""))
        return 0
    if result.failure.get("status") == "todo":
        next_command(f"write {shown(path)}, then {PROG} {lesson.number}     (stuck? {PROG} hint {lesson.number})")
    elif result.trouble:
        next_command(f"mend that, then {PROG} {lesson.number}")
    else:
        next_command(f"{PROG} hint {lesson.number}")
    return 1


def examine(lesson: Lesson, path: pathlib.Path, options: Options) -> grading.Result:
    """Run the checks with a live verdict."""
    course.class_seed()  # complains here, and not in every check
    if not path.is_file():
        raise UserError(f"{shown(path)}: there is no such file.")
    result = grading.grade(lesson, path, stop=not options.all, seconds=options.limit, tell=verdict.Live(lesson, path))
    for line in verdict.printed(result):
        say(line)
    if not result.checks and not result.trouble:
        raise UserError(f"lesson {lesson.number} has no checks: its check.py collects nothing.")
    return result


def check_all(words: list[str], options: Options) -> int:
    """Check every lesson that was begun, or every solution; a line each, and 0 when all pass."""
    started, failed, count = time.perf_counter(), [], 0
    for lesson in course.lessons():
        path = lesson.file("solution.py") if options.solutions else lesson.mine
        if not path.exists():
            continue
        count += 1
        result = grading.grade(lesson, path, seconds=options.limit)
        if not options.solutions:
            state.tick(lesson, result.passed)
        why = result.trouble or result.failure.get("check", "") or f"{len(result.checks)} checks"
        word = colour("ok  ", "ok") if result.passed else colour("FAIL", "FAIL")
        say(f"  {word}  {lesson.number} {lesson.title:<24} {result.seconds:5.1f} s   {why}")
        failed += [] if result.passed else [lesson]
    if not count and options.solutions:
        raise UserError(NO_SOLUTIONS)
    if not count:
        say("nothing to check: no lesson has been begun")
        next_command(f"{PROG} {current().number}")
        return 0
    say(f"{count - len(failed)} of {count} lessons pass, in {time.perf_counter() - started:.0f} s")
    if failed and not options.solutions:
        next_command(f"{PROG} {failed[0].number}")
    return 1 if failed else 0


def watch(lesson: Lesson, options: Options) -> int:
    """Check again whenever the file changes, until Ctrl-C. Times are polled: network homes notify nobody."""
    check(lesson, options)
    path = pathlib.Path(options.file) if options.file else lesson.mine
    say(f"watching {shown(path)}; Ctrl-C ends it")
    seen = _stamp(path)
    while True:
        time.sleep(0.5)
        if _stamp(path) not in (seen, None):
            seen = _stamp(path)
            say()
            check(lesson, options)


def _stamp(path: pathlib.Path) -> tuple[float, int] | None:
    with contextlib.suppress(OSError):  # an editor may be replacing it
        status = path.stat()
        return status.st_mtime, status.st_size
    return None


# --------------------------------------------------------------------------------------------- hints, solutions, reset


def hint(lesson: Lesson, options: Options) -> int:
    """The next hint; after the last one, all of them again."""
    number = state.next_hint(lesson)
    given = range(len(lesson.hints)) if number >= len(lesson.hints) else [number]
    for i in given:
        say(f"hint {i + 1} of {len(lesson.hints)}: {verdict.filled(lesson.hints[i], 4)}")
    if number + 1 < len(lesson.hints):
        next_command(f"{PROG} {lesson.number}     (or the next hint: {PROG} hint {lesson.number})")
    else:
        next_command(f"{PROG} {lesson.number}")
    return 0


def solution(lesson: Lesson, options: Options) -> int:
    """Our solution, for whoever has passed, or has given up."""
    path = lesson.file("solution.py")
    if not path.exists():
        raise UserError(NO_SOLUTIONS)
    if state.of(lesson) != state.DONE:
        if not options.give_up:
            say(f"yours does not pass yet. Try a hint: {PROG} hint {lesson.number}")
            say(f"or read it all the same, which is recorded in {shown(course.work() / 'given-up.txt')}:")
            next_command(f"{PROG} solution {lesson.number} --give-up")
            return 1
        if not state.given_up(lesson):
            state.record_given_up(lesson)
    say(path.read_text(encoding="utf-8").rstrip())
    return 0


def reset(lesson: Lesson, options: Options) -> int:
    """Begin anew; what the student wrote is kept beside it."""
    if lesson.mine.exists():
        kept = next(path for i in range(1, 1000) if not (path := lesson.mine.with_suffix(f".old{i}.py")).exists())
        try:
            shutil.move(lesson.mine, kept)
        except OSError as error:
            raise UserError(f"{shown(lesson.mine)} cannot be moved ({error.strerror}).") from error
        say(f"what you wrote is kept as {shown(kept)}")
    lesson.begin()
    say(f"{shown(lesson.mine)} is as it was at the beginning")
    next_command(f"{PROG} {lesson.number}")
    return 0


# -------------------------------------------------------------------------------------------- what other files are for


def show(lesson: Lesson, options: Options) -> int:
    from . import pictures

    path = pathlib.Path(options.file) if options.file else None
    place, whose = pictures.show(lesson, path, with_earlier=options.mine, seconds=options.limit)
    say(f"{shown(place)}: {whose}")
    if options.open:
        pictures.open_viewer(place)
    if lesson.ops:
        next_command(f"{PROG} try {lesson.number}")
    else:
        next_lesson(lesson)
    return 0


def try_it(lesson: Lesson, options: Options) -> int:
    from . import trying

    path = pathlib.Path(options.file) if options.file else None
    status = trying.run(lesson, path, options.minutes, options.mine)
    next_lesson(lesson)
    return status


def next_lesson(lesson: Lesson) -> None:
    """Say how the one after this is begun, where this one is done."""
    following = course.after(lesson)
    if following and state.of(lesson) == state.DONE:
        next_command(f"read {shown(following.file('README.md'))}, then {PROG} {following.number}")


def instructors(name: str) -> types.ModuleType:
    """A file of the runner that students' trees do not have."""
    try:
        return importlib.import_module(f"{__package__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__package__}.{name}":
            raise
        raise UserError("this is a student's tree: what instructors and authors need is not in it.") from error


def grade(words: list[str], options: Options) -> int:
    """Mark a folder of hand-ins: all lessons, or those that are named."""
    gradebook = instructors("gradebook")
    if not words:
        raise UserError(f"grade: which folder of hand-ins? For example: {PROG} grade handins --out grades.csv")
    chosen = [course.find(word) for word in words[1:]] or list(course.lessons())
    return gradebook.run(pathlib.Path(words[0]), chosen, out=options.out, html=options.html,
                         gradescope=options.gradescope, seconds=options.limit, jobs=options.jobs)  # fmt: skip


def doctor(words: list[str], options: Options) -> int:
    from . import doctor as examination

    return examination.run()


def dev(words: list[str], options: Options) -> int:
    """What the course's own engineers type, and whoever teaches it."""
    release = instructors("release")
    from . import bank, exercises, lint, pictures

    tools: dict[str, Callable[[list[Lesson]], int]] = {
        "exercises": exercises.run, "lint": lint.run, "pictures": pictures.run,
        "bank": lambda lessons: bank.run(lessons, options.quarter)}  # fmt: skip
    match words:
        case ["release", folder]:
            return release.release(pathlib.Path(folder))
        case ["variants"]:
            return release.variants(options.seed)
        case [tool, *names] if tool in tools:
            return tools[tool]([course.find(name) for name in names] or list(course.lessons()))
    raise UserError(f"dev {' '.join(words)}: expected one of {', '.join(tools)}, release DIR, variants --seed CLASS.")


VERBS: dict[str, tuple[Callable, bool]] = {  # name -> what does it, and whether it takes a lesson
    "check": (check, True), "hint": (hint, True), "show": (show, True), "try": (try_it, True),
    "solution": (solution, True), "reset": (reset, True), "watch": (watch, True), "check-all": (check_all, False),
    "grade": (grade, False), "doctor": (doctor, False), "dev": (dev, False),
}  # fmt: skip
