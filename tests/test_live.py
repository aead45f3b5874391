"""Faces in moving pictures: followed, smoothed, read as evaluation reads them; and drawn legibly."""

import itertools
import os
import pathlib
import sys

import numpy as np
import pytest

from tinyfer import data, detectors, evaluation, faces, machine, models, ops, overlay
from tinyfer.data import Split
from tinyfer.detectors import Box
from tinyfer.errors import UserError
from tinyfer.faces import FaceReader
from tinyfer.gradcam import GradCam
from tinyfer.live import LiveFace, Session, View, capture, hud, speed
from tinyfer.live.demo import FPS, ORDER, TURN, Demo, expression, film
from tinyfer.live.hud import Status
from tinyfer.live.session import as_bgr, live_reader
from tinyfer.live.tracking import HOLD, Answer, Tracker

MEDIA = os.environ.get("TINYFER_MEDIA")


@pytest.fixture(scope="module")
def model():
    """An untrained micro whose answers differ from face to face."""
    model = models.micro(np.random.default_rng(1))
    model.params.value[:] += 0.05 * np.random.default_rng(2).standard_normal(model.params.value.size, np.float32)
    return model


@pytest.fixture(autouse=True)
def one_thread():
    """As the program runs: several wait for each other while OpenCV's own are at work."""
    machine.set_threads(1)
    yield
    machine.set_threads(None)


@pytest.fixture(scope="module")
def toy():
    return live_reader("toy")


class Script:
    """A detector that answers the boxes it was told, call after call; then none."""

    def __init__(self, *frames):
        self.frames, self.calls = list(frames), 0

    def __call__(self, grey):
        assert grey.ndim == 2 and grey.dtype == np.uint8
        self.calls += 1
        return list(self.frames.pop(0)) if self.frames else []


def scripted(model, *frames, **options):
    return Session(FaceReader(model, Script(*frames)), **options)


def noise(height=200, width=300, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pasted(*places, height=360, width=640):
    """A wall with drawn faces in front: (expression, x, y of the middle), 150 pixels wide pieces cut from a scene."""
    frame = np.full((height, width), 160, np.uint8)
    for name, x, y in places:
        piece = PIECES.setdefault(name, data.toyfaces.scene(190, 190, name, face=100, background="plain"))
        left, top = round(x) - 95, round(y) - 95
        box = Box(left, top, 190, 190).clipped(height, width)
        frame[box.y:box.y + box.h, box.x:box.x + box.w] = piece[box.y - top:box.y - top + box.h,
                                                                box.x - left:box.x - left + box.w]
    return np.repeat(frame[..., None], 3, axis=2)


PIECES: dict[str, np.ndarray] = {}


# --- the same answers as in a photo, and as in evaluation ------------------------------------------------------------

def test_the_network_sees_what_evaluation_shows_it(model):
    picture = data.toyfaces.draw(48, "happy")
    session = Session(FaceReader(model, "none"), stills=True)
    (face,) = session.step(np.repeat(picture[..., None], 3, axis=2), 0.0).faces
    split = Split(picture[None], np.zeros(1, np.int64), "one")
    assert (face.crop == model.preprocess.prepare(picture[None])[0]).all()
    (expected,) = ops.softmax(evaluation.logits(model, split, batch=32))
    assert np.allclose(list(face.probabilities.values()), expected, atol=1e-6)


def test_a_frame_in_colour_is_read_as_the_photo(model):
    frame, boxes = noise(), [Box(20, 30, 80, 80), Box(190, 90, 100, 100)]
    live = scripted(model, boxes, boxes).step(frame, 0.0).faces
    assert live == []  # once is not enough
    session = scripted(model, boxes, boxes)
    session.step(frame, 0.0)
    live = session.step(frame, 0.04).faces
    photo = FaceReader(model, lambda grey: boxes).read(frame[..., ::-1])
    for one, other in zip(live, photo, strict=True):
        assert one.box == other.box and (one.crop == other.crop).all()
        assert np.allclose(list(one.probabilities.values()), list(other.probabilities.values()), atol=1e-5)


def test_stills_are_read_as_predict_reads_them(model):
    session = Session(FaceReader(model, "haar"), stills=True)
    for size in (48, 96, 400):
        picture = data.toyfaces.draw(size, "surprise")
        live = session.step(np.repeat(picture[..., None], 3, axis=2), 0.0).faces
        assert [face.box for face in live] == [face.box for face in FaceReader(model, "haar").read(picture)]


def test_temperature_softens(model):
    frame, boxes = noise(), [Box(20, 30, 80, 80)]
    chances = []
    for temperature in (1.0, 100.0):
        model.meta = {"temperature": temperature}
        session = scripted(model, boxes, boxes, stills=True)
        chances.append(max(session.step(frame, 0.0).faces[0].probabilities.values()))
        assert FaceReader(model, lambda grey: boxes).read(frame)[0].probability < (1 if temperature == 1 else 0.2)
    model.meta = {}
    assert chances[1] < 0.2 < chances[0]


@pytest.mark.parametrize("shape", [(200, 300), (200, 300, 1), (200, 300, 3), (200, 300, 4), (1, 1, 3), (3, 400, 3)])
def test_any_frame(model, shape):
    frame = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    session = Session(FaceReader(model, "none"))
    assert [session.step(frame, t / 10).size for t in range(3)] == [shape[:2]] * 3
    assert len(session.step(frame, 0.4).faces) == (min(shape[:2]) >= detectors.SMALLEST)


@pytest.mark.parametrize("frame", [None, np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 3)), np.zeros(5, np.uint8),
                                   np.zeros((5, 5, 2), np.uint8)])
