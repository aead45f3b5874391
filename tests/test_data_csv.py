"""The csv in all its flavours, the npz, their errors, and the cache."""

import json
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data_files import csv_text, made_up, write_csv
from tinyfer import data
from tinyfer.data import cache, fer2013
from tinyfer.data.known import COUNTS, TOTAL, USAGES
from tinyfer.errors import UserError

HEADER = b"emotion,pixels,Usage\n"
PIXELS = b" ".join([b"7"] * 2304)


def same(dataset, images, labels, splits):
    """True when a data set holds exactly these pictures, in their order, in these splits."""
    return all(np.array_equal(split.images, images[splits == code])
               and np.array_equal(split.labels, labels[splits == code])
               and split.images.dtype == np.uint8 and split.labels.dtype == np.int64
               for code, split in enumerate(dataset))


def error_of(path):
    """The one sentence that loading `path` ends with."""
    with pytest.raises(UserError) as caught:
        data.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- layouts --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("style", [
    {}, {"quote": '"'}, {"order": ("emotion", "Usage", "pixels"), "gap": " "}, {"end": "\r\n"}, {"bom": "\ufeff"},
    {"order": ("Usage", "pixels", "emotion"), "quote": '"', "gap": " "},
    {"order": ("extra", "emotion", "pixels", "extra", "Usage"), "quote": '"'},
])
def test_every_csv_flavour_gives_the_same_pictures(tmp_path, style):
    made = made_up()
    assert same(data.load(write_csv(tmp_path / "fer2013.csv", csv_text(*made, **style))), *made)


@pytest.mark.parametrize("how", ["gz", "zip", "tar.gz"])
def test_packed_csvs(tmp_path, how):
    made = made_up()
    dataset = data.load(write_csv(tmp_path / f"fer2013.{how}", csv_text(*made), how))
    assert same(dataset, *made)
    assert {"gz": "gzipped", "zip": "zipped", "tar.gz": "tar.gz"}[how] in dataset.info.layout


def test_a_folder_with_a_csv_in_it(tmp_path):
    made = made_up()
    write_csv(tmp_path / "icml_face_data.csv", csv_text(*made, order=("emotion", "Usage", "pixels"), gap=" "))
    dataset = data.load(tmp_path)
    assert same(dataset, *made) and dataset.info.layout.startswith("icml_face_data.csv")


def test_train_csv_is_all_training_and_nothing_else_may_lack_usage(tmp_path):
    images, labels, splits = made_up()
    text = csv_text(images, labels, splits, order=("emotion", "pixels"))
    train, val, test = data.load(write_csv(tmp_path / "train.csv", text))
    assert np.array_equal(train.images, images) and len(val) == len(test) == 0
    assert "no column 'Usage'" in error_of(write_csv(tmp_path / "fer2013.csv", text))


def test_a_csv_without_final_newline_and_with_empty_lines(tmp_path):
    made = made_up(5)
    text = csv_text(*made).replace("\n", "\n\n").rstrip()
    assert same(data.load(write_csv(tmp_path / "a.csv", text)), *made)


def test_chunks_cut_rows_anywhere(tmp_path, monkeypatch):
    made = made_up(20)
    path = write_csv(tmp_path / "a.csv", csv_text(*made))
    for chunk in (997, 8192, 20_011):
        monkeypatch.setattr(fer2013, "CHUNK", chunk)
        assert same(data.load(path), *made)


def test_dataset_unpacks_and_says_what_it_is(tmp_path):
    made = made_up(12)
    dataset = data.load(str(write_csv(tmp_path / "a.csv", csv_text(*made))))
    train, val, test = dataset
    assert (train.name, val.name, test.name) == USAGES and not dataset.info.toy
    assert "12 pictures of 48x48" in dataset.info.text
    assert "differs: train (Training) has 4 pictures, FER-2013 has 28,709." in dataset.info.text


def test_known_counts_add_up():
    assert [int(counts.sum()) for counts in COUNTS.values()] == [28_709, 3_589, 3_589] and TOTAL == 35_887


