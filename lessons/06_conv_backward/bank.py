"""Lesson 06: what students write."""

import numba
import numpy as np


def padded(x, pad):
    return np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def tap(xp, i, j, dy, stride):
    _, rows, columns, _ = dy.shape
    return xp[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]


def inside(xp, x, pad):
    return xp[:, pad : pad + x.shape[1], pad : pad + x.shape[2]].copy()


def all_dx(dy, x, w, stride, pad):
    dxp = np.zeros_like(padded(x, pad))
    for i, j in np.ndindex(w.shape[:2]):
        tap(dxp, i, j, dy, stride)[...] += dy @ w[i, j].T
    return inside(dxp, x, pad)


def all_dw(dy, xp, w, stride):
    dw = np.zeros_like(w)
    for i, j in np.ndindex(w.shape[:2]):
        dw[i, j] = np.einsum("npqc,npqk->ck", tap(xp, i, j, dy, stride), dy)
    return dw


# %% wrong: dx with the kernel flipped
# looks like: the kernel is flipped: tap
def conv2d_backward(dy, x, w, stride, pad):
    return all_dx(dy, x, w[::-1, ::-1], stride, pad), all_dw(dy, padded(x, pad), w, stride), dy.sum((0, 1, 2))


# %% wrong: the weight is not transposed
# looks like: the weight is not transposed
def conv2d_backward(dy, x, w, stride, pad):
    dx = all_dx(dy, x, w.swapaxes(2, 3) if w.shape[2] == w.shape[3] else w, stride, pad)
    return dx, all_dw(dy, padded(x, pad), w, stride), dy.sum((0, 1, 2))


# %% wrong: '=' for '+=' in dx, tap by tap
# looks like: where windows overlap the last one wins
def conv2d_backward(dy, x, w, stride, pad):
    dxp = np.zeros_like(padded(x, pad))
    for i, j in np.ndindex(w.shape[:2]):
        tap(dxp, i, j, dy, stride)[...] = dy @ w[i, j].T
    return inside(dxp, x, pad), all_dw(dy, padded(x, pad), w, stride), dy.sum((0, 1, 2))


# %% wrong: '=' for '+=' in dx, pixel by pixel
# looks like: where windows overlap the last one wins
def conv2d_backward(dy, x, w, stride, pad):
    dxp = np.zeros_like(padded(x, pad))
    for n, p, q in np.ndindex(dy.shape[:3]):
        for i, j in np.ndindex(w.shape[:2]):
            dxp[n, p * stride + i, q * stride + j] = w[i, j] @ dy[n, p, q]
    return inside(dxp, x, pad), all_dw(dy, padded(x, pad), w, stride), dy.sum((0, 1, 2))


# %% wrong: dx keeps its padding
# looks like: the padding is still around dx
def conv2d_backward(dy, x, w, stride, pad):
    dx = all_dx(dy, padded(x, pad), w, stride, 0)
    return dx, all_dw(dy, padded(x, pad), w, stride), dy.sum((0, 1, 2))


# %% wrong: the padding is cut off on one side only
# looks like: the padding is cut off right and below only|shifted by
def conv2d_backward(dy, x, w, stride, pad):
    dx = all_dx(dy, padded(x, pad), w, stride, 0)[:, : x.shape[1], : x.shape[2]].copy()
    return dx, all_dw(dy, padded(x, pad), w, stride), dy.sum((0, 1, 2))


# %% wrong: the padding is cut off by pad : -pad, and pad is 0
# looks like: with pad = 0 this is empty
def conv2d_backward(dy, x, w, stride, pad):
    dx = all_dx(dy, padded(x, pad), w, stride, 0)[:, pad:-pad, pad:-pad].copy()
    return dx, all_dw(dy, padded(x, pad), w, stride), dy.sum((0, 1, 2))


# %% wrong: the padding is forgotten in dw
# looks like: x is taken without its padding|only|stops with
def conv2d_backward(dy, x, w, stride, pad):
    moved = np.pad(x, ((0, 0), (0, 2 * pad), (0, 2 * pad), (0, 0)))
    return all_dx(dy, x, w, stride, pad), all_dw(dy, moved, w, stride), dy.sum((0, 1, 2))


# %% wrong: x in place of xp, in loops
# looks like: is this x without its padding
def conv2d_backward(dy, x, w, stride, pad):
    dxp, dw, db = np.zeros_like(padded(x, pad)), np.zeros_like(w), np.zeros(w.shape[3], w.dtype)
    for n, p, q, k in np.ndindex(dy.shape):
        db[k] += dy[n, p, q, k]
        for i, j, c in np.ndindex(w.shape[:3]):
            r, s = p * stride + i, q * stride + j
            dxp[n, r, s, c] += dy[n, p, q, k] * w[i, j, c, k]
            dw[i, j, c, k] += dy[n, p, q, k] * x[n, r, s, c]
    return inside(dxp, x, pad), dw, db


