"""Lesson 03, Dense and ReLU: a weighted sum and a bend, forwards and backwards, are already a network."""

import numpy as np


def relu_forward(x):
    """x of any shape -> y of the same shape: 0 where x < 0, and x itself elsewhere (a NaN stays a NaN)."""
    # Your code: about 1 line.
    raise NotImplementedError("relu_forward is still to be written")


def relu_backward(dy, x):
    """dy and x of one shape -> dx of the same shape: dy where x > 0, and 0 elsewhere."""
    # Your code: about 1 line.
    raise NotImplementedError("relu_backward is still to be written")


def dense_forward(x, w, b):
    """x (N,D), w (D,K), b (K,) -> y (N,K) = x w + b."""
    # Your code: about 1 line.
    raise NotImplementedError("dense_forward is still to be written")


def dense_backward(dy, x, w):
    """dy (N,K), x (N,D), w (D,K) -> dx (N,D), dw (D,K), db (K,)."""
    # Your code: about 4 lines.
    raise NotImplementedError("dense_backward is still to be written")
