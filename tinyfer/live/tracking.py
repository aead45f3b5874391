"""Which face is which: boxes of one frame are given to the faces of the frames before; and each face's answers are
smoothed over time.

All rates are times, in seconds, not numbers of frames: a slow machine smooths as much as a fast one."""

from __future__ import annotations

import math

import numpy as np

from tinyfer.detectors import Box

STEADY = 0.08  # time constant of a box's place and size: cascades jitter by a few pixels from frame to frame
SLOWING = 0.25  # time constant with which a face that is not found comes to rest
COASTING = 0.5  # seconds after which a face that nobody has looked for does so, too
LEAD, HOLD = 0.10, 0.25  # a new label must lead by so much probability, for so many seconds


def share_of(seconds: float, time_constant: float) -> float:
    """How far a smoothed value goes towards a new one after `seconds`: 1 - exp(-t / tau); all the way if tau is 0."""
    return 1.0 if time_constant <= 0 else -math.expm1(-max(seconds, 0.0) / time_constant)


class Track:
    """One face over time: its number, where it is and how it moves.

    seen: whether the detector found it when it last looked."""

    def __init__(self, number: int, box: Box, time: float):
        self.number, self.hits, self.seen = number, 1, True
        self.born = self.moved = self.found = time
        self._centre = np.array([box.x + box.w / 2, box.y + box.h / 2])
        self._size = np.array([box.w, box.h], float)
        self._velocity = np.zeros(2)

    @property
    def box(self) -> Box:
        """Where it is now, in whole pixels; it may reach beyond the picture."""
        (x, y), (w, h) = self._centre.tolist(), self._size.tolist()
        return Box(round(x - w / 2), round(y - h / 2), round(w), round(h))

    def move(self, time: float) -> None:
        """Go on as before until `time`."""
        seconds = max(time - self.moved, 0.0)
        self._centre = self._centre + self._velocity * seconds
        if not self.seen or time - self.found > COASTING:
            self._velocity = self._velocity * (1 - share_of(seconds, SLOWING))
        self.moved = time

    def meet(self, box: Box, time: float) -> None:
        """Take over a box that the detector found at `time`, the track having moved there: an alpha-beta filter."""
        seconds, a = time - self.found, share_of(time - self.found, STEADY)
        gap = np.array([box.x + box.w / 2, box.y + box.h / 2]) - self._centre
        self._centre = self._centre + a * gap
        self._size = self._size + a * (np.array([box.w, box.h]) - self._size)
        if seconds > 0:
            self._velocity = self._velocity + a * a / (2 - a) * gap / seconds
        self.found, self.seen, self.hits = time, True, self.hits + 1


class Tracker:
    """Gives boxes to tracks by their overlap (intersection over union), the best pairs first.

    overlap: less than that is another face. patience: seconds for which a face that is no longer found is kept; one
    that was found is kept until the detector looks again, however seldom that is. confirm: how often in a row a face
    must be found before it counts, which keeps single false hits off."""

    def __init__(self, overlap: float = 0.3, patience: float = 0.5, confirm: int = 2):
        self.overlap, self.patience, self.confirm = overlap, patience, confirm
        self.count = 0
        self._tracks: list[Track] = []

    def update(self, boxes: list[Box] | None, time: float) -> list[Track]:
        """The faces at `time`, by number; boxes None: the detector has not looked."""
        for track in self._tracks:
            track.move(time)
        if boxes is not None:
            self._assign(boxes, time)
        self._tracks = [track for track in self._tracks if track.seen
                        or (track.hits >= self.confirm and time - track.found <= self.patience)]
        return [track for track in self._tracks if track.hits >= self.confirm]

    def forget(self) -> None:
        """Nothing that is there now was there before. Numbers go on."""
        self._tracks = []

    def _assign(self, boxes: list[Box], time: float) -> None:
        pairs = sorted(((-track.box.overlap(box), track.number, i) for track in self._tracks
                        for i, box in enumerate(boxes)))
        free, waiting = set(range(len(boxes))), {track.number: track for track in self._tracks}
        for overlap, number, i in pairs:
            if -overlap >= self.overlap and i in free and number in waiting:
                free.discard(i)
                waiting.pop(number).meet(boxes[i], time)
        for track in waiting.values():
            track.seen = False
        for i in sorted(free):
            self.count += 1
            self._tracks.append(Track(self.count, boxes[i], time))


class Answer:
    """What one face shows, smoothed: `update` with the logits (7,) of each frame, then read probabilities and label.

    smooth: time constant of the logits. The label changes only once another one has led by LEAD for HOLD seconds.
    Seven numbers: plain floats, since an array takes longer to make than to fill."""

    def __init__(self, logits: np.ndarray, time: float):
        self._logits: list[float] = logits.tolist()
        self._time, self.label = time, int(logits.argmax())
        self._rival, self._since = self.label, time
        self.probabilities = _softmax(self._logits)

    def update(self, logits: np.ndarray, time: float, smooth: float) -> None:
        share = share_of(time - self._time, smooth)
        self._logits = [old + share * (new - old) for old, new in zip(self._logits, logits.tolist(), strict=True)]
        self._time = time
        chances = self.probabilities = _softmax(self._logits)
        top = chances.index(max(chances))
        if top == self.label or chances[top] < chances[self.label] + LEAD:
            self._rival, self._since = self.label, time
        elif top != self._rival:
            self._rival, self._since = top, time
        if self._rival != self.label and time - self._since >= HOLD:
            self.label = self._rival


def _softmax(logits: list[float]) -> list[float]:
    """Probabilities of one face."""
    most = max(logits)
    e = [math.exp(value - most) for value in logits]
    total = sum(e)
    return [value / total for value in e]
