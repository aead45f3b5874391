"""Drawn faces that move: what `--source demo` shows on a machine without a camera, and what the tests film.

    film = Demo(640, 480)                    # one face, through all seven expressions
    frame = film.read()                      # uint8 (480,640,3) BGR, the same in every run"""

from __future__ import annotations

import numpy as np

from tinyfer.data import LABELS
from tinyfer.data.toyfaces import PARAMETERS, actions_of, plain_parameters, render

FPS = 25.0
TURN = 2.4  # seconds that an expression stays
CHANGE = 0.5  # seconds of these in which it becomes the next one
BATCH = 8  # frames drawn at a time: most of the time goes into geometry, whose cost hardly grows with their number
ORDER = ("neutral", "happy", "surprise", "sad", "angry", "fear", "disgust")
assert sorted(ORDER) == sorted(LABELS)


class Demo:
    """A source (see capture.py) of drawn frames that never ends; width and height in pixels."""

    name = "demo"
    live = stills = mirror = False
    fps = FPS

    def __init__(self, width: int = 640, height: int = 480):
        self.width, self.height = width, height
        self._next = 0
        self._drawn: list[np.ndarray] = []

    def read(self) -> np.ndarray:
        if not self._drawn:
            times = (self._next + np.arange(BATCH)) / FPS
            self._drawn = list(film(times, self.height, self.width))
            self._next += BATCH
        return np.repeat(self._drawn.pop(0)[..., None], 3, axis=2)

    def reopen(self) -> None:
        """There is nothing to open again."""

    def close(self) -> None:
        """There is nothing to close."""


def expression(seconds: float) -> dict[str, float]:
    """What the face shows at a time, as weights by name: each expression for TURN seconds, in ORDER."""
    turn, rest = divmod(seconds, TURN)
    now, later = ORDER[int(turn) % len(ORDER)], ORDER[(int(turn) + 1) % len(ORDER)]
    part = min(max((rest - (TURN - CHANGE)) / CHANGE, 0.0), 1.0)
    part = part * part * (3 - 2 * part)
    return {now: 1 - part, later: part} if part else {now: 1.0}


def film(times: np.ndarray, height: int, width: int) -> np.ndarray:
    """The frames at these times -> uint8 (N,height,width): the face wanders, nods, tilts and blinks."""
    t = np.asarray(times, float)
    n, side = len(t), min(height, width)
    p = plain_parameters(n)
    p["background"] = np.full(n, float(PARAMETERS["background"].names.index("room")))
    p["roll"], p["yaw"], p["pitch"] = 4 * np.sin(0.9 * t), 7 * np.sin(0.6 * t), 2 * np.sin(1.3 * t)
    p["blink"] = np.maximum(0.0, 1 - np.abs(t % 3.7 - 0.12) / 0.12)
    x = width * (0.5 + 0.16 * np.sin(0.45 * t))
    y = height * (0.5 + 0.05 * np.sin(0.7 * t))
    radius = side * (0.24 + 0.03 * np.sin(0.35 * t))
    actions = actions_of([expression(seconds) for seconds in t], p)
    return render(p, actions, height, width, (x, y, radius))
