"""python -m lessons, as students type it: right and wrong files, odd terminals, folders that cannot be written."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import pytest

from lessons.runner import child, course, exercises, grading, main
from tests.programs import ROOT, refused
from tinyfer import places

LESSON = course.find("00")
SOLUTION = LESSON.file("solution.py").read_text(encoding="utf-8")
HEAD = "def to_grey48(img):\n"


@pytest.fixture
def lessons(tmp_path, monkeypatch, capsys):
    """Runs `python -m lessons WORDS` with a work folder and a cache of its own, in this process."""
    kernels = places.user_cache() / "kernels"  # these stay where they are: compiling takes a minute
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.environ.get("NUMBA_CACHE_DIR", str(kernels)))
    monkeypatch.setenv("TINYFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TINYFER_WORK", str(tmp_path / "work"))

    def run(*words):
        status = main.main([str(word) for word in words])
        return subprocess.CompletedProcess(words, status, *capsys.readouterr())

    run.mine = tmp_path / "work" / "00_hello.py"
    return run


def test_from_the_first_list_to_the_tick(lessons):
    first = lessons()
    assert first.returncode == 0 and "0 of" in first.stdout and "next: python -m lessons 00" in first.stdout
    begun = lessons("00")
    assert begun.returncode == 1 and "is yours now: read" in begun.stdout and "to do" in begun.stdout
    assert lessons.mine.read_text(encoding="utf-8") == LESSON.file("exercise.py").read_text(encoding="utf-8")
    hints = [lessons("hint", "0").stdout for _ in range(4)]
    assert [hint[:11] for hint in hints] == ["hint 1 of 3", "hint 2 of 3", "hint 3 of 3", "hint 1 of 3"]
    shut = lessons("solution", "00")
    assert shut.returncode == 1 and "--give-up" in shut.stdout and "BEGIN ANSWER" not in shut.stdout
    lessons.mine.write_text(SOLUTION, encoding="utf-8")
    passed = lessons("hello")
    assert passed.returncode == 0, passed.stdout
    assert "all checks passed" in passed.stdout and "\033" not in passed.stdout
    assert re.search(r"\[x\] 00", lessons().stdout)
    assert "BEGIN ANSWER" in lessons("solution", "00").stdout
    lessons.mine.write_text(SOLUTION + "\n# a thought\n", encoding="utf-8")
    assert re.search(r"\[~\] 00 .*edited since it passed", lessons().stdout)


def test_giving_up_is_recorded_and_reset_keeps_what_was_written(lessons):
    assert "BEGIN ANSWER" in lessons("solution", "00", "--give-up").stdout
    assert lessons.mine.with_name("given-up.txt").read_text().split()[1] == "00_hello"
    assert "solution read" in lessons().stdout
    lessons.mine.write_text("mine = 1\n")
    assert "is as it was at the beginning" in lessons("reset", "00").stdout
    assert lessons.mine.with_name("00_hello.old1.py").read_text() == "mine = 1\n"
    assert "still to be written" in lessons.mine.read_text()


def test_the_picture_says_whose_it_is(lessons, tmp_path):
    ours = lessons("show", "00")
    place = tmp_path / "work" / "pictures" / "00_hello.png"
    assert ours.returncode == 0 and "with our to_grey48: yours is still to be written" in ours.stdout, ours.stderr
    assert place.read_bytes()[:4] == b"\x89PNG"
    lessons.mine.write_text(HEAD + "    return 1 / 0\n")
    refused(lessons("show", "00"), "00_hello.py:2: drawing stops with ZeroDivisionError", "let the checks pass")


def test_a_command_that_is_none(lessons):
    refused(lessons("77"), "there is no lesson '77'; the lessons are 00,")
    refused(lessons("hint"), "which lesson? For example: python -m lessons hint 00")
    refused(lessons("00", "--fil", "x"), "did you mean --file?")
    refused(lessons("00", "--file", "nowhere.py"), "there is no such file")
    refused(lessons("try", "14", "--minutes", "3"), "--minutes: try 14 trains nothing")


@pytest.mark.skipif(os.name == "nt", reason="folders are protected otherwise on Windows")
def test_a_work_folder_that_cannot_be_written(lessons, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TINYFER_WORK", str(tmp_path / "file" / "work"))
    refused(lessons("00"), "cannot be written", "set TINYFER_WORK")
    monkeypatch.setenv("TINYFER_CACHE", str(tmp_path / "file" / "cache"))
    assert lessons().returncode == 0 and lessons("hint", "00").returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent otherwise on Windows")
def test_watch_checks_after_an_edit_and_ends_with_ctrl_c(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HEAD + "    return None\n")
    command = [sys.executable, "-m", "lessons", "watch", "00", "--file", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a background job's is
    seen = ""
    try:
        while "watching" not in seen:
            seen += process.stdout.readline()
        assert "nothing is returned" in seen
        time.sleep(0.2)
        path.write_text(SOLUTION)
        while "all checks passed" not in seen:
            seen += process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()


# ----------------------------------------------------------------------------------------------- what files may contain

TROUBLE = {
    "syntax": ("def to_grey48(img)\n", r"mine\.py:1: this is not valid Python, expected ':'"),
    "top level": ("import nothing_of_that_name\n", r"mine\.py:1: running the file stops with ModuleNotFoundError"),
    "endless loop": (HEAD + "    while True:\n        pass\n", r"mine\.py:[234]: still running after 1 s in the check"),
    "endless file": ("while True:\n    pass\n", r"mine\.py:[12]: still running after 1 s\. Is there a loop"),
    "crash": (HEAD + "    import faulthandler\n    faulthandler._sigsegv()\n",
              r"mine\.py:3: the program crashed in the check"),
    "end": (HEAD + "    import os\n    os._exit(0)\n", r"mine\.py: the program ended in the check"),
}  # fmt: skip


@pytest.mark.parametrize("what", TROUBLE)
def test_trouble_gets_a_sentence(what, tmp_path):
    source, message = TROUBLE[what]
    path = tmp_path / "mine.py"
    path.write_text(source)
    result = grading.grade(LESSON, path, seconds=1)
    assert re.search(message, result.trouble), result
    assert not result.passed


@pytest.mark.parametrize(("code", "last", "words"), [
    (0xC0000005, "Windows fatal exception: access violation", "crashed in the check \"sum\": access violation"),
    (-11, "Fatal Python error: Segmentation fault", "crashed in the check \"sum\": Segmentation fault"),
    (-9, "", "signal 9, which is often memory running out"), (5, "", "does the file call exit()?")])
def test_how_a_process_ended(code, last, words):
    child = grading.Child({}, seconds=1)
    child._process, child._raw = types.SimpleNamespace(returncode=code), [last]
    assert words in child.obituary("sum", pathlib.Path("mine.py"), 1)


def test_many_files_in_one_go_and_one_that_ends_the_process(tmp_path):
    sources = [SOLUTION, HEAD + "    import os\n    os._exit(0)\n", HEAD + "    print('x' * 99)\n", SOLUTION]
    paths = [tmp_path / f"{i}.py" for i in range(4)]
    for path, source in zip(paths, sources, strict=True):
        path.write_text(source)
    right, ended, wrong, also_right = grading.grade_all(LESSON, paths)
    assert right.passed and right.right == right.collected > 3 and right.printed == ""
    assert ended.trouble and not ended.passed
    assert wrong.failure["check"] == "shape and dtype" and not wrong.trouble and wrong.printed == "x" * 99 + "\n"
    assert also_right.passed


def test_what_comes_after_a_failure_is_never_the_course_s_fault(tmp_path):
    """With --all: a missing `return` is told once, and what stumbles over the None says so."""
    lesson, path = course.find("14"), tmp_path / "mine.py"
    source = lesson.file("solution.py").read_text(encoding="utf-8")
    path.write_text(source + "\n\ndef square(box, margin):\n    pass\n", encoding="utf-8")
    result = grading.grade(lesson, path, stop=False)
    assert result.failure["check"] == "a square box" and "mended" not in result.failure["text"]
    assert {check["status"] for check in result.checks} == {"ok", "fail"}
    assert any("before the failure above is mended (TypeError" in check["text"] for check in result.checks)
    first = child._described(TypeError("'NoneType'"), types.SimpleNamespace(about=str), False)
    assert first["status"] == "broken"  # where nothing has failed, it is


def test_prints_are_shown_but_not_all_and_in_ascii(tmp_path):
    path = tmp_path / "mine.py"
    loud = "for i in range(200_000):\n    print('line', i, 'é')\n"
    path.write_text(loud + HEAD + "    return img\n", encoding="utf-8")
    command = [sys.executable, "-m", "lessons", "00", "--file", str(path)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 1
    assert "| line 0" in done.stdout and "more lines" in done.stdout and len(done.stdout) < 3000


def test_nothing_of_a_student_s_is_cached(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import numba\n@numba.njit(cache=True)\ndef half(x):\n    return x / 2\n\n" + SOLUTION
                    + "\nhalf(1.0)\n")  # fmt: skip
    assert grading.grade(LESSON, path).passed
    assert [found.name for found in tmp_path.iterdir()] == ["mine.py"]


# ------------------------------------------------------------------------------------------------- before the packages


def test_without_the_packages_it_names_the_line_to_type(tmp_path):
    code = ("import sys, runpy, importlib.util as u, tools.setup as s; s.VENV_PYTHON = '/nowhere'; "
            "old = u.find_spec; u.find_spec = lambda name, *a: None if name == 'numba' else old(name, *a); "
            "runpy.run_module('lessons', run_name='__main__')")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "missing here: numba" in done.stderr and "tools" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a script stands in for Python")
def test_it_restarts_with_the_virtual_environment_s_python(tmp_path):
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\necho restarted with \"$@\"\nexit 7\n")
    stand_in.chmod(0o755)
    code = (f"import sys, runpy, importlib.util as u, tools.setup as s; s.VENV_PYTHON = {str(stand_in)!r}; "
            "u.find_spec = lambda name, *a: None; sys.argv = ['lessons', 'hint', '05']; "
            "from lessons import __main__ as m; m.VENV_PYTHON = s.VENV_PYTHON; m.VENV = 'elsewhere'; "
            "sys.exit(m.main())")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 7 and "restarted with -m lessons hint 05" in done.stdout


# ---------------------------------------------------------------------------------------------------------- exercises


def test_an_exercise_is_its_solution_without_the_answers():
    source = ('def f(x):\n    """Doc."""\n    y = 1\n    # BEGIN ANSWER\n    # why\n    y = 2\n\n    return y\n'
              "    # END ANSWER\n\n\ndef g():\n    return 3\n")  # fmt: skip
    stripped = exercises.strip(source)
    assert "y = 2" not in stripped and "y = 1" in stripped and "return 3" in stripped
    assert '    # Your code: about 2 lines.\n    raise NotImplementedError("f is still to be written")\n' in stripped
    assert exercises.answer_lines(source) == 2


@pytest.mark.parametrize("source", ["# BEGIN ANSWER\n", "# END ANSWER\n", 2 * "# BEGIN ANSWER\n" + "# END ANSWER\n"])
def test_marks_must_pair_up(source):
    with pytest.raises(course.UserError, match="ANSWER"):
        exercises.strip(source)


@pytest.mark.parametrize("lesson", course.lessons(), ids=lambda lesson: lesson.name)
def test_exercises_are_up_to_date(lesson):
    assert lesson.file("exercise.py").read_text(encoding="utf-8") == exercises.expected(lesson)


def test_no_student_s_file_is_upstream():
    listed = subprocess.run(["git", "ls-files", "work"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    assert listed.stdout == ""
