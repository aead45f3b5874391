"""Classic mistakes in max-pooling and global average pooling."""

import numpy as np

from tinyfer import reference


def maxpool_forward(x, size, stride):
    y, index = reference.maxpool_forward(x, size, stride)
    low, low_index = reference.maxpool_forward(-x, size, stride)
    yield "y", "the smallest value is taken, not the largest", -low
    yield "index", "the smallest value's place is given, not the largest's", low_index
    taps = [x[:, i : i + stride * (y.shape[1] - 1) + 1 : stride, j : j + stride * (y.shape[2] - 1) + 1 : stride]
            for i in range(size) for j in range(size)]  # fmt: skip
    yield "y", "this is the average of the window, not its maximum", np.mean(taps, 0)
    yield "y", "negative windows give 0: start from the window's first value, not from 0", np.maximum(y, 0)
    yield "index", "rows and columns are swapped: the winner is number i*size + j", index % size * size + index // size
    last = size * size - 1 - np.stack(taps[::-1]).argmax(0)
    yield "index", "the last of equal values wins: the first one should", last.astype(np.uint8)
    highest = np.broadcast_to(y.max(3, keepdims=True), y.shape)
    yield "y", "one maximum for all channels: each channel has its own", highest
    i, j = index // size, index % size
    p, q = np.arange(y.shape[1])[:, None, None], np.arange(y.shape[2])[:, None]
    yield "index", "this is the winner's place in the whole picture: its number in the window is i*size + j", \
        ((p * stride + i) * x.shape[2] + q * stride + j).astype(np.uint8)  # fmt: skip
    yield "index", "counted by the stride: the winner is number i*size + j", i * np.uint8(stride) + j
    if stride > 1:
        near, near_index = (a[:, : y.shape[1], : y.shape[2]] for a in reference.maxpool_forward(x, size, 1))
        ignored = "the stride is ignored: window (p,q) begins at x[p*stride, q*stride]"
        yield "y", ignored, near
        yield "index", ignored, near_index


def maxpool_backward(dy, index, x_shape, size, stride):
    everyone = np.zeros(x_shape, dy.dtype)
    first = np.zeros(x_shape, dy.dtype)
    one = np.zeros(x_shape, dy.dtype)
    near = np.zeros(x_shape, dy.dtype)
    apart = np.zeros((x_shape[0], x_shape[1] + size * size, x_shape[2] + size * size, x_shape[3]), dy.dtype)
    for n, p, q, c in np.ndindex(dy.shape):
        i, j = divmod(int(index[n, p, q, c]), size)
        everyone[n, p * stride : p * stride + size, q * stride : q * stride + size, c] += dy[n, p, q, c]
        first[n, p * stride, q * stride, c] += dy[n, p, q, c]
        one[n, p * stride + i, q * stride + j, c] = dy[n, p, q, c]
        near[n, p + i, q + j, c] += dy[n, p, q, c]
        i, j = divmod(int(index[n, p, q, c]), stride)
        apart[n, p * stride + i, q * stride + j, c] += dy[n, p, q, c]
    yield "dx", "every pixel of the window gets the gradient: only the winner should", everyone
    yield "dx", "the gradient is spread evenly over the window: only the winner should get it", everyone / size**2
    yield "dx", "the first pixel of each window gets the gradient: the winner (index) should", first
    yield "dx", "where windows overlap the last one wins: '+=' belongs where '=' stands, one winner at a time", one
    yield "dx", "rows and columns of the index are swapped: it is i*size + j", \
        reference.maxpool_backward(dy, index % size * size + index // size, x_shape, size, stride)  # fmt: skip
    yield "dx", "the stride is ignored: window (p,q) begins at x[p*stride, q*stride]", near
    yield "dx", "the index is taken apart by the stride: it is i*size + j", apart[:, : x_shape[1], : x_shape[2]]


def global_avgpool_forward(x):
    yield "y", "this is the sum: divide by H*W", x.sum((1, 2))
    yield "y", "this is the maximum of each map: the mean is asked for", x.max((1, 2))
