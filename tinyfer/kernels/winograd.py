"""Winograd convolutions whose reading and writing of tiles does the work of the layers around them.

A convolution goes over blocks of tiles. For each block: every tile is read, transformed and laid out by frequency
(`read_tile`), each frequency is one matrix product of tiles x channels with channels x outputs (`gemm_tile`), and the
products are transformed back (`write_tile`). What a tile is read from, and what is done with the outputs, are the
fused parts; see simd.py.

Pixel offsets of every tile position are worked out once a shape (`tile_table`), so that borders cost nothing special:
a pixel outside the picture reads some valid address and is then masked to 0."""

import numba
import numpy as np

from tinyfer.kernels.compile import LANES, kernel
from tinyfer.kernels.gemm import panel_columns
from tinyfer.kernels.simd import (
    DEFERRED,
    GRADIENT,
    INPUT,
    MASK,
    MASKED,
    PLAIN,
    POOLED,
    STORE,
    SUM,
    TILE_VECTORS,
    filter_gradient_tile,
    filter_tile,
    read_tile,
    write_tile,
)

ONE = (0,)  # a tile of one pixel, a kernel of one tap
GAP = 16  # floats between frequencies: planes a power of two apart would fall on the same cache lines


def panel_width(channels: int) -> int:
    """Columns in one panel of output channels: as wide as the register tile allows and the channels divide into."""
    return next(v * LANES for v in (TILE_VECTORS, 2, 1) if channels % (v * LANES) == 0)


