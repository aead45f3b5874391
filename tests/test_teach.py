"""python -m tinyfer.webcam --teach: on faces drawn in a style that the model has never seen, before and after."""

import pathlib
import re
import time

import numpy as np
import pytest
from PIL import Image

from tinyfer import cli, machine, models, teaching, webcam
from tinyfer.data import LABELS
from tinyfer.data.toyfaces import draw_many, random_parameters
from tinyfer.detectors import Box
from tinyfer.errors import UserError
from tinyfer.live import Session, lesson
from tinyfer.live.session import live_reader

# What differs from picture to picture of one person; the rest is the person.
VARIES = {"yaw", "pitch", "roll", "scale", "shift_x", "shift_y", "light", "contrast", "gaze_x", "gaze_y", "noise",
          "blur", "occlusion"}


@pytest.fixture(autouse=True)
def one_thread():
    machine.set_threads(1)
    yield
    machine.set_threads(None)


@pytest.fixture(scope="module")
def toy():
    """With what teaching needs compiled."""
    model = models.load("toy")
    teaching.teach(model, *portraits(model, 0, 1, 0), np.random.default_rng(0))
    return model


def portraits(model, person, each, seed):
    """`each` pictures of each expression of one drawn person, in chalk on a blackboard: uint8 (7 each,size,size), and
    their labels."""
    labels = np.arange(7 * each) % 7
    pictures = draw_many(labels, np.random.default_rng(seed), 48, **traits(person), occlusion="none")
    return model.preprocess.prepare(255 - pictures), labels


def traits(person):
    """What makes this person."""
    found = random_parameters(1, np.random.default_rng(person))
    return {name: float(value[0]) for name, value in found.items() if name not in VARIES}


@pytest.mark.parametrize("person", [1, 2, 3, 4])
def test_a_new_style_gains_20_points(toy, person):
    crops, labels = portraits(toy, person, 20, 10)
    others, truth = portraits(toy, person, 30, 20)
    weights = toy.params.value.copy()
    start = time.perf_counter()
    mine = teaching.teach(toy, crops, labels, np.random.default_rng(0))
    assert time.perf_counter() - start < 30  # 0.3 s on a quiet machine
    assert teaching.accuracy(mine, others, truth) >= teaching.accuracy(toy, others, truth) + 0.20
    assert (toy.params.value == weights).all()  # the model itself stays as it was
    changed = {p.name for p, q in zip(mine.params, toy.params, strict=True) if (p.value != q.value).any()}
    assert changed == {"head.classes.weight", "head.classes.bias"}


def test_what_it_knew_stays(toy):
    """A person that it knows already: nothing is lost. Expressions that were not taught stay possible."""
    labels = np.arange(140) % 7
    crops = toy.preprocess.prepare(draw_many(labels, np.random.default_rng(1), 48))
    three = labels < 3
    mine = teaching.teach(toy, crops[three], labels[three], np.random.default_rng(0))
    others = toy.preprocess.prepare(draw_many(labels, np.random.default_rng(2), 48))
    assert teaching.accuracy(mine, others, labels) > teaching.accuracy(toy, others, labels) - 0.1


@pytest.mark.parametrize("name", models.NAMES)
def test_every_model_can_be_taught(name):
    model = models.build(name, np.random.default_rng(0), **({"width": 0.125} if name == "vgg" else {}))
    crops = np.random.default_rng(1).integers(0, 256, (4, 48, 48), np.uint8)
    crops = model.preprocess.prepare(crops)
    x = teaching.features(model, crops)
    logits = teaching.last_layer(model).forward(x)
    assert np.allclose(logits, model.forward(model.preprocess.normalise(crops)), atol=1e-5)


def test_variants_are_pictures_of_the_same(toy):
    crops, _ = portraits(toy, 1, 2, 1)
    out = teaching.variants(crops, np.random.default_rng(0))
    assert out.dtype == np.uint8 and out.shape == crops.shape and (out != crops).any(axis=(1, 2)).all()
    assert np.abs(out.astype(float).mean((1, 2)) - crops.mean((1, 2))).max() < 45


# --- the lesson ------------------------------------------------------------------------------------------------------

