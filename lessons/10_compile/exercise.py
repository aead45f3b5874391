"""Lesson 10, Compile it: the same products, in the order in which numbers lie in memory, thousands of times faster."""

import numba
import numpy as np


@numba.njit
def by_definition(x, w, b, stride, pad):
    """Given: lesson 05's seven loops, with one line more, the one above. To read, to time, and to beat."""
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    xp[:, pad : pad + height, pad : pad + width] = x
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for k in range(kernels):
                    total = b[k]
                    for i in range(kh):
                        for j in range(kw):
                            for c in range(channels):
                                total += xp[n, p * stride + i, q * stride + j, c] * w[i, j, c, k]
                    y[n, p, q, k] = total
    return y


@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    """x (N,H,W,C), w (kh,kw,C,K), b (K,) -> y (N,P,Q,K): the same numbers as by_definition, in another order."""
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    # Your code: about 15 lines.
    raise NotImplementedError("conv2d_forward is still to be written")
