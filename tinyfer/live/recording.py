"""What is written down, where the user asks for it: a video of what is shown, and a table of the faces."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyfer.detectors import opencv, quiet
from tinyfer.errors import UserError
from tinyfer.live.session import View
from tinyfer.overlay import INK, rgb

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "mp4v", ".webm": "VP80"}
LONGEST_GAP = 5.0  # seconds of a still picture, at most, that are recorded where no frame came
COLUMNS = ("frame", "seconds", "track", "x", "y", "w", "h", "label")


class Video:
    """A video file that plays at the speed of life: each picture is written until the next one's time has come.

    hold: seconds for which the last one is to be seen, a frame of the video without it. It plays only once it is
    closed: use it in a `with`, or call close whatever happens."""

    def __init__(self, path, fps: float, hold: float | None = None):
        self.path, self.fps, self.hold = pathlib.Path(path), fps, 1 / fps if hold is None else hold
        self.frames = 0
        self._codec = CODECS.get(self.path.suffix.lower(), "")
        if not self._codec:
            raise UserError(f"--record {path}: expected a name that ends in {', '.join(CODECS)}.")
        if self.path.exists():
            raise UserError(f"--record {path}: there is such a file already; name another one.")
        if not self.path.parent.is_dir():
            raise UserError(f"--record {path}: there is no folder {self.path.parent}; make it first.")
        self._cv2 = opencv()
        self._writer: Any = None
        self._size, self._start = (0, 0), 0.0
        self._still: np.ndarray | None = None  # what is to be seen since `_time`
        self._time = 0.0

    @property
    def seconds(self) -> float:
        """How long it is so far."""
        return self.frames / self.fps

    def write(self, picture: np.ndarray, time: float) -> None:
        """uint8 (H,W,3) BGR, to be seen from `time` on, in seconds of any origin. All get the size of the first."""
        if self._writer is None:
            self._open(picture, time)
        wanted = round((time - self._start) * self.fps)  # frames up to this picture
        self._fill(wanted)
        if wanted > self.frames:  # the gap was longer: go on from here
            self._start = time - self.frames / self.fps
        self._still, self._time = _fitted(picture, self._size), time
        if wanted >= self.frames:  # else this frame is written already, and the picture will fill what follows
            self._put()

    def close(self) -> None:
        """Finish the file, so that it plays."""
        if self._writer is None:
            return
        self._fill(round((self._time + self.hold - self._start) * self.fps))
        self._writer.release()
        self._writer = None
        if not self.path.exists() or self.path.stat().st_size == 0:
            raise UserError(f"--record {self.path}: nothing was written; is the disk full?")

    def _fill(self, wanted: int) -> None:
        """Write what is to be seen until there are so many frames, or the gap is too long."""
        for _ in range(min(wanted - self.frames, round(LONGEST_GAP * self.fps) - 1)):
            self._put()

    def _put(self) -> None:
        self._writer.write(self._still)
        self.frames += 1

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _open(self, picture: np.ndarray, time: float) -> None:
        cv2 = self._cv2
        quiet()
        height, width = picture.shape[0] + picture.shape[0] % 2, picture.shape[1] + picture.shape[1] % 2
        self._size, self._start = (height, width), time  # codecs want even sides
        self._writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter_fourcc(*self._codec), self.fps, (width, height))
        if not self._writer.isOpened():
            self._writer = None
            raise UserError(f"--record {self.path}: OpenCV cannot write it; is the folder yours to write, or does "
                            f"another ending work (.avi)?")


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture, cut or filled up at the right and below."""
    if picture.shape[:2] == size:
        return picture
    out = np.empty((*size, 3), np.uint8)
    out[:] = rgb(INK)[::-1]
    height, width = min(size[0], picture.shape[0]), min(size[1], picture.shape[1])
    out[:height, :width] = picture[:height, :width]
    return out


class Table:
    """A csv file: one row a face and frame, for the faces that the detector saw; box in the frame's own pixels; the
    label is "uncertain" where no expression reaches the threshold; one column of probability for each expression."""

    def __init__(self, path, labels: Sequence[str]):
        self.path, self.rows = pathlib.Path(path), 0
        self._labels = labels
        try:
            self._file = self.path.open("x", newline="", encoding="utf-8", buffering=1)
            self._writer = csv.writer(self._file)
            self._writer.writerow([*COLUMNS, *labels])
        except FileExistsError:
            raise UserError(f"--csv {path}: there is such a file already; name another one.") from None
        except OSError as error:
            raise UserError(f"--csv {path}: cannot be written ({error.strerror}); name another place.") from None

    def write(self, number: int, view: View) -> None:
        """The faces of frame `number`. UserError where the disk is full."""
        for face in view.faces:
            if face.seen:
                chances = [f"{face.probabilities[label]:.4f}" for label in self._labels]
                row = [number, f"{view.time:.3f}", face.track, *face.box, face.shown, *chances]
                try:
                    self._writer.writerow(row)
                except OSError as error:
                    raise self._full(error) from None
                self.rows += 1

    def close(self) -> None:
        """Write what is left."""
        try:
            self._file.close()
        except OSError as error:
            raise self._full(error) from None

    def _full(self, error: OSError) -> UserError:
        return UserError(f"--csv {self.path}: cannot be written any further ({error.strerror}), after {self.rows} "
                         f"rows; free some space.")
