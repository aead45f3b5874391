"""Lesson 09, Dropout and seeds: chance makes the network robust, and it is the same chance in every run."""

import zlib

import numpy as np


def dropout_mask(shape, p, rng):
    """A shape, p, a np.random.Generator -> mask of that shape, float32: 0 with probability p, 1/(1-p) elsewhere."""
    # Your code: about 2 lines.
    raise NotImplementedError("dropout_mask is still to be written")


def dropout_forward(x, mask):
    """x and mask of one shape -> y of the same shape."""
    # Your code: about 1 line.
    raise NotImplementedError("dropout_forward is still to be written")


def dropout_backward(dy, mask):
    """dy and mask of one shape -> dx of the same shape."""
    # Your code: about 1 line.
    raise NotImplementedError("dropout_backward is still to be written")


def dropout(x, p, rng, train):
    """x of any shape, p, a Generator, True in training -> y like x, and backward, a function: backward(dy) -> dx."""
    # Your code: about 6 lines.
    raise NotImplementedError("dropout is still to be written")


def generator(seed, purpose, epoch, step):
    """seed, epoch, step: 0, 1, 2 ..., purpose: a word -> np.random.Generator, the same whenever these four are."""
    # Your code: about 2 lines.
    raise NotImplementedError("generator is still to be written")
