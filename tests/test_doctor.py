"""python -m tinyfer.doctor: what it finds where all is well, and in set-ups that are broken."""

import pathlib
import re
import subprocess
import sys
import types

import numba
import numpy as np
import pytest

from tinyfer import checkpoint, cli, doctor, machine
from tinyfer.errors import UserError
from tinyfer.kernels import compile as compiling
from tinyfer.live import capture, window
from tinyfer.places import SETUP

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def elsewhere_well(monkeypatch, tmp_path):
    """A machine with a window and a camera, whatever this one has, and with no data sets."""
    monkeypatch.setattr(window, "check", lambda: None)
    monkeypatch.setattr(capture, "cameras", lambda: [0])
    monkeypatch.chdir(tmp_path)


def examined(capsys, *words, status):
    """What the program says, and the lines of it that are not ok, each with its remedy: {name: text}."""
    assert cli.status(doctor.Options, doctor.run, list(words), prog=doctor.PROG) == status
    out = capsys.readouterr().out
    bad = re.findall(r"^(\w*) +not ok +(.*\n +-> .*)$", out, re.M)
    assert out.count("not ok  ") == len(bad), out  # none without a remedy
    return out, dict(bad)


def test_where_all_is_well(capsys):
    out, bad = examined(capsys, status=0)
    assert not bad and "everything is ok" in out
    for name in ("Python", "packages", "kernels", "cache", "OpenCV", "cameras", "window", "model"):
        assert re.search(rf"^{name} +ok  ", out, re.M), name
    for part in ("numba 0.", "compiles in", "threads of", "layer", "bits", "GB free", "version 4.", "1 of 1 drawn face",
                 "0 opens", "self-test: 2 of 2"):
        assert part in out, part
    assert re.search(r"^data +note +no data set in data; drawn faces need none\n +-> data/README.md", out, re.M)


