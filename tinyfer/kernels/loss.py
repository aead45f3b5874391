"""Softmax and cross-entropy: a few thousand numbers a step, so one thread and plain loops; sums in float64."""

import math

import numpy as np

from tinyfer.kernels.compile import kernel
from tinyfer.reference import soft_targets


@kernel
def _log_softmax(z):
    """Logits z (N,K) -> log probabilities (N,K), each row shifted by its largest logit first."""
    log_p = np.empty_like(z)
    for n in range(z.shape[0]):
        top = z[n, 0]
        for k in range(1, z.shape[1]):
            top = z[n, k] if z[n, k] > top or z[n, k] != z[n, k] else top
        total = 0.0
        for k in range(z.shape[1]):
            total += math.exp(np.float64(z[n, k] - top))
        log_total = z.dtype.type(math.log(total))
        for k in range(z.shape[1]):
            log_p[n, k] = z[n, k] - top - log_total
    return log_p


def softmax(z):
    """Twin of reference.softmax: logits z (N,K) -> probabilities (N,K)."""
    return np.exp(_log_softmax(z))


@kernel
def _cross_entropy(z, t, class_weight, label_smoothing):
    classes = z.shape[1]
    log_p, dz = _log_softmax(z), np.empty_like(z)
    weights = np.zeros(len(z), np.float64)
    for n in range(len(z)):
        for k in range(classes):
            weights[n] += np.float64(t[n, k]) * np.float64(class_weight[k])
    total, loss = weights.sum(), 0.0
    for n in range(len(z)):
        share, mass = weights[n] / total, 0.0
        for k in range(classes):
            mass += (1 - label_smoothing) * t[n, k] + label_smoothing / classes
        for k in range(classes):
            q = (1 - label_smoothing) * t[n, k] + label_smoothing / classes
            loss -= share * q * log_p[n, k]
            dz[n, k] = share * (math.exp(np.float64(log_p[n, k])) * mass - q)
    return z.dtype.type(loss), dz


def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    """Twin of reference.softmax_cross_entropy: logits z (N,K) -> loss (a number), dz (N,K)."""
    return _cross_entropy(z, soft_targets(target, z.shape[1], z.dtype), class_weight, label_smoothing)