def test_what_is_no_frame(frame):
    with pytest.raises(UserError, match="a frame is uint8"):
        as_bgr(frame)


# --- who is who ------------------------------------------------------------------------------------------------------

def test_a_drawn_face_is_followed_and_read_rightly(toy):
    session, source, right, seen = Session(toy), Demo(320, 240), 0, 0
    for number in range(int(3 * TURN * FPS)):
        view = session.step(source.read(), number / FPS)
        assert len(view.faces) == (number > 0)
        settled = (number / FPS) % TURN > 1
        if view.faces and settled and len(expression(number / FPS)) == 1:
            seen, right = seen + 1, right + (view.faces[0].label == ORDER[int(number / FPS / TURN)])
    assert seen > 40 and right > 0.95 * seen
    assert view.faces[0].track == 1


def test_a_face_enters_and_leaves(toy):
    session, counts, tracks = Session(toy), [], set()
    for number in range(75):
        view = session.step(pasted(("happy", 760 - 15 * number, 180)), number / 25)
        counts.append(len(view.faces))
        tracks |= {face.track for face in view.faces}
        for face in view.faces:
            assert face.box == face.box.clipped(360, 640) and min(face.box.w, face.box.h) >= detectors.SMALLEST
    assert counts[0] == counts[-1] == 0 and max(counts) == 1 and sum(counts) > 25
    assert len(tracks) == 1


def test_two_faces_cross_and_stay_who_they_are(toy):
    session, where, label = Session(toy), {}, {}
    for number in range(60):
        places = (("surprise", 540 - 8 * number, 195), ("happy", 100 + 8 * number, 165))
        for face in session.step(pasted(*places), number / 25).faces:
            where.setdefault(face.track, []).append(face.box.x)
            label.setdefault(face.track, []).append(face.label)
    left = min(where, key=lambda track: where[track][0])
    assert len(where) <= 3  # at worst the one that was hidden comes out as a new one
    assert where[left][-1] > where[left][0] + 100 and label[left][-1] == label[left][10] == "happy"


def test_tracks_by_overlap_best_first():
    tracker = Tracker(confirm=1)
    a, b = Box(0, 0, 100, 100), Box(60, 0, 100, 100)
    assert [t.number for t in tracker.update([a, b], 0.0)] == [1, 2]
    moved = tracker.update([Box(55, 0, 100, 100), Box(4, 0, 100, 100)], 0.04)
    assert [t.number for t in moved] == [1, 2] and moved[0].box.x < 30 < moved[1].box.x
    assert [t.number for t in tracker.update([Box(300, 0, 100, 100)], 0.08)] == [1, 2, 3]
    assert [t.number for t in tracker.update([], 0.7)] == []


def test_single_hits_do_not_count_and_gaps_are_bridged():
    tracker, box = Tracker(), Box(50, 50, 80, 80)
    assert tracker.update([box], 0.0) == [] == tracker.update([], 0.04)
    assert tracker.update([box], 0.08) == []
    assert len(tracker.update([box], 0.12)) == 1
    assert not tracker.update([], 0.5)[0].seen and tracker.update([], 0.63) == []


