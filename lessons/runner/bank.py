"""The mistake banks: solutions that students really write, wrong ones and right ones, held to each lesson's checks.

A lesson's bank.py is a list of them, each under a line of its own:

    # %% wrong: the mean over the batch is forgotten
    # looks like: sum over the batch is given
    def softmax_cross_entropy(z, target, class_weight, label_smoothing):
        ...

    # %% right: loops
    def softmax_cross_entropy(...):

The hand-in is solution.py followed by the section, whose functions so take the place of ours; what stands above the
first section (imports) goes before each. A wrong one must fail; where its second line gives words (a regular
expression), the verdict's "looks like" should say them: the mistake is then *named*. `make lessons-bank` runs all of it
and writes the table docs/lessons-mistakes.md."""

from __future__ import annotations

import pathlib
import re
import tempfile
import time
from dataclasses import dataclass

from tinyfer.errors import UserError

from . import course, grading
from .course import Lesson, shown

TABLE = course.ROOT / "docs" / "lessons-mistakes.md"
WRONG, RIGHT, NAMED = 8, 3, 0.75  # so many of each in a bank, and such a share of the wrong ones named
_SECTION = re.compile(r"^# %% (wrong|right): (.+)\n(?:# looks like: (.+)\n)?", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One solution of a bank: right or not, its title, the words its verdict should say ("" if none), its hand-in."""

    right: bool
    title: str
    words: str
    source: str


def entries(lesson: Lesson) -> list[Entry]:
    """The bank of a lesson; UserError where there is none."""
    path = lesson.file("bank.py")
    if not path.exists():
        raise UserError(f"{shown(path)}: there is no such file; every lesson has a bank of mistakes.")
    text, solution = path.read_text(encoding="utf-8"), lesson.file("solution.py").read_text(encoding="utf-8")
    heads = list(_SECTION.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    above = text[: heads[0].start()] if heads else ""
    return [Entry(head[1] == "right", head[2], head[3] or "", f"{solution}\n\n{above}\n{text[head.end():end]}")
            for head, end in zip(heads, ends, strict=True)]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What the checks said of an entry: whether that is as it should be, at which check it failed, and the looks."""

    entry: Entry
    result: grading.Result

    @property
    def looks(self) -> str:
        return self.result.failure.get("looks", "")

    @property
    def good(self) -> bool:
        """Right and passed, or wrong and failed by a verdict: not by a broken check, nor as still to be written."""
        if self.entry.right:
            return self.result.passed
        return bool(self.result.trouble) or self.result.failure.get("status") == "fail"

    @property
    def named(self) -> bool:
        said = self.looks or self.result.trouble
        return bool(self.entry.words) and re.search(self.entry.words, said) is not None

    def told(self) -> str:
        """What happened, for whoever mends the bank or the checks."""
        failure = self.result.failure
        return (
            self.result.trouble
            or " ".join(
                str(failure.get(key, "")) for key in ("check", "place", "text", "case", "looks") if failure.get(key)
            )
            or "passed"
        )


def outcomes(lesson: Lesson, chosen: list[Entry]) -> list[Outcome]:
    """Grade these entries of a lesson's bank."""
    with tempfile.TemporaryDirectory(prefix="bank-") as folder:
        paths = []
        for i, entry in enumerate(chosen):
            paths.append(pathlib.Path(folder) / f"{lesson.name}_{i}.py")
            paths[-1].write_text(entry.source, encoding="utf-8")
        results = grading.grade_all(lesson, paths, seconds=lesson.seconds)
    return [Outcome(entry, result) for entry, result in zip(chosen, results, strict=True)]


def run(lessons: list[Lesson], quarter: int | None = None) -> int:
    """`dev bank`: run the banks, print what is not as it should be, write the table when all of it ran; 0 when good."""
    started, bad, found = time.perf_counter(), 0, {}
    for lesson in lessons:
        begun = time.perf_counter()
        all_entries = entries(lesson)
        chosen = [entry for i, entry in enumerate(all_entries) if quarter is None or i % 4 == quarter]
        found[lesson] = outcomes(lesson, chosen)
        faults = _faults(found[lesson], quarter is None)
        bad += len(faults)
        print(
            f"{lesson.number} {lesson.title:<24} {_figures(found[lesson])}   {time.perf_counter() - begun:5.1f} s",
            flush=True,
        )
        for fault in faults:
            print(f"      {fault}")
    print(
        f"{time.perf_counter() - started:.0f} s, {'all as it should be' if not bad else f'{bad} not as they should be'}"
    )
    if quarter is None and len(lessons) == len(course.lessons()) and not bad:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table(found), encoding="utf-8")
        print(f"{shown(TABLE)} written")
    return 1 if bad else 0


