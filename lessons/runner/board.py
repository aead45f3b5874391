"""The board: all hand-ins as one HTML page that needs nothing beside it, on a desk and on a phone.

A row a hand-in: its name, a square for each lesson, its points; unfolded, what the checks said. Every text that comes
from a hand-in is escaped."""

from __future__ import annotations

import datetime
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import course, verdict
from .course import Lesson

if TYPE_CHECKING:
    from .gradebook import Row

_CSS = """
:root { color-scheme: light; --ink: #22272e; --quiet: #5d6670; --line: #e1e5ea; --good: #1d7a46; --bad: #b3261e }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink); background: #f5f6f8;
       max-width: 66rem; margin: 0 auto; padding: 2rem 1rem 4rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .7rem } .quiet { color: var(--quiet) }
.card { background: #fff; border: 1px solid var(--line); border-radius: 10px }
.bars { padding: .9rem 1.2rem; columns: 2; column-gap: 2.5rem }
.bar { display: grid; grid-template-columns: 13.2rem 1fr 4rem; gap: .6rem; align-items: center; font-size: .9rem;
       padding: .12rem 0; break-inside: avoid }
.bar i { display: block; height: .6rem; border-radius: .3rem; background: #e8ebef; overflow: hidden }
.bar b { display: block; height: 100%; background: var(--good) } .bar span:last-child { text-align: right }
.bar span { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; font-variant-numeric: tabular-nums }
.row { margin: .5rem 0 } .row[open] { box-shadow: 0 2px 10px #0001 }
.row > summary { display: grid; grid-template-columns: minmax(8rem, 1fr) auto 6.5rem; gap: .4rem 1rem; cursor: pointer;
                 padding: .6rem 1rem; align-items: center; list-style: none }
summary::-webkit-details-marker { display: none }
summary:focus-visible { outline: 2px solid #2a6fb0; border-radius: 8px }
.name { font-weight: 600; overflow-wrap: anywhere }
.name::before { content: "\\25B8"; color: var(--quiet); margin-right: .5rem }
.row[open] > summary .name::before { content: "\\25BE" }
.total { text-align: right; font-variant-numeric: tabular-nums } .total b { font-size: 1.1rem }
.squares { display: flex; flex-wrap: wrap; gap: 3px }
.legend .squares { display: inline-flex; vertical-align: middle; margin-left: .8rem }
.legend .squares:first-child { margin: 0 }
.squares span { width: 1.85rem; text-align: center; font-size: .8rem; line-height: 1.6rem; border-radius: 5px;
                border: 1px solid; font-variant-numeric: tabular-nums }
.pass { background: var(--good); border-color: var(--good); color: #fff }
.fail { background: #fdecea; border-color: var(--bad); color: var(--bad); text-decoration: line-through }
.squares .none { border-color: #d3d8de; color: #8a939d; background: #fff }
.remark { grid-column: 1 / -1; background: #fff1d6; border-radius: 6px; padding: .3rem .7rem; font-size: .9rem;
          overflow-wrap: anywhere } .inside { padding: 0 1rem .9rem }
.inside details { border-top: 1px solid var(--line) }
.inside summary { padding: .4rem 0; cursor: pointer; list-style: none }
.inside summary::before { content: "+"; display: inline-block; width: 1.1rem; color: var(--quiet) }
.inside details[open] > summary::before { content: "\\2212" }
.inside em { font-style: normal; color: var(--bad) } .inside summary { overflow-wrap: anywhere }
pre { font-size: .82rem; line-height: 1.45; background: #f5f6f8; border-radius: 6px; padding: .7rem .9rem;
      margin: 0 0 .7rem; overflow-x: auto }
@media (max-width: 44rem) {
  .row > summary { grid-template-columns: 1fr auto } .row .squares { grid-column: 1 / -1; grid-row: 2 }
  .bars { columns: 1 } .bar { grid-template-columns: 10.8rem 1fr 3.6rem; font-size: .85rem }
  body { padding: 1.2rem .7rem 3rem } pre { font-size: .74rem }
}
"""


def page(rows: Sequence[Row], lessons: Sequence[Lesson]) -> str:
    """The whole page."""
    most = sum(lesson.points for lesson in lessons)
    mean = sum(row.total(lessons) for row in rows) / len(rows) if rows else 0
    seed = course.class_seed()
    about = (f"{len(rows)} hand-in{'s' * (len(rows) != 1)}, {datetime.date.today():%d %B %Y}. On average {mean:.1f} of "
             f"{most} points. The cases are those of class {seed}.")  # fmt: skip
    bars = "\n".join(_bar(lesson, rows) for lesson in lessons)
    cards = "\n".join(_card(row, lessons, most) for row in rows)
    kinds = {"pass": "passed", "fail": "not passed", "none": "not handed in"}
    legend = " ".join(f'<span class="squares"><span class="{kind}">05</span></span> {told}'
                      for kind, told in kinds.items())  # fmt: skip
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>tinyfer, the lessons: the board</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_CSS}</style></head>
<body><h1>The lessons: who has passed what</h1><p class="quiet">{about}</p>
<h2>Lesson by lesson</h2><div class="card bars">{bars}</div>
<h2>Hand-ins</h2><p class="quiet legend">{legend}. A name unfolds what the checks said.</p>
{cards}
</body></html>
"""


def _bar(lesson: Lesson, rows: Sequence[Row]) -> str:
    """How many of those who handed a lesson in have passed it."""
    tried = [row.results[lesson] for row in rows if lesson in row.results]
    passed = sum(result.passed for result in tried)
    share = 100 * passed / len(tried) if tried else 0
    title = html.escape(f"{lesson.number} {lesson.title}")
    return (f'<div class="bar"><span title="{title}">{title}</span><i><b style="width: {share:.0f}%"></b></i>'
            f"<span>{passed} of {len(tried)}</span></div>")  # fmt: skip


def _card(row: Row, lessons: Sequence[Lesson], most: int) -> str:
    squares = "".join(_square(row, lesson) for lesson in lessons)
    remark = f'<span class="remark">{html.escape(row.remark)}</span>' if row.remark else ""
    inside = "\n".join(_verdict(row, lesson) for lesson in lessons if lesson in row.results)
    return (f'<details class="card row"><summary><span class="name">{html.escape(row.name)}</span>'
            f'<span class="squares">{squares}</span><span class="total"><b>{row.total(lessons)}</b> of {most}</span>'
            f'{remark}</summary><div class="inside">{inside}</div></details>')  # fmt: skip


def _square(row: Row, lesson: Lesson) -> str:
    result = row.results.get(lesson)
    kind, told = ("none", "not handed in") if result is None else ("fail", "not passed")
    if result is not None and result.passed:
        kind, told = "pass", "passed"
    title = html.escape(f"{lesson.title}: {told}")
    return f'<span class="{kind}" title="{title}">{lesson.number}</span>'


def _verdict(row: Row, lesson: Lesson) -> str:
    result = row.results[lesson]
    told = "passed" if result.passed else f"<em>{html.escape(verdict.why(result))}</em>"
    points = f"{row.points(lesson)} of {lesson.points}"
    return (f"<details><summary>{lesson.number} {html.escape(lesson.title)}, {points}: {told}</summary>"
            f"<pre>{html.escape(verdict.whole(result))}</pre></details>")  # fmt: skip
