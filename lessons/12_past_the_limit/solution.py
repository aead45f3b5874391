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
    # BEGIN ANSWER
    a = np.zeros((rows * columns, kh * kw * channels), x.dtype)
    for p in range(rows):
        for q in range(columns):
            for i in range(kh):
                for j in range(kw):
                    r, s = p * stride + i - pad, q * stride + j - pad
                    if 0 <= r < height and 0 <= s < width:
                        for c in range(channels):
                            a[p * columns + q, (i * kw + j) * channels + c] = x[r, s, c]
    return a
    # END ANSWER


@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    """a (M,D), wt (K,D), b (K,): writes a @ wt.T + b into y (M,K), in tiles of 4 rows and 2 columns."""
    m, depth = a.shape
    kernels = len(wt)
    # BEGIN ANSWER
    for i in range(0, m, 4):
        i1, i2, i3 = min(i + 1, m - 1), min(i + 2, m - 1), min(i + 3, m - 1)  # at the end: the last row again
        for k in range(0, kernels, 2):
            k1 = min(k + 1, kernels - 1)
            s00 = s10 = s20 = s30 = b[k]
            s01 = s11 = s21 = s31 = b[k1]
            for d in range(depth):
                w0, w1 = wt[k, d], wt[k1, d]
                s00 += a[i, d] * w0
                s01 += a[i, d] * w1
                s10 += a[i1, d] * w0
                s11 += a[i1, d] * w1
                s20 += a[i2, d] * w0
                s21 += a[i2, d] * w1
                s30 += a[i3, d] * w0
                s31 += a[i3, d] * w1
            y[i, k], y[i, k1] = s00, s01
            y[i1, k], y[i1, k1] = s10, s11
            y[i2, k], y[i2, k1] = s20, s21
            y[i3, k], y[i3, k1] = s30, s31
    # END ANSWER


@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    """x (N,H,W,C), w (kh,kw,C,K), b (K,) -> y (N,P,Q,K), each picture by im2col and multiply."""
    kh, kw, _, kernels = w.shape
    rows, columns = (x.shape[1] + 2 * pad - kh) // stride + 1, (x.shape[2] + 2 * pad - kw) // stride + 1
    # BEGIN ANSWER
    wt = w.reshape(-1, kernels).T.copy()
    y = np.empty((len(x), rows * columns, kernels), x.dtype)
    for n in numba.prange(len(x)):
        multiply(im2col(x[n], kh, kw, stride, pad), wt, b, y[n])
    return y.reshape(len(x), rows, columns, kernels)
    # END ANSWER
