"""Image folders in every layout, the splits they tell, and what they refuse."""

import numpy as np
import pytest
from PIL import Image

from tests.data_files import write_folders, write_picture
from tinyfer import data
from tinyfer.data import cache, folders
from tinyfer.data.preprocess import resize_area
from tinyfer.errors import UserError

ATULAPRA = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")


def error_of(path):
    """The one sentence that loading `path` ends with."""
    with pytest.raises(UserError) as caught:
        data.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labelled(split, written, meaning=None):
    """True when each picture of a split stands under the label that its folder's name means."""
    truth = {image.tobytes(): path.parent.name for path, image in written.items()}
    names = [truth[image.tobytes()] for image in split.images]
    return [data.LABELS[label] for label in split.labels] == [(meaning or {}).get(name, name) for name in names]


def test_msambare_test_is_the_merged_protocol(tmp_path):
    written = write_folders(tmp_path, ("train", "test"))
    dataset = data.load(tmp_path)
    train, val, test = dataset
    assert (len(train), len(val), len(test)) == (14, 0, 14)
    assert labelled(train, written) and labelled(test, written)
    assert "msambare" in dataset.info.layout and "7178-merged" in dataset.info.text
    assert "test (PublicTest and PrivateTest, mixed) has 14 pictures, FER-2013 has 7,178" in dataset.info.text
    assert test.name == "PublicTest and PrivateTest, mixed" and train.name == "Training"


def test_file_names_recover_the_split(tmp_path):
    write_folders(tmp_path, ("train",), file_name="Training_{i}.png", seed=1)
    public = write_folders(tmp_path, ("test",), file_name="PublicTest_{i}.png", seed=2)
    private = write_folders(tmp_path, ("test",), file_name="PrivateTest_{i}.png", per_class=1, seed=3)
    dataset = data.load(tmp_path)
    train, val, test = dataset
    assert (len(train), len(val), len(test)) == (14, 14, 7)
    assert labelled(val, public) and labelled(test, private)
    assert "7178" not in dataset.info.text and "they became val and test" in dataset.info.text


@pytest.mark.parametrize("root", [".", "images", "images/images"])
def test_jonathanoheix_however_nested(tmp_path, root):
    written = write_folders(tmp_path / root, ("train", "validation"))
    dataset = data.load(tmp_path)
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (14, 14, 0)
    assert labelled(dataset.val, written)
    assert "jonathanoheix" in dataset.info.layout and "do not compare" in dataset.info.text
    assert "that collection has 28,821" in dataset.info.text
    assert [split.name for split in dataset] == ["its own train", "its own val", "its own test"]


def test_atulapra_names(tmp_path):
    written = write_folders(tmp_path / "data", ("train", "test"), names=ATULAPRA, file_name="im{i}.png")
    dataset = data.load(tmp_path)
    meaning = {"disgusted": "disgust", "fearful": "fear", "surprised": "surprise"}
    assert labelled(dataset.train, written, meaning) and labelled(dataset.test, written, meaning)
    assert "atulapra" in dataset.info.layout


def test_three_splits_and_a_bare_folder_of_classes(tmp_path):
    written = write_folders(tmp_path / "a", ("Train", "Val", "Test"), per_class=1)
    assert [len(split) for split in data.load(tmp_path / "a")] == [7, 7, 7]
    assert [len(split) for split in data.load(tmp_path / "a" / "Test")] == [0, 0, 7]
    bare = write_folders(tmp_path / "b", ("faces",))
    dataset = data.load(tmp_path / "b" / "faces")
    assert [len(split) for split in dataset] == [14, 0, 0] and labelled(dataset.train, bare)
    assert "every picture is taken for training" in dataset.info.text and len(written) == 21


def test_other_sizes_and_kinds_become_48x48_grey(tmp_path):
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (96, 72)).astype(np.uint8)
    write_picture(tmp_path / "train" / "happy" / "a.png", large)
    colour = rng.integers(0, 256, (48, 48, 3)).astype(np.uint8)
    write_picture(tmp_path / "train" / "happy" / "b.png", colour)
    deep = rng.integers(0, 65536, (48, 48)).astype(np.uint16)
    write_picture(tmp_path / "train" / "happy" / "c.png", deep)
    smooth = np.add.outer(np.arange(48), np.arange(48)).astype(np.uint8)
    write_picture(tmp_path / "train" / "sad" / "d.JPG", smooth)
    (tmp_path / "train" / "happy" / "Thumbs.db").write_bytes(b"litter")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    dataset = data.load(tmp_path)
    images = dataset.train.images
    assert images.shape == (4, 48, 48) and images.dtype == np.uint8
    assert np.array_equal(images[0], resize_area(large[None], 48, 48)[0])
    assert abs(images[1] - colour @ np.array([0.299, 0.587, 0.114])).max() <= 1
    assert np.array_equal(images[2], deep // 256)
    assert abs(images[3].astype(int) - smooth).max() <= 4
    assert "1 pictures were of another size" in dataset.info.text


def test_the_order_is_the_same_each_time(tmp_path):
    write_folders(tmp_path, ("test", "train"), file_name="f{i}.png")
    one, two = data.load(tmp_path), data.load(tmp_path)
    assert np.array_equal(one.train.images, two.train.images)


def test_folders_are_cached_until_a_picture_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "WORTHWHILE", 0)
    root = tmp_path / "faces"
    written = write_folders(root, ("train",), per_class=1)
    read = []
    real = folders.load_folder
    monkeypatch.setattr(folders, "load_folder", lambda path: (read.append(path), real(path))[1])
    first, second = data.load(root), data.load(root)
    assert len(read) == 1 and np.array_equal(first.train.images, second.train.images)
    next(iter(written)).unlink()
    assert len(data.load(root).train) == 6 and len(read) == 2


# --- errors ---------------------------------------------------------------------------------------------------------

def test_a_folder_without_classes(tmp_path):
    assert "no folders named after the classes (angry, disgust, fear" in error_of(tmp_path)
    write_folders(tmp_path, ("train",), names=("cats", "dogs"))
    assert "no folders named after the classes" in error_of(tmp_path)


def test_class_folders_without_pictures(tmp_path):
    (tmp_path / "train" / "happy").mkdir(parents=True)
    assert "not one picture in them" in error_of(tmp_path)


def test_a_class_too_many_is_refused(tmp_path):
    write_folders(tmp_path, ("train",), names=(*data.LABELS, "contempt"), per_class=1)
    assert "a class called 'contempt'" in error_of(tmp_path)


def test_a_picture_of_one_pixel_names_its_file(tmp_path):
    write_folders(tmp_path, ("train",))
    write_picture(tmp_path / "train" / "happy" / "tiny.png", np.zeros((1, 1), np.uint8))
    message = error_of(tmp_path)
    assert "tiny.png: a picture of 1x1 pixels, expected at least 8x8" in message


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_a_file_that_is_no_picture_names_itself(tmp_path, content):
    write_folders(tmp_path, ("train",), per_class=1)
    (tmp_path / "train" / "sad" / "broken.png").write_bytes(content)
    assert "broken.png: not a readable image" in error_of(tmp_path)


def test_a_picture_cut_short_names_itself(tmp_path):
    write_folders(tmp_path, ("train",), per_class=1)
    path = tmp_path / "train" / "sad" / "0.png"
    path.write_bytes(path.read_bytes()[:900])
    assert "0.png: not a readable image" in error_of(tmp_path)


def test_a_zip_of_pictures_asks_to_be_unpacked(tmp_path):
    import zipfile
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "train/happy/a.png")
    assert "unpack it and give the folder" in error_of(tmp_path / "archive.zip")
