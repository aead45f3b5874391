"""A session: frames go in one after the other, each with its time, and the faces in them come out.

    session = Session(live_reader("lite"))
    view = session.step(frame, time)                 # frame uint8 (H,W,3) BGR, as OpenCV gives it; time in seconds
    for face in view.faces:
        print(face.track, face.box, face.label, face.probabilities, face.uncertain)

It reads no file, shows nothing and has no clock: the same frames and times give the same answers, in a window, a test
or a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyfer import detectors, faces
from tinyfer.detectors import SMALLEST, Box
from tinyfer.errors import UserError
from tinyfer.faces import Face, FaceReader
from tinyfer.live.tracking import Answer, Track, Tracker

MIN_FACE = 0.12  # of the frame's shorter side
SMOOTH = 0.4  # seconds
CUT = 22  # grey levels by which frames differ on average across a cut; in a moving scene, 15 are much
UNCERTAIN = 0.35  # a likeliest expression with less probability is no answer


@dataclass(frozen=True, eq=False)
class LiveFace(Face):
    """A face in a frame: box, smoothed probabilities, label and crop as in a photo, and what following it adds.

    track: its number, the same from frame to frame. uncertain: no expression reaches the threshold. seen: whether the
    detector found it when it last looked; otherwise it is kept for a moment where it must be, its answer unchanged.
    region: the square of the frame that the crop was cut from."""

    track: int
    uncertain: bool
    seen: bool
    region: Box

    @property
    def shown(self) -> str:
        """The label, or "uncertain"."""
        return "uncertain" if self.uncertain else self.label


@dataclass(frozen=True, eq=False)
class View:
    """What was read in one frame: the time it was given, its height and width, and its faces by track."""

    time: float
    size: tuple[int, int]
    faces: list[LiveFace]


def live_reader(model="lite", detector: str = "haar", *, file: str | None = None, min_face: float = MIN_FACE,
                margin: float = faces.MARGIN) -> FaceReader:
    """A FaceReader whose detector seeks faces from `min_face` (a share of the frame's shorter side) on, and so is
    quick."""
    return FaceReader(model, detectors.make(detector, file, min_face), margin)


class Session:
    """Follows and reads the faces of a stream of frames.

    every: the detector looks at each so many-th frame; in between, faces move on as they did. smooth: time constant of
    the answers, seconds. uncertain: see LiveFace. stills: the frames have nothing to do with each other, as photos of a
    folder: nothing is followed or smoothed, and small pictures are faces, as for FaceReader."""

    def __init__(self, reader: FaceReader, *, every: int = 1, smooth: float = SMOOTH, uncertain: float = UNCERTAIN,
                 stills: bool = False):
        self.reader, self.every, self.smooth, self.uncertain, self.stills = reader, every, smooth, uncertain, stills
        self._tracker = Tracker(confirm=1 if stills else 2)
        self._before: tuple[tuple[int, ...], np.ndarray] = (), np.zeros(0)  # the last frame's size, and some pixels
        self.reset()

    @property
    def labels(self) -> tuple[str, ...]:
        """The expressions' names, in the order of the probabilities."""
        return self.reader.model.labels

    def reset(self) -> None:
        """Forget every face: what comes next has nothing to do with what was."""
        self._tracker.forget()
        self._known: dict[int, tuple[Answer, np.ndarray]] = {}  # answer and last crop by track
        self._frames = 0

    def step(self, frame: np.ndarray, time: float, lap: Callable[[str], None] = lambda stage: None) -> View:
        """The faces of the next frame, uint8 (H,W,3) BGR, (H,W,4) BGRA or (H,W) grey, any size; time in seconds, not
        before that of the frame before. lap: called after each stage with its name, "detect" and "network"."""
        picture = as_bgr(frame)[..., ::-1]  # RGB, without a copy
        if self.stills or self._is_cut(picture):
            self.reset()
        boxes = self._boxes(picture)
        self._frames += 1
        tracks = self._tracker.update(boxes, time)
        lap("detect")
        found = self._read(picture, tracks, time)
        lap("network")
        return View(time, picture.shape[:2], found)

    def _is_cut(self, picture: np.ndarray) -> bool:
        """Whether this frame has another size, or shows another scene, than the one before: a video's cut."""
        height, width = picture.shape[:2]
        sample = picture[height // 48::max(1, height // 24), width // 64::max(1, width // 32)].astype(np.int16)
        (size, before), self._before = self._before, (picture.shape, sample)
        return size != picture.shape or float(np.abs(sample - before).mean()) > CUT

    def _boxes(self, picture: np.ndarray) -> list[Box] | None:
        if self._frames % self.every:
            return None
        return self.reader.find(picture) if self.stills else detectors.find(self.reader.detector, picture)

    def _read(self, picture: np.ndarray, tracks: list[Track], time: float) -> list[LiveFace]:
        """Show the network all faces that are there, as one batch; answer them with those that are waited for."""
        size = picture.shape[:2]
        boxes = {track.number: track.box for track in tracks}
        here = [track for track in tracks if _visible(boxes[track.number], size)]
        seen = [track for track in here if track.seen]
        if seen:
            model, margin = self.reader.model, self.reader.margin
            crops = faces.prepared(picture, [boxes[track.number] for track in seen], model.preprocess, margin)
            for track, logits, crop in zip(seen, self.reader.logits(crops), crops, strict=True):
                self._note(track.number, logits, crop, time)
        self._known = {number: self._known[number] for number in boxes if number in self._known}
        return [self._face(track, boxes[track.number], size) for track in here if track.number in self._known]

    def _note(self, number: int, logits: np.ndarray, crop: np.ndarray, time: float) -> None:
        if number in self._known:
            answer = self._known[number][0]
            answer.update(logits, time, self.smooth)
        else:
            answer = Answer(logits, time)
        self._known[number] = answer, crop

    def _face(self, track: Track, box: Box, size: tuple[int, int]) -> LiveFace:
        answer, crop = self._known[track.number]
        chances = answer.probabilities
        everything = box == (0, 0, size[1], size[0])
        return LiveFace(box.clipped(*size), dict(zip(self.labels, chances, strict=True)),
                        self.labels[answer.label], crop, track=track.number, seen=track.seen,
                        uncertain=max(chances) < self.uncertain,
                        region=box if everything else faces.square(box, self.reader.margin))


def _visible(box: Box, size: tuple[int, int]) -> bool:
    """Whether enough of a box lies in the frame to be a face."""
    inside = box.clipped(*size)
    return min(inside.w, inside.h) >= SMALLEST


def as_bgr(frame: np.ndarray) -> np.ndarray:
    """A frame of any usual kind -> uint8 (H,W,3) BGR; grey is repeated, alpha dropped. UserError for anything else."""
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.size:
        if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1):
            return np.repeat(frame.reshape(*frame.shape[:2], 1), 3, axis=2)
        if frame.ndim == 3 and frame.shape[2] in (3, 4):
            return np.ascontiguousarray(frame[..., :3])
    kind = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
    raise UserError(f"a frame is uint8 (H,W,3) BGR, (H,W,4) BGRA or (H,W) grey, this one is {kind}.")
