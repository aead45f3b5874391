"""From nothing to the first training step, the training loop's wait for data, memory, and threads."""

from __future__ import annotations

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from tinyfer import sources
from tinyfer.bench import torch_peer
from tinyfer.bench.common import OURS, Bench
from tinyfer.bench.turns import Missing, Peer, import_path, in_turn, spread

FIRST_STEP = "first step"  # what `python -m tinyfer.train` prints after it
PATIENCE = 600  # seconds for one start
MEMORY = {"PyTorch channels_last, default malloc": ({"channels_last": True}, False),
          "PyTorch channels_last": ({"channels_last": True}, True),
          "PyTorch compiled, channels_last, default malloc": ({"channels_last": True, "compiled": True}, False)}


def starts(bench: Bench) -> None:
    """`python -m tinyfer.train` with an empty kernel cache, then with the one that this filled (quick: the user's).

    Its faces, which the very first start of all also draws, are drawn beforehand."""
    bench.show.live("faces are drawn")
    sources.toyfaces()
    with tempfile.TemporaryDirectory() as cache:
        environment = {} if bench.quick else {"NUMBA_CACHE_DIR": cache}
        for key, times, what in (("cold_start_s", 1, "cold start"), ("warm_start_s", bench.rounds(5), "warm start")):
            if bench.quick and key == "cold_start_s":
                continue
            try:
                bench.show.live(what)
                if bench.quick:
                    first_step(bench, environment)  # the user's cache may be cold
                taken = [first_step(bench, environment) for _ in range(times)]
            except Missing as reason:
                bench.report.miss(key, str(reason))
                bench.report.row("start", what, OURS, reason=str(reason))
                continue
            bench.report.set(key, taken)
            bench.report.row("start", what, OURS, s=taken)
            bench.show.say(f"         {what}: {statistics.median(taken):.1f} s")


def first_step(bench: Bench, environment: dict[str, str]) -> float:
    """Seconds from starting the training program to the end of its first step; the program is then ended."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as errors:
        words = ["-m", "tinyfer.train", "--epochs", "1", "--threads", str(bench.threads),
                 "--out", str(pathlib.Path(folder) / "run")]
        environment = {**os.environ, "PYTHONPATH": import_path(), "PYTHONUNBUFFERED": "1", **environment}
        begun = time.perf_counter()
        process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=errors, encoding="utf-8",
                                   env=environment)
        watch = threading.Timer(PATIENCE, process.kill)
        watch.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(FIRST_STEP):
                    return time.perf_counter() - begun
        finally:
            watch.cancel()
            process.kill()
            process.communicate()
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
        raise Missing("training ended before its first step" + (f": {lines[-1][:200]}" if lines else ""))


def data_share(bench: Bench) -> None:
    """The share of its time that the training loop waits for batches, on drawn faces: lite, batch 64, the default."""
    what, epochs = "training loop, lite, batch 64", 1 if bench.quick else 3
    arguments = {"model": "lite", "batch": 64, "threads": bench.threads, "pictures": 1280 if bench.quick else None}
    with bench.peer("data", what, OURS, "tinyfer.bench.ours:TrainingLoop", arguments, bench.ours()) as peer:
        if peer is None:
            return bench.report.miss("data_share_of_step", "our own process failed, see rows")
        bench.show.live(what)
        shares = peer.ask("data_shares", epochs=epochs)
        slowdowns = peer.ask("slowdowns", rounds=bench.rounds(5), steps=5)
    bench.report.set("data_share_of_step", shares)
    bench.report.row("data", what, OURS, data_share=shares, slowdown_by_data=spread(slowdowns))
    bench.show.say(f"         waiting for data: {100 * statistics.median(shares):.2f} % of a step")


def memory(bench: Bench) -> None:
    """Peak memory of steps of vgg at batch 128, beside the least that PyTorch needs."""
    arguments = {"model": "vgg", "batch": 128, "threads": bench.threads}
    taken = {OURS: _peak(bench, OURS, "tinyfer.bench.ours:Training", arguments, bench.ours())}
    for name, (options, tuned) in MEMORY.items():
        taken[name] = _peak(bench, name, "tinyfer.bench.torch_peer:Training", {**arguments, **options},
                            torch_peer.environment(bench.threads, tuned))
    ours, theirs = taken.pop(OURS), [size for size in taken.values() if size]
    if ours and theirs:
        bench.report.set("peak_memory_vs_torch", [ours / min(theirs)])
        bench.show.say(f"         {ours / 1e6:.0f} MB, PyTorch {min(theirs) / 1e6:.0f} MB")
    else:
        reasons = [row["reason"] for row in bench.report.rows if row["section"] == "memory" and "reason" in row]
        bench.report.miss("peak_memory_vs_torch", reasons[0] if reasons else "not measured in this pass")


def _peak(bench: Bench, name: str, task: str, arguments: dict, environment: dict[str, str]) -> float | None:
    what = "peak memory, vgg, batch 128"
    with bench.peer("memory", what, name, task, arguments, environment) as peer:
        if peer is None:
            return None
        bench.show.live(f"{what}: {name}")
        try:
            size = float(peer.ask("peak_memory"))
        except Missing as reason:
            bench.report.row("memory", what, name, reason=str(reason))
            return None
        bench.report.row("memory", what, name, mb=size / 1e6)
        return size


def ordering(bench: Bench) -> None:
    """What the same bits on any number of threads cost: at most this share of a training step."""
    for model in ("vgg", "lite"):
        what, arguments = f"training step, {model}, batch 128", {"model": model, "batch": 128, "threads": bench.threads}
        with bench.peer("same-bits", what, OURS, "tinyfer.bench.ours:Training", arguments, bench.ours()) as peer:
            if peer is not None:
                bench.show.live(what)
                share = float(peer.ask("ordering_share", steps=5))
                bench.report.row("same-bits", what, OURS, share_of_step=share)
                bench.show.say(f"         {model}: {100 * share:.2f} % of a step")


def scaling(bench: Bench, model: str = "vgg", batch: int = 128, rounds: int = 3) -> None:
    """Training on 1, 2, 4 ... threads and on all of them: images a second and efficiency."""
    what, peers = f"{model}, batch {batch}, by threads", {}
    counts = sorted({bench.threads, *(2**i for i in range(10) if 2**i < bench.threads)})
    with contextlib.ExitStack() as stack:
        for count in counts:
            peer: Peer | None = stack.enter_context(bench.peer(
                "threads", what, f"{count} threads", "tinyfer.bench.ours:Training",
                {"model": model, "batch": batch, "threads": count}, {"NUMBA_NUM_THREADS": str(count)}))
            if peer is not None:
                peers[f"{count} threads"] = peer
        contest = in_turn(peers, rounds, warm=0, seconds=0.5, until=bench.until, show=bench.show.live)
    alone = contest.seconds.get("1 threads")
    for name, seconds in contest.seconds.items():
        if seconds and alone:
            count = int(name.split()[0])
            speedup = statistics.median([a / b for a, b in zip(alone, seconds, strict=True)])
            bench.report.row("threads", what, name, images_per_s=batch / statistics.median(seconds), speedup=speedup,
                             efficiency=speedup / count)
    bench.note_others(what, contest)
