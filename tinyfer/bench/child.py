"""python -m tinyfer.bench.child MODULE:CLASS ARGUMENTS: one runtime in a process of its own, asked through a pipe.

A line of JSON comes in, {"call": method, ...arguments}, a line goes out, {"value": ..., "cpu": [before, after]} with
the processor seconds of this process before and after the call. Between two requests it waits in a read, so that while
others are measured it uses no processor. What goes wrong is answered as {"missing": why}; the end of input ends it."""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable


def repeat(step: Callable[[], object], warm: float, seconds: float) -> dict:
    """Call `step` again and again: what one call takes, the median over about `seconds`, after about `warm` uncounted
    (at least one call each)."""
    begun = time.perf_counter()
    step()
    while time.perf_counter() - begun < warm:
        step()
    taken: list[float] = []
    begun = tick = time.perf_counter()
    while not taken or tick - begun < seconds:
        step()
        tock = time.perf_counter()
        taken.append(tock - tick)
        tick = tock
    return {"seconds": statistics.median(taken), "steps": len(taken)}


class Task:
    """What is measured in one process. A subclass sets `step` in its constructor and may add further methods."""

    step: Callable[[], object]

    def run(self, warm: float, seconds: float) -> dict:
        """Seconds of a step: the one method that every task has."""
        return repeat(self.step, warm, seconds)


def answer(task: object, request: dict) -> dict:
    """What the task's method answers, and the processor seconds before and after."""
    before = time.process_time()
    method = getattr(task, request.pop("call"))
    try:
        value = method(**request)
    except Exception as error:
        return {"missing": told(error)}
    return {"value": value, "cpu": [before, time.process_time()]}


def told(error: BaseException) -> str:
    """An error as a reason in bench.json: one line, not endless."""
    if isinstance(error, ModuleNotFoundError):
        return f"{(error.name or str(error)).partition('.')[0]} is not installed"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:240]


def serve(make: Callable[[], object], requests, answers) -> None:
    """Make the task, say that it stands (or why not), then answer request after request."""
    try:
        task = make()
    except Exception as error:
        print(json.dumps({"missing": told(error)}), file=answers, flush=True)
        return
    print(json.dumps({"value": "ready", "cpu": [0.0, time.process_time()]}), file=answers, flush=True)
    for line in requests:
        print(json.dumps(answer(task, json.loads(line))), file=answers, flush=True)


def main() -> None:
    """Answers go out by a pipe of their own: whatever a library prints lands on stderr."""
    module, _, name = sys.argv[1].partition(":")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    arguments = json.loads(sys.argv[2])
    serve(lambda: getattr(importlib.import_module(module), name)(**arguments), sys.stdin, answers)


if __name__ == "__main__":
    main()
