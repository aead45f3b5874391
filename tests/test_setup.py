"""Setting up: which Python is believed, when .venv is believed, and what a newcomer is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import setup

ROOT = Path(__file__).resolve().parent.parent
GOOD = {"version": [3, 12, 1], "implementation": "CPython", "bits": 64, "missing": None, "path": "/usr/bin/python3.12"}
posix = pytest.mark.skipif(os.name == "nt", reason="stands in for Pythons with shell scripts")


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def fake_python(path: Path, **differences) -> str:
    """A script that answers the probe as a Python would, with these differences from a good one."""
    return script(path, f"echo '{json.dumps({**GOOD, 'path': str(path), **differences})}'")


def refusal(monkeypatch, command: str) -> str:
    monkeypatch.setenv("PYTHON", command)
    with pytest.raises(setup.SetupError) as error:
        setup.choose()
    return str(error.value)


def test_this_python_is_believed():
    found = setup.probe([sys.executable])
    assert found["version"] == list(sys.version_info[:3])
    assert setup.fault({**found, "missing": None}) is None


@posix
def test_a_disk_without_locks_is_no_other_set_up(monkeypatch, capsys):
    import fcntl

    def refuse(file, how):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with setup.alone():
        assert "another" not in capsys.readouterr().out


@posix
def test_a_shim_that_does_not_run_is_passed_over(monkeypatch, tmp_path):
    shim = script(tmp_path / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    old = fake_python(tmp_path / "python3", version=[3, 9, 18])
    bare = fake_python(tmp_path / "python3.11", missing="No module named 'ensurepip'")
    good = fake_python(tmp_path / "python3.12")
    absent = str(tmp_path / "python3.10")
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setattr(setup, "candidates", lambda: [[absent], [shim], [old], [bare], [good]])
    assert setup.choose()["path"] == good


@posix
@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ({"version": [3, 9, 18]}, "(3.9.18) is too old: tinyfer runs on 3.10 to"),
        ({"version": [2, 7, 18]}, "(2.7.18) is too old"),
        ({"version": [3, 99, 0]}, "(3.99.0) is too new"),
        ({"implementation": "PyPy"}, "Numba needs CPython"),
        ({"bits": 32}, "Numba needs a 64-bit one"),
        ({"missing": "No module named 'ensurepip'"}, "on Debian or Ubuntu run `sudo apt install python3.12-venv`"),
    ],
)
def test_an_unfit_python_is_named_with_its_remedy(monkeypatch, tmp_path, differences, words):
    assert words in refusal(monkeypatch, fake_python(tmp_path / "python", **differences))


def test_a_python_that_is_asked_for_and_absent(monkeypatch, tmp_path):
    assert f"{tmp_path / 'nope'} does not run" in refusal(monkeypatch, str(tmp_path / "nope"))


@pytest.fixture
def house(monkeypatch, tmp_path):
    """A project in an empty folder, whose .venv costs nothing; `house.calls` lists the work that was done."""
    root = tmp_path / "a house"
    root.mkdir()
    shutil.copy(ROOT / "pyproject.toml", root)
    venv = root / ".venv"
    places = {"ROOT": root, "VENV": venv, "STAMP": venv / "tinyfer-setup.json", "VENV_PYTHON": sys.executable}
    for name, value in places.items():
        monkeypatch.setattr(setup, name, str(value))
    monkeypatch.delenv("PYTHON", raising=False)
    calls: list[str] = []

    def make_venv():
        calls.append("venv")
        shutil.rmtree(venv, ignore_errors=True)
        venv.mkdir()
        return setup.probe([sys.executable])

    def install(extras):
        calls.append(" ".join(["install", *extras]))
        if root.joinpath("offline").exists():
            raise setup.SetupError("no network")

    monkeypatch.setattr(setup, "make_venv", make_venv)
    monkeypatch.setattr(setup, "install", install)
    monkeypatch.setattr(setup, "check_imports", lambda: None)

    class House:
        pass

    House.root, House.venv, House.calls = root, venv, calls
    return House


def done(house) -> list[str]:
    calls = list(house.calls)
    house.calls.clear()
    return calls


def test_nothing_is_installed_twice(house):
    setup.setup([])
    assert done(house) == ["venv", "install"]
    setup.setup([])
    assert done(house) == []
    setup.setup(["test"])
    assert done(house) == ["install test"]
    for extras in (["test"], []):
        setup.setup(extras)
        assert done(house) == []
    with open(house.root / "pyproject.toml", "a") as file:
        file.write("# changed\n")
    setup.setup([])
    assert done(house) == ["install test"]
    setup.setup([])
    assert done(house) == []


def test_a_set_up_that_did_not_finish_is_not_believed(house):
    (house.root / "offline").touch()
    for _ in range(2):
        with pytest.raises(setup.SetupError):
            setup.setup([])
        assert done(house) == ["venv", "install"]
    (house.root / "offline").unlink()
    setup.setup([])
    assert done(house) == ["venv", "install"]

    # An extra that cannot be fetched leaves what worked as it was.
    (house.root / "offline").touch()
    with pytest.raises(setup.SetupError):
        setup.setup(["lint"])
    assert done(house) == ["install lint"]
    setup.setup([])
    assert done(house) == []


@pytest.mark.parametrize("content", ["", "{}", "[]", "rubbish", '{"root": 1, "python": null}'])
def test_a_damaged_stamp_means_starting_anew(house, content):
    setup.setup([])
    done(house)
    (house.venv / "tinyfer-setup.json").write_text(content)
    setup.setup([])
    assert done(house) == ["venv", "install"]


def test_a_venv_of_another_place_or_python_is_made_anew(house, monkeypatch):
    setup.setup([])
    done(house)
    monkeypatch.setattr(setup, "VENV_PYTHON", str(house.venv / "gone"))
    setup.setup([])
    assert done(house) == ["venv", "install"]
    monkeypatch.setattr(setup, "VENV_PYTHON", sys.executable)
    monkeypatch.setattr(setup, "ROOT", str(ROOT))
    assert setup.read_stamp() is None


def test_a_missing_library_is_named_with_its_remedy():
    stderr = "Traceback\nImportError: libGL.so.1: cannot open shared object file: No such file or directory\n"
    sentence = setup.fault_in_library("cv2", stderr)
    assert "libGL.so.1" in sentence and "sudo apt install libgl1 libglib2.0-0" in sentence and "headless" in sentence
    assert "libstdc++.so.6" in setup.fault_in_library("numba", stderr.replace("libGL.so.1", "libstdc++.so.6"))
    assert "ValueError: odd" in setup.fault_in_library("numba", "Traceback\nValueError: odd\n")
    assert "crashed" in setup.fault_in_library("numba", "")


@posix
@pytest.mark.skipif(not shutil.which("make"), reason="make is absent")
def test_make_where_no_python_runs(tmp_path):
    script(tmp_path / "python3", "exit 127")
    run = subprocess.run(
        [shutil.which("make"), "setup"], cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "error: no Python 3 runs here: install Python" in run.stderr


def test_help_and_words_that_are_no_extras_install_nothing():
    def run(*words):
        program = str(ROOT / "tools" / "setup.py")
        return subprocess.run([sys.executable, program, *words], capture_output=True, text=True)

    told = run("--help")
    assert told.returncode == 0 and "test, lint, torch, onnx" in told.stdout
    wrong = run("test", "tests")
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: tests: expected extras of pyproject.toml: test, ")


def test_a_python_without_the_packages_is_told_what_to_do():
    """A program is refused with a sentence and no traceback; doctor examines; whoever only imports is left alone."""
    bare = [sys.executable, "-S"]  # without site-packages
    run = subprocess.run([*bare, "-m", "tinyfer.train"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2 and "lacks numpy, numba" in run.stderr and "tools/setup.py" in run.stderr
    assert "Traceback" not in run.stderr
    assert subprocess.run([*bare, "-c", "import tinyfer"], cwd=ROOT).returncode == 0
    found = subprocess.run([*bare, "-m", "tinyfer.doctor"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "numba None" in found and "-> pip install" in found
