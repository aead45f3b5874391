"""Lesson 07: what students write."""

import numba
import numpy as np


def windows(x, size, stride):
    """(N,P,Q,C,size*size): the pixels of each window in a row."""
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]
    return view.reshape(*view.shape[:4], size * size)


def places(dy):
    return np.ndindex(dy.shape)


# %% wrong: the best so far begins at 0
# looks like: negative windows give 0
def maxpool_forward(x, size, stride):
    rows, columns = (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
    y = np.zeros((len(x), rows, columns, x.shape[3]), x.dtype)
    index = np.zeros(y.shape, np.uint8)
    for n, p, q, c in np.ndindex(y.shape):
        for i in range(size):
            for j in range(size):
                if x[n, p * stride + i, q * stride + j, c] > y[n, p, q, c]:
                    y[n, p, q, c], index[n, p, q, c] = x[n, p * stride + i, q * stride + j, c], i * size + j
    return y, index


# %% wrong: >= lets the last of equals win
# looks like: the last of equal values wins
def maxpool_forward(x, size, stride):
    rows, columns = (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
    y = np.zeros((len(x), rows, columns, x.shape[3]), x.dtype)
    index = np.zeros(y.shape, np.uint8)
    for n, p, q, c in np.ndindex(y.shape):
        best = -np.inf
        for i in range(size):
            for j in range(size):
                if x[n, p * stride + i, q * stride + j, c] >= best:
                    best, index[n, p, q, c] = x[n, p * stride + i, q * stride + j, c], i * size + j
        y[n, p, q, c] = best
    return y, index


# %% wrong: the winner's number is j*size + i
# looks like: rows and columns are swapped: the winner is number i\*size \+ j
def maxpool_forward(x, size, stride):
    taps = windows(x, size, stride)
    index = taps.argmax(-1)
    return taps.max(-1), (index % size * size + index // size).astype(np.uint8)


# %% wrong: the winner's place in the picture
# looks like: the winner's place in the whole picture
def maxpool_forward(x, size, stride):
    taps = windows(x, size, stride)
    index = taps.argmax(-1)
    p, q = np.arange(taps.shape[1])[:, None, None], np.arange(taps.shape[2])[:, None]
    row, column = p * stride + index // size, q * stride + index % size
    return taps.max(-1), (row * x.shape[2] + column).astype(np.uint8)


# %% wrong: i*stride + j
# looks like: counted by the stride
def maxpool_forward(x, size, stride):
    taps = windows(x, size, stride)
    index = taps.argmax(-1)
    return taps.max(-1), (index // size * stride + index % size).astype(np.uint8)


# %% wrong: a NaN never wins
# looks like: a comparison with NaN is false
def maxpool_forward(x, size, stride):
    taps = windows(np.where(np.isnan(x), -np.inf, x).astype(x.dtype), size, stride)
    return taps.max(-1), taps.argmax(-1).astype(np.uint8)


# %% wrong: of several NaN the last wins
# looks like: the first NaN of a window wins
def maxpool_forward(x, size, stride):
    rows, columns = (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
    y = np.zeros((len(x), rows, columns, x.shape[3]), x.dtype)
    index = np.zeros(y.shape, np.uint8)
    for n, p, q, c in np.ndindex(y.shape):
        best = x[n, p * stride, q * stride, c]
        for i in range(size):
            for j in range(size):
                value = x[n, p * stride + i, q * stride + j, c]
                if value > best or np.isnan(value):
                    best, index[n, p, q, c] = value, i * size + j
        y[n, p, q, c] = best
    return y, index


# %% wrong: the mean of the window
# looks like: this is the average of the window
def maxpool_forward(x, size, stride):
    taps = windows(x, size, stride)
    return taps.mean(-1), taps.argmax(-1).astype(np.uint8)


# %% wrong: one winner for all channels
# looks like: one maximum for all channels
def maxpool_forward(x, size, stride):
    y, index = solved(np.broadcast_to(x.max(-1, keepdims=True), x.shape), size, stride)
    return y, index


def solved(x, size, stride):
    taps = windows(x, size, stride)
    return taps.max(-1), taps.argmax(-1).astype(np.uint8)


# %% wrong: the window moves by its size, whatever the stride
# looks like: height and width are floor
def maxpool_forward(x, size, stride):
    taps = windows(x, size, size)
    return taps.max(-1), taps.argmax(-1).astype(np.uint8)


# %% wrong: the stride is forgotten in the index of x
# looks like: the stride is ignored
def maxpool_forward(x, size, stride):
    rows, columns = (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
    taps = windows(x, size, 1)[:, :rows, :columns]
    return taps.max(-1), taps.argmax(-1).astype(np.uint8)


# %% wrong: a last window that is not full counts too
# looks like: a window that is not full is no window
def maxpool_forward(x, size, stride):
    short = [-(length - size) % stride for length in x.shape[1:3]]
    wide = np.pad(x, ((0, 0), (0, short[0]), (0, short[1]), (0, 0)), constant_values=-np.inf)
    taps = windows(wide, size, stride)
    return taps.max(-1), taps.argmax(-1).astype(np.uint8)


# %% wrong: the index is left in int64
# looks like: index holds small whole numbers
def maxpool_forward(x, size, stride):
    taps = windows(x, size, stride)
    return taps.max(-1), taps.argmax(-1)


# %% wrong: y in float64
# looks like: np.zeros and np.empty make float64
def maxpool_forward(x, size, stride):
    taps = windows(x.astype(np.float64), size, stride)
    return taps.max(-1), taps.argmax(-1).astype(np.uint8)


# %% wrong: the index is not returned
def maxpool_forward(x, size, stride):
    return windows(x, size, stride).max(-1)


# %% wrong: '=' for '+=' where windows overlap
# looks like: where windows overlap the last one wins
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape, dy.dtype)
    for n, p, q, c in places(dy):
        i, j = divmod(int(index[n, p, q, c]), size)
        dx[n, p * stride + i, q * stride + j, c] = dy[n, p, q, c]
    return dx


# %% wrong: '+=' with arrays of places, which adds once
# looks like: where windows overlap the last one wins
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape, dy.dtype)
    n, p, q, c = np.indices(dy.shape)
    dx[n, p * stride + index // size, q * stride + index % size, c] += dy
    return dx


# %% wrong: every pixel of the window gets dy
# looks like: every pixel of the window gets the gradient
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape, dy.dtype)
    for n, p, q, c in places(dy):
        dx[n, p * stride : p * stride + size, q * stride : q * stride + size, c] += dy[n, p, q, c]
    return dx


# %% wrong: the gradient is shared out, as an average pool does
# looks like: the gradient is spread evenly
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape, dy.dtype)
    for n, p, q, c in places(dy):
        dx[n, p * stride : p * stride + size, q * stride : q * stride + size, c] += dy[n, p, q, c] / size**2
    return dx


# %% wrong: row and column of the winner swapped
# looks like: rows and columns of the index are swapped
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape, dy.dtype)
    for n, p, q, c in places(dy):
        j, i = divmod(int(index[n, p, q, c]), size)
        dx[n, p * stride + i, q * stride + j, c] += dy[n, p, q, c]
    return dx


# %% wrong: the index is divided by the stride
# looks like: the index is taken apart by the stride
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros((x_shape[0], x_shape[1] + 9, x_shape[2] + 9, x_shape[3]), dy.dtype)
    for n, p, q, c in places(dy):
        i, j = divmod(int(index[n, p, q, c]), stride)
        dx[n, p * stride + i, q * stride + j, c] += dy[n, p, q, c]
    return dx[:, : x_shape[1], : x_shape[2]].copy()


# %% wrong: the index is added as it comes, in uint8
# looks like: make it an int before you add
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape, dy.dtype)
    for n, p, q, c in places(dy):
        i, j = index[n, p, q, c] // size, index[n, p, q, c] % size
        dx[n, p * stride + i, q * stride + j, c] += dy[n, p, q, c]
    return dx


# %% wrong: the stride is forgotten on the way back
# looks like: the stride is ignored
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape, dy.dtype)
    for n, p, q, c in places(dy):
        i, j = divmod(int(index[n, p, q, c]), size)
        dx[n, p + i, q + j, c] += dy[n, p, q, c]
    return dx


