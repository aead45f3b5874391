"""Lesson 08: what students write."""

import numba
import numpy as np


def columns(x):
    return x.reshape(-1, x.shape[-1])


def scaled(x, gamma, beta, mean, var, eps):
    return (gamma * ((x - mean) / np.sqrt(var + eps)) + beta).astype(x.dtype)


def parts(dy, x, mean, var, eps):
    """root, xhat (M, C), dy (M, C), M."""
    rows = columns(x)
    root = np.sqrt(var + x.dtype.type(eps))
    return root, (rows - mean) / root, columns(dy), x.dtype.type(len(rows))


# %% wrong: the mean is not subtracted
# looks like: the mean is not subtracted
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0)
    return scaled(x, gamma, beta, 0 * mean, var, eps), mean, var


# %% wrong: the variance is divided by M - 1
# looks like: the variance is divided by count - 1
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0, ddof=1)
    return scaled(x, gamma, beta, mean, var, eps), mean, var


# %% wrong: the variance that is answered is divided by M - 1
# looks like: the variance is divided by count - 1
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0)
    return scaled(x, gamma, beta, mean, var, eps), mean, columns(x).var(0, ddof=1)


# %% wrong: the standard deviation is answered
# looks like: this is the standard deviation
def batchnorm_forward(x, gamma, beta, eps):
    mean, std = columns(x).mean(0), columns(x).std(0)
    return scaled(x, gamma, beta, mean, std**2, eps), mean, std


# %% wrong: divided by the variance, not by its root
# looks like: the root is missing
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0)
    return (gamma * (x - mean) / (var + eps) + beta).astype(x.dtype), mean, var


# %% wrong: eps beside the root
# looks like: eps is added outside the root
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0)
    return (gamma * (x - mean) / (np.sqrt(var) + eps) + beta).astype(x.dtype), mean, var


# %% wrong: eps is forgotten
# looks like: eps is missing
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0)
    return scaled(x, gamma, beta, mean, var, 0), mean, var


# %% wrong: eps is in the answered variance
# looks like: eps is already added to the variance
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0) + np.float32(eps)
    return scaled(x, gamma, beta, mean, var, 0), mean, var


# %% wrong: each picture by itself
# looks like: each picture is normalised on its own
def batchnorm_forward(x, gamma, beta, eps):
    if x.ndim == 2:
        mean, var = x.mean(0), x.var(0)
        return scaled(x, gamma, beta, mean, var, eps), mean, var
    mean, var = x.mean((1, 2)), x.var((1, 2))
    return scaled(x, gamma, beta, mean[:, None, None], var[:, None, None], eps), mean.mean(0), var.mean(0)


# %% wrong: all channels share one mean
# looks like: all channels share one mean and variance
def batchnorm_forward(x, gamma, beta, eps):
    y = scaled(x, gamma, beta, x.mean(), x.var(), eps)
    return y, np.full_like(gamma, x.mean()), np.full_like(gamma, x.var())


# %% wrong: along the channels
# looks like: over the channels
def batchnorm_forward(x, gamma, beta, eps):
    rows = columns(x)
    y = scaled(rows, gamma, beta, rows.mean(1, keepdims=True), rows.var(1, keepdims=True), eps)
    return y.reshape(x.shape), rows.mean(0), rows.var(0)


# %% wrong: gamma and beta are forgotten
# looks like: gamma and beta are missing
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0)
    return scaled(x, 1, 0, mean, var, eps), mean, var


# %% wrong: gamma scales beta, too
# looks like: beta is scaled by gamma
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0)
    return scaled(x, 1, beta, mean, var, eps) * gamma, mean, var


# %% wrong: the mean square less the squared mean
# looks like: the small difference of two large numbers
def batchnorm_forward(x, gamma, beta, eps):
    rows = columns(x)
    mean = rows.mean(0)
    var = (rows * rows).mean(0) - mean * mean
    return scaled(x, gamma, beta, mean, var, eps), mean, var


# %% wrong: the sum of squares is not divided
# looks like: not divided by the count
def batchnorm_forward(x, gamma, beta, eps):
    rows = columns(x)
    mean = rows.mean(0)
    var = ((rows - mean) ** 2).sum(0)
    return scaled(x, gamma, beta, mean, var, eps), mean, var


# %% wrong: y keeps the shape (M, C)
# looks like: an axis is missing|reshape
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0)
    return scaled(columns(x), gamma, beta, mean, var, eps), mean, var


# %% wrong: x is centred in place
# looks like: it writes into x
def batchnorm_forward(x, gamma, beta, eps):
    mean, var = columns(x).mean(0), columns(x).var(0)
    x -= mean
    return scaled(x, gamma, beta, 0 * mean, var, eps), mean, var


# %% wrong: evaluation by the batch's own statistics
# looks like: the batch's own mean and variance
def batchnorm_eval_forward(x, gamma, beta, mean, var, eps):
    return scaled(x, gamma, beta, columns(x).mean(0), columns(x).var(0), eps)


