"""Lesson 04, Downhill: gradients say which way; momentum and Adam say how far."""

import numpy as np


def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    """One step of gradient descent: weights w, their gradient g and their velocity v, all (D,), v zeros at the start.

    Writes the new values into w and v, which are the caller's, and answers nothing. g stays as it is."""
    # BEGIN ANSWER
    g = g + weight_decay * w  # a new array: the caller's g is not ours to change
    v[...] = momentum * v + g
    if nesterov:
        w -= lr * (g + momentum * v)
    else:
        w -= lr * v
    # END ANSWER


def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    """Adam's step number t = 1, 2, ...: weights w, gradient g, the means m of g and v of g squared, all (D,).

    Writes the new values into w, m and v, and answers nothing. m and v are zeros at the start."""
    # BEGIN ANSWER
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g * g
    mhat = m / (1 - b1**t)  # not stored: m itself goes on as it is
    vhat = v / (1 - b2**t)
    w -= lr * (mhat / (np.sqrt(vhat) + eps) + weight_decay * w)
    # END ANSWER
