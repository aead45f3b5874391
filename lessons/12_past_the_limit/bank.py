"""Lesson 12: what students write."""

import numba
import numpy as np

BT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
AT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)


def tiles(x, before=1):
    """x (N,H,W,C) -> (N, H/2, W/2, 4, 4, C): windows of 4 x 4, two pixels apart."""
    padded = np.pad(x, ((0, 0), (before, 3 - before), (before, 3 - before), (0, 0)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), (1, 2))[:, ::2, ::2]
    return seen.transpose(0, 1, 2, 4, 5, 3)


def winograd_by(x, w, at=AT, bt=BT, before=1):
    n, height, width, _ = x.shape
    v = np.einsum("ia,npqabc,jb->npqijc", bt, tiles(x, before), bt, optimize=True)
    u = np.einsum("ia,abck,jb->ijck", G, w, G, optimize=True)
    products = np.einsum("npqijc,ijck->npqijk", v, u, optimize=True)
    y = np.einsum("ri,npqijk,sj->nprqsk", at, products, at, optimize=True)
    return y.reshape(n, 2 * y.shape[1], 2 * y.shape[3], -1)[:, :height, :width].copy()


# %% wrong: columns by channel, then by tap
# looks like: the columns are in another order than the weights
@numba.njit
def im2col(x, kh, kw, stride, pad):
    height, width, channels = x.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    a = np.zeros((rows * columns, kh * kw * channels), x.dtype)
    for p in range(rows):
        for q in range(columns):
            for c in range(channels):
                for i in range(kh):
                    for j in range(kw):
                        r, s = p * stride + i - pad, q * stride + j - pad
                        if 0 <= r < height and 0 <= s < width:
                            a[p * columns + q, (c * kh + i) * kw + j] = x[r, s, c]
    return a


# %% wrong: a window's rows and columns swapped
# looks like: i and j of a window are swapped
@numba.njit
def im2col(x, kh, kw, stride, pad):
    height, width, channels = x.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    a = np.zeros((rows * columns, kh * kw * channels), x.dtype)
    for p in range(rows):
        for q in range(columns):
            for i in range(kh):
                for j in range(kw):
                    r, s = p * stride + i - pad, q * stride + j - pad
                    if 0 <= r < height and 0 <= s < width:
                        for c in range(channels):
                            a[p * columns + q, (j * kh + i) * channels + c] = x[r, s, c]
    return a


# %% wrong: outputs in columns first
# looks like: p and q are swapped
@numba.njit
def im2col(x, kh, kw, stride, pad):
    height, width, channels = x.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    a = np.zeros((rows * columns, kh * kw * channels), x.dtype)
    for p in range(rows):
        for q in range(columns):
            for i in range(kh):
                for j in range(kw):
                    r, s = p * stride + i - pad, q * stride + j - pad
                    if 0 <= r < height and 0 <= s < width:
                        for c in range(channels):
                            a[q * rows + p, (i * kw + j) * channels + c] = x[r, s, c]
    return a


# %% wrong: the padding only right and below
# looks like: subtract pad from row and column
@numba.njit
def im2col(x, kh, kw, stride, pad):
    height, width, channels = x.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    a = np.zeros((rows * columns, kh * kw * channels), x.dtype)
    for p in range(rows):
        for q in range(columns):
            for i in range(kh):
                for j in range(kw):
                    r, s = p * stride + i, q * stride + j
                    if r < height and s < width:
                        for c in range(channels):
                            a[p * columns + q, (i * kw + j) * channels + c] = x[r, s, c]
    return a


# %% wrong: negative indices that wrap around
# looks like: a negative index takes pixels from the other end
@numba.njit
def im2col(x, kh, kw, stride, pad):
    height, width, channels = x.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    a = np.zeros((rows * columns, kh * kw * channels), x.dtype)
    for p in range(rows):
        for q in range(columns):
            for i in range(kh):
                for j in range(kw):
                    r, s = p * stride + i - pad, q * stride + j - pad
                    if r < height and s < width:
                        for c in range(channels):
                            a[p * columns + q, (i * kw + j) * channels + c] = x[r, s, c]
    return a


