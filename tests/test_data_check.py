"""The programs `check` and `sheet`, and the audit behind them."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.data_files import csv_text, made_up, write_csv
from tinyfer import data
from tinyfer.data.__main__ import main
from tinyfer.data.audit import audit, report


def oddities():
    """A data set with two black pictures, a grey one, copies in and across splits, and contradicting labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 8, 8)).astype(np.uint8)
    images[1] = images[2] = 0
    images[9] = 200
    images[5] = images[4]   # a copy within train
    images[8] = images[4]   # and one in val, with another label
    labels = np.array([0, 1, 1, 2, 3, 3, 4, 5, 6, 0, 1, 2])
    parts = (slice(0, 7), slice(7, 10), slice(10, 12))
    return data.Dataset(*(data.Split(images[part], labels[part], "x") for part in parts))


def test_the_audit_finds_what_is_odd():
    found = audit(oddities())
    assert found.pictures == 12 and found.distinct == 9
    assert found.constant == [(0, 1), (0, 2), (1, 2)] and found.black == 2
    assert found.copies_within == [2, 0, 0] and found.copies_across == {(0, 1): 1, (0, 2): 0, (1, 2): 0}
    assert found.conflicts == [[(0, 4), (0, 5), (1, 1)]]
    text = report(oddities())
    assert "train[1], train[2], val[2] (2 of them black)" in text and "1 of val in train" in text
    assert "train[4] sad, train[5] sad, val[1] neutral" not in text  # label 3 is happy
    assert "train[4] happy, train[5] happy, val[1] neutral" in text


def test_an_audit_of_nothing():
    empty = data.Split.empty("x")
    assert audit(data.Dataset(empty, empty, empty)).pictures == 0


def test_check_prints_recognition_counts_and_findings(tmp_path, capsys):
    path = write_csv(tmp_path / "fer2013.csv", csv_text(*made_up()))
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "fer2013.csv (emotion, pixels, Usage), 12 pictures" in out and "FER-2013 has 28,709" in out
    assert "constant pictures: none" in out and "12 distinct pictures among 12" in out


@pytest.mark.parametrize("augment", ["none", "light"])
def test_sheet_draws_a_picture(tmp_path, capsys, augment):
    path = write_csv(tmp_path / "fer2013.csv", csv_text(*made_up(42)))
    out = tmp_path / "sheet.png"
    assert main(["sheet", str(path), "--out", str(out), "--columns", "3", "--augment", augment]) == 0
    assert "wrote" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert min(picture.size) > 300 and len(picture.convert("L").getcolors()) > 50


def test_errors_are_one_line_and_exit_2(tmp_path, capsys):
    path = write_csv(tmp_path / "fer2013.csv", csv_text(*made_up(3, 0)))
    for arguments in (["check", str(tmp_path / "nothing.csv")], ["sheet", str(path), "--columns", "0"],
                      ["sheet", str(path), "--out", str(tmp_path / "no" / "folder.png")],
                      ["sheet", str(path), "--out", str(tmp_path / "sheet.nonsense")]):
        assert main(arguments) == 2
        told = capsys.readouterr()
        assert told.err.startswith("error: ") and told.err.count("\n") == 1 and told.out == ""
    for arguments in ([], ["sheet"], ["check", str(path), "--nonsense"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_data_imports_without_cv2():
    code = "import sys; sys.modules['cv2'] = None; import tinyfer.data, tinyfer.data.audit; tinyfer.data.load"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_toyfaces_is_the_function_and_carries_draw():
    import tinyfer.data.toyfaces  # the module of that name must not push the function aside
    assert callable(data.toyfaces) and callable(data.toyfaces.draw) and tinyfer.data.toyfaces is data.toyfaces
