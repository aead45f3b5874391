"""Lesson 09: what students write."""

import hashlib
import zlib

import numba
import numpy as np


# %% wrong: p is the share that is kept
# looks like: p is the share that is dropped
def dropout_mask(shape, p, rng):
    return ((rng.random(shape) < p) / (1 - p)).astype(np.float32)


# %% wrong: not scaled
# looks like: what is kept is not scaled
def dropout_mask(shape, p, rng):
    return (rng.random(shape) >= p).astype(np.float32)


# %% wrong: scaled by 1/p
# looks like: divided by p
def dropout_mask(shape, p, rng):
    return ((rng.random(shape) >= p) / p if p else np.ones(shape)).astype(np.float32)


# %% wrong: multiplied by 1 - p
# looks like: multiplied by 1 - p
def dropout_mask(shape, p, rng):
    return ((rng.random(shape) >= p) * (1 - p)).astype(np.float32)


# %% wrong: from NumPy's global state
# looks like: the numbers come from elsewhere
def dropout_mask(shape, p, rng):
    return ((np.random.rand(*shape) >= p) / (1 - p)).astype(np.float32)  # noqa: NPY002


# %% wrong: a fresh generator without a seed
# looks like: the numbers come from elsewhere
def dropout_mask(shape, p, rng):
    return ((np.random.default_rng().random(shape) >= p) / (1 - p)).astype(np.float32)


# %% wrong: a fresh generator with seed 0
# looks like: rng is not used
def dropout_mask(shape, p, rng):
    return ((np.random.default_rng(0).random(shape) >= p) / (1 - p)).astype(np.float32)


# %% wrong: one mask for all pictures
# looks like: drawn for a part of the shape and repeated
def dropout_mask(shape, p, rng):
    one = (rng.random(shape[1:]) >= p) / (1 - p)
    return np.broadcast_to(one, shape).astype(np.float32)


# %% wrong: a mask of bools
# looks like: .astype\(np.float32\)
def dropout_mask(shape, p, rng):
    return rng.random(shape) >= p


# %% wrong: the mask in float64
# looks like: .astype\(np.float32\)
def dropout_mask(shape, p, rng):
    return (rng.random(shape) >= p) / (1 - p)


# %% wrong: forward takes the mask for yes and no
# looks like: not scaled by 1/\(1-p\)
def dropout_forward(x, mask):
    return np.where(mask > 0, x, x.dtype.type(0))


# %% wrong: forward in place
# looks like: it writes into x
def dropout_forward(x, mask):
    x *= mask
    return x


# %% wrong: forward keeps what it should drop
# looks like: the wrong ones are dropped
def dropout_forward(x, mask):
    return np.where(mask > 0, x.dtype.type(0), x * mask.max())


# %% wrong: backward lets everything through
# looks like: nothing is dropped
def dropout_backward(dy, mask):
    return dy.copy()


# %% wrong: backward without the factor
# looks like: not scaled by 1/\(1-p\)
def dropout_backward(dy, mask):
    return dy * (mask > 0).astype(dy.dtype)


# %% wrong: backward divides by the mask
# looks like: division by zero
def dropout_backward(dy, mask):
    with np.errstate(all="ignore"):
        return dy / mask


# %% wrong: backward draws a new mask
# looks like: backward draws a mask of its own
def dropout(x, p, rng, train):
    if not train:
        return x, lambda dy: dy
    return x * dropout_mask(x.shape, p, rng), lambda dy: dy * dropout_mask(dy.shape, p, rng)


# %% wrong: evaluation is scaled by 1 - p
# looks like: scaled by 1 - p
def dropout(x, p, rng, train):
    if not train:
        keep = x.dtype.type(1 - p)
        return x * keep, lambda dy: dy * keep
    mask = dropout_mask(x.shape, p, rng)
    return x * mask, lambda dy: dy * mask


# %% wrong: drops at evaluation, too
# looks like: still dropping
def dropout(x, p, rng, train):
    mask = dropout_mask(x.shape, p, rng)
    return x * mask, lambda dy: dy * mask


# %% wrong: train asked the wrong way round
# looks like: nothing is dropped
def dropout(x, p, rng, train):
    if train:
        return x.copy(), lambda dy: dy.copy()
    mask = dropout_mask(x.shape, p, rng)
    return x * mask, lambda dy: dy * mask


# %% wrong: evaluation draws a mask that it does not use
# looks like: draw nothing
def dropout(x, p, rng, train):
    mask = dropout_mask(x.shape, p, rng)
    if not train:
        mask = np.ones(x.shape, x.dtype)
    return dropout_forward(x, mask), lambda dy: dropout_backward(dy, mask)