@pytest.mark.parametrize("fps", [5, 12, 30, 60])
def test_a_moving_box_is_not_left_behind(fps):
    tracker = Tracker(confirm=1)
    for number in range(2 * fps):
        x = 200 * number / fps  # pixels
        (track,) = tracker.update([Box(round(x), 40, 100, 100)], number / fps)
    assert abs(track.box.x - x) < 6 and track.number == 1


def test_detector_looks_every_so_often_and_faces_move_on(model):
    boxes = [[Box(20 + 10 * i, 30, 80, 80)] for i in range(0, 20, 3)]
    session = scripted(model, *boxes, every=3)
    xs = [[face.box.x for face in session.step(noise(), number / 25).faces] for number in range(18)]
    assert session.reader.detector.calls == 6
    assert xs[:3] == [[]] * 3 and all(len(x) == 1 for x in xs[3:])
    assert sum(b[0] > a[0] for a, b in itertools.pairwise(xs[9:])) >= 7  # it goes on between two looks


@pytest.mark.parametrize("every", [15, 40])
def test_faces_are_kept_until_the_detector_looks_again_however_seldom(model, every):
    box = [Box(100, 60, 80, 80)]
    session = scripted(model, *[box] * 3, every=every)  # then it is gone
    seen = [len(session.step(noise(), number / 25).faces) for number in range(5 * every)]
    assert session.reader.detector.calls == 5
    assert seen[:every] == [0] * every and seen[every:3 * every] == [1] * (2 * every)
    assert seen[3 * every:] == [0] * (2 * every)  # at the look that finds none, longer than the patience after the last


