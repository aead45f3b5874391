"""Lesson 09, Dropout and seeds: chance makes the network robust, and it is the same chance in every run."""

import zlib

import numpy as np


def dropout_mask(shape, p, rng):
    """A shape, p, a np.random.Generator -> mask of that shape, float32: 0 with probability p, 1/(1-p) elsewhere."""
    # BEGIN ANSWER
    kept = rng.random(shape) >= p
    return (kept / (1 - p)).astype(np.float32)
    # END ANSWER


def dropout_forward(x, mask):
    """x and mask of one shape -> y of the same shape."""
    # BEGIN ANSWER
    return x * mask
    # END ANSWER


def dropout_backward(dy, mask):
    """dy and mask of one shape -> dx of the same shape."""
    # BEGIN ANSWER
    return dy * mask
    # END ANSWER


def dropout(x, p, rng, train):
    """x of any shape, p, a Generator, True in training -> y like x, and backward, a function: backward(dy) -> dx."""
    # BEGIN ANSWER
    if not train:
        return x.copy(), lambda dy: dy.copy()
    mask = dropout_mask(x.shape, p, rng)

    def backward(dy):
        return dropout_backward(dy, mask)

    return dropout_forward(x, mask), backward
    # END ANSWER


def generator(seed, purpose, epoch, step):
    """seed, epoch, step: 0, 1, 2 ..., purpose: a word -> np.random.Generator, the same whenever these four are."""
    # BEGIN ANSWER
    word = zlib.crc32(purpose.encode())  # a number for the word, the same in every Python
    return np.random.default_rng([seed, word, epoch, step])
    # END ANSWER
