"""Lesson 01: what students write."""

import numba
import numpy as np


# %% wrong: exp of the scores as they are
# looks like: exp overflows
def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    p = softmax(z)
    return -(a * q * np.log(p)).sum(), a * (p - q)


# %% wrong: the logarithm of a stable softmax
# looks like: logarithm of a probability that was rounded to 0
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    p = softmax(z)
    return -(a * q * np.log(p)).sum(), a * (p - q)


# %% wrong: log(p + 1e-12)
# looks like: something small is added inside the logarithm
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    p = softmax(z)
    return -(a * q * np.log(p + 1e-12)).sum(), a * (p - q)


# %% wrong: subtracts the largest score of the whole array
# looks like: largest score of the whole array
def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum(axis=1, keepdims=True)


def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    shifted = z - z.max()
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(a * q * log_p).sum(), a * (np.exp(log_p) - q)


# %% wrong: the sum over the batch in place of the mean
# looks like: sum over the batch is given where the mean
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(q * log_p).sum(), np.exp(log_p) - q


# %% wrong: the gradient is not divided by N
# looks like: dz lacks the factor a\[n\]
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(a * q * log_p).sum(), np.exp(log_p) - q


# %% wrong: the gradient is p, without the target
# looks like: the target is not subtracted
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(a * q * log_p).sum(), a * np.exp(log_p)


# %% wrong: the gradient points the other way, q - p
# looks like: the sign is wrong
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(a * q * log_p).sum(), a * (q - np.exp(log_p))


# %% wrong: the minus before the loss is forgotten
# looks like: the sign is wrong
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return (a * q * log_p).sum(), a * (np.exp(log_p) - q)


# %% wrong: softmax along the batch
# looks like: normalised over the batch
def softmax(z):
    e = np.exp(z - z.max(axis=0, keepdims=True))
    return e / e.sum(axis=0, keepdims=True)


# %% wrong: softmax over the whole array
# looks like: normalised over the whole array
def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


# %% wrong: the logarithm to the base 2
# looks like: to the base 2
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(a * q * log_p).sum() / np.log(2), a * (np.exp(log_p) - q)


# %% wrong: subtracts the largest score in place
# looks like: it writes into z, which belongs to the caller
def softmax(z):
    z -= z.max(axis=1, keepdims=True)
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


# %% wrong: forgets keepdims
# looks like: keepdims=True
def softmax(z):
    e = np.exp(z - z.max(axis=1))
    return e / e.sum(axis=1)


# %% wrong: uses the target alone, not q
# looks like: label smoothing is ignored|class weights are ignored
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, 0.0)
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(a * q * log_p).sum(), a * (np.exp(log_p) - q)


# %% wrong: the mean over all N x K products
# looks like: mean\(\) also divided by K
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.mean(q * log_p), a * (np.exp(log_p) - q)


# %% wrong: the mean of products that a is in already
# looks like: a holds 1/N already
def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(a * q * log_p).mean(), a * (np.exp(log_p) - q)


# %% right: loops
def softmax(z):
    p = np.zeros_like(z)
    for n in range(len(z)):
        total = 0.0
        for k in range(z.shape[1]):
            p[n, k] = np.exp(z[n, k] - z[n].max())
            total += p[n, k]
        p[n] /= total
    return p


def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    loss, dz = 0.0, np.zeros_like(z)
    for n in range(len(z)):
        largest = max(z[n])
        log_sum = np.log(sum(np.exp(score - largest) for score in z[n]))
        for k in range(z.shape[1]):
            log_p = z[n, k] - largest - log_sum
            loss -= a[n, 0] * q[n, k] * log_p
            dz[n, k] = a[n, 0] * (np.exp(log_p) - q[n, k])
    return loss, dz


# %% right: vectorised, with logaddexp
def softmax(z):
    return np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))


def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    return (a * q * -log_p).sum(), a * (np.exp(log_p) - q)


# %% right: njit
@numba.njit
def softmax(z):
    p = np.empty_like(z)
    for n in range(z.shape[0]):
        p[n] = np.exp(z[n] - z[n].max())
        p[n] /= p[n].sum()
    return p


@numba.njit
def core(z, q, a):
    loss, dz = 0.0, np.empty_like(z)
    for n in range(z.shape[0]):
        shifted = z[n] - z[n].max()
        log_p = shifted - np.log(np.exp(shifted).sum())
        loss -= a[n, 0] * (q[n] * log_p).sum()
        dz[n] = a[n, 0] * (np.exp(log_p) - q[n])
    return loss, dz


def softmax_cross_entropy(z, target, class_weight, label_smoothing):
    q, a = prepare(z, target, class_weight, label_smoothing)
    return core(z, q, a)
