"""What max-pooling is held to: windows by hand, all orders of four numbers, ties, odd sizes, NaN, the reference."""

import itertools

import numpy as np

from lessons.checking import case_of, drawn, fail, hold, hold_op, hold_small, note, rng, told
from tinyfer import cases, gradcheck, reference

FORWARD, BACKWARD = "maxpool_forward", "maxpool_backward"
MOST = 2_000  # values of a case, so that plain loops are done soon
ORDERS = np.array(list(itertools.permutations((1, 2, 3, 4)))).reshape(24, 2, 2, 1)
TIES = np.array(list(itertools.product((0, 1), repeat=4))).reshape(16, 2, 2, 1)


def forward_case(x, size=2, stride=2, /, **said):
    """A case in float32, told by its sizes unless something else is said."""
    x = np.asarray(x, np.float32)
    return case_of(FORWARD, x, size, stride, **(said or sizes(x.shape, size, stride)))


def backward_case(dy, index, x_shape, size=2, stride=2, /, **said):
    dy, index = np.asarray(dy, np.float32), np.asarray(index, np.uint8)
    return case_of(BACKWARD, dy, index, x_shape, size, stride, **(said or sizes(x_shape, size, stride)))


def sizes(shape, size, stride):
    return dict(zip("NHWC", shape, strict=True)) | {"size": size, "stride": stride}


def shuffled(*shape):
    """A permutation: no two values are equal, and half of them are negative."""
    return cases.distinct(rng(str(shape)), shape)


def back_from(x, size, stride):
    """The backward case that belongs to pictures x, with a random dy."""
    y, index = reference.maxpool_forward(np.asarray(x, float), size, stride)
    return backward_case(rng("dy").standard_normal(y.shape), index, x.shape, size, stride)


# ------------------------------------------------------------------------------------------------------------- forwards


def test_one_window(mine):
    """1 2 / 4 3: the 4 wins, pixel number 1*2 + 0."""
    case = forward_case([[[[1], [2]], [[4], [3]]]], x="1 2 / 4 3", size=2)
    hold_pair(mine, case)
    note("1 2 / 4 3 -> 4, pixel 2")


def hold_pair(mine, case):
    """hold_op, with a better word on an index that is no uint8."""
    found = mine.maxpool_forward(*case.args)
    if isinstance(found, tuple | list) and len(found) == 2 and getattr(found[1], "dtype", None) != np.uint8:
        kind = getattr(found[1], "dtype", type(found[1]).__name__)
        fail(f"index is {kind}, expected uint8", "index holds small whole numbers, 0 to size*size - 1: "
             "np.zeros(y.shape, np.uint8), or .astype(np.uint8)", case.told())  # fmt: skip
    hold_op(mine, case)


