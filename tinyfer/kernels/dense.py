"""Fully connected layers on the shared matrix product, block by block of the result's rows or columns.

No BLAS: its threads go on spinning after the call and take the cores from our own kernels. One thread: the heads of the
models are a hundredth of a step, and a parallel kernel takes twice as long to compile."""

import numpy as np

from tinyfer.kernels.compile import kernel
from tinyfer.kernels.gemm import gemm

COLUMNS = 64  # a block of columns of the result
ROWS = 192  # a block of rows of the weight gradient
STRETCH = 64  # products to one call of gemm: long sums are added up in stretches (see gemm_tile)


@kernel
def dense_forward(x, w, b):
    """Twin of reference.dense_forward: x (N,D), w (D,K), b (K,) -> y (N,K), block by block of columns."""
    n, depth = x.shape
    outputs = w.shape[1]
    y = np.empty((n, outputs), x.dtype)
    flat_x, flat_w, flat_y = x.reshape(-1), w.reshape(-1), y.reshape(-1)
    for block in range((outputs + COLUMNS - 1) // COLUMNS):
        first = block * COLUMNS
        columns = min(COLUMNS, outputs - first)
        for r in range(n):
            for k in range(first, first + columns):
                y[r, k] = b[k]
        for start in range(0, depth, STRETCH):
            gemm(flat_x, start, depth, 1, flat_w, start * outputs + first, outputs, flat_y, first, outputs,
                 n, columns, min(STRETCH, depth - start))
    return y


@kernel
def _weight_gradient(dy, x):
    """x^T dy (D,K), block by block of its rows."""
    n, depth = x.shape
    outputs = dy.shape[1]
    dw = np.zeros((depth, outputs), dy.dtype)
    flat_x, flat_dy, flat_dw = x.reshape(-1), dy.reshape(-1), dw.reshape(-1)
    for block in range((depth + ROWS - 1) // ROWS):
        first = block * ROWS
        rows = min(ROWS, depth - first)
        gemm(flat_x, first, 1, depth, flat_dy, 0, outputs, flat_dw, first * outputs, outputs, rows, outputs, n)
    return dw


def dense_backward(dy, x, w):
    """Twin of reference.dense_backward: dy (N,K) -> dx (N,D), dw (D,K), db (K,)."""
    dx = dense_forward(dy, np.ascontiguousarray(w.T), np.zeros(w.shape[0], w.dtype))
    return dx, _weight_gradient(dy, x), dy.sum(0)
