"""What im2col, multiply and conv2d_forward are held to: matrices by hand, the reference, an error bound, the clock."""

import contextlib
import time
from unittest import mock

import numba
import numpy as np

from lessons.checking import (
    Fault,
    Traced,
    case_of,
    drawn,
    fail,
    hold,
    hold_faster,
    hold_op,
    hold_small,
    note,
    rng,
    told,
    why_alone,
)
from tinyfer import cases, reference, userkernels

OP = "conv2d_forward"
MOST = 20_000  # multiply-adds of a case that runs as plain Python, too
TIMES = 1.2  # as fast as lesson 10, both on one thread; twice is usual, but not on every processor
LOADS = 1.5  # numbers that are loaded for each multiply-add, at most; without a tile it is 2
PICTURES, TRIES = 16, 5  # of the search for threads that work
SHARE = 0.4  # of their fair share of the processor time, that the threads besides the first take at least
BOUND = 4  # times eps of float32 times the sum of all |x| |w|
WINOGRAD = 1e-5  # its error, root mean square, over that of the result


def random(*shape):
    return rng(str(shape)).standard_normal(shape).astype(np.float32)


def small():
    """A convolution that every check begins with, so that what is still to be written is met there."""
    return random(1, 4, 5, 2), random(3, 3, 2, 3), random(3), 1, 1


# ----------------------------------------------------------------------------------------------------------- the matrix


def test_im2col_by_hand(mine):
    x = np.arange(1, 10, dtype=np.float32).reshape(3, 3, 1)
    expected = np.array([[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]], np.float32)
    hold("a", expected, mine.im2col(x, 2, 2, 1, 0), "x=1 2 3 / 4 5 6 / 7 8 9 kernel=2x2",
         lookalikes=windows(x, 2, 2, 1, 0)[1])  # fmt: skip
    note("1 .. 9, 2x2 -> 1 2 4 5 / 2 3 5 6 / 4 5 7 8 / 5 6 8 9")


def test_im2col(mine):
    """Odd sides, kernels that are no squares, strides, padding, channels."""
    for height, width, channels, kh, kw, stride, pad in ((3, 5, 1, 1, 1, 1, 0), (3, 4, 1, 2, 3, 1, 0),
                                                         (4, 3, 3, 2, 2, 1, 0), (4, 5, 1, 3, 3, 1, 1),
                                                         (6, 7, 2, 3, 2, 2, 1), (5, 8, 2, 2, 3, 3, 2)):  # fmt: skip
        x = random(height, width, channels)
        said = told(H=height, W=width, C=channels, kernel=f"{kh}x{kw}", stride=stride, pad=pad)
        expected, looks = windows(x, kh, kw, stride, pad)
        hold("a", expected, mine.im2col(x, kh, kw, stride, pad), said, lookalikes=looks)