def test_no_opencv(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    out, bad = examined(capsys, status=1)
    assert list(bad) == ["OpenCV"] and "needs OpenCV\n" in bad["OpenCV"]
    assert '-> pip install "opencv-python>=4.10,<5"' in bad["OpenCV"] and "cameras" not in out


def test_opencv_5(capsys, monkeypatch):
    cv2 = types.ModuleType("cv2")
    cv2.__version__, cv2.__file__ = "5.0.0", "cv2/__init__.py"
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    _, bad = examined(capsys, status=1)
    assert list(bad) == ["OpenCV"] and "OpenCV 5.0.0 has no Haar cascades any more" in bad["OpenCV"]
    assert '-> pip install "opencv-python>=4.10,<5"' in bad["OpenCV"]


@pytest.mark.parametrize("content", [None, "", "<opencv_storage></opencv_storage>"])
def test_no_cascade(capsys, monkeypatch, tmp_path, content):
    import cv2
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    if content is not None:
        (tmp_path / "haarcascade_frontalface_default.xml").write_text(content)
    _, bad = examined(capsys, status=1)
    assert len(bad) == 1 and "lacks its cascade" in (told := bad.popitem()[1]) and str(tmp_path) in told
    assert "-> pip install --force-reinstall" in told


def test_no_display_is_no_fault(capsys, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    (found,) = doctor.examined(doctor.window, "window")
    assert found.good is None and "no display here" in found.what and "--browser" in found.remedy


def test_no_window(capsys, monkeypatch):
    def check():
        raise UserError("no window can be opened: the display refuses; use --browser.")

    monkeypatch.setattr(window, "check", check)
    _, bad = examined(capsys, status=1)
    assert list(bad) == ["window"] and re.search(r"the display refuses\n +-> use --browser$", bad["window"])


def broken_models(tmp_path):
    whole = (ROOT / "tinyfer" / "weights" / "toy.npz").read_bytes()
    arrays, meta = checkpoint.read(ROOT / "tinyfer" / "weights" / "toy.npz")
    for name, content in (("cut", whole[:-5000]), ("text", b"no model"), ("empty", b""),
                          ("changed", whole.replace(whole[20_000:20_004], b"\0\1\2\3", 1))):
        (tmp_path / f"{name}.npz").write_bytes(content)
    checkpoint.save(tmp_path / "zeros.npz", {k: np.zeros_like(a) if a.ndim > 1 else a for k, a in arrays.items()}, meta)


@pytest.mark.parametrize("name, told", [
    ("cut.npz", "damaged or cut off"), ("text.npz", "is not a checkpoint"), ("empty.npz", "is empty"),
    ("changed.npz", "checksum|damaged"), ("missing.npz", "there is no such file"),
    ("zeros.npz", r"self-test: 1 of 7 drawn faces named rightly\n +-> it is badly trained")])
def test_a_broken_model(capsys, tmp_path, name, told):
    broken_models(tmp_path)
    _, bad = examined(capsys, "--model", str(tmp_path / name), status=1)
    assert len(bad) == 1 and re.search(told, bad.popitem()[1])


def test_old_and_missing_packages(capsys, monkeypatch):
    versions = dict.fromkeys(doctor.PACKAGES, "99.0") | {"numpy": "1.25.2", "pandas": None}
    monkeypatch.setattr(doctor, "_version", versions.get)
    _, bad = examined(capsys, status=1)
    assert list(bad) == ["packages"] and 'pip install "numpy>=1.26" "pandas>=2.1"' in bad["packages"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_the_packages_are_those_of_the_project():
    import tomllib
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ranges = dict(re.fullmatch(r"([a-z-]+)>=([\d.]+)", one).groups() for one in listed
                  if ";" not in one and "opencv" not in one)
    assert ranges == doctor.PACKAGES


def test_a_package_that_breaks_is_named(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "kernels", lambda: 1 / 0)
    _, bad = examined(capsys, status=1)
    assert "ZeroDivisionError" in bad["kernels"] and SETUP in bad["kernels"]


@pytest.mark.parametrize(("rosetta", "remedy"), [(0, "--minutes"), (1, "for arm64")])
def test_a_processor_without_fast_kernels_is_told(capsys, monkeypatch, rosetta, remedy):
    monkeypatch.setattr(compiling, "VECTOR_BITS", 0)
    monkeypatch.setattr(machine, "apple", lambda name: rosetta)
    told = [finding for finding in doctor.kernels() if finding.good is None]
    assert len(told) == 1 and "no fast kernels" in told[0].what and remedy in told[0].remedy


@pytest.mark.parametrize(("system", "said", "number"), [("darwin", "4\n", 4), ("darwin", "", 0), ("linux", "4\n", 0)])
def test_what_a_mac_says_of_its_cores(monkeypatch, system, said, number):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: types.SimpleNamespace(stdout=said))
    assert machine.apple("hw.perflevel0.physicalcpu") == number


def test_as_many_threads_as_there_are_fast_cores(monkeypatch):
    most = numba.config.NUMBA_NUM_THREADS
    for fast, threads in ((1, 1), (0, most), (99, most)):
        monkeypatch.setattr(machine, "apple", lambda name, fast=fast: fast)
        machine.set_threads(None)
        assert machine.threads() == threads


def test_data_sets_are_told(capsys, tmp_path):
    (tmp_path / "data").mkdir()
    rows = "\n".join(f"{i % 7},{' '.join(['100'] * 2304)},{usage}" for i, usage in enumerate(
        ["Training"] * 8 + ["PublicTest"] * 7 + ["PrivateTest"] * 7))
    (tmp_path / "data" / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{rows}\n")
    out, _ = examined(capsys, status=0)
    assert re.search(r"^data +ok +data.fer2013.csv: .*22 pictures of 48x48", out, re.M)
    (tmp_path / "data" / "fer2013.csv").write_text("emotion,pixels,Usage\n1,2,3\n")
    assert list(examined(capsys, status=1)[1]) == ["data"]
