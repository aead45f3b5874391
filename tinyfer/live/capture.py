"""Where frames come from: a camera, a video, pictures, an address, or a drawing; and the thread that reads them.

    feed = Feed(open_source("0"))
    while (frame := feed.get(timeout=0.1)) or not feed.ended: ...

A camera's frames are only worth something while they are new: the thread keeps the newest and drops the rest. Of a file
every frame is kept, however long it takes."""

from __future__ import annotations

import collections
import glob
import os
import pathlib
import re
import sys
import threading
import time as clocks
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from tinyfer import faces
from tinyfer.detectors import opencv, quiet
from tinyfer.errors import UserError
from tinyfer.live.session import as_bgr

AHEAD = 4  # frames of a file that are read ahead
STILL_SECONDS = 2.0  # for which a window shows a picture of a folder
PATIENCE = 5.0  # seconds to wait for a camera that gives nothing
LEAVE = 15  # seconds for the user to answer macOS, which asks whether a program may use the camera
DARK = 6  # mean grey up to which a picture is black


class Frame(NamedTuple):
    """A picture uint8 (H,W,3) BGR, its time in seconds and its number, from 0; of a camera, numbers may be left out."""

    image: np.ndarray
    time: float
    number: int


class Source(Protocol):
    """Gives one frame after the other. live: what is not read in time is lost; fps: frames a second (of a camera, a
    guess); stills: the frames have nothing to do with each other; mirror: whether it shows its user."""

    name: str
    live: bool
    stills: bool
    mirror: bool
    fps: float

    def read(self) -> np.ndarray | None:
        """The next frame as the device gives it; None at the end, or, of a camera, where it gives none."""

    def reopen(self) -> None:
        """Try again, with a camera that has stopped."""

    def close(self) -> None:
        """Let go of the device or file."""


def open_source(word: str, width: int | None = None, height: int | None = None) -> Source:
    """What --source means: a camera's number or /dev/video0, "demo", an address, a folder or pattern of pictures, or a
    video. UserError where nothing can be read."""
    if word == "demo":
        from tinyfer.live.demo import Demo
        return Demo(width or 640, height or 480)
    if word.isdecimal() or word.startswith("/dev/"):
        return Camera(word, width, height)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", word):
        return Stream(word)
    if os.path.isdir(word):
        return Stills(word, faces.pictures_in(word))
    if os.path.isfile(word):
        return Stills(word, [word]) if pathlib.Path(word).suffix.lower() in faces.PICTURES else Video(word)
    if re.search(r"%\d*d", word):
        return Video(word)
    if glob.has_magic(word):
        return Stills(word, sorted(path for path in glob.glob(word, recursive=True) if os.path.isfile(path)))
    raise UserError(f"--source {word}: there is no such file; expected a camera's number (0), a video, a folder or "
                    f"pattern of pictures, an address, or demo.")


# ------------------------------------------------------------------------------------------------------------- cameras


class _Capture:
    """What cameras, addresses and videos share: OpenCV's VideoCapture."""

    stills = False

    def __init__(self):
        self._cv2 = opencv()
        quiet()
        self._capture = self._open()

    def _open(self):
        raise NotImplementedError

    def read(self) -> np.ndarray | None:
        try:
            good, image = self._capture.read()
        except (self._cv2.error, SystemError):
            return None
        return image if good else None

    def reopen(self) -> None:
        self._capture.release()
        self._capture = self._open()

    def close(self) -> None:
        self._capture.release()

    def _count(self) -> int | None:
        """How many frames there are in all, if that is told."""
        count = self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)
        return int(count) if count > 0 else None

    def _fps(self, otherwise: float) -> float:
        fps = self._capture.get(self._cv2.CAP_PROP_FPS)
        return fps if 1 <= fps <= 240 else otherwise


