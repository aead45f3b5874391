"""What ReLU and the dense layer are held to: numbers by hand, the adjoint, and slopes."""

import numpy as np

from lessons.checking import case_of, drawn, fail, hold, hold_op, hold_small, note, rng, told
from tinyfer import gradcheck

# --------------------------------------------------------------------------------------------------------------- ReLU


def test_relu_by_hand(mine):
    x = np.array([[-2, -0.5, 0], [0.5, 2, -1]], np.float32)
    hold_op(mine, case_of("relu_forward", x, x="-2 -0.5 0 / 0.5 2 -1"))
    note("-2 -0.5 0 0.5 2 -> 0 0 0 0.5 2")


def test_relu_of_nan(mine):
    y = mine.relu_forward(np.array([[-1, np.nan, 1]], np.float32))
    if np.shape(y) == (1, 3) and not np.isnan(y[0, 1]):
        fail(f"the NaN has become {y[0, 1]:g}", "a comparison with NaN is false: ask for x < 0 and answer 0 there, "
             "then a NaN passes and is seen", "x=-1 nan 1")  # fmt: skip
    hold("y", np.array([[0, np.nan, 1]], np.float32), y, "x=-1 nan 1")
    note("stays NaN")


def test_relu(mine):
    hold_small(mine, "relu_forward")


def test_relu_backward_by_hand(mine):
    x, dy = np.array([[-2, -0.5, 0.5, 2]], np.float32), np.array([[10, -20, 30, -40]], np.float32)
    hold_op(mine, case_of("relu_backward", dy, x, x="-2 -0.5 0.5 2", dy="10 -20 30 -40"))
    note("dy 10 -20 30 -40 -> dx 0 0 30 -40")


def test_relu_backward_at_zero(mine):
    dx = mine.relu_backward(np.full((1, 3), 5, np.float32), np.array([[-1, 0, 1]], np.float32))
    hold(
        "dx",
        np.array([[0, 0, 5]], np.float32),
        dx,
        "x=-1 0 1 dy=5 5 5",
        lookalikes={"at exactly 0 nothing passes: the mask is x > 0, not x >= 0": np.array([[0, 5, 5]], np.float32)},
    )


def test_relu_backward(mine):
    hold_small(mine, "relu_backward")


# -------------------------------------------------------------------------------------------------------------- dense


def test_dense_by_hand(mine):
    """1*1 + 2*3 + 3*5 + 10 = 32, 1*2 + 2*4 + 3*6 + 20 = 48."""
    x, w, b = arrays([[1, 2, 3]], [[1, 2], [3, 4], [5, 6]], [10, 20])
    hold_op(mine, case_of("dense_forward", x, w, b, x="1 2 3", w="1 2 / 3 4 / 5 6", b="10 20"))
    note("1 2 3 -> 32 48")


def arrays(*rows):
    return (np.array(row, np.float32) for row in rows)


def test_dense(mine):
    hold_small(mine, "dense_forward")


def test_dense_backward_by_hand(mine):
    """dx of the first picture = 1*1 + 5*2, 1*3 + 5*4; dw = 1*1 + 0*2, 1*5 + 0*0 / 2*1 + 1*2, 2*5 + 1*0."""
    dy, x, w = arrays([[1, 5], [2, 0]], [[1, 2], [0, 1]], [[1, 2], [3, 4]])
    hold_op(mine, case_of("dense_backward", dy, x, w, N=2, dy="1 5 / 2 0", x="1 2 / 0 1", w="1 2 / 3 4"))
    note("dx 11 23 / 2 6, dw 1 5 / 4 10, db 3 5")


def test_dense_backward(mine):
    hold_small(mine, "dense_backward")


def test_adjoint(mine):
    """y = x w is linear in x and in w: sum(dy * y) = sum(dx * x) = sum(dw * w)."""
    dy, x, w = (rng(name).standard_normal(shape) for name, shape in (("dy", (4, 3)), ("x", (4, 5)), ("w", (5, 3))))
    dx, dw, _ = mine.dense_backward(dy, x, w)
    up = np.array((dy * mine.dense_forward(x, w, np.zeros(3))).sum())
    for name, down in (("sum(dx * x)", dx * x), ("sum(dw * w)", dw * w)):
        hold(name, up, down.sum(), told(N=4, D=5, K=3), rtol=1e-10, looks="it must equal sum(dy * (x w))")
    note("sum(dy * xw) = sum(dx * x) = sum(dw * w)")


def test_slopes_of_two_layers(mine):
    """dense, ReLU, dense: the gradient that your functions hand down is the one that can be measured."""
    x, w, v, dy = (rng(name).standard_normal(shape)
                   for name, shape in (("x", (3, 4)), ("w", (4, 5)), ("v", (5, 2)), ("dy", (3, 2))))  # fmt: skip
    b, c = rng("b").standard_normal(5), rng("c").standard_normal(2)

    def network(x, w):
        return mine.dense_forward.fast(mine.relu_forward.fast(mine.dense_forward.fast(x, w, b)), v, c)

    hidden = mine.dense_forward(x, w, b)
    dhidden, _, _ = mine.dense_backward(dy, mine.relu_forward(hidden), v)
    dx, dw, _ = mine.dense_backward(mine.relu_backward(dhidden, hidden), x, w)
    for name, actual, f, at in (("dx", dx, lambda x: network(x, w), x), ("dw", dw, lambda w: network(x, w), w)):
        hold(name, gradcheck.numeric_gradient(f, at, dy=dy), actual, told(N=3, D=4, hidden=5, K=2))


@drawn("dense_forward")
def test_any_dense(mine, case):
    hold_op(mine, case)


@drawn("dense_backward")
def test_any_dense_backward(mine, case):
    hold_op(mine, case)


@drawn("relu_backward")
def test_any_relu_backward(mine, case):
    hold_op(mine, case)
