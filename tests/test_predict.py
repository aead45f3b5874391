"""python -m tinyfer.predict: what it reads, prints, writes and refuses; and that its pictures can be read."""

import io
import itertools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tinyfer import cli, data, detectors, faces, models, overlay, predict
from tinyfer.errors import UserError

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The path of an untrained model that says it has learned from drawn faces."""
    model = models.micro(np.random.default_rng(1))
    model.params.value[:] += 0.05 * np.random.default_rng(2).standard_normal(model.params.value.size, np.float32)
    model.meta = {"data": "toyfaces", "toy": True, "note": "for drawn faces only"}
    path = tmp_path_factory.mktemp("run") / "best.npz"
    models.save(model, path)
    return str(path)


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """Nothing is said of kernels: which of them lie in the cache is not this file's business."""
    monkeypatch.setattr(predict.machine, "tell_of_compiling", lambda stderr: None)


@pytest.fixture
def photos(tmp_path):
    """A folder: a scene with one face, a small face, a wall, a text file, a broken picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(data.toyfaces.scene(400, 600, "surprise", face=170)).save(folder / "scene.jpg")
    Image.fromarray(data.toyfaces.draw(48, "happy")).save(folder / "small.png")
    Image.fromarray(np.full((300, 400), 120, np.uint8)).save(folder / "wall.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.jpg").write_text("no picture either")
    return folder


def program(*words):
    """Run it in this process -> its exit status."""
    return cli.status(predict.Options, predict.run, [str(word) for word in words], prog=predict.PROG)


def error_of(capsys, *words):
    """The one sentence with which it refuses."""
    assert program(*words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


def test_table(capsys, model, photos):
    assert program("--model", model, photos / "scene.jpg", photos / "small.png", photos / "wall.png") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "not what a person feels" in out.splitlines()[0] and "stays on this machine" in out.splitlines()[0]
    assert "for drawn faces only" in out
    lines = {pathlib.Path(line.split()[0]).name: line for line in out.splitlines() if line.strip()}
    assert lines["small.png"].split()[1:5] == ["1", "the", "whole", "picture"]
    assert lines["wall.png"].endswith("-  no face")
    assert any(f"  {label} " in lines["scene.jpg"] for label in data.LABELS) and lines["scene.jpg"].endswith(" %")
    assert "\x1b" not in out and "█" not in out  # bars and colours are for terminals


def test_a_folder_goes_on_past_what_cannot_be_read(capsys, model, photos):
    assert program(photos, "--model", model) == 2
    out, err = capsys.readouterr()
    assert "could not be read" in out and "broken.jpg" in err and "notes.txt" not in out + err
    assert all(name in out for name in ("scene.jpg", "small.png", "wall.png"))
    assert not list(photos.glob("*faces*"))


def test_what_phones_and_browsers_save_is_read_or_told(capsys, model, photos):
    (photos / "broken.jpg").unlink()
    for name in ("IMG_1.HEIC", "IMG_2.heif", ".IMG_3.heic"):
        (photos / name).write_text("a phone's")
    Image.open(photos / "small.png").save(photos / "saved.JFIF")
    Image.open(photos / "small.png").save(photos / "scan.jp2")
    assert program(photos, "--model", model, "--json") == 0
    out, err = capsys.readouterr()
    assert [pathlib.Path(one["path"]).name for one in json.loads(out)] == [
        "saved.JFIF", "scan.jp2", "scene.jpg", "small.png", "wall.png"]
    assert err == (f"passed over in {photos}: 2 HEIC pictures, which Pillow does not read: save a copy of each as jpg."
                   "\n")
    assert {".avif", ".jfif", ".jp2"} < faces.PICTURES


def test_a_folder_of_nothing_but_a_phones_pictures(capsys, model, tmp_path):
    (tmp_path / "IMG_1.HEIC").write_text("a phone's")
    assert "but 1 HEIC picture, which Pillow does not read: save a" in error_of(capsys, tmp_path, "--model", model)


def test_what_may_not_be_looked_into_is_told_and_the_rest_is_read(capsys, model, photos, monkeypatch):
    """Where a folder above may not be entered, Python up to 3.13 raises when it is asked whether a file is there."""
    stat = os.stat

    def refusing(path, *args, **kwargs):
        if "locked" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refusing)
    monkeypatch.setattr(pathlib.Path, "stat", refusing)
    assert program(photos / "locked" / "a.png", photos / "small.png", "--model", model) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in err and err.count("\n") == 1 and "a.png" in err
    assert "the whole picture" in out


def test_a_folder_that_may_not_be_read(capsys, model, monkeypatch, tmp_path):
    def refusing(path):
        raise PermissionError(1, "Operation not permitted", str(path))
    monkeypatch.setattr(os, "scandir", refusing)
    for system, advice in (("darwin", "System Settings, Privacy & Security"), ("linux", "see that it is yours")):
        monkeypatch.setattr(sys, "platform", system)
        err = error_of(capsys, tmp_path, "--model", model)
        assert f"cannot read the folder {tmp_path}: Operation not permitted; " in err and advice in err


def test_json(capsys, model, photos):
    assert program(photos, "--model", model, "--json") == 2  # one of them is broken
    out = capsys.readouterr().out
    answers = {pathlib.Path(one["path"]).name: one for one in json.loads(out)}
    assert list(answers) == ["broken.jpg", "scene.jpg", "small.png", "wall.png"]
    assert answers["wall.png"]["faces"] == [] and "error" not in answers["wall.png"]
    assert answers["broken.jpg"]["faces"] == [] and "broken.jpg" in answers["broken.jpg"]["error"]
    (face,) = answers["small.png"]["faces"]
    assert face["box"] == [0, 0, 48, 48] and face["label"] in data.LABELS
    assert list(face["probabilities"]) == list(data.LABELS) and sum(face["probabilities"].values()) == pytest.approx(1)
    assert face["probabilities"][face["label"]] == max(face["probabilities"].values())
    assert {one.get("note") for one in answers.values() if "error" not in one} == {"for drawn faces only"}


def test_json_answers_as_the_reader_does(capsys, model, photos):
    program(photos / "scene.jpg", "--model", model, "--json")
    (answer,) = json.loads(capsys.readouterr().out)
    (face,) = faces.FaceReader(model).read(photos / "scene.jpg")
    assert answer["faces"][0]["box"] == list(face.box)
    assert answer["faces"][0]["probabilities"] == {name: round(p, 6) for name, p in face.probabilities.items()}


def test_standard_input(model, photos):
    run = subprocess.run([sys.executable, "-m", "tinyfer.predict", "-", "--json", "--model", model], cwd=ROOT,
                         input=(photos / "small.png").read_bytes(), capture_output=True)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)[0]["path"] == "-" and len(json.loads(run.stdout)[0]["faces"]) == 1


def test_empty_standard_input(monkeypatch, capsys, model):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "is empty" in error_of_reading(capsys, model, "-")


def error_of_reading(capsys, model, *pictures):
    assert program(*pictures, "--model", model, "--json") == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == len(json.loads(out)) and all("error" in one for one in json.loads(out))
    return err


def test_nothing_readable(capsys, model, photos, tmp_path):
    assert "broken.jpg" in error_of_reading(capsys, model, photos / "broken.jpg")
    assert "there is no file" in error_of_reading(capsys, model, tmp_path / "none.jpg")
    assert "notes.txt" in error_of_reading(capsys, model, photos / "broken.jpg", photos / "notes.txt")


def test_patterns_and_each_picture_once(photos):
    every, refusals = predict.expand((str(photos / "*.png"), str(photos / "small.png"), "no*", str(photos)))
    assert "no file fits" in refusals["no*"]
    assert [pathlib.Path(path).name for path in every] == ["small.png", "wall.png", "broken.jpg", "scene.jpg"]
    deep, _ = predict.expand((str(photos.parent / "**" / "s*"),))
    assert deep == [str(photos / "scene.jpg"), str(photos / "small.png")]
    strange = photos / "a[1].png"
    strange.write_bytes((photos / "small.png").read_bytes())
    assert predict.expand((str(strange),)) == ([str(strange)], {})


def test_refusals(capsys, model, photos, tmp_path):
    def with_model(*words):
        return error_of(capsys, "--model", model, *words)

    assert "no picture was named" in with_model()
    assert "nothing here goes online" in with_model("https://example.org/a.jpg")
    assert "no file fits" in with_model(tmp_path / "*.jpg")
    (tmp_path / "none" / "deeper").mkdir(parents=True)
    assert "no pictures in the folder" in with_model(tmp_path / "none")
    assert "**" in with_model(tmp_path / "none")
    assert "expected one of haar, haar-alt2, yunet, mtcnn, dlib, none" in with_model("--detector", "hog", photos)
    assert "from -0.5 to 2" in with_model("--margin", "7", photos)
    assert "cannot be made a folder" in with_model(photos, "--out", photos / "small.png")
    assert "there is no such file" in error_of(capsys, photos, "--model", "nope")
    assert "no best.npz" in error_of(capsys, photos, "--model", tmp_path)
    assert "not a checkpoint" in error_of(capsys, photos, "--model", photos / "small.png")


def test_default_model(capsys, monkeypatch, tmp_path, photos, model):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "WEIGHTS", tmp_path / "weights")
    assert "python -m tinyfer.train" in error_of(capsys, photos)
    run = tmp_path / "runs" / "lite-1"
    run.mkdir(parents=True)
    (run / "best.npz").write_bytes(pathlib.Path(model).read_bytes())
    assert "--model runs/lite-1" in error_of(capsys, photos).replace("\\", "/")  # named, but never taken unasked
    assert program(photos / "small.png", "--model", run) == 0
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "lite.npz").write_bytes(pathlib.Path(model).read_bytes())
    assert program(photos / "small.png") == 0


def test_copies(capsys, model, photos, tmp_path):
    out = tmp_path / "a" / "b"
    (photos / "deeper").mkdir()
    Image.fromarray(data.toyfaces.draw(96)).save(photos / "deeper" / "small.png")
    (photos / "broken.jpg").unlink()
    assert program(photos, photos / "deeper", "--model", model, "--out", out) == 0
    assert f"annotated copies: 4 in {out}" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["scene-faces.jpg", "small-faces-2.png", "small-faces.png",
                                                           "wall-faces.png"]


def test_copies_tell_nothing_of_where_a_photo_was_taken(model, photos, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x010F] = "maker"
    Image.open(photos / "scene.jpg").save(photos / "where.jpg", exif=exif)
    assert program(photos / "where.jpg", "--model", model, "--out", tmp_path / "out") == 0
    assert not Image.open(tmp_path / "out" / "where-faces.jpg").getexif()


def test_a_terminal_gets_bars(capsys, model, photos, monkeypatch):
    monkeypatch.setattr(predict, "_unicode", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert program(photos / "small.png", "--model", model) == 0
    out = capsys.readouterr().out
    assert "█" in out and "\x1b" not in out and all(f"  {name}  " in out for name in data.LABELS)
    assert "nothing was stored" in out
    monkeypatch.delenv("NO_COLOR")
    assert program(photos / "small.png", "--model", model) == 0
    assert "\x1b[38;2;" in capsys.readouterr().out


def test_control_characters_in_names_stay_off_the_terminal(capsys, model):
    assert program("a\x1bb\n.png", "b\x1b[2J*", "--model", model) == 2
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "a?b?.png" in out and "b?[2J*" in out


# --- the pictures ----------------------------------------------------------------------------------------------------

def face(box, label="happy", chance=0.9):
    rest = (1 - chance) / 6
    return faces.Face(faces.Box(*box), {name: chance if name == label else rest for name in data.LABELS}, label,
                      np.zeros((48, 48), np.uint8))


def pixels_of(picture, colour):
    """How many pixels have nearly this colour (#rrggbb)."""
    return int((np.abs(np.asarray(picture).astype(int) - overlay.rgb(colour)).max(-1) < 6).sum())


@pytest.mark.parametrize("size", [(1, 1), (48, 48), (20, 400), (400, 20), (640, 480), (5000, 300)])
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_any_picture_can_be_annotated(size, count):
    rng = np.random.default_rng(count)
    boxes = [(int(rng.integers(size[0])), int(rng.integers(size[1])), int(1 + rng.integers(size[0])),
              int(1 + rng.integers(size[1]))) for _ in range(count)]
    picture = overlay.annotate(Image.new("L", size, 128), [face(box) for box in boxes], "micro · for drawn faces only")
    assert picture.mode == "RGB" and 700 <= max(picture.size) <= 2900


def test_the_picture_is_left_as_it_was():
    picture = Image.new("RGB", (300, 300), "white")
    overlay.annotate(picture, [face((10, 10, 50, 50))])
    assert picture.getextrema() == ((255, 255),) * 3


def test_each_expression_has_its_colour_on_box_label_and_bar():
    for label in data.LABELS:
        picture = overlay.annotate(Image.new("RGB", (800, 600), "#404040"), [face((300, 200, 150, 150), label)])
        others = [pixels_of(picture, overlay.colour(name)) for name in data.LABELS if name != label]
        assert pixels_of(picture, overlay.colour(label)) > 3000 > 10 * max(others) / 2


def test_a_drawn_model_is_marked():
    plain, marked = (overlay.annotate(Image.new("RGB", (800, 600)), [], note) for note in ("", "for drawn faces only"))
    assert pixels_of(plain, overlay.AMBER) == 0 < 50 < pixels_of(marked, overlay.AMBER)


def test_labels_and_bars_cover_no_face():
    boxes = [(x, y, 70, 70) for x in (100, 300, 500, 700) for y in (120, 300)]
    picture = Image.new("RGB", (960, 540), "#404040")
    annotated = np.asarray(overlay.annotate(picture, [face(box) for box in boxes]))
    for x, y, w, h in boxes:
        assert (annotated[y + 6:y + h - 6, x + 6:x + w - 6] == 0x40).all()


def lab(colour, view):
    """CIE L*a*b* of a colour as someone with this colour vision sees it (Machado et al. 2009, complete deficiency)."""
    rgb = np.array(overlay.rgb(colour)) / 255
    linear = np.clip(view @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]) @ linear
    f = np.cbrt(xyz / (0.9505, 1, 1.0888) + 1e-4)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