def test_parse_line_agrees_with_the_kernel(tmp_path):
    images, labels, splits = made_up(3)
    columns = fer2013.Columns(0, 1, 2, 3)
    for line, image, label, split in zip(csv_text(images, labels, splits).encode().splitlines(True)[1:], images, labels,
                                         splits, strict=True):
        plain = fer2013.parse_line(line, columns)
        parts, _ = fer2013._parse_lines(line, columns, "a.csv", 0, 1)
        assert plain[0] == parts[0][1][0] == label and plain[2] == parts[0][2][0] == split
        assert np.array_equal(plain[1], image.ravel()) and np.array_equal(parts[0][0][0], image.ravel())


# --- errors ---------------------------------------------------------------------------------------------------------

def with_row(pixels=PIXELS, emotion=b"3", usage=b"Training", before=1):
    """A csv with one row of these fields after `before` good ones."""
    good = b"0," + PIXELS + b",Training\n"
    return HEADER + good * before + emotion + b"," + pixels + b"," + usage + b"\n" + good


@pytest.mark.parametrize("content, sentence", [
    (with_row(PIXELS[2:]), "row 2 (line 3): 2,303 pixels, expected 2,304 (48 x 48)"),
    (with_row(PIXELS + b" 7"), "row 2 (line 3): 2,305 pixels"),
    (with_row(b"256" + PIXELS[1:]), "row 2 (line 3): pixel 1 is '256', expected a whole number 0 to 255"),
    (with_row(PIXELS[:-1] + b"-1"), "pixel 2,304 is '-1'"),
    (with_row(PIXELS[:-1] + b"nan"), "pixel 2,304 is 'nan'"),
    (with_row(PIXELS[:-1] + b"7.0"), "pixel 2,304 is '7.0'"),
    (with_row(PIXELS[:-1] + b"99999999999999999999"), "expected a whole number 0 to 255"),
    (with_row(emotion=b"7"), "emotion '7', expected 0 to 6 (0 angry, 1 disgust"),
    (with_row(emotion=b""), "emotion '', expected 0 to 6"),
    (with_row(emotion=b"happy"), "emotion 'happy'"),
    (with_row(usage=b"Validation"), "unknown Usage 'Validation', expected Training, PublicTest or PrivateTest"),
    (with_row(usage=b"Training2"), "unknown Usage 'Training2'"),
    (with_row(usage=b"Training,4"), "4 columns, expected 3"),
    (with_row(pixels=b"\xff\xfe" + PIXELS), "bytes that are not text"),
    (b"emotion,Usage\n3,Training\n", "no column 'pixels' in its first line (found: emotion, usage;"),
    (b"pixels\n" + PIXELS + b"\n", "no column 'emotion'"),
    (b"pixels\n" + PIXELS + b"\n", "test.csv comes without labels"),
    (b"emotion;pixels;Usage\n", "no column 'emotion'"),
    (HEADER, "a first line but no rows"),
    (b"", "the file is empty"),
    (b"\n\n", "no column 'emotion' in its first line (found: nothing;"),
    (bytes(range(256)) * 20, "not text"),
    (b"\x89PNG\r\n\x1a\n" + bytes(5000), "not text"),
    (b"x" * (fer2013.LONGEST_LINE + 1), "a line of more than"),
    (b"\x1f\x8b\x08 not really", "damaged or cut short"),
    (b"PK\x03\x04 not really", "damaged or cut short"),
])
def test_every_bad_csv_has_its_sentence(tmp_path, content, sentence):
    path = write_csv(tmp_path / "fer2013.csv", content)
    message = error_of(path)
    assert sentence in message and path.name in message


def test_the_row_of_an_error_is_counted_exactly(tmp_path):
    message = error_of(write_csv(tmp_path / "fer2013.csv", with_row(PIXELS[2:], before=4710)))
    assert "row 4,711 (line 4,712): 2,303 pixels, expected 2,304" in message


@pytest.mark.parametrize("how", ["gz", "zip", "tar.gz"])
def test_a_packed_csv_cut_short(tmp_path, how):
    path = write_csv(tmp_path / "fer", csv_text(*made_up(30)), how)
    path.write_bytes(path.read_bytes()[:-30_000])
    assert "damaged or cut short" in error_of(path)


def test_a_path_that_is_not_there_names_its_neighbour(tmp_path):
    write_csv(tmp_path / "fer2013.csv", HEADER)
    assert "did you mean" in error_of(tmp_path / "fer2013.cvs") and "fer2013.csv" in error_of(tmp_path / "fer2013.cvs")
    assert "data/README.md" in error_of(tmp_path / "nothing" / "like.it")
    assert "no path given" in error_of("")


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs a device file")
def test_a_device_is_no_data_set():
    assert "neither a file nor a folder" in error_of("/dev/null")


