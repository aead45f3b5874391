"""Lesson 03: what students write."""

import numba
import numpy as np


# %% wrong: ReLU in place
# looks like: it writes into x, which belongs to the caller
def relu_forward(x):
    x[x < 0] = 0
    return x


# %% wrong: np.max along axis 0 for np.maximum
# looks like: an axis is missing
def relu_forward(x):
    return np.max(x, 0)


# %% wrong: ReLU turns NaN into 0
# looks like: a comparison with NaN is false
def relu_forward(x):
    return np.where(x > 0, x, np.float32(0)).astype(x.dtype)


# %% wrong: ReLU leaves its zeros in float64
# looks like: np.zeros and np.empty make float64
def relu_forward(x):
    y = np.zeros(x.shape)
    y[~(x < 0)] = x[~(x < 0)]
    return y


# %% wrong: the mask is taken from dy
# looks like: the mask is taken from dy
def relu_backward(dy, x):
    return np.where(dy > 0, dy, dy.dtype.type(0))


# %% wrong: the derivative alone, without dy
# looks like: the mask is missing its dy
def relu_backward(dy, x):
    return (x > 0).astype(x.dtype)


# %% wrong: the gradient passes at 0
# looks like: at exactly 0 nothing passes
def relu_backward(dy, x):
    return dy * (x >= 0)


# %% wrong: ReLU of dy once more
# looks like: the mask is taken from dy
def relu_backward(dy, x):
    return np.maximum(dy, 0)


# %% wrong: the bias is forgotten
# looks like: the bias is missing
def dense_forward(x, w, b):
    return x @ w


# %% wrong: the bias is added in the innermost loop
# looks like: the bias is added again and again
def dense_forward(x, w, b):
    y = np.zeros((x.shape[0], w.shape[1]), x.dtype)
    for n in range(x.shape[0]):
        for k in range(w.shape[1]):
            for d in range(x.shape[1]):
                y[n, k] += x[n, d] * w[d, k] + b[k]
    return y


# %% wrong: the loop over inputs keeps the last one
# looks like: only the last input counts
def dense_forward(x, w, b):
    y = np.zeros((x.shape[0], w.shape[1]), x.dtype)
    for n in range(x.shape[0]):
        for k in range(w.shape[1]):
            for d in range(x.shape[1]):
                y[n, k] = x[n, d] * w[d, k]
            y[n, k] += b[k]
    return y


# %% wrong: dx without the transpose
# looks like: the weights are not transposed
def dense_backward(dy, x, w):
    return dy @ w, x.T @ dy, dy.sum(0)


# %% wrong: dw transposed
# looks like: dw = x\^T dy
def dense_backward(dy, x, w):
    return dy @ w.T, dy.T @ x, dy.sum(0)


# %% wrong: db without the sum over the batch
# looks like: left over|sum over the leading axes
def dense_backward(dy, x, w):
    return dy @ w.T, x.T @ dy, dy


# %% wrong: the mean over the batch
# looks like: sum over the batch, no mean
def dense_backward(dy, x, w):
    return dy @ w.T, x.T @ dy / x.dtype.type(len(x)), dy.mean(0)


# %% wrong: db is the mean, dw the sum
# looks like: sum over the batch, no mean
def dense_backward(dy, x, w):
    return dy @ w.T, x.T @ dy, dy.mean(0)


# %% wrong: db sums over the wrong axis
# looks like: over the outputs
def dense_backward(dy, x, w):
    return dy @ w.T, x.T @ dy, dy.sum(1)


# %% wrong: '=' for '+=' in dw
# looks like: the sum over the batch is missing: only the last picture
def dense_backward(dy, x, w):
    dw = np.zeros_like(w)
    for n in range(len(x)):
        for d in range(w.shape[0]):
            for k in range(w.shape[1]):
                dw[d, k] = x[n, d] * dy[n, k]
    return dy @ w.T, dw, dy.sum(0)


# %% wrong: the gradients in another order
# looks like: dx and dw are swapped
def dense_backward(dy, x, w):
    return x.T @ dy, dy @ w.T, dy.sum(0)


# %% wrong: db is not returned
def dense_backward(dy, x, w):
    return dy @ w.T, x.T @ dy


# %% right: loops
def relu_forward(x):
    y = x.copy()
    flat = y.reshape(-1)
    for i in range(flat.size):
        if flat[i] < 0:
            flat[i] = 0
    return y


def relu_backward(dy, x):
    dx = np.zeros_like(dy)
    for i in np.ndindex(x.shape):
        if x[i] > 0:
            dx[i] = dy[i]
    return dx


def dense_forward(x, w, b):
    y = np.zeros((len(x), w.shape[1]), x.dtype)
    for n in range(len(x)):
        for k in range(w.shape[1]):
            y[n, k] = b[k]
            for d in range(w.shape[0]):
                y[n, k] += x[n, d] * w[d, k]
    return y


def dense_backward(dy, x, w):
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[1], w.dtype)
    for n in range(len(x)):
        for k in range(w.shape[1]):
            db[k] += dy[n, k]
            for d in range(w.shape[0]):
                dx[n, d] += dy[n, k] * w[d, k]
                dw[d, k] += x[n, d] * dy[n, k]
    return dx, dw, db


# %% right: vectorised
def relu_forward(x):
    return np.maximum(x, 0)


def relu_backward(dy, x):
    return dy * (x > 0)


def dense_forward(x, w, b):
    return np.einsum("nd,dk->nk", x, w) + b


def dense_backward(dy, x, w):
    return np.einsum("nk,dk->nd", dy, w), np.einsum("nd,nk->dk", x, dy), np.einsum("nk->k", dy)


# %% right: njit
@numba.njit
def relu_backward(dy, x):
    dx = np.zeros_like(dy)
    source, target, sign = dy.reshape(-1), dx.reshape(-1), x.reshape(-1)
    for i in range(sign.size):
        if sign[i] > 0:
            target[i] = source[i]
    return dx


@numba.njit
def dense_forward(x, w, b):
    y = np.zeros((x.shape[0], w.shape[1]), x.dtype)
    for n in range(x.shape[0]):
        for k in range(w.shape[1]):
            y[n, k] = b[k]
            for d in range(w.shape[0]):
                y[n, k] += x[n, d] * w[d, k]
    return y
