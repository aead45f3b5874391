"""exercise.py is made from solution.py: what stands between `# BEGIN ANSWER` and `# END ANSWER` is left out.

    # BEGIN ANSWER                        # Your code: about 4 lines.
    ... four lines ...            ->      raise NotImplementedError("to_grey48 is still to be written")
    # END ANSWER

Nobody edits an exercise by hand, and the course's lint holds each to its solution: so they cannot drift apart."""

from __future__ import annotations

import re

from tinyfer.errors import UserError

from .course import Lesson

_BEGIN = re.compile(r"( *)# BEGIN ANSWER$")
_END = re.compile(r" *# END ANSWER$")
_DEF = re.compile(r"( *)def (\w+)")


def strip(source: str, where: str = "solution.py") -> str:
    """A solution's text -> the exercise's; UserError where the marks do not pair up."""
    kept: list[str] = []
    answer: list[str] | None = None
    indent = ""
    for number, line in enumerate(source.splitlines(), 1):
        begins = _BEGIN.match(line)
        if (begins and answer is not None) or (_END.match(line) and answer is None):
            raise UserError(f"{where}:{number}: the marks BEGIN ANSWER and END ANSWER do not pair up.")
        if begins:
            indent, answer = begins[1], []
        elif _END.match(line):
            kept += _placeholder(indent, answer or [], kept)
            answer = None
        elif answer is None:
            kept.append(line)
        else:
            answer.append(line)
    if answer is not None:
        raise UserError(f"{where}: END ANSWER is missing.")
    return "\n".join(kept) + "\n"


def _placeholder(indent: str, answer: list[str], above: list[str]) -> list[str]:
    count = lines_of_code(answer)
    function = next((found[2] for found in map(_DEF.match, reversed(above)) if found and len(found[1]) < len(indent)),
                    "this")  # fmt: skip
    return [f"{indent}# Your code: about {count} line{'s' * (count != 1)}.",
            f'{indent}raise NotImplementedError("{function} is still to be written")']  # fmt: skip


def lines_of_code(lines: list[str]) -> int:
    """How many lines are neither blank nor a comment."""
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in lines)


def answer_lines(source: str) -> int:
    """How many lines a student has to write for this solution."""
    inside = re.findall(r"# BEGIN ANSWER\n(.*?)# END ANSWER", source, re.DOTALL)
    return sum(lines_of_code(answer.splitlines()) for answer in inside)


def expected(lesson: Lesson) -> str:
    """What the lesson's exercise.py should hold."""
    path = lesson.file("solution.py")
    return strip(path.read_text(encoding="utf-8"), str(path))


def write(lesson: Lesson) -> bool:
    """Bring exercise.py up to date; True where it was not."""
    path, text = lesson.file("exercise.py"), expected(lesson)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8")
    return True


def run(lessons: list[Lesson]) -> int:
    """`dev exercises`: write every exercise that is not what its solution makes it."""
    for lesson in lessons:
        if write(lesson):
            print(f"{lesson.name}/exercise.py written, {answer_lines(lesson.file('solution.py').read_text('utf-8'))} "
                  "lines to write")  # fmt: skip
    return 0
