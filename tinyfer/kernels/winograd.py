"""Winograd convolutions whose reading and writing of tiles does the work of the layers around them.

A convolution goes over blocks of tiles. For each block: every tile is read, transformed and laid out by frequency,
each frequency is one matrix product of tiles x channels with channels x outputs, and the products are transformed
back. What a tile is read from, and what is done with the outputs, are the fused parts: the kernels of tiles.py, which
come here as addresses.

Pixel offsets of every tile position are worked out once a shape (`tile_table`), so that borders cost nothing special:
a pixel outside the picture reads some valid address and is then masked to 0."""

import numba
import numpy as np

from tinyfer.kernels.compile import LANES, kernel
from tinyfer.kernels.simd import TILE_VECTORS
from tinyfer.kernels.tiles import call_multiply, call_read, call_transform, call_write

# Floats left free between frequencies and between rows of channels: planes and rows a power of two apart would fall on
# the same lines of the caches.
GAP = 16


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
def transform_filters(transform, channels, outputs, x, row, column, out, step, panel):
    """All filters of a layer, forward w (r,r,C,K) -> u (n^2, K/panel, C, panel), or with panel = K the way back for
    their gradients; row and column are the strides of x, step that between the entries in out."""
    for c in numba.prange(channels):
        call_transform(transform, (x, c * outputs, row, column, out, c * panel, step, outputs, panel,
                                   channels * panel))


@kernel(parallel=True)
def flip_weights(w, flipped, taps, c_in, c_out):
    """w (taps,C,K) flat -> flipped (taps,K,C) flat, the taps in reverse: the kernel that carries gradients back."""
    for block in numba.prange(taps * (c_in // LANES)):
        t, c0 = block // (c_in // LANES), block % (c_in // LANES) * LANES
        for k0 in range(0, c_out, LANES):
            for k in range(k0, k0 + LANES):
                for c in range(c0, c0 + LANES):
                    flipped[((taps - 1 - t) * c_out + k) * c_in + c] = w[(t * c_in + c) * c_out + k]


@kernel
def _blocks(first_block, last_block, block, read, multiply, write, source, a_size, b_size, u, panel, sink, count,
            tiles, frequencies, height, width, channels, outputs, work):
    """One worker's share of `convolve`: blocks of tiles one after the other in its own workspace."""
    row = channels + GAP
    v_gap, p_gap = block * row + GAP, block * outputs + GAP
    v = work[: frequencies * v_gap]
    products = work[frequencies * v_gap : frequencies * (v_gap + p_gap)]
    buffer = work[frequencies * (v_gap + p_gap) :]
    panels = outputs // panel
    for number in range(first_block, last_block):
        first, last = number * block, min((number + 1) * block, count)
        call_read(read, (source, a_size, b_size, first, last, tiles, channels, v, 0, v_gap, channels, 0, row))
        for f in range(frequencies):
            call_multiply(multiply, (panels, v, f * v_gap, row, 1, u, f * channels * outputs, channels * panel, panel,
                                     products, f * p_gap, outputs, last - first, channels, False))
        call_write(write, (sink, products, p_gap, buffer, first, last, height, width, outputs, number))


@kernel(parallel=True)
def convolve(workers, block, read, multiply, write, source, a_size, b_size, u, panel, sink, count, tiles, frequencies,
             height, width, channels, outputs, work):
    """A whole convolution with `count` tiles in all, `tiles` a picture, in blocks of `block` tiles.

    read, multiply, write: addresses of the tile kernels; source and sink: what they read and write, with a_size and
    b_size floats a picture. The sink's sums are (blocks, 2, K), one row a block whatever the threads, and for SUM its
    pivots are (blocks, K). u: transform_filters; work (workers, workspace_size)."""
    blocks = (count + block - 1) // block
    for worker in numba.prange(workers):
        _blocks(worker * blocks // workers, (worker + 1) * blocks // workers, block, read, multiply, write, source,
                a_size, b_size, u, panel, sink, count, tiles, frequencies, height, width, channels, outputs,
                work[worker])


@kernel(parallel=True)
def convolve_at_once(workers, read, multiply, write, source, a_size, b_size, u, panel, sink, count, tiles, frequencies,
                     height, width, channels, outputs, v, products, buffers):
    """`convolve` for so few tiles that reading the weights costs most: all tiles are read, then multiplied, then
    written. Each panel of each frequency's weights is one task of the products, so no weight is read twice.

    v, products: chunk_gaps of all tiles, for every frequency; buffers (workers, m^2 * LANES)."""
    row = channels + GAP
    v_gap, p_gap = count * row + GAP, count * outputs + GAP
    for worker in numba.prange(workers):
        first, last = worker * count // workers, (worker + 1) * count // workers
        call_read(read, (source, a_size, b_size, first, last, tiles, channels, v, first * row, v_gap, channels, 0,
                         row))
    panels = outputs // panel
    for task in numba.prange(frequencies * panels):
        f, j = task // panels, task % panels
        call_multiply(multiply, (1, v, f * v_gap, row, 1, u, (f * outputs + j * panel) * channels, channels * panel,
                                 panel, products, f * p_gap + j * panel, outputs, count, channels, False))
    for worker in numba.prange(workers):
        first, last = worker * count // workers, (worker + 1) * count // workers
        call_write(write, (sink, products[first * outputs:], p_gap, buffers[worker], first, last, height, width,
                           outputs, 0))


def workspace_size(m: int, r: int, block: int, channels: int, outputs: int) -> int:
    """Floats that one worker needs."""
    return (m + r - 1) ** 2 * (block * (channels + GAP + outputs) + 2 * GAP) + m * m * LANES


def chunk_gaps(count: int, channels: int, outputs: int) -> tuple[int, int]:
    """Floats from one frequency to the next in v and z of a chunk of `count` tiles."""
    return count * (channels + GAP) + GAP, count * outputs + GAP


@kernel(parallel=True)
def read_chunk(workers, read_x, read_dy, x_source, dy_source, x_size, a_size, b_size, origin, count, tiles, channels,
               outputs, panel, v, v_gap, z, z_gap):
    """Input windows v (n^2, tiles, channels) and output-gradient tiles z (n^2, K/panel, tiles, panel) of `count` tiles
    from number `origin` of the batch on."""
    row = channels + GAP
    for worker in numba.prange(workers):
        first, last = worker * count // workers, (worker + 1) * count // workers
        call_read(read_x, (x_source, x_size, x_size, origin + first, origin + last, tiles, channels,
                           v, first * row, v_gap, channels, 0, row))
        call_read(read_dy, (dy_source, a_size, b_size, origin + first, origin + last, tiles, outputs,
                            z, first * panel, z_gap, panel, count * panel, panel))


@kernel(parallel=True)
def add_products(multiply, frequencies, groups, panel, channels, outputs, count, v, v_gap, z, z_gap, du, add):
    """du[f] (C,K) = or += v[f]^T z[f] for every frequency f, with the sum over `count` tiles. Each (frequency, group of
    panels) is one task, so the sums do not depend on the threads."""
    panels = outputs // panel
    for task in numba.prange(frequencies * groups):
        f, group = task // groups, task % groups
        first, last = group * panels // groups, (group + 1) * panels // groups
        call_multiply(multiply, (last - first, v, f * v_gap, 1, channels + GAP,
                                 z, f * z_gap + first * count * panel, count * panel, panel,
                                 du, f * channels * outputs + first * panel, outputs, channels, count, add))
