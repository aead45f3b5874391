"""The machine's limits, every op beside them, the ladder from seven loops to Winograd, and augmentation."""

from __future__ import annotations

import contextlib
import statistics
import time

from tinyfer.bench import cases, loops, torch_peer
from tinyfer.bench.common import OURS, Bench
from tinyfer.bench.turns import REST, Missing, Peer, in_turn, spread

# The ten steps of docs/how-it-is-fast.md, and what the ninth is to be compared with.
LADDER = {"loops": "1 seven loops, plain Python", "numpy": "2 NumPy: im2col, one product", "njit": "3 the loops, njit",
          "order": "4 the loops in vector order", "prange": "5 the same on all cores",
          "tile": "6 register tiles after im2col", "direct": "7 register tiles, nothing copied",
          "winograd": "8 Winograd F(4, 3)", "apart": "8, then batch norm, then ReLU",
          "fused": "9 batch norm and ReLU fused", "engine": "10 in blocks for the caches"}
TORCH_RUNG = "PyTorch, channels_last"
TORCH_OPS = ("conv2d", "block", "batchnorm")


def limits(bench: Bench, rounds: int = 5) -> None:
    """Multiply-adds and memory bandwidth, one core and all: the most that was seen counts."""
    for what, task, unit in (("multiply-adds", "Peak", "gflops"), ("triad", "Triad", "gb_per_s")):
        best = {}
        for threads in sorted({1, bench.threads}):
            with bench.peer("limits", what, f"{threads} threads", f"tinyfer.bench.loops:{task}", {"threads": threads},
                            {"NUMBA_NUM_THREADS": str(threads)}) as peer:
                if peer is not None:
                    contest = in_turn({OURS: peer}, rounds, 0.05, 0.25, rest=0.1, show=bench.show.live)
                    best[threads] = 1 / min(contest.seconds[OURS])
                    bench.report.row("limits", what, f"{threads} threads", **{unit: best[threads]})
                    bench.note_others(what, contest)
        if best and task == "Peak":
            bench.peak = best.get(bench.threads)
        elif best:
            bench.bandwidth = best.get(bench.threads)
    if bench.peak and bench.bandwidth:
        bench.show.say(f"         multiply-adds {bench.peak:.0f} GFLOP/s, memory {bench.bandwidth:.0f} GB/s")


def ops(bench: Bench, batch: int = 64, rounds: int = 3) -> None:
    """Every op and pass with GFLOP/s and per cent of the peak, or GB/s and per cent of the bandwidth."""
    if bench.peak is None:
        limits(bench)
    arguments = {"batch": batch, "threads": bench.threads}
    listed, seconds = cases.op_cases(batch), {}
    with contextlib.ExitStack() as stack:
        peers = {name: stack.enter_context(bench.peer("ops", "all", name, task, arguments, environment))
                 for name, task, environment in (
                     (OURS, "tinyfer.bench.ours:Ops", bench.ours()),
                     ("PyTorch", "tinyfer.bench.torch_ops:Ops", torch_peer.environment(bench.threads)))}
        for number, case in enumerate(listed):
            chosen = {name: peer for name, peer in peers.items()
                      if peer is not None and (name == OURS or case.name.startswith(TORCH_OPS))}
            for name, taken in _op_in_turn(bench, chosen, number, case, rounds).items():
                if name == OURS:
                    seconds[case] = taken
                _op_row(bench, case, name, taken, seconds.get(case))
    _grad_input(bench, seconds)


def _op_in_turn(bench: Bench, peers: dict[str, Peer], number: int, case: cases.Case, rounds: int) -> dict[str, list]:
    """Seconds of one case by peer and round; a peer that cannot do it gets a row that says why."""
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name in list(peers):
            bench.show.live(f"{case.label}: {name}")
            time.sleep(REST / 3)
            try:
                seconds[name].append(peers[name].ask("run", warm=0.05, seconds=0.15, op=number)["seconds"])
            except Missing as reason:
                bench.report.row("ops", case.label, name, reason=str(reason))
                del peers[name], seconds[name]
    return {name: taken for name, taken in seconds.items() if taken}


