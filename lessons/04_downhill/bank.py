"""Lesson 04: what students write."""

import numba
import numpy as np


# %% wrong: w gets a new array
# looks like: w is unchanged: the update must write in place
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = g + weight_decay * w
    v[...] = momentum * v + g
    w = w - lr * (g + momentum * v if nesterov else v)


# %% wrong: v gets a new array
# looks like: v is unchanged: the update must write in place
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = g + weight_decay * w
    v = momentum * v + g
    w -= lr * (g + momentum * v if nesterov else v)


# %% wrong: writes into the gradient
# looks like: it writes into g, which belongs to the caller
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g += weight_decay * w
    v[...] = momentum * v + g
    w -= lr * (g + momentum * v if nesterov else v)


# %% wrong: uphill
# looks like: the step goes uphill
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = g + weight_decay * w
    v[...] = momentum * v + g
    w += lr * (g + momentum * v if nesterov else v)


# %% wrong: the gradient is damped, as in Adam
# looks like: damped by 1 - momentum
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = g + weight_decay * w
    v[...] = momentum * v + (1 - momentum) * g
    w -= lr * (g + momentum * v if nesterov else v)


# %% wrong: the velocity holds the learning rate
# looks like: the learning rate is inside v
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = g + weight_decay * w
    v[...] = momentum * v + lr * g
    w -= lr * g + momentum * v if nesterov else v


# %% wrong: the velocity points downhill
# looks like: v points downhill
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = g + weight_decay * w
    v[...] = momentum * v - lr * g
    w += momentum * v - lr * g if nesterov else v


# %% wrong: moves first, and brings v up to date afterwards
# looks like: the step uses the old v
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = g + weight_decay * w
    w -= lr * (g + momentum * v if nesterov else v)
    v[...] = momentum * v + g


# %% wrong: Nesterov is left out
# looks like: Nesterov's look-ahead is missing
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    v[...] = momentum * v + g + weight_decay * w
    w -= lr * v


# %% wrong: Nesterov looks ahead with the old v
# looks like: or uses the old v
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = g + weight_decay * w
    old = v.copy()
    v[...] = momentum * v + g
    w -= lr * (g + momentum * old if nesterov else v)


# %% wrong: Nesterov takes the momentum twice
# looks like: momentum counts twice
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    g = g + weight_decay * w
    v[...] = momentum * v + g
    w -= lr * (g + momentum**2 * v if nesterov else v)


# %% wrong: weight decay is left out
# looks like: the weight decay is ignored
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    v[...] = momentum * v + g
    w -= lr * (g + momentum * v if nesterov else v)


# %% wrong: weight decay goes past the velocity
# looks like: the weight decay is missing in v
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    v[...] = momentum * v + g
    w -= lr * ((g + momentum * v if nesterov else v) + weight_decay * w)


# %% wrong: Nesterov without the weight decay in its second g
# looks like: missing in Nesterov's second g
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    v[...] = momentum * v + g + weight_decay * w
    w -= lr * (g + momentum * v if nesterov else v)


# %% wrong: no hats
# looks like: the bias corrections 1/\(1 - b\^t\) are missing
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    w -= lr * (m / (np.sqrt(v) + eps) + weight_decay * w)


# %% wrong: the hats are stored
# looks like: mhat is stored in m
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    m /= 1 - b1**t
    v /= 1 - b2**t
    w -= lr * (m / (np.sqrt(v) + eps) + weight_decay * w)


# %% wrong: a hat for m only
# looks like: the bias correction of v is missing
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    w -= lr * (m / (1 - b1**t) / (np.sqrt(v) + eps) + weight_decay * w)


# %% wrong: eps under the root
# looks like: eps is inside the root
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    mhat, vhat = m / (1 - b1**t), v / (1 - b2**t)
    w -= lr * (mhat / np.sqrt(vhat + eps) + weight_decay * w)


# %% wrong: no root
# looks like: the root is missing
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    mhat, vhat = m / (1 - b1**t), v / (1 - b2**t)
    w -= lr * (mhat / (vhat + eps) + weight_decay * w)