@given(st.binary(max_size=300), st.sampled_from([b"", HEADER, b"emotion, Usage, pixels\n", b"\x1f\x8b", b"PK\x03\x04"]))
def test_any_bytes_give_a_dataset_or_one_sentence(tmp_path_factory, content, start):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(start + content)
    try:
        data.load(path)
    except UserError as error:
        assert "\n" not in str(error)


@given(st.sampled_from(["csv", "csv", "gz", "zip", "npz"]), st.integers(0, 2**32), st.integers(1, 6))
def test_damaged_files_give_a_dataset_or_one_sentence(tmp_path_factory, kind, seed, damages):
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    if kind == "npz":
        images, labels, splits = made_up(3)
        np.savez(path, pixels=images, label=labels, split=splits)
    else:
        write_csv(path, csv_text(*made_up(3)), "" if kind == "csv" else kind)
    content = bytearray(path.read_bytes())
    for _ in range(damages):  # bytes changed, taken out or put in; half of them near either end, where structure is
        place = int(rng.integers(len(content))) if rng.random() < 0.5 else int(rng.integers(-120, 120)) % len(content)
        content[place:place + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 3)))
    path.write_bytes(content)
    try:
        data.load(path)
    except UserError as error:
        assert "\n" not in str(error)


# --- npz ------------------------------------------------------------------------------------------------------------

def test_npz_maps_names_not_numbers(tmp_path):
    images, labels, splits = made_up()
    other = ["Neutral", "Surprise", "Sadness", "happy", "afraid", "Disgusted", "Anger"]
    np.savez(tmp_path / "a.npz", pixels=images, label=(6 - labels).astype(np.uint8),
             split=(2 - splits).astype(np.uint8), label_names=other, split_names=USAGES[::-1])
    assert same(data.load(tmp_path / "a.npz"), images, labels, splits)


def test_npz_without_some_splits_or_any(tmp_path):
    images, labels, splits = made_up()
    np.savez(tmp_path / "a.npz", pixels=images, label=labels, split=np.minimum(splits, 1),
             split_names=["Training", "PublicTest"])
    train, val, test = data.load(tmp_path / "a.npz")
    assert len(train) == 4 and len(val) == 8 and len(test) == 0
    np.savez(tmp_path / "b.npz", pixels=images[:, :32, :32], label=labels)
    dataset = data.load(tmp_path / "b.npz")
    assert len(dataset.train) == 12 and "every picture is taken for training" in dataset.info.text


@pytest.mark.parametrize("change, sentence", [
    ({"pixels": None}, "no array 'pixels'"), ({"label": None}, "no array 'label'"),
    ({"pixels": np.zeros((12, 48, 48))}, "'pixels' is float64"), ({"pixels": np.zeros((12, 1, 1), np.uint8)}, "1x1"),
    ({"label": np.full(12, 7)}, "'label' holds 7, expected 0 to 6"),
    ({"label": np.zeros(3, np.int64)}, "'label' is int64 (3,)"),
    ({"label": np.zeros(12)}, "'label' is float64"), ({"split": np.full(12, -1)}, "'split' holds -1"),
    ({"label_names": np.array(["contempt"] * 7)}, "uses the name 'contempt'"),
    ({"split_names": np.array(["Training", "b", "c"])}, "'split' uses the name 'b'"),
    ({"label_names": np.arange(7)}, "'label_names' is int64"),
    ({"label": np.array([None] * 12)}, "not a readable npz"),
])
def test_every_bad_npz_has_its_sentence(tmp_path, change, sentence):
    images, labels, splits = made_up()
    arrays = {"pixels": images, "label": labels, "split": splits, **change}
    np.savez(tmp_path / "a.npz", **{name: array for name, array in arrays.items() if array is not None})
    assert sentence in error_of(tmp_path / "a.npz")