class Camera(_Capture):
    """A camera by its number, or by its path on Linux."""

    live = mirror = True

    def __init__(self, word: str, width: int | None = None, height: int | None = None):
        self._word, self._size = word, (width, height)
        self.name = f"camera {word}"
        super().__init__()
        if not self._capture.isOpened() and sys.platform == "darwin":
            self._wait_for_leave()
        if not self._capture.isOpened():
            self._capture.release()
            raise UserError(f"--source {word}: {self._why_not()}")
        self.fps = self._fps(30.0)

    def _open(self):
        cv2 = self._cv2
        number = int(self._word) if self._word.isdecimal() else self._word
        capture = cv2.VideoCapture(number, _backend(cv2))
        if not capture.isOpened():
            capture.release()
            capture = cv2.VideoCapture(number)
        for what, value in zip((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), self._size, strict=True):
            if value:
                capture.set(what, value)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture

    def _wait_for_leave(self) -> None:
        """macOS asks the user when a program first wants the camera, and meanwhile OpenCV says that there is none."""
        print(f"the camera does not open yet; if macOS asks whether it may be used here, allow it ({LEAVE} seconds)",
              file=sys.stderr, flush=True)
        end = clocks.perf_counter() + LEAVE
        while not self._capture.isOpened() and clocks.perf_counter() < end:
            clocks.sleep(1)
            self.reopen()

    def _why_not(self) -> str:
        others = [number for number in cameras() if str(number) != self._word]
        if others:
            return (f"this camera does not open, but {', '.join(map(str, others))} "
                    f"{'does' if len(others) == 1 else 'do'}: --source {others[0]}.")
        advice = {"darwin": "allow the terminal to use it (System Settings, Privacy & Security, Camera)",
                  "win32": "allow desktop apps to use it (Settings, Privacy, Camera)"}.get(
            sys.platform, "see that /dev/video0 is there and yours to read (group video; WSL and containers have none)")
        return (f"no camera opens here; close what else uses it and {advice}; or take the browser's (--browser), a "
                f"video, or --source demo.")


def _backend(cv2) -> int:
    return {"win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION, "linux": cv2.CAP_V4L2}.get(sys.platform,
                                                                                                cv2.CAP_ANY)


def cameras(most: int = 5) -> list[int]:
    """Numbers of the cameras that open, among the first few."""
    cv2 = opencv()
    quiet()
    found = []
    for number in range(most):
        if sys.platform.startswith("linux") and not os.path.exists(f"/dev/video{number}"):
            continue
        capture = cv2.VideoCapture(number, _backend(cv2))
        if capture.isOpened():
            found.append(number)
        capture.release()
    return found


class Stream(_Capture):
    """A camera in the network, by its address (rtsp://, http://); or a video that lies there, which has a length, and
    of which every frame counts."""

    mirror = False

    def __init__(self, address: str):
        self._address = address
        self.name = re.sub(r"//[^/@]*@", "//", address)  # without a password
        super().__init__()
        if not self._capture.isOpened():
            raise UserError(f"--source {self.name}: nothing answers there that OpenCV can read; try the address in a "
                            f"video player first.")
        self.fps, self.length = self._fps(25.0), self._count()
        self.live = self.length is None

    def _open(self):
        return self._cv2.VideoCapture(self._address)


class Video(_Capture):
    """A video file, or numbered pictures by their pattern (frame_%03d.png), which are its frames."""

    live = mirror = False

    def __init__(self, path: str):
        self._path = path
        self.name = pathlib.Path(path).name
        super().__init__()
        self._first = self.read() if self._capture.isOpened() else None
        if self._first is None:
            self._capture.release()
            raise UserError(f"--source {path}: no frame of it can be read; expected a video (mp4, avi, webm, mov ...) "
                            f"that is whole, or numbered pictures such as frame_%03d.png.")
        self.fps, self.length = self._fps(25.0), self._count()
        self._end = False

    def _open(self):
        return self._cv2.VideoCapture(self._path)

    def read(self) -> np.ndarray | None:
        first, self._first = getattr(self, "_first", None), None
        return super().read() if first is None else first


class Stills:
    """Pictures of a folder or pattern, each by itself. What cannot be read is told and passed over."""

    live = mirror = False
    stills = True
    fps = 1 / STILL_SECONDS

    def __init__(self, word: str, paths: list[str]):
        if not paths:
            raise UserError(f"--source {word}: there are no pictures in it (png, jpg, webp, tiff, bmp, gif ...).")
        self.name, self.length, self._paths = word, len(paths), iter(paths)
        self.refused: list[str] = []

    def read(self) -> np.ndarray | None:
        for path in self._paths:
            try:
                picture = faces.open_picture(path)
            except UserError as error:
                self.refused.append(str(error))
                continue
            return np.ascontiguousarray(np.asarray(picture.convert("RGB"))[..., ::-1])
        return None

    def reopen(self) -> None:
        """There is nothing to open again."""

    def close(self) -> None:
        """There is nothing to close."""


