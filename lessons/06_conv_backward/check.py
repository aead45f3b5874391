"""What conv2d_backward is held to: one pixel's way back by hand, the adjoint, slopes, and the reference."""

import numpy as np

from lessons.checking import case_of, drawn, fail, hold, hold_op, hold_small, note, rng, told
from tinyfer import cases, gradcheck, reference

OP = "conv2d_backward"
MOST = 30_000  # multiply-adds of a case, so that plain loops are done soon


def random(*shape):
    return rng(str(shape)).standard_normal(shape)


def case(dy, x, w, stride=1, pad=0):
    """A case in float32, told by its sizes."""
    dy, x, w = (np.asarray(a, np.float32) for a in (dy, x, w))
    n, h, v, c = x.shape
    return case_of(OP, dy, x, w, stride, pad, N=n, H=h, W=v, C=c, kernel=f"{w.shape[0]}x{w.shape[1]}", K=w.shape[3],
                   stride=stride, pad=pad)  # fmt: skip


def drawn_case(n, side, channels, kernels, size=3, stride=1, pad=0):
    x, w = random(n, side, side, channels), random(size, size, channels, kernels)
    out = reference.output_length(side, size, stride, pad)
    return case(random(n, out, out, kernels), x, w, stride, pad)


def test_shapes(mine):
    for pad in (1, 0):
        args = drawn_case(2, 5, 3, 4, pad=pad).args
        found, said = answers(mine, args), told(dy=args[0].shape, x=args[1].shape, w=args[2].shape, pad=pad)
        n, height, width, c = args[1].shape
        if np.shape(found[0]) == (n, height + 2 * pad, width + 2 * pad, c) and pad:
            fail(f"dx has the shape {np.shape(found[0])}, expected {args[1].shape}",
                 "the padding is still around dx: cut it off, dxp[:, pad : pad + H, pad : pad + W]", said)  # fmt: skip
        if np.size(found[0]) == 0:
            fail("dx is empty", "with pad = 0 this is empty: pad:-pad is 0:0; write pad : pad + H", said)
        for name, expected, actual in zip(("dx", "dw", "db"), (*args[1:3], args[0][0, 0, 0]), found, strict=True):
            if np.shape(actual) != expected.shape:
                hold(name, expected, actual, said)
    note("dx as x, dw as w, db as b")


def answers(mine, args):
    """dx, dw, db; where there are not three of them, the reference's complaint."""
    found = mine.conv2d_backward(*args)
    if not isinstance(found, tuple | list) or len(found) != 3:
        hold_op(mine, case_of(OP, *args))
    return found


def test_one_pixel(mine):
    """1x1 everywhere: y = x w + b, so dx = dy w = 6, dw = dy x = 10, db = 2."""
    hold_op(mine, case([[[[2]]]], [[[[5]]]], [[[[3]]]]))
    note("dy 2, x 5, w 3: dx 6, dw 10, db 2")


def test_dx_is_a_stamp(mine):
    """One output counts, by 1: the kernel's numbers lie in dx where its taps saw x, the way they are."""
    dy = np.zeros((1, 3, 3, 1))
    dy[0, 1, 1] = 1
    w = np.arange(1, 10).reshape(3, 3, 1, 1)
    hold_op(mine, case(dy, np.zeros((1, 5, 5, 1)), w))
    note("one output: dx is the kernel")


def test_windows_overlap(mine):
    hold_op(mine, drawn_case(1, 4, 1, 1))


def test_no_padding_and_some(mine):
    for pad in (0, 1, 2):
        hold_op(mine, drawn_case(1, 5, 1, 1, pad=pad))
    note("pad 0, 1 and 2")


def test_channels(mine):
    hold_op(mine, drawn_case(1, 3, 3, 3, size=2))
    hold_op(mine, drawn_case(1, 4, 2, 3, size=2))


def test_a_batch_of_three(mine):
    hold_op(mine, drawn_case(3, 4, 2, 2, pad=1))


def test_stride(mine):
    hold_op(mine, drawn_case(1, 7, 1, 1, stride=2))
    hold_op(mine, drawn_case(2, 6, 2, 3, size=2, stride=3, pad=1))


def test_small_cases(mine):
    hold_small(mine, OP)


def test_adjoint(mine):
    """Without bias y is linear in x and in w: sum(dy * y) = sum(dx * x) = sum(dw * w), to the last digits."""
    for stride, pad in ((1, 1), (2, 0)):
        dy, x, w, *_ = (a.astype(float) if isinstance(a, np.ndarray) else a
                        for a in drawn_case(2, 7, 2, 3, stride=stride, pad=pad).args)  # fmt: skip
        dx, dw, _ = mine.conv2d_backward(dy, x, w, stride, pad)
        up = np.array((dy * reference.conv2d_forward(x, w, np.zeros(3), stride, pad)).sum())
        for name, down in (("sum(dx * x)", dx * x), ("sum(dw * w)", dw * w)):
            hold(name, up, down.sum(), told(stride=stride, pad=pad), rtol=1e-10, looks="it must equal sum(dy * y)")
    note("sum(dy * y) = sum(dx * x) = sum(dw * w)")


def test_slopes(mine):
    dy, x, w, *_ = (a.astype(float) if isinstance(a, np.ndarray) else a for a in drawn_case(2, 4, 2, 2, pad=1).args)
    b = random(2)
    slopes = (gradcheck.numeric_gradient(lambda x: reference.conv2d_forward(x, w, b, 1, 1), x, dy=dy),
              gradcheck.numeric_gradient(lambda w: reference.conv2d_forward(x, w, b, 1, 1), w, dy=dy),
              gradcheck.numeric_gradient(lambda b: reference.conv2d_forward(x, w, b, 1, 1), b, dy=dy))  # fmt: skip
    for name, slope, actual in zip(("dx", "dw", "db"), slopes, mine.conv2d_backward(dy, x, w, 1, 1), strict=True):
        hold(name, slope, actual, told(N=2, H=4, W=4, C=2, K=2, pad=1))


@drawn(OP, only=lambda one: cases.work(one.op, one.args) <= MOST)
def test_any_shape(mine, case):
    hold_op(mine, case)