# %% wrong: the running averages get new arrays
# looks like: running_mean is unchanged
def track(running_mean, running_var, mean, var, count, momentum):
    running_mean = (1 - momentum) * running_mean + momentum * mean
    running_var = (1 - momentum) * running_var + momentum * var * count / (count - 1)


# %% wrong: the running variance is forgotten
# looks like: running_var is unchanged
def track(running_mean, running_var, mean, var, count, momentum):
    running_mean += momentum * (mean - running_mean)


# %% wrong: momentum the other way round
# looks like: old and new are swapped
def track(running_mean, running_var, mean, var, count, momentum):
    running_mean[...] = momentum * running_mean + (1 - momentum) * mean
    running_var[...] = momentum * running_var + (1 - momentum) * var * count / (count - 1)


# %% wrong: the running variance follows the biased one
# looks like: the batch's variance is taken as it is
def track(running_mean, running_var, mean, var, count, momentum):
    running_mean += momentum * (mean - running_mean)
    running_var += momentum * (var - running_var)


# %% wrong: the old average is not made smaller
# looks like: the old average is not made smaller
def track(running_mean, running_var, mean, var, count, momentum):
    running_mean += momentum * mean
    running_var += momentum * var * count / (count - 1)


# %% wrong: the new averages are returned
# looks like: running_mean is unchanged
def track(running_mean, running_var, mean, var, count, momentum):
    return (1 - momentum) * running_mean + momentum * mean, \
        (1 - momentum) * running_var + momentum * var * count / (count - 1)  # fmt: skip


# %% wrong: mean and variance as constants
# looks like: mean and variance are treated as constants
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, _ = parts(dy, x, mean, var, eps)
    return dy * (gamma / root), (drows * xhat).sum(0), drows.sum(0)


# %% wrong: the way through the variance is forgotten
# looks like: the way through the variance is missing
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, count = parts(dy, x, mean, var, eps)
    dx = gamma / root * (drows - drows.sum(0) / count)
    return dx.reshape(x.shape), (drows * xhat).sum(0), drows.sum(0)


# %% wrong: the way through the mean is forgotten
# looks like: the way through the mean is missing
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, count = parts(dy, x, mean, var, eps)
    dx = gamma / root * (drows - xhat * (drows * xhat).sum(0) / count)
    return dx.reshape(x.shape), (drows * xhat).sum(0), drows.sum(0)


# %% wrong: the way through the variance has the other sign
# looks like: the way through the variance has the wrong sign
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, count = parts(dy, x, mean, var, eps)
    dx = gamma / root * (drows - drows.sum(0) / count + xhat * (drows * xhat).sum(0) / count)
    return dx.reshape(x.shape), (drows * xhat).sum(0), drows.sum(0)


# %% wrong: the sums are not divided by M
# looks like: the sums are not divided by the count
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, _ = parts(dy, x, mean, var, eps)
    dgamma, dbeta = (drows * xhat).sum(0), drows.sum(0)
    return (gamma / root * (drows - dbeta - xhat * dgamma)).reshape(x.shape), dgamma, dbeta


# %% wrong: divided by N, and not by N H W
# looks like: the sums are divided by N
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, _ = parts(dy, x, mean, var, eps)
    dgamma, dbeta, n = (drows * xhat).sum(0), drows.sum(0), x.dtype.type(len(x))
    return (gamma / root * (drows - dbeta / n - xhat * dgamma / n)).reshape(x.shape), dgamma, dbeta


# %% wrong: gamma is forgotten in dx
# looks like: gamma is missing
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, count = parts(dy, x, mean, var, eps)
    dgamma, dbeta = (drows * xhat).sum(0), drows.sum(0)
    return ((drows - dbeta / count - xhat * dgamma / count) / root).reshape(x.shape), dgamma, dbeta


# %% wrong: divided by the variance in dx
# looks like: the root is missing
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, count = parts(dy, x, mean, var, eps)
    dgamma, dbeta = (drows * xhat).sum(0), drows.sum(0)
    return (gamma / root**2 * (drows - dbeta / count - xhat * dgamma / count)).reshape(x.shape), dgamma, dbeta


# %% wrong: dgamma with x for xhat
# looks like: x is used where xhat
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, count = parts(dy, x, mean, var, eps)
    dgamma, dbeta = (drows * xhat).sum(0), drows.sum(0)
    dx = gamma / root * (drows - dbeta / count - xhat * dgamma / count)
    return dx.reshape(x.shape), (drows * columns(x)).sum(0), dbeta


# %% wrong: dgamma and dbeta are means
# looks like: are sums, no means|a constant factor: each value is 1/
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, count = parts(dy, x, mean, var, eps)
    dgamma, dbeta = (drows * xhat).mean(0), drows.mean(0)
    return (gamma / root * (drows - dbeta - xhat * dgamma)).reshape(x.shape), dgamma, dbeta


