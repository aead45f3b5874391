"""Lesson 07, Max-pool: of each window only the strongest answer goes on, and only it hears what became of it."""

import numpy as np


def maxpool_forward(x, size, stride):
    """x (N,H,W,C) -> y (N,P,Q,C) of x's dtype, index (N,P,Q,C) uint8: which pixel of the window won, i*size + j."""
    pictures, height, width, channels = x.shape
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    # BEGIN ANSWER
    y = np.zeros((pictures, rows, columns, channels), x.dtype)
    index = np.zeros(y.shape, np.uint8)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for c in range(channels):
                    best, winner = x[n, p * stride, q * stride, c], 0
                    for i in range(size):
                        for j in range(size):
                            value = x[n, p * stride + i, q * stride + j, c]
                            if value > best or (np.isnan(value) and not np.isnan(best)):
                                best, winner = value, i * size + j
                    y[n, p, q, c], index[n, p, q, c] = best, winner
    return y, index
    # END ANSWER


def maxpool_backward(dy, index, x_shape, size, stride):
    """dy, index (N,P,Q,C), x_shape = (N,H,W,C) -> dx (N,H,W,C) of dy's dtype: the winners get dy, all others 0."""
    pictures, rows, columns, channels = dy.shape
    # BEGIN ANSWER
    dx = np.zeros(x_shape, dy.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for c in range(channels):
                    number = int(index[n, p, q, c])  # a uint8 would end at 255, and p * stride + i with it
                    i, j = number // size, number % size
                    dx[n, p * stride + i, q * stride + j, c] += dy[n, p, q, c]
    return dx
    # END ANSWER
