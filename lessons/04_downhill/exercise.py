"""Lesson 04, Downhill: gradients say which way; momentum and Adam say how far."""

import numpy as np


def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    """One step of gradient descent: weights w, their gradient g and their velocity v, all (D,), v zeros at the start.

    Writes the new values into w and v, which are the caller's, and answers nothing. g stays as it is."""
    # Your code: about 6 lines.
    raise NotImplementedError("sgd_update is still to be written")


def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    """Adam's step number t = 1, 2, ...: weights w, gradient g, the means m of g and v of g squared, all (D,).

    Writes the new values into w, m and v, and answers nothing. m and v are zeros at the start."""
    # Your code: about 5 lines.
    raise NotImplementedError("adam_update is still to be written")