class Sitter:
    """A camera before which someone sits: shows what was asked for last, as long as it is to be seen."""

    name, live, stills, mirror, fps = "camera 0", True, False, True, 30.0

    def __init__(self):
        self.label, self.rng, self.away, self.closed = "neutral", np.random.default_rng(0), False, False
        calm = traits(1) | dict(occlusion="none", scale=1, shift_x=0, shift_y=0, light=0, contrast=1)
        self.films = {label: [np.pad(255 - picture, 60, mode="edge") for picture in draw_many(
            np.full(6, number), np.random.default_rng(number), 120, **calm)] for number, label in enumerate(LABELS)}

    def read(self):
        time.sleep(0.004)
        # Any of the six: what is taught and what is judged must not depend on how fast frames are taken.
        frame = np.full((240, 240), 90, np.uint8) if self.away else self.rng.choice(self.films[self.label])
        return np.repeat(frame[..., None], 3, axis=2)

    def reopen(self):
        """There is nothing to open again."""

    def close(self):
        self.closed = True


class Person:
    """Answers the questions, and looks as is asked."""

    def __init__(self, sitter, *, agrees="y", keeps="n", skips=(), misses=()):
        self.sitter, self.agrees, self.keeps, self.skips, self.misses = sitter, agrees, keeps, skips, list(misses)
        self.heard = []

    def __call__(self, question):
        self.heard.append(question)
        if "Record" in question:
            return self.agrees
        if "Keep" in question:
            return self.keeps
        self.sitter.label = LABELS[int(question[0]) - 1]
        self.sitter.away = self.sitter.label in self.misses
        if self.sitter.away:
            self.misses.remove(self.sitter.label)
        return "s" if self.sitter.label in self.skips else ""


@pytest.fixture
def lesson_with(monkeypatch, tmp_path, toy):
    """Run the program with this person and these words -> exit status, the sitter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lesson, "APART", 0.0)
    monkeypatch.setattr(lesson, "PATIENCE", 3.0)

    def run(*words, **character):
        sitter = Sitter()
        person = Person(sitter, **character)
        monkeypatch.setattr(webcam.capture, "open_source", lambda *_: sitter)
        monkeypatch.setattr(webcam, "_answer", person)
        monkeypatch.setattr(webcam, "make_session", lambda options, model, stills: Session(
            live_reader(toy, "none")))
        found = cli.status(webcam.Options, webcam.run, ["--teach", "--pictures", "12", *words], prog=webcam.PROG)
        return found, sitter, person

    monkeypatch.setattr("tinyfer.detectors.DETECTORS", {"none": lambda file, share: _middle})
    return run


def _middle(grey):
    """Finds the sitter, if there is one."""
    return [] if np.ptp(grey) == 0 else [Box(60, 60, 120, 120)]


def test_the_lesson_from_the_first_question_to_the_model(lesson_with, capsys, tmp_path):
    status, sitter, person = lesson_with()
    out = capsys.readouterr().out
    assert status == 0 and sitter.closed and len(person.heard) == 9, out
    assert "stay on this machine" in out and "look surprised" in " ".join(person.heard)
    before, after = map(int, re.search(r"^all +63 +21 +(\d+) % +(\d+) %$", out, re.M).groups())
    assert after >= before + 20
    folder = tmp_path / "runs" / "my-face"
    assert [path.name for path in folder.iterdir()] == ["best.npz"]  # no picture was kept
    mine = models.load(folder)
    assert mine.meta["taught"]["pictures"] == 63 and mine.meta["note"] == models.load("toy").meta["note"]
    assert f"--forget --taught {pathlib.Path('runs/my-face')} deletes it" in out
    assert lesson_with()[0] == 2 and "my-face deletes it" in capsys.readouterr().err
    assert cli.status(webcam.Options, webcam.run, ["--forget"], prog=webcam.PROG) == 0 and not folder.exists()
    assert cli.status(webcam.Options, webcam.run, ["--forget"], prog=webcam.PROG) == 2


def test_pictures_are_kept_if_wanted_and_forgotten(lesson_with, capsys, tmp_path):
    assert lesson_with("--taught", "mine", keeps="yes", skips=("fear", "disgust"))[0] == 0
    folder = tmp_path / "mine"
    kept = sorted(folder.glob("pictures/*/*.png"))
    assert len(kept) == 60 and {path.parent.name for path in kept} == set(LABELS) - {"fear", "disgust"}
    assert Image.open(kept[0]).size == (32, 32)
    (folder / "letter.txt").write_text("not ours")
    assert forget(folder) == 0
    assert f"deleted: {folder / 'best.npz'} and 60 pictures in {folder / 'pictures'}" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def forget(folder):
    """The program's exit status."""
    return cli.status(webcam.Options, webcam.run, ["--forget", "--taught", str(folder)], prog=webcam.PROG)


