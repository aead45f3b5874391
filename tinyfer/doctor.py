"""python -m tinyfer.doctor: is everything there, and how is it mended where it is not?

    python -m tinyfer.doctor                          # a line for each thing; exit status 1 where one is not ok
    python -m tinyfer.doctor --model runs/lite-1 --data fer2013.csv

A thing is `ok`, `not ok` with what to do about it, or a `note`: not there, and not needed for everything."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tinyfer import cli
from tinyfer.cli import option
from tinyfer.errors import UserError
from tinyfer.places import SETUP, user_cache

PROG = "python -m tinyfer.doctor"
OLDEST = (3, 10)
PACKAGES = {"numpy": "1.26", "numba": "0.60", "matplotlib": "3.8", "pandas": "2.1", "pillow": "10.1", "tqdm": "4.60"}
SLOW = 20.0  # seconds for a small kernel
ROOM = 0.5  # GB
ANEW = f"install the packages anew: {SETUP}"
OTHERWISE = {"model": "copy it again, train it again, or use the shipped lite",
             "data": "fetch it again; data/README.md tells how"}


@dataclass(frozen=True)
class Options:
    """The flags of this program."""

    model: str = option("lite", "the model to test: a shipped one, a file, or the folder of a run",
                        metavar="NAME|PATH")
    data: str = option("data", "where data sets are looked for: a folder or a file", metavar="PATH")


class Finding(NamedTuple):
    """What was found. good: None for a note. remedy: what to do about it, unless it is good."""

    good: bool | None
    what: str
    remedy: str = ""


Findings = Iterator[Finding]


def run(options: Options) -> int:
    """Examine everything, line by line; 1 where something is not ok."""
    bad = 0
    for name, examine in checks(options):
        for finding in examined(examine, name):
            print(line(name, finding), flush=True)
            bad += finding.good is False
            name = ""
    print(f"\n{'everything is ok' if not bad else f'{bad} not ok: mend it and ask again'}")
    return 1 if bad else 0


def checks(options: Options) -> list[tuple[str, Callable[[], Findings]]]:
    """What is examined, by name, in order: each thing needs only those before it."""
    return [("Python", python), ("packages", packages), ("kernels", kernels), ("cache", cache), ("OpenCV", opencv),
            ("cameras", cameras), ("window", window), ("model", lambda: model(options.model)),
            ("data", lambda: data_sets(options.data))]


def examined(examine: Callable[[], Findings], name: str) -> Findings:
    """The findings of one check; what it raises is one, too: a sentence of ours says what is wrong and what to do."""
    try:
        yield from examine()
    except UserError as error:
        yield _sentence(False, error, OTHERWISE.get(name, ANEW))
    except Exception as error:  # what broken packages raise cannot be listed
        told = " ".join(str(error).split())[:160]
        yield Finding(False, f"{type(error).__name__}: {told}", ANEW)


def _sentence(good: bool | None, error: UserError, otherwise: str) -> Finding:
    """A sentence of ours as a finding: what is wrong, and what to do about it."""
    what, *remedy = re.split(r": (?=pip |apt-get |replace )|; ", str(error).rstrip("."), maxsplit=1)
    return Finding(good, what, "".join(remedy) or otherwise)


def line(name: str, finding: Finding) -> str:
    """How a finding is printed."""
    mark = {True: "ok", False: "not ok", None: "note"}[finding.good]
    mend = f"\n{'':20}-> {finding.remedy}" if finding.remedy and not finding.good else ""
    return f"{name:9} {mark:8}  {finding.what}{mend}"


# ----------------------------------------------------------------------------------------------------------- the engine


def python() -> Findings:
    """The Python that runs."""
    yield Finding(sys.version_info[:2] >= OLDEST, f"{platform.python_version()}, {platform.system()} "
                  f"{platform.machine()}, {sys.executable}", f"install Python 3.12, then {SETUP}")


def packages() -> Findings:
    """What is installed, and whether it is new enough."""
    found, wrong = [], []
    for name, least in PACKAGES.items():
        version = _version(name)
        found.append(f"{name} {version}")
        if version is None or _numbers(version) < _numbers(least):
            wrong.append(f'"{name}>={least}"')
    yield Finding(not wrong, ", ".join(found), f"pip install {' '.join(wrong)}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def kernels() -> Findings:
    """Whether kernels compile and run, on how many threads and how wide."""
    import numba
    import numpy as np

    from tinyfer import machine, ops
    from tinyfer.kernels import compile as compiling

    start = time.perf_counter()
    good = numba.njit(lambda x: (x * x).sum())(np.arange(4.0)) == 14
    seconds = time.perf_counter() - start
    yield Finding(good and seconds < SLOW, f"a small one compiles in {seconds:.1f} s",
                  "other programs are at work here; close them" if good else f"install Numba anew: {SETUP}")
    machine.tell_of_compiling()
    x, w = np.ones((2, 8, 8, 3), np.float32), np.ones((3, 3, 3, 8), np.float32)
    good = abs(float(ops.conv2d_forward(x, w, pad=1)[0, 4, 4, 0]) - 27) < 1e-4
    yield Finding(good, f"convolution on {machine.threads()} threads of {os.cpu_count()} processors, layer "
                  f"{numba.threading_layer()}, vectors of {compiling.VECTOR_BITS} bits",
                  "its result is wrong: empty the cache named below, and try TINYFER_VECTOR_BITS=0")
    if compiling.VECTOR_BITS == 0:
        yield Finding(None, "no fast kernels for this processor (it lacks AVX2 or FMA): training takes longer",
                      "this Python is for Intel and runs by Rosetta: install one for arm64"
                      if machine.apple("sysctl.proc_translated") else "train with --minutes")


def cache() -> Findings:
    """Where compiled kernels are kept."""
    from tinyfer.kernels import compile as compiling

    if compiling.CACHE is None:
        yield Finding(False, f"{user_cache()} cannot be written: every start compiles anew",
                      "set TINYFER_CACHE to a folder of yours")
        return
    size = sum(path.stat().st_size for path in compiling.CACHE.rglob("*") if path.is_file()) / 1e6
    free = shutil.disk_usage(compiling.CACHE).free / 1e9
    yield Finding(free > ROOM, f"{compiling.CACHE}, {size:.0f} MB, {free:.0f} GB free", "free some space on this disk")


# -------------------------------------------------------------------------------------------------------- what is seen


def opencv() -> Findings:
    """OpenCV, its cascade, and whether that finds a drawn face."""
    from tinyfer import detectors
    from tinyfer.data.toyfaces import scene

    cv2 = detectors.opencv()
    if not hasattr(cv2, "CascadeClassifier"):  # one line says it all
        detectors.load_cascade(cv2)
    yield Finding(True, f"version {cv2.__version__}, {pathlib.Path(str(cv2.__file__)).parent}")
    finder = detectors.make("haar")
    found = detectors.find(finder, scene(240, 320, face=90))
    yield Finding(len(found) == 1, f"cascade {detectors.CASCADE}, which finds {len(found)} of 1 drawn face",
                  'pip install --force-reinstall "opencv-python>=4.10,<5"')


def cameras() -> Findings:
    """Which cameras open."""
    if not _has_opencv():
        return
    from tinyfer.live import capture

    numbers = capture.cameras()
    yield Finding(True if numbers else None, f"{', '.join(map(str, numbers)) or 'none'}{' opens' * bool(numbers)}",
                  "python -m tinyfer.webcam --source demo needs none, --browser takes that of the browser")


def window() -> Findings:
    """Whether a window can be opened."""
    if not _has_opencv():
        return
    from tinyfer.live import window

    try:
        window.check()
        yield Finding(True, "opens")
    except window.NoDisplay as error:  # as it should be, by ssh
        yield _sentence(None, error, ANEW)


def _has_opencv() -> bool:
    from tinyfer import detectors

    try:
        detectors.opencv()
    except UserError:  # told already
        return False
    return True


# ----------------------------------------------------------------------------------------------------- what it works on


def model(name: str) -> Findings:
    """The model's file, and what it says to drawn faces."""
    from tinyfer import faces, models
    from tinyfer.data import LABELS
    from tinyfer.data.toyfaces import draw

    path = models.locate(name)
    loaded = models.load(path)
    yield Finding(True, f"{path}, {loaded.title}, {loaded.params.value.size:,} parameters")
    reader = faces.FaceReader(loaded, "none")
    asked = LABELS if faces.drawn_only(loaded) else ("happy", "surprise")  # the others are drawn too plainly
    right = [reader.read(draw(96, label))[0].label == label for label in asked]
    yield Finding(sum(right) >= max(2, len(right) - 1), f"self-test: {sum(right)} of {len(right)} drawn faces named "
                  "rightly", "it is badly trained, or its file is not what it was: train it again, or use lite")


def data_sets(place: str) -> Findings:
    """Data sets that are found; drawn faces need no file."""
    from tinyfer import data
    from tinyfer.data import loading

    path = pathlib.Path(place)
    names = [table + packed for table in loading.TABLES for packed in loading.PACKED] + list(loading.OTHERS)
    found = [path / name for name in names if (path / name).is_file()]
    if path.is_dir() and not found:
        found = sorted(entry for entry in path.iterdir() if entry.is_dir())
    for one in [path] if path.is_file() else found:
        yield Finding(True, data.load(one).info.text.partition("\n")[0])
    if not found and not path.is_file():
        yield Finding(None, f"no data set in {path}; drawn faces need none",
                      "data/README.md tells how to get FER-2013; --data names another place")


if __name__ == "__main__":
    cli.main(Options, run, prog=PROG, description=__doc__.partition(": ")[2].partition("\n")[0])
