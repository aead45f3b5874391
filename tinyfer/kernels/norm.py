"""Batch normalisation in two passes over memory each way: sums over chunks of rows, then one scale-and-shift for each
channel.

The sums are what is delicate. A channel of values near 1000 with spread 1 loses its variance if squares are summed in
float32, so the squares are taken of x minus a pivot (the chunk's first row), each chunk adds in float64, and the
chunks, cut by the number of rows and never by the number of threads, are combined in their order (Chan, Golub &
LeVeque 1983). A row is one pixel: C numbers."""

import numba
import numpy as np

from tinyfer.kernels.compile import FASTMATH, kernel

CHUNK_ROWS = 512
MAX_CHUNKS = 64


@kernel
def chunk_count(rows):
    """Into how many chunks `rows` rows are cut: a function of the problem alone."""
    return min((rows + CHUNK_ROWS - 1) // CHUNK_ROWS, MAX_CHUNKS)


@kernel(parallel=True, fastmath=FASTMATH)
def _chunk_moments(rows):
    """rows (R,C) -> for each chunk its pivot, sum of (x - pivot) and sum of (x - pivot)^2, each (chunks,C) in
    float64."""
    count, channels = rows.shape
    chunks = chunk_count(count)
    pivot, sums = np.empty((chunks, channels), rows.dtype), np.zeros((chunks, channels), np.float64)
    squares = np.zeros((chunks, channels), np.float64)
    for chunk in numba.prange(chunks):
        first, last = chunk * count // chunks, (chunk + 1) * count // chunks
        shift, total, square = pivot[chunk], sums[chunk], squares[chunk]
        for c in range(channels):
            shift[c] = rows[first, c]
        for r in range(first, last):
            for c in range(channels):
                d = np.float64(rows[r, c] - shift[c])
                total[c] += d
                square[c] += d * d
    return pivot, sums, squares


@kernel
def add_moved_rows(counts, pivot, sums, squares):
    """Sums of x - q and (x - q)^2 over all parts, (2,C) float64, about the first part's pivot q: x - q is
    (x - p) + (p - q). One part after the other, whoever made them: the same bits on any number of threads."""
    parts, channels = pivot.shape
    totals = np.zeros((2, channels), np.float64)
    for part in range(parts):
        for c in range(channels):
            shift, count = np.float64(pivot[part, c]) - np.float64(pivot[0, c]), np.float64(counts[part])
            totals[0, c] += sums[part, c] + count * shift
            totals[1, c] += squares[part, c] + 2 * shift * sums[part, c] + count * shift**2
    return totals


def combine_moments(counts, pivot, sums, squares):
    """Mean and biased variance (C,), float64, of parts of `counts` (parts,) rows each, from their sums of x - pivot and
    (x - pivot)^2, each (parts,C) around the part's own pivot. NaN stays NaN."""
    counts = np.asarray(counts, np.int64)
    offset, square = add_moved_rows(counts, pivot, sums, squares) / counts.sum()
    variance = square - offset**2
    return pivot[0] + offset, np.where(variance < 0, 0.0, variance)


@kernel
def add_rows(rows):
    """rows (R,2,C) -> their sum (2,C) in float64, one after the other."""
    total = np.zeros(rows.shape[1:], np.float64)
    for row in range(len(rows)):
        for i in range(rows.shape[1]):
            for c in range(rows.shape[2]):
                total[i, c] += rows[row, i, c]
    return total


def moments(rows):
    """rows (R,C) -> mean (C,), biased variance (C,) in the dtype of rows, right on constants and far from zero."""
    pivot, sums, squares = _chunk_moments(rows)
    counts = np.diff(np.arange(len(pivot) + 1) * len(rows) // len(pivot))
    mean, variance = combine_moments(counts, pivot, sums, squares)
    return mean.astype(rows.dtype), variance.astype(rows.dtype)


@kernel(parallel=True, fastmath=FASTMATH)
def _scale_shift(rows, center, scale, shift):
    """(x - center) * scale + shift for every row: (R,C) -> (R,C). Subtracting first keeps the digits of far-off
    data."""
    count, channels = rows.shape
    y = np.empty(rows.shape, rows.dtype)
    for r in numba.prange(count):
        for c in range(channels):
            y[r, c] = (rows[r, c] - center[c]) * scale[c] + shift[c]
    return y


@kernel(parallel=True, fastmath=FASTMATH)
def _gradient_sums(dy, rows, mean, inverse):
    """Sums over all rows of dy and of dy * xhat, (2,C), each chunk in float64, the chunks added in their order."""
    count, channels = rows.shape
    chunks = chunk_count(count)
    parts = np.zeros((chunks, 2, channels), np.float64)
    for chunk in numba.prange(chunks):
        part = parts[chunk]
        for r in range(chunk * count // chunks, (chunk + 1) * count // chunks):
            for c in range(channels):
                part[0, c] += dy[r, c]
                part[1, c] += np.float64(dy[r, c] * ((rows[r, c] - mean[c]) * inverse[c]))
    return add_rows(parts)


@kernel(parallel=True, fastmath=FASTMATH)
def _input_gradient(dy, rows, mean, inverse, scale, mean_dy, mean_dy_xhat):
    """dx = scale * (dy - mean_dy - xhat * mean_dy_xhat) for every row: (R,C)."""
    count, channels = rows.shape
    dx = np.empty(rows.shape, rows.dtype)
    for r in numba.prange(count):
        for c in range(channels):
            xhat = (rows[r, c] - mean[c]) * inverse[c]
            dx[r, c] = scale[c] * (dy[r, c] - mean_dy[c] - xhat * mean_dy_xhat[c])
    return dx


def _rows(a):
    return a.reshape(-1, a.shape[-1])


def _inverse(var, eps):
    return 1 / np.sqrt(var + var.dtype.type(eps))


def batchnorm_forward(x, gamma, beta, eps):
    """Twin of reference.batchnorm_forward: x (...,C) -> y (...,C), mean (C,), var (C,)."""
    mean, var = moments(_rows(x))
    return batchnorm_eval_forward(x, gamma, beta, mean, var, eps), mean, var


def batchnorm_backward(dy, x, gamma, mean, var, eps):
    """Twin of reference.batchnorm_backward: dy (...,C) -> dx (...,C), dgamma (C,), dbeta (C,)."""
    inverse, count = _inverse(var, eps), x.size // x.shape[-1]
    dbeta, dgamma = _gradient_sums(_rows(dy), _rows(x), mean, inverse)
    shares = (dbeta / count).astype(x.dtype), (dgamma / count).astype(x.dtype)
    dx = _input_gradient(_rows(dy), _rows(x), mean, inverse, gamma * inverse, *shares)
    return dx.reshape(x.shape), dgamma.astype(x.dtype), dbeta.astype(x.dtype)


def batchnorm_eval_forward(x, gamma, beta, mean, var, eps):
    """Twin of reference.batchnorm_eval_forward: x (...,C) -> y (...,C) with given statistics."""
    return _scale_shift(_rows(x), mean, gamma * _inverse(var, eps), beta).reshape(x.shape)


def batchnorm_eval_backward(dy, x, gamma, mean, var, eps):
    """Twin of reference.batchnorm_eval_backward: dy (...,C) -> dx (...,C), dgamma (C,), dbeta (C,)."""
    inverse, zero = _inverse(var, eps), np.zeros_like(mean)
    dbeta, dgamma = _gradient_sums(_rows(dy), _rows(x), mean, inverse)
    dx = _scale_shift(_rows(dy), zero, gamma * inverse, zero)
    return dx.reshape(x.shape), dgamma.astype(x.dtype), dbeta.astype(x.dtype)