def _op_row(bench: Bench, case: cases.Case, name: str, taken: list[float], ours: list[float] | None) -> None:
    median = statistics.median(taken)
    rates: dict = {"gflops": case.flops / median / 1e9, "gb_per_s": case.bytes / median / 1e9,
                   "flops_per_byte": case.flops / case.bytes}
    if case.memory_bound and bench.bandwidth:
        rates["percent_of_bandwidth"] = 100 * rates["gb_per_s"] / bench.bandwidth
    elif bench.peak:
        rates["percent_of_peak"] = 100 * rates["gflops"] / bench.peak
    if ours is not None and name != OURS:
        rates["ours_times_as_fast"] = statistics.median([b / a for a, b in zip(ours, taken, strict=False)])
    bench.report.row("ops", case.label, name, ms=1e3 * median, **rates)


def _grad_input(bench: Bench, seconds: dict[cases.Case, list[float]]) -> None:
    """The pass to the input alone: what a block's backward takes beyond its pass to the weights."""
    whole = {case.shape: case for case in seconds if case.name == "block_backward"}
    for case in [case for case in seconds if case.name == "block_grad_weight" and case.shape in whole]:
        taken = statistics.median([b - a for a, b in zip(seconds[case], seconds[whole[case.shape]], strict=True)])
        label = case.label.replace("grad_weight", "grad_input")
        if taken <= 0:
            bench.report.row("ops", label, OURS, reason="the difference of two passes was lost in the noise")
            continue
        rates = {"gflops": case.flops / taken / 1e9} | (
            {"percent_of_peak": 100 * case.flops / taken / 1e9 / bench.peak} if bench.peak else {})
        bench.report.row("ops", label, OURS, ms=1e3 * taken, by_difference=True, **rates)


def ladder(bench: Bench, rounds: int = 5) -> None:
    """One convolution, rung by rung; plain Python on a tiny one, its time for the whole by extrapolation."""
    n, side, c, k, kernel = loops.LAYER
    what = f"convolution {c}>{k}, {kernel}x{kernel}, {side}x{side}, batch {n}"
    environment = {**bench.ours(), "OPENBLAS_NUM_THREADS": str(bench.threads), "MKL_NUM_THREADS": str(bench.threads)}
    errors: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        peers = {}
        for way, name in LADDER.items():
            peer = stack.enter_context(bench.peer("ladder", what, name, "tinyfer.bench.loops:Rung", {
                "way": way, "threads": bench.threads}, environment))
            if peer is not None and _right(bench, what, peer, errors):
                peers[name] = peer
        torch = stack.enter_context(bench.peer("ladder", what, TORCH_RUNG, "tinyfer.bench.torch_ops:Convolution", {
            "shape": loops.LAYER, "threads": bench.threads}, torch_peer.environment(bench.threads)))
        peers |= {TORCH_RUNG: torch} if torch is not None else {}
        contest = in_turn(peers, rounds, 0.1, 0.3, until=bench.until, show=bench.show.live)
    ways = {name: way for way, name in LADDER.items()}
    for name, seconds in contest.seconds.items():
        if seconds:
            whole, way = loops.layer_flops("direct"), ways.get(name, "direct")
            rates = [loops.layer_flops(way) / s / 1e9 for s in seconds]
            bench.report.row("ladder", what, name, gflops=spread(rates), s=whole / 1e9 / statistics.median(rates),
                             extrapolated=way == "loops", rms_error=errors.get(name))
    bench.note_others(what, contest)


def _right(bench: Bench, what: str, peer: Peer, errors: dict[str, float]) -> bool:
    """Whether a rung computes the convolution, and with what error; a row says so where it does not."""
    try:
        error = peer.ask("error")
    except Missing as reason:
        bench.report.row("ladder", what, peer.name, reason=str(reason))
        return False
    if not error < 1e-4:
        bench.report.row("ladder", what, peer.name, reason=f"it does not compute the same, by {error:.2g}")
        return False
    errors[peer.name] = error
    return True


def augmentation(bench: Bench, rounds: int = 5) -> None:
    """Augmented pictures a second of the one thread that makes them."""
    with bench.peer("data", "augmentation, light", OURS, "tinyfer.bench.ours:Augmentation", {"threads": 1},
                    {"NUMBA_NUM_THREADS": "1"}) as peer:
        if peer is not None:
            contest = in_turn({OURS: peer}, bench.rounds(rounds), 0.1, 0.3, rest=0.1, show=bench.show.live)
            bench.rows("data", "augmentation, light", contest, 128, "pictures_per_s")
