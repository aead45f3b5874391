"""Lesson 02, Trust no gradient: a backward pass is believed when it agrees with what one can measure."""

import numpy as np

EPS = 1e-5  # step of the differences: see the picture for why
TOLERANCE = 1e-5  # largest error of a right gradient, as a share of the largest slope


def numeric_gradient(f, x, dy, eps):
    """The slope of sum(dy * f(x)) for each entry of x, by central differences: float64, of x's shape.

    f takes an array like x and answers an array like dy. x itself stays as it is."""
    # Your code: about 11 lines.
    raise NotImplementedError("numeric_gradient is still to be written")


def check_vjp(forward, backward, x, rng):
    """True if backward(dy, x) is the gradient of sum(dy * forward(x)) for a random dy, and False if it is not."""
    # Your code: about 6 lines.
    raise NotImplementedError("check_vjp is still to be written")