# %% wrong: only whole tiles
# looks like: some (rows|columns) are never written
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    for i in range(0, len(a) - 3, 4):
        for k in range(0, len(wt) - 1, 2):
            s00 = s10 = s20 = s30 = b[k]
            s01 = s11 = s21 = s31 = b[k + 1]
            for d in range(a.shape[1]):
                w0, w1 = wt[k, d], wt[k + 1, d]
                s00 += a[i, d] * w0
                s01 += a[i, d] * w1
                s10 += a[i + 1, d] * w0
                s11 += a[i + 1, d] * w1
                s20 += a[i + 2, d] * w0
                s21 += a[i + 2, d] * w1
                s30 += a[i + 3, d] * w0
                s31 += a[i + 3, d] * w1
            y[i, k], y[i, k + 1] = s00, s01
            y[i + 1, k], y[i + 1, k + 1] = s10, s11
            y[i + 2, k], y[i + 2, k + 1] = s20, s21
            y[i + 3, k], y[i + 3, k + 1] = s30, s31


# %% wrong: tiles that run off the end
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    for i in range(0, len(a), 4):
        for k in range(0, len(wt), 2):
            s00 = s10 = s20 = s30 = b[k]
            s01 = s11 = s21 = s31 = b[k + 1]
            for d in range(a.shape[1]):
                w0, w1 = wt[k, d], wt[k + 1, d]
                s00 += a[i, d] * w0
                s01 += a[i, d] * w1
                s10 += a[i + 1, d] * w0
                s11 += a[i + 1, d] * w1
                s20 += a[i + 2, d] * w0
                s21 += a[i + 2, d] * w1
                s30 += a[i + 3, d] * w0
                s31 += a[i + 3, d] * w1
            y[i, k], y[i, k + 1] = s00, s01
            y[i + 1, k], y[i + 1, k + 1] = s10, s11
            y[i + 2, k], y[i + 2, k + 1] = s20, s21
            y[i + 3, k], y[i + 3, k + 1] = s30, s31


# %% wrong: both columns begin with the first one's bias
# looks like: each sum begins with the bias of another column
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    m, kernels = len(a), len(wt)
    for i in range(0, m, 2):
        i1 = min(i + 1, m - 1)
        for k in range(0, kernels, 2):
            k1 = min(k + 1, kernels - 1)
            s00 = s01 = s10 = s11 = b[k]
            for d in range(a.shape[1]):
                s00 += a[i, d] * wt[k, d]
                s01 += a[i, d] * wt[k1, d]
                s10 += a[i1, d] * wt[k, d]
                s11 += a[i1, d] * wt[k1, d]
            y[i, k], y[i, k1] = s00, s01
            y[i1, k], y[i1, k1] = s10, s11


# %% wrong: y is a new array
# looks like: y is never written
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    y = np.zeros((len(a), len(wt)), a.dtype)
    for i in range(len(a)):
        for k in range(len(wt)):
            total = b[k]
            for d in range(a.shape[1]):
                total += a[i, d] * wt[k, d]
            y[i, k] = total


# %% wrong: the bias is forgotten
# looks like: the bias is missing
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    for i in range(len(a)):
        for k in range(len(wt)):
            total = a.dtype.type(0)
            for d in range(a.shape[1]):
                total += a[i, d] * wt[k, d]
            y[i, k] = total


# %% wrong: one sum at a time
# looks like: no tile: take 4 rows and 2 columns at once
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    for i in range(len(a)):
        for k in range(len(wt)):
            total = b[k]
            for d in range(a.shape[1]):
                total += a[i, d] * wt[k, d]
            y[i, k] = total


# %% wrong: a tile whose sums are an array
# looks like: are the sums eight plain float32 numbers
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    m, kernels = len(a), len(wt)
    for i in range(0, m, 4):
        for k in range(0, kernels, 2):
            sums = np.zeros((4, 2), a.dtype)
            rows, columns = min(4, m - i), min(2, kernels - k)
            for d in range(a.shape[1]):
                for c in range(columns):
                    weight = wt[k + c, d]
                    for r in range(rows):
                        sums[r, c] += a[i + r, d] * weight
            for r in range(rows):
                for c in range(columns):
                    y[i + r, k + c] = sums[r, c] + b[k + c]


# %% wrong: the tile without fastmath
# looks like: fastmath=FASTER is missing
@numba.njit
def multiply(a, wt, b, y):
    m, kernels = len(a), len(wt)
    for i in range(0, m, 2):
        i1 = min(i + 1, m - 1)
        for k in range(0, kernels, 2):
            k1 = min(k + 1, kernels - 1)
            s00 = s10 = b[k]
            s01 = s11 = b[k1]
            for d in range(a.shape[1]):
                s00 += a[i, d] * wt[k, d]
                s01 += a[i, d] * wt[k1, d]
                s10 += a[i1, d] * wt[k, d]
                s11 += a[i1, d] * wt[k1, d]
            y[i, k], y[i, k1] = s00, s01
            y[i1, k], y[i1, k1] = s10, s11