def tile_table(height: int, width: int, channels: int, tile: int, side: int, pad: int):
    """For every tile of a picture and every pixel of its side x side window: offset within the picture, offset within
    the 2x2-pooled picture, tap of the pooling window, and -1 inside or 0 outside. Four int32 arrays (tiles * side *
    side,)."""
    down, across = -(-height // tile), -(-width // tile)
    ty, tx, i, j = np.meshgrid(np.arange(down), np.arange(across), np.arange(side), np.arange(side), indexing="ij")
    y, x = (ty * tile - pad + i).ravel(), (tx * tile - pad + j).ravel()
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x = np.where(inside, y, 0), np.where(inside, x, 0)
    pooled = inside & (y // 2 < height // 2) & (x // 2 < width // 2)  # an odd last row or column is in no window
    offsets = (y * width + x) * channels
    pooled_offsets = np.where(pooled, (y // 2 * (width // 2) + x // 2) * channels, 0)
    taps = np.where(pooled, y % 2 * 2 + x % 2, 255)
    return tuple(a.astype(np.int32) for a in (offsets, pooled_offsets, taps, np.where(inside, -1, 0)))


@kernel(parallel=True)
def transform_weights(tile, ker, w, u, c_in, c_out, panel):
    """w (r,r,C,K) flat -> u (n^2, K/panel, C, panel) flat: G w G^T, laid out as the matrix products read it."""
    frequencies = (len(tile) + len(ker) - 1) ** 2
    for c in numba.prange(c_in):
        for k in range(0, c_out, LANES):
            filter_tile(tile, ker, w, c * c_out + k, len(ker) * c_in * c_out, c_in * c_out,
                        u, (k // panel) * c_in * panel + c * panel + k % panel, c_in * c_out)
    return frequencies


@kernel(parallel=True)
def flip_weights(w, flipped, taps, c_in, c_out):
    """w (taps,C,K) flat -> flipped (taps,K,C) flat, the taps in reverse: the kernel that carries gradients back."""
    for block in numba.prange(taps * (c_in // LANES)):
        t, c0 = block // (c_in // LANES), block % (c_in // LANES) * LANES
        for k0 in range(0, c_out, LANES):
            for k in range(k0, k0 + LANES):
                for c in range(c0, c0 + LANES):
                    flipped[((taps - 1 - t) * c_out + k) * c_in + c] = w[(t * c_in + c) * c_out + k]


@kernel(inline="always")
def _read(matrix, source, tile, ker, a, b, index, s, q, r, offsets, pooled, taps, inside, first, last, tiles, size,
          a_size, channels, out, gap):
    """Read tiles first..last of the batch, all channels, into out (n^2, tiles of the block, channels)."""
    side = len(tile) if len(matrix) else len(tile) + len(ker) - 1
    for t in range(first, last):
        picture, position = t // tiles, t % tiles
        for c in range(0, channels, LANES):
            read_tile(matrix, source, tile, ker, a, picture * a_size, b, picture * size, index, s, q, r, c,
                      offsets, pooled, taps, inside, position * side * side, out, (t - first) * channels + c, gap)


@kernel(inline="always")
def _read_any(form, tile, ker, a, b, index, s, q, r, offsets, pooled, taps, inside, first, last, tiles, size, a_size,
              channels, out, gap):
    """_read of input windows with the source chosen at run time: one compiled kernel serves every layer."""
    if form == 0:
        _read(INPUT, PLAIN, tile, ker, a, b, index, s, q, r, offsets, pooled, taps, inside, first, last, tiles, size,
              a_size, channels, out, gap)
    elif form == 1:
        _read(INPUT, DEFERRED, tile, ker, a, b, index, s, q, r, offsets, pooled, taps, inside, first, last, tiles, size,
              a_size, channels, out, gap)
    elif form == 2:
        _read(INPUT, MASKED, tile, ker, a, b, index, s, q, r, offsets, pooled, taps, inside, first, last, tiles, size,
              a_size, channels, out, gap)
    else:
        _read(INPUT, POOLED, tile, ker, a, b, index, s, q, r, offsets, pooled, taps, inside, first, last, tiles, size,
              a_size, channels, out, gap)


@kernel(inline="always")
def _write(epilogue, tile, ker, products, gap, buffer, y, x, pivot, s, q, sums, sums0, first, last, height, width,
           outputs):
    """Transform tiles first..last back from products and finish their pixels."""
    m = len(tile)
    across = (width + m - 1) // m
    tiles = (height + m - 1) // m * across
    for t in range(first, last):
        picture, position = t // tiles, t % tiles
        top, left = position // across * m, position % across * m
        start = ((picture * height + top) * width + left) * outputs
        rows, cols = min(m, height - top), min(m, width - left)
        for k in range(0, outputs, LANES):
            if rows == m and cols == m:
                write_tile(epilogue, tile, ker, products, (t - first) * outputs + k, gap, k, y, start, width * outputs,
                           outputs, x, pivot, s, q, sums, sums0, outputs)
            else:
                write_tile(STORE, tile, ker, products, (t - first) * outputs + k, gap, 0, buffer, 0, m * LANES, LANES,
                           buffer, buffer, buffer, buffer, buffer, 0, 0)
                for i in range(rows):
                    for j in range(cols):
                        write_tile(epilogue, ONE, ONE, buffer, (i * m + j) * LANES, 0, k, y,
                                   start + (i * width + j) * outputs,
                                   0, 0, x, pivot, s, q, sums, sums0, outputs)


@kernel(inline="always")
def _first_pixel(tile, ker, products, gap, buffer, pivot, pivot0, outputs):
    """The block's first output pixel, one number a channel: what its sums are taken around."""
    for k in range(0, outputs, LANES):
        write_tile(STORE, tile, ker, products, k, gap, 0, buffer, 0, len(tile) * LANES, LANES,
                   buffer, buffer, buffer, buffer, buffer, 0, 0)
        for lane in range(LANES):
            pivot[pivot0 + k + lane] = buffer[lane]


@kernel(inline="always")
def _multiply(panel, frequencies, v, v_gap, u, products, p_gap, rows, channels, outputs):
    """products[f] (rows,K) = v[f] (rows,C) u[f] (C,K) for every frequency f, panel by panel of K."""
    for f in range(frequencies):
        for j in range(outputs // panel):
            panel_columns(panel, v, f * v_gap, channels, 1, u, (f * (outputs // panel) + j) * channels * panel, panel,
                    products, f * p_gap + j * panel, outputs, rows, channels, False)


@kernel
def _blocks(tile, ker, panel, first_block, last_block, block, form, epilogue, a, b, index, s, q, r, table, a_size, u,
            y, x,
            below_s, below_q, pivot, sums, n, height, width, channels, outputs, work):
    """One thread's share of `convolve`: blocks of tiles one after the other in its own workspace."""
    m, side = len(tile), len(tile) + len(ker) - 1
    tiles = (height + m - 1) // m * ((width + m - 1) // m)
    v_gap, p_gap = block * channels + GAP, block * outputs + GAP
    v = work[: side * side * v_gap]
    products = work[side * side * v_gap : side * side * (v_gap + p_gap)]
    buffer = work[side * side * (v_gap + p_gap) :]
    offsets, pooled, taps, inside = table
    for number in range(first_block, last_block):
        first, last = number * block, min((number + 1) * block, n * tiles)
        _read_any(form, tile, ker, a, b, index, s, q, r, offsets, pooled, taps, inside, first, last, tiles,
                  height * width * channels, a_size, channels, v, v_gap)
        _multiply(panel, side * side, v, v_gap, u, products, p_gap, last - first, channels, outputs)
        sums0 = number * 2 * outputs
        if epilogue == 1:
            _first_pixel(tile, ker, products, p_gap, buffer, pivot, number * outputs, outputs)
            around = pivot[number * outputs : (number + 1) * outputs]
            sums[sums0 : sums0 + 2 * outputs] = 0
            _write(SUM, tile, ker, products, p_gap, buffer, y, x, around, below_s, below_q, sums, sums0, first, last,
                   height, width, outputs)
        elif epilogue == 2:
            sums[sums0 : sums0 + 2 * outputs] = 0
            _write(MASK, tile, ker, products, p_gap, buffer, y, x, pivot, below_s, below_q, sums, sums0, first, last,
                   height, width, outputs)
        else:
            _write(STORE, tile, ker, products, p_gap, buffer, y, x, pivot, below_s, below_q, sums, sums0, first, last,
                   height, width, outputs)


@kernel(parallel=True)
def convolve(tile, ker, panel, workers, block, form, epilogue, a, b, index, s, q, r, table, a_size, u, y, x, below_s,
             below_q,
             pivot, sums, n, height, width, channels, outputs, work):
    """A whole convolution of n pictures (height, width), `channels` in and `outputs` out, over blocks of `block` tiles.

    form: 0 PLAIN, 1 DEFERRED, 2 MASKED, 3 POOLED input; epilogue: 0 STORE, 1 SUM, 2 MASK. sums (blocks, 2, K), one row
    a block whatever the threads, and for SUM pivot (blocks, K). work (workers, workspace_size)."""
    m = len(tile)
    tiles = (height + m - 1) // m * ((width + m - 1) // m)
    blocks = (n * tiles + block - 1) // block
    for worker in numba.prange(workers):
        _blocks(tile, ker, panel, worker * blocks // workers, (worker + 1) * blocks // workers, block, form,
                epilogue, a, b,
                index, s, q, r, table, a_size, u, y, x, below_s, below_q, pivot, sums, n, height, width, channels,
                outputs,
                work[worker])


def workspace_size(m: int, r: int, block: int, channels: int, outputs: int) -> int:
    """Floats that one worker needs."""
    return (m + r - 1) ** 2 * (block * (channels + outputs) + 2 * GAP) + m * m * LANES


@kernel
def _gradient_tiles(tile, ker, form_in, form_out, first, last, origin, x, x_s, x_q, x_table, x_size, dz, y, index, s,
                    q, r,
                    y_table, y_size, dz_size, v, v_gap, z, z_gap, tiles, channels, outputs):
    """Read input windows and output-gradient tiles first..last (numbered in the batch; origin is the chunk's first)."""
    offsets, pooled, taps, inside = x_table
    _read_any(form_in, tile, ker, x, x, index, x_s, x_q, x_q, offsets, pooled, taps, inside, first, last, tiles, x_size,
              x_size, channels, v[(first - origin) * channels :], v_gap)
    offsets, pooled, taps, inside = y_table
    if form_out == 2:
        _read(GRADIENT, MASKED, tile, ker, dz, y, index, s, q, r, offsets, pooled, taps, inside, first, last, tiles,
              y_size,
              dz_size, outputs, z[(first - origin) * outputs :], z_gap)
    else:
        _read(GRADIENT, POOLED, tile, ker, dz, y, index, s, q, r, offsets, pooled, taps, inside, first, last, tiles,
              y_size,
              dz_size, outputs, z[(first - origin) * outputs :], z_gap)


@kernel(parallel=True)
def grad_weight(tile, ker, panel, workers, chunk, form_in, form_out, x, x_s, x_q, x_table, x_size, dz, y, index, s,
                q, r,
                y_table, y_size, dz_size, v, z, du, dw, n, tiles, channels, outputs):
    """dw (r,r,C,K): for chunks of pictures, du[f] (C,K) += v[f]^T z[f] for every frequency f, in the order of the
    chunks; in the end dw = G^T du G. Each (frequency, panel) is one task, so the sums do not depend on the threads."""
    frequencies = (len(tile) + len(ker) - 1) ** 2
    panels = outputs // panel
    v_gap, z_gap = chunk * tiles * channels + GAP, chunk * tiles * outputs + GAP
    for picture in range(0, n, chunk):
        origin = picture * tiles
        count = min(chunk, n - picture) * tiles
        for worker in numba.prange(workers):
            _gradient_tiles(tile, ker, form_in, form_out, origin + worker * count // workers,
                            origin + (worker + 1) * count // workers, origin, x, x_s, x_q, x_table, x_size, dz, y,
                            index,
                            s, q, r, y_table, y_size, dz_size, v, v_gap, z, z_gap, tiles, channels, outputs)
        for task in numba.prange(frequencies * panels):
            f, j = task // panels, task % panels
            panel_columns(panel, v, f * v_gap, 1, channels, z, f * z_gap + j * panel, outputs,
                    du, f * channels * outputs + j * panel, outputs, channels, count, picture > 0)
    side = len(tile) + len(ker) - 1
    for c in numba.prange(channels):
        for k in range(0, outputs, LANES):
            filter_gradient_tile(tile, ker, du, c * outputs + k, side * channels * outputs, channels * outputs,
                                 dw, c * outputs + k, channels * outputs)
