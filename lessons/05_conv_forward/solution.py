"""Lesson 05, Convolution: one small kernel looks at every place of a picture, and says where it finds what it seeks."""

import numpy as np


def conv2d_forward(x, w, b, stride, pad):
    """x (N,H,W,C), w (kh,kw,C,K), b (K,) -> y (N,P,Q,K), with pad rows and columns of zeros all around the picture."""
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    # BEGIN ANSWER
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
    # END ANSWER


def my_kernel():
    """Given: the kernel (3,3) of the last picture that `show` draws. Put in any numbers you like, and look."""
    return np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