def test_where_the_lesson_was_kept_is_said_with_the_way_to_forget_it(lesson_with, capsys, tmp_path):
    assert lesson_with("--taught", "me")[0] == 0
    assert "--forget --taught me deletes it" in capsys.readouterr().out
    assert lesson_with("--taught", "me")[0] == 2
    assert "--forget --taught me deletes it" in capsys.readouterr().err


def test_a_training_run_is_neither_overwritten_nor_forgotten(lesson_with, capsys, tmp_path, toy):
    run = tmp_path / "lite-1"
    models.save(toy, run.with_suffix(".npz"))
    run.mkdir()
    run.with_suffix(".npz").rename(run / "best.npz")
    assert lesson_with("--taught", str(run))[0] == 2
    err = capsys.readouterr().err
    assert "best.npz already, and no teaching wrote it; name another folder" in err and "--forget" not in err
    (run / "pictures" / "happy").mkdir(parents=True)
    (run / "pictures" / "happy" / "000.png").write_text("a picture of the user's")
    assert forget(run) == 2 and "nothing was taught there" in capsys.readouterr().err
    assert (run / "best.npz").exists() and (run / "pictures" / "happy" / "000.png").exists()
    (run / "best.npz").write_text("damaged")
    assert forget(run) == 2 and (run / "best.npz").exists()


def test_pictures_of_ones_own_are_neither_overwritten_nor_forgotten(lesson_with, capsys, tmp_path):
    mine = [tmp_path / "me" / "pictures" / name for name in
            ("portrait.png", "happy/holiday.png", "happy/0001.png", "holiday/001.png", "sad/000.jpg")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a picture of the user's")
    assert lesson_with("--taught", "me", keeps="yes")[0] == 0
    assert forget("me") == 0 and "84 pictures" in capsys.readouterr().out
    assert sorted(path for path in (tmp_path / "me").rglob("*") if path.is_file()) == sorted(mine)
    assert sorted(path.name for path in (tmp_path / "me" / "pictures").iterdir() if path.is_dir()) == [
        "happy", "holiday", "sad"]
    (tmp_path / "me" / "pictures" / "fear").mkdir()
    (tmp_path / "me" / "pictures" / "fear" / "007.png").write_text("a picture of the user's")
    assert lesson_with("--taught", "me")[0] == 2 and "007.png already" in capsys.readouterr().err


def test_who_does_not_agree_is_not_recorded(lesson_with, capsys, tmp_path):
    for answer in ("", "n", "what?"):
        status, sitter, person = lesson_with(agrees=answer)
        assert status == 0 and len(person.heard) == 1 and sitter.closed
    assert "nothing was recorded" in capsys.readouterr().out and not (tmp_path / "runs").exists()


def test_where_no_face_is_found_it_is_asked_for_again(lesson_with, capsys):
    status, _, person = lesson_with(misses=("sad",))
    assert status == 0 and len([asked for asked in person.heard if "look sad" in asked]) == 2
    assert "a face was found in 0 pictures only" in capsys.readouterr().out


def test_refusals(lesson_with, capsys, tmp_path):
    assert lesson_with(skips=LABELS[1:])[0] == 2
    assert "one expression alone teaches nothing" in capsys.readouterr().err
    for words, told in ((["--pictures", "9"], "say that too"), (["--browser", "--teach"], "--teach is not for"),
                        (["--teach", "--csv", "t.csv"], "--csv is not for --teach"),
                        (["--forget", "--taught", "nowhere"], "nothing to forget")):
        assert cli.status(webcam.Options, webcam.run, words, prog=webcam.PROG) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(UserError, match="last layer is no dense one"):
        model = models.micro()
        model.layers["head"].layers.pop("classes")
        teaching.last_layer(model)


def test_films_cannot_be_taught_with(capsys):
    words = ["--teach", "--source", "demo"]
    assert cli.status(webcam.Options, webcam.run, words, prog=webcam.PROG) == 2
    assert "teaching needs a camera" in capsys.readouterr().err
