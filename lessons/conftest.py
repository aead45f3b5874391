"""The fixture `mine` for every check.py, and how hypothesis draws there.

`python -m lessons 05` runs the checks in a process of its own; `python -m pytest lessons/05_conv_forward/check.py` runs
the same ones bare, on the student's file in work/."""

import os
import pathlib

import hypothesis
import pytest

from lessons.runner import course
from lessons.runner.handin import Handin

# Small cases for functions that run as plain Python; the same cases every time, so that only an edit changes a verdict.
os.environ.setdefault("TINYFER_CASES", "2,3,5")
hypothesis.settings.register_profile("lessons", deadline=None, derandomize=True, database=None,
                                     report_multiple_bugs=False, print_blob=False)  # fmt: skip
hypothesis.settings.load_profile("lessons")


@pytest.fixture(scope="session")
def mine(request):
    """The student's file, guarded: what the runner hands over, or the one in work/."""
    handed_over = getattr(request.config, "handin", None)
    if handed_over is not None:
        return handed_over
    folders = {pathlib.Path(item.path).parent.name for item in request.session.items}
    if len(folders) != 1:
        pytest.exit("name the check.py of one lesson", returncode=2)
    lesson = course.find(folders.pop())
    return Handin(lesson.mine, lesson)
