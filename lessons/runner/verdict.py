"""A result as text: a line a check; for one that failed, what was expected, what came, and what it looks like."""

from __future__ import annotations

import os
import re
import sys
import textwrap

from .course import Lesson, shown
from .grading import Result

WIDTH = 100
PRINTED_LINES = 15  # of the student's own prints that are shown
_PLAIN = str.maketrans({"×": "x", "→": "->", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"', "·": "*", "²": "^2",
                        "≥": ">=", "≤": "<=", "…": "...", "✓": "x", "°": " degrees"})  # fmt: skip
_COLOURS = {"ok": "32", "FAIL": "1;31", "to do": "33", "next": "1;36", "looks like": "1"}


def say(text: str = "") -> None:
    """Print, in ASCII where the terminal knows nothing else."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    print(text, flush=True)


def colour(word: str, kind: str) -> str:
    """A word in the colour of its kind, on a terminal that shows colours."""
    wanted = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    if os.name == "nt" and not {"WT_SESSION", "ANSICON", "ConEmuANSI"} & set(os.environ):
        wanted = False
    return f"\033[{_COLOURS[kind]}m{word}\033[0m" if wanted else word


class Live:
    """Prints a lesson's verdict while its checks run: `grade(..., tell=Live(lesson, path))`."""

    def __init__(self, lesson: Lesson, path):
        self.lesson, self.path, self.width = lesson, path, 10

    def __call__(self, event: dict) -> None:
        kind = event["event"]
        if kind == "loaded":
            say(f"{self.lesson.number} {self.lesson.title}     {event['place']}")
        elif kind == "collected":
            self.width = max(map(len, event["checks"]), default=10)
        elif kind == "say":
            say(f"        {event['text']}")
        elif kind == "check":
            for line in check_lines(event, self.width):
                say(line)
        elif kind in ("unreadable", "trouble"):
            say(f"  {colour('FAIL', 'FAIL')}  {filled(event['text'], 8)}")
        elif kind == "broken":
            say(f"the check itself is broken; that is the course's fault, not yours:\n{event['text']}")


def check_lines(event: dict, width: int) -> list[str]:
    """The lines of one check."""
    name, status = f"{event['check']:<{width}}", event["status"]
    if status == "ok":
        return [f"  {colour('ok', 'ok')}    {name}   {event['text']}".rstrip()]
    if status == "todo":
        return [f"  {colour('to do', 'to do')} {name}   {event['text']}"]
    if status == "broken":
        return [f"  ???   {name}   the check itself is broken; that is the course's fault, not yours:", event["text"]]
    lines = [f"  {colour('FAIL', 'FAIL')}  {name}   {event['case']}".rstrip()]
    told = ": ".join(part for part in (event["place"], event["text"]) if part)
    if told:
        lines.append("        " + filled(told, 8))
    label = max((len(label) for label, _ in event["rows"]), default=0)
    lines += [f"        {name:<{label}}  {values}" for name, values in event["rows"]]
    if event["looks"]:
        lines.append(f"        {colour('looks like', 'looks like')}: " + filled(event["looks"], 8, 12))
    return lines


def whole(result: Result) -> str:
    """The verdict as plain text, for whoever was not there: every check, or what came before one could run."""
    width = max((len(check["check"]) for check in result.checks), default=10)
    lines = [f"{result.lesson.number} {result.lesson.title}     {result.place}".rstrip()]
    lines += [line for check in result.checks for line in check_lines(check, width)]
    if result.trouble:
        lines.append(f"  FAIL  {filled(result.trouble, 8)}")
    return re.sub(r"\033\[[0-9;]*m", "", "\n".join(lines + printed(result)))


def why(result: Result) -> str:
    """A few words on why a lesson was not passed."""
    if result.trouble:
        return result.trouble
    failure = result.failure
    if not failure:
        return f"ended after {len(result.checks)} of {result.collected} checks"
    if failure["status"] == "todo":
        return "is still to be written"
    reason = failure.get("looks") or failure.get("text", "").strip().partition("\n")[0]
    return f'fails at "{failure["check"]}"' + (f": {reason}" if reason else "")


def filled(text: str, indent: int, first: int = 0) -> str:
    """Text wrapped at WIDTH, its later lines indented, the first one `first` characters short."""
    lines: list[str] = []
    for line in text.splitlines():
        lines += textwrap.wrap(line, WIDTH - indent, initial_indent=" " * first * (not lines), break_long_words=False,
                               break_on_hyphens=False) or [""]  # fmt: skip
    return ("\n" + " " * indent).join(lines).lstrip() if lines else ""


def printed(result: Result) -> list[str]:
    """What the student's code printed, the beginning of it."""
    if not result.printed.strip():
        return []
    lines = result.printed.rstrip().splitlines()
    head = [f"    | {line[:WIDTH]}" for line in lines[:PRINTED_LINES]]
    more = len(lines) - PRINTED_LINES
    return [f"  {shown(result.path)} printed:", *head] + ([f"    | ... and {more:,} more lines"] if more > 0 else [])
