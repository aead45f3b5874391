"""The tile kernels: reading tiles into Winograd's domain, multiplying there, and writing outputs.

These are the loops in which a convolution spends its time, one function for each thing to be made. Each answers the
address of a kernel compiled for just that (see address.py), and the callers in winograd.py and first.py, which know
nothing of tile sizes and of what is fused into reading and writing, pass the addresses on. Nothing is compiled that a
network does not use."""

import functools

from numba.core import types

from tinyfer.kernels.address import address, caller
from tinyfer.kernels.compile import LANES, kernel
from tinyfer.kernels.gemm import columns
from tinyfer.kernels.simd import (
    GRADIENT,
    INPUT,
    OUTPUTS,
    STORE,
    SUM,
    finish_pixels,
    read_tile,
    transform_tile,
)

STRETCH = 128  # rows of a panel that stay in the first-level cache

_FLOATS, _BYTES, _INTS, _INT = types.float32[::1], types.uint8[::1], types.int32[::1], types.int64
# What tiles are read from: a, b, index, s, q, r of simd.read_tile, and the four arrays of winograd.tile_table.
_SOURCE = types.BaseTuple.from_types((_FLOATS, _FLOATS, _BYTES, _FLOATS, _FLOATS, _FLOATS) + (_INTS,) * 4)
# What outputs are written to: y, x, pivot, s, q, sums of simd.finish_pixels.
_SINK = types.BaseTuple.from_types((_FLOATS,) * 6)

_READ = (_SOURCE,) + (_INT,) * 6 + (_FLOATS,) + (_INT,) * 5
_MULTIPLY = (_INT,) + (_FLOATS, _INT, _INT, _INT) * 2 + (_FLOATS,) + (_INT,) * 4 + (types.boolean,)
_FINISH = (_SINK, _FLOATS, _INT, _INT, _INT, _INT, _INT)
_WRITE = (_SINK, _FLOATS, _INT, _FLOATS, _INT, _INT, _INT, _INT, _INT, _INT)
_TRANSFORM = (_FLOATS, _INT, _INT, _INT, _FLOATS, _INT, _INT, _INT, _INT, _INT)
call_read, call_multiply, call_finish = caller(_READ), caller(_MULTIPLY), caller(_FINISH)
call_write, call_transform = caller(_WRITE), caller(_TRANSFORM)


@functools.cache
def reader(matrix: tuple, form: tuple, m: int, r: int) -> int:
    """Tiles first..last of the batch, all channels, transformed: entry f of a tile's channel c goes to
    out[out0 + f * gap + c // panel * apart + tile * row + c % panel], in panels of `panel` channels.

    a_size and b_size: floats a picture; tiles: of one picture, each with its stretch of the tables."""
    tile, ker = (0,) * m, (0,) * r
    area = (m + r - 1) ** 2 if matrix == INPUT else m * m

    @kernel
    def read_tiles(source, a_size, b_size, first, last, tiles, channels, out, out0, gap, panel, apart, row):
        a, b, index, s, q, r, offsets, pooled, taps, inside = source
        for t in range(first, last):
            picture, position = t // tiles, t % tiles
            for c in range(0, channels, LANES):
                read_tile(matrix, form, tile, ker, a, picture * a_size, b, picture * b_size, index, s, q, r, c,
                          offsets, pooled, taps, inside, position * area,
                          out, out0 + c // panel * apart + (t - first) * row + c % panel, gap)

    return address(read_tiles, _READ)


@functools.cache
def pixel_reader(form: tuple) -> int:
    """A reader of single pixels: nothing is transformed."""
    return reader(GRADIENT, form, 1, 1)


@functools.cache
def multiplier(panel: int) -> int:
    """C = A B, or C += A B where `add` is true, for B in panels of `panel` columns, number j from b0 + j * b_panel on.

    A (m,depth), each panel of B (depth,panel) and C (m, panels * panel) lie as in gemm. The sum over depth is cut into
    stretches, for which a panel of B stays in the first-level cache and A in the second."""
    vectors = (0,) * (panel // LANES)

    @kernel
    def multiply(panels, a, a0, a_row, a_col, b, b0, b_panel, b_row, c, c0, c_row, m, depth, add):
        for k in range(0, depth, STRETCH):
            for j in range(panels):
                columns(vectors, a, a0 + k * a_col, a_row, a_col, b, b0 + j * b_panel + k * b_row, b_row,
                        c, c0 + j * panel, c_row, m, min(STRETCH, depth - k), add or k > 0)

    return address(multiply, _MULTIPLY)


@functools.cache
def finisher(epilogue: tuple) -> int:
    """The epilogue of `pixels` pixels in a row, from number `pixel` of the output on; their finished values lie in
    `values` from `start` on. Sums are added to row number `row` of the sums, and SUM's pivot is row number `row`."""
    own_pivot = 1 if epilogue == SUM else 0

    @kernel
    def finish(sink, values, start, pixel, pixels, outputs, row):
        y, x, pivot, s, q, sums = sink
        for k in range(0, outputs, LANES):
            finish_pixels(epilogue, values, start + k, 0, outputs, 1, pixels, y, pixel * outputs + k, 0, outputs,
                          x, pivot, own_pivot * row * outputs + k, s, q, k, sums, row * 2 * outputs + k, outputs)

    return address(finish, _FINISH)


@functools.cache
def writer(epilogue: tuple, m: int, r: int) -> int:
    """Tiles first..last transformed back from products (n^2, tiles, outputs), frequencies gap apart, and finished.

    Each tile passes through `buffer` (m^2 * LANES), so that one that hangs over the border costs nothing special. Sums
    go to row number `row`; SUM's pivot is the first pixel."""
    tile, ker, n, summing = (0,) * m, (0,) * r, m + r - 1, epilogue == SUM
    own_pivot = 1 if summing else 0

    @kernel
    def write_tiles(sink, products, gap, buffer, first, last, height, width, outputs, row):
        y, x, pivot, s, q, sums = sink
        across = (width + m - 1) // m
        tiles = (height + m - 1) // m * across
        for k in range(2 * outputs if epilogue != STORE else 0):
            sums[row * 2 * outputs + k] = 0
        for t in range(first, last):
            top, left = t % tiles // across * m, t % tiles % across * m
            start = ((t // tiles * height + top) * width + left) * outputs
            for k in range(0, outputs, LANES):
                transform_tile(OUTPUTS, tile, ker, products, (t - first) * outputs + k, n * gap, gap, buffer, 0, LANES)
                if summing and t == first:
                    for lane in range(LANES):
                        pivot[row * outputs + k + lane] = buffer[lane]
                finish_pixels(epilogue, buffer, 0, m * LANES, LANES, min(m, height - top), min(m, width - left),
                              y, start + k, width * outputs, outputs, x, pivot, own_pivot * row * outputs + k, s, q, k,
                              sums, row * 2 * outputs + k, outputs)

    return address(write_tiles, _WRITE)


@functools.cache
def filter_transformer(matrix: tuple, m: int, r: int) -> int:
    """A row of filters, one input channel with all its outputs: x[x0 + i*row + j*column + k] -> out[out0 + f*step], k
    laid out in panels of `panel` that are `apart` floats apart."""
    tile, ker = (0,) * m, (0,) * r

    @kernel
    def transform(x, x0, row, column, out, out0, step, outputs, panel, apart):
        for k in range(0, outputs, LANES):
            transform_tile(matrix, tile, ker, x, x0 + k, row, column, out, out0 + k // panel * apart + k % panel, step)

    return address(transform, _TRANSFORM)
