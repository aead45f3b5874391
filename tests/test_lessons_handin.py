"""Students' functions under guard: what they may not do is told, and compiled ones get their guard rails back."""

import re

import numba
import numpy as np
import pytest

from lessons.checking import Fault, Todo, case_of, hold, hold_op, hold_small, hold_threads, record
from lessons.runner.course import Lesson
from lessons.runner.handin import Handin
from tinyfer import cases
from tinyfer.errors import UserError

STUB = "def relu_forward(x):\n    raise NotImplementedError('relu_forward is still to be written')\n"
HEAD = "import numba\nimport numpy as np\n"  # line 3 is the first of a test's own
LOOP = """@numba.njit{options}
def relu_forward(x):
    y = np.empty_like(x)
    flat, out = x.reshape(-1), y.reshape(-1)
    for i in {range}:
        out[i] = {value}
    return y
"""
X = np.array([[-1.0, 2.0, -3.0, 4.0]], np.float32)


@pytest.fixture
def handin(tmp_path):
    def make(source, functions=("relu_forward",), **fields):
        (tmp_path / "exercise.py").write_text(STUB)
        lesson = Lesson(str(tmp_path), "ReLU", functions, 1, 1, (), **fields)
        path = tmp_path / "mine.py"
        path.write_text(HEAD + source)
        return Handin(path, lesson)

    return make


def loop(options="", range="range(x.size)", value="0 if flat[i] < 0 else flat[i]"):
    return LOOP.format(options=options, range=range, value=value)


def fault(function, *args) -> Fault:
    with pytest.raises(Fault) as caught:
        function(*args)
    return caught.value


@pytest.mark.parametrize("source", [
    "def relu_forward(x):\n    return np.maximum(x, 0)\n",
    loop(), loop("(parallel=True)", "numba.prange(x.size)"),
], ids=["plain", "njit", "prange"])  # fmt: skip
def test_what_is_right_passes(handin, source):
    mine = handin(source)
    hold("y", np.maximum(X, 0), mine.relu_forward(X))
    hold_small(mine, "relu_forward")


@pytest.mark.parametrize("source, text, looks", [
    ("def relu_forward(x):\n    x[x < 0] = 0\n    return x\n", "changes its input x", "work on a copy"),
    ("def relu_forward(x):\n    return x[9]\n", "mine.py:4 relu_forward stops with IndexError", ""),
    ("def relu_forward(x):\n    exit()\n", "mine.py:4 relu_forward stops with SystemExit", ""),
    ("def relu_forward(x):\n    return x + np.ones(3)\n", "stops with ValueError", "keepdims=True"),
    ("def relu_forward(x):\n    raise MemoryError\n", "mine.py:4 relu_forward stops with MemoryError", ""),
    ("def relu_forward(x, y):\n    return x\n", r"relu_forward\(x, y\): expected the arguments \(x\)", ""),
    ("def relu_foward(x):\n    return x\n", "defines no function relu_forward; did you rename it relu_foward", ""),
    (loop(range="range(x.size + 1)"), "run as plain Python, relu_forward stops with IndexError", ""),
    ("@numba.njit\ndef relu_forward(x):\n    return np.pad(x, 1)\n", "mine.py:5 Numba cannot compile it: .*np.pad", ""),
], ids=["input", "index", "exit", "broadcast", "memory", "arguments", "name", "njit index", "njit type"])  # fmt: skip
def test_what_it_may_not_do(handin, source, text, looks):
    mine = handin(source)
    found = fault(lambda: mine.relu_forward(X))
    assert re.search(text, str(found)), str(found)
    assert looks in found.looks


