"""`doctor`: is everything there that the lessons need? A line for each thing, and the remedy where one is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable

from tinyfer.places import SETUP

from . import course
from .course import shown
from .verdict import colour, say


def run() -> int:
    """Examine everything; 0 when nothing that the lessons need is missing."""
    bad = 0
    for examine in (_python, _packages, _kernels, _processor, _work, _opencv, _screen):
        good, what, remedy = examine()
        bad += not good and remedy.endswith("!")
        mark = (
            colour("ok  ", "ok")
            if good
            else colour("FAIL", "FAIL")
            if remedy.endswith("!")
            else colour("note", "to do")
        )
        say(f"  {mark}  {what}" + (f"\n        {remedy.rstrip('!')}" if not good else ""))
    say("everything is there" if not bad else "mend what FAILs, then ask again")
    return 1 if bad else 0


Finding = tuple[
    bool, str, str
]  # is it good, what was found, the remedy (ending in ! where the lessons cannot do without)


def _python() -> Finding:
    good = (3, 10) <= sys.version_info[:2]
    return good, f"Python {platform.python_version()} at {sys.executable}", f"install Python 3.12 and run {SETUP}!"


def _packages() -> Finding:
    names = ("numpy", "numba", "matplotlib", "pytest", "hypothesis")
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return not missing, f"packages: {', '.join(names)}", f"missing: {', '.join(missing)}: {SETUP}!"


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _kernels() -> Finding:
    from tinyfer import machine

    machine.tell_of_compiling()

    def one():
        import numpy as np

        from tinyfer import ops

        x, w = np.ones((1, 8, 8, 3), np.float32), np.ones((3, 3, 3, 8), np.float32)
        assert abs(ops.conv2d_forward(x, w, pad=1)[0, 4, 4, 0] - 27) < 1e-4

    try:
        return True, f"kernels compile and run ({_timed(one):.1f} s)", ""
    except Exception as error:
        told = str(error).strip().splitlines()
        return False, f"kernels: {type(error).__name__} {told[0] if told else ''}", f"run {SETUP} again!"


def _processor() -> Finding:
    from tinyfer.bench import facts

    memory = facts.memory_gb()
    told = f"{facts.processor()}, {facts.cores()} cores" + (f", {memory:.0f} GB" if memory else "")
    return not memory or memory >= 3, told, "less than 4 GB of memory: close other programs when training"


def _work() -> Finding:
    folder = course.work()
    where = f"{shown(folder)}, where your files go, can be written"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return False, f"{shown(folder)}: {error.strerror}", "set TINYFER_WORK to a folder of yours!"
    free = shutil.disk_usage(folder).free / 1e9
    return free > 0.5, f"{where} ({free:.0f} GB free)", "less than half a GB is free: the lessons may run out of space"


def _opencv() -> Finding:
    try:
        import cv2
    except Exception as error:
        return False, f"OpenCV does not import: {error}", ("only lesson 14 (webcam) needs it: on Debian or Ubuntu "
                                                          "sudo apt install libgl1 libglib2.0-0")  # fmt: skip
    return True, f"OpenCV {cv2.__version__}, for lesson 14", ""


def _screen() -> Finding:
    there = os.name == "nt" or sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
    return there, "a screen to show pictures on", f"no screen: pictures are written to {shown(course.pictures())}"
