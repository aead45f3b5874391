"""Lesson 07, Max-pool: of each window only the strongest answer goes on, and only it hears what became of it."""

import numpy as np


def maxpool_forward(x, size, stride):
    """x (N,H,W,C) -> y (N,P,Q,C) of x's dtype, index (N,P,Q,C) uint8: which pixel of the window won, i*size + j."""
    pictures, height, width, channels = x.shape
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    # Your code: about 14 lines.
    raise NotImplementedError("maxpool_forward is still to be written")


def maxpool_backward(dy, index, x_shape, size, stride):
    """dy, index (N,P,Q,C), x_shape = (N,H,W,C) -> dx (N,H,W,C) of dy's dtype: the winners get dy, all others 0."""
    pictures, rows, columns, channels = dy.shape
    # Your code: about 9 lines.
    raise NotImplementedError("maxpool_backward is still to be written")
