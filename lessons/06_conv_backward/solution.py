"""Lesson 06, Convolution, backwards: every pixel takes back its share of each output that it took part in."""

import numpy as np


def conv2d_backward(dy, x, w, stride, pad):
    """dy (N,P,Q,K), x (N,H,W,C), w (kh,kw,C,K) -> dx (N,H,W,C), dw (kh,kw,C,K), db (K,)."""
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    _, rows, columns, _ = dy.shape
    # BEGIN ANSWER
    xp = np.zeros((pictures, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    xp[:, pad : pad + height, pad : pad + width] = x
    dxp, dw, db = np.zeros_like(xp), np.zeros_like(w), np.zeros(kernels, w.dtype)
    for n in range(pictures):
        for p in range(rows):
            for q in range(columns):
                for k in range(kernels):
                    back = dy[n, p, q, k]
                    db[k] += back
                    for i in range(kh):
                        for j in range(kw):
                            r, s = p * stride + i, q * stride + j  # the pixel that tap (i, j) saw
                            for c in range(channels):
                                dxp[n, r, s, c] += back * w[i, j, c, k]
                                dw[i, j, c, k] += back * xp[n, r, s, c]
    return dxp[:, pad : pad + height, pad : pad + width].copy(), dw, db
    # END ANSWER