# %% wrong: dgamma and dbeta in the other order
# looks like: this is dbeta
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, count = parts(dy, x, mean, var, eps)
    dgamma, dbeta = (drows * xhat).sum(0), drows.sum(0)
    dx = gamma / root * (drows - dbeta / count - xhat * dgamma / count)
    return dx.reshape(x.shape), dbeta, dgamma


# %% wrong: dx is all zeros, as it is for dy all ones
# looks like: all zeros
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    root, xhat, drows, count = parts(dy, x, mean, var, eps)
    return np.zeros_like(x), (drows * xhat).sum(0), drows.sum(0)


# %% right: loops
def batchnorm_forward(x, gamma, beta, eps):
    rows = columns(x)
    y = np.zeros_like(rows)
    mean, var = np.zeros_like(gamma), np.zeros_like(gamma)
    for c in range(rows.shape[1]):
        for m in range(len(rows)):
            mean[c] += rows[m, c] / len(rows)
        for m in range(len(rows)):
            var[c] += (rows[m, c] - mean[c]) ** 2 / len(rows)
        for m in range(len(rows)):
            y[m, c] = gamma[c] * (rows[m, c] - mean[c]) / np.sqrt(var[c] + eps) + beta[c]
    return y.reshape(x.shape), mean, var


def batchnorm_eval_forward(x, gamma, beta, mean, var, eps):
    y = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        c = i[-1]
        y[i] = gamma[c] * (x[i] - mean[c]) / np.sqrt(var[c] + eps) + beta[c]
    return y


def track(running_mean, running_var, mean, var, count, momentum):
    for c in range(len(mean)):
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c]
        running_var[c] = (1 - momentum) * running_var[c] + momentum * var[c] * count / (count - 1)


def batchnorm_backward(dy, x, gamma, mean, var, eps):
    rows, drows = columns(x), columns(dy)
    dx, dgamma, dbeta = np.zeros_like(rows), np.zeros_like(gamma), np.zeros_like(gamma)
    count = len(rows)
    for c in range(rows.shape[1]):
        root = np.sqrt(var[c] + eps)
        for m in range(count):
            dgamma[c] += drows[m, c] * (rows[m, c] - mean[c]) / root
            dbeta[c] += drows[m, c]
        for m in range(count):
            xhat = (rows[m, c] - mean[c]) / root
            dx[m, c] = gamma[c] / root * (drows[m, c] - dbeta[c] / count - xhat * dgamma[c] / count)
    return dx.reshape(x.shape), dgamma, dbeta


# %% right: vectorised, step by step through the graph
def batchnorm_forward(x, gamma, beta, eps):
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    return gamma * (x - mean) / np.sqrt(var + x.dtype.type(eps)) + beta, mean, var


def batchnorm_backward(dy, x, gamma, mean, var, eps):
    axes = tuple(range(x.ndim - 1))
    count = x.dtype.type(x.size // x.shape[-1])
    centred, inverse = x - mean, (var + x.dtype.type(eps)) ** x.dtype.type(-0.5)
    dxhat = dy * gamma
    dvar = (dxhat * centred).sum(axes) * x.dtype.type(-0.5) * inverse**3
    dmean = -(dxhat * inverse).sum(axes)
    dx = dxhat * inverse + dvar * x.dtype.type(2) * centred / count + dmean / count
    return dx, (dy * centred * inverse).sum(axes), dy.sum(axes)


# %% right: njit
@numba.njit
def batchnorm_forward(x, gamma, beta, eps):
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    y, mean, var = np.empty_like(rows), np.zeros_like(gamma), np.zeros_like(gamma)
    count, channels = rows.shape
    for m in range(count):
        for c in range(channels):
            mean[c] += rows[m, c]
    mean /= gamma.dtype.type(count)
    for m in range(count):
        for c in range(channels):
            var[c] += (rows[m, c] - mean[c]) ** 2
    var /= gamma.dtype.type(count)
    for m in range(count):
        for c in range(channels):
            y[m, c] = gamma[c] * (rows[m, c] - mean[c]) / np.sqrt(var[c] + eps) + beta[c]
    return y.reshape(x.shape), mean, var


@numba.njit
def batchnorm_backward(dy, x, gamma, mean, var, eps):
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])
    dx, dgamma, dbeta = np.empty_like(rows), np.zeros_like(gamma), np.zeros_like(gamma)
    count, channels = rows.shape
    for m in range(count):
        for c in range(channels):
            dgamma[c] += drows[m, c] * (rows[m, c] - mean[c]) / np.sqrt(var[c] + eps)
            dbeta[c] += drows[m, c]
    for m in range(count):
        for c in range(channels):
            root = np.sqrt(var[c] + eps)
            xhat = (rows[m, c] - mean[c]) / root
            dx[m, c] = gamma[c] / root * (drows[m, c] - dbeta[c] / count - xhat * dgamma[c] / count)
    return dx.reshape(x.shape), dgamma, dbeta
