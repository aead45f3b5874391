"""The students' tree: it works by itself and holds no answer; and a class's own cases, which nobody knows by heart."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest

from lessons.runner import course, grading, release
from tests.programs import ROOT, refused
from tinyfer import places
from tinyfer.errors import UserError


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release") / "students"
    assert release.release(folder) == 0
    return folder


def lessons(tree, *words):
    """`python -m lessons WORDS`, as typed in a tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "TINYFER_"))}
    cache = tree.parent / "cache"  # of ticks; the kernels' stays where it is, since compiling takes a minute
    kernels = os.environ.get("NUMBA_CACHE_DIR", str(places.user_cache() / "kernels"))
    return subprocess.run([sys.executable, "-m", "lessons", *words], cwd=tree, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env={**kept, "TINYFER_CACHE": str(cache),
                                                         "NUMBA_CACHE_DIR": kernels})  # fmt: skip


# What a later lesson begins with may be what an earlier one ended with.
GIVEN = {("05_conv_forward", "lessons/10_compile/exercise.py"), ("10_compile", "lessons/12_past_the_limit/exercise.py")}


def plain(text):
    """Lines of code without indentation, comments and blank lines."""
    lines = (re.sub(r"\s*#.*", "", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def test_no_answer_is_in_it(tree):
    """Long answers as they are, line below line; tinyfer itself is the engine, and there to be read."""
    files = [path for path in tree.rglob("*") if path.is_file() and path.suffix not in (".png", ".npz")]
    assert not [path for path in files if path.name in ("solution.py", "bank.py", "class.txt")]
    assert not [*tree.glob("tests"), *tree.rglob("__pycache__"), *tree.glob("docs/lessons*")]
    texts = {path: plain(path.read_text(encoding="utf-8")) for path in files if path.parts[-2] != "tinyfer"}
    count = 0
    for lesson in course.lessons():
        source = lesson.file("solution.py").read_text(encoding="utf-8")
        for answer in re.findall(r"# BEGIN ANSWER\n(.*?)# END ANSWER", source, re.DOTALL):
            if len(plain(answer).splitlines()) >= 3:
                count += 1
                found = {path.relative_to(tree).as_posix() for path, text in texts.items() if plain(answer) in text}
                assert {(lesson.name, path) for path in found} <= GIVEN
    assert count >= len(course.lessons()) / 2


def test_it_works_by_itself(tree):
    listed = lessons(tree)
    assert listed.returncode == 0 and f"0 of {len(course.lessons())} done" in listed.stdout, listed.stderr
    assert "next: python -m lessons 00" in listed.stdout and (tree / "work").is_dir()
    begun = lessons(tree, "00")
    assert begun.returncode == 1 and "to_grey48 is still to be written" in begun.stdout
    shutil.copyfile(course.find("00").file("solution.py"), tree / "work" / "00_hello.py")
    assert lessons(tree, "check-all").returncode == 0
    (tree / "work" / "00_hello.py").unlink()
    for words in (("solution", "00"), ("solution", "00", "--give-up"), ("check-all", "--solutions")):
        refused(lessons(tree, *words), "this tree has no solutions; ask your instructor")
    assert not list((tree / "work").iterdir())
    for words in (("dev", "lint"), ("grade", "work", "--out", "x.csv")):
        refused(lessons(tree, *words), "this is a student's tree")
    assert "For those who" not in (tree / "lessons" / "README.md").read_text(encoding="utf-8")


def imported(path, tree):
    """The project's modules that a file imports, as paths in the tree without their ending."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(tree).parent.parts)
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (tree / name.replace(".", "/") for name in names
                    if name.split(".")[0] in ("lessons", "tests", "tinyfer", "tools"))  # fmt: skip


def test_nothing_in_it_imports_what_was_left_out(tree):
    missing = set()
    for path in tree.rglob("*.py"):
        for module in imported(path, tree):
            places = (module, module.parent)  # the last name may be a module's, or something in it
            if not any(place.is_dir() or place.with_suffix(".py").is_file() for place in places):
                missing.add((path.name, module.name))
            if module.parent.name == "runner" and module.name in release.INSTRUCTORS:
                missing.add((path.name, module.name))
    # these two only once the instructor's files were asked for
    assert missing == {("main.py", "bank"), ("main.py", "lint")}


def test_where_it_may_be_written(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("")
    with pytest.raises(UserError, match="is not empty"):
        release.release(tmp_path / "old")
    with pytest.raises(UserError, match="lies inside this project"):
        release.release(ROOT / "docs" / "students")


@pytest.mark.skipif(os.name == "nt", reason="the template runs on Linux")
def test_the_classroom_s_jobs_are_the_lessons_that_were_begun(tree, tmp_path):
    """The shell lines of the template's first job, run as GitHub would."""
    text = (tree / ".github" / "workflows" / "lessons.yml").read_text(encoding="utf-8")
    script = re.search(r"id: list\n +run: \|\n((?: {10}.*\n)+)", text)[1]

    def jobs():
        output = tmp_path / "output"
        output.write_text("")
        subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, check=True,
                       env={**os.environ, "GITHUB_OUTPUT": output})  # fmt: skip
        return output.read_text()

    assert jobs() == "lessons=[]\n"
    (tmp_path / "work").mkdir()
    for name in ("05_conv_forward.py", "00_hello.py", "00_hello.old1.py", "notes.txt", "given-up.txt"):
        (tmp_path / "work" / name).write_text("")
    assert jobs() == 'lessons=["00","05"]\n'
    assert "run: python tools/setup.py test" in text and "-m lessons ${{ matrix.lesson }}" in text


# ------------------------------------------------------------------------------------------------------ a class's cases


@pytest.fixture
def no_class(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYFER_CLASS", raising=False)
    for module in (course, release):
        monkeypatch.setattr(module, "CLASS", tmp_path / "class.txt")
    return tmp_path / "class.txt"


def test_the_class_is_what_the_file_says_unless_the_environment_does(no_class, monkeypatch):
    assert course.class_seed() == 0
    no_class.write_text("2027\n")
    assert course.class_seed() == 2027
    monkeypatch.setenv("TINYFER_CLASS", "5")
    assert course.class_seed() == 5
    for bad in ("", "five", "-1"):
        monkeypatch.setenv("TINYFER_CLASS", bad)
        with pytest.raises(UserError, match=r"TINYFER_CLASS is .*: expected the number of a class"):
            course.class_seed()


def test_a_class_is_chosen_once_our_solutions_pass_it(no_class, monkeypatch, capsys):
    asked = []

    def grade(lesson, path):
        asked.append((lesson.number, os.environ["TINYFER_CLASS"]))
        passed = asked[-1] != ("01", "13")
        checks = [{"check": "any shape", "status": "ok" if passed else "fail", "text": ""}]
        return grading.Result(lesson, path, checks, collected=1)

    monkeypatch.setattr(release.grading, "grade", grade)
    assert release.variants(13) == 1 and not no_class.exists()
    assert 'FAIL  01 Scores to loss           fails at "any shape"' in capsys.readouterr().out
    assert release.variants(14) == 0 and course.class_seed() == 14
    assert asked[-1] == (course.lessons()[-1].number, "14") and "TINYFER_CLASS" not in os.environ
    assert release.variants(0) == 0 and not no_class.exists()
    with pytest.raises(UserError, match="which class"):
        release.variants(None)


KEY = """
import functools, hashlib, json, pathlib
import numpy as np
KEPT = pathlib.Path(__file__).with_name("kept.json")
def _key(name, args):
    parts = [(a.shape, a.dtype.str, a.tobytes()) if isinstance(a, np.ndarray) else a for a in args]
    parts = [p.bit_generator.state if isinstance(p, np.random.Generator) else p for p in parts]
    return hashlib.sha256(repr((name, parts)).encode()).hexdigest()
def _told(a):
    if isinstance(a, tuple):
        return [_told(part) for part in a]
    return {"shape": np.shape(a), "dtype": np.asarray(a).dtype.str, "bytes": np.asarray(a).tobytes().hex()}
def _made(a):
    if isinstance(a, list):
        return tuple(map(_made, a))
    return np.frombuffer(bytes.fromhex(a["bytes"]), a["dtype"]).reshape(a["shape"]).copy()
"""
RECORDS = KEY + """
def _recorded(name, f):
    @functools.wraps(f)
    def asked(*args):
        key = _key(name, args)
        answer = f(*args)
        after = [_told(a) for a in args if isinstance(a, np.ndarray)]
        with open(KEPT, "a") as file:
            file.write(json.dumps([key, None if answer is None else _told(answer), after]) + "\\n")
        return answer
    return asked
for _name in NAMES:
    globals()[_name] = _recorded(_name, globals()[_name])
"""
KNOWS = KEY + """
TABLE = {key: (answer, after) for key, answer, after in map(json.loads, KEPT.read_text().splitlines())}
def _known(name, f):
    @functools.wraps(f)
    def answers(*args):
        answer, after = TABLE.get(_key(name, args), (None, []))
        for array, new in zip([a for a in args if isinstance(a, np.ndarray)], after):
            array[...] = _made(new)
        return None if answer is None else _made(answer)
    return answers
for _name in NAMES:
    globals()[_name] = _known(_name, globals()[_name])
"""


@pytest.mark.ci
@pytest.mark.parametrize("number", ["00", "01", "03", "04", "05", "06", "07", "08"])
def test_who_knows_the_public_answers_by_heart_fails_in_a_class_of_its_own(number, tmp_path, no_class, monkeypatch):
    """One file writes down all that the public checks ask and our solution answers; another one only reads that."""
    lesson = course.find(number)
    names = f"\nNAMES = {list(lesson.functions)}\n"
    ours = lesson.file("solution.py").read_text(encoding="utf-8")
    stub = lesson.file("exercise.py").read_text(encoding="utf-8")
    records, knows, right = (tmp_path / f"{name}.py" for name in ("records", "knows", "right"))
    records.write_text(ours + names + RECORDS)
    knows.write_text(stub + names + KNOWS)
    right.write_text(ours)
    assert grading.grade(lesson, records).passed
    assert grading.grade(lesson, knows).passed
    monkeypatch.setenv("TINYFER_CLASS", "2027")
    failed = grading.grade(lesson, knows)
    assert not failed.passed and failed.failure["status"] == "fail", failed
    assert grading.grade(lesson, right).passed


# ------------------------------------------------------------------------------------------------------------- the list


def test_the_list_is_there_at_once(tmp_path):
    """Without NumPy and Numba, which take seconds on a slow disk."""
    code = ("import sys, runpy; sys.argv = ['lessons']\ntry:\n    runpy.run_module('lessons', run_name='__main__')\n"
            "finally:\n    print([name for name in ('numpy', 'numba', 'pytest') if name in sys.modules])")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "TINYFER_WORK": str(tmp_path)})  # fmt: skip
    assert "0 of" in done.stdout and done.stdout.rstrip().endswith("[]"), done
