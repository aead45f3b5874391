"""Lesson 11, All cores: the work of a batch is shared among the cores, and one core or many give the very same bits."""

import numba
import numpy as np

CHUNKS = 8  # shares that a batch is cut into, on any machine


@numba.njit(fastmath={"reassoc", "contract"})
def add_picture(dy, x, w, stride, pad, dx, dw, db):
    """Given: lesson 06 for one picture, dy (P,Q,K) and x (H,W,C). It adds what it finds to dx (H,W,C), dw and db."""
    height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    for p in range(dy.shape[0]):
        for q in range(dy.shape[1]):
            for k in range(kernels):
                db[k] += dy[p, q, k]
            for i in range(kh):
                for j in range(kw):
                    r, s = p * stride + i - pad, q * stride + j - pad
                    if 0 <= r < height and 0 <= s < width:  # the padding gets no gradient
                        for c in range(channels):
                            pixel, share = x[r, s, c], dx[r, s, c]
                            for k in range(kernels):
                                share += dy[p, q, k] * w[i, j, c, k]
                                dw[i, j, c, k] += dy[p, q, k] * pixel
                            dx[r, s, c] = share


@numba.njit
def zeros(count, like):
    """Given: (count, ...) zeros, each row of the shape and dtype of `like` (...)."""
    return np.zeros((count,) + like.shape, like.dtype)  # Numba knows no (count, *like.shape)


@numba.njit(parallel=True)
def conv2d_backward(dy, x, w, stride, pad):
    """dy (N,P,Q,K), x (N,H,W,C), w (kh,kw,C,K) -> dx (N,H,W,C), dw (kh,kw,C,K), db (K,), on all cores."""
    pictures = len(x)
    # BEGIN ANSWER
    chunks = min(CHUNKS, pictures)
    dx = zeros(pictures, x[0])
    dw_parts = zeros(chunks, w)
    db_parts = zeros(chunks, w[0, 0, 0])
    for chunk in numba.prange(chunks):
        for n in range(chunk * pictures // chunks, (chunk + 1) * pictures // chunks):
            add_picture(dy[n], x[n], w, stride, pad, dx[n], dw_parts[chunk], db_parts[chunk])
    return dx, add_up(dw_parts), add_up(db_parts)
    # END ANSWER


@numba.njit
def add_up(parts):
    """parts (chunks, ...) -> their sum (...), the first chunk first."""
    # BEGIN ANSWER
    total = np.zeros_like(parts[0])
    for chunk in range(len(parts)):
        total += parts[chunk]
    return total
    # END ANSWER
