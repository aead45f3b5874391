"""Lesson 02: what students write."""

import numba
import numpy as np


# %% wrong: a difference to one side only
# looks like: to one side only
def numeric_gradient(f, x, dy, eps):
    x = np.array(x, np.float64)
    slope = np.zeros_like(x)
    start = (dy * f(x)).sum()
    for i in np.ndindex(x.shape):
        x[i] += eps
        slope[i] = ((dy * f(x)).sum() - start) / eps
        x[i] -= eps
    return slope


# %% wrong: divides by eps
# looks like: 2 eps, not eps
def numeric_gradient(f, x, dy, eps):
    x = np.array(x, np.float64)
    slope = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = eps
        slope[i] = (dy * (f(x + step) - f(x - step))).sum() / eps
    return slope


# %% wrong: divides by nothing
# looks like: not divided
def numeric_gradient(f, x, dy, eps):
    x = np.array(x, np.float64)
    slope = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = eps
        slope[i] = (dy * (f(x + step) - f(x - step))).sum()
    return slope


# %% wrong: does not put x back
# looks like: x is not put back
def numeric_gradient(f, x, dy, eps):
    x = np.array(x, np.float64)
    slope = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += eps
        above = (dy * f(x)).sum()
        x[i] -= 2 * eps
        slope[i] = (above - (dy * f(x)).sum()) / (2 * eps)
    return slope


# %% wrong: works on the caller's x, and leaves it moved
# looks like: it writes into x, which belongs to the caller
def numeric_gradient(f, x, dy, eps):
    slope = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        x[i] += eps
        above = (dy * f(x)).sum()
        x[i] -= 2 * eps
        slope[i] = (above - (dy * f(x)).sum()) / (2 * eps)
        x[i] += eps * 1.01
    return slope


# %% wrong: leaves dy out
# looks like: dy is left out
def numeric_gradient(f, x, dy, eps):
    x = np.array(x, np.float64)
    slope = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = eps
        slope[i] = (f(x + step) - f(x - step)).sum() / (2 * eps)
    return slope


# %% wrong: stays in float32
# looks like: x is still float32
def numeric_gradient(f, x, dy, eps):
    x = x.copy()
    slope = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        middle = x[i]
        x[i] = middle + eps
        above = (dy * f(x)).sum()
        x[i] = middle - eps
        slope[i] = (above - (dy * f(x)).sum()) / (2 * eps)
        x[i] = middle
    return slope


# %% wrong: a copy that stays in float32, slopes in float64
# looks like: x is still float32
def numeric_gradient(f, x, dy, eps):
    x = x.copy()
    slope = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        middle = x[i]
        x[i] = middle + eps
        above = (dy * f(x)).sum()
        x[i] = middle - eps
        slope[i] = (above - (dy * f(x)).sum()) / (2 * eps)
        x[i] = middle
    return slope


# %% wrong: moves all entries at once
def numeric_gradient(f, x, dy, eps):
    x = np.array(x, np.float64)
    return dy * (f(x + eps) - f(x - eps)) / (2 * eps)


# %% wrong: both points above
def numeric_gradient(f, x, dy, eps):
    x = np.array(x, np.float64)
    slope = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = eps
        slope[i] = (dy * (f(x + 2 * step) - f(x))).sum() / (2 * eps)
    return slope