# %% wrong: the mask is returned, and not a function
# looks like: backward is a function that is defined inside
def dropout(x, p, rng, train):
    mask = dropout_mask(x.shape, p, rng) if train else np.ones(x.shape, x.dtype)
    return x * mask, mask


# %% wrong: backward works on dy itself
# looks like: dy belongs to the caller
def dropout(x, p, rng, train):
    mask = dropout_mask(x.shape, p, rng) if train else np.ones(x.shape, x.dtype)

    def backward(dy):
        dy *= mask
        return dy

    return x * mask, backward


# %% wrong: hash for a number of the word
# looks like: of a word is another number in every Python
def generator(seed, purpose, epoch, step):
    return np.random.default_rng([seed, hash(purpose) % 2**32, epoch, step])


# %% wrong: hash of a text of all four
# looks like: of a word is another number in every Python
def generator(seed, purpose, epoch, step):
    return np.random.default_rng(abs(hash(f"{seed} {purpose} {epoch} {step}")))


# %% wrong: everything added up
# looks like: the numbers are added up
def generator(seed, purpose, epoch, step):
    return np.random.default_rng(seed + zlib.crc32(purpose.encode()) + epoch + step)


# %% wrong: the digits in a row
# looks like: the digits are written one after the other
def generator(seed, purpose, epoch, step):
    return np.random.default_rng([zlib.crc32(purpose.encode()), int(f"{seed}{epoch}{step}")])


# %% wrong: epoch * 10 + step
# looks like: the numbers are reckoned into one
def generator(seed, purpose, epoch, step):
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), 10 * epoch + step])


# %% wrong: epoch * 100 + step, which meet from 100 steps on
# looks like: the numbers are reckoned into one
def generator(seed, purpose, epoch, step):
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), 100 * epoch + step])


# %% wrong: epoch * 1000 + step, which is enough for one data set
# looks like: the numbers are reckoned into one
def generator(seed, purpose, epoch, step):
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), 1000 * epoch + step])


# %% wrong: the length of the word
# looks like: two words count alike
def generator(seed, purpose, epoch, step):
    return np.random.default_rng([seed, len(purpose), epoch, step])


# %% wrong: the purpose is forgotten
# looks like: purpose does not count
def generator(seed, purpose, epoch, step):
    return np.random.default_rng([seed, epoch, step])


# %% wrong: NumPy's global state is seeded
# looks like: one state for everybody
def generator(seed, purpose, epoch, step):
    np.random.seed(seed + epoch + step)  # noqa: NPY002
    return np.random


# %% wrong: one generator that goes on
# looks like: a generator that is kept and goes on
KEPT = {}


def generator(seed, purpose, epoch, step):
    return KEPT.setdefault((seed, purpose), np.random.default_rng([seed, zlib.crc32(purpose.encode())]))


# %% wrong: no seed at all
# looks like: an unseeded default_rng
def generator(seed, purpose, epoch, step):
    return np.random.default_rng()


# %% right: loops
def dropout_mask(shape, p, rng):
    mask = np.zeros(shape, np.float32)
    for i in np.ndindex(shape):
        if rng.random() < 1 - p:
            mask[i] = 1 / (1 - p)
    return mask


def dropout_forward(x, mask):
    y = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        y[i] = x[i] * mask[i]
    return y


def dropout_backward(dy, mask):
    dx = np.zeros_like(dy)
    for i in np.ndindex(dy.shape):
        dx[i] = dy[i] * mask[i]
    return dx


# %% right: vectorised, with the engine's spawn keys
def dropout_mask(shape, p, rng):
    return np.where(rng.random(shape, np.float32) < p, np.float32(0), np.float32(1 / (1 - p)))


def dropout(x, p, rng, train):
    mask = dropout_mask(x.shape, p, rng) if train else np.ones(x.shape, x.dtype)
    return dropout_forward(x, mask), lambda dy: dropout_backward(dy, mask)


def generator(seed, purpose, epoch, step):
    key = (zlib.crc32(purpose.encode()), epoch, step)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


# %% right: njit, and a digest of all four
@numba.njit
def dropout_forward(x, mask):
    y = np.empty_like(x)
    source, target, factor = x.reshape(-1), y.reshape(-1), mask.reshape(-1)
    for i in range(source.size):
        target[i] = source[i] * factor[i]
    return y


@numba.njit
def dropout_backward(dy, mask):
    return dropout_forward(dy, mask)


def generator(seed, purpose, epoch, step):
    digest = hashlib.sha256(f"{seed} {purpose} {epoch} {step}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
