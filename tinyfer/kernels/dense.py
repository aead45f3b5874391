"""Fully connected layers on the shared matrix product, block by block of the result's rows or columns.

No BLAS: its threads go on spinning after the call and take the cores from our own kernels. For a picture or two, where
no weight is used often enough to be worth a tile, the weights are read once, row by row."""

import numba
import numpy as np

from tinyfer.kernels.compile import kernel
from tinyfer.kernels.gemm import FEW, gemm, gemm_code

COLUMNS = 64  # a block of columns of the result
ROWS = 192  # a block of rows of the weights' or the input's gradient
STRETCH = 64  # rows of the weights to one call of gemm: a block of them stays in the first-level cache


@kernel(parallel=True)
def _forward(code, x, w, b):
    """x (N,D) w (D,K) + b (K,), block by block of columns."""
    n, depth = x.shape
    outputs = w.shape[1]
    y = np.empty((n, outputs), x.dtype)
    flat_x, flat_w, flat_y = x.reshape(-1), w.reshape(-1), y.reshape(-1)
    columns = COLUMNS if n >= FEW else outputs
    stretch = STRETCH if n >= FEW else depth
    for block in numba.prange((outputs + columns - 1) // columns):
        first = block * columns
        count = min(columns, outputs - first)
        for r in range(n):
            for k in range(first, first + count):
                y[r, k] = b[k]
        for start in range(0, depth, stretch):
            gemm(code, flat_x, start, depth, 1, flat_w, start * outputs + first, outputs, flat_y, first, outputs,
                 n, count, min(stretch, depth - start))
    return y


@kernel(parallel=True)
def _input_gradient(code, dy, w):
    """dy (N,K) w^T -> dx (N,D), as (w dy^T)^T: of the two operands it is the small one that is turned."""
    n, outputs = dy.shape
    depth = w.shape[0]
    dx = np.empty((n, depth), dy.dtype)
    turned = np.empty(outputs * n, dy.dtype)
    for k in range(outputs):
        for r in range(n):
            turned[k * n + r] = dy[r, k]
    flat_w = w.reshape(-1)
    for block in numba.prange((depth + ROWS - 1) // ROWS):
        first = block * ROWS
        rows = min(ROWS, depth - first)
        part = np.zeros(rows * n, dy.dtype)
        for start in range(0, outputs, STRETCH):
            gemm(code, flat_w, first * outputs + start, outputs, 1, turned, start * n, n, part, 0, n, rows, n,
                 min(STRETCH, outputs - start))
        for r in range(n):
            for d in range(rows):
                dx[r, first + d] = part[d * n + r]
    return dx


@kernel(parallel=True)
def _weight_gradient(code, dy, x):
    """x^T dy (D,K), block by block of its rows."""
    n, depth = x.shape
    outputs = dy.shape[1]
    dw = np.zeros((depth, outputs), dy.dtype)
    flat_x, flat_dy, flat_dw = x.reshape(-1), dy.reshape(-1), dw.reshape(-1)
    for block in numba.prange((depth + ROWS - 1) // ROWS):
        first = block * ROWS
        gemm(code, flat_x, first, 1, depth, flat_dy, 0, outputs, flat_dw, first * outputs, outputs,
             min(ROWS, depth - first), outputs, n)
    return dw


def dense_forward(x, w, b):
    """Twin of reference.dense_forward: x (N,D), w (D,K), b (K,) -> y (N,K)."""
    return _forward(gemm_code(x.dtype, len(x)), x, w, b)


def dense_backward(dy, x, w):
    """Twin of reference.dense_backward: dy (N,K) -> dx (N,D), dw (D,K), db (K,)."""
    code = gemm_code(x.dtype)
    return _input_gradient(code, dy, w), _weight_gradient(code, dy, x), dy.sum(0)
