"""Classic mistakes in ReLU and leaky ReLU."""

import numpy as np


def relu_forward(x):
    yield "y", "negative values keep their size: max(x, 0) is asked for, not |x|", np.abs(x)
    yield "y", "the wrong side is kept: y = x where x is positive", np.minimum(x, 0)
    yield "y", "nothing is cut off: y = x", x


def relu_backward(dy, x):
    yield "dx", "the gradient passes everywhere: it must be 0 where x <= 0", dy
    yield "dx", "the mask is taken from dy: it belongs to x, what the forward pass saw", np.where(dy > 0, dy, 0)
    yield "dx", "the mask is missing its dy: this is the derivative alone, not yet times dy", (x > 0).astype(x.dtype)
    yield "dx", "the gradient passes on the wrong side: it must pass where x > 0", np.where(x <= 0, dy, 0)
    yield "dx", "x is handed on where dy belongs", np.where(x > 0, x, 0)


def leaky_relu_forward(x, slope):
    yield "y", "the slope is ignored: this is the plain ReLU", np.where(x < 0, 0, x)
    yield "y", "the slope is used on the positive side too", slope * x
    yield "y", "the slope is used on the positive side instead of the negative", np.where(x > 0, slope * x, x)


def leaky_relu_backward(dy, x, slope):
    yield from relu_backward(dy, x)
    yield "dx", "the slope is ignored: this is the plain ReLU's gradient", np.where(x <= 0, 0, dy)
    yield "dx", "the mask is taken from dy: it belongs to x", np.where(dy <= 0, slope * dy, dy)
