"""Max-pooling, parallel over pictures, and global average pooling; the inner loop runs along channels."""

import numba
import numpy as np

from tinyfer.kernels.compile import FASTMATH, kernel


@kernel(parallel=True)
def maxpool_forward(x, size, stride):
    """Twin of reference.maxpool_forward: x (N,H,W,C) -> y (N,H',W',C), index (N,H',W',C) uint8.

    A later pixel wins if it is larger, or if it is the first NaN (v != v): a NaN is kept and reaches the loss."""
    n, height, width, channels = x.shape
    out_height, out_width = (height - size) // stride + 1, (width - size) // stride + 1
    y = np.empty((n, out_height, out_width, channels), x.dtype)
    index = np.zeros((n, out_height, out_width, channels), np.uint8)
    for picture in numba.prange(n):
        for p in range(out_height):
            for q in range(out_width):
                best, winner = y[picture, p, q], index[picture, p, q]
                for c in range(channels):
                    best[c] = x[picture, p * stride, q * stride, c]
                for t in range(1, size * size):
                    i, j = t // size, t % size
                    pixel = x[picture, p * stride + i, q * stride + j]
                    for c in range(channels):
                        if pixel[c] > best[c] or (pixel[c] != pixel[c] and best[c] == best[c]):
                            best[c] = pixel[c]
                            winner[c] = t
    return y, index


@kernel(parallel=True)
def maxpool_backward(dy, index, x_shape, size, stride):
    """Twin of reference.maxpool_backward: dy (N,H',W',C), index -> dx (x_shape)."""
    n, out_height, out_width, channels = dy.shape
    dx = np.zeros(x_shape, dy.dtype)
    for picture in numba.prange(n):
        for p in range(out_height):
            for q in range(out_width):
                share, winner = dy[picture, p, q], index[picture, p, q]
                for t in range(size * size):
                    pixel = dx[picture, p * stride + t // size, q * stride + t % size]
                    for c in range(channels):
                        if winner[c] == t:
                            pixel[c] += share[c]
    return dx


@kernel(fastmath=FASTMATH)
def global_avgpool_forward(x):
    """Twin of reference.global_avgpool_forward: x (N,H,W,C) -> y (N,C)."""
    n, height, width, channels = x.shape
    y = np.empty((n, channels), x.dtype)
    for picture in range(n):
        total = np.zeros(channels, np.float64)
        for p in range(height):
            for q in range(width):
                for c in range(channels):
                    total[c] += x[picture, p, q, c]
        for c in range(channels):
            y[picture, c] = total[c] / (height * width)
    return y


@kernel
def global_avgpool_backward(dy, x_shape):
    """Twin of reference.global_avgpool_backward: dy (N,C) -> dx (x_shape)."""
    n, height, width, channels = x_shape
    dx = np.empty(x_shape, dy.dtype)
    share = dy.dtype.type(1) / dy.dtype.type(height * width)
    for picture in range(n):
        for p in range(height):
            for q in range(width):
                for c in range(channels):
                    dx[picture, p, q, c] = dy[picture, c] * share
    return dx