def _faults(found: list[Outcome], whole: bool) -> list[str]:
    faults = [
        f"{'RIGHT' if one.entry.right else 'WRONG'} {one.entry.title}: {one.told()}" for one in found if not one.good
    ]
    faults += [f"not named: {one.entry.title}: wanted /{one.entry.words}/, got {one.told()}" for one in found
               if one.good and one.entry.words and not one.named]  # fmt: skip
    wrong = [one for one in found if not one.entry.right]
    if whole and (len(wrong) < WRONG or len(found) - len(wrong) < RIGHT):
        faults.append(f"{len(wrong)} wrong and {len(found) - len(wrong)} right: expected {WRONG} and {RIGHT} or more")
    if whole and sum(one.named for one in wrong) < NAMED * len(wrong):
        faults.append(f"only {sum(one.named for one in wrong)} of {len(wrong)} mistakes are named")
    return faults


def _figures(found: list[Outcome]) -> str:
    wrong = [one for one in found if not one.entry.right]
    right = [one for one in found if one.entry.right]
    return (f"wrong: {sum(one.good for one in wrong)} of {len(wrong)} caught, {sum(one.named for one in wrong)} named; "
            f"right: {sum(one.good for one in right)} of {len(right)} pass")  # fmt: skip


def table(found: dict[Lesson, list[Outcome]]) -> str:
    """All outcomes as the text of docs/lessons-mistakes.md."""
    lines = ["# What students write, and what the checks say of it", "",
             "Written by `make lessons-bank`, which hands in every solution of every lesson's `bank.py`. A mistake is "
             "*named* when", "the verdict's \"looks like\" says what it is.", "",
             "| lesson | wrong ones caught | named | right ones passed |", "|---|---:|---:|---:|"]  # fmt: skip
    totals = [0, 0, 0, 0, 0]
    for lesson, outcomes_ in found.items():
        wrong = [one for one in outcomes_ if not one.entry.right]
        right = [one for one in outcomes_ if one.entry.right]
        row = [sum(one.good for one in wrong), len(wrong), sum(one.named for one in wrong),
               sum(one.good for one in right), len(right)]  # fmt: skip
        totals = [a + b for a, b in zip(totals, row, strict=True)]
        lines.append(f"| {lesson.number} {lesson.title} | {row[0]} of {row[1]} | {row[2]} | {row[3]} of {row[4]} |")
    lines.append(f"| all | {totals[0]} of {totals[1]} | {totals[2]} | {totals[3]} of {totals[4]} |")
    for lesson, outcomes_ in found.items():
        lines += ["", f"## {lesson.number} {lesson.title}", "", "| mistake | fails at | looks like |", "|---|---|---|"]
        for one in outcomes_:
            if not one.entry.right:
                said = one.looks if one.named else f"({one.looks or one.told()})"
                lines.append(
                    f"| {_cell(one.entry.title)} | {_cell(one.result.failure.get('check', ''))} | {_cell(said)} |"
                )
        lines += [
            "",
            "Right in other ways: " + "; ".join(one.entry.title for one in outcomes_ if one.entry.right) + ".",
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace(tempfile.gettempdir(), "...")
