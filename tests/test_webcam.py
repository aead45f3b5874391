"""python -m tinyfer.webcam: every kind of source, what is written down, keys, cameras that fail, no window, Ctrl-C."""

import csv
import functools
import http.server
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
from PIL import Image

from tinyfer import cli, data, machine, webcam
from tinyfer.errors import UserError
from tinyfer.live import Session, capture, window
from tinyfer.live import player as player_of
from tinyfer.live.capture import Feed, open_source
from tinyfer.live.demo import Demo
from tinyfer.live.player import Player
from tinyfer.live.recording import Table, Video
from tinyfer.live.session import live_reader
from tinyfer.progress import Interrupt

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = pathlib.Path(__file__).parent / "golden" / "demo.csv"
MEDIA = os.environ.get("TINYFER_MEDIA")


@pytest.fixture(autouse=True)
def one_thread():
    yield
    machine.set_threads(None)


@pytest.fixture
def a_terminal():
    """A closed terminal ends programs, those started here too, though the suite itself runs under nohup."""
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    before = hangup and signal.signal(hangup, signal.SIG_DFL)
    yield
    if hangup:
        signal.signal(hangup, before)


def program(*words):
    """Run it in this process, headless -> its exit status."""
    words = [*map(str, words), "--headless"]
    return cli.status(webcam.Options, webcam.run, words, prog=webcam.PROG)