# %% wrong: NumPy's product
# looks like: the line @numba.njit\(fastmath=FASTER\) is missing
def multiply(a, wt, b, y):
    y[...] = a @ wt.T + b


# %% wrong: NumPy's product, compiled
# looks like: here you write the product yourself
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    y[:] = a @ wt.T + b


# %% wrong: the weights are reshaped where they should be turned
# looks like: the weights are reshaped to \(K, kh\*kw\*C\) where they should be turned
@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    kh, kw, _, kernels = w.shape
    rows, columns = (x.shape[1] + 2 * pad - kh) // stride + 1, (x.shape[2] + 2 * pad - kw) // stride + 1
    wt = w.reshape(kernels, -1)
    y = np.empty((len(x), rows * columns, kernels), x.dtype)
    for n in numba.prange(len(x)):
        multiply(im2col(x[n], kh, kw, stride, pad), wt, b, y[n])
    return y.reshape(len(x), rows, columns, kernels)


# %% wrong: the weights are not turned
# looks like: wt is w turned
@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    kh, kw, _, kernels = w.shape
    rows, columns = (x.shape[1] + 2 * pad - kh) // stride + 1, (x.shape[2] + 2 * pad - kw) // stride + 1
    wt = w.reshape(-1, kernels)
    y = np.empty((len(x), rows * columns, kernels), x.dtype)
    for n in numba.prange(len(x)):
        multiply(im2col(x[n], kh, kw, stride, pad), wt, b, y[n])
    return y.reshape(len(x), rows, columns, kernels)


# %% wrong: y keeps its four axes
# looks like: the outputs of a picture are rows here
@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    kh, kw, _, kernels = w.shape
    rows, columns = (x.shape[1] + 2 * pad - kh) // stride + 1, (x.shape[2] + 2 * pad - kw) // stride + 1
    wt = w.reshape(-1, kernels).T.copy()
    y = np.empty((len(x), rows, columns, kernels), x.dtype)
    for n in numba.prange(len(x)):
        multiply(im2col(x[n], kh, kw, stride, pad), wt, b, y[n])
    return y


# %% wrong: y[n] is assigned what multiply returns
# looks like: writes into y\[n\] and returns nothing
@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    kh, kw, _, kernels = w.shape
    rows, columns = (x.shape[1] + 2 * pad - kh) // stride + 1, (x.shape[2] + 2 * pad - kw) // stride + 1
    wt = w.reshape(-1, kernels).T.copy()
    y = np.empty((len(x), rows * columns, kernels), x.dtype)
    for n in numba.prange(len(x)):
        y[n] = multiply(im2col(x[n], kh, kw, stride, pad), wt, b)
    return y.reshape(len(x), rows, columns, kernels)


# %% wrong: turned without a copy
# looks like: wt does not run along d in memory
@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    kh, kw, _, kernels = w.shape
    rows, columns = (x.shape[1] + 2 * pad - kh) // stride + 1, (x.shape[2] + 2 * pad - kw) // stride + 1
    wt = w.reshape(-1, kernels).T
    y = np.empty((len(x), rows * columns, kernels), x.dtype)
    for n in numba.prange(len(x)):
        multiply(im2col(x[n], kh, kw, stride, pad), wt, b, y[n])
    return y.reshape(len(x), rows, columns, kernels)


# %% wrong: range for prange
# looks like: a plain range: numba.prange over the pictures
@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    kh, kw, _, kernels = w.shape
    rows, columns = (x.shape[1] + 2 * pad - kh) // stride + 1, (x.shape[2] + 2 * pad - kw) // stride + 1
    wt = w.reshape(-1, kernels).T.copy()
    y = np.empty((len(x), rows * columns, kernels), x.dtype)
    for n in range(len(x)):
        multiply(im2col(x[n], kh, kw, stride, pad), wt, b, y[n])
    return y.reshape(len(x), rows, columns, kernels)


# %% wrong: parallel=True is forgotten
# looks like: parallel=True is missing
@numba.njit
def conv2d_forward(x, w, b, stride, pad):
    kh, kw, _, kernels = w.shape
    rows, columns = (x.shape[1] + 2 * pad - kh) // stride + 1, (x.shape[2] + 2 * pad - kw) // stride + 1
    wt = w.reshape(-1, kernels).T.copy()
    y = np.empty((len(x), rows * columns, kernels), x.dtype)
    for n in numba.prange(len(x)):
        multiply(im2col(x[n], kh, kw, stride, pad), wt, b, y[n])
    return y.reshape(len(x), rows, columns, kernels)


