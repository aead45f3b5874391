"""Lesson 08, Batch norm: every channel is brought back to mean 0 and spread 1, and the gradient knows of it."""

import numpy as np


def batchnorm_forward(x, gamma, beta, eps):
    """x (N,H,W,C) or (N,C), gamma, beta (C,) -> y like x, mean (C,), var (C,): of the batch, var divided by M."""
    rows = x.reshape(-1, x.shape[-1])  # (M, C): a column holds all values of one channel
    count, eps = x.dtype.type(len(rows)), x.dtype.type(eps)  # M and eps as numbers of x's type
    # Your code: about 5 lines.
    raise NotImplementedError("batchnorm_forward is still to be written")


def batchnorm_eval_forward(x, gamma, beta, mean, var, eps):
    """x (N,H,W,C) or (N,C), gamma, beta, mean, var (C,) -> y like x, by the mean and variance that are given."""
    rows, eps = x.reshape(-1, x.shape[-1]), x.dtype.type(eps)
    # Your code: about 2 lines.
    raise NotImplementedError("batchnorm_eval_forward is still to be written")


def track(running_mean, running_var, mean, var, count, momentum):
    """Move the running averages (C,) towards a batch's mean and var over count > 1 values, in place; returns nothing.

    var is the one that batchnorm_forward answers; running_var follows var * count / (count - 1)."""
    # Your code: about 2 lines.
    raise NotImplementedError("track is still to be written")


def batchnorm_backward(dy, x, gamma, mean, var, eps):
    """dy, x of one shape, gamma, mean, var (C,) -> dx like x, dgamma (C,), dbeta (C,); mean and var are x's own."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])  # (M, C)
    count, eps = x.dtype.type(len(rows)), x.dtype.type(eps)
    # Your code: about 6 lines.
    raise NotImplementedError("batchnorm_backward is still to be written")
