"""`show NN`: the picture that a lesson's show.py draws with the student's own function, as a PNG.

show.py defines `draw(mine) -> Figure`; `mine.name(...)` calls the student's function, or ours where theirs is still to
be written. Whose it was stands over the picture. The same with our solution makes picture.png, which the README
shows."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import types
import webbrowser
from typing import Any

from tinyfer import ops, plots, reference, userkernels
from tinyfer.errors import UserError

from . import course, state
from .course import Lesson, shown

SECONDS = 60  # that drawing may take


# ------------------------------------------------------------------------------------------------------------ the verb


def show(lesson: Lesson, path: pathlib.Path | None, with_earlier=False, seconds: float | None = None):
    """Draw in a process of its own -> (place of the picture, whose function it shows)."""
    from .grading import Child

    mine = path or lesson.mine
    place = course.pictures() / f"{lesson.name}.png"
    passed = path is None and state.of(lesson) == state.DONE
    earlier = [one.name for one in earlier_ops(lesson)] if with_earlier else []
    limit = seconds or SECONDS
    request = {"job": "show", "lesson": lesson.name, "file": str(mine.resolve()), "out": str(place), "passed": passed,
               "earlier": earlier, "seconds": limit}  # fmt: skip
    done = None
    with Child(request, limit) as child:
        for event in child.events():
            if event["event"] == "unreadable":
                raise UserError(event["text"])
            done = event if event["event"] == "drawn" else done
    if done is None:
        raise UserError(child.obituary("drawing", mine, limit))
    return place, done["whose"]


def earlier_ops(lesson: Lesson) -> list[Lesson]:
    """Lessons before this one that define ops and are ticked."""
    return [one for one in course.lessons() if one.name < lesson.name and one.ops and state.of(one) == state.DONE]


def earlier_kernels(lesson: Lesson) -> dict[str, Any]:
    """The student's ops of the lessons before this one that are ticked, compiled."""
    return _kernels(earlier_ops(lesson))


def plugged_in(lessons: list[Lesson]) -> contextlib.AbstractContextManager:
    """The student's ops of these lessons, compiled, in place of ours."""
    return ops.using(**_kernels(lessons))


def _kernels(lessons: list[Lesson]) -> dict[str, Any]:
    """By their names; where two lessons share an op, the later one's."""
    kernels: dict[str, Any] = {}
    for lesson in lessons:
        kernels |= {op: f for op, f in userkernels.load(lesson.mine, check=False).items() if op in lesson.ops}
    return kernels


def open_viewer(place: pathlib.Path) -> None:
    """Show the picture on the screen, where there is one and somebody sits before it."""
    screen = (
        os.name == "nt" or sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if screen and sys.stdout.isatty():
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(place.resolve().as_uri())


# ----------------------------------------------------------------------------------------------------- in that process


def job(channel, lesson: Lesson, request: dict) -> int:
    """Draw, write the PNG, and tell whose functions it shows."""
    path, place = pathlib.Path(request["file"]), pathlib.Path(request["out"])
    channel.tell("start", check="drawing")
    try:
        with channel.limit(request["seconds"]):
            functions, whose = chosen(lesson, path, request["passed"])
            with plugged_in([course.find(name) for name in request["earlier"]]):
                picture = drawn(lesson, functions, whose, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture)
    except UserError as error:
        channel.tell("unreadable", text=str(error).replace(str(path), shown(path)))
        return 2
    except OSError as error:
        why = f"{shown(place)} cannot be written ({error.strerror})"
        channel.tell("unreadable", text=f"{why}: set TINYFER_WORK to a folder of yours.")
        return 2
    channel.tell("drawn", whose=whose)
    return 0


def chosen(lesson: Lesson, path: pathlib.Path, passed: bool) -> tuple[types.SimpleNamespace, str]:
    """The functions to draw with, and a sentence on whose they are: the student's as far as they are written."""
    own = userkernels.run_file(path) if path.is_file() else None
    written, missing = {}, []
    for name in lesson.functions:
        f = getattr(own, name, None)
        if f is None or _is_stub(f):
            missing.append(name)
        else:
            written[name] = f
    stock = our_functions(lesson) if missing else {}
    lacking = [name for name in missing if name not in stock]
    if lacking:
        raise UserError(f"there is nothing to draw yet: write {', '.join(lacking)} in {shown(lesson.mine)} first.")
    listed = ", ".join(missing)
    theirs = [name for name in written if f"{name} is still to be written" in _exercise(lesson)]  # the rest is given
    if not theirs:
        whose = f"drawn with our {listed}: yours is still to be written"
    elif missing:
        whose = f"drawn with your {', '.join(theirs)} and our {listed}"
    else:
        whose = f"drawn with your {', '.join(theirs)}" + ("" if passed else ", not checked yet")
    return types.SimpleNamespace(**(stock | written)), whose


def _exercise(lesson: Lesson) -> str:
    """The lesson's file as students get it."""
    return lesson.file("exercise.py").read_text(encoding="utf-8")


def _is_stub(f) -> bool:
    """True for a function of the exercise that still ends in its NotImplementedError."""
    code = getattr(f, "py_func", f).__code__
    return "NotImplementedError" in code.co_names and any("still to be written" in str(c) for c in code.co_consts)


def our_functions(lesson: Lesson) -> dict:
    """What we have for the lesson's functions: the solution's, or the reference's ops in a tree without solutions."""
    path = lesson.file("solution.py")
    if path.exists():
        module = userkernels.run_file(path)
        return {name: getattr(module, name) for name in lesson.functions}
    return {name: getattr(reference, name) for name in lesson.functions if name in ops.NAMES}


def drawn(lesson: Lesson, functions, whose: str, path: pathlib.Path | None = None, dpi: int = 100) -> bytes:
    """The PNG that show.py makes of these functions; an exception in the student's is a UserError."""
    module = userkernels.run_file(lesson.file("show.py"))
    try:
        figure = module.draw(functions)
    except NotImplementedError as error:
        raise UserError(f"there is nothing to draw yet: {error}.") from error
    except Exception as error:
        where = userkernels.place(error, path) if path else ""
        if not where or where.endswith(":1"):  # it is show.py's own
            raise
        raise UserError(f"{where}: drawing stops with {type(error).__name__}: {error}. First "
                        f"let the checks pass: python -m lessons {lesson.number}") from error  # fmt: skip
    figure.suptitle(f"Lesson {lesson.number}, {lesson.title}" + (f": {whose}" if whose else ""), x=0.015, ha="left",
                    fontsize=10, color=plots.FAINT)  # fmt: skip
    return plots.png(figure, dpi)


# ----------------------------------------------------------------------------------------------- the README's pictures


def run(lessons: list[Lesson]) -> int:
    """`dev pictures`: draw picture.png of every lesson with its solution."""
    for lesson in lessons:
        picture = drawn(lesson, types.SimpleNamespace(**our_functions(lesson)), "", dpi=80)
        lesson.file("picture.png").write_bytes(picture)
        print(f"{lesson.name}/picture.png  {len(picture) / 1e3:.0f} kB", flush=True)
    return 0