# %% wrong: dy is all ones
# looks like: dy is all ones
def check_vjp(forward, backward, x, rng):
    dy = np.ones(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    if actual.shape != expected.shape:
        return False
    return bool(np.abs(actual - expected).max() <= TOLERANCE * max(1, np.abs(expected).max()))


# %% wrong: dy is all ones, the error relative
# looks like: dy is not random
def check_vjp(forward, backward, x, rng):
    dy = np.ones(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    if actual.shape != expected.shape:
        return False
    return bool(np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max())


# %% wrong: an absolute tolerance
# looks like: in absolute terms
def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    if actual.shape != expected.shape:
        return False
    return bool(np.abs(actual - expected).max() <= TOLERANCE)


# %% wrong: np.allclose as it comes
# looks like: in absolute terms
def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    return actual.shape == expected.shape and np.allclose(actual, expected, atol=1e-5)


# %% wrong: looks at the first entry only
# looks like: not every entry is compared
def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    if actual.shape != expected.shape:
        return False
    return bool(abs(actual.flat[0] - expected.flat[0]) <= TOLERANCE * abs(expected.flat[0]))


# %% wrong: compares the sizes
# looks like: only sizes are compared
def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    if actual.shape != expected.shape:
        return False
    error = np.abs(np.abs(actual) - np.abs(expected)).max()
    return bool(error <= TOLERANCE * np.abs(expected).max())


# %% wrong: asks whether the error is too large, and a NaN is not
# looks like: a comparison with NaN
def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    if actual.shape != expected.shape:
        return False
    if np.abs(actual - expected).max() > TOLERANCE * np.abs(expected).max():
        return False
    return True


# %% wrong: answers True where it should be False
# looks like: True and False are swapped
def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    return bool(actual.shape != expected.shape or np.abs(actual - expected).max() > TOLERANCE * np.abs(expected).max())


# %% wrong: draws another dy for backward
# looks like: the very dy
def check_vjp(forward, backward, x, rng):
    shape = forward(x).shape
    expected = numeric_gradient(forward, x, rng.standard_normal(shape), EPS)
    actual = backward(rng.standard_normal(shape), x)
    if actual.shape != expected.shape:
        return False
    return bool(np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max())


# %% wrong: a step of 0.1
# looks like: eps too small or too large
def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, 0.1), backward(dy, x)
    if actual.shape != expected.shape:
        return False
    return bool(np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max())


# %% wrong: forgets the shapes
# looks like: the shapes are not compared
def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    return bool(np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max())


# %% wrong: answers the error itself
# looks like: the error itself
def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    return np.abs(actual - expected).max()


# %% right: loops over flat entries
def numeric_gradient(f, x, dy, eps):
    slope = np.zeros(x.size)
    for k in range(x.size):
        values = []
        for sign in (1, -1):
            moved = x.astype(np.float64).ravel()
            moved[k] += sign * eps
            values.append((dy * f(moved.reshape(x.shape))).sum())
        slope[k] = (values[0] - values[1]) / (2 * eps)
    return slope.reshape(x.shape)


# %% right: vectorised, a unit matrix of steps
def numeric_gradient(f, x, dy, eps):
    x = x.astype(np.float64)
    steps = eps * np.eye(x.size).reshape(x.size, *x.shape)
    rises = np.array([f(x + step) - f(x - step) for step in steps])
    return (rises * dy).reshape(x.size, -1).sum(1).reshape(x.shape) / (2 * eps)


def check_vjp(forward, backward, x, rng):
    dy = rng.uniform(-1, 1, np.shape(forward(x)))
    expected, actual = numeric_gradient(forward, x, dy, 1e-6), np.asarray(backward(dy, x))
    if np.shape(actual) != np.shape(expected) or not np.isfinite(actual).all():
        return False
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected) < 1e-6


# %% right: njit compares
@numba.njit
def agree(expected, actual, tolerance):
    largest = error = 0.0
    for i in range(expected.size):
        gap = abs(actual[i] - expected[i])
        if not gap >= 0:
            return False
        error, largest = max(error, gap), max(largest, abs(expected[i]))
    return error <= tolerance * largest


def check_vjp(forward, backward, x, rng):
    dy = rng.standard_normal(forward(x).shape)
    expected, actual = numeric_gradient(forward, x, dy, EPS), backward(dy, x)
    if actual.shape != expected.shape:
        return False
    return bool(agree(expected.ravel(), np.ascontiguousarray(actual).ravel(), TOLERANCE))
