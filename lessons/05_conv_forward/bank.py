"""Lesson 05: what students write."""

import numba
import numpy as np


def padded(x, pad):
    return np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def sizes(x, w, stride, pad):
    return (x.shape[1] + 2 * pad - w.shape[0]) // stride + 1, (x.shape[2] + 2 * pad - w.shape[1]) // stride + 1


def taps(xp, w, b, stride, rows, columns):
    y = np.zeros((len(xp), rows, columns, w.shape[3]), xp.dtype) + b
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            y += xp[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride] @ w[i, j]
    return y


# %% wrong: the kernel is flipped
# looks like: the kernel is flipped
def conv2d_forward(x, w, b, stride, pad):
    return taps(padded(x, pad), w[::-1, ::-1], b, stride, *sizes(x, w, stride, pad))


# %% wrong: rows and columns of the kernel swapped
# looks like: the kernel is transposed
def conv2d_forward(x, w, b, stride, pad):
    xp, (rows, columns) = padded(x, pad), sizes(x, w, stride, pad)
    y = np.zeros((len(x), rows, columns, w.shape[3]), x.dtype) + b
    for n, p, q in np.ndindex(len(x), rows, columns):
        for i in range(w.shape[0]):
            for j in range(w.shape[1]):
                y[n, p, q] += xp[n, p * stride + j, q * stride + i] @ w[i, j]
    return y


# %% wrong: the bias is forgotten
# looks like: the bias is missing|off by the same amount everywhere
def conv2d_forward(x, w, b, stride, pad):
    return taps(padded(x, pad), w, 0 * b, stride, *sizes(x, w, stride, pad))


# %% wrong: the bias is added at every tap
# looks like: the bias is added again and again
def conv2d_forward(x, w, b, stride, pad):
    y = taps(padded(x, pad), w, b, stride, *sizes(x, w, stride, pad))
    return y + (w.shape[0] * w.shape[1] - 1) * b


# %% wrong: '=' for '+='
# looks like: the sum over the kernel is missing: only the last tap
def conv2d_forward(x, w, b, stride, pad):
    xp, (rows, columns) = padded(x, pad), sizes(x, w, stride, pad)
    y = np.zeros((len(x), rows, columns, w.shape[3]), x.dtype)
    for n, p, q in np.ndindex(len(x), rows, columns):
        for i in range(w.shape[0]):
            for j in range(w.shape[1]):
                y[n, p, q] = xp[n, p * stride + i, q * stride + j] @ w[i, j] + b
    return y


# %% wrong: only the first channel
# looks like: the sum over input channels is missing: only the first
def conv2d_forward(x, w, b, stride, pad):
    return taps(padded(x, pad)[..., :1], w[:, :, :1], b, stride, *sizes(x, w, stride, pad))


# %% wrong: all the padding on the right and below
# looks like: is the padding added on the left|shifted by
def conv2d_forward(x, w, b, stride, pad):
    xp = np.pad(x, ((0, 0), (0, 2 * pad), (0, 2 * pad), (0, 0)))
    return taps(xp, w, b, stride, *sizes(x, w, stride, pad))


# %% wrong: all the padding on the left and on top
# looks like: pad zeros belong on each of the four sides|shifted by
def conv2d_forward(x, w, b, stride, pad):
    xp = np.pad(x, ((0, 0), (2 * pad, 0), (2 * pad, 0), (0, 0)))
    return taps(xp, w, b, stride, *sizes(x, w, stride, pad))


# %% wrong: x in place of xp, in loops
# looks like: is this x without its padding
def conv2d_forward(x, w, b, stride, pad):
    rows, columns = sizes(x, w, stride, pad)
    y = np.zeros((len(x), rows, columns, w.shape[3]), x.dtype)
    for n, p, q, k in np.ndindex(y.shape):
        y[n, p, q, k] = b[k]
        for i, j, c in np.ndindex(w.shape[:3]):
            y[n, p, q, k] += x[n, p * stride + i, q * stride + j, c] * w[i, j, c, k]
    return y


# %% wrong: the edge is repeated
# looks like: the picture's edge is repeated
def conv2d_forward(x, w, b, stride, pad):
    xp = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), "edge")
    return taps(xp, w, b, stride, *sizes(x, w, stride, pad))