# %% wrong: '=' for '+=' in dw
# looks like: the sum over the batch is missing|the sum over space is missing: only the last|only the last pixel
def conv2d_backward(dy, x, w, stride, pad):
    xp, dw = padded(x, pad), np.zeros_like(w)
    for n, p, q in np.ndindex(dy.shape[:3]):
        for i, j in np.ndindex(w.shape[:2]):
            dw[i, j] = np.outer(xp[n, p * stride + i, q * stride + j], dy[n, p, q])
    return all_dx(dy, x, w, stride, pad), dw, dy.sum((0, 1, 2))


# %% wrong: dw begins anew with each picture
# looks like: the sum over the batch is missing: only the last picture
def conv2d_backward(dy, x, w, stride, pad):
    xp = padded(x, pad)
    return all_dx(dy, x, w, stride, pad), all_dw(dy[-1:], xp[-1:], w, stride), dy.sum((0, 1, 2))


# %% wrong: the mean over the batch
# looks like: 1/N
def conv2d_backward(dy, x, w, stride, pad):
    n = dy.dtype.type(len(dy))
    return all_dx(dy, x, w, stride, pad), all_dw(dy, padded(x, pad), w, stride) / n, dy.sum((0, 1, 2)) / n


# %% wrong: db is a mean
# looks like: 1/
def conv2d_backward(dy, x, w, stride, pad):
    return all_dx(dy, x, w, stride, pad), all_dw(dy, padded(x, pad), w, stride), dy.mean((0, 1, 2))


# %% wrong: db is not summed over space
# looks like: a sum over the leading axes
def conv2d_backward(dy, x, w, stride, pad):
    return all_dx(dy, x, w, stride, pad), all_dw(dy, padded(x, pad), w, stride), dy.sum(0)


# %% wrong: the stride is forgotten
# looks like: the stride is ignored
def conv2d_backward(dy, x, w, stride, pad):
    return all_dx(dy, x, w, 1, pad), all_dw(dy, padded(x, pad), w, 1), dy.sum((0, 1, 2))


# %% wrong: dx is written over x
# looks like: it writes into x, which belongs to the caller
def conv2d_backward(dy, x, w, stride, pad):
    dw = all_dw(dy, padded(x, pad), w, stride)
    x[...] = all_dx(dy, x, w, stride, pad)
    return x, dw, dy.sum((0, 1, 2))


# %% wrong: db is not returned
def conv2d_backward(dy, x, w, stride, pad):
    return all_dx(dy, x, w, stride, pad), all_dw(dy, padded(x, pad), w, stride)


# %% right: two loops over taps
def conv2d_backward(dy, x, w, stride, pad):
    return all_dx(dy, x, w, stride, pad), all_dw(dy, padded(x, pad), w, stride), dy.sum((0, 1, 2))


# %% right: seven loops without a padded copy
def conv2d_backward(dy, x, w, stride, pad):
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[3], w.dtype)
    for n, p, q, k in np.ndindex(dy.shape):
        db[k] += dy[n, p, q, k]
        for i, j in np.ndindex(w.shape[:2]):
            r, s = p * stride + i - pad, q * stride + j - pad
            if 0 <= r < x.shape[1] and 0 <= s < x.shape[2]:
                for c in range(x.shape[3]):
                    dx[n, r, s, c] += dy[n, p, q, k] * w[i, j, c, k]
                    dw[i, j, c, k] += dy[n, p, q, k] * x[n, r, s, c]
    return dx, dw, db


# %% right: njit
@numba.njit
def conv2d_backward(dy, x, w, stride, pad):
    kh, kw, channels, kernels = w.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(kernels, w.dtype)
    for n in range(dy.shape[0]):
        for p in range(dy.shape[1]):
            for q in range(dy.shape[2]):
                for k in range(kernels):
                    db[k] += dy[n, p, q, k]
                for i in range(max(0, pad - p * stride), min(kh, x.shape[1] + pad - p * stride)):
                    for j in range(max(0, pad - q * stride), min(kw, x.shape[2] + pad - q * stride)):
                        r, s = p * stride + i - pad, q * stride + j - pad
                        for c in range(channels):
                            for k in range(kernels):
                                dx[n, r, s, c] += dy[n, p, q, k] * w[i, j, c, k]
                                dw[i, j, c, k] += dy[n, p, q, k] * x[n, r, s, c]
    return dx, dw, db