def test_fastmath_that_forgets_nan(handin):
    """Whether the compiler uses what it may assume is its own affair; what matters is what is said when it does."""
    mine = handin(loop("(fastmath=True)"))
    guarded = mine.relu_forward
    x = np.array([np.nan], np.float32)
    with pytest.raises(Fault) as caught:
        guarded._agree((x, [x]), (np.zeros(1, np.float32), [x]), "compiled")
    assert "fastmath=True" in caught.value.looks and "plain Python" in caught.value.text


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
def test_a_race_is_named(handin):
    """Not a real race, which comes and goes: it loses a number whenever there is more than one thread."""
    racy = "    if numba.get_num_threads() > 1:\n        out[0] += 1\n    return y"
    source = loop("(parallel=True)", "numba.prange(x.size)").replace("    return y", racy)
    mine = handin(source)
    found = fault(mine.relu_forward, X)
    assert "a race" in found.looks and "threads" in found.text
    found = fault(hold_threads, mine, case_of("relu_forward", np.ones((4, 400), np.float32), N=4))
    assert "a race" in found.looks
    threads = numba.get_num_threads()
    hold_threads(handin(loop("(parallel=True)", "numba.prange(x.size)")), case_of("relu_forward", X))
    assert numba.get_num_threads() == threads and "runs on" in str(record)


def test_large_arrays_are_not_run_as_plain_python(handin):
    mine = handin(loop() + "\ncalls = []\n")
    x = np.ones((200, 200), np.float32)
    hold("y", x, mine.relu_forward(x))
    assert list(mine._stages) == []
    mine.relu_forward(X)
    assert sorted(mine._stages) == ["bounded", "plain"]


def test_writing_where_it_may(handin):
    source = "def relu_forward(x):\n    x[x < 0] = 0\n"
    mine = handin(source, in_place={"relu_forward": [0]})
    x = X.copy()
    mine.relu_forward(x)
    assert (x == np.maximum(X, 0)).all()


def test_still_to_be_written(handin):
    with pytest.raises(Todo, match=r"relu_forward is still to be written \(.*mine.py:4\)"):
        handin(STUB).relu_forward(X)


@pytest.mark.parametrize("source, text", [("def f(:\n", "not valid Python"), ("1 / 0\n", "ZeroDivisionError"),
                                          ("int('x')\n", "stops with ValueError")])  # fmt: skip
def test_a_file_that_cannot_be_run(handin, source, text):
    with pytest.raises(UserError, match=text):
        handin(source)


def test_a_stale_buffer_is_named(handin):
    kept = "kept = {}\ndef relu_forward(x):\n    y = kept.setdefault(x.shape, np.maximum(x, 0))\n    return y.copy()\n"
    assert "a stale buffer" in fault(hold_small, handin(kept), "relu_forward").looks
    reused = "kept = {}\ndef relu_forward(x):\n    y = kept.setdefault(x.shape, np.zeros_like(x))\n" \
             "    y[:] = np.maximum(x, 0)\n    return y\n"  # fmt: skip
    assert "a buffer that is kept between calls" in fault(hold_small, handin(reused), "relu_forward").looks


def test_verdicts_of_hold(handin):
    found = fault(hold, "y", np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3) * 2, "N=2")
    assert found.case == "N=2" and "2 times" in found.looks
    assert [label.split()[0] for label, _ in found.rows] == ["expected", "yours"]
    assert "nothing is returned" in fault(hold, "y", X, None).looks
    assert "float64" in str(fault(hold, "y", X, X.astype(np.float64)))
    assert fault(hold, "y", X, X**3 + 1.5, "").looks.startswith("all values are wrong")
    with pytest.raises(Fault) as caught:
        hold("y", X, X**3 + 1.5, looks="cubed, and moved")
    assert caught.value.looks == "cubed, and moved"


def test_mistakes_of_an_op_are_known(handin):
    case = cases.small("relu_forward")[1]
    looks = fault(hold_op, handin("def relu_forward(x):\n    return abs(x)\n"), case).looks
    assert looks.startswith("negative values keep")
    assert "expected 1: y" in str(fault(hold_op, handin("def relu_forward(x):\n    return x, x\n"), case))