# %% wrong: counts steps from 0
# looks like: 1 is added to t
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    mhat, vhat = m / (1 - b1 ** (t + 1)), v / (1 - b2 ** (t + 1))
    w -= lr * (mhat / (np.sqrt(vhat) + eps) + weight_decay * w)


# %% wrong: b without the power of t
# looks like: t is ignored in the bias correction
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    mhat, vhat = m / (1 - b1), v / (1 - b2)
    w -= lr * (mhat / (np.sqrt(vhat) + eps) + weight_decay * w)


# %% wrong: the step first, then the decay of the new w
# looks like: the decay uses the new w
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    mhat, vhat = m / (1 - b1**t), v / (1 - b2**t)
    w -= lr * mhat / (np.sqrt(vhat) + eps)
    w -= lr * weight_decay * w


# %% wrong: weight decay through the gradient, as in the first Adam
# looks like: here it is decoupled
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    g = g + weight_decay * w
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    mhat, vhat = m / (1 - b1**t), v / (1 - b2**t)
    w -= lr * mhat / (np.sqrt(vhat) + eps)


# %% wrong: the gradient is not squared
# looks like: the gradient is not squared
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g
    mhat, vhat = m / (1 - b1**t), v / (1 - b2**t)
    w -= lr * (mhat / (np.sqrt(vhat) + eps) + weight_decay * w)


# %% wrong: b1 * t for b1 ** t
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    mhat, vhat = m / (1 - b1 * t), v / (1 - b2 * t)
    w -= lr * (mhat / (np.sqrt(np.abs(vhat)) + eps) + weight_decay * w)


# %% wrong: 1 - b1 is forgotten
# looks like: 1 - b is missing in m:
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m[...] = b1 * m + g
    v[...] = b2 * v + (1 - b2) * g**2
    mhat, vhat = m / (1 - b1**t), v / (1 - b2**t)
    w -= lr * (mhat / (np.sqrt(vhat) + eps) + weight_decay * w)


# %% wrong: a list of its own for the means
# looks like: is the result ever written
MEANS = {}


def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    mean, square = MEANS.get(w.size, (np.zeros_like(w), np.zeros_like(w)))
    mean, square = b1 * mean + (1 - b1) * g, b2 * square + (1 - b2) * g * g
    MEANS[w.size] = mean, square
    w -= lr * (mean / (1 - b1**t) / (np.sqrt(square / (1 - b2**t)) + eps) + weight_decay * w)


# %% right: loops
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    for i in range(len(w)):
        slope = g[i] + weight_decay * w[i]
        v[i] = momentum * v[i] + slope
        if nesterov:
            w[i] -= lr * (slope + momentum * v[i])
        else:
            w[i] -= lr * v[i]


def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    for i in range(len(w)):
        m[i] = b1 * m[i] + (1 - b1) * g[i]
        v[i] = b2 * v[i] + (1 - b2) * g[i] ** 2
        step = m[i] / (1 - b1**t) / (np.sqrt(v[i] / (1 - b2**t)) + eps)
        w[i] -= lr * (step + weight_decay * w[i])


# %% right: vectorised, in place throughout
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    slope = g + weight_decay * w
    v *= momentum
    v += slope
    w -= lr * (slope + momentum * v) if nesterov else lr * v


def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    m += (1 - b1) * (g - m)
    v += (1 - b2) * (g**2 - v)
    w *= 1 - lr * weight_decay
    w -= lr / (1 - b1**t) * m / (np.sqrt(v) / np.sqrt(1 - b2**t) + eps)


# %% right: njit
@numba.njit
def sgd_update(w, g, v, lr, momentum, nesterov, weight_decay):
    for i in range(w.size):
        slope = g[i] + weight_decay * w[i]
        v[i] = momentum * v[i] + slope
        w[i] -= lr * (slope + momentum * v[i] if nesterov else v[i])


@numba.njit
def adam_update(w, g, m, v, t, lr, b1, b2, eps, weight_decay):
    first, second = 1 - b1**t, 1 - b2**t
    for i in range(w.size):
        m[i] = b1 * m[i] + (1 - b1) * g[i]
        v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i]
        w[i] -= lr * (m[i] / first / (np.sqrt(v[i] / second) + eps) + weight_decay * w[i])
