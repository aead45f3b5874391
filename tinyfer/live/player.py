"""The loop: a frame from the feed, through the session, into window, video and table; and what the keys do.

    player = Player(feed, session, window=Window())
    player.run()                                 # until the source ends, q is pressed, or Ctrl-C: then interrupted"""

from __future__ import annotations

import functools
import itertools
import pathlib
import sys
import time as clocks
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from tinyfer import detectors
from tinyfer.errors import UserError
from tinyfer.faces import DRAWN_ONLY, drawn_only
from tinyfer.gradcam import GradCam
from tinyfer.live import hud
from tinyfer.live.capture import Feed, Frame
from tinyfer.live.hud import Status
from tinyfer.live.recording import Table, Video
from tinyfer.live.session import MIN_FACE, Session, View
from tinyfer.live.window import Window
from tinyfer.progress import Interrupt

BLACK = "the picture is black: is the lens covered, or does another program hold the camera?"
WAITING = "waiting for the camera"
LATE = 1.0  # seconds without a frame after which a camera is waited for; slow ones, in the dark, give a few a second
TOAST = 2.5  # seconds that news stay
CYCLE = ("haar", "haar-alt2", "none")  # what the detector's key goes through, besides the one that was chosen
SMOOTHER = 0.2  # seconds that + and - add and take away
CALM = 0.1  # weight of the newest value in what is told of speed


class Meter:
    """Seconds by stage and frames a second, smoothed; `totals` are the plain sums."""

    def __init__(self, clock: Callable[[], float] = clocks.perf_counter):
        self.rates: dict[str, float] = {}
        self.totals: dict[str, float] = {}
        self.fps = 0.0
        self.frames = 0
        self._clock = clock
        self._last = self.begun = clock()
        self._frame: float | None = None

    def start(self) -> None:
        """What comes is not to be counted for any stage before."""
        self._last = self._clock()

    def lap(self, stage: str) -> None:
        """The time since start or the last lap belongs to this stage."""
        now = self._clock()
        self.note(stage, now - self._last)
        self.totals[stage] = self.totals.get(stage, 0.0) + now - self._last
        self._last = now

    def note(self, stage: str, seconds: float) -> None:
        """A stage's time that was measured elsewhere."""
        self.rates[stage] = self.rates.get(stage, seconds) + CALM * (seconds - self.rates.get(stage, seconds))

    def frame(self) -> None:
        """A frame is done."""
        now = self._clock()
        if self._frame is not None and now > self._frame:
            rate = 1 / (now - self._frame)
            self.fps += CALM * (rate - self.fps) if self.fps else rate
        self._frame, self.frames = now, self.frames + 1


