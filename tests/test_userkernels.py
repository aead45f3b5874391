"""Students' kernels: what is right is taken, compiled and timed; what is wrong gets one sentence: where, what, why."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from tests.programs import ROOT
from tinyfer import cases, ops, reference, userkernels
from tinyfer.errors import UserError

HEAD = "import numpy as np\nimport numba\nfrom tinyfer import reference as r\n"  # line 4 is the first of a test's own
CONV = """
def tap(a, b):
    return a * b

def conv2d_forward(x, w, b, stride, pad):
    n, height, width, channels = x.shape
    kh, kw, _, outputs = w.shape
    h, v = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    y = np.zeros((n, h, v, outputs), x.dtype)
    for m in range(n):
        for p in range(h):
            for q in range(v):
                for k in range(outputs):
                    total = b[k]
                    for i in range(kh):
                        for j in range(kw):
                            row, column = p * stride + i - pad, q * stride + j - pad
                            if 0 <= row < height and 0 <= column < width:
                                for c in range(channels):
                                    total += tap(x[m, row, column, c], w[i, j, c, k])
                    y[m, p, q, k] = total
    return y
"""


@pytest.fixture
def file(tmp_path):
    def write(source):
        path = tmp_path / "mine.py"
        path.write_text(HEAD + source)
        return path

    return write


def test_plain_loops_with_a_helper_are_compiled_and_used(file):
    kernels = userkernels.load(file(CONV))
    assert list(kernels) == ["conv2d_forward"]
    assert isinstance(kernels["conv2d_forward"], numba.core.dispatcher.Dispatcher)
    assert any("million multiply-adds a second" in note for note in kernels.notes)
    case = cases.small("conv2d_forward")[2]
    with ops.using(**kernels):
        assert ops.overridden("conv2d_forward")
        y = ops.conv2d_forward(*case.args)
    np.testing.assert_allclose(y, reference.conv2d_forward(*case.args), rtol=1e-4, atol=1e-5)
    assert len(kernels["conv2d_forward"].signatures) == 1


def test_nothing_of_the_student_s_is_cached(file, tmp_path):
    path = file("def relu_forward(x):\n    return np.where(x < 0, x.dtype.type(0), x)\n")
    userkernels.load(path)
    assert [p.name for p in tmp_path.rglob("*")] == ["mine.py"]


def test_a_compiled_function_is_used_as_it_is(file):
    kernels = userkernels.load(file("@numba.njit\ndef dropout_forward(x, mask):\n    return x * mask\n"))
    assert kernels["dropout_forward"].__name__ == "dropout_forward"
    assert len(kernels.rates) == 1


def test_what_does_not_compile_runs_as_plain_python_and_says_why(file):
    kernels = userkernels.load(file("def dropout_forward(x, mask):\n    return np.pad(x, 0) * mask\n"))
    assert not hasattr(kernels["dropout_forward"], "py_func")
    (note,) = (note for note in kernels.notes if "plain Python" in note)
    assert "mine.py:5" in note and "numpy.pad" in note and "`return np.pad(x, 0) * mask`" in note and "\n" not in note


WRONG = {
    "shape": ("def relu_forward(x):\n    return x[:1] * (x[:1] > 0)\n",
              r"mine.py:4 relu_forward: y is wrong .*the shape is"),
    "dtype": ("def dropout_forward(x, mask):\n    return (x * mask).astype(np.float64)\n",
              "the dtype is float64, expected"),
    "nothing returned": ("def dropout_forward(x, mask):\n    pass\n", "the result is a NoneType"),
    "one result of three": ("def dense_backward(dy, x, w):\n    return dy @ w.T\n",
                            "returns 1 values, expected 3: dx, dw, db"),
    "bias": ("def dense_forward(x, w, b):\n    return x @ w\n", "looks like: the bias is missing"),
    "factor": ("def dense_backward(dy, x, w):\n    dx, dw, db = r.dense_backward(dy, x, w)\n"
               "    return dx, dw / len(x), db\n",
               "dw is wrong.*each value is 1/N"),
    "flip": ("def conv2d_backward(dy, x, w, stride, pad):\n    dx, dw, db = r.conv2d_backward(dy, x, w, stride, pad)\n"
             "    return dx, dw[::-1, ::-1].copy(), db\n", "dw is wrong.*the kernel is flipped"),
    "mask of dy": ("def relu_backward(dy, x):\n    return dy * (dy > 0)\n", "the mask is taken from dy"),
    "constants": ("def batchnorm_backward(dy, x, gamma, mean, var, eps):\n"
                  "    return r.batchnorm_eval_backward(dy, x, gamma, mean, var, eps)\n", "treated as constants"),
    "not in place": ("def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):\n    v = momentum * v + g\n"
                     "    w = w - lr * v\n",
                     "must write in place"),
    "stale": ("kept = {}\ndef dropout_forward(x, mask):\n    y = kept.setdefault(x.shape, np.zeros_like(x))\n"
              "    y += x * mask\n    return y.copy()\n", "right on the first call, and the second adds to it"),
    "reused": ("kept = {}\ndef dropout_forward(x, mask):\n    y = kept.setdefault(x.shape, np.zeros_like(x))\n"
               "    y[...] = x * mask\n    return y\n", "a second call overwrites the first call's result"),
    "writes its input": ("def relu_backward(dy, x):\n    dy *= x > 0\n    return dy\n", "it changes its input dy"),
    "index": ("def relu_forward(x):\n    y = np.zeros_like(x)\n    for n in range(len(x) + 1):\n"
              "        y[n] = np.maximum(x[n], 0)\n    return y\n", "mine.py:7 relu_forward stops with IndexError"),
    "too few arguments": ("def conv2d_forward(x, w, b, stride):\n    pass\n",
                          r"conv2d_forward\(x, w, b, stride\): expected the arguments \(x, w, b, stride, pad\)"),
    "another order": ("def dense_forward(w, x, b):\n    pass\n",
                      r"expected the arguments \(x, w, b\), all of them and in this"),
    "any arguments": ("def softmax(*args):\n    pass\n", r"expected the arguments \(z\)"),
    "no op": ("def convolution(x):\n    return x\n", "no function named like an op: the ops are conv2d_forward"),
    "nearly": ("def relu_foward(x):\n    return x\n",
               "mine.py:4 relu_foward is not an op's name: did you mean relu_forward"),
    "syntax": ("def relu_forward(x)\n    return x\n", "mine.py:4: this is not valid Python"),
    "stops": ("def f():\n    return 1 / 0\nf()\n", "mine.py:5: running the file stops with ZeroDivisionError"),
    "exits": ("raise SystemExit(3)\n", "running the file stops with SystemExit"),
    "import": ("import no_such_module\n", "ModuleNotFoundError"),
    "njit that cannot": ("@numba.njit\ndef dropout_forward(x, mask):\n    return np.pad(x, 0) * mask\n",
                         "take @njit away"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_gets_a_sentence(what, file):
    source, message = WRONG[what]
    with pytest.raises(UserError, match=message) as caught:
        userkernels.load(file(source))
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(file(source)))


def test_ties_in_max_pooling_go_to_the_first(file):
    source = """
