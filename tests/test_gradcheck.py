"""The checker itself: it must pass what is right, catch what is broken, and say what a mistake looks like."""

import re
import subprocess
import sys

import numpy as np
import pytest

from tinyfer import cases, explain, gradcheck, lookalikes, ops, reference
from tinyfer.gradcheck import GradientError, adjoint_gap, check_vjp, numeric_gradient


def rng(seed=0):
    return np.random.default_rng(seed)


# ------------------------------------------------------------------------------------------------------------ the tools


def test_numeric_gradient_of_known_functions():
    x = rng().standard_normal((3, 4))
    np.testing.assert_allclose(numeric_gradient(lambda x: (x**3).sum(), x), 3 * x**2, rtol=1e-7, atol=1e-9)
    dy = rng(1).standard_normal((3, 4))
    np.testing.assert_allclose(numeric_gradient(np.sin, x, dy=dy), dy * np.cos(x), rtol=1e-7, atol=1e-9)
    kept = x.copy()
    numeric_gradient(lambda x: x.sum(), x)
    assert np.array_equal(x, kept)


def test_check_vjp_passes_what_is_right():
    x, w, b = rng().standard_normal((4, 3)), rng(1).standard_normal((3, 2)), np.zeros(2)
    error = check_vjp(reference.dense_forward, lambda dy, x, w, b: reference.dense_backward(dy, x, w), x, w, b)
    assert error < 1e-7
    large = rng().standard_normal((30, 30))
    assert check_vjp(np.tanh, lambda dy, x: dy * (1 - np.tanh(x) ** 2), large) < 1e-6


