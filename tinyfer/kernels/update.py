"""Optimizer steps: one pass over flat arrays, every number read and written once."""

import numba
import numpy as np

from tinyfer.kernels.compile import FASTMATH, kernel


@kernel(parallel=True, fastmath=FASTMATH)
def _sgd(w, g, v, lr, momentum, now, weight_decay):
    """v = momentum v + g'; w -= lr (now g' + (momentum or 1) v): both forms of momentum in one body."""
    push = momentum if now > 0 else w.dtype.type(1)
    for i in numba.prange(w.size):
        decayed = g[i] + weight_decay * w[i]
        v[i] = momentum * v[i] + decayed
        w[i] -= lr * (now * decayed + push * v[i])


def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    """Twin of reference.sgd_update, in place on flat w and v."""
    f = w.dtype.type
    _sgd(w, g, v, f(lr), f(momentum), f(1 if nesterov else 0), f(weight_decay))


@kernel(parallel=True, fastmath=FASTMATH)
def _adam(w, g, m, v, lr, b1, b2, one_b1, one_b2, correct1, correct2, eps, weight_decay):
    for i in numba.prange(w.size):
        m[i] = b1 * m[i] + one_b1 * g[i]
        v[i] = b2 * v[i] + one_b2 * g[i] * g[i]
        w[i] -= lr * ((m[i] / correct1) / (np.sqrt(v[i] / correct2) + eps) + weight_decay * w[i])


def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    """Twin of reference.adam_update, in place on flat w, m, v; t = 1, 2, ... is the step's number."""
    f = w.dtype.type
    _adam(w, g, m, v, f(lr), f(b1), f(b2), f(1 - b1), f(1 - b2), f(1 - b1**t), f(1 - b2**t), f(eps), f(weight_decay))