def maxpool_forward(x, size, stride):
    height, width = (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
    y = np.full((len(x), height, width, x.shape[3]), -np.inf, x.dtype)
    index = np.zeros(y.shape, np.uint8)
    for t in range(size * size):
        i, j = t // size, t % size
        tap = x[:, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
        index[tap >= y] = t
        y = np.maximum(y, tap)
    return y, index
"""
    with pytest.raises(UserError, match="the last of equal values wins"):
        userkernels.load(file(source))
    assert userkernels.load(file(source.replace(">=", ">")))


@pytest.mark.parametrize("content", [None, b"\x00\xff\xfe rubbish \x80", b""])
def test_what_is_not_a_python_file(content, tmp_path):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"mine.py"):
        userkernels.load(path)
    with pytest.raises(UserError, match="there is no such file"):
        userkernels.load(tmp_path)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
def test_a_race_is_named(file, monkeypatch):
    """Not a real race, which comes and goes: a function that loses one picture when it has more than one thread."""

    def racy(dy, x, w):
        dx, dw, db = reference.dense_backward(dy, x, w)
        return dx, dw - np.outer(x[0], dy[0]) * (numba.get_num_threads() > 1), db

    racy.targetoptions = {"parallel": True}
    with pytest.raises(UserError, match=r"dw is wrong with .* threads.*right with one thread and wrong"):
        userkernels._check_threads("dense_backward", racy, file(""))
    threads = numba.get_num_threads()
    racy.targetoptions = {}
    userkernels._check_threads("dense_backward", racy, file(""))
    assert numba.get_num_threads() == threads


def test_a_function_that_says_prange_is_compiled_for_all_cores(file):
    source = """
def relu_backward(dy, x):
    dx = np.zeros_like(x)
    flat_dx, flat_dy, flat_x = dx.reshape(-1), dy.reshape(-1), x.reshape(-1)
    for i in numba.prange(x.size):
        if flat_x[i] > 0:
            flat_dx[i] = flat_dy[i]
    return dx
"""
    assert userkernels.load(file(source))["relu_backward"].targetoptions["parallel"]


NESTED = """
def scaled(row, out):
    for i in numba.prange(row.size):
        out[i] = 0.5 * row[i]

def softmax(logits):
    y = np.empty_like(logits)
    for n in numba.prange(len(logits)):
        e = np.exp(logits[n] - logits[n].max())
        scaled(e * np.float32(2) / e.sum(), y[n])
    return y
"""


def test_where_loops_for_all_cores_nest_the_outer_one_alone_has_them(file):
    """Numba's own pool of threads ends the program otherwise."""
    path = file(NESTED)
    program = "import sys; from tinyfer import userkernels; print(*userkernels.load(sys.argv[1]))"
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True,
                         env=os.environ | {"NUMBA_THREADING_LAYER": "workqueue", "PYTHONPATH": str(ROOT)})
    assert (run.returncode, run.stdout) == (0, "softmax\n"), run.stderr


def test_a_mark_before_the_source_is_none_of_it(tmp_path):
    """Notepad's "UTF-8 with BOM", which Python runs."""
    (tmp_path / "mine.py").write_text("VALUE = 3\n", encoding="utf-8-sig")
    assert userkernels.run_file(tmp_path / "mine.py").VALUE == 3


def test_neighbours_of_the_file_can_be_imported(file, tmp_path):
    (tmp_path / "my_helper_module.py").write_text("def twice(x):\n    return 2 * x\n")
    source = "from my_helper_module import twice\ndef dropout_forward(x, mask):\n    return twice(x * mask) / 2\n"
    before = list(sys.path)
    assert "dropout_forward" in userkernels.load(file(source))
    assert sys.path == before


def test_estimate_counts_every_call_and_exchanges_the_student_s_time(file):
    """A kernel that does 1000 values a second, called on 3 * 10000 values a step of two pictures, 100 in the epoch."""
    kernels = userkernels.Kernels(file(""))
    kernels["relu_forward"] = reference.relu_forward
    kernels.rates["relu_forward"] = 1e-3
    x = np.ones((100, 100), np.float32)

    def step():
        for _ in range(3):
            ops.relu_forward(x)

    assert userkernels.estimate(kernels, step, 2, 100) == pytest.approx(3 * 10 * 50, rel=0.05)


def test_pytest_use_runs_the_drawn_tests_against_the_file(file):
    right, wrong = "def dropout_forward(x, mask):\n    return x * mask\n", "def relu_backward(dy, x):\n    return dy\n"
    path = file(right + wrong)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--use", str(path),
               "tests/test_ops_gradient.py::test_values_and_gradients"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=userkernels.__file__.rsplit("tinyfer", 1)[0])
    assert "1 failed, 1 passed, 20 deselected" in done.stdout, done.stdout[-2000:]
    assert "relu_backward" in done.stdout and done.returncode == 1
