"""Lesson 10: what students write."""

import numba
import numpy as np


# %% wrong: without njit, since Numba complained
# looks like: the line @numba.njit is missing
def conv2d_forward(x, w, b, stride, pad):
    return by_definition.py_func(x, w, b, stride, pad)


# %% wrong: compiled, in the old order
# looks like: the innermost loop is over c
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
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


# %% wrong: channels outside, taps inside
# looks like: the innermost loop is over j
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
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
                    for c in range(channels):
                        for i in range(kh):
                            for j in range(kw):
                                y[n, p, q, k] += xp[n, p * stride + i, q * stride + j, c] * w[i, j, c, k]
    return y


# %% wrong: pixel by pixel inside, as with channels first
# looks like: the innermost loop goes along the picture
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    xp[:, pad : pad + height, pad : pad + width] = x
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for n in range(pictures):
        y[n] = b
        for k in range(kernels):
            for c in range(channels):
                for i in range(kh):
                    for j in range(kw):
                        for p in range(rows):
                            for q in range(columns):
                                y[n, p, q, k] += xp[n, p * stride + i, q * stride + j, c] * w[i, j, c, k]
    return y


# %% wrong: whole rows at a time
# looks like: whole rows at a time, in NumPy's way
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    xp[:, pad : pad + height, pad : pad + width] = x
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                y[n, p, q] = b
                for i in range(kh):
                    for j in range(kw):
                        for c in range(channels):
                            y[n, p, q] += xp[n, p * stride + i, q * stride + j, c] * w[i, j, c]
    return y


# %% wrong: the bias is forgotten
# looks like: the bias is missing|off by the same amount everywhere
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    xp[:, pad : pad + height, pad : pad + width] = x
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for i in range(kh):
                    for j in range(kw):
                        for c in range(channels):
                            for k in range(kernels):
                                y[n, p, q, k] += xp[n, p * stride + i, q * stride + j, c] * w[i, j, c, k]
    return y


# %% wrong: the bias is set anew at every tap
# looks like: the sum over the kernel is missing: only the last tap counts
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    xp[:, pad : pad + height, pad : pad + width] = x
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for i in range(kh):
                    for j in range(kw):
                        for k in range(kernels):
                            y[n, p, q, k] = b[k]
                        for c in range(channels):
                            for k in range(kernels):
                                y[n, p, q, k] += xp[n, p * stride + i, q * stride + j, c] * w[i, j, c, k]
    return y


# %% wrong: the bias is added at every tap
# looks like: the bias is added again and again
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    xp[:, pad : pad + height, pad : pad + width] = x
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for i in range(kh):
                    for j in range(kw):
                        for k in range(kernels):
                            y[n, p, q, k] += b[k]
                            for c in range(channels):
                                y[n, p, q, k] += xp[n, p * stride + i, q * stride + j, c] * w[i, j, c, k]
    return y


# %% wrong: '=' for '+='
# looks like: the sum over the kernel is missing: only the last tap counts
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    xp[:, pad : pad + height, pad : pad + width] = x
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for i in range(kh):
                    for j in range(kw):
                        for c in range(channels):
                            for k in range(kernels):
                                y[n, p, q, k] = xp[n, p * stride + i, q * stride + j, c] * w[i, j, c, k] + b[k]
    return y


# %% wrong: a padded picture with room on one side only
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + pad, width + pad, channels), x.dtype)
    xp[:, pad:, pad:] = x
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


# %% wrong: one tap too many
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
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
                    for j in range(kw + 1):
                        for c in range(channels):
                            pixel = xp[n, p * stride + i, q * stride + j, c]
                            for k in range(kernels):
                                y[n, p, q, k] += pixel * w[i, j, c, k]
    return y


# %% wrong: no padding, and negative indices that wrap around
# looks like: a negative index takes pixels from the other end
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for k in range(kernels):
                    y[n, p, q, k] = b[k]
                for i in range(kh):
                    for j in range(kw):
                        r, s = p * stride + i - pad, q * stride + j - pad
                        if r < height and s < width:
                            for c in range(channels):
                                for k in range(kernels):
                                    y[n, p, q, k] += x[n, r, s, c] * w[i, j, c, k]
    return y


# %% wrong: y in float64
# looks like: np.zeros and np.empty make float64
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    xp[:, pad : pad + height, pad : pad + width] = x
    y = np.zeros((pictures, rows, columns, kernels))
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for k in range(kernels):
                    y[n, p, q, k] = b[k]
                for i in range(kh):
                    for j in range(kw):
                        for c in range(channels):
                            for k in range(kernels):
                                y[n, p, q, k] += xp[n, p * stride + i, q * stride + j, c] * w[i, j, c, k]
    return y


# %% wrong: xp in float64
# looks like: float32 and float64 meet in the sum
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels))
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


# %% wrong: np.pad, which Numba does not know
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    return by_definition(np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))), w, b, stride, 0)


# %% right: without a padded copy
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    y = np.empty((pictures, rows, columns, kernels), x.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                y[n, p, q] = b
                for i in range(max(0, pad - p * stride), min(kh, height + pad - p * stride)):
                    for j in range(max(0, pad - q * stride), min(kw, width + pad - q * stride)):
                        for c in range(channels):
                            for k in range(kernels):
                                y[n, p, q, k] += x[n, p * stride + i - pad, q * stride + j - pad, c] * w[i, j, c, k]
    return y


# %% right: taps outside, pixels inside them, over flat rows
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for at in range(pictures * rows * columns):
        n, p, q = at // (rows * columns), at // columns % rows, at % columns
        out = y[n, p, q]
        for k in range(kernels):
            out[k] = b[k]
        for tap in range(kh * kw):
            r, s = p * stride + tap // kw - pad, q * stride + tap % kw - pad
            if 0 <= r < height and 0 <= s < width:
                weights = w[tap // kw, tap % kw]
                for c in range(channels):
                    pixel = x[n, r, s, c]
                    for k in range(kernels):
                        out[k] += pixel * weights[c, k]
    return y


# %% right: the weights turned, so that c lies innermost, and a sum that may be reordered
@numba.njit(fastmath={"reassoc", "contract", "nsz"})
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    turned = w.transpose(3, 0, 1, 2).copy()
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
                                total += xp[n, p * stride + i, q * stride + j, c] * turned[k, i, j, c]
                    y[n, p, q, k] = total
    return y


# %% right: all cores
@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    y = np.zeros((pictures, rows, columns, kernels), x.dtype)
    for line in numba.prange(pictures * rows):
        n, p = line // rows, line % rows
        for q in range(columns):
            for k in range(kernels):
                y[n, p, q, k] = b[k]
            for i in range(max(0, pad - p * stride), min(kh, height + pad - p * stride)):
                for j in range(max(0, pad - q * stride), min(kw, width + pad - q * stride)):
                    for c in range(channels):
                        for k in range(kernels):
                            y[n, p, q, k] += x[n, p * stride + i - pad, q * stride + j - pad, c] * w[i, j, c, k]
    return y
