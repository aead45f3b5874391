"""Lesson 02, Trust no gradient: a backward pass is believed when it agrees with what one can measure."""

import numpy as np

EPS = 1e-5  # step of the differences: see the picture for why
TOLERANCE = 1e-5  # largest error of a right gradient, as a share of the largest slope


def numeric_gradient(f, x, dy, eps):
    """The slope of sum(dy * f(x)) for each entry of x, by central differences: float64, of x's shape.

    f takes an array like x and answers an array like dy. x itself stays as it is."""
    # BEGIN ANSWER
    x = np.array(x, np.float64)  # a copy, and in double precision
    slope = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        middle = x[i]
        x[i] = middle + eps
        above = (dy * f(x)).sum()
        x[i] = middle - eps
        below = (dy * f(x)).sum()
        x[i] = middle
        slope[i] = (above - below) / (2 * eps)
    return slope
    # END ANSWER


def check_vjp(forward, backward, x, rng):
    """True if backward(dy, x) is the gradient of sum(dy * forward(x)) for a random dy, and False if it is not."""
    # BEGIN ANSWER
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    if actual.shape != expected.shape:
        return False
    error = np.abs(actual - expected).max()
    return bool(error <= TOLERANCE * np.abs(expected).max())  # so asked, a NaN answers False
    # END ANSWER
