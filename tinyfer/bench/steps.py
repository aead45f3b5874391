"""Training steps against PyTorch: its quickest configuration is found first, then it takes turns with us."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from tinyfer.bench import cases, torch_peer
from tinyfer.bench.common import OURS, Bench, features_without_avx512, has_avx512
from tinyfer.bench.turns import TRIAL, Contest, Missing, Peer, in_turn, spread

FP32: dict[str, dict] = {
    "PyTorch channels_last": {"channels_last": True},
    "PyTorch compiled": {"compiled": True},
    "PyTorch compiled, channels_last": {"compiled": True, "channels_last": True},
    "PyTorch": {},
}
BF16 = {f"{name}, bf16": {**options, "bf16": True} for name, options in FP32.items() if "channels_last" in options}
UNTUNED = {"PyTorch, default malloc": {"tuned": False}}  # as most people run it
F2, PEAK = "tinyfer, F(2x2)", "multiply-adds alone"
CHECK_BATCH, CHECK_STEPS = 16, 3
TOLERANCE, TOLERANCE_BF16 = 1e-3, 0.1  # of the losses of the first steps, relative
TOLERANCE_COMPILED = (0.15, 0.5)  # of loss and gradient where dropout is drawn anew


def training(bench: Bench, model: str, batch: int, key: str | None, rounds: int = 7, avx2: bool = False) -> None:
    """The quickest float32 PyTorch against ours: fills `key` and rows."""
    section, what = "training", f"{model}, batch {batch}" + (", AVX2" if avx2 else "")
    hold = features_without_avx512() if avx2 else {}
    if hold is None:
        return bench.report.miss(key or "", "this processor has no AVX2")
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_ours(bench, section, what, model, batch, OURS, hold))
        if ours is None:
            return bench.report.miss(key or "", "our own process failed, see rows")
        environment = torch_peer.AVX2 if avx2 else {}
        best = quickest(bench, stack, section, what, batch, ours, first_losses(ours),
                        _peers(bench, model, batch, FP32, environment))
        if best is None:
            return _miss(bench, key, FP32)
        contest = _contest(bench, section, what, batch, {OURS: ours, best.name: best}, rounds)
    if key:
        bench.report.set(key, contest.ratios(OURS, best.name))


def flagship(bench: Bench, model: str = "vgg", batch: int = 128, rounds: int = 7) -> None:
    """vgg at batch 128: ours, ours with F(2x2), the quickest PyTorch in float32 and in bfloat16, and the peak of the
    processor, all in the same rounds."""
    section, what, keys = "training", f"{model}, batch {batch}", bench.report
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_ours(bench, section, what, model, batch, OURS, {}))
        if ours is None:
            return
        peers: dict[str, Peer] = {OURS: ours}
        fp32 = bf16 = f2 = None
        if not bench.quick:
            expected = first_losses(ours)
            fp32, bf16 = (quickest(bench, stack, section, what, batch, ours, expected,
                                   _peers(bench, model, batch, options)) for options in ({**FP32, **UNTUNED}, BF16))
            f2 = stack.enter_context(_ours(bench, section, what, model, batch, F2, {"TINYFER_WINOGRAD": "2"}))
        peak = stack.enter_context(bench.peer(section, what, PEAK, "tinyfer.bench.loops:Peak",
                                              {"threads": bench.threads}, bench.ours()))
        peers |= {peer.name: peer for peer in (fp32, bf16, f2, peak) if peer is not None}
        contest = _contest(bench, section, what, batch, peers, rounds)
    for key, peer, options in (("train_b128_vs_torch_fp32", fp32, FP32), ("train_b128_vs_torch_bf16", bf16, BF16)):
        if peer is None:
            _miss(bench, key, options)
        else:
            keys.set(key, contest.ratios(OURS, peer.name))
    if fp32 is not None and contest.seconds.get(F2):
        keys.set("train_b128_f2_vs_torch_fp32", contest.ratios(F2, fp32.name))
    if contest.seconds.get(PEAK):
        flops = cases.step_flops(cases.network(model), batch)
        keys.set("step_over_fma_peak", [flops / 1e9 / a * b for a, b in
                                        zip(contest.seconds[OURS], contest.seconds[PEAK], strict=True)])
    if fp32 is not None and not has_avx512() and features_without_avx512():
        keys.set("train_b128_avx2_vs_torch_avx2", contest.ratios(OURS, fp32.name))
        keys.row(section, what + ", AVX2", OURS, reason="this processor has no AVX-512: the same as unrestrained")


def avx2(bench: Bench) -> None:
    """Both held to AVX2, where the processor has more than that."""
    if features_without_avx512() and not has_avx512():
        if bench.report.ratios["train_b128_avx2_vs_torch_avx2"] is None:
            training(bench, "vgg", 128, "train_b128_avx2_vs_torch_avx2")
        return
    training(bench, "vgg", 128, "train_b128_avx2_vs_torch_avx2", rounds=5, avx2=True)


# ----------------------------------------------------------------------------------------------------------- the parts


def _ours(bench: Bench, section: str, what: str, model: str, batch: int, name: str, environment: Mapping[str, str]):
    return bench.peer(section, what, name, "tinyfer.bench.ours:Training",
                      {"model": model, "batch": batch, "threads": bench.threads}, {**bench.ours(), **environment})


Started = tuple[str, dict, dict[str, str]]  # task, arguments and environment of a process


def _peers(bench: Bench, model: str, batch: int, configurations: Mapping[str, Mapping],
           environment: Mapping[str, str] | None = None) -> dict[str, Started]:
    """How each PyTorch process is started, by its name."""
    peers = {}
    for name, options in configurations.items():
        tuned = options.get("tuned", True)
        arguments = {"model": model, "batch": batch, "threads": bench.threads,
                     **{key: value for key, value in options.items() if key != "tuned"}}
        peers[name] = ("tinyfer.bench.torch_peer:Training", arguments,
                       {**torch_peer.environment(bench.threads, tuned), **(environment or {})})
    return peers


def first_losses(peer: Peer) -> list[float]:
    """The losses of its first steps, by which peers are checked: to be asked before it has been trained."""
    return peer.ask("losses", batch=CHECK_BATCH, steps=CHECK_STEPS)


def quickest(bench: Bench, stack: contextlib.ExitStack, section: str, what: str, batch: int, ours: Peer,
             expected: list[float], peers: Mapping[str, Started]) -> Peer | None:
    """Try one configuration after the other in turn with the best so far, and with us; the best stays.

    So only two of them are in memory at a time. Each gets its row; one whose losses are not the expected ones is
    refused, see checked()."""
    best: Peer | None = None
    holders: dict[str, contextlib.ExitStack] = {}
    for name, (task, arguments, environment) in peers.items():
        holder = stack.enter_context(contextlib.ExitStack())
        peer = holder.enter_context(bench.peer(section, what, name, task, arguments, environment))
        if peer is None:
            continue
        try:
            bench.show.live(f"{name} is checked" + (" and compiles" if arguments.get("compiled") else ""))
            checked(peer, expected, arguments)
        except Missing as reason:
            bench.report.row(section, what, name, reason=str(reason))
            holder.close()
            continue
        turns = {OURS: ours, name: peer} | ({best.name: best} if best else {})
        contest = in_turn(turns, TRIAL + 1, warm=0, seconds=0.5, classes=[[*turns][1:]], show=bench.show.live)
        bench.rows(section, f"{what} (trial)", contest, batch, names=[name])
        if contest.quickest([name, *([best.name] if best else [])]) == name:
            if best:
                holders[best.name].close()
            best, holders[name] = peer, holder
        else:
            holder.close()
    return best


def checked(peer: Peer, expected: list[float], arguments: Mapping) -> None:
    """Missing unless the peer's first losses are ours, and its compiled step is its uncompiled one."""
    losses = first_losses(peer)
    gap = max(abs(a / b - 1) for a, b in zip(losses, expected, strict=True))
    if not gap <= (TOLERANCE_BF16 if arguments.get("bf16") else TOLERANCE):
        raise Missing(f"it does not compute the same: losses {losses}, expected {expected}")
    if arguments.get("compiled"):
        gaps = peer.ask("compiled_gaps")
        if not all(a <= b for a, b in zip(gaps, TOLERANCE_COMPILED, strict=True)):
            raise Missing(f"compiled it does not compute the same: loss and gradient differ by {gaps}")


def _contest(bench: Bench, section: str, what: str, batch: int, peers: Mapping[str, Peer], rounds: int) -> Contest:
    contest = in_turn(peers, bench.rounds(rounds), warm=0, seconds=1.0, until=bench.until, show=bench.show.live)
    shown = [name for name in contest.seconds if name != PEAK]
    bench.rows(section, what, contest, batch, names=shown)
    for name in shown:
        if contest.seconds[name]:
            ratio = spread(contest.ratios(OURS, name))["median"]
            bench.show.say(f"         {name}: {batch / contest.median(name):.0f} images/s"
                           + ("" if name == OURS else f" (we are {ratio:.2f} times as fast)"))
    return contest


def _miss(bench: Bench, key: str | None, names: Iterable[str]) -> None:
    if key:
        reasons = [row["reason"] for row in bench.report.rows if row["peer"] in names and "reason" in row]
        bench.report.miss(key, f"no PyTorch to compare with: {reasons[0]}" if reasons else "left out by --quick")
