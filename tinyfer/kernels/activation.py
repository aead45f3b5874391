"""ReLU and leaky ReLU: one number in, one number out, so the only question is memory speed. Parallel over flat
positions.

Comparisons are written so that a NaN fails them: it passes through and reaches the loss, where it is seen.

No number is unpacked beside the flat views: in front of a prange loop, Numba (0.68) loses writes through an array that
was unpacked from a tuple of arrays and numbers."""

import numba
import numpy as np

from tinyfer.kernels.compile import kernel


@kernel(parallel=True)
def relu_forward(x):
    """Twin of reference.relu_forward: x -> y, any shape."""
    y = np.empty(x.shape, x.dtype)
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    for i in numba.prange(x.size):
        flat_y[i] = flat_x[i]
        if flat_x[i] < 0:
            flat_y[i] = 0
    return y


@kernel(parallel=True)
def relu_backward(dy, x):
    """Twin of reference.relu_backward: dy, x -> dx, any shape."""
    dx = np.empty(x.shape, x.dtype)
    flat_dy, flat_x, flat_dx = dy.reshape(-1), x.reshape(-1), dx.reshape(-1)
    for i in numba.prange(x.size):
        flat_dx[i] = flat_dy[i]
        if flat_x[i] <= 0:
            flat_dx[i] = 0
    return dx


@kernel(parallel=True)
def leaky_relu_forward(x, slope):
    """Twin of reference.leaky_relu_forward: x -> y, any shape."""
    y = np.empty(x.shape, x.dtype)
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    s = x.dtype.type(slope)
    for i in numba.prange(x.size):
        flat_y[i] = flat_x[i]
        if flat_x[i] < 0:
            flat_y[i] = s * flat_x[i]
    return y


@kernel(parallel=True)
def leaky_relu_backward(dy, x, slope):
    """Twin of reference.leaky_relu_backward: dy, x -> dx, any shape."""
    dx = np.empty(x.shape, x.dtype)
    flat_dy, flat_x, flat_dx = dy.reshape(-1), x.reshape(-1), dx.reshape(-1)
    s = x.dtype.type(slope)
    for i in numba.prange(x.size):
        flat_dx[i] = flat_dy[i]
        if flat_x[i] <= 0:
            flat_dx[i] = s * flat_dy[i]
    return dx
