"""Lesson 12, Past the limit: a convolution as one product of matrices, and a product that stays out of memory."""

import numba
import numpy as np

# What the compiler may do with sums: add in another order (so that vectors are possible), and fuse product and sum.
FASTER = {"reassoc", "contract"}


@numba.njit
def lesson_10(x, w, b, stride, pad):
    """Given: our lesson 10, the one to beat."""
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
                    y[n, p, q, k] = b[k]
                for i in range(kh):
                    for j in range(kw):
                        for c in range(channels):
                            pixel = xp[n, p * stride + i, q * stride + j, c]
                            for k in range(kernels):
                                y[n, p, q, k] += pixel * w[i, j, c, k]
    return y


@numba.njit
def im2col(x, kh, kw, stride, pad):
    """One picture x (H,W,C) -> a (P*Q, kh*kw*C): row p*Q + q holds the window that output (p, q) sees."""
    height, width, channels = x.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    # Your code: about 10 lines.
    raise NotImplementedError("im2col is still to be written")


@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    """a (M,D), wt (K,D), b (K,): writes a @ wt.T + b into y (M,K), in tiles of 4 rows and 2 columns."""
    m, depth = a.shape
    kernels = len(wt)
    # Your code: about 20 lines.
    raise NotImplementedError("multiply is still to be written")


@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    """x (N,H,W,C), w (kh,kw,C,K), b (K,) -> y (N,P,Q,K), each picture by im2col and multiply."""
    kh, kw, _, kernels = w.shape
    rows, columns = (x.shape[1] + 2 * pad - kh) // stride + 1, (x.shape[2] + 2 * pad - kw) // stride + 1
    # Your code: about 5 lines.
    raise NotImplementedError("conv2d_forward is still to be written")
