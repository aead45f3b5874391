"""How far a float32 kernel may be from the float64 reference: BOUNDS[op](args) -> for each result an array, in units of
4 * eps32.

For sums of products the bound is the op itself on absolute values (Higham, Accuracy and Stability of Numerical
Algorithms, chapter 3): rounding errors are relative to the summands, not to a sum that may cancel. The others follow
the same rule by hand: each rounding counts with the size of what is rounded. What only copies or compares has 0."""

import numpy as np

from tinyfer import reference

EPS32 = float(np.finfo(np.float32).eps)


def absolute(op):
    """The op on the absolute values of its arrays."""

    def bound(*args):
        floats = (np.abs(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args)
        result = getattr(reference, op)(*floats)
        return result if isinstance(result, tuple) else (result,)

    return bound


def exact(*args):
    return (0.0,)


def batchnorm(x, gamma, beta, eps):
    """Subtracting the mean rounds at the size of x; the variance is a mean of squares, each at most the range's."""
    rows = x.reshape(-1, x.shape[-1])
    mean, var, reach = rows.mean(0), rows.var(0), np.ptp(rows, axis=0)
    xhat = np.abs(x - mean) / np.sqrt(var + eps)
    (y,) = batchnorm_eval(x, gamma, beta, mean, var, eps)
    return y + np.abs(gamma) * xhat * reach**2 / (var + eps), np.abs(mean) + reach, var + reach**2


def batchnorm_eval(x, gamma, beta, mean, var, eps):
    return (np.abs(gamma) * (np.abs(x) + np.abs(mean)) / np.sqrt(var + eps) + np.abs(beta),)


def batchnorm_gradients(dy, x, gamma, mean, var, eps):
    inverse = 1 / np.sqrt(var + eps)
    xhat, axes = (np.abs(x) + np.abs(mean)) * inverse, tuple(range(x.ndim - 1))
    return xhat, (np.abs(dy) * xhat).sum(axes), np.abs(dy).sum(axes)


def batchnorm_backward(dy, x, gamma, mean, var, eps):
    xhat, dgamma, dbeta = batchnorm_gradients(dy, x, gamma, mean, var, eps)
    count = x.size // x.shape[-1]
    return np.abs(gamma) / np.sqrt(var + eps) * (np.abs(dy) + dbeta / count + xhat * dgamma / count), dgamma, dbeta


def batchnorm_eval_backward(dy, x, gamma, mean, var, eps):
    _, dgamma, dbeta = batchnorm_gradients(dy, x, gamma, mean, var, eps)
    return np.abs(dy * gamma) / np.sqrt(var + eps), dgamma, dbeta


def log_softmax(z):
    """The logarithm rounds at the size of the shifted logits and of log K; exp turns that into a relative error."""
    return np.abs(z - z.max(1, keepdims=True)) + 1 + np.log(z.shape[1])


def softmax(z):
    return (reference.softmax(z) * log_softmax(z),)


def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    t = reference.soft_targets(target, z.shape[1], z.dtype)
    q = (1 - label_smoothing) * t + label_smoothing / z.shape[1]
    a = (t @ class_weight)[:, None] / (t @ class_weight).sum()
    rounded = log_softmax(z)
    return (a * q * rounded).sum() * 2, a * (reference.softmax(z) * rounded + q)


def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = np.abs(g) + weight_decay * np.abs(w)
    v = momentum * np.abs(v) + g
    return np.abs(w) + lr * (g + momentum * v), v


def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    """The step is a quotient of two chains of roundings: it counts twice."""
    m, v = b1 * np.abs(m) + (1 - b1) * np.abs(g), b2 * v + (1 - b2) * g * g
    step = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
    return np.abs(w) + lr * (2 * step + weight_decay * np.abs(w)), m, v


BOUNDS = {
    "conv2d_forward": absolute("conv2d_forward"), "conv2d_backward": absolute("conv2d_backward"),
    "relu_forward": exact, "relu_backward": exact,
    "leaky_relu_forward": absolute("leaky_relu_forward"), "leaky_relu_backward": absolute("leaky_relu_backward"),
    "batchnorm_forward": batchnorm, "batchnorm_backward": batchnorm_backward,
    "batchnorm_eval_forward": batchnorm_eval, "batchnorm_eval_backward": batchnorm_eval_backward,
    "maxpool_forward": lambda *args: (0.0, 0.0), "maxpool_backward": absolute("maxpool_backward"),
    "global_avgpool_forward": absolute("global_avgpool_forward"),
    "global_avgpool_backward": absolute("global_avgpool_backward"),
    "dense_forward": absolute("dense_forward"), "dense_backward": absolute("dense_backward"),
    "dropout_forward": absolute("dropout_forward"), "dropout_backward": absolute("dropout_backward"),
    "softmax": softmax, "softmax_cross_entropy": softmax_cross_entropy,
    "sgd_update": sgd_update, "adam_update": adam_update,
}  # fmt: skip
