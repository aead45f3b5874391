"""Lesson 01, Scores to loss: how wrong are the scores, and which way should each of them move?"""

import numpy as np


def softmax(z):
    """Scores z (N,K) -> probabilities (N,K): each row positive, and adding up to 1."""
    # BEGIN ANSWER
    e = np.exp(z - z.max(axis=1, keepdims=True))  # the largest becomes exp(0) = 1: nothing overflows
    return e / e.sum(axis=1, keepdims=True)
    # END ANSWER


def prepare(z, target, class_weight, label_smoothing):
    """Given: what should come out, q (N,K), and how much each picture counts, a (N,1).

    Plainly, row n of q is 1 at the right class target[n] and 0 elsewhere, and each a[n] is 1/N. Label smoothing moves a
    little of q to the other classes, class weights let pictures of rare classes count more; a always adds up to 1."""
    t = np.eye(z.shape[1], dtype=z.dtype)[target] if target.ndim == 1 else target
    q = (1 - label_smoothing) * t + label_smoothing / z.shape[1]
    a = t @ class_weight
    return q.astype(z.dtype), (a / a.sum()).astype(z.dtype)[:, None]


def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    """Scores z (N,K), right classes target (N,) -> loss, a number, and dz (N,K), its gradient."""
    q, a = prepare(z, target, class_weight, label_smoothing)
    # BEGIN ANSWER
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # never the logarithm of a rounded p
    loss = -(a * q * log_p).sum()
    dz = a * (np.exp(log_p) - q)
    return loss, dz
    # END ANSWER
