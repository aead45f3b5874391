"""Convolution by implicit matrix products, parallel over pictures.

The kw horizontal taps of a padded row lie side by side in memory, because channels come last: for kernel row i, what
output pixel (p, q) sees is the run xp[p*stride+i, q*stride*C : q*stride*C + kw*C]. So a whole output row is the
product of a matrix that is already there (its rows overlap; nothing is copied) with w[i] seen as (kw*C, K). Where a
run is too short to be worth a product (one input channel: three numbers) the taps of all kernel rows are copied side
by side first.

Sums over the batch are cut into CHUNKS by the number of pictures, never by the number of threads, and the chunks are
added in their order: the same bits on any machine."""

import numba
import numpy as np

from tinyfer.kernels.compile import FASTMATH, LANES, kernel
from tinyfer.kernels.gemm import gemm, gemm_code

CHUNKS = 8
FEW = 8  # input channels below which the taps are gathered before the product
_ROUND = max(LANES, 1)


@kernel(parallel=True)
def pad_borders(x, pad):
    """x (N,H,W,C) -> (N, H + 2 pad, W + 2 pad, C) with zeros around each picture."""
    n, height, width, channels = x.shape
    xp = np.empty((n, height + 2 * pad, width + 2 * pad, channels), x.dtype)
    for picture in numba.prange(n):
        for p in range(height + 2 * pad):
            inside = pad <= p < pad + height
            for q in range(width + 2 * pad):
                for c in range(channels):
                    xp[picture, p, q, c] = 0
                    if inside and pad <= q < pad + width:
                        xp[picture, p, q, c] = x[picture, p - pad, q - pad, c]
    return xp


@kernel
def gather(patches, xp, start, row, kh, run, step, width):
    """Copy what each of `width` output pixels sees, kh runs of `run` numbers, into one row of patches."""
    for q in range(width):
        for i in range(kh):
            at = start + i * row + q * step
            for t in range(run):
                patches[(q * kh + i) * run + t] = xp[at + t]


@kernel(parallel=True, fastmath=FASTMATH)
def _forward(code, x, w, b, stride, pad):
    """x (N,H,W,C), w (kh,kw,C,K), b (K,) -> y (N,H',W',K)."""
    kh, kw, channels, outputs = w.shape
    xp = pad_borders(x, pad)
    n, padded, row = xp.shape[0], xp.shape[1], xp.shape[2] * channels
    height, width = (padded - kh) // stride + 1, (xp.shape[2] - kw) // stride + 1
    run, step = kw * channels, stride * channels
    y = np.empty((n, height, width, outputs), x.dtype)
    flat_x, flat_w, flat_y = xp.reshape(-1), w.reshape(-1), y.reshape(-1)
    for picture in numba.prange(n):
        for pixel in range(picture * height * width, (picture + 1) * height * width):
            for k in range(outputs):
                flat_y[pixel * outputs + k] = b[k]
        if channels < FEW:
            patches = np.empty(width * kh * run, x.dtype)
            for p in range(height):
                gather(patches, flat_x, (picture * padded + p * stride) * row, row, kh, run, step, width)
                gemm(code, patches, 0, kh * run, 1, flat_w, 0, outputs,
                     flat_y, (picture * height + p) * width * outputs, outputs, width, outputs, kh * run)
        else:
            for i in range(kh):  # outside the loop over rows, so that one kernel row of w stays in the cache
                for p in range(height):
                    gemm(code, flat_x, (picture * padded + p * stride + i) * row, step, 1,
                         flat_w, i * run * outputs, outputs,
                         flat_y, (picture * height + p) * width * outputs, outputs, width, outputs, run)
    return y


@kernel
def _taps_by_output(w, columns):
    """w (kh,kw,C,K) -> (K, columns): w transposed, its kh*kw*C taps padded with zeros to `columns`."""
    taps, outputs = w.size // w.shape[3], w.shape[3]
    flat = w.reshape(-1)
    wt = np.zeros(outputs * columns, w.dtype)
    for t in range(taps):
        for k in range(outputs):
            wt[k * columns + t] = flat[t * outputs + k]
    return wt