def test_a_damaged_npz(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK rubbish")
    assert "not a readable npz" in error_of(tmp_path / "a.npz")


# --- the cache ------------------------------------------------------------------------------------------------------

@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A csv worth a cache, and the list of the paths that are really parsed."""
    monkeypatch.setattr(cache, "WORTHWHILE", 0)
    monkeypatch.setenv("TINYFER_CACHE", str(tmp_path / "user"))
    parsed = []
    real = fer2013.load_csv
    monkeypatch.setattr(fer2013, "load_csv", lambda path: (parsed.append(path), real(path))[1])
    (tmp_path / "data").mkdir()
    return write_csv(tmp_path / "data" / "fer2013.csv", csv_text(*made_up())), parsed


def test_the_second_load_reads_the_cache(counted):
    path, parsed = counted
    first, second = data.load(path), data.load(path)
    assert len(parsed) == 1 and same(second, *made_up()) and first.info == second.info
    assert cache.places(path)[0].exists() and len(list(path.parent.iterdir())) == 2  # no temporary file is left


def test_a_changed_csv_is_parsed_again(counted):
    path, parsed = counted
    data.load(path)
    write_csv(path, csv_text(*made_up(9)))
    assert same(data.load(path), *made_up(9)) and len(parsed) == 2
    times = path.stat()
    write_csv(path, csv_text(*made_up(9, seed=0)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1_000_000_000))
    data.load(path)
    assert len(parsed) == 3


@pytest.mark.parametrize("damage", ["cut", "rubbish", "empty", "flip", "foreign", "version", "folder"])
def test_a_damaged_cache_is_rebuilt(counted, damage, monkeypatch):
    path, parsed = counted
    data.load(path)
    place = cache.places(path)[0]
    content = place.read_bytes()
    if damage == "foreign":
        np.savez(place, pixels=np.zeros(3), meta=np.array(json.dumps([1])))
    elif damage == "version":
        monkeypatch.setattr(cache, "VERSION", 99)
    elif damage == "folder":
        place.unlink()
        place.mkdir()
    else:
        place.write_bytes({"cut": content[:len(content) // 2], "rubbish": b"\0" * 999, "empty": b"",
                           "flip": content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]}[damage])
    assert same(data.load(path), *made_up()) and len(parsed) == 2
    assert same(data.load(path), *made_up()) and len(parsed) == 2


def test_a_read_only_folder_puts_the_cache_into_the_users(counted, monkeypatch):
    path, parsed = counted
    real = cache._write

    def refuse(place, key, found):
        if place.parent == path.parent:
            raise PermissionError(13, "read-only", str(place))
        real(place, key, found)
    monkeypatch.setattr(cache, "_write", refuse)
    data.load(path)
    assert same(data.load(path), *made_up()) and len(parsed) == 1 and not cache.places(path)[0].exists()
    monkeypatch.setattr(cache, "_write", lambda *_: (_ for _ in ()).throw(PermissionError(13, "read-only")))
    write_csv(path, csv_text(*made_up(9)))
    assert same(data.load(path), *made_up(9))  # no place at all: parsed each time, never an error


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0,
                    reason="needs permissions that bind")
def test_a_folder_without_write_permission(counted):
    path, parsed = counted
    path.parent.chmod(0o500)
    try:
        data.load(path)
        assert same(data.load(path), *made_up()) and len(parsed) == 1
    finally:
        path.parent.chmod(0o700)


def test_small_files_leave_no_cache(tmp_path):
    path = write_csv(tmp_path / "fer2013.csv", csv_text(*made_up()))
    data.load(path)
    assert list(tmp_path.iterdir()) == [path]


# --- the real thing -------------------------------------------------------------------------------------------------

@pytest.mark.skipif("TINYFER_FER2013" not in os.environ, reason="TINYFER_FER2013 does not name the real data")
def test_the_real_data_has_its_known_counts():
    dataset = data.load(os.environ["TINYFER_FER2013"])
    for kind, split in zip(COUNTS, dataset, strict=True):
        assert len(split) == 0 or np.array_equal(split.counts, COUNTS[kind])
    pixels = dataset.train.images / 255
    assert abs(pixels.mean() - 0.507743) < 1e-6 and abs(pixels.std() - 0.255009) < 1e-6
    dark = [*np.flatnonzero(dataset.train.images.max((1, 2)) == 0), *(
        28_709 + np.flatnonzero(dataset.val.images.max((1, 2)) == 0))]
    assert dark == [6458, 7629, 10423, 11286, 13148, 13402, 13988, 15894, 22198, 22927, 28601, 30002]