def windows(x, kh, kw, stride, pad):
    """The matrix of all windows, and what mistakes make of it."""

    def seen(padded, step=stride):
        found = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), (0, 1))
        return found[::step, ::step][:rows, :columns]  # (P,Q,C,kh,kw)

    rows, columns = ((length + 2 * pad - k) // stride + 1 for length, k in zip(x.shape, (kh, kw), strict=False))
    right = seen(np.pad(x, ((pad, pad), (pad, pad), (0, 0))))
    shape = rows * columns, kh * kw * x.shape[2]
    looks = {
        "the columns are in another order than the weights: (i*kw + j)*C + c, the channels of a tap side by side":
            right.reshape(shape),
        "i and j of a window are swapped: column (i*kw + j)*C + c": right.transpose(0, 1, 4, 3, 2).reshape(shape),
        "p and q are swapped: row p*Q + q": right.transpose(1, 0, 3, 4, 2).reshape(shape),
    }  # fmt: skip
    if stride > 1:
        near = seen(np.pad(x, ((pad, pad), (pad, pad), (0, 0))), 1)
        looks["the stride is ignored: output (p, q) sees row p*stride + i - pad"] = \
            near.transpose(0, 1, 3, 4, 2).reshape(shape)  # fmt: skip
    if pad:
        for sides, what in (((0, 2 * pad), "subtract pad from row and column: half of the zeros lie left and above"),
                            ((2 * pad, 0), "all of the zeros lie left and above: half of them belong right and below")):
            looks[what] = seen(np.pad(x, (sides, sides, (0, 0)))).transpose(0, 1, 3, 4, 2).reshape(shape)
        around = np.pad(np.pad(x, ((pad, 0), (pad, 0), (0, 0)), "wrap"), ((0, pad), (0, pad), (0, 0)))
        looks["a negative index takes pixels from the other end of the picture: ask for 0 <= r and 0 <= s"] = \
            seen(around).transpose(0, 1, 3, 4, 2).reshape(shape)  # fmt: skip
    return right.transpose(0, 1, 3, 4, 2).reshape(shape), looks


# ---------------------------------------------------------------------------------------------------------- the product


BY_HAND = "here you write the product yourself, in loops: three of them, and eight sums in the innermost"


def product(mine, m, kernels, depth, a=None, wt=None, b=None):
    """Hold multiply to a @ wt.T + b, on a y that is full of NaN."""
    a, wt = random(m, depth) if a is None else a, random(kernels, depth) if wt is None else wt
    b = random(kernels) if b is None else b
    y = np.full((m, kernels), np.nan, np.float32)
    try:
        answer = mine.multiply(a, wt, b, y)
    except Fault as fault:
        if "SciPy" in fault.text:
            fault.text, fault.looks = "multiply leaves the product to a library", BY_HAND
        raise
    if answer is not None:
        fail("multiply returns something", "it writes into y, which is the caller's, and returns nothing")
    expected = (a.astype(np.float64) @ wt.T + b).astype(np.float32)
    said = told(M=m, K=kernels, D=depth)
    if np.isnan(y).any():
        fail(f"{np.isnan(y).sum()} of y's {y.size} numbers are not written", unwritten(y), said)
    hold("y", expected, y, said, lookalikes=mistakes(a, wt, b, expected))


def mistakes(a, wt, b, right):
    looks = {
        "the bias is missing: the sums begin with b[k]": right - b,
        "the sum over d is missing: only the last product counts ('=' where '+=' belongs?)":
            np.outer(a[:, -1], wt[:, -1]),
        "each sum begins with the bias of another column: b[k] for column k, b[k1] for column k1":
            right - b + b[np.arange(len(b)) // 2 * 2],
    }  # fmt: skip
    if wt.shape[0] == wt.shape[1]:
        looks["wt is (K, D), the weights turned already: wt[k, d], not wt[d, k]"] = a @ wt + b
    return looks


def unwritten(y) -> str:
    """Which part of y is still NaN."""
    left = np.isnan(y)
    if left.all():
        return "y is never written: y[i, k] = ... writes into the caller's y; y = ... only makes a new one"
    for whole, name, size in ((left.all(1), "rows", 4), (left.all(0), "columns", 2)):
        if whole.any():
            return (f"some {name} are never written: tiles are {size} {name} large, and {len(whole)} {name} are no "
                    "whole number of them: the last tile overlaps, or plain loops do the rest")  # fmt: skip
    return "y[i, k] is written once for each row i and column k"


def test_multiply_by_hand(mine):
    """1*1 + 2*10 + 100 = 121, 3*1 + 4*10 + 100 = 143, and so on for four rows and two columns."""
    a = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
    wt, b = np.array([[1, 10], [2, 20]], np.float32), np.array([100, 200], np.float32)
    product(mine, 4, 2, 2, a, wt, b)
    note("1 2 / 3 4 / 5 6 / 7 8 -> 121 242 / 143 286 / 165 330 / 187 374")


def test_multiply_whole_tiles(mine):
    product(mine, 8, 4, 5)


def test_multiply_odd_sizes(mine):
    for m, kernels, depth in ((4, 3, 3), (5, 2, 4), (6, 5, 3), (7, 1, 2), (1, 1, 1), (3, 7, 9), (13, 6, 1)):
        product(mine, m, kernels, depth)
    note("M 1 to 13, K 1 to 7")


def test_multiply_in_machine_code(mine):
    product(mine, 4, 2, 3)
    if not isinstance(mine.plain.multiply, numba.core.dispatcher.Dispatcher):
        fail("multiply is a plain Python function", "the line @numba.njit(fastmath=FASTER) is missing above its def: "
             "for once you write what @ does, to see why it is fast")  # fmt: skip
    note("it is compiled")


def test_loads_for_each_product(mine):
    """A tile of 4 x 2 loads 6 numbers for 8 multiply-adds."""
    product(mine, 4, 2, 3)
    count = loads(mine)
    if not count:
        fail("multiply reads no single number of a or wt", BY_HAND)
    if count > LOADS:
        fail(f"{count:.2g} numbers are loaded for each multiply-add, expected {LOADS} at most", "no tile: take 4 rows "
             "and 2 columns at once, so that 6 loads serve 8 multiply-adds")  # fmt: skip
    note(f"{count:.2g} loads for each multiply-add")


def loads(mine) -> float:
    """How many numbers the student's multiply loads for each multiply-add, of a, of wt, and of y."""
    m, kernels, depth = 24, 12, 12
    a, wt, y = map(Traced.of, (random(m, depth), random(kernels, depth), np.zeros((m, kernels), np.float32)))
    mine.module("plain").multiply(a, wt, random(kernels), y)
    return (a.loads + wt.loads + y.loads) / (m * kernels * depth)


# ------------------------------------------------------------------------------------------------------ the convolution


def handed(mine):
    """What conv2d_forward gives to multiply, picture by picture, until something stops it; in plain Python."""
    module, calls = mine.module("plain"), []
    multiply = module.multiply

    def watched(*given):
        calls.append(given)
        return multiply(*given)

    with mock.patch.object(module, "multiply", watched), contextlib.suppress(Exception):
        module.conv2d_forward(*small())
    return calls


def test_what_multiply_is_given(mine):
    """A picture of 4 x 5, 2 channels, and three kernels of 3 x 3: 20 windows of 18 numbers."""
    for given in handed(mine)[:1]:
        if len(given) != 4:
            raise Fault(f"multiply is given {len(given)} arguments, expected 4: a, wt, b, y", place=mine.place(OP),
                        looks="it writes into y[n] and returns nothing: hand y[n] over, multiply(..., wt, b, y[n])")
        a, _, b, _ = given
        m, depth, kernels = *(np.shape(a) if np.ndim(a) == 2 else (20, 18)), np.size(b)
        looks = {"wt": "wt is w turned: w.reshape(-1, kernels).T.copy()",
                 "y": "the outputs of a picture are rows here: make y (N, P*Q, K), and (N, P, Q, K) of it when all "
                      "pictures are done"}  # fmt: skip
        rights = {"a": (m, depth), "wt": (kernels, depth), "b": (kernels,), "y": (m, kernels)}
        for argument, (name, right) in zip(given, rights.items(), strict=True):
            if np.shape(argument) != right:
                looks = looks.get(name, "")
                raise Fault(f"multiply is given {name} {np.shape(argument)}, expected {right}", looks=looks,
                            case=told(N=1, H=4, W=5, C=2, kernel="3x3", K=3), place=mine.place(OP))  # fmt: skip
    mine.conv2d_forward(*small())
    note("a (20, 18), wt (3, 18), b (3,), y (20, 3)")


def test_one_picture(mine):
    """1*1 + 2*2 + 4*3 + 5*4 = 37, then 47, 67, 77, and 100 more for the bias."""
    x, w = np.arange(1, 10).reshape(1, 3, 3, 1), np.array([[1, 2], [3, 4]]).reshape(2, 2, 1, 1)
    args = (x.astype(np.float32), w.astype(np.float32), np.array([100], np.float32), 1, 0)
    hold_op(mine, case_of(OP, *args, N=1, H=3, W=3, C=1, kernel="2x2", K=1))
    note("1 .. 9 and 1 2 / 3 4 + 100 -> 137 147 167 177")


def test_small_cases(mine):
    hold_small(mine, OP)


def test_error_bound(mine):
    """At each place alone |error| <= 4 eps (sum of |x| |w| of its window, + |b|): small values beside large ones."""
    mine.conv2d_forward(*small())
    scale = np.float32(10) ** rng("scale").uniform(-4, 4, (2, 9, 8, 1)).astype(np.float32)
    x, w, b = random(2, 9, 8, 24) * scale, random(3, 3, 24, 5), random(5)
    y = mine.conv2d_forward(x, w, b, 1, 1)
    exact = [a.astype(np.float64) for a in (x, w, b)]
    right = reference.conv2d_forward(*exact, 1, 1)
    hold("y", right.astype(np.float32), y, told(N=2, H=9, W=8, C=24, K=5))
    size = reference.conv2d_forward(*(np.abs(a) for a in exact), 1, 1)
    worst = np.max(np.abs(y - right) / (np.finfo(np.float32).eps * size))
    if not worst <= BOUND:
        fail(f"an error of {worst:.3g} eps * (|b| + sum |x| |w|), allowed {BOUND}", "small values drown in the "
             "rounding of large ones elsewhere in the picture: each output may depend on its own window only, and be "
             "summed in float32", told(N=2, H=9, W=8, C=24, K=5))  # fmt: skip
    note(f"largest error {worst:.2g} eps * (|b| + sum |x| |w|), allowed {BOUND}")


def test_faster_than_lesson_10(mine):
    """Both on one thread."""
    mine.conv2d_forward(*small())
    args = random(1, 24, 24, 64), random(3, 3, 64, 64), random(64), 1, 1
    rival = userkernels.quick_to_compile(userkernels.run_file(mine.lesson.file("exercise.py")).lesson_10)
    for f in (mine.plain.conv2d_forward, rival):
        f(*args)  # compiles
    hold_faster(TIMES, lambda: mine.plain.conv2d_forward(*args), lambda: rival(*args), "lesson 10",
                lambda: slowness(mine))  # fmt: skip


def slowness(mine) -> str:
    """Why the product is slow."""
    for a, wt, *_ in handed(mine)[:1]:
        if wt.strides[-1] != wt.itemsize:
            return ("wt does not run along d in memory: w.reshape(-1, kernels).T.copy(); `.T` alone moves no number, "
                    "so that d still jumps by K")  # fmt: skip
        if a.strides[-1] != a.itemsize:
            return "a does not run along d in memory: im2col makes it (P*Q, kh*kw*C), row by row"
    if not mine.plain.multiply.targetoptions.get("fastmath"):
        return ("fastmath=FASTER is missing above multiply: without it the compiler may not reorder a sum, and adds "
                "one product after the other")  # fmt: skip
    count = loads(mine)
    if count > 1:
        return f"{count:.2g} numbers are loaded for each multiply-add; with 4 rows and 2 columns at once it is 0.75"
    return (f"{count:.2g} numbers are loaded for each multiply-add, as it should be: are the sums eight plain float32 "
            "numbers (no array, no 0.0), and d the innermost loop?")  # fmt: skip


def test_all_threads_work(mine):
    """How much of the processor time is not the first thread's, with all threads that there are."""
    mine.conv2d_forward(*small())
    f, most, before = mine.plain.conv2d_forward, numba.config.NUMBA_NUM_THREADS, numba.get_num_threads()
    if most == 1:
        note("one thread: this machine has no more")
        return
    args = random(PICTURES, 24, 24, 64), random(3, 3, 64, 64), random(64), 1, 1
    try:
        numba.set_num_threads(most)
        share = max(others_share(lambda: f(*args)) for _ in range(TRIES))
    finally:
        numba.set_num_threads(before)
    if share < SHARE * (1 - 1 / min(most, PICTURES)):
        fail(f"on {most} threads the first one does {100 - 100 * share:.0f} % of the work", idle(f))
    note(f"on {most} threads, {100 * share:.0f} % of the work is not the first one's")


def others_share(run) -> float:
    """The share of the processor time that threads other than this one take."""
    run()
    time.sleep(0.05)  # threads that wait for more are asleep by then
    whole, own = time.process_time(), time.thread_time()
    for _ in range(10):
        run()
    return 1 - (time.thread_time() - own) / max(1e-9, time.process_time() - whole)


def idle(f) -> str:
    """Why only one thread works."""
    return why_alone(f, "a plain range: numba.prange over the pictures gives each thread some of them",
                     "does another loop than that over the pictures have the prange?")  # fmt: skip


@drawn(OP, np.float32, only=lambda one: cases.work(one.op, one.args) <= MOST, examples=12)
def test_any_shape(mine, case):
    hold_op(mine, case)


def test_winograd_if_there(mine):
    """For those who are fast: winograd(x, w), 3x3 kernels, stride 1, pad 1, no bias."""
    mine.conv2d_forward(*small())
    if not hasattr(mine.plain, "winograd"):
        note("not there: it is for those who are fast")
        return
    for n, height, width, channels, kernels in ((1, 4, 6, 1, 1), (1, 2, 2, 1, 1), (2, 4, 4, 3, 2), (1, 5, 7, 2, 3)):
        x, w = random(n, height, width, channels), random(3, 3, channels, kernels)
        said = told(N=n, H=height, W=width, C=channels, K=kernels)
        expected, answer = convolved(x, w).astype(np.float32), mine.winograd(x, w)
        kind = getattr(answer, "dtype", None)
        if np.shape(answer) == expected.shape and kind != np.float32:
            fail(f"winograd(x, w) is {kind}, expected float32", "make the three matrices float32, np.array([...], "
                 "np.float32): beside whole numbers or float64, float32 becomes float64", said)  # fmt: skip
        hold("winograd(x, w)", expected, answer, said, lookalikes=winograds(x, w))
    x, w = random(1, 12, 12, 64), random(3, 3, 64, 8)
    right = convolved(x, w)
    error = np.sqrt(np.mean((mine.winograd(x, w) - right) ** 2) / np.mean(right**2))
    if not error <= WINOGRAD:
        fail(f"an error of {error:.1g} of the result, root mean square; {WINOGRAD:.0e} is the bound",
             "is anything not float32?", told(H=12, W=12, C=64))  # fmt: skip
    note(f"it is there: error {error:.1g}, root mean square")


def convolved(x, w):
    return reference.conv2d_forward(x.astype(np.float64), w.astype(np.float64), np.zeros(w.shape[3]), 1, 1)


def winograds(x, w):
    """What mistakes make of Winograd's formula."""
    right = {"at": [[1, 1, 1, 0], [0, 1, -1, -1]], "g": [[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]],
             "bt": [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]}  # fmt: skip
    beside = {"a sign in A^T: its rows are 1 1 1 0 and 0 1 -1 -1": {"at": [[1, 1, 1, 0], [0, 1, -1, 1]]},
              "a sign in B^T: its last row is 0 1 0 -1": {"bt": [*right["bt"][:3], [0, -1, 0, 1]]},
              "a sign in G: its third row is 1/2 -1/2 1/2": {"g": [*right["g"][:2], [1, 1, -1], [0, 0, 2]]},
              "the padding is missing: the first tile begins one row above and one column left of the picture":
                  {"before": 0}}  # fmt: skip
    looks = {sentence: by_formula(x, w, **(right | wrong)) for sentence, wrong in beside.items()}
    looks["the kernel is flipped: w stays as it is"] = convolved(x, np.ascontiguousarray(w[::-1, ::-1]))
    return looks


def by_formula(x, w, at, g, bt, before=1):
    """Winograd's F(2x2, 3x3) with these matrices, g twice the size; the first tile begins `before` rows outside."""
    n, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (before, 4 - before), (before, 4 - before), (0, 0)))
    y = np.zeros((n, height + 1, width + 1, w.shape[3]))
    u = np.einsum("ia,abck,jb->ijck", np.array(g) / 2, w, np.array(g) / 2)
    for p in range(0, height, 2):
        for q in range(0, width, 2):
            v = np.einsum("ia,nabc,jb->nijc", bt, padded[:, p : p + 4, q : q + 4], bt)
            y[:, p : p + 2, q : q + 2] = np.einsum("ri,nijc,ijck,sj->nrsk", at, v, u, at)
    return y[:, :height, :width]
