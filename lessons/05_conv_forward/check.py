"""What conv2d_forward is held to: one window by hand, kernels of a single 1, linearity, and the reference."""

import numpy as np

from lessons.checking import case_of, drawn, fail, hold, hold_op, hold_small, note, rng, told
from tinyfer import cases

OP = "conv2d_forward"
MOST = 20_000  # multiply-adds of a case, so that plain loops are done soon


def case(x, w, b=None, stride=1, pad=0):
    """A case in float32, told by its sizes."""
    x, w = np.asarray(x, np.float32), np.asarray(w, np.float32)
    b = np.zeros(w.shape[3], np.float32) if b is None else np.asarray(b, np.float32)
    n, h, v, c = x.shape
    return case_of(OP, x, w, b, stride, pad, N=n, H=h, W=v, C=c, kernel=f"{w.shape[0]}x{w.shape[1]}", K=w.shape[3],
                   stride=stride, pad=pad)  # fmt: skip


def random(*shape):
    return rng(str(shape)).standard_normal(shape)


def test_shape(mine):
    for (shape, kernel, stride, pad), expected in {
        ((1, 4, 4, 1), (1, 1, 1, 1), 1, 0): (1, 4, 4, 1), ((2, 8, 6, 3), (3, 3, 3, 4), 1, 1): (2, 8, 6, 4),
        ((1, 9, 7, 2), (3, 3, 2, 3), 2, 0): (1, 4, 3, 3),
    }.items():  # fmt: skip
        y = mine.conv2d_forward(*case(np.ones(shape), np.ones(kernel), None, stride, pad).args)
        if np.shape(y) != expected:
            hold("y", np.zeros(expected, np.float32), y, told(x=shape, w=kernel, stride=stride, pad=pad))
    note("(2,8,6,3) * (3,3,3,4), pad 1 -> (2,8,6,4)")


def test_1x1_kernel(mine):
    """One weight and one bias: y = 3 x + 10 at each pixel."""
    hold_op(mine, case(np.arange(12).reshape(1, 3, 4, 1), [[[[3]]]], [10]))
    note("y = 3 x + 10")


def test_windows_by_hand(mine):
    """1*1 + 2*2 + 4*3 + 5*4 = 37, then 47, 67, 77."""
    x, w = np.arange(1, 10).reshape(1, 3, 3, 1), np.array([[1, 2], [3, 4]]).reshape(2, 2, 1, 1)
    hold_op(mine, case(x, w))
    note("1 .. 9 and 1 2 / 3 4 -> 37 47 / 67 77")


def test_bias_once(mine):
    hold_op(mine, case(random(1, 4, 4, 2), random(2, 2, 2, 3), [10, 20, 30]))


def test_delta_kernel(mine):
    """A kernel with a single 1 at (i, j) moves the picture; in the middle it leaves it as it is."""
    x = 1 + np.arange(20).reshape(1, 4, 5, 1)
    for i, j in ((1, 1), (0, 0), (0, 2), (2, 1)):
        w = np.zeros((3, 3, 1, 1))
        w[i, j] = 1
        hold_op(mine, case(x, w, None, 1, 1))
    note("1 in the middle: y = x")


def test_channels(mine):
    hold_op(mine, case(random(1, 3, 3, 4), random(1, 1, 4, 1)))
    hold_op(mine, case(random(1, 4, 4, 3), random(2, 2, 3, 3)))


def test_padding(mine):
    for pad in (1, 2):
        hold_op(mine, case(random(1, 5, 5, 1), random(3, 3, 1, 1), None, 1, pad))


def test_stride(mine):
    hold_op(mine, case(random(1, 7, 7, 1), random(3, 3, 1, 1), None, 2, 0))
    hold_op(mine, case(random(1, 6, 8, 1), random(2, 3, 1, 1), None, 3, 1))


def test_small_cases(mine):
    hold_small(mine, OP)


def test_linearity(mine):
    """Twice one picture and once another: y is twice the one's and once the other's."""
    w, zeros = random(3, 3, 2, 2), np.zeros(2)
    one, other = random(2, 1, 5, 5, 2)
    y = [mine.conv2d_forward(x, w, zeros, 1, 1) for x in (one, other, 2 * one + other)]
    hold("y", 2 * y[0] + y[1], y[2], told(N=1, H=5, W=5, C=2), rtol=1e-10,
         looks="y is not a plain weighted sum of x: is anything squared, cut off, or kept between calls?")  # fmt: skip
    note("conv(2 a + b) = 2 conv(a) + conv(b)")


def test_nan_stays_where_it_is(mine):
    """A NaN reaches the windows that see it, and no other."""
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 0, 0] = np.nan
    y = mine.conv2d_forward(x, np.ones((2, 2, 1, 1), np.float32), np.zeros(1, np.float32), 1, 0)
    expected = np.zeros((1, 4, 4, 1), np.float32)
    expected[0, 0, 0] = np.nan
    if np.isnan(y).sum() != 1:
        fail(f"{np.isnan(y).sum()} of 16 outputs are NaN, expected 1", "a NaN in x must reach y where its window sees "
             "it, and nowhere else", "x[0,0] = nan, kernel=2x2")  # fmt: skip
    hold("y", expected, y)


@drawn(OP, only=lambda one: cases.work(one.op, one.args) <= MOST)
def test_any_shape(mine, case):
    hold_op(mine, case)
