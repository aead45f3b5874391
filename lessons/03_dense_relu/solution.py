"""Lesson 03, Dense and ReLU: a weighted sum and a bend, forwards and backwards, are already a network."""

import numpy as np


def relu_forward(x):
    """x of any shape -> y of the same shape: 0 where x < 0, and x itself elsewhere (a NaN stays a NaN)."""
    # BEGIN ANSWER
    return np.where(x < 0, x.dtype.type(0), x)
    # END ANSWER


def relu_backward(dy, x):
    """dy and x of one shape -> dx of the same shape: dy where x > 0, and 0 elsewhere."""
    # BEGIN ANSWER
    return np.where(x <= 0, x.dtype.type(0), dy)
    # END ANSWER


def dense_forward(x, w, b):
    """x (N,D), w (D,K), b (K,) -> y (N,K) = x w + b."""
    # BEGIN ANSWER
    return x @ w + b
    # END ANSWER


def dense_backward(dy, x, w):
    """dy (N,K), x (N,D), w (D,K) -> dx (N,D), dw (D,K), db (K,)."""
    # BEGIN ANSWER
    dx = dy @ w.T
    dw = x.T @ dy  # the matrix product adds up over the batch
    db = dy.sum(axis=0)
    return dx, dw, db
    # END ANSWER