# %% wrong: dx is as large as the windows, not as x
# looks like: the rows and columns that filled no window belong
def maxpool_backward(dy, index, x_shape, size, stride):
    n, rows, columns, c = dy.shape
    dx = np.zeros((n, (rows - 1) * stride + size, (columns - 1) * stride + size, c), dy.dtype)
    for n, p, q, c in places(dy):
        i, j = divmod(int(index[n, p, q, c]), size)
        dx[n, p * stride + i, q * stride + j, c] += dy[n, p, q, c]
    return dx


# %% wrong: dx in float64
# looks like: np.zeros and np.empty make float64
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape)
    for n, p, q, c in places(dy):
        i, j = divmod(int(index[n, p, q, c]), size)
        dx[n, p * stride + i, q * stride + j, c] += dy[n, p, q, c]
    return dx


# %% right: loops over windows, NumPy inside
def maxpool_forward(x, size, stride):
    pictures, height, width, channels = x.shape
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    y = np.empty((pictures, rows, columns, channels), x.dtype)
    index = np.empty(y.shape, np.uint8)
    for n, p, q, c in np.ndindex(y.shape):
        window = x[n, p * stride : p * stride + size, q * stride : q * stride + size, c]
        index[n, p, q, c] = window.argmax()
        y[n, p, q, c] = window.max()
    return y, index


# %% right: vectorised
def maxpool_forward(x, size, stride):
    taps = windows(x, size, stride)
    return taps.max(-1), taps.argmax(-1).astype(np.uint8)


def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape, dy.dtype)
    n, p, q, c = np.indices(dy.shape)
    np.add.at(dx, (n, p * stride + index // size, q * stride + index % size, c), dy)
    return dx


# %% right: njit, channels innermost
@numba.njit
def maxpool_forward(x, size, stride):
    rows, columns = (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
    y = np.empty((x.shape[0], rows, columns, x.shape[3]), x.dtype)
    index = np.zeros(y.shape, np.uint8)
    for n in range(x.shape[0]):
        for p in range(rows):
            for q in range(columns):
                for c in range(x.shape[3]):
                    y[n, p, q, c] = x[n, p * stride, q * stride, c]
                for tap in range(size * size):
                    for c in range(x.shape[3]):
                        value, best = x[n, p * stride + tap // size, q * stride + tap % size, c], y[n, p, q, c]
                        if value > best or (value != value and best == best):
                            y[n, p, q, c], index[n, p, q, c] = value, tap
    return y, index


@numba.njit
def maxpool_backward(dy, index, x_shape, size, stride):
    dx = np.zeros(x_shape, dy.dtype)
    for n in range(dy.shape[0]):
        for p in range(dy.shape[1]):
            for q in range(dy.shape[2]):
                for c in range(dy.shape[3]):
                    tap = int(index[n, p, q, c])
                    dx[n, p * stride + tap // size, q * stride + tap % size, c] += dy[n, p, q, c]
    return dx
