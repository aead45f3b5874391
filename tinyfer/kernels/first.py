"""The first convolution, of one-channel pictures: too few products for Winograd to save any, so each picture row's
neighbourhoods are written out and multiplied."""

import numba

from tinyfer.kernels.compile import kernel
from tinyfer.kernels.tiles import call_finish, call_multiply, call_read


@kernel
def _patches(x, patches, picture, row, height, width, side):
    """The side x side neighbourhood of each pixel of one row of a one-channel picture, zeros outside: (side^2, width).
    A neighbour of all pixels is the row that it lies in, shifted: a plain copy."""
    for i in range(side):
        y = row + i - side // 2
        line = (picture * height + y) * width
        for j in range(side):
            out, shift = (i * side + j) * width, j - side // 2
            inside = 0 <= y < height
            first, last = max(0, -shift), min(width, width - shift)
            for q in range(first, last):
                patches[out + q] = x[line + q + shift] if inside else 0
            for q in range(first):
                patches[out + q] = 0
            for q in range(last, width):
                patches[out + q] = 0


@kernel
def _forward_bands(multiply, finish, first, last, bands, panel, x, w, sink, height, width, side, outputs, patches):
    y, _, pivot, _, _, sums = sink
    depth, panels = side * side, outputs // panel
    for band in range(first, last):
        for k in range(2 * outputs if sums.size > 1 else 0):
            sums[band * 2 * outputs + k] = 0
        top, below = band % bands * height // bands, (band % bands + 1) * height // bands
        for p in range(top, below):
            _patches(x, patches, band // bands, p, height, width, side)
            pixel = (band // bands * height + p) * width
            call_multiply(multiply, (panels, patches, 0, 1, width, w, 0, panel, outputs, y, pixel * outputs, outputs,
                                     width, depth, False))
            if p == top and pivot.size > 1:
                for k in range(outputs):
                    pivot[band * outputs + k] = y[pixel * outputs + k]
            call_finish(finish, (sink, y, pixel * outputs, pixel, width, outputs, band))


@kernel(parallel=True)
def first_forward(workers, multiply, finish, bands, panel, x, w, sink, n, height, width, side, outputs, patches):
    """Convolution of one-channel pictures x (n,height,width) with w (side,side,1,K) -> y (n,height,width,K) of the
    sink, and its sums around the first pixel, one row for each of a picture's `bands` bands of rows. patches (workers,
    side^2 * width)."""
    for worker in numba.prange(workers):
        _forward_bands(multiply, finish, worker * n * bands // workers, (worker + 1) * n * bands // workers, bands,
                       panel, x, w, sink, height, width, side, outputs, patches[worker])


@kernel
def _gradient_bands(read, multiply, first, last, bands, panel, x, source, a_size, b_size, parts, height, width, side,
                    outputs, patches, line):
    depth, panels = side * side, outputs // panel
    for band in range(first, last):
        top, below = band % bands * height // bands, (band % bands + 1) * height // bands
        for p in range(top, below):
            _patches(x, patches, band // bands, p, height, width, side)
            pixel = (band // bands * height + p) * width
            call_read(read, (source, a_size, b_size, pixel, pixel + width, height * width, outputs, line, 0, 0,
                             outputs, 0, outputs))
            call_multiply(multiply, (panels, patches, 0, width, 1, line, 0, panel, outputs, parts[band], 0, outputs,
                                     depth, width, p > top))


@kernel(parallel=True)
def first_grad_weight(workers, read, multiply, bands, panel, x, source, a_size, b_size, parts, n, height, width, side,
                      outputs, patches, lines):
    """The weight gradient of the first convolution, one row of parts (n * bands, side^2 * K) for each band of rows;
    lines (workers, width * K) take the gradient of one row of pixels as `read` makes it from the source."""
    for worker in numba.prange(workers):
        _gradient_bands(read, multiply, worker * n * bands // workers, (worker + 1) * n * bands // workers, bands,
                        panel, x, source, a_size, b_size, parts, height, width, side, outputs, patches[worker],
                        lines[worker])