def error_of(capsys, *words):
    """The one sentence with which it refuses."""
    assert program(*words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def frames_of(path):
    """Every frame of a video file."""
    import cv2
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames


def written_film(path, frames, fps=25):
    with Video(path, fps) as video:
        for number, frame in enumerate(frames):
            video.write(frame, number / fps)
    return path


# --- the whole path --------------------------------------------------------------------------------------------------

def test_a_drawn_film_gives_the_golden_table(capsys, tmp_path):
    """`python -m tinyfer.webcam --source demo --width 320 --height 240 --headless --max-frames 75 --csv FILE`"""
    assert program("--source", "demo", "--width", 320, "--height", 240, "--max-frames", 75, "--csv",
                   tmp_path / "demo.csv") == 0
    out = capsys.readouterr().out
    assert "not what a person feels" in out and "EU AI Act" in out and "stays on this machine" in out
    assert "for drawn faces only" in out and "75 frames, 74 of them with a face, 1 face in all" in out
    golden, given = rows_of(GOLDEN), rows_of(tmp_path / "demo.csv")
    assert list(given[0]) == ["frame", "seconds", "track", "x", "y", "w", "h", "label", *data.LABELS]
    assert [row["frame"] for row in given] == [row["frame"] for row in golden]
    for one, other in zip(given, golden, strict=True):
        assert (one["seconds"], one["track"]) == (other["seconds"], other["track"])
        assert max(abs(int(one[side]) - int(other[side])) for side in "xywh") <= 4
        assert max(abs(float(one[label]) - float(other[label])) for label in data.LABELS) < 0.15
    labels = [row["label"] for row in given]
    assert set(labels) == {"neutral", "happy"} and abs(labels.index("happy") - 60) < 12


def test_a_recorded_film_plays_and_can_be_read_again(capsys, tmp_path):
    assert program("--source", "demo", "--max-frames", 12, "--record", tmp_path / "film.mp4") == 0
    assert f"written: {tmp_path / 'film.mp4'}" in capsys.readouterr().out
    frames = frames_of(tmp_path / "film.mp4")
    assert len(frames) == 12 and frames[0].shape[0] == 480 and frames[0].shape[1] > 800
    assert program("--source", tmp_path / "film.mp4", "--csv", tmp_path / "faces.csv", "--every", 2) == 0
    assert "12 frames" in capsys.readouterr().out
    assert {row["seconds"] for row in rows_of(tmp_path / "faces.csv")} <= {f"{n / 25:.3f}" for n in range(12)}


def test_own_kernels_run_behind_the_webcam(capsys, tmp_path):
    (tmp_path / "mine.py").write_text("import numpy as np\n\ndef relu_forward(x):\n    return np.maximum(x, 0)\n")
    tables = []
    for name, words in (("stock", ()), ("mine", ("--use", tmp_path / "mine.py"))):
        assert program("--source", "demo", "--max-frames", 6, "--csv", tmp_path / name, *words) == 0
        tables.append(rows_of(tmp_path / name))
    assert "checking the kernels in" in capsys.readouterr().out
    for one, other in zip(*tables, strict=True):
        assert all(abs(float(one[label]) - float(other[label])) < 1e-3 for label in data.LABELS)
    (tmp_path / "wrong.py").write_text("def relu_forward(x):\n    return x\n")
    assert "relu_forward" in error_of(capsys, "--source", "demo", "--max-frames", 2, "--use", tmp_path / "wrong.py")


def test_a_folder_of_photos_is_read_one_by_one(capsys, tmp_path):
    for name in ("happy", "sad"):
        Image.fromarray(data.toyfaces.scene(300, 400, name, face=120)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_text("no picture")
    assert program("--source", tmp_path, "--model", "toy", "--csv", tmp_path / "t.csv") == 0
    out = capsys.readouterr().out
    assert "2 frames, 2 of them with a face, 2 faces in all" in out and "broken.jpg is not a readable picture" in out
    assert [row["label"] for row in rows_of(tmp_path / "t.csv")] == ["happy", "sad"]


def test_what_phones_save_is_read_or_told(capsys, tmp_path):
    for name in ("a.jfif", "b.JP2", "c.png"):
        Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(tmp_path / name)
    (tmp_path / "d.HEIC").write_text("a phone's")
    assert open_source(str(tmp_path)).length == 3
    assert "1 HEIC picture, which Pillow does not read: save a copy of each as jpg" in capsys.readouterr().err
    assert open_source(str(tmp_path / "a.jfif")).stills


def test_a_folder_that_may_not_be_read_is_told(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "scandir", lambda folder: refuse(folder))
    monkeypatch.setattr(pathlib.Path, "iterdir", lambda folder: refuse(folder))
    assert f"cannot read the folder {tmp_path}: Operation not permitted; " in error_of(capsys, "--source", tmp_path)


def refuse(path):
    """As macOS does with a folder that the terminal has not been allowed."""
    raise PermissionError(1, "Operation not permitted", str(path))


def test_numbered_pictures_are_a_film(tmp_path):
    for number, frame in enumerate([Demo(320, 240).read() for _ in range(3)]):
        Image.fromarray(frame).save(tmp_path / f"f_{number:03d}.png")
    source = open_source(str(tmp_path / "f_%03d.png"))
    frames = [source.read() for _ in range(4)]
    assert not source.stills and frames[3] is None and all(frame.shape == (240, 320, 3) for frame in frames[:3])


def test_refusals(capsys, tmp_path):
    assert "there is no such file; expected a camera's number" in error_of(capsys, "--source", tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "empty.avi").touch()
    for name in ("text.mp4", "empty.avi"):
        assert "no frame of it can be read" in error_of(capsys, "--source", tmp_path / name)
    (tmp_path / "folder").mkdir()
    assert "there are no pictures in the folder" in error_of(capsys, "--source", tmp_path / "folder")
    assert "there are no pictures in it" in error_of(capsys, "--source", tmp_path / "*.png")
    assert "never ends" in error_of(capsys, "--source", "demo")
    demo = ("--source", "demo", "--max-frames", 2)
    assert "expected a name that ends in .mp4" in error_of(capsys, *demo, "--record", tmp_path / "film.gif")
    assert "there is no folder" in error_of(capsys, *demo, "--record", tmp_path / "no" / "film.mp4")
    assert "there is such a file already" in error_of(capsys, *demo, "--record", tmp_path / "text.mp4")
    assert "there is such a file already" in error_of(capsys, *demo, "--csv", tmp_path / "text.mp4")
    assert "cannot be written" in error_of(capsys, *demo, "--csv", tmp_path / "no" / "t.csv")
    assert "text.mp4: there is such a" in error_of(capsys, *demo, "--csv", tmp_path / "t.csv", "--record",
                                                   tmp_path / "text.mp4")
    assert not (tmp_path / "t.csv").exists()  # or the same words with another --record would be refused
    assert "expected one of haar" in error_of(capsys, *demo, "--detector", "hog")
    assert "there is no such file" in error_of(capsys, *demo, "--model", "nope")
    assert "nothing answers there" in error_of(capsys, "--source", "rtsp://user:secret@127.0.0.1:9/x")
    assert "secret" not in error_of(capsys, "--source", "rtsp://user:secret@127.0.0.1:9/x")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and says nothing."""

    def log_message(self, *_):
        """Not here."""


def test_every_frame_of_a_film_at_an_address_counts(tmp_path):
    written_film(tmp_path / "film.avi", [np.full((64, 64, 3), 5 * i, np.uint8) for i in range(30)])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = open_source(f"http://127.0.0.1:{server.server_port}/film.avi")
    feed, numbers = Feed(source), []
    assert not source.live and source.length == 30 and source.fps == 25
    while not feed.ended:
        if (one := feed.get(1)) is not None:
            numbers.append((one.number, round(25 * one.time)))
            time.sleep(0.002)
    assert numbers == [(i, i) for i in range(30)] and feed.dropped == 0
    feed.close()
    server.shutdown()
    server.server_close()


def test_an_address_without_a_length_is_a_camera(monkeypatch):
    for count in (0.0, -1.0, -9.2e18, float("nan")):
        monkeypatch.setattr(capture.opencv(), "VideoCapture", lambda address, count=count: types.SimpleNamespace(
            isOpened=lambda: True, get=lambda what: count, release=lambda: None))
        source = open_source("rtsp://127.0.0.1/x")
        assert source.live and source.length is None and not source.mirror


@pytest.mark.skipif(os.path.exists("/dev/video0") or sys.platform != "linux", reason="there may be a camera")
def test_no_camera_is_told_with_advice(capsys):
    assert "no camera opens here" in (err := error_of(capsys)) and "--source demo" in err and "WSL" in err
    assert "no camera opens here" in error_of(capsys, "--source", "/dev/video7")


class Asking:
    """cv2.VideoCapture on a Mac whose user has not said yet whether the camera may be used."""

    opened = 0

    def __init__(self, number, backend=None):
        Asking.opened += 1
        self._free = Asking.opened > 4

    def isOpened(self):
        return self._free

    def get(self, what):
        return 30.0

    def set(self, what, value):
        pass

    def release(self):
        pass


def test_on_a_mac_the_user_has_time_to_allow_the_camera(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(capture.opencv(), "VideoCapture", Asking)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert capture.Camera("0").fps == 30.0 and 4 < Asking.opened < 8
    assert "if macOS asks" in capsys.readouterr().err


def test_a_window_that_was_closed_is_q_and_on_a_mac_a_minimised_one_is_not(monkeypatch):
    shown = window.Window.__new__(window.Window)
    shown._cv2, shown._title = types.SimpleNamespace(waitKeyEx=lambda ms: -1, WND_PROP_VISIBLE=4), "x"
    for property_, there, key in ((0.0, 1, "q"), (-1.0, 1, "q"), (1.0, 1, ""), (0.0, 0, ""), (-1.0, 0, "q")):
        shown._cv2.getWindowProperty = lambda title, what, value=property_: value
        monkeypatch.setattr(window, "_THERE", there)
        assert shown.key() == key


def test_keys_without_a_sign_do_nothing_and_modifiers_change_nothing():
    shown = window.Window.__new__(window.Window)
    shown._title = "x"
    keys = {ord("q"): "q", ord("R"): "r", 27: "q", 32: "p", ord("="): "+", 0x100000 | ord("s"): "s",
            0x10000 | ord("H"): "h", 0xFF51: "", 0xFF52: "", 0xFF53: "", 0xFF50: "", 0x10FF51: "",  # Linux: arrows
            0x250000: "", 0x700000: "", 0xF702: "", 0xE9: "", 0: "", -1: ""}  # Windows, macOS, an accent
    for code, key in keys.items():
        shown._cv2 = types.SimpleNamespace(waitKeyEx=lambda ms, c=code: c, waitKey=lambda ms, c=code: c & 0xFF,
                                           WND_PROP_VISIBLE=4, getWindowProperty=lambda title, what: 1.0)
        assert shown.key() == key, hex(code)
    shown._cv2.waitKeyEx = shown._cv2.waitKey = lambda ms: 8  # Backspace
    assert shown.key() != "q"


# --- cameras that fail -----------------------------------------------------------------------------------------------

class Camera:
    """A source that gives what it is told: frames, None, or a call; then None for ever."""

    name, live, stills, mirror, fps = "camera 0", True, False, True, 30.0

    def __init__(self, *gives, live=True):
        self.gives, self.live, self.opened, self.closed = list(gives), live, 0, False

    def read(self):
        give = self.gives.pop(0) if self.gives else None
        return give() if callable(give) else give

    def reopen(self):
        self.opened += 1

    def close(self):
        self.closed = True


def frame(value=100, shape=(120, 160, 3)):
    rng = np.random.default_rng(value)
    return rng.integers(max(value - 50, 0), value + 51, shape).astype(np.uint8)


def test_of_a_camera_only_the_newest_frame_counts():
    feed = Feed(Camera(*[frame(60 + i) for i in range(50)]), patience=60)
    while feed.source.gives:
        time.sleep(0.01)
    time.sleep(0.2)
    newest = feed.get(1)
    assert newest.number == 49 and (newest.image == frame(109)).all() and feed.dropped == 49
    assert feed.get(0.01) is None
    feed.close()
    assert feed.source.closed


def test_of_a_file_every_frame_counts_however_long_it_takes():
    feed, numbers = Feed(Camera(*[frame(60 + i) for i in range(20)], live=False)), []
    while not feed.ended:
        if (one := feed.get(1)) is not None:
            numbers.append((one.number, round(one.time * 30)))
            time.sleep(0.005)
    assert numbers == [(i, i) for i in range(20)] and feed.dropped == 0
    feed.close()


def test_a_camera_that_dies_is_told_and_tried_again():
    camera = Camera(frame(), frame())
    feed = Feed(camera, patience=1.5)
    time.sleep(0.05)
    assert feed.get(1) is not None
    with pytest.raises(UserError, match=r"camera 0: it has given no picture for 1.5 seconds; plug it in again"):
        while True:
            feed.get(0.2)
    assert camera.opened >= 1
    feed.close()


def test_a_camera_that_dies_while_nobody_asks_is_told_all_the_same():
    feed = Feed(Camera(frame()), patience=0.0)
    feed._thread.join()
    assert not feed.ended and feed.get(1) is not None and not feed.ended
    with pytest.raises(UserError, match="given no picture"):
        Player(feed, Session(live_reader("toy"))).run()


def test_a_camera_that_hangs_is_told():
    release = threading.Event()
    feed = Feed(Camera(frame(), lambda: release.wait(20) and None), patience=-1.5)  # so it may hang for half a second
    assert feed.get(1) is not None
    with pytest.raises(UserError, match="given no picture"):
        while True:
            feed.get(0.1)
    release.set()
    feed.close()


def test_a_camera_that_recovers_goes_on():
    feed = Feed(Camera(frame(), None, None, frame(101)), patience=5)
    time.sleep(0.2)
    assert feed.get(1).number == 1
    feed.close()


def test_half_frames_and_nonsense_are_passed_over():
    half = frame()
    half[50:] = (0, 130, 0)
    feed = Feed(Camera(frame(), half, np.zeros((0, 3), np.uint8), frame(shape=(120, 160)), live=True), patience=60)
    while feed.source.gives:
        time.sleep(0.01)
    time.sleep(0.05)
    last = feed.get(1)
    assert last.number == 1 and last.image.shape == (120, 160, 3) and feed.damaged == 1
    feed.close()


def test_what_is_cut_and_what_is_only_dark_or_barred():
    whole = frame()
    barred = whole.copy()
    barred[:20] = barred[-20:] = 0
    assert not capture.is_cut(whole) and not capture.is_cut(barred) and not capture.is_cut(np.zeros_like(whole))
    for start in (5, 40, 70):
        cut = whole.copy()
        cut[start:] = 128
        assert capture.is_cut(cut)
    assert capture.is_black(np.full_like(whole, 2)) and not capture.is_black(np.full_like(whole, 9))


def test_a_black_camera_is_told_once(capsys, tmp_path):
    gives = [lambda: time.sleep(0.05) or np.zeros((120, 160, 3), np.uint8)] * 40
    said = []
    player = Player(Feed(Camera(*gives), patience=9), Session(live_reader("toy")), most=36, say=said.append)
    player.run()
    assert len(said) == 1 and "the picture is black" in said[0] and player.with_faces == 0


def test_a_camera_that_dies_leaves_what_was_recorded(tmp_path):
    film = [Demo(320, 240).read() for _ in range(10)]  # a busy machine misses some while it draws its first one
    feed = Feed(Camera(*[lambda f=f: time.sleep(0.1) or f for f in film]), patience=0.4)
    player = Player(feed, Session(live_reader("toy")), video=Video(tmp_path / "v.mp4", 25),
                    table=Table(tmp_path / "t.csv", data.LABELS))
    with pytest.raises(UserError, match="given no picture"):
        player.run()
    assert frames_of(tmp_path / "v.mp4") and len(rows_of(tmp_path / "t.csv")) >= 1 and feed.source.closed


# --- recording -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".webm", ".MKV"])
def test_videos_of_every_kind_play(tmp_path, suffix):
    pictures = [np.full((101, 121, 3), 10 * i, np.uint8) for i in range(10)]
    film = frames_of(written_film(tmp_path / f"film{suffix}", pictures))
    assert len(film) == 10 and film[0].shape == (102, 122, 3)  # even sides
    assert abs(int(film[-1][:90, :90].mean()) - 90) < 8


def test_a_video_runs_at_the_speed_of_life(tmp_path):
    with Video(tmp_path / "v.avi", 10) as video:
        for at in (7.0, 7.1, 7.5, 7.51, 8.0):
            video.write(np.zeros((64, 64, 3), np.uint8), at)
        assert video.frames == 11 and video.seconds == pytest.approx(1.1)
        video.write(np.zeros((80, 70, 3), np.uint8), 1000.0)  # a long pause, another size
        video.write(np.zeros((64, 64, 3), np.uint8), 1000.1)
    assert len(frames_of(tmp_path / "v.avi")) == 11 + 50 + 1


def greys(path):
    """The grey level of each frame, in tens."""
    return [round(float(frame.mean()) / 10) for frame in frames_of(path)]


def test_a_gap_shows_what_was_on_the_screen(tmp_path):
    picture = [np.full((64, 64, 3), 10 * level, np.uint8) for level in range(9)]
    with Video(tmp_path / "v.avi", 10, hold=0.4) as video:
        for level, at in ((1, 7.0), (2, 7.1), (3, 7.5), (4, 7.51), (5, 8.0)):
            video.write(picture[level], at)
    assert greys(tmp_path / "v.avi") == [1, 2, 2, 2, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5]
    with Video(tmp_path / "w.avi", 10) as video:
        for level, at in ((1, 0.0), (2, 100.0), (3, 100.1)):
            video.write(picture[level], at)
    assert greys(tmp_path / "w.avi") == [1] * 50 + [2, 3]


def test_each_photo_of_a_folder_is_seen_for_as_long(tmp_path):
    for level in (3, 6, 9):
        Image.fromarray(np.full((64, 64, 3), 20 * level, np.uint8)).save(tmp_path / f"{level}.png")
    assert program("--source", tmp_path, "--model", "toy", "--record", tmp_path / "v.avi") == 0
    shown = [round(float(frame[10:200, 10:200].mean()) / 20) for frame in frames_of(tmp_path / "v.avi")]
    assert shown == [3] * 20 + [6] * 20 + [9] * 20  # two seconds each


class Full:
    """A file on a disk that has no room any more."""

    def write(self, text):
        raise OSError(28, "No space left on device")

    close = functools.partial(write, None, "")


def test_a_full_disk_is_told_and_everything_is_closed(tmp_path, monkeypatch):
    table = Table(tmp_path / "t.csv", data.LABELS)
    table._file.close()
    table._file = Full()
    table._writer = csv.writer(table._file)
    film = [Demo(320, 240).read()] * 6
    feed, screen = Feed(Camera(*film, live=False)), Screen()
    player = Player(feed, Session(live_reader("toy")), table=table, video=Video(tmp_path / "v.avi", 25), window=screen)
    with pytest.raises(UserError, match=r"--csv .*t.csv: cannot be written any further \(No space left on dev"):
        player.run()
    assert feed.source.closed and screen.closed and frames_of(tmp_path / "v.avi")


def test_whatever_fails_in_closing_the_rest_is_closed(tmp_path, monkeypatch):
    feed, screen = Feed(Camera(*[Demo(320, 240).read()] * 3, live=False)), Screen()
    video = Video(tmp_path / "v.avi", 25)
    video.close = lambda: refuse(video.path)
    with pytest.raises(PermissionError):
        Player(feed, Session(live_reader("toy")), video=video, window=screen).run()
    assert feed.source.closed and screen.closed


def test_an_unused_video_leaves_no_file(tmp_path):
    with Video(tmp_path / "v.mp4", 25):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
@pytest.mark.parametrize("suffix, name", [("mp4", "SIGINT"), ("avi", "SIGINT"), ("mp4", "SIGTERM"), ("mp4", "SIGHUP")])
def test_ctrl_c_and_its_like_close_the_film_so_that_it_plays(tmp_path, suffix, name, a_terminal):
    words = ["--source", "demo", "--max-frames", "100000", "--headless", "--csv", "t.csv", "--record", f"v.{suffix}"]
    run = subprocess.Popen([sys.executable, "-m", "tinyfer.webcam", *words], cwd=tmp_path, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
            (tmp_path / "t.csv").exists() and (tmp_path / "t.csv").read_text().count("\n") > 10):
        time.sleep(0.05)
    run.send_signal(getattr(signal, name))
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in err, err
    assert len(frames_of(tmp_path / f"v.{suffix}")) >= 10 and f"written: v.{suffix}" in out
    assert len(rows_of(tmp_path / "t.csv")) >= 10


def test_a_second_signal_does_not_cut_the_film_off(tmp_path, monkeypatch):
    """`timeout` and shells send theirs twice: the other one may come while the film is closed."""
    ended = []
    before = signal.signal(signal.SIGTERM, lambda *_: ended.append("at once"))
    video = Video(tmp_path / "v.mp4", 25)
    monkeypatch.setattr(video, "close", lambda: signal.raise_signal(signal.SIGTERM) or Video.close(video))
    table = types.SimpleNamespace(write=lambda number, view: signal.raise_signal(signal.SIGTERM), close=lambda: None)
    feed = Feed(Camera(*[Demo(320, 240).read()] * 9, live=False))
    player = Player(feed, Session(live_reader("toy")), video=video, table=table)
    try:
        player.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not ended and player.interrupted and player.frames == len(frames_of(video.path)) == 1


def test_signals_are_noted_and_given_back(a_terminal):
    there = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in there}
    for number in there:
        with Interrupt() as stop:
            assert not stop.asked
            for _ in range(1 if number == signal.SIGINT else 3):
                signal.raise_signal(number)
                assert stop.asked
        assert {number: signal.getsignal(number) for number in there} == before
    try:  # under nohup a closed terminal ends nothing
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with Interrupt() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert not stop.asked
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])
    with pytest.raises(KeyboardInterrupt), Interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


# --- window and keys -------------------------------------------------------------------------------------------------

class Screen:
    """A window that presses keys: {frame: keys}."""

    def __init__(self, **keys):
        self.keys, self.shown, self.closed = {int(k[1:]): list(v) for k, v in keys.items()}, [], False

    def show(self, picture):
        self.shown.append(picture)

    def key(self, milliseconds=1):
        waiting = self.keys.get(len(self.shown), [])
        return waiting.pop(0) if waiting else ""

    def close(self):
        self.closed = True


def played(tmp_path, monkeypatch, screen, frames=12, **options):
    monkeypatch.chdir(tmp_path)
    film = [Demo(320, 240).read() for _ in range(2)] * (frames // 2)
    player = Player(Feed(Camera(*film, live=False)), Session(live_reader("toy")), window=screen, **options)
    player.run()
    assert screen.closed and player.feed.source.closed
    return player


def test_q_ends_it(tmp_path, monkeypatch):
    assert played(tmp_path, monkeypatch, Screen(f3="q")).frames == 3


def test_every_key_does_what_the_help_says(tmp_path, monkeypatch):
    screen = Screen(f2="s", f3="b", f4="b", f5="h", f6="h", f7="?", f8="?", f9="m", f10="m", f11="+", f12="-", f13="-",
                    f14="x", f15="q")
    player = played(tmp_path, monkeypatch, screen, frames=20)
    shown = [picture.astype(int) for picture in screen.shown]
    assert player.frames == 15 and len(shown) == 15
    snapshot = np.asarray(Image.open(tmp_path / "tinyfer-1.png"))
    assert (snapshot[..., ::-1] == shown[1]).all() and player.files == [pathlib.Path("tinyfer-1.png")]
    assert shown[3].shape == (480, 640, 3) != shown[2].shape == shown[4].shape  # without bars, and with them
    colourful = [np.count_nonzero(np.ptp(picture[:, :640], axis=2) > 30) for picture in shown]
    assert colourful[5] > 2 * colourful[4] and colourful[6] < 0.6 * colourful[5]  # the heat map
    middles = [picture[220:260, 300:340].mean() for picture in shown]
    assert middles[7] < 0.6 * middles[6] and middles[8] == pytest.approx(middles[6], abs=10)  # the help
    straight, turned = shown[9][100:400, :640] - shown[8][100:400, :640], (
        shown[9][100:400, :640] - shown[8][100:400, 639::-1])
    assert np.abs(turned).mean() < 0.5 * np.abs(straight).mean()  # the mirror
    assert player.session.smooth == pytest.approx(0.2) and not player.mirror
    assert "written: tinyfer-1.png" in player.summary()


def test_recording_by_key_begins_and_ends(tmp_path, monkeypatch):
    player = played(tmp_path, monkeypatch, Screen(f2="r", f7="r"))
    assert 4 <= len(frames_of(tmp_path / "tinyfer-1.mp4")) <= 6
    assert player.video is None and "written: tinyfer-1.mp4" in player.summary()


def test_a_recording_that_is_not_ended_is_ended_at_the_end(tmp_path, monkeypatch):
    played(tmp_path, monkeypatch, Screen(f2="r"))
    assert len(frames_of(tmp_path / "tinyfer-1.mp4")) >= 9


def test_a_recording_by_key_that_cannot_be_written_ends_nothing(tmp_path, monkeypatch):
    def refuse(video, picture, time):
        raise UserError(f"--record {video.path}: OpenCV cannot write it; is the folder yours?")
    monkeypatch.setattr(Video, "_open", refuse)
    player = played(tmp_path, monkeypatch, Screen(f2="r"))
    assert player.frames == 12 and player.video is None and player.summary()[-1].startswith("milliseconds")
    assert player._toast == "tinyfer-1.mp4: OpenCV cannot write it"
    with pytest.raises(UserError, match="OpenCV cannot write it"):  # what --record asked for is another matter
        played(tmp_path, monkeypatch, Screen(), video=Video("v.mp4", 25))


def test_a_camera_is_waited_for_only_after_a_while(tmp_path, monkeypatch):
    """In the dark a good one gives seven frames a second; the chip would flicker."""
    warnings = []
    status_of = player_of.Status
    monkeypatch.setattr(player_of, "Status", lambda **words: warnings.append(words["warning"]) or status_of(**words))
    slow = [lambda: time.sleep(0.15) or frame() for _ in range(6)]
    feed = Feed(Camera(*slow, lambda: time.sleep(2) or frame()), patience=60)
    Player(feed, Session(live_reader("toy")), window=Screen(), most=7).run()
    assert len(warnings) > 12  # what was seen last is drawn again in between
    first = warnings.index(player_of.WAITING)
    assert first > 10 and set(warnings[:first]) == {""} and set(warnings[first:-1]) == {player_of.WAITING}


def test_pausing_stops_a_film_and_loses_nothing(tmp_path, monkeypatch):
    player = played(tmp_path, monkeypatch, Screen(f4="p", f8="p"))
    assert player.frames == 12


def test_films_are_shown_at_their_own_speed(tmp_path, monkeypatch):
    begun = time.monotonic()
    played(tmp_path, monkeypatch, Screen(), frames=24)  # of 30 a second
    assert 0.65 < time.monotonic() - begun


def test_the_key_for_the_detector_goes_round(tmp_path, monkeypatch):
    player = played(tmp_path, monkeypatch, Screen(f2="d", f3="d", f4="d"), detector="haar")
    assert "haar" in player._toast and player.session.reader.detector is not None


class FakeRun:
    def __init__(self, returncode, stderr):
        self.returncode, self.stderr = returncode, stderr


def test_why_there_is_no_window(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    for returncode, stderr, expected in (
            (1, "cv2.error: The function is not implemented. Rebuild", "built without windows"),
            (-6, "qt.qpa.xcb: could not connect to display", "the display :0 refuses")):
        monkeypatch.setattr(subprocess, "run", lambda *_, r=returncode, e=stderr, **__: FakeRun(r, e))
        with pytest.raises(UserError, match=f"no window can be opened: .*{expected}.*--headless.*--browser"):
            window.check()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: FakeRun(0, ""))
    window.check()


def test_an_opencv_that_is_missing_is_no_display_that_refuses(monkeypatch):
    def missing():
        raise UserError("OpenCV is installed but does not start (libGL.so.1: cannot open shared object file)")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(window, "opencv", missing)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: FakeRun(1, "ImportError: libGL.so.1"))
    for begin in (window.check, window.Window):
        with pytest.raises(UserError, match="OpenCV is installed but does not start"):
            begin()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
@pytest.mark.parametrize("display", [None, ":987"])
def test_without_a_display_the_program_says_what_to_do(display):
    env = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    env |= {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    env |= {} if display is None else {"DISPLAY": display}
    run = subprocess.run([sys.executable, "-m", "tinyfer.webcam", "--source", "demo"], capture_output=True, text=True,
                         env=env)
    assert run.returncode == 2 and run.stderr.count("\n") == 1, run.stderr
    assert run.stderr.startswith("error: no window can be opened") and "--headless" in run.stderr


def virtual_display():
    """A virtual screen's number and process; None where there is no Xvfb, or OpenCV has no windows."""
    if not shutil.which("Xvfb"):
        return None
    read, write = os.pipe()
    xvfb = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1000x640x24"], pass_fds=[write],
                            stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as file:
        number = file.readline().strip()
    return (f":{number}", xvfb) if number else None


@pytest.mark.window
@pytest.mark.skipif(sys.platform != "linux", reason="virtual displays are for Linux")
def test_a_window_on_a_virtual_display(tmp_path):
    display = virtual_display()
    if display is None:
        pytest.skip("there is no Xvfb: apt-get install xvfb")
    env = os.environ | {"DISPLAY": display[0], "PYTHONPATH": os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    try:
        words = ["--source", "demo", "--max-frames", "40", "--csv", str(tmp_path / "t.csv")]
        run = subprocess.run([sys.executable, "-m", "tinyfer.webcam", *words], env=env, capture_output=True, text=True,
                             timeout=200)
    finally:
        display[1].terminate()
        display[1].wait()
    if "built without windows" in run.stderr:
        pytest.skip("OpenCV has no windows: pip install opencv-python instead of opencv-python-headless")
    assert run.returncode == 0, run.stderr
    assert "? in the window shows the keys" in run.stdout and "40 frames, 39 of them with a face" in run.stdout


# --- real films ------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(not MEDIA, reason="TINYFER_MEDIA names no folder of test photos")
def test_a_real_clip_and_real_photos(capsys, tmp_path):
    clip = pathlib.Path(MEDIA) / "clip_stage.mp4"
    assert program("--source", clip, "--csv", tmp_path / "t.csv", "--record", tmp_path / "v.mp4", "--max-frames",
                   130) == 0
    assert "130 frames" in capsys.readouterr().out and len(frames_of(tmp_path / "v.mp4")) == 130
    assert 25 < len(rows_of(tmp_path / "t.csv")) < 150
    assert program("--source", MEDIA) == 0
    assert "7 frames, 5 of them with a face" in capsys.readouterr().out
