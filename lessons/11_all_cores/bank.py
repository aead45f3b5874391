"""Lesson 11: what students write."""

import os

import numba
import numpy as np


# %% wrong: all threads add to one dw and db
# looks like: a race
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[3], x.dtype)
    for n in numba.prange(len(x)):
        add_picture(dy[n], x[n], w, stride, pad, dx[n], dw, db)
    return dx, dw, db


# %% wrong: rows for dw, but db is shared
# looks like: a race
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures = len(x)
    kh, kw, channels, kernels = w.shape
    chunks = min(CHUNKS, pictures)
    dx, db = np.zeros(x.shape, x.dtype), np.zeros(kernels, x.dtype)
    dw_parts = np.zeros((chunks, kh, kw, channels, kernels), x.dtype)
    for chunk in numba.prange(chunks):
        for n in range(chunk * pictures // chunks, (chunk + 1) * pictures // chunks):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw_parts[chunk], db)
    return dx, add_up(dw_parts), db


# %% wrong: prange over the output channels, where dx is shared
# looks like: a race
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(kernels, x.dtype)
    for k in numba.prange(kernels):
        for n in range(pictures):
            for p in range(dy.shape[1]):
                for q in range(dy.shape[2]):
                    db[k] += dy[n, p, q, k]
                    for i in range(kh):
                        for j in range(kw):
                            r, s = p * stride + i - pad, q * stride + j - pad
                            if 0 <= r < height and 0 <= s < width:
                                for c in range(channels):
                                    dx[n, r, s, c] += dy[n, p, q, k] * w[i, j, c, k]
                                    dw[i, j, c, k] += dy[n, p, q, k] * x[n, r, s, c]
    return dx, dw, db


# %% wrong: prange over the rows of each picture, whose windows overlap
# looks like: a race|not what one gives
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows = dy.shape[1]
    dx = zeros(len(x), x[0])
    dw_parts = np.zeros((rows, kh, kw, channels, kernels), x.dtype)
    db_parts = np.zeros((rows, kernels), x.dtype)
    for n in range(pictures):
        for p in numba.prange(rows):
            for q in range(dy.shape[2]):
                for k in range(kernels):
                    db_parts[p, k] += dy[n, p, q, k]
                for i in range(kh):
                    for j in range(kw):
                        r, s = p * stride + i - pad, q * stride + j - pad
                        if 0 <= r < height and 0 <= s < width:
                            for c in range(channels):
                                for k in range(kernels):
                                    dx[n, r, s, c] += dy[n, p, q, k] * w[i, j, c, k]
                                    dw_parts[p, i, j, c, k] += dy[n, p, q, k] * x[n, r, s, c]
    return dx, add_up(dw_parts), add_up(db_parts)


# %% wrong: as many chunks as threads
# looks like: by the number of threads
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures = len(x)
    kh, kw, channels, kernels = w.shape
    chunks = min(numba.get_num_threads(), pictures)
    dx = zeros(len(x), x[0])
    dw_parts, db_parts = zeros(chunks, w), zeros(chunks, w[0, 0, 0])
    for chunk in numba.prange(chunks):
        for n in range(chunk * pictures // chunks, (chunk + 1) * pictures // chunks):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw_parts[chunk], db_parts[chunk])
    return dx, add_up(dw_parts), add_up(db_parts)


# %% wrong: as many chunks as the machine has cores
# looks like: the batch is cut by what the machine has \(cpu_count\)
CHUNKS = os.cpu_count()


# %% wrong: the arguments of zeros in the other order
# looks like: the number of rows comes first
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures = len(x)
    chunks = min(CHUNKS, pictures)
    dx, dw_parts, db_parts = zeros(x[0], pictures), zeros(w, chunks), zeros(w[0, 0, 0], chunks)
    for chunk in numba.prange(chunks):
        for n in range(chunk * pictures // chunks, (chunk + 1) * pictures // chunks):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw_parts[chunk], db_parts[chunk])
    return dx, add_up(dw_parts), add_up(db_parts)


# %% wrong: chunks as they should be, and a sum that prange collects by itself
# looks like: Numba adds up `dw \+=` thread by thread
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures = len(x)
    chunks = min(CHUNKS, pictures)
    dx, dw, db = zeros(pictures, x[0]), np.zeros_like(w), np.zeros(w.shape[3], x.dtype)
    for chunk in numba.prange(chunks):
        part, bias_part = np.zeros_like(w), np.zeros(w.shape[3], x.dtype)
        for n in range(chunk * pictures // chunks, (chunk + 1) * pictures // chunks):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], part, bias_part)
        dw += part
        db += bias_part
    return dx, dw, db


# %% wrong: a sum over pictures that prange collects by itself
# looks like: Numba adds up `dw \+=` thread by thread
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[3], x.dtype)
    for n in numba.prange(len(x)):
        part, bias_part = np.zeros_like(w), np.zeros(w.shape[3], x.dtype)
        add_picture(dy[n], x[n], w, stride, pad, dx[n], part, bias_part)
        dw += part
        db += bias_part
    return dx, dw, db


# %% wrong: the rest of the batch is forgotten
# looks like: the rest of the batch is left out
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures = len(x)
    kh, kw, channels, kernels = w.shape
    chunks = min(CHUNKS, pictures)
    size = pictures // chunks
    dx = zeros(len(x), x[0])
    dw_parts, db_parts = zeros(chunks, w), zeros(chunks, w[0, 0, 0])
    for chunk in numba.prange(chunks):
        for n in range(chunk * size, (chunk + 1) * size):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw_parts[chunk], db_parts[chunk])
    return dx, add_up(dw_parts), add_up(db_parts)


# %% wrong: chunks rounded up, beyond the end of the batch
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures = len(x)
    kh, kw, channels, kernels = w.shape
    chunks = min(CHUNKS, pictures)
    size = -(-pictures // chunks)
    dx = zeros(len(x), x[0])
    dw_parts, db_parts = zeros(chunks, w), zeros(chunks, w[0, 0, 0])
    for chunk in numba.prange(chunks):
        for n in range(chunk * size, (chunk + 1) * size):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw_parts[chunk], db_parts[chunk])
    return dx, add_up(dw_parts), add_up(db_parts)


# %% wrong: only the last row of partial sums
# looks like: only the last row counts
@numba.njit
def add_up(parts):
    total = np.zeros_like(parts[0])
    for chunk in range(len(parts)):
        total = parts[chunk].copy()
    return total


# %% wrong: the mean of the rows
# looks like: the mean is given
@numba.njit
def add_up(parts):
    total = np.zeros_like(parts[0])
    for chunk in range(len(parts)):
        total += parts[chunk]
    return total / np.float32(len(parts))


# %% wrong: range for prange
# looks like: a plain range: numba.prange is what gives each thread its chunks
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures = len(x)
    kh, kw, channels, kernels = w.shape
    chunks = min(CHUNKS, pictures)
    dx = zeros(len(x), x[0])
    dw_parts, db_parts = zeros(chunks, w), zeros(chunks, w[0, 0, 0])
    for chunk in range(chunks):
        for n in range(chunk * pictures // chunks, (chunk + 1) * pictures // chunks):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw_parts[chunk], db_parts[chunk])
    return dx, add_up(dw_parts), add_up(db_parts)


# %% wrong: parallel=True is forgotten
# looks like: parallel=True is missing
@numba.njit
def conv2d_backward(dy, x, w, stride, pad):
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[3], x.dtype)
    for n in numba.prange(len(x)):
        add_picture(dy[n], x[n], w, stride, pad, dx[n], dw, db)
    return dx, dw, db


# %% wrong: one chunk, so that there is no race
# looks like: one chunk has nearly all of the work
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[3], x.dtype)
    for _ in numba.prange(1):
        for n in range(len(x)):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw, db)
    return dx, dw, db


