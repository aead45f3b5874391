"""Peers that take turns: each in a process of its own, asked through a pipe, measured while all others wait.

    with Peer("ours", "tinyfer.bench.ours:Training", {"model": "vgg", "batch": 128}) as ours:
        ours.ask("run", warm=0.5, seconds=1.0)                  # {"seconds": of one step, "steps": counted}

Processors change their clock and other programs come and go. So nothing is measured by itself: in every round each
peer has its turn, in alternating order; a ratio is taken within a round, and the median over the rounds counts."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import tinyfer
from tinyfer.bench import facts

REST = 0.3  # seconds before each turn, in which what still spins in the process before goes to sleep
MOMENT = 0.05  # seconds of waiting, below which what was used meanwhile tells nothing
SLOWER = 1.3  # a configuration this much slower than the best of its class needs no more rounds ...
TRIAL = 2  # ... after so many


class Missing(Exception):
    """A peer cannot be measured; the text is the reason that bench.json gives."""


class Peer:
    """A child process that holds one task. Missing is raised where it does not start, fails or takes too long."""

    def __init__(self, name: str, task: str, arguments: Mapping, environment: Mapping[str, str] | None = None,
                 timeout: float = 600):
        self.name, self.timeout = name, timeout
        self.idle: list[float] = []  # cores that it kept busy between two turns: what spins there takes from others
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tinyfer.bench.child", task, json.dumps(dict(arguments))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": import_path(), **(environment or {})})
        self._last: tuple[float, float] | None = None
        try:
            self._receive()
        except Missing:
            self.close()
            raise

    def ask(self, method: str, **arguments):
        """What the task's method answers."""
        assert self._process.stdin is not None
        sent = time.perf_counter()
        try:
            print(json.dumps({"call": method, **arguments}), file=self._process.stdin, flush=True)
        except OSError as error:
            raise Missing(self._end()) from error
        return self._receive(sent)

    def _receive(self, sent: float | None = None):
        assert self._process.stdout is not None
        watch = threading.Timer(self.timeout, self._process.kill)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        if not line:
            raise Missing(self._end())
        answer = json.loads(line)
        if "missing" in answer:
            raise Missing(answer["missing"])
        before, after = answer["cpu"]
        if sent is not None and self._last is not None:
            used, since = before - self._last[0], sent - self._last[1]
            if since > MOMENT:
                self.idle.append(used / since)
        self._last, self.used = (after, time.perf_counter()), after - before
        return answer["value"]

    def _end(self) -> str:
        """Why the process answers no more."""
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "it answers no more"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        if status < 0 and not lines:
            return f"it was killed (signal {-status}; {self.timeout:.0f} s are allowed)"
        return f"it ended with status {status}" + (f": {lines[-1][:200]}" if lines else "")

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                assert pipe is not None
                pipe.close()
            except OSError:
                pass  # it has gone before
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def import_path() -> str:
    """PYTHONPATH with which a child finds the very tinyfer that asks it."""
    here = str(pathlib.Path(tinyfer.__file__).parent.parent)
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))


# -------------------------------------------------------------------------------------------------------------- rounds


@dataclass
class Contest:
    """Seconds of a step by peer and round, in the order of the rounds; a peer that was let go has fewer of them."""

    seconds: dict[str, list[float]]
    others: list[float] = field(default_factory=list)  # share of all cores that other programs used, by turn
    reasons: dict[str, str] = field(default_factory=dict)  # why a peer was not measured

    def median(self, name: str) -> float:
        """The peer's median over its rounds."""
        return statistics.median(self.seconds[name])

    def quickest(self, names: Iterable[str]) -> str | None:
        """The one of `names` with the smallest median; None where none was measured."""
        return min((name for name in names if self.seconds.get(name)), key=self.median, default=None)

    def ratios(self, ours: str, other: str) -> list[float]:
        """How many times `ours` is as quick as `other`, round by round."""
        return [b / a for a, b in zip(self.seconds[ours], self.seconds[other], strict=False)]


def spread(values: Iterable[float]) -> dict:
    """Median, quartiles, extremes and number of the values."""
    values = sorted(values)
    if len(values) < 2:
        low = high = values[0]
    else:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": statistics.median(values), "q1": low, "q3": high, "min": values[0], "max": values[-1],
            "rounds": len(values)}


def in_turn(peers: Mapping[str, Peer], rounds: int, warm: float, seconds: float, until: float = float("inf"),
            classes: Iterable[Iterable[str]] = (), rest: float = REST,
            show: Callable[[str], None] = lambda text: None) -> Contest:
    """Let the peers take turns, `rounds` times, or fewer (but 3) where time.perf_counter() passes `until`.

    classes: names that compete for being the quickest; who is far behind after TRIAL rounds is let go."""
    contest = Contest({name: [] for name in peers})
    left = list(peers)
    for number in range(rounds):
        if number >= 3 and time.perf_counter() > until:
            break
        for name in left if number % 2 == 0 else left[::-1]:
            show(f"round {number + 1} of {rounds}: {name}")
            time.sleep(rest)
            _turn(contest, peers[name], name, warm, seconds)
        left = [name for name in left if name not in contest.reasons]
        if number + 1 == TRIAL:
            left = [name for name in left if not _far_behind(contest, name, classes)]
    return contest


def _turn(contest: Contest, peer: Peer, name: str, warm: float, seconds: float) -> None:
    others, own = facts.Others(), time.process_time()
    try:
        contest.seconds[name].append(peer.ask("run", warm=warm, seconds=seconds)["seconds"])
    except Missing as reason:
        contest.reasons[name] = str(reason)
        contest.seconds[name] = []
        return
    share = others.share(peer.used + time.process_time() - own)
    if share is not None:
        contest.others.append(share)


def _far_behind(contest: Contest, name: str, classes: Iterable[Iterable[str]]) -> bool:
    for names in map(list, classes):
        best = contest.quickest(names)
        if name in names and best is not None and contest.median(name) > SLOWER * contest.median(best):
            return True
    return False
