"""Dropout: a product with a mask that was drawn outside, so that the kernel itself knows no randomness."""

import numba
import numpy as np

from tinyfer.kernels.compile import kernel


@kernel(parallel=True)
def dropout_forward(x, mask):
    """Twin of reference.dropout_forward: x, mask -> y, any shape."""
    y = np.empty(x.shape, x.dtype)
    flat_x, flat_mask, flat_y = x.reshape(-1), mask.reshape(-1), y.reshape(-1)
    for i in numba.prange(x.size):
        flat_y[i] = flat_x[i] * flat_mask[i]
    return y


@kernel(parallel=True)
def dropout_backward(dy, mask):
    """Twin of reference.dropout_backward: dy, mask -> dx, any shape."""
    dx = np.empty(dy.shape, dy.dtype)
    flat_dy, flat_mask, flat_dx = dy.reshape(-1), mask.reshape(-1), dx.reshape(-1)
    for i in numba.prange(dy.size):
        flat_dx[i] = flat_dy[i] * flat_mask[i]
    return dx