# %% right: a row for each picture
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    kh, kw, channels, kernels = w.shape
    dx = zeros(len(x), x[0])
    dw_parts = np.zeros((len(x), kh, kw, channels, kernels), x.dtype)
    db_parts = np.zeros((len(x), kernels), x.dtype)
    for n in numba.prange(len(x)):
        add_picture(dy[n], x[n], w, stride, pad, dx[n], dw_parts[n], db_parts[n])
    return dx, add_up(dw_parts), add_up(db_parts)


# %% right: dx by pictures, dw by input channels, each weight with one thread alone
@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(kernels, x.dtype)
    for n in numba.prange(pictures):
        add_picture(dy[n], x[n], w, stride, pad, dx[n], np.zeros_like(w), np.zeros(kernels, x.dtype))
    for c in numba.prange(channels):
        for n in range(pictures):
            for p in range(dy.shape[1]):
                for q in range(dy.shape[2]):
                    for i in range(kh):
                        for j in range(kw):
                            r, s = p * stride + i - pad, q * stride + j - pad
                            if 0 <= r < height and 0 <= s < width:
                                for k in range(kernels):
                                    dw[i, j, c, k] += dy[n, p, q, k] * x[n, r, s, c]
    for n in range(pictures):
        for p in range(dy.shape[1]):
            for q in range(dy.shape[2]):
                for k in range(kernels):
                    db[k] += dy[n, p, q, k]
    return dx, dw, db


# %% right: one row for dw and db together, added by plain loops
@numba.njit
def add_up(parts):
    rows = parts.reshape(len(parts), -1)
    total = rows[0].copy()
    for chunk in range(1, len(rows)):
        for t in range(len(total)):
            total[t] += rows[chunk, t]
    return total.reshape(parts[0].shape)


@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    pictures, size, kernels = len(x), w.size, w.shape[3]
    dx = zeros(len(x), x[0])
    chunks = (pictures + 3) // 4
    parts = np.zeros((chunks, size + kernels), x.dtype)
    for chunk in numba.prange(chunks):
        dw, db = parts[chunk, :size].reshape(w.shape), parts[chunk, size:]
        for n in range(4 * chunk, min(4 * chunk + 4, pictures)):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw, db)
    total = add_up(parts)
    return dx, total[:size].copy().reshape(w.shape), total[size:].copy()