VISIONS = {
    "full": np.eye(3),
    "no red": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "no green": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "no blue": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_can_be_told_apart(vision):
    seen = {name: lab(colour, np.array(VISIONS[vision])) for name, colour in overlay.COLOURS.items()}
    assert list(seen) == list(data.LABELS)
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)
    assert all(value[0] > 38 for value in seen.values())  # bright enough on the dark panel


def test_errors_are_one_sentence_even_without_a_detector(capsys, monkeypatch, model, photos):
    def missing(file, share):
        raise UserError("finding faces needs OpenCV.")
    monkeypatch.setitem(detectors.DETECTORS, "haar", missing)
    assert "needs OpenCV" in error_of_detector(capsys, model, photos / "scene.jpg")
    assert program(photos / "scene.jpg", "--detector", "none", "--model", model) == 0


def error_of_detector(capsys, model, picture):
    assert program(picture, "--model", model) == 2
    return capsys.readouterr().err


@pytest.mark.skipif("TINYFER_MEDIA" not in os.environ, reason="TINYFER_MEDIA names no folder of test photos")
def test_photos_end_to_end(capsys, model, tmp_path):
    assert program(os.environ["TINYFER_MEDIA"], "--model", model, "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert out.count("multiface") == 6 and out.count("no face") == 2
    assert len(list(tmp_path.iterdir())) == 7
