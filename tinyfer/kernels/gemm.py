"""Matrix product on flat arrays with strides: the one inner loop that convolutions and dense layers share.

`gemm` picks, when Numba compiles it, between two bodies: register tiles for float32 where the processor has vectors,
and plain loops for every other dtype and processor. Both add the products in the order of k, tiles in short
stretches (see gemm_tile)."""

import functools

import numpy as np
from numba import types
from numba.extending import overload

from tinyfer.kernels.address import address, caller
from tinyfer.kernels.compile import FASTMATH, LANES, kernel
from tinyfer.kernels.simd import TILE_ROWS, TILE_VECTORS, TILE_WIDTH, gemm_tile

_SIX, _TWO, _ONE = (0,) * TILE_ROWS, (0,) * 2, (0,) * 1
_WIDE = (0,) * TILE_VECTORS


@kernel(fastmath=FASTMATH)
def plain(a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, n, depth):
    """Four rows of B at a time into one row of C: the loop over j is contiguous in B and C, so LLVM makes vectors of
    it."""
    whole = depth - depth % 4
    for i in range(m):
        row = c[c0 + i * c_row : c0 + i * c_row + n]
        for k in range(0, whole, 4):
            at, bt = a0 + i * a_row + k * a_col, b0 + k * b_row
            x0, x1, x2, x3 = a[at], a[at + a_col], a[at + 2 * a_col], a[at + 3 * a_col]
            b1, b2, b3 = b[bt : bt + n], b[bt + b_row : bt + b_row + n], b[bt + 2 * b_row : bt + 2 * b_row + n]
            b4 = b[bt + 3 * b_row : bt + 3 * b_row + n]
            for j in range(n):
                row[j] += x0 * b1[j] + x1 * b2[j] + x2 * b3[j] + x3 * b4[j]
        for k in range(whole, depth):
            x0, bt = a[a0 + i * a_row + k * a_col], b0 + k * b_row
            for j in range(n):
                row[j] += x0 * b[bt + j]


@kernel(fastmath=FASTMATH)
def columns(vectors, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, depth, add):
    """One panel of len(vectors) * LANES columns, from the top row of tiles to the last odd row."""
    i = 0
    while i + TILE_ROWS <= m:
        gemm_tile(_SIX, vectors, a, a0 + i * a_row, a_row, a_col, b, b0, b_row, c, c0 + i * c_row, c_row, depth, add)
        i += TILE_ROWS
    while i + 2 <= m:
        gemm_tile(_TWO, vectors, a, a0 + i * a_row, a_row, a_col, b, b0, b_row, c, c0 + i * c_row, c_row, depth, add)
        i += 2
    if i < m:
        gemm_tile(_ONE, vectors, a, a0 + i * a_row, a_row, a_col, b, b0, b_row, c, c0 + i * c_row, c_row, depth, add)


@kernel
def _tiled(a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, n, depth):
    """Full-width panels, then panels of one vector, then plain loops for the last columns."""
    j = 0
    while j + TILE_WIDTH <= n:
        columns(_WIDE, a, a0, a_row, a_col, b, b0 + j, b_row, c, c0 + j, c_row, m, depth, True)
        j += TILE_WIDTH
    while j + 2 * LANES <= n:
        columns(_TWO, a, a0, a_row, a_col, b, b0 + j, b_row, c, c0 + j, c_row, m, depth, True)
        j += 2 * LANES
    while j + LANES <= n:
        columns(_ONE, a, a0, a_row, a_col, b, b0 + j, b_row, c, c0 + j, c_row, m, depth, True)
        j += LANES
    if j < n:
        plain(a, a0, a_row, a_col, b, b0 + j, b_row, c, c0 + j, c_row, m, n - j, depth)


_FLOATS, _INT = types.float32[::1], types.int64
_SIGNATURE = (_FLOATS, _INT, _INT, _INT, _FLOATS, _INT, _INT, _FLOATS, _INT, _INT, _INT, _INT, _INT)
_call_tiled = caller(_SIGNATURE)


FEW = 3  # rows of A below which tiles do not pay


def gemm_code(dtype, rows: int = TILE_ROWS) -> int:
    """What a kernel on arrays of this dtype needs to call gemm: for float32 the address of the code for this many rows
    of A, tiles or plain loops, else 0."""
    if not LANES or dtype != np.float32:
        return 0
    return _code(plain if rows < FEW else _tiled)


@functools.cache
def _code(kernel) -> int:
    return address(kernel, _SIGNATURE)


def gemm(code, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, n, depth):
    """C += A B with A (m,depth), B (depth,n), C (m,n) inside flat arrays a, b, c of one dtype; code: gemm_code.

    A[i,k] = a[a0 + i*a_row + k*a_col], B[k,j] = b[b0 + k*b_row + j], C[i,j] = c[c0 + i*c_row + j]. Strides of A are
    free, so the same code multiplies by A or by its transpose. Callable from kernels only."""
    getattr(plain, "py_func", plain)(a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, n, depth)


@overload(gemm, inline="never")
def _choose_gemm(code, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, n, depth):
    if LANES and a.dtype == types.float32:
        def run(code, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, n, depth):
            _call_tiled(code, (a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, n, depth))
    else:
        def run(code, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, n, depth):
            plain(a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, m, n, depth)
    return run
