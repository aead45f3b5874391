"""Classic mistakes in batch normalisation."""

import numpy as np

from tinyfer import cases, reference


def batchnorm_forward(x, gamma, beta, eps):
    mean, var = cases.statistics(x)
    count = x.size // x.shape[-1]
    normal = reference.batchnorm_eval_forward
    if count > 1:
        unbiased = "the variance is divided by count - 1: batch normalisation uses the biased one, divided by count"
        yield "y", unbiased, normal(x, gamma, beta, mean, var * (count / (count - 1)), eps)
        yield "var", unbiased, var * (count / (count - 1))
    yield "var", "this is the standard deviation: its square, the variance, is asked for", np.sqrt(var)
    yield "var", "eps is already added to the variance: it belongs under the root only", var + eps
    yield "var", "this is 1/sqrt(var + eps): the variance is asked for", 1 / np.sqrt(var + eps)
    yield "var", "this is the mean of x squared: the mean's square is not subtracted", var + mean**2
    if x.ndim == 4:
        whole = x.mean((1, 2), keepdims=True)
        yield "y", "each picture is normalised on its own: the statistics run over the batch too", \
            gamma * (x - whole) / np.sqrt(x.var((1, 2), keepdims=True) + eps) + beta  # fmt: skip
    yield "y", "normalised over the channels of each pixel: each channel has its own mean, along axis 0 of (M, C)", \
        gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) + beta  # fmt: skip
    summed = "the variance is not divided by the count N*H*W: it is a mean of squares"
    yield "y", summed, normal(x, gamma, beta, mean, var * count, eps)
    yield "var", summed, var * count
    whole = np.full_like(mean, x.mean()), np.full_like(var, x.var())
    yield "y", "all channels share one mean and variance: each channel has its own", normal(x, gamma, beta, *whole, eps)
    yield from _normalised(x, gamma, beta, mean, var, eps)


def batchnorm_eval_forward(x, gamma, beta, mean, var, eps):
    own = "the batch's own mean and variance are used: at evaluation those that are given"
    yield "y", own, reference.batchnorm_eval_forward(x, gamma, beta, *cases.statistics(x), eps)
    yield from _normalised(x, gamma, beta, mean, var, eps)


def _normalised(x, gamma, beta, mean, var, eps):
    """Mistakes in y = gamma * (x - mean) / sqrt(var + eps) + beta, wherever mean and var come from."""
    normal = reference.batchnorm_eval_forward
    yield "y", "gamma is missing", normal(x, np.ones_like(gamma), beta, mean, var, eps)
    yield "y", "beta is missing", normal(x, gamma, np.zeros_like(beta), mean, var, eps)
    yield "y", "gamma and beta are missing", normal(x, np.ones_like(gamma), np.zeros_like(beta), mean, var, eps)
    yield "y", "the root is missing: divide by sqrt(var + eps)", gamma * (x - mean) / (var + eps) + beta
    yield "y", "eps is added outside the root: sqrt(var + eps)", gamma * (x - mean) / (np.sqrt(var) + eps) + beta
    yield "y", "eps is missing", gamma * (x - mean) / np.sqrt(var) + beta
    yield "y", "the mean is not subtracted", gamma * x / np.sqrt(var + eps) + beta
    yield "y", "beta is scaled by gamma, too: y = gamma * xhat + beta", gamma * ((x - mean) / np.sqrt(var + eps) + beta)
    yield "y", "gamma and beta are swapped", normal(x, beta, gamma, mean, var, eps)


def batchnorm_backward(dy, x, gamma, mean, var, eps):
    scale, count = gamma / np.sqrt(var + eps), x.size // x.shape[-1]
    xhat = (x - mean) / np.sqrt(var + eps)
    axes = tuple(range(x.ndim - 1))
    average, weighted = dy.mean(axes), (dy * xhat).mean(axes)
    yield "dx", "mean and variance are treated as constants: they depend on x too, two terms are missing", dy * scale
    yield "dx", "the way through the variance is missing: - xhat * average(dy * xhat)", scale * (dy - average)
    yield "dx", "the way through the mean is missing: - average(dy)", scale * (dy - xhat * weighted)
    right = dy - average - xhat * weighted
    yield "dx", "the way through the variance has the wrong sign: it is taken off, - xhat * average(dy * xhat)", \
        scale * (dy - average + xhat * weighted)  # fmt: skip
    yield "dx", "gamma is missing", right / np.sqrt(var + eps)
    yield "dx", "1/sqrt(var + eps) is missing", right * gamma
    yield "dx", "the root is missing: divide by sqrt(var + eps)", right * gamma / (var + eps)
    yield "dx", "the sums are not divided by the count N*H*W", scale * (dy - average * count - xhat * weighted * count)
    pixels = count / len(x)
    yield "dx", "the sums are divided by N, and not by the count N*H*W: they run over pixels too", \
        scale * (dy - (average + xhat * weighted) * pixels)  # fmt: skip
    yield from _affine_gradients(dy, x, xhat, axes)


def _affine_gradients(dy, x, xhat, axes):
    yield "dgamma", "x is used where xhat, the normalised x, belongs", (dy * x).sum(axes)
    yield "dgamma", "xhat is missing: this is dbeta", dy.sum(axes)
    yield "dbeta", "this is dgamma: beta's gradient is the plain sum of dy", (dy * xhat).sum(axes)
    for name, value in (("dgamma", dy * xhat), ("dbeta", dy)):
        yield name, "dgamma and dbeta are sums, no means", value.sum(axes) / (x.size // x.shape[-1])
        yield name, "the sum over the batch is missing: only the first picture counts", value[:1].sum(axes)
        yield name, "the sum over the batch is missing: only the last picture counts", value[-1:].sum(axes)


def batchnorm_eval_backward(dy, x, gamma, mean, var, eps):
    xhat = (x - mean) / np.sqrt(var + eps)
    axes = tuple(range(x.ndim - 1))
    yield "dx", "mean and variance are constants here: the two terms of the batch statistics do not belong", \
        reference.batchnorm_backward(dy, x, gamma, mean, var, eps)[0]  # fmt: skip
    yield "dx", "gamma is missing", dy / np.sqrt(var + eps)
    yield "dx", "1/sqrt(var + eps) is missing", dy * gamma
    yield from _affine_gradients(dy, x, xhat, axes)