def test_shapes(mine):
    for shape, size, stride in (((2, 8, 6, 3), 2, 2), ((1, 7, 5, 1), 2, 2), ((1, 7, 8, 2), 3, 2)):
        expected, _ = reference.maxpool_forward(np.ones(shape, np.float32), size, stride)
        case = forward_case(np.ones(shape), size, stride)
        found = mine.maxpool_forward(*case.args)
        if not isinstance(found, tuple | list) or len(found) != 2:
            hold_op(mine, case)
        rounded_up = tuple(-(-(length - size) // stride) + 1 for length in shape[1:3])
        for name, actual in zip(("y", "index"), found, strict=True):
            if np.shape(actual)[1:3] == rounded_up != expected.shape[1:3]:
                fail(f"{name} has the shape {np.shape(actual)}, expected {expected.shape}", "a window that is not full "
                     "is no window: (height - size) // stride + 1 rows, rounded down", case.told())  # fmt: skip
            if np.shape(actual) != expected.shape:
                hold(name, expected, actual, case.told())
    note("(2,8,6,3), size 2, stride 2 -> (2,4,3,3)")


def test_four_windows(mine):
    x = np.array([[1, 5, 2, 0], [3, 4, 7, 6], [8, 0, 1, 1], [2, 9, 3, 2]]).reshape(1, 4, 4, 1)
    hold_pair(mine, forward_case(x))
    note("1 5 2 0 / 3 4 7 6 / 8 0 1 1 / 2 9 3 2 -> 5 7 / 9 3")


def test_below_zero(mine):
    """Three windows are all negative, one is not."""
    hold_pair(mine, forward_case(1 - np.arange(16).reshape(1, 4, 4, 1)))


def test_all_24_orders(mine):
    """Every order of 1 2 3 4 in a window: the 4 wins wherever it is."""
    hold_pair(mine, forward_case(ORDERS))
    note("1 2 3 4 in every order: always 4")


def test_ties(mine):
    """Every window of zeros and ones: the first 1 wins, and the first 0 where there is no 1."""
    hold_pair(mine, forward_case(TIES))
    note("every window of 0 and 1: the first wins")


def test_nan_wins(mine):
    """A NaN wins wherever it lies; of several the first."""
    nan = np.nan
    for window, first in (((1, nan, 2, 3), 1), ((nan, 1, 2, 3), 0), ((3, 1, 2, nan), 3), ((1, nan, 5, nan), 1)):
        x = np.array(window, np.float32).reshape(1, 2, 2, 1)
        y, index = mine.maxpool_forward(x, 2, 2)
        case = "x=" + " ".join(f"{value:g}" for value in window)
        if not np.isnan(y).all():
            fail(f"the NaN is lost, y is {np.ravel(y)[0]:g}", "a comparison with NaN is false, so it neither wins nor "
                 "is beaten: ask for np.isnan(value) too", case)  # fmt: skip
        if np.ravel(index)[0] != first:
            fail(f"index is {np.ravel(index)[0]}, expected {first}", "the first NaN of a window wins: once the best is "
                 "NaN, nothing takes its place", case)  # fmt: skip
    note("and of several the first")


def test_channels(mine):
    hold_pair(mine, forward_case(shuffled(1, 4, 4, 3)))
    hold_pair(mine, forward_case(shuffled(2, 6, 4, 2)))
    note("each channel by itself")


def test_odd_sizes(mine):
    hold_pair(mine, forward_case(shuffled(1, 5, 7, 2)))
    hold_pair(mine, forward_case(shuffled(2, 4, 5, 1), 3, 3))
    note("a row or column that fills no window is left out")


def test_overlap(mine):
    """Windows that overlap, and windows with gaps between them."""
    for size, stride in ((3, 2), (2, 1), (2, 3)):
        hold_pair(mine, forward_case(shuffled(1, 8, 7, 2), size, stride))
    note("size 3 stride 2, size 2 stride 1, size 2 stride 3")


def test_small_cases(mine):
    hold_small(mine, FORWARD)


# ------------------------------------------------------------------------------------------------------------ backwards


def test_backward_by_hand(mine):
    """Pixel 2 of the window won: it gets all of dy."""
    hold_op(mine, backward_case([[[[5]]]], [[[[2]]]], (1, 2, 2, 1), dy=5, index=2, size=2))
    note("dy 5, pixel 2 -> 0 0 / 5 0")


def test_backward_of_all_orders(mine):
    hold_op(mine, back_from(ORDERS, 2, 2))
    note("dy goes where the 4 was")


def test_backward_channels(mine):
    hold_op(mine, back_from(shuffled(1, 4, 4, 3), 2, 2))
    hold_op(mine, back_from(shuffled(2, 6, 4, 2), 2, 2))


def test_backward_odd_sizes(mine):
    """dx is as large as x; where no window was, it is 0."""
    for shape, size in (((1, 5, 7, 2), 2), ((1, 5, 5, 1), 3)):
        case = back_from(shuffled(*shape), size, size)
        dx = mine.maxpool_backward(*case.args)
        if np.ndim(dx) == 4 and np.shape(dx)[1:3] != shape[1:3]:
            fail(f"dx has the shape {np.shape(dx)}, expected {shape}", "the rows and columns that filled no window "
                 "belong to x, so they belong to dx: np.zeros(x_shape, dy.dtype)", case.told())  # fmt: skip
        hold_op(mine, case)
    note("rows and columns that were left out get 0")


def test_backward_overlap(mine):
    """A pixel that won twice gets the sum; and windows with gaps between them."""
    hold_op(mine, backward_case([[[[1], [10]]]], [[[[5], [3]]]], (1, 3, 5, 1), 3, 2, dy="1 10", index="5 3",
                                size=3, stride=2))  # fmt: skip
    for size, stride in ((3, 2), (2, 1), (2, 3)):
        hold_op(mine, back_from(shuffled(1, 8, 7, 2), size, stride))
    note("a pixel that won twice gets 1 + 10")


def test_backward_of_301_rows(mine):
    """The last pixel of every window has won: p * stride + i goes past 255, as numbers of one byte do not."""
    for shape in ((1, 301, 3, 1), (1, 3, 301, 1)):
        hold_op(mine, back_from(np.arange(301 * 3).reshape(shape), 3, 2))
    note("301 rows, 301 columns")


def test_slopes(mine):
    """A little more of a pixel makes y larger only where the pixel won."""
    x = shuffled(2, 5, 6, 2)
    for size, stride in ((2, 2), (3, 2)):
        y, index = reference.maxpool_forward(x, size, stride)
        dy = rng("slopes").standard_normal(y.shape)

        def forward(x, size=size, stride=stride):
            return reference.maxpool_forward(x, size, stride)[0]

        hold("dx", gradcheck.numeric_gradient(forward, x, dy=dy),
             mine.maxpool_backward(dy, index, x.shape, size, stride), told(**sizes(x.shape, size, stride)))  # fmt: skip


def test_small_cases_backward(mine):
    hold_small(mine, BACKWARD)


@drawn(FORWARD, only=lambda one: cases.work(one.op, one.args) <= MOST)
def test_any_shape(mine, case):
    hold_op(mine, case)


@drawn(BACKWARD, only=lambda one: cases.work(one.op, one.args) <= MOST)
def test_any_shape_backward(mine, case):
    hold_op(mine, case)