class Player:
    """Runs a feed through a session.

    window, video, table: where answers go, if anywhere. mirror: show the picture as a mirror does. most: frames after
    which to stop. detector: the name of the session's own; smallest: of a face, for the others that a key chooses, see
    `session.live_reader`."""

    def __init__(self, feed: Feed, session: Session, *, window: Window | None = None, video: Video | None = None,
                 table: Table | None = None, mirror: bool = False, most: int | None = None,
                 detector: str = "haar", smallest: float | None = MIN_FACE, say: Callable[[str], None] = print):
        self.feed, self.session, self.window, self.video, self.table = feed, session, window, video, table
        self.mirror, self.most, self.say = mirror, most, say
        self.meter = Meter()
        self.interrupted = False
        self.frames = self.with_faces = self.people = 0
        self.files: list[pathlib.Path] = [] if video is None else [video.path]
        self._quit, self._paused, self._bars, self._help = False, False, True, False
        self._heat: GradCam | None = None
        self._last: tuple[np.ndarray, View] | None = None  # what was shown last
        self._came = clocks.perf_counter()  # when a frame came last, or could not
        self._by_key = False  # whether the video was begun by a key: then nothing depends on it
        self._epoch: float | None = None  # when the frame of time 0 was due
        self._black_since: float | None = None
        self._told_black = False
        self._toast, self._toast_end = "? shows the keys", clocks.perf_counter() + TOAST
        self._canvas: np.ndarray | None = None
        chosen = session.reader.detector
        makers = {name: functools.partial(detectors.make, name, None, smallest) for name in CYCLE}
        self._detectors = itertools.cycle((makers | {detector: lambda: chosen}).items())
        while next(self._detectors)[0] != detector:  # the key goes on from there
            pass
        self._seen: set[int] = set()

    def run(self) -> None:
        """Until the source ends, enough frames are done, a key or Ctrl-C says so. What was written is closed in any
        case, so that it can be played and read."""
        total = min(filter(None, (self.most, getattr(self.feed.source, "length", None))), default=None)
        quiet = self.window is not None or not sys.stderr.isatty()
        with Interrupt() as stop:
            try:
                with tqdm(total=total, unit=" frames", delay=2, leave=False, disable=quiet) as bar:
                    while not stop.asked and not self._finished():
                        if self._advance():
                            bar.update()
                        elif self.window is None and self.feed.black:
                            self._note_black()
                self.interrupted = stop.asked
            finally:
                self._close()  # before signals end the process again: they come twice

    def _finished(self) -> bool:
        return bool(self.most and self.frames >= self.most) or (self.feed.ended and not self._paused) or self._quit

    def _advance(self) -> bool:
        """The next frame, if there is one; the keys in any case."""
        frame = None if self._paused else self.feed.get(0.05 if self.window else 0.5)
        if frame is not None:
            self._step(frame)
        elif self.window is not None and self._last is not None:
            late = clocks.perf_counter() - self._came > LATE
            waiting = late and not self._paused and self.feed.source.live
            self.window.show(self._draw(*self._last, WAITING if waiting else ""))
        if frame is not None or self._paused:
            self._came = clocks.perf_counter()
        if self.window is not None:
            self._keys(frame)
        return frame is not None

    def _step(self, frame: Frame) -> None:
        meter = self.meter
        meter.start()
        view = self.session.step(frame.image, frame.time, meter.lap)
        meter.note("capture", self.feed.seconds)
        self.frames += 1
        self.with_faces += bool(view.faces)
        self._seen |= {face.track for face in view.faces}
        if self.session.stills:  # each picture counts anew
            self.people += len(view.faces)
        if self.table is not None:
            self.table.write(frame.number, view)
        warning = self._note_black()
        if self.window is not None or self.video is not None:
            meter.start()
            self._canvas = self._draw(frame.image, view, warning)
            self._write(self._canvas, frame.time)
            if self.window is not None:
                self.window.show(self._canvas)
            meter.lap("draw")
        self._last = frame.image, view
        meter.frame()

    def _write(self, picture: np.ndarray, time: float) -> None:
        """Into the video, if there is one. One that a key began and that cannot be written is dropped, and told."""
        try:
            if self.video is not None:
                self.video.write(picture, time)
        except UserError as error:
            if not self._by_key:
                raise
            self.video = None
            self._tell_fault(error)

    def _note_black(self) -> str:
        """The warning that is due where a camera has been black for a while; without a window it is said once."""
        if not self.feed.black:
            self._black_since = None
            return ""
        now = clocks.perf_counter()
        self._black_since = self._black_since or now
        if now - self._black_since < 1.5:
            return ""
        if self.window is None and not self._told_black:
            self._told_black = True
            self.say(BLACK)
        return BLACK

    # -------------------------------------------------------------------------------------------------------- showing

    def _draw(self, image: np.ndarray, view: View, warning: str) -> np.ndarray:
        reader = self.session.reader
        order = ("capture", "detect", "network", "draw")
        status = Status(
            model=reader.model.title, source=self.feed.source.name, note=DRAWN_ONLY if drawn_only(reader.model) else "",
            fps=self.meter.fps, rates={stage: self.meter.rates.get(stage, 0.0) for stage in order}, bars=self._bars,
            mirror=self.mirror, help=self._help, paused=self._paused, warning=warning,
            toast=self._toast if clocks.perf_counter() < self._toast_end and self.window is not None else "",
            recording=None if self.video is None or self.window is None else self.video.seconds,
            heat=None if self._heat is None else self._heat_maps(view))
        return hud.draw(image, view, status)

    def _heat_maps(self, view: View) -> dict[int, np.ndarray]:
        if not view.faces or self._heat is None:
            return {}
        preprocess, labels = self.session.reader.model.preprocess, self.session.labels
        crops = np.stack([face.crop for face in view.faces])
        maps = self._heat(preprocess.normalise(crops), [labels.index(face.label) for face in view.faces])
        return {face.track: heat for face, heat in zip(view.faces, maps, strict=True)}

    def _tell(self, sentence: str) -> None:
        self._toast, self._toast_end = sentence, clocks.perf_counter() + TOAST

    def _tell_fault(self, error: UserError) -> None:
        """What went wrong with what a key asked for, as short as there is room for it."""
        self._tell(str(error).removeprefix("--record ").partition("; ")[0])

    # ----------------------------------------------------------------------------------------------------------- keys

    def _keys(self, frame: Frame | None) -> None:
        """Handle what is pressed until the next frame is due: files are shown at their own speed."""
        assert self.window is not None
        due = clocks.perf_counter() + (0.03 if frame is None else 0.0)
        if frame is not None and not self.feed.source.live:
            self._epoch = self._epoch if self._epoch is not None else due - frame.time
            self._epoch = max(self._epoch, due - frame.time - 1 / self.feed.source.fps)  # late: do not hurry after it
            due = self._epoch + frame.time + 1 / self.feed.source.fps
        while True:
            left = due - clocks.perf_counter()
            key = self.window.key(int(1000 * min(max(left, 0.001), 0.05)))
            if key:
                self.press(key)
            if self._quit or self._paused or left <= 0.002:
                return

    def press(self, key: str) -> None:
        """What a key does (hud.KEYS)."""
        act = {"q": self._stop, "p": self._pause, "s": self._snapshot, "r": self._record, "m": self._mirror,
               "b": self._toggle_bars, "h": self._toggle_heat, "d": self._next_detector, "?": self._toggle_help,
               "+": lambda: self._smooth(SMOOTHER), "-": lambda: self._smooth(-SMOOTHER)}.get(key)
        try:
            if act is not None:
                act()
        except UserError as error:
            self._tell_fault(error)

    def _stop(self) -> None:
        self._quit = True

    def _pause(self) -> None:
        self._paused, self._epoch = not self._paused, None

    def _snapshot(self) -> None:
        if self._canvas is None:
            return
        path = _free("tinyfer-{}.png")
        try:
            path.write_bytes(detectors.opencv().imencode(".png", self._canvas)[1].tobytes())
        except OSError as error:
            raise UserError(f"snapshot {path}: {error.strerror}") from None
        self.files.append(path)
        self._tell(f"snapshot: {path}")

    def _record(self) -> None:
        if self.video is None:
            self.video, self._by_key = video_of(self.feed.source.fps, _free("tinyfer-{}.mp4")), True
            self.files.append(self.video.path)
            self._tell(f"recording into {self.video.path}; r ends it")
        else:
            path, video, self.video = self.video.path, self.video, None
            video.close()
            self._tell(f"recorded: {path}")

    def _mirror(self) -> None:
        self.mirror = not self.mirror

    def _toggle_bars(self) -> None:
        self._bars = not self._bars

    def _toggle_help(self) -> None:
        self._help = not self._help

    def _toggle_heat(self) -> None:
        self._heat = GradCam(self.session.reader.model) if self._heat is None else None
        self._tell("heat map: what spoke for the label" if self._heat else "heat map off")

    def _next_detector(self) -> None:
        name, make = next(self._detectors)
        self.session.reader.detector = make()
        self.session.reset()
        self._tell(f"detector: {name}" + " (the whole picture is the face)" * (name == "none"))

    def _smooth(self, more: float) -> None:
        self.session.smooth = min(max(round(self.session.smooth + more, 3), 0.0), 3.0)
        self._tell(f"smoothing: {self.session.smooth:.1f} s")

    # ------------------------------------------------------------------------------------------------------------ end

    def _close(self) -> None:
        """Close everything; the first thing that goes wrong is told after the rest is closed."""
        faults = []
        for part in (self.video, self.table, self.feed, self.window):
            try:
                if part is not None:
                    part.close()
            except (UserError, OSError) as error:
                faults.append(error)
        if faults and sys.exc_info()[0] is None:
            raise faults[0]

    def summary(self) -> list[str]:
        """What was done, in lines: frames, faces, speed, files."""
        seconds = max(clocks.perf_counter() - self.meter.begun, 1e-9)
        people = self.people if self.session.stills else len(self._seen)
        lines = [f"{self.frames:,} frames, {self.with_faces:,} of them with a face, {people} face{'s' * (people != 1)} "
                 f"in all; {self.frames / seconds:.1f} frames/s"]
        if self.frames:
            each = ", ".join(f"{stage} {1e3 * spent / self.frames:.1f}" for stage, spent in self.meter.totals.items())
            lines.append(f"milliseconds a frame: {each}; capture {1e3 * self.feed.seconds:.1f}, in a thread of its own")
        if self.feed.dropped or self.feed.damaged:
            lines.append(f"passed over: {self.feed.dropped:,} frames that came too fast, {self.feed.damaged:,} that "
                         f"were not whole")
        lines += getattr(self.feed.source, "refused", [])
        if self.table is not None:
            lines.append(f"{self.table.rows:,} rows in {self.table.path}")
        lines += [f"written: {path}" for path in self.files if path.exists()]
        return lines


def video_of(fps: float, path) -> Video:
    """The recording of a source that has `fps`, whose last frame is seen as long as the others."""
    return Video(path, fps if fps >= 5 else 10.0, hold=1 / fps)


def _free(pattern: str) -> pathlib.Path:
    """The first of pattern with 1, 2, 3 ... that is no file yet, in the folder where the program runs."""
    return next(path for path in (pathlib.Path(pattern.format(n)) for n in itertools.count(1)) if not path.exists())