# %% wrong: by Fourier transforms
# looks like: small values drown in the rounding of large ones
def conv2d_forward(x, w, b, stride, pad):
    kh, kw, _, kernels = w.shape
    height, width = x.shape[1] + 2 * pad, x.shape[2] + 2 * pad
    xp = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    seen = np.fft.rfft2(xp, axes=(1, 2)).astype(np.complex64)
    weights = np.conj(np.fft.rfft2(w, (height, width), axes=(0, 1)).astype(np.complex64))
    y = np.fft.irfft2(np.einsum("npqc,pqck->npqk", seen, weights), (height, width), axes=(1, 2))
    return y[:, : height - kh + 1 : stride, : width - kw + 1 : stride].astype(x.dtype) + b


# %% wrong: if you are fast, with a sign wrong
# looks like: a sign in A\^T
def winograd(x, w):
    return winograd_by(x, w, at=np.array([[1, 1, 1, 0], [0, 1, -1, 1]], np.float32))


# %% wrong: if you are fast, without the padding
# looks like: the first tile begins one row above
def winograd(x, w):
    return winograd_by(x, w, before=0)


# %% wrong: if you are fast, with matrices of whole numbers
# looks like: make the three matrices float32
def winograd(x, w):
    at = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
    return winograd_by(x, w, at, np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]))


# %% right: tiles of 3 x 3, and plain loops for the rest
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    m, kernels = len(a) // 3 * 3, len(wt) // 3 * 3
    for i in range(0, m, 3):
        for k in range(0, kernels, 3):
            s00 = s10 = s20 = b[k]
            s01 = s11 = s21 = b[k + 1]
            s02 = s12 = s22 = b[k + 2]
            for d in range(a.shape[1]):
                a0, a1, a2 = a[i, d], a[i + 1, d], a[i + 2, d]
                w0, w1, w2 = wt[k, d], wt[k + 1, d], wt[k + 2, d]
                s00, s01, s02 = s00 + a0 * w0, s01 + a0 * w1, s02 + a0 * w2
                s10, s11, s12 = s10 + a1 * w0, s11 + a1 * w1, s12 + a1 * w2
                s20, s21, s22 = s20 + a2 * w0, s21 + a2 * w1, s22 + a2 * w2
            y[i, k], y[i, k + 1], y[i, k + 2] = s00, s01, s02
            y[i + 1, k], y[i + 1, k + 1], y[i + 1, k + 2] = s10, s11, s12
            y[i + 2, k], y[i + 2, k + 1], y[i + 2, k + 2] = s20, s21, s22
    for i in range(len(a)):
        for k in range(0 if i >= m else kernels, len(wt)):
            total = b[k]
            for d in range(a.shape[1]):
                total += a[i, d] * wt[k, d]
            y[i, k] = total


# %% right: tiles of 2 x 2
@numba.njit(fastmath=FASTER)
def multiply(a, wt, b, y):
    m, kernels = len(a), len(wt)
    for i in range(0, m, 2):
        i1 = min(i + 1, m - 1)
        for k in range(0, kernels, 2):
            k1 = min(k + 1, kernels - 1)
            s00 = s10 = b[k]
            s01 = s11 = b[k1]
            for d in range(a.shape[1]):
                s00 += a[i, d] * wt[k, d]
                s01 += a[i, d] * wt[k1, d]
                s10 += a[i1, d] * wt[k, d]
                s11 += a[i1, d] * wt[k1, d]
            y[i, k], y[i, k1] = s00, s01
            y[i1, k], y[i1, k1] = s10, s11


# %% right: a matrix for one line of outputs, so small that it stays in the cache
@numba.njit(parallel=True)
def conv2d_forward(x, w, b, stride, pad):
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    xp = np.zeros((pictures, height + 2 * pad, width, channels), x.dtype)
    xp[:, pad : pad + height] = x
    wt = np.ascontiguousarray(w.reshape(-1, kernels).T)
    y = np.empty((pictures, rows, columns, kernels), x.dtype)
    for line in numba.prange(pictures * rows):
        n, p = line // rows, line % rows
        seen = np.zeros((columns, kh * kw * channels), x.dtype)
        for q in range(columns):
            for i in range(kh):
                for j in range(kw):
                    s = q * stride + j - pad
                    if 0 <= s < width:
                        for c in range(channels):
                            seen[q, (i * kw + j) * channels + c] = xp[n, p * stride + i, s, c]
        multiply(seen, wt, b, y[n, p])
    return y


# %% right: with Winograd's F(2x2, 3x3), for the fast
def winograd(x, w):
    return winograd_by(x, w)