def test_a_face_that_nobody_looks_for_comes_to_rest():
    tracker = Tracker(confirm=1)
    for number in range(26):
        (track,) = tracker.update([Box(200 * number // 25, 40, 100, 100)], number / 25)
    places = [tracker.update(None, 1 + number / 25)[0].box.x for number in range(1, 76)]
    assert places[11] > 280 and places[-1] < 400 and places[-1] - places[-25] <= 2 and track.seen


def test_a_cut_and_a_new_size_end_every_track(model):
    box = [Box(100, 60, 80, 80)]
    for second in (255 - noise() // 4, noise(220, 300)):
        session = scripted(model, *[box] * 6)
        first = noise() // 4
        assert [len(session.step(first, t / 25).faces) for t in range(3)] == [0, 1, 1]
        after = [session.step(second, 0.12 + t / 25).faces for t in range(2)]
        assert after[0] == [] and after[1][0].track == 2


def test_faces_at_the_border_and_tiny_ones(model):
    boxes = [Box(-30, -20, 80, 80), Box(270, 150, 90, 90), Box(100, 100, 8, 8), Box(500, 500, 50, 50)]
    session = scripted(model, boxes, boxes)
    session.step(noise(), 0.0)
    found = session.step(noise(), 0.04).faces
    assert [face.box for face in found] == [Box(0, 0, 50, 60), Box(270, 150, 30, 50)]
    assert all(face.crop.shape == (24, 24) for face in found)


def test_all_faces_of_a_frame_go_as_one_batch(model, monkeypatch):
    boxes = [Box(100 * i, 20 + 30 * i, 80, 80) for i in range(3)]
    session, batches = scripted(model, boxes, boxes), []
    logits = session.reader.logits
    monkeypatch.setattr(session.reader, "logits", lambda crops: batches.append(len(crops)) or logits(crops))
    session.step(noise(), 0.0)
    assert len(session.step(noise(), 0.04).faces) == 3 and batches == [3]


# --- answers over time -----------------------------------------------------------------------------------------------

def test_smoothing_does_not_depend_on_the_frame_rate():
    start, goal = np.zeros(7), np.arange(7.0)
    ends = []
    for fps in (7, 30, 100):
        answer = Answer(start, 0.0)
        for number in range(1, fps + 1):
            answer.update(goal, number / fps, smooth=0.4)
        ends.append(answer.probabilities)
    assert np.allclose(ends, ends[0], atol=1e-9) and not np.allclose(ends[0], ops.softmax(goal[None])[0], atol=1e-3)


def test_without_smoothing_each_frame_counts_alone():
    answer = Answer(np.zeros(7), 0.0)
    answer.update(np.arange(7.0), 0.01, smooth=0)
    assert np.allclose(answer.probabilities, ops.softmax(np.arange(7.0)[None])[0])


def test_the_label_waits_until_the_other_one_has_led_for_a_while():
    happy, sad = 3.0 * np.eye(7)[3], 3.0 * np.eye(7)[4]
    answer = Answer(happy, 0.0)
    for number in range(1, 51):  # flicker
        answer.update(sad if number % 2 else happy, number / 25, smooth=0)
        assert answer.label == 3
    changed = next(t for t in np.arange(2, 4, 0.04) if answer.update(sad, t, smooth=0) or answer.label == 4)
    assert HOLD <= changed - 2 <= HOLD + 0.09
    nearly = np.log(np.array([0.3, 0.36, 0.1, 0.06, 0.06, 0.06, 0.06]))
    answer = Answer(nearly[[1, 0, 2, 3, 4, 5, 6]], 0.0)
    for number in range(100):
        answer.update(nearly, number / 25, smooth=0)
    assert answer.label == 0  # the other one leads, but by too little


def test_uncertain(model):
    boxes = [Box(20, 30, 80, 80)]
    for threshold, expected in ((0.0, False), (1.0, True)):
        session = scripted(model, boxes, uncertain=threshold, stills=True)
        (face,) = session.step(noise(), 0.0).faces
        assert face.uncertain == expected and (face.shown == "uncertain") == expected
        assert face.label in data.LABELS


def test_the_same_frames_give_the_same_answers(toy):
    def run():
        session = Session(toy)
        return [session.step(frame, number / 25).faces for number, frame in enumerate(frames)]
    frames = [np.repeat(f[..., None], 3, axis=2) for f in film(np.arange(8) / 25, 240, 320)]
    for one, other in zip(run(), run(), strict=True):
        assert [(f.track, f.box, f.probabilities) for f in one] == [(f.track, f.box, f.probabilities) for f in other]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no getrusage")
def test_memory_stays_flat(toy):
    import resource

    source, session = Demo(320, 240), Session(toy)
    frames = [source.read() for _ in range(40)]
    for number in range(300):
        view = session.step(frames[number % 40], number / 25)
        hud.draw(frames[number % 40], view, Status(fps=number / 9))
        if number == 120:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (12 << 10) * (1024 if sys.platform == "darwin" else 1)  # KiB; bytes on macOS


# --- detectors -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["haar", "haar-alt2"])
@pytest.mark.parametrize("size", [(240, 320), (720, 1280)])
def test_quick_detectors_find_drawn_faces_where_they_are(name, size):
    detector = detectors.make(name, share=0.12)
    for frame in film(np.array([3.0, 8.0]), *size):
        (box,) = detectors.find(detector, frame)
        assert 0.35 * size[0] < box.h < 0.65 * size[0] and abs(box.x + box.w / 2 - size[1] / 2) < 0.25 * size[1]
    assert detectors.find(detector, np.full(size, 128, np.uint8)) == []


def test_other_detectors_say_what_they_need(tmp_path, monkeypatch):
    for name in ("dlib", "mtcnn"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UserError, match=f"needs the package {name}.*pip install"):
            detectors.make(name)
    with pytest.raises(UserError, match="name its model too"):
        detectors.make("yunet")
    with pytest.raises(UserError, match="there is no such file"):
        detectors.make("yunet", str(tmp_path / "none.onnx"))
    (tmp_path / "wrong.onnx").write_text("no network")
    with pytest.raises(UserError, match="cannot use it as YuNet's model"):
        detectors.make("yunet", str(tmp_path / "wrong.onnx"))
    with pytest.raises(UserError, match="only yunet reads a file"):
        detectors.make("haar", "x.onnx")


class FakeMtcnn:
    def detect_faces(self, picture):
        assert picture.ndim == 3 and picture[0, 0].tolist() == [255, 0, 0]  # RGB
        return [{"box": [10, 20, 30, 40], "confidence": 0.95}, {"box": [0, 0, 50, 50], "confidence": 0.5},
                {"box": [60, 20, 30, 40], "confidence": 0.99}]


def test_mtcnn_is_given_rgb_and_its_boxes_are_ordered(monkeypatch):
    module = type(sys)("mtcnn")
    module.MTCNN = FakeMtcnn
    monkeypatch.setitem(sys.modules, "mtcnn", module)
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[..., 2] = 255  # red, as OpenCV gives it
    detector = detectors.make("mtcnn")
    assert detector(np.ascontiguousarray(frame[..., ::-1])) == [Box(60, 20, 30, 40), Box(10, 20, 30, 40)]
    assert detectors.find(detector, frame[..., ::-1]) == [Box(10, 20, 30, 40), Box(60, 20, 30, 40)]


def test_dlib_finds_a_drawn_face():
    pytest.importorskip("dlib")
    detector = detectors.make("dlib", share=0.2)
    (box,) = detectors.find(detector, film(np.array([3.0]), 240, 320)[0])
    assert 70 < box.w < 160


# --- Grad-CAM --------------------------------------------------------------------------------------------------------

def test_grad_cam_is_the_weighted_sum_of_the_maps():
    """Behind the last maps of lite are a pooling by the maximum and an average: the mean gradient of a map is the
    classifier's weight over its size, so the heat is known without differentiating anything."""
    model = models.lite(np.random.default_rng(0))
    model.params.value[:] += 0.05 * np.random.default_rng(2).standard_normal(model.params.value.size, np.float32)
    x = model.preprocess(np.stack([data.toyfaces.draw(48, name) for name in ("happy", "sad")]))
    explain = GradCam(model)
    before = model.params.grad.copy()
    heat = explain(x, [3, 4])
    assert heat.shape == (2, 6, 6) and heat.dtype == np.float32 and (model.params.grad == before).all()
    maps = x
    for layer in explain._maps:
        maps = layer.forward(maps)
    for one, a, k in zip(heat, maps, (3, 4), strict=True):
        expected = np.maximum((a * model.layers["head"].layers["classes"].weight.value[:, k]).sum(-1), 0)
        assert np.allclose(one, expected / max(expected.max(), 1e-12), atol=1e-4)


@pytest.mark.parametrize("name", models.NAMES)
def test_grad_cam_for_every_model(name):
    model = models.build(name, np.random.default_rng(0), **({"width": 0.125} if name in ("vgg", "lite") else {}))
    model.params.value[:] += 0.02 * np.random.default_rng(2).standard_normal(model.params.value.size, np.float32)
    heat = GradCam(model)(model.preprocess(data.toyfaces.draw(48, "happy")[None]), [3])
    assert heat.ndim == 3 and heat.min() >= 0 and np.isfinite(heat).all() and heat.max() in (0, pytest.approx(1))


# --- what is drawn ---------------------------------------------------------------------------------------------------

def live_face(box, label="happy", chance=0.9, track=1, seen=True, uncertain=False):
    rest = (1 - chance) / 6
    return LiveFace(Box(*box), {name: chance if name == label else rest for name in data.LABELS}, label,
                    np.full((48, 48), 77, np.uint8), track=track, uncertain=uncertain, seen=seen,
                    region=faces.square(Box(*box)))


def pixels_of(picture, colour):
    bgr = np.array(overlay.rgb(colour)[::-1])
    return int((np.abs(picture.astype(int) - bgr).max(-1) < 6).sum())


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (2160, 3840), (120, 160), (1280, 720), (7, 900), (900, 7),
                                  (1, 1)])
@pytest.mark.parametrize("count", [0, 1, 3, 12])
def test_any_frame_can_be_drawn_on(size, count):
    rng = np.random.default_rng(count)
    boxes = [(int(rng.integers(-20, size[1])), int(rng.integers(-20, size[0])), int(1 + rng.integers(size[1])),
              int(1 + rng.integers(size[0]))) for _ in range(count)]
    view = View(0.0, size, [live_face(box, track=i, uncertain=i % 2 == 0) for i, box in enumerate(boxes)])
    heat = {i: rng.random((6, 6), np.float32) for i in range(count)}
    for status in (Status(), Status(bars=False, mirror=True, help=True, paused=True, recording=70.0, toast="t" * 200,
                                    warning="w" * 200, note="for drawn faces only", fps=30.0, heat=heat)):
        picture = hud.draw(np.full((*size, 3), 90, np.uint8), view, status)
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[0] <= hud.HIGH


def test_the_frame_is_left_as_it_was_and_faces_stay_uncovered():
    frame = np.full((480, 640, 3), 64, np.uint8)
    boxes = [(60, 100, 120, 120), (260, 200, 120, 120), (460, 100, 120, 120)]
    picture = hud.draw(frame, View(0.0, (480, 640), [live_face(box, track=i) for i, box in enumerate(boxes)]), Status())
    assert (frame == 64).all()
    for x, y, w, h in boxes:
        assert (picture[y + 6:y + h - 6, x + 6:x + w - 6] == 64).all()


def test_each_expression_has_its_colour_on_box_and_bar():
    for label in data.LABELS:
        view = View(0.0, (480, 640), [live_face((250, 150, 140, 140), label)])
        picture = hud.draw(np.full((480, 640, 3), 64, np.uint8), view, Status())
        strip = picture[:, 640:]
        assert pixels_of(picture[:, :640], overlay.colour(label)) > 1500
        assert pixels_of(strip, overlay.colour(label)) > 500


def test_mirrored_boxes_lie_where_the_mirrored_faces_are():
    frame = np.full((480, 640, 3), 64, np.uint8)
    frame[150:290, 50:190] = 200
    view = View(0.0, (480, 640), [live_face((50, 150, 140, 140))])
    plain, mirrored = hud.draw(frame, view, Status()), hud.draw(frame, view, Status(mirror=True))
    assert (plain[160:280, 60:180] == 200).all() and (mirrored[160:280, 640 - 180:640 - 60] == 200).all()
    assert pixels_of(mirrored[:, 320:640], overlay.colour("happy")) > 1500
    assert pixels_of(mirrored[:, :320], overlay.colour("happy")) == 0
    assert (plain[:, 640:] == mirrored[:, 640:]).all()  # writing is not mirrored


def test_what_was_not_seen_gets_no_label_and_what_is_uncertain_no_colour():
    frame = np.full((480, 640, 3), 64, np.uint8)
    seen, kept, unsure = (hud.draw(frame, View(0.0, (480, 640), [live_face((250, 150, 140, 140), **more)]), Status())
                          for more in ({}, {"seen": False}, {"uncertain": True}))
    assert pixels_of(seen[:, :640], overlay.colour("happy")) > 2 * pixels_of(kept[:, :640], overlay.colour("happy")) > 0
    assert pixels_of(unsure[:, :640], overlay.colour("happy")) == 0


def test_heat_is_laid_over_the_face_alone():
    frame = np.full((480, 640, 3), 100, np.uint8)
    face = live_face((250, 150, 140, 140))
    heat = np.zeros((6, 6), np.float32)
    heat[2, 1] = 1
    for mirror in (False, True):
        status = Status(bars=False, mirror=mirror)
        cold = hud.draw(frame, View(0.0, (480, 640), [face]), status)
        warm = hud.draw(frame, View(0.0, (480, 640), [face]), Status(bars=False, mirror=mirror, heat={1: heat}))
        changed = (cold != warm).any(-1)
        x, y, w, h = face.region.mirrored(640) if mirror else face.region
        assert changed[y:y + h, x:x + w].any() and changed.sum() == changed[y:y + h, x:x + w].sum()
        rows, columns = np.nonzero(changed & (warm.max(-1) > 180))
        spot = (columns.mean() - x) / w
        assert abs(spot - (0.75 if mirror else 0.25)) < 0.1 and abs((rows.mean() - y) / h - 0.42) < 0.1


def test_a_model_for_drawn_faces_says_so_with_and_without_bars():
    frame = np.full((480, 640, 3), 64, np.uint8)
    for bars in (True, False):
        plain, marked = (hud.draw(frame, View(0.0, (480, 640), []), Status(bars=bars, note=note))
                         for note in ("", "for drawn faces only"))
        assert pixels_of(plain, overlay.AMBER) == 0 < 50 < pixels_of(marked, overlay.AMBER)


# --- speed -----------------------------------------------------------------------------------------------------------

def test_speed_tells_every_stage():
    told = speed.measure(320, 240, frames=5, model="toy")
    assert told["found"] == 1 and told["fps"] > 1 and set(told["ms"]) == set(told["share"]) == set(speed.STAGES)
    assert sum(told["share"].values()) == pytest.approx(1)


# --- real films ------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(not MEDIA, reason="TINYFER_MEDIA names no folder of test photos")
def test_a_real_clip(toy):
    source = capture.open_source(str(pathlib.Path(MEDIA) / "clip_stage.mp4"))
    session, views = Session(toy), []
    while (image := source.read()) is not None:
        views.append(session.step(image, len(views) / source.fps))
    source.close()
    counts = [len(view.faces) for view in views]
    assert len(views) == 275 and not any(counts[:20]) and max(counts) <= 3
    assert sum(count > 0 for count in counts[126:210]) > 60  # the singer, from the front
    tracks = {face.track for view in views for face in view.faces}
    assert len(tracks) < 12