def broken_batchnorms():
    """Batch norms that are wrong. With dy = 1 most would pass: their gradient of y.sum() is 0, as it should be."""

    def right(dy, x):
        mean, var = cases.statistics(x)
        return reference.batchnorm_backward(dy, x, np.ones(x.shape[-1]), mean, var, 1e-5)[0]

    yield "zeros", lambda dy, x: np.zeros_like(x)
    yield "constants", lambda dy, x: dy / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    yield "no variance", lambda dy, x: (dy - dy.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    yield "twice", lambda dy, x: 2 * right(dy, x)
    yield "batch only", lambda dy, x: (dy - dy.mean(0)) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    yield "transposed", lambda dy, x: right(dy, x).transpose(0, 2, 1, 3)


@pytest.mark.parametrize("name, backward", list(broken_batchnorms()), ids=[name for name, _ in broken_batchnorms()])
@pytest.mark.parametrize("side", [3, 9])
def test_check_vjp_catches_broken_batch_norms(name, backward, side):
    x = cases.spread(rng(), (2, side, side, 3))

    def forward(x):
        return reference.batchnorm_forward(x, np.ones(3), np.zeros(3), 1e-5)[0]

    with pytest.raises(GradientError, match="is not the gradient"):
        check_vjp(forward, backward, x)


@pytest.mark.parametrize("wrong, message", [
    (lambda dy, x: dy[:1], "the shape is"),
    (lambda dy, x: (dy * np.cos(x)).astype(np.float32), "the dtype is float32, expected float64"),
    (lambda dy, x: (dy, dy), "2 gradients came back, expected 1"),
    (lambda dy, x: None, "the result is a NoneType"),
    (lambda dy, x: dy * np.nan, "NaN"),
])  # fmt: skip
def test_check_vjp_says_what_is_wrong_with_the_form(wrong, message):
    with pytest.raises(GradientError, match=message):
        check_vjp(np.sin, wrong, rng().standard_normal((3, 3)))


def test_adjoint_gap():
    a = rng().standard_normal((5, 7))
    x, dy = rng(1).standard_normal(7), rng(2).standard_normal(5)
    assert adjoint_gap(lambda x: a @ x, lambda dy: a.T @ dy, x, dy) < 1e-15
    assert adjoint_gap(lambda x: a @ x, lambda dy: 1.01 * a.T @ dy, x, dy) > 1e-4


@pytest.mark.parametrize("op", [op for op in ops.NAMES if not op.endswith("_update")])
def test_verify_catches_a_result_that_is_off_by_a_thousandth(op):
    """The last result of each op off by 0.1 % at one place: whatever the op, somebody must notice."""

    def off(*args):
        results = cases.outputs(op, getattr(reference, op), args)
        last = np.array(results[-1], np.float64)
        last.flat[np.abs(last).argmax()] *= 1.001
        kind = np.asarray(results[-1]).dtype
        results = (*results[:-1], last.astype(kind) + (kind == np.uint8))  # an index is off by one
        return results if len(results) > 1 else results[0]

    with ops.using(**{op: off}), pytest.raises(GradientError):
        gradcheck.prove(op)


# --------------------------------------------------------------------------------------------------- what it looks like

E4 = rng(7).standard_normal((3, 5, 5, 4))
E2 = rng(8).standard_normal((4, 4))


def border(a):
    a = a.copy()
    a[:, 1:-1, 1:-1] = E4[:, 1:-1, 1:-1]
    return a


def with_last(a, axis, value=9.0):
    a = a.copy()
    a[(slice(None),) * axis + (-1,)] += value * rng().random(a[(slice(None),) * axis + (-1,)].shape)
    return a


LOOKS = [
    (E4, E4, {}, "^$"),
    (E4, 3 * E4, {"sizes": {"N": 3, "H*W": 25}}, "N = 3 times"),
    (E4, E4 / 25, {"sizes": {"N": 3, "H*W": 25}}, r"1/\(H\*W\) = 1/25 times"),
    (E4, 2 * E4, {}, "is 2 times"),
    (E4, E4 / 2, {}, "is 1/2 times"),
    (E4, -E4, {}, "the sign is wrong"),
    (E4, -7.5 * E4, {}, "minus 7.5 times"),
    (E2, E2.T, {}, "transposed"),
    (E4, E4.transpose(0, 2, 1, 3), {}, "transposed"),
    (E4[:3, :3], E4[:3, :3][::-1, ::-1], {}, "flipped in both directions"),
    (E4, E4[:, ::-1, ::-1], {}, "mirrored in height and width"),
    (E4, np.roll(E4, 1, 2), {}, "shifted by one column"),
    (E4, np.roll(E4, -1, 1), {}, "shifted by one row"),
    (E4, np.roll(E4, 2, 1), {}, "shifted by two rows"),
    (E4, E4 - [1, 2, 3, 4], {}, "each channel is off by its own constant: is the bias"),
    (E4, E4 + 3, {}, "off by the same amount everywhere, 3"),
    (E4, E4 * [1, 2, 3, 4], {}, "each channel is off by its own factor, 1, 2, 3, 4"),
    (E4, 0 * E4, {}, "all zeros"),
    (E4, border(E4 + rng().standard_normal(E4.shape)), {}, "only the border is wrong"),
    (E4, with_last(E4, 1), {}, "only the last row is wrong"),
    (E4, with_last(E4, 2), {}, "only the last column is wrong"),
    (E4, with_last(E4, 3), {}, r"only the last channel \(column\) is wrong"),
    (E4, with_last(E4, 0), {}, "only the last picture"),
    (E4, np.concatenate([E4[:1], 0 * E4[1:]]), {}, "only the first picture .* is there"),
    (E4, E4.astype(np.float32), {}, "the dtype is float32, expected float64"),
    (E4, E4.transpose(0, 3, 1, 2), {}, r"channels come last here, \(N, H, W, C\)"),
    (E4, E4[:, :-1, :-1], {}, "height and width are floor"),
    (E4[0, 0, 0], E4[0, 0], {}, "a sum over the leading axes"),
    (E4, E4[0], {}, "an axis is missing"),
    (E2[:, :3], E2[:, :3].T.copy(), {}, ": transposed"),
    (E4, np.where(E4 > 1, np.nan, E4), {}, "values are NaN"),
    (E4, np.where(E4 > 1, np.inf, E4), {}, "values are infinite"),
    (E4, None, {}, "a NoneType"),
    (E4, E4, {"again": (E4 + 1, E4)}, "the second call gives the first one's result again"),
    (E4, E4, {"again": (E4**2, E4**2 + E4)}, "the second adds to it"),
    (E4, E4, {"again": (E4**2, E4**3)}, "right on the first call and wrong on the second"),
    (E4, E4 * 0.9 + 1, {"one_thread": E4}, "right with one thread and wrong with several: a race"),
    (E4, E4**2, {"lookalikes": {"it is squared": E4**2}}, "^it is squared$"),
    (E4, 3 * E4**2, {"lookalikes": {"it is squared": E4**2}}, "it is squared, and on top .* factor of 3"),
    (E4, rng(9).standard_normal(E4.shape), {}, "no pattern"),
    (np.float64(2), -2.0, {}, "the sign is wrong"),
    (np.float64(2), 6.0, {"sizes": {"N": 3}}, "N = 3 times"),
]  # fmt: skip


@pytest.mark.parametrize("expected, actual, hints, pattern", LOOKS, ids=[str(i) for i in range(len(LOOKS))])
def test_explain_mismatch(expected, actual, hints, pattern):
    sentence = explain.explain_mismatch(expected, actual, **hints)
    assert re.search(pattern, sentence), sentence


@pytest.mark.parametrize("op", ops.NAMES)
def test_lookalikes_have_the_shapes_of_results_and_are_recognised(op):
    """Every known mistake, given as the answer, is named on at least one of the cases where it makes a difference."""
    named, seen = set(), set()
    square = cases.sized(op, 3, 5, 4, np.float64)  # as many input as output channels
    for case in [*cases.small(op, np.float64), square, *(cases.at_random(op, seed) for seed in range(12))]:
        args = case.copies()
        expected = cases.outputs(op, getattr(reference, op), args)
        for right, known in zip(expected, lookalikes.lookalikes(op, args), strict=True):
            for sentence, answer in known.items():
                if np.shape(answer) != np.shape(right):
                    continue
                seen.add(sentence)
                given = np.asarray(answer).astype(np.asarray(right).dtype)
                told = explain.explain_mismatch(right, given, sizes=lookalikes.named_sizes(op, args), lookalikes=known)
                if told == sentence or "zeros" in told or "NaN" in told:
                    named.add(sentence)
    assert seen - named == set()


# -------------------------------------------------------------------------------------------------------------- program


def run(*arguments, blocked=""):
    """python -m tinyfer.gradcheck in a process of its own, with one module made impossible to import."""
    program = f"import sys; sys.modules[{blocked!r}] = None\n" if blocked else "import sys\n"
    program += "from tinyfer.gradcheck import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)


RELU = "import numpy as np\ndef relu_forward(x):\n    return np.maximum(x, 0)\n"


def test_program_proves_one_op():
    done = run("relu_forward", "dense_backward")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 ops right" in done.stdout and "largest error" in done.stdout


def test_program_proves_a_student_s_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(RELU + "def relu_backward(dy, x):\n    return dy * (dy > 0)\n")
    done = run("--use", file)
    assert done.returncode == 1
    assert "relu_forward" in done.stdout and "WRONG" in done.stdout and "1 of 2 ops right" in done.stdout
    assert "the mask is taken from dy" in done.stdout


def test_program_reports_an_exception_with_its_line(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def relu_forward(x):\n    return x[7, 7, 7, 7, 7]\n")
    done = run("--use", file)
    assert done.returncode == 1 and "mine.py:2" in done.stdout, done.stdout


def test_program_works_without_hypothesis():
    done = run("softmax", blocked="hypothesis")
    assert done.returncode == 0 and "pip install hypothesis" in done.stdout and "1 of 1 ops right" in done.stdout


@pytest.mark.parametrize("arguments, message", [
    (["no_such_op"], "there is no op 'no_such_op'"),
    (["--use", "nowhere.py"], "there is no such file"),
    (["--frobnicate"], "unrecognized arguments"),
])  # fmt: skip
def test_program_refuses_in_one_sentence(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_fixed_cases_are_the_same_every_time():
    for op in ops.NAMES:
        first, second = cases.at_random(op, 3), cases.at_random(op, 3)
        assert repr(first) == repr(second)
        assert all(np.array_equal(a, b) for a, b in zip(first.args, second.args, strict=True))


def test_drawn_cases_reach_what_they_must():
    """Tails of vectors, full vectors, odd batches, kernels larger than the picture, strides with pads, every layout."""
    drawn = cases.small("conv2d_forward", np.float64)
    drawn += [cases.at_random("conv2d_forward", seed) for seed in range(cases.EXAMPLES)]
    shapes = [(case.args[0].shape, case.args[1].shape, *case.args[3:]) for case in drawn]
    assert any(w[3] >= 16 and w[3] % 8 and x[0] % 2 for x, w, _, _ in shapes)
    assert any(w[2] >= 16 for x, w, _, _ in shapes) and any(w[2] < 8 for x, w, _, _ in shapes)
    assert any(w[0] > x[1] for x, w, _, _ in shapes) and any(w[0] != w[1] for x, w, _, _ in shapes)
    assert {(stride, pad) for _, _, stride, pad in shapes} == {(s, p) for s in (1, 2, 3) for p in (0, 1, 2)}
    assert {case.said["layout"] for case in drawn} == set(cases.LAYOUTS)
    dense = [cases.at_random("dense_forward", seed).args for seed in range(cases.EXAMPLES)]
    assert any(w.shape[1] >= 16 and len(x) % 2 for x, w, _ in dense)
