"""Inference: answering one batch, against ONNX Runtime and PyTorch; and live, from frames to what is shown."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys

import numpy as np

from tinyfer.bench import facts, ours, torch_peer
from tinyfer.bench.common import OURS, Bench
from tinyfer.bench.turns import Missing, Peer, in_turn, spread

ONNX = {"ONNX Runtime": True, "ONNX Runtime, no spinning": False}
COMPILED, SCRIPTED = "PyTorch compiled, frozen", "PyTorch TorchScript, frozen"
TORCH = {COMPILED: "compiled", SCRIPTED: "frozen", "PyTorch eager, folded": "eager"}
FRAMES = ((640, 480, 1), (640, 480, 3), (1280, 720, 1))  # width, height and faces of what live is measured on
TOLERANCE = 1e-3  # of the logits, relative to the largest


def inference(bench: Bench, model: str, batch: int, key: str | None, rounds: int = 9) -> None:
    """Milliseconds to answer `batch` pictures; `key` is the ratio to ONNX Runtime's quicker setting."""
    section, what = "inference", f"{model}, batch {batch}"
    arguments = {"model": model, "batch": batch, "threads": bench.threads}
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(bench.peer(section, what, OURS, "tinyfer.bench.ours:Inference", arguments,
                                               bench.ours()))
        if first is None:
            return bench.report.miss(key or "", "our own process failed, see rows")
        peers, expected = {OURS: first}, np.array(first.ask("logits"))
        for name, task, more, environment in _others(bench, model):
            peer = stack.enter_context(bench.peer(section, what, name, task, {**arguments, **more}, environment))
            if peer is not None and _agrees(bench, section, what, peer, expected):
                peers[name] = peer
        contest = in_turn(peers, bench.rounds(rounds), warm=0.1, seconds=0.3, until=bench.until, classes=[ONNX, TORCH],
                          show=bench.show.live)
    bench.rows(section, what, contest, batch)
    for name, seconds in contest.seconds.items():
        if seconds:
            bench.show.say(f"         {name}: {1e3 * spread(seconds)['median']:.2f} ms")
    best = contest.quickest(ONNX)
    if best is not None and key:
        bench.report.set(key, contest.ratios(OURS, best))
    elif key:
        reasons = [row["reason"] for row in bench.report.rows if row["peer"] in ONNX and "reason" in row]
        bench.report.miss(key, reasons[0] if reasons else "ONNX Runtime was not measured")


def live(bench: Bench, frames: int = 150) -> None:
    """Frames a second of the webcam's way, lite and the Haar detector, and each stage's share; on drawn faces."""
    with bench.peer("live", "webcam, lite", OURS, "tinyfer.bench.ours:Live", {}, bench.ours()) as peer:
        if peer is None:
            return
        for width, height, faces in FRAMES:
            what = f"{width}x{height}, {faces} face{'s' if faces > 1 else ''}"
            bench.show.live(f"live, {what}")
            told = peer.ask("speed", width=width, height=height, faces=faces, frames=frames)
            bench.report.row("live", what, OURS, fps=told["fps"], ms=told["ms"], share=told["share"],
                             found=told["found"])
            bench.show.say(f"         {what}: {told['fps']:.0f} frames/s")


def _others(bench: Bench, model: str):
    """Name, task, further arguments and environment of every other runtime."""
    threads = {"OMP_NUM_THREADS": str(bench.threads)}
    try:
        path = _exported(bench, model)
        for name, spinning in ONNX.items():
            yield name, "tinyfer.bench.onnx_peer:Inference", {"path": path, "spinning": spinning}, threads
    except Missing as reason:
        for name in ONNX:
            bench.report.row("inference", model, name, reason=str(reason))
    for name, how in TORCH.items():
        wanted = name != (SCRIPTED if facts.compiler() else COMPILED)  # TorchScript only where nothing can be compiled
        if wanted and not bench.quick:
            yield name, "tinyfer.bench.torch_peer:Inference", {"how": how}, torch_peer.environment(bench.threads)


def _exported(bench: Bench, model: str) -> str:
    """The model's ONNX file, written by `python -m tinyfer.export`; Missing where that cannot be."""
    saved, path = (str(pathlib.Path(bench.folder) / f"{model}.{kind}") for kind in ("npz", "onnx"))
    if not pathlib.Path(path).exists():
        ours.save(model, saved)
        run = subprocess.run([sys.executable, "-m", "tinyfer.export", saved, path], capture_output=True, text=True)
        if run.returncode or not pathlib.Path(path).exists():
            lines = (run.stderr or run.stdout).strip().splitlines()
            raise Missing("the model cannot be exported to ONNX: " + (lines[-1] if lines else "no reason was given"))
    return path


def _agrees(bench: Bench, section: str, what: str, peer: Peer, expected: np.ndarray) -> bool:
    """Whether a peer gives our logits; a row says so where it does not."""
    try:
        gap = float(np.abs(np.array(peer.ask("logits")) - expected).max() / np.abs(expected).max())
    except Missing as reason:
        bench.report.row(section, what, peer.name, reason=str(reason))
        return False
    if not gap <= TOLERANCE:
        bench.report.row(section, what, peer.name, reason=f"it does not compute the same: logits differ by {gap:.2g}")
        return False
    return True
