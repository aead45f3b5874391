"""What single checks say of a file, where a bank cannot tell: it needs a slow machine, or another one."""

import pytest

from lessons.runner import course
from lessons.runner.handin import Handin
from tinyfer import userkernels

HOISTED = "                            pixel = xp[n, p * stride + i, q * stride + j, c]\n"


def test_lesson_10_names_what_is_read_anew_for_each_k(tmp_path):
    """Compilers that take it out of the loop by themselves are fast: only where it is slow is it told."""
    lesson = course.find("10")
    check = userkernels.run_file(lesson.file("check.py"))
    source = lesson.file("solution.py").read_text(encoding="utf-8")
    assert source.count(HOISTED) == 1
    inside = source.replace(HOISTED, "").replace("+= pixel *", "+= xp[n, p * stride + i, q * stride + j, c] *")
    for text, looks in ((inside, "xp[n, p * stride + i, q * stride + j, c] is the same for every k"),
                        (source, "w is read in its order")):  # fmt: skip
        path = tmp_path / "mine.py"
        path.write_text(text, encoding="utf-8")
        assert check.order(Handin(path, lesson)).startswith(looks)


@pytest.mark.parametrize("source, name", [
    ("import os\nCHUNKS = os.cpu_count()", "cpu_count"), ("from os import cpu_count as n\nCHUNKS = n()", "cpu_count"),
    ("CHUNKS = numba.config.NUMBA_NUM_THREADS", "NUMBA_NUM_THREADS"), ("CHUNKS = 8  # not os.cpu_count()", ""),
])  # fmt: skip
def test_lesson_11_sees_who_asks_for_cores(source, name, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"import numba\n{source}\n")
    lesson = course.find("11")
    assert userkernels.run_file(lesson.file("check.py")).asked(Handin(path, lesson)) == name


def test_instructors_are_told_each_lesson_s_time_limit():
    page = (course.ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
    limits = next(part for part in page.split("\n\n") if "--limit" in part)
    for seconds in {lesson.seconds for lesson in course.lessons()}:
        assert f"{seconds:g} s" in limits, "lessons.toml has another limit than this page says"
