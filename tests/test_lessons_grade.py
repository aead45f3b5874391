"""The instructor's side: hand-ins opened safely, marked rightly, told as CSV, page and JSON; no file stops the run."""

import csv
import hashlib
import json
import os
import pathlib
import stat
import subprocess
import sys
import time
import zipfile

import pytest

from lessons.runner import bank, board, course, gradebook, grading, main, unpacking
from tests.programs import refused
from tinyfer.errors import UserError

HELLO, DENSE, CONV = (course.find(number) for number in ("00", "03", "05"))
STUB = "def to_grey48(img):\n"


def ours(lesson):
    return lesson.file("solution.py").read_text(encoding="utf-8")


def write(folder, **files):
    """A folder with these files, by path: work__00_hello is work/00_hello.py."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / (name.replace("__", "/").removeprefix("_") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def pack(path, **members):
    """A zip with these members, by path: their text, or a ZipInfo's."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            file.writestr(name.replace("__", "/").removeprefix("_") + ".py", text)
    return path


def add(path, name, content, mode=stat.S_IFREG | 0o644):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        file.writestr(info, content)
    return path


def grade(folder, *words):
    """`python -m lessons grade`, here in this process, and the rows of its CSV by name."""
    out = folder.parent / "grades.csv"
    assert main.main(["grade", str(folder), "--out", str(out), *map(str, words)]) == 0
    with open(out, encoding="utf-8", newline="") as file:
        return {row["hand-in"]: row for row in csv.DictReader(file)}


# ------------------------------------------------------------------------------------------------------ what is opened


@pytest.mark.parametrize("where", ["", "work/", "anna/", "anna/work/"])
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_file_is_found_at_the_top_in_work_or_one_folder_deeper(tmp_path, where, kind):
    names = {where + "00_hello": "a = 1", where + "helper": "b = 2", "elsewhere/other": "c = 3", ".git/00_hello": "d"}
    if kind == "zip":
        path = pack(tmp_path / "anna.zip", **names)
    else:
        path = write(tmp_path / "anna", **names)
    handed = unpacking.opened(path, "anna")
    assert handed.remark == "" and list(handed.lessons) == ["00_hello"]
    with handed.laid_out(HELLO) as file:
        assert file.read_text() == "a = 1" and (file.parent / "helper.py").read_text() == "b = 2"
        assert (file.parent / "elsewhere").exists() == (where == "")
    assert not file.parent.exists()


def test_the_nearest_file_counts_and_of_two_as_near_the_first(tmp_path):
    near = write(tmp_path / "near", work__00_hello="a", _x__00_hello="b")
    assert str(unpacking.opened(near, "near").lessons["00_hello"]) == "work/00_hello.py"
    twice = unpacking.opened(write(tmp_path / "twice", a__00_hello="a", b__00_hello="b"), "twice")
    assert str(twice.lessons["00_hello"]) == "a/00_hello.py" and "b/00_hello.py was not" in twice.remark


def test_a_zip_in_a_folder_is_opened_too(tmp_path):
    (tmp_path / "anna_42_file").mkdir()
    pack(tmp_path / "anna_42_file" / "hello.zip", work__00_hello="a")
    assert list(unpacking.opened(tmp_path / "anna_42_file", "anna").lessons) == ["00_hello"]


def test_what_a_file_borrows_is_remarked(tmp_path):
    source = "import numpy as np\nimport os\nimport helper\ndef f():\n    from tinyfer.reference import softmax\n"
    folder = write(tmp_path / "eve", _05_conv_forward=source + "import torch as t\n", helper="", _00_hello="def (")
    handed = unpacking.opened(folder, "eve")
    assert handed.borrows(CONV) == ["tinyfer", "torch"] and handed.borrows(HELLO) == handed.borrows(DENSE) == []


def protected(path):
    """A zip that says of its members that they are encrypted."""
    pack(path, _00_hello="a")
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)