@kernel(parallel=True, fastmath=FASTMATH)
def _grad_input(code, dy, x_shape, w, stride, pad):
    """dx (x_shape): each output pixel hands its gradient back to the taps it saw, dxp[tap] += dy w[tap]^T.

    Parallel over pictures; the taps of one picture follow each other, so no two threads write to one pixel."""
    kh, kw, channels, outputs = w.shape
    n, height, width = x_shape[0], x_shape[1], x_shape[2]
    out_height, out_width = dy.shape[1], dy.shape[2]
    padded, row, step = height + 2 * pad, (width + 2 * pad) * channels, stride * channels
    columns = (kh * kw * channels + _ROUND - 1) // _ROUND * _ROUND
    wt = _taps_by_output(w, columns)
    dx = np.empty(x_shape, dy.dtype)
    flat_dy, flat_dx = dy.reshape(-1), dx.reshape(-1)
    for picture in numba.prange(n):
        dxp = np.zeros(padded * row, dy.dtype)
        shares = np.zeros(out_width * columns, dy.dtype)
        for p in range(out_height):
            line = (picture * out_height + p) * out_width * outputs
            if channels < FEW:  # one product for all taps of the line, then each share goes to its pixel
                shares[:] = 0
                gemm(code, flat_dy, line, outputs, 1, wt, 0, columns, shares, 0, columns, out_width, columns, outputs)
                for q in range(out_width):
                    for i in range(kh):
                        for t in range(kw * channels):
                            dxp[(p * stride + i) * row + q * step + t] += shares[q * columns + i * kw * channels + t]
            else:
                for i in range(kh):
                    for j in range(kw):
                        gemm(code, flat_dy, line, outputs, 1, wt, (i * kw + j) * channels, columns,
                             dxp, (p * stride + i) * row + j * channels, step, out_width, channels, outputs)
        for p in range(height):
            for t in range(width * channels):
                flat_dx[(picture * height + p) * width * channels + t] = dxp[(p + pad) * row + pad * channels + t]
    return dx


@kernel(parallel=True, fastmath=FASTMATH)
def _grad_weight(code, dy, xp, kh, kw, stride):
    """dw (kh,kw,C,K) = sum over output pixels of (what it saw)^T dy, and db (K,), from padded xp."""
    n, padded, channels = xp.shape[0], xp.shape[1], xp.shape[3]
    row, run, step = xp.shape[2] * channels, kw * channels, stride * channels
    out_height, out_width, outputs = dy.shape[1], dy.shape[2], dy.shape[3]
    chunks = min(n, CHUNKS)
    size = kh * run * outputs
    parts, bias_parts = np.zeros((chunks, size), dy.dtype), np.zeros((chunks, outputs), dy.dtype)
    flat_x, flat_dy = xp.reshape(-1), dy.reshape(-1)
    for chunk in numba.prange(chunks):
        part = parts[chunk]
        for picture in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            for i in range(kh):
                for p in range(out_height):
                    gemm(code, flat_x, (picture * padded + p * stride + i) * row, 1, step,
                         flat_dy, (picture * out_height + p) * out_width * outputs, outputs,
                         part, i * run * outputs, outputs, run, outputs, out_width)
            for p in range(out_height):
                for q in range(out_width):
                    for k in range(outputs):
                        bias_parts[chunk, k] += dy[picture, p, q, k]
    dw, db = np.zeros(size, dy.dtype), np.zeros(outputs, dy.dtype)
    for chunk in range(chunks):
        for t in range(size):
            dw[t] += parts[chunk, t]
        for k in range(outputs):
            db[k] += bias_parts[chunk, k]
    return dw.reshape((kh, kw, channels, outputs)), db


def conv2d_forward(x, w, b, stride, pad):
    """Twin of reference.conv2d_forward: x (N,H,W,C), w (kh,kw,C,K), b (K,) -> y (N,H',W',K)."""
    return _forward(gemm_code(x.dtype), x, w, b, stride, pad)


def grad_input(dy, x_shape, w, stride, pad):
    """The gradient dx (x_shape) alone, of dy (N,H',W',K)."""
    return _grad_input(gemm_code(dy.dtype), dy, x_shape, w, stride, pad)


def conv2d_backward(dy, x, w, stride, pad):
    """Twin of reference.conv2d_backward: dy (N,H',W',K) -> dx (N,H,W,C), dw (kh,kw,C,K), db (K,)."""
    dw, db = _grad_weight(gemm_code(x.dtype), dy, pad_borders(x, pad), w.shape[0], w.shape[1], stride)
    return grad_input(dy, x.shape, w, stride, pad), dw, db
