"""What live costs: frames a second from a frame to the picture that is shown, and each stage's share.

    print(measure(1280, 720))     # {"fps": 41.2, "ms": {"detect": ..., "network": ..., "draw": ...}, ...}"""

from __future__ import annotations

import itertools
import statistics
import time as clocks

import numpy as np

from tinyfer.live import demo, hud
from tinyfer.live.hud import Status
from tinyfer.live.session import MIN_FACE, Session, live_reader

STAGES = ("detect", "network", "draw")


def measure(width: int = 640, height: int = 480, *, faces: int = 1, frames: int = 100, model="lite", every: int = 1,
            min_face: float = MIN_FACE) -> dict:
    """Medians over `frames` drawn frames with so many faces side by side, on the threads that are set.

    fps: 1 / the median of a whole frame, all stages one after the other (capturing runs beside them); ms: milliseconds
    by stage; share: of the frame's time, by stage; found: faces that were found, on average."""
    session = Session(live_reader(model, min_face=min_face), every=every)
    status = Status(model=session.reader.model.name, source="drawn", fps=30.0, rates=dict.fromkeys(STAGES, 0.01))
    film = _film(width, height, faces)
    laps: dict[str, list[float]] = {stage: [] for stage in STAGES}
    found = 0
    for number in range(frames + 10):
        last = clocks.perf_counter()

        def lap(stage: str) -> None:
            nonlocal last
            now = clocks.perf_counter()
            laps[stage].append(now - last)
            last = now

        frame = film[number % len(film)]
        view = session.step(frame, number / demo.FPS, lap)
        hud.draw(frame, view, status)
        lap("draw")
        found += len(view.faces) if number >= 10 else 0
    spent = {stage: np.array(times[10:]) for stage, times in laps.items()}  # the first ones warm up
    whole = statistics.median(np.sum(list(spent.values()), axis=0))
    medians = {stage: float(np.median(times)) for stage, times in spent.items()}
    return {"width": width, "height": height, "faces": faces, "found": found / frames, "fps": 1 / whole,
            "ms": {stage: 1e3 * seconds for stage, seconds in medians.items()},
            "share": {stage: seconds / sum(medians.values()) for stage, seconds in medians.items()}}


def _film(width: int, height: int, faces: int, frames: int = 24) -> list[np.ndarray]:
    """Frames uint8 (H,W,3) forth and back, so that they can be repeated without a jump."""
    edges = np.linspace(0, width, faces + 1).astype(int)
    times = 2.6 + np.arange(frames) / demo.FPS
    parts = [demo.film(times + demo.TURN * i, height, right - left)
             for i, (left, right) in enumerate(itertools.pairwise(edges))]
    film = [np.repeat(frame[..., None], 3, axis=2) for frame in np.concatenate(parts, axis=2)]
    return film + film[-2:0:-1]