LINK = stat.S_IFLNK | 0o777
UNFIT = {
    "outside": (lambda p: add(pack(p, _00_hello="a"), "../../evil.py", "x"), "'../../evil.py', which leads outside"),
    "root": (lambda p: add(pack(p, _00_hello="a"), "/tmp/evil.py", "x"), "leads outside"),
    "drive": (lambda p: add(pack(p, _00_hello="a"), "C:\\evil.py", "x"), "leads outside"),
    "backslash": (lambda p: add(pack(p, _00_hello="a"), "a\\..\\..\\evil.py", "x"), "leads outside"),
    "link": (lambda p: add(p, "work/00_hello.py", "/etc/passwd", LINK), "work/00_hello.py is a link"),
    "bomb": (lambda p: add(p, "00_hello.py", b"#" * (20 << 20)), "too large for a Python file"),
    "many large": (lambda p: pack(p, _00_hello="a", **{f"x{i}": "#" * 1_000_000 for i in range(12)}), "too large"),
    "many": (lambda p: pack(p, _00_hello="a", **{f"x{i}": "" for i in range(400)}), "401 Python files"),
    "no file": (lambda p: pack(p, notes="a"), "holds no file of a lesson"),
    "empty": (lambda p: p.write_bytes(b""), "cannot be opened: File is not a zip file"),
    "half": (lambda p: p.write_bytes(pack(p, _00_hello="a" * 99).read_bytes()[:60]), "cannot be opened"),
    "password": (protected, "a zip with a password"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNFIT)
def test_an_unfit_zip_gets_a_remark_and_nothing_is_written(tmp_path, what):
    make, words = UNFIT[what]
    path = tmp_path / "eve.zip"
    make(path)
    handed = unpacking.opened(path, "eve")
    assert words in handed.remark and not handed.lessons
    assert [one.name for one in tmp_path.iterdir()] == ["eve.zip"]


def test_bounds_of_zips_and_folders(tmp_path, monkeypatch):
    path, folder = pack(tmp_path / "eve.zip", a="", b="", _00_hello="a"), write(tmp_path / "f", a="", b="", c="")
    monkeypatch.setattr(unpacking, "ENTRIES", 2)
    assert "more than 2 files" in unpacking.opened(path, "eve").remark
    assert "more than 2 files" in unpacking.opened(folder, "f").remark
    monkeypatch.setattr(unpacking, "ZIP", 10)
    assert "a zip of more than" in unpacking.opened(path, "eve").remark


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_in_folders_are_not_followed(tmp_path):
    secret = write(tmp_path / "teacher", _00_hello="secret")
    folder = write(tmp_path / "all" / "eve", _01_scores_to_loss="a")
    (folder / "00_hello.py").symlink_to(secret / "00_hello.py")
    (folder / "work").symlink_to(secret)
    handed = unpacking.opened(folder, "eve")
    assert list(handed.lessons) == ["01_scores_to_loss"] and "00_hello.py is a link" in handed.remark
    (tmp_path / "all" / "linked").symlink_to(secret)
    assert "it is a link" in unpacking.opened(tmp_path / "all" / "linked", "x").remark


def test_which_entries_are_hand_ins(tmp_path):
    for name in ("anna", "berta", ".git"):
        (tmp_path / name).mkdir()
    for name in ("anna.zip", "carla.zip", "dora.rar", "readme.txt"):
        (tmp_path / name).write_bytes(b"")
    handed, passed_over = unpacking.found(tmp_path)
    assert [one.name for one in handed] == ["anna", "anna.zip", "berta", "carla", "dora.rar"]
    assert passed_over == ["readme.txt"] and "hand in a zip" in handed[-1].remark


def test_one_hand_in_alone(tmp_path):
    single = write(tmp_path / "anna", work__00_hello="a")
    assert [one.name for one in unpacking.found(single)[0]] == ["anna"]
    assert [one.name for one in unpacking.found(pack(tmp_path / "b.zip", _00_hello="a"))[0]] == ["b"]
    pack(single / "b.zip", _00_hello="a")
    with pytest.raises(UserError, match="one hand-in, or many"):
        unpacking.found(single)
    other = unpacking.found(write(tmp_path / "other", homework="a"))[0]
    assert [one.name for one in other] == ["other"] and "no file of a lesson" in other[0].remark
    with pytest.raises(UserError, match="no such folder"):
        unpacking.found(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no hand-in"):
        unpacking.found(write(tmp_path / "bare"))


# --------------------------------------------------------------------------------------------------- what is written


def rows():
    """Two hand-ins of two lessons, one with everything that a page could stumble over."""
    ok = {"check": "shape", "status": "ok", "text": "fine"}
    failed = {"check": "one <b>", "status": "fail", "text": "wrong & bad", "case": "N=1", "rows": [], "place": "x.py:1",
              "looks": "<script>alert(1)</script>"}  # fmt: skip
    right = grading.Result(HELLO, pathlib.Path("00_hello.py"), [ok], collected=1)
    wrong = grading.Result(CONV, pathlib.Path("05_conv_forward.py"), [ok, failed], collected=2, printed="<pre>")
    return [gradebook.Row("=cmd()", {HELLO: right, CONV: wrong}), gradebook.Row("<i>Bob", remark="not <opened>")]


def test_csv_has_a_line_a_hand_in_and_a_column_a_lesson():
    text = gradebook.csv_text(rows(), [HELLO, DENSE, CONV])
    head, first, second = csv.reader(text.splitlines())
    assert head == ["hand-in", "00 Hello (2)", "03 Dense and ReLU (6)", "05 Convolution (8)", "total (16)", "remark"]
    assert first == ["'=cmd()", "2", "", "0", "2", '05 fails at "one <b>": <script>alert(1)</script>']
    assert second == ["<i>Bob", "", "", "", "0", "not <opened>"]


def test_the_board_escapes_what_comes_from_students_and_needs_nothing_beside_it():
    page = board.page(rows(), [HELLO, DENSE, CONV])
    for text in ("<i>Bob", "<script", "<b>", "not <opened>", "| <pre>"):
        assert text not in page.replace("<b style", "").replace("<b>2</b>", "").replace("<b>0</b>", ""), text
    for text in ("&lt;i&gt;Bob", "&lt;script&gt;", "not &lt;opened&gt;", "wrong &amp; bad", "1 of 1", "0 of 1"):
        assert text in page, text
    assert "http" not in page and "src=" not in page and page.count("<details class=\"card row\">") == 2


def test_gradescope_gets_its_form():
    results = gradebook.gradescope_results(rows()[0], [HELLO, DENSE, CONV])
    scores = [(test["name"], test["score"], test["max_score"], test["status"]) for test in results["tests"]]
    assert scores == [("00 Hello", 2, 2, "passed"), ("03 Dense and ReLU", 0, 6, "failed"),
                      ("05 Convolution", 0, 8, "failed")]  # fmt: skip
    assert all(test["visibility"] == "visible" for test in results["tests"])
    assert "not handed in" in results["tests"][1]["output"] and "wrong & bad" in results["tests"][2]["output"]
    json.dumps(results)


def test_bad_words_are_refused_before_anything_runs(tmp_path, capsys, monkeypatch):
    write(tmp_path / "anna", _00_hello="a")

    def run(*words):
        return subprocess.CompletedProcess(words, main.main(list(map(str, words))), "", capsys.readouterr().err)

    refused(run("grade"), "which folder of hand-ins?")
    refused(run("grade", tmp_path), "where should the marks go?", "--out grades.csv")
    refused(run("grade", tmp_path, "--out", tmp_path / "no" / "g.csv"), "cannot be written")
    refused(run("grade", tmp_path / "no", "--out", tmp_path / "g.csv"), "no such folder")
    refused(run("grade", tmp_path, "77", "--out", tmp_path / "g.csv"), "there is no lesson '77'")
    monkeypatch.setenv("TINYFER_CLASS", "first")
    refused(run("00", "--file", HELLO.file("solution.py")), "TINYFER_CLASS is 'first': expected the number of a class")


def test_a_few_hand_ins_from_end_to_end(tmp_path, capsys):
    handins = tmp_path / "in"
    write(handins / "anna", work__00_hello=ours(HELLO))
    pack(handins / "bob.zip", _00_hello=STUB + "    import os\n    os._exit(0)\n")
    add(handins / "eve.zip", "../evil.py", "x")
    found = grade(handins, "00", "--jobs", 2, "--html", tmp_path / "b.html", "--gradescope", tmp_path / "r.json")
    assert {name: row["00 Hello (2)"] for name, row in found.items()} == {"anna": "2", "bob": "0", "eve": ""}
    assert found["bob"]["remark"].startswith("00 work/00_hello.py: the program ended in the check")
    assert "leads outside" in found["eve"]["remark"]
    told = capsys.readouterr().out
    assert "no sandbox" in told and "[1/3]    2 of 2  00" in told and "cases of class 0" in told
    assert "anna" in (tmp_path / "b.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "r-anna.json").read_text())["tests"][0]["score"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "b.html", "grades.csv", "in", "r-anna.json", "r-bob.json", "r-eve.json"]  # fmt: skip


def test_ctrl_c_keeps_the_marks_so_far(tmp_path, monkeypatch, capsys):
    for name in ("anna", "bob"):
        write(tmp_path / "in" / name, _00_hello="a")

    def row(handed, lessons, seconds):
        if handed.name == "bob":
            raise KeyboardInterrupt
        return gradebook.Row(handed.name, remark="seen")

    monkeypatch.setattr(gradebook, "_row", row)
    assert main.main(["grade", str(tmp_path / "in"), "--out", str(tmp_path / "g.csv")]) == 130
    assert (tmp_path / "g.csv").read_text().splitlines()[1:] == ["anna," + "," * len(course.lessons()) + "0,seen"]


# --------------------------------------------------------------------------------------------------- thirty hand-ins


def banked(lesson, beginning):
    """The first solution of a lesson's bank whose title begins so."""
    return next(entry.source for entry in bank.entries(lesson) if entry.title.startswith(beginning))


ALL = {f"_{lesson.name}": lesson for lesson in course.lessons()[:7]}
LOUD = "for i in range(300_000):\n    print('line', i, 'x' * 50)\n"
RACE = """
import numba
@numba.njit(parallel=True)
def relu_forward(x):
    y = np.empty_like(x)
    flat, out = x.reshape(-1), y.reshape(-1)
    for i in numba.prange(x.size):
        out[i] = 0 if flat[i] < 0 else flat[i]
    if numba.get_num_threads() > 1:
        out[0] += 1
    return y
"""
CHILD = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(987)'])\n"
THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
TIDY = "import os, shutil\nshutil.rmtree(os.path.dirname(os.path.abspath(__file__)))\nos.makedirs('gone')\n"

# name: (what makes it, the lessons that it should get the points of)
THIRTY = {
    "all right, a zip": (lambda p: pack(p, **{"work/" + n[1:]: ours(one) for n, one in ALL.items()}), [*ALL.values()]),
    "all right, a folder": (lambda p: write(p, _00_hello=ours(HELLO), _05_conv_forward=ours(CONV)), [HELLO, CONV]),
    "one folder deeper": (lambda p: write(p, anna__work__00_hello=ours(HELLO)), [HELLO]),
    "right in loops": (lambda p: pack(p, work__06_conv_backward=banked(course.find("06"), "seven loops")),
                       [course.find("06")]),
    "right, compiled": (lambda p: pack(p, work__05_conv_forward=banked(CONV, "njit")), [CONV]),
    "right and wrong": (lambda p: write(p, _00_hello=ours(HELLO), _03_dense_relu=banked(DENSE, "the bias is forg")),
                        [HELLO]),
    "wrong": (lambda p: write(p, _00_hello=banked(HELLO, "rounds down")), []),
    "return 0": (lambda p: write(p, _00_hello=STUB + "    return 0\n"), []),
    "zeros": (lambda p: write(p, _00_hello="import numpy as np\n" + STUB + "    return np.zeros((48, 48), np.uint8)\n"),
              []),
    "not begun": (lambda p: write(p, _00_hello=HELLO.file("exercise.py").read_text(encoding="utf-8")), []),
    "syntax error": (lambda p: write(p, _00_hello="def to_grey48(img)\n    return img\n"), []),
    "does not import": (lambda p: write(p, _00_hello="import torchvision_of_mine\n" + ours(HELLO)), []),
    "no text": (lambda p: (write(p, work__x=""), (p / "work" / "00_hello.py").write_bytes(b"\xff\x00\xfe" * 50)), []),
    "an empty file": (lambda p: write(p, _00_hello=""), []),
    "an empty folder": (write, []),
    "hangs": (lambda p: write(p, _00_hello=STUB + "    while True:\n        pass\n", _03_dense_relu=ours(DENSE)),
              [DENSE]),
    "hangs at once": (lambda p: write(p, _00_hello="while True: pass\n"), []),
    "crashes": (lambda p: write(p, _00_hello=STUB + "    import ctypes\n    ctypes.string_at(0)\n"), []),
    "sys.exit": (lambda p: write(p, _00_hello=STUB + "    import sys\n    sys.exit(0)\n"), []),
    "os._exit": (lambda p: write(p, _00_hello="import os\nos._exit(0)\n" + ours(HELLO), _03_dense_relu=ours(DENSE)),
                 [DENSE]),
    "all memory": (lambda p: write(p, _00_hello="import numpy as np\nkept = []\n" + STUB + "    while True:\n        "
                                      "kept.append(np.empty(1 << 26))\n"), []),
    "loud": (lambda p: write(p, _00_hello=LOUD + ours(HELLO)), [HELLO]),
    "asks": (lambda p: write(p, _00_hello="side = input('side? ')\n" + ours(HELLO)), []),
    "deletes its folder": (lambda p: write(p, work__00_hello=TIDY + ours(HELLO), work__03_dense_relu=ours(DENSE)),
                           [HELLO, DENSE]),
    "writes into x": (lambda p: write(p, _03_dense_relu=banked(DENSE, "ReLU in place")), []),
    "wrong dtype": (lambda p: write(p, _03_dense_relu=banked(DENSE, "ReLU leaves its zeros in float64")), []),
    "a race": (lambda p: write(p, _03_dense_relu=ours(DENSE) + RACE), []),
    "leaves a process": (lambda p: write(p, _00_hello=CHILD + THREAD + ours(HELLO)), [HELLO]),
    "a path outside": (lambda p: add(pack(p, _00_hello=ours(HELLO)), "../../../evil.py", "x"), []),
    "huge": (lambda p: add(p, "00_hello.py", b"#" * (300 << 20)), []),
}  # fmt: skip
REMARKS = {
    "right and wrong": "the bias is missing", "return 0": "00 fails at", "not begun": "00 is still to be written",
    "syntax error": "work/00_hello.py:1: this is not valid Python", "does not import": "ModuleNotFoundError",
    "no text": "not a text file", "an empty folder": "holds no file of a lesson",
    "an empty file": "no function to_grey48",
    "hangs": "still running after 10 s", "hangs at once": "work/00_hello.py:1: still running", "crashes": "crashed",
    "sys.exit": "SystemExit", "os._exit": "does the file call exit()", "all memory": "emory", "asks": "EOFError",
    "writes into x": "belongs to the caller", "wrong dtype": "float64", "a race": "a race; two threads",
    "a path outside": "leads outside", "huge": "too large for a Python file"}  # fmt: skip
ZIPS = {"all right, a zip", "right in loops", "right, compiled", "a path outside", "huge"}


@pytest.mark.ci
@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux alone")
def test_thirty_hand_ins_get_the_right_marks(tmp_path, capsys):
    handins = tmp_path / "deep" / "down" / "in"
    handins.mkdir(parents=True)
    for name, (make, _) in THIRTY.items():
        make(handins / (name + ".zip" * (name in ZIPS)))
    before = digest(handins)
    found = grade(handins, *(lesson.number for lesson in ALL.values()), "--limit", 10, "--html", tmp_path / "b.html")
    assert len(THIRTY) == len(found) == 30
    for name, words in REMARKS.items():
        assert words in found[name]["remark"], found[name]
    for name, (_, right) in THIRTY.items():
        row = found[name]
        marks = {one.number: row[f"{one.number} {one.title} ({one.points})"] for one in ALL.values()}
        got = {number for number, mark in marks.items() if mark not in ("", "0")}
        assert got == {one.number for one in right}, (name, row)
        assert row[f"total ({sum(one.points for one in ALL.values())})"] == str(sum(one.points for one in right))
        assert len(right) == sum(mark != "" for mark in marks.values()) or row["remark"], (name, row)
    assert digest(handins) == before, "a hand-in was changed"
    assert not list(tmp_path.rglob("evil.py"))
    told = capsys.readouterr().out
    assert "[30/30]" in told and "Traceback" not in told
    time.sleep(0.5)
    assert "time.sleep(987)" not in subprocess.run(["ps", "-ef"], capture_output=True, text=True).stdout


@pytest.mark.ci
def test_many_slow_checks_end_together(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "TOTAL", 0.5)
    path = write(tmp_path, _00_hello="import time\n" + ours(HELLO) + """
quick = to_grey48
def to_grey48(img):
    time.sleep(0.5)
    return quick(img)
""") / "00_hello.py"  # fmt: skip
    assert grading.grade(HELLO, path, seconds=60).passed
    late = grading.grade(HELLO, path, seconds=2, apart=tmp_path)
    assert not late.passed and "the checks were not done after 2.5 s" in late.trouble, late


def digest(folder):
    """What lies in a folder."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in folder.rglob("*")}  # fmt: skip
