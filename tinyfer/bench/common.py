"""What all sections of the bench share: the report they fill, the time they have, how they show where they are."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tqdm import tqdm

from tinyfer.bench import facts
from tinyfer.bench.table import Report
from tinyfer.bench.turns import Contest, Missing, Peer, spread

OURS = "tinyfer"
MINUTES = 24.0  # that a full pass may take; sections then do with fewer rounds


class Show:
    """Tells what is being measured: a line a section on stdout, a live line on a terminal."""

    def __init__(self):
        self._begun = time.perf_counter()
        self._bar = tqdm(bar_format="{desc}", leave=False, disable=not sys.stderr.isatty())

    def say(self, sentence: str) -> None:
        """A sentence worth a line."""
        tqdm.write(sentence)
        sys.stdout.flush()

    def section(self, number: int, count: int, what: str) -> None:
        """A section begins."""
        minutes, seconds = divmod(int(time.perf_counter() - self._begun), 60)
        self._where = f"[{number:2}/{count}] {minutes:2}:{seconds:02}"
        self.say(f"{self._where}  {what}")

    def live(self, text: str) -> None:
        """What is going on at this moment."""
        self._bar.set_description_str(f"{getattr(self, '_where', '')}  {text}"[:110])

    def close(self) -> None:
        """Take the live line away."""
        self._bar.close()


@dataclass
class Bench:
    """One pass: `until` is when the section under way should end, by time.perf_counter()."""

    report: Report
    threads: int
    quick: bool
    show: Show
    folder: str
    until: float = float("inf")
    peak: float | None = None  # GFLOP/s of all cores, once measured
    bandwidth: float | None = None  # GB/s

    def rounds(self, number: int) -> int:
        """How many rounds to take where a full pass takes `number`."""
        return min(number, 3) if self.quick else number

    def ours(self) -> dict[str, str]:
        """Environment of a process of ours."""
        return {"NUMBA_NUM_THREADS": str(self.threads)}

    @contextlib.contextmanager
    def peer(self, section: str, what: str, name: str, task: str, arguments: Mapping,
             environment: Mapping[str, str] | None = None) -> Iterator[Peer | None]:
        """A peer for a while; None, and a row that says why, where it cannot be had."""
        self.show.live(f"{name} starts")
        try:
            peer = Peer(name, task, arguments, environment)
        except Missing as reason:
            self.report.row(section, what, name, reason=str(reason))
            yield None
            return
        with peer:
            yield peer
            self._note_spinning(peer, what)

    def _note_spinning(self, peer: Peer, what: str) -> None:
        idle = statistics.median(peer.idle) if len(peer.idle) > 1 else 0.0
        if idle > 0.1:
            self.report.warnings.append(f"{what}: {peer.name} kept {idle:.1f} cores busy while it waited.")

    def rows(self, section: str, what: str, contest: Contest, per_step: float, unit: str = "images_per_s",
             names: Iterable[str] | None = None) -> None:
        """A row for each peer of a contest, or each of `names`; per_step: pictures of one step."""
        for name in contest.seconds if names is None else names:
            seconds = contest.seconds[name]
            if not seconds:
                self.report.row(section, what, name, reason=contest.reasons.get(name, "not measured"))
                continue
            taken = spread(seconds)
            figures: dict = {"ms": {key: value if key == "rounds" else 1e3 * value for key, value in taken.items()},
                             unit: per_step / taken["median"]}
            if name != OURS and contest.seconds.get(OURS):
                figures["ours_times_as_fast"] = spread(contest.ratios(OURS, name))
            self.report.row(section, what, name, **figures)
        self.note_others(what, contest)

    def note_others(self, what: str, contest: Contest) -> None:
        """Warn where other programs took so much that the figures are doubtful, or cannot be right."""
        share = statistics.median(contest.others) if contest.others else 0.0
        if share > facts.NOTICED:
            verdict = "cannot be right" if share > facts.BUSY else "are doubtful"
            self.report.warnings.append(f"{what}: other programs used {100 * share:.0f} % of the processor meanwhile; "
                                        f"these figures {verdict}.")


def features_without_avx512() -> dict[str, str] | None:
    """NUMBA_CPU_NAME and NUMBA_CPU_FEATURES of this processor held to AVX2; None where it has no AVX2."""
    from llvmlite import binding

    features = dict(binding.get_host_cpu_features())
    if not features.get("avx2"):
        return None
    wide = ("avx512", "avx10", "evex512", "amx")
    held = [f"{'+' if on and not name.startswith(wide) else '-'}{name}" for name, on in sorted(features.items())]
    return {"NUMBA_CPU_NAME": binding.get_host_cpu_name(), "NUMBA_CPU_FEATURES": ",".join(held),
            "TINYFER_VECTOR_BITS": "256"}


def has_avx512() -> bool:
    """True where LLVM would use vectors of 512 bits on this processor."""
    from llvmlite import binding

    return bool(dict(binding.get_host_cpu_features()).get("avx512f")) and "NUMBA_CPU_NAME" not in os.environ