# -------------------------------------------------------------------------------------------------------------- judging


def is_black(image: np.ndarray) -> bool:
    """Whether next to nothing can be seen on it: a covered lens, or a camera that another program holds."""
    return float(image[::8, ::8].mean()) < DARK


def is_cut(image: np.ndarray) -> bool:
    """Whether the lower part was lost on its way: rows of one colour from somewhere in the upper three fifths down to
    the end, and a picture above them. A video's own black bars are narrower, and lie above too."""
    rows = image[:, ::8].reshape(len(image), -1, image.shape[-1])
    plain = (rows == rows[:, :1]).all(axis=(1, 2))
    if not plain[-1] or plain.all():
        return False
    last = int(np.flatnonzero(~plain)[-1])
    same = bool((rows[last + 1:] == rows[-1]).all())
    return same and last < 0.6 * len(image) and not plain[:last + 1].mean() > 0.5


# ----------------------------------------------------------------------------------------------------------- the thread


class Feed:
    """Reads a source in a thread of its own.

    ended: the source has no more. dropped: frames of a camera that came and went unseen; damaged: that were not whole.
    seconds: what reading a frame takes, smoothed. A camera that gives nothing for `patience` seconds is a UserError in
    `get`."""

    def __init__(self, source: Source, clock: Callable[[], float] = clocks.perf_counter, patience: float = PATIENCE):
        self.source = source
        self.dropped = self.damaged = 0
        self.seconds = 0.0
        self.black = False
        self._clock, self._patience = clock, patience
        self._frames: collections.deque[Frame] = collections.deque()
        self._changed = threading.Condition()
        self._stop = self._done = False
        self._fault: BaseException | None = None
        self._alive = self._begun = clock()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        with self._changed:
            return self._done and not self._frames and self._fault is None  # a fault is first told by `get`

    def get(self, timeout: float) -> Frame | None:
        """The next frame (of a camera: the newest) once there is one; None if there is none within `timeout`."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._done, timeout)
            if self._frames:
                frame = self._frames.popleft()
                self._changed.notify_all()
                return frame
            if self._fault is not None:
                raise self._fault
            hung = self.source.live and not self._done and self._clock() - self._alive > self._patience + 2
        if hung:  # even asking for a frame does not come back
            raise UserError(self._silent())
        return None

    def close(self) -> None:
        """Stop reading. A camera's driver that hangs is left alone."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self._thread.join(timeout=2)
        if not self._thread.is_alive():
            self.source.close()

    def _run(self) -> None:
        try:
            self._read_all()
        except BaseException as error:  # told where frames are asked for
            self._fault = error
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def _read_all(self) -> None:
        number, tried = 0, self._begun
        while not self._stop:
            start = self._clock()
            image = self._usable(self.source.read())
            now = self._clock()
            if image is not None:
                self.seconds += 0.1 * (now - start - self.seconds) if self.seconds else now - start
                self._put(Frame(image, now - self._begun if self.source.live else number / self.source.fps, number))
                number += 1
                tried = self._alive = now
            elif not self.source.live:
                return
            elif now - self._alive > self._patience:
                raise UserError(self._silent())
            else:
                clocks.sleep(0.02)
                if now - tried > 1:  # it may have been unplugged for a moment
                    tried = now
                    self.source.reopen()

    def _usable(self, image) -> np.ndarray | None:
        """The frame as uint8 BGR; None for what a camera gives when it gives no picture."""
        try:
            image = None if image is None else as_bgr(image)
        except UserError:
            image = None
        if image is None or not self.source.live:
            return image
        self.black = is_black(image)
        if is_cut(image):
            self.damaged += 1
            return None
        return image

    def _put(self, frame: Frame) -> None:
        with self._changed:
            if self.source.live:
                self.dropped += len(self._frames)
                self._frames.clear()
            else:
                self._changed.wait_for(lambda: len(self._frames) < AHEAD or self._stop)
            self._frames.append(frame)
            self._changed.notify_all()

    def _silent(self) -> str:
        return (f"--source {self.source.name}: it has given no picture for {self._patience:g} seconds; plug it in "
                f"again, close what else uses it, and start anew.")
