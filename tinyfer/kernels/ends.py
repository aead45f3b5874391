"""What stands between and around the convolutions of a fused run: pooling, and the way in and out of it."""

import numba
import numpy as np

from tinyfer.kernels.compile import kernel
from tinyfer.kernels.tiles import call_finish, call_read


@kernel
def _pool_row(y, sign, pooled, index, start, row, out, width, channels):
    for p in range(width):
        a = y[start + 2 * p * channels : start + (2 * p + 1) * channels]
        b = y[start + (2 * p + 1) * channels : start + (2 * p + 2) * channels]
        c = y[start + row + 2 * p * channels : start + row + (2 * p + 1) * channels]
        d = y[start + row + (2 * p + 1) * channels : start + row + (2 * p + 2) * channels]
        best = pooled[out + p * channels : out + (p + 1) * channels]
        winner = index[out + p * channels : out + (p + 1) * channels]
        for k in range(channels):
            s = sign[k]
            v, tap = a[k] * s, 0
            # "not <=" instead of ">": a NaN among the later pixels wins; once one has won it stays (v == v fails).
            if not (b[k] * s <= v) and v == v:
                v, tap = b[k] * s, 1
            if not (c[k] * s <= v) and v == v:
                v, tap = c[k] * s, 2
            if not (d[k] * s <= v) and v == v:
                v, tap = d[k] * s, 3
            best[k], winner[k] = v * s, tap


@kernel(parallel=True)
def pool_raw(y, sign, pooled, index, n, height, width, channels):
    """2x2 max-pooling of what relu(scale * y + shift) will be, on raw y: the largest where scale >= 0 (sign 1), else
    the smallest (sign -1). pooled (n,height//2,width//2,C) raw values, index which of the four."""
    for line in numba.prange(n * (height // 2)):
        picture, p = line // (height // 2), line % (height // 2)
        _pool_row(y, sign, pooled, index, (picture * height + 2 * p) * width * channels, width * channels,
                  line * (width // 2) * channels, width // 2, channels)


@kernel(parallel=True)
def activate(a, s, q, out, pixels, channels):
    """relu(s * a + q), what the run hands on as a plain array."""
    for pixel in numba.prange(pixels):
        for c in range(channels):
            z = s[c] * a[pixel * channels + c] + q[c]
            out[pixel * channels + c] = a.dtype.type(0) if z < 0 else z


@kernel(parallel=True)
def average_head(a, s, q, w, b, y, pixels):
    """What a global average pooling and a dense layer, w (C,K) and b (K,), make of relu(s * a + q), a (N * pixels * C):
    y (N,K)."""
    channels, outputs = w.shape
    for picture in numba.prange(len(y)):
        mean = np.zeros(channels, np.float64)
        for pixel in range(picture * pixels, (picture + 1) * pixels):
            for c in range(channels):
                z = s[c] * a[pixel * channels + c] + q[c]
                mean[c] += a.dtype.type(0) if z < 0 else z
        answer = np.zeros(outputs, np.float64)
        for c in range(channels):
            for k in range(outputs):
                answer[k] += mean[c] / pixels * w[c, k]
        for k in range(outputs):
            y[picture, k] = answer[k] + b[k]


@kernel(parallel=True)
def mask_output(finish, chunks, dy, sink, pixels, channels):
    """The gradient dy that comes from above, masked by the last ReLU into the sink's y, and its sums, one row a chunk
    of pixels."""
    sums = sink[5]
    for chunk in numba.prange(chunks):
        first, last = chunk * pixels // chunks, (chunk + 1) * pixels // chunks
        for k in range(2 * channels):
            sums[chunk * 2 * channels + k] = 0
        call_finish(finish, (sink, dy, first * channels, first, last - first, channels, chunk))


@kernel(parallel=True)
def raw_gradient(workers, read, source, a_size, b_size, dy, n, pixels, outputs):
    """The gradient of a convolution's raw outputs as a plain array dy (n * pixels * K)."""
    for worker in numba.prange(workers):
        first, last = worker * n * pixels // workers, (worker + 1) * n * pixels // workers
        call_read(read, (source, a_size, b_size, first, last, pixels, outputs, dy, first * outputs, 0, outputs, 0,
                         outputs))