# %% wrong: no padding, and negative indices that wrap around
# looks like: a negative index takes pixels from the other end
def conv2d_forward(x, w, b, stride, pad):
    rows, columns = sizes(x, w, stride, pad)
    y = np.zeros((len(x), rows, columns, w.shape[3]), x.dtype) + b
    for n, p, q in np.ndindex(len(x), rows, columns):
        for i in range(w.shape[0]):
            for j in range(w.shape[1]):
                r, s = p * stride + i - pad, q * stride + j - pad
                if r < x.shape[1] and s < x.shape[2]:
                    y[n, p, q] += x[n, r, s] @ w[i, j]
    return y


# %% wrong: the first row and column of the picture are taken for padding
# looks like: only the (border|first|last)|the picture's first row and column are left out
def conv2d_forward(x, w, b, stride, pad):
    rows, columns = sizes(x, w, stride, pad)
    y = np.zeros((len(x), rows, columns, w.shape[3]), x.dtype) + b
    for n, p, q in np.ndindex(len(x), rows, columns):
        for i in range(w.shape[0]):
            for j in range(w.shape[1]):
                r, s = p * stride + i - pad, q * stride + j - pad
                if 0 < r < x.shape[1] and 0 < s < x.shape[2]:
                    y[n, p, q] += x[n, r, s] @ w[i, j]
    return y


# %% wrong: the stride is forgotten in the index
# looks like: the stride is ignored
def conv2d_forward(x, w, b, stride, pad):
    return taps(padded(x, pad), w, b, 1, *sizes(x, w, stride, pad))


# %% wrong: the stride multiplies the tap
# looks like: the stride spreads the kernel
def conv2d_forward(x, w, b, stride, pad):
    xp, (rows, columns) = padded(x, pad), sizes(x, w, stride, pad)
    y = np.zeros((len(x), rows, columns, w.shape[3]), x.dtype) + b
    for n, p, q in np.ndindex(len(x), rows, columns):
        for i in range(w.shape[0]):
            for j in range(w.shape[1]):
                if p + i * stride < xp.shape[1] and q + j * stride < xp.shape[2]:
                    y[n, p, q] += xp[n, p + i * stride, q + j * stride] @ w[i, j]
    return y


# %% wrong: the answer in float64
# looks like: np.zeros and np.empty make float64
def conv2d_forward(x, w, b, stride, pad):
    return taps(padded(x, pad).astype(np.float64), w, b, stride, *sizes(x, w, stride, pad))


# %% wrong: one row and column too few
# looks like: height and width are floor
def conv2d_forward(x, w, b, stride, pad):
    rows, columns = sizes(x, w, stride, pad)
    return taps(padded(x, pad), w, b, stride, rows - 1, columns - 1)


# %% wrong: channels first
# looks like: channels come last here
def conv2d_forward(x, w, b, stride, pad):
    return taps(padded(x, pad), w, b, stride, *sizes(x, w, stride, pad)).transpose(0, 3, 1, 2)


# %% wrong: the padding is forgotten
# looks like: stops with|height and width are floor
def conv2d_forward(x, w, b, stride, pad):
    return taps(x, w, b, stride, *sizes(x, w, stride, 0))


# %% wrong: the mean of the window
# looks like: a constant factor
def conv2d_forward(x, w, b, stride, pad):
    return taps(padded(x, pad), w / np.prod(w.shape[:2], dtype=w.dtype), b, stride, *sizes(x, w, stride, pad))


# %% right: two loops over taps
def conv2d_forward(x, w, b, stride, pad):
    return taps(padded(x, pad), w, b, stride, *sizes(x, w, stride, pad))


# %% right: windows and einsum
def conv2d_forward(x, w, b, stride, pad):
    windows = np.lib.stride_tricks.sliding_window_view(padded(x, pad), w.shape[:2], (1, 2))[:, ::stride, ::stride]
    return np.einsum("npqcij,ijck->npqk", windows, w) + b


# %% right: njit, without a padded copy
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    kh, kw, channels, kernels = w.shape
    rows = (x.shape[1] + 2 * pad - kh) // stride + 1
    columns = (x.shape[2] + 2 * pad - kw) // stride + 1
    y = np.zeros((x.shape[0], rows, columns, kernels), x.dtype)
    for n in range(x.shape[0]):
        for p in range(rows):
            for q in range(columns):
                for k in range(kernels):
                    y[n, p, q, k] = b[k]
                for i in range(max(0, pad - p * stride), min(kh, x.shape[1] + pad - p * stride)):
                    for j in range(max(0, pad - q * stride), min(kw, x.shape[2] + pad - q * stride)):
                        for c in range(channels):
                            for k in range(kernels):
                                y[n, p, q, k] += x[n, p * stride + i - pad, q * stride + j - pad, c] * w[i, j, c, k]
    return y
