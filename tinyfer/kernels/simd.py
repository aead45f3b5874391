"""The one file that knows vectors: register tiles written as LLVM instructions through Numba's `@intrinsic`.

A register tile computes a small block of C += A B wholly in the processor's registers:

                     B   k ->   [ v0 | v1 | v2 | v3 ]     one row of B: VECTORS vectors of LANES numbers
                                   |    |    |    |
    A   one column        a0 -> [ c00| c01| c02| c03]     ROWS x VECTORS accumulators live in registers
        of ROWS           a1 -> [ c10| c11| c12| c13]     for the whole loop over k and touch memory
        numbers           ...   [ ...               ]     once at the start and once at the end
                          a5 -> [ c50| c51| c52| c53]

For each k: VECTORS loads from B, ROWS broadcasts from A, and ROWS * VECTORS fused multiply-adds. A 6 x 4 tile does 24
of those for 10 loads, so that the multiply units, not the load units, set the pace; and with 24 independent
accumulators each unit always has one whose last result is ready (a fused multiply-add takes about 4 cycles).

AVX-512 and NEON have 32 vector registers, enough for 6 x 4 accumulators; AVX2 has 16, enough for 6 x 2.
Nothing here checks bounds: `ops` proves the shapes before any of it runs."""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from tinyfer.kernels.compile import LANES, VECTOR_BITS

# Tile of the widest kernel here: rows of A, vectors of B. Passed as tuples, because a tuple's length is part of its
# type, and the type is all an intrinsic can see: one kernel body serves every tile size, and Numba's disk cache still
# finds it.
TILE_ROWS = 6
TILE_VECTORS = 2 if VECTOR_BITS == 256 else 4
TILE_WIDTH = TILE_VECTORS * LANES

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_ALIGN = 4  # our arrays are aligned to their elements only; unaligned loads cost nothing on aligned data


class _Emitter:
    """Emits vector instructions for one intrinsic: loads, stores, broadcasts, fused multiply-adds of LANES floats."""

    def __init__(self, context, builder, signature, arguments):
        self.context, self.builder, self.types, self.arguments = context, builder, signature.args, arguments
        self.vector = ir.VectorType(_FLOAT, LANES)
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")

    def integer(self, position):
        return self.context.cast(self.builder, self.arguments[position], self.types[position], types.int64)

    def flag(self, position):
        return self.context.cast(self.builder, self.arguments[position], self.types[position], types.boolean)

    def constant(self, value):
        return ir.Constant(self.vector, [float(np.float32(value))] * LANES)

    def pointer(self, array, start):
        """Address of element number (argument `start`) of (argument `array`), a flat float32 array."""
        return self.builder.gep(self.data(array), [self.integer(start)])

    def data(self, array):
        """Address of the first element of (argument `array`)."""
        return self.context.make_array(self.types[array])(self.context, self.builder, value=self.arguments[array]).data

    def keep(self, vector, mask):
        """vector where the int32 mask is -1, zeros (of NaN, too) where it is 0."""
        integers = ir.VectorType(_INT32, LANES)
        both = self.builder.and_(self.builder.bitcast(vector, integers), self._splat(mask, integers))
        return self.builder.bitcast(both, self.vector)

    def bytes_equal(self, pointer, offset, value):
        """For each of LANES bytes at pointer + offset: does it equal value (an int32)?"""
        octets = ir.VectorType(ir.IntType(8), LANES)
        there = self.builder.bitcast(self.builder.gep(pointer, [offset]), octets.as_pointer())
        wanted = self._splat(self.builder.trunc(value, ir.IntType(8)), octets)
        return self.builder.icmp_unsigned("==", self.builder.load(there, align=1), wanted)

    def _splat(self, scalar, kind):
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, _INT32(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))

    def _at(self, pointer, offset):
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.vector.as_pointer())

    def load(self, pointer, offset):
        return self.builder.load(self._at(pointer, offset), align=_ALIGN)

    def store(self, value, pointer, offset):
        self.builder.store(value, self._at(pointer, offset), align=_ALIGN)

    def broadcast(self, pointer, offset):
        return self._splat(self.builder.load(self.builder.gep(pointer, [offset])), self.vector)

    def fma(self, a, b, c):
        """a * b + c, rounded once."""
        return self.builder.call(self._fma, [a, b, c])

    def times(self, integer, constant):
        return self.builder.mul(integer, _INT64(constant))


@intrinsic
def gemm_tile(typing, rows, vectors, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, depth, add):
    """C[i, :] += sum over k < depth of A[i, k] * B[k, :] for len(rows) rows and len(vectors) * LANES columns, float32;
    where `add` is false C is overwritten instead.

    The sum starts from 0 and joins C at the end: a long sum that comes in several calls is added up in stretches, and
    rounding errors grow with their length and with their number, not with the product (Higham, Accuracy and Stability,
    section 4.2).

    A[i, k] is a[a0 + i*a_row + k*a_col], B[k, j] is b[b0 + k*b_row + j], C[i, j] is c[c0 + i*c_row + j]: flat
    arrays."""
    signature = types.void(rows, vectors, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, depth, add)
    height, width = len(rows), len(vectors)

    def codegen(context, builder, signature, arguments):
        emit = _Emitter(context, builder, signature, arguments)
        pa, pb, pc = emit.pointer(2, 3), emit.pointer(6, 7), emit.pointer(9, 10)
        a_row, a_col, b_row, c_row, depth = (emit.integer(i) for i in (4, 5, 8, 11, 12))
        tile = [(i, j, builder.add(emit.times(c_row, i), _INT64(j * LANES)))
                for i in range(height) for j in range(width)]
        # One stack slot an accumulator: LLVM turns the slots into registers.
        slots = {(i, j): cgutils.alloca_once(builder, emit.vector) for i, j, _ in tile}
        for slot in slots.values():
            builder.store(emit.constant(0.0), slot)
        row_offsets = [emit.times(a_row, i) for i in range(height)]
        with cgutils.for_range(builder, depth) as loop:
            column = builder.gep(pa, [builder.mul(loop.index, a_col)])
            row = builder.gep(pb, [builder.mul(loop.index, b_row)])
            vs = [emit.load(row, _INT64(j * LANES)) for j in range(width)]
            for i in range(height):
                scalar = emit.broadcast(column, row_offsets[i])
                for j in range(width):
                    builder.store(emit.fma(scalar, vs[j], builder.load(slots[i, j])), slots[i, j])
        with builder.if_else(emit.flag(13)) as (adding, overwriting):
            with adding:
                for i, j, offset in tile:
                    emit.store(builder.fadd(emit.load(pc, offset), builder.load(slots[i, j])), pc, offset)
            with overwriting:
                for i, j, offset in tile:
                    emit.store(builder.load(slots[i, j]), pc, offset)
        return context.get_dummy_value()

    return signature, codegen


# ------------------------------------------------------------------------------------------------- Winograd transforms
#
# A Winograd convolution F(m, r) computes an m x m tile of outputs of an r x r kernel from an n x n window of inputs, n
# = m + r - 1, as  Y = A^T [ (G w G^T) * (B^T x B) ] A  with one product a channel pair and frequency: n^2 in place of
# m^2 r^2 (Winograd 1980; Lavin & Gray 2016). Tile and kernel sizes are passed as the lengths of tuples, see TILE_ROWS.

# F(1, 1) is the plain product: a tile is one pixel.
_POINTS: dict[int, tuple] = {1: (), 4: (0, 1, -1), 5: (0, 1, -1, 2), 6: (0, 1, -1, 2, -2)}


def winograd_matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A^T (m,n), G (n,r) and B^T (n,n) of F(m, r), from the interpolation points by the Cook-Toom method.

    Both factors are evaluated as polynomials at n - 1 points and at infinity, multiplied there, and the product, a
    polynomial again, is read off by Lagrange's formula; the convolution is that scheme transposed."""
    n = m + r - 1
    points = np.array(_POINTS[n], float)
    at, g, bt = np.zeros((m, n)), np.zeros((n, r)), np.zeros((n, n))
    for j, point in enumerate(points):
        others = np.delete(points, j)
        at[:, j] = point ** np.arange(m)
        g[j] = point ** np.arange(r) / np.prod(point - others)
        bt[j, : n - 1] = np.atleast_1d(np.poly(others))[::-1]
    at[m - 1, n - 1] = g[n - 1, r - 1] = 1
    bt[n - 1] = np.atleast_1d(np.poly(points))[::-1]
    return at, g, bt


def _combine(emit, row, xs):
    """sum of row[k] * xs[k] over the non-zero entries: additions first, then fused multiply-adds."""
    order = sorted(np.flatnonzero(row), key=lambda k: abs(row[k]) != 1)
    total = None
    for k in order:
        if total is None:
            total = xs[k] if row[k] == 1 else emit.builder.fmul(xs[k], emit.constant(row[k]))
        elif abs(row[k]) == 1:
            total = (emit.builder.fadd if row[k] == 1 else emit.builder.fsub)(total, xs[k])
        else:
            total = emit.fma(xs[k], emit.constant(row[k]), total)
    return total


def _times_matrix(emit, matrix, xs):
    """matrix @ xs on vectors. The points come in pairs +p, -p, whose rows share even and odd parts: e + o and e - o."""
    out = [None] * len(matrix)
    for a in range(len(matrix)):
        for b in range(a + 1, len(matrix)):
            even = np.where(matrix[a] == matrix[b], matrix[a], 0)
            odd = np.where(matrix[a] == -matrix[b], matrix[a], 0)
            pair = np.array_equal(abs(matrix[a]), abs(matrix[b])) and even.any() and odd.any()
            if pair and out[a] is None and out[b] is None:
                e, o = _combine(emit, even, xs), _combine(emit, odd, xs)
                out[a], out[b] = emit.builder.fadd(e, o), emit.builder.fsub(e, o)
        if out[a] is None:
            out[a] = _combine(emit, matrix[a], xs)
    return out


def _sandwich(emit, matrix, load):
    """Yields (i, j, vector) of matrix @ X @ matrix^T, X[i, j] = load(i, j): columns first, then rows."""
    side = matrix.shape[1]
    columns = [_times_matrix(emit, matrix, [load(i, j) for i in range(side)]) for j in range(side)]
    for i in range(len(matrix)):
        for j, vector in enumerate(_times_matrix(emit, matrix, [column[i] for column in columns])):
            yield i, j, vector


# What a tile is read from, as the length of a tuple.
PLAIN = ()  # a as it is
DEFERRED = (0,)  # the ReLU of s * a + q: a is a raw convolution output whose normalisation was put off until here
MASKED = (0,) * 2  # s * a + q * b + r: the gradient of a raw output b, from the masked gradient a of what follows
POOLED = (0,) * 3  # the same where a is the gradient after a 2x2 max-pool: it counts where `index` names this tap
# Which matrix a tile is multiplied by.
INPUT, GRADIENT = (), (0,)  # B^T on an n x n window; A on an m x m tile of output gradients


@intrinsic
def read_tile(typing, matrix, source, tile, kernel, a, a0, b, b0, index, s, q, r, c, offsets, pooled, taps, inside, t0,
              out, out0, out_step):
    """Transform one tile of LANES channels from c on: out[out0 + f * out_step] for each of the n^2 frequencies f.

    Pixel number p of the window is a[a0 + offsets[t0 + p] + c] (and b likewise), or 0 where inside[t0 + p] is 0; for
    POOLED a is read at pooled[t0 + p] instead, and counts where index there equals taps[t0 + p]. s, q, r: one number a
    channel."""
    signature = types.void(matrix, source, tile, kernel, a, a0, b, b0, index, s, q, r, c, offsets, pooled, taps,
                           inside, t0,
                           out, out0, out_step)
    m, form = len(tile), len(source)
    at, _, bt = winograd_matrices(m, len(kernel))
    transform = at.T if len(matrix) else bt

    def codegen(context, builder, signature, arguments):
        emit = _Emitter(context, builder, signature, arguments)
        channel = emit.integer(12)
        pa = builder.gep(emit.pointer(4, 5), [channel])
        pb = builder.gep(emit.pointer(6, 7), [channel])
        p_index = builder.gep(emit.data(8), [builder.add(emit.integer(5), channel)])
        scale, shift, extra = (emit.load(emit.data(i), channel) if form > 0 else None for i in (9, 10, 11))
        tables = {name: emit.pointer(position, 17) for name, position in
                  (("offset", 13), ("pooled", 14), ("tap", 15), ("inside", 16))}
        po, step = emit.pointer(18, 19), emit.integer(20)
        zero = emit.constant(0.0)

        def entry(name, position):
            return builder.load(builder.gep(tables[name], [_INT64(position)]))

        def load(i, j):
            position = i * transform.shape[1] + j
            offset = builder.sext(entry("offset", position), _INT64)
            if form == 0:
                value = emit.load(pa, offset)
            elif form == 1:
                z = emit.fma(emit.load(pa, offset), scale, shift)
                value = builder.select(builder.fcmp_ordered("<", z, zero), zero, z)
            else:
                if form == 2:
                    dz = emit.load(pa, offset)
                else:
                    there = builder.sext(entry("pooled", position), _INT64)
                    won = emit.bytes_equal(p_index, there, entry("tap", position))
                    dz = builder.select(won, emit.load(pa, there), zero)
                value = emit.fma(dz, scale, emit.fma(emit.load(pb, offset), shift, extra))
            return emit.keep(value, entry("inside", position))

        for i, j, vector in _sandwich(emit, transform, load):
            emit.store(vector, po, emit.times(step, i * len(transform) + j))
        return context.get_dummy_value()

    return signature, codegen


# What is done with each finished vector of outputs, as the length of a tuple.
STORE = ()
SUM = (0,)  # stored, and summed: the first sum of y - pivot, the second of its square
MASK = (0,) * 2  # made 0 where the ReLU below was (s * x + q < 0 there); stored; sums of it and of it * (x - pivot)


def _finish(emit, form, vector, y, offset, first, second, below, constants):
    """The epilogue of one pixel's vector; answers the two running sums."""
    builder = emit.builder
    if form == 1:
        (pivot,) = constants
        d = builder.fsub(vector, pivot)
        first, second = builder.fadd(first, d), emit.fma(d, d, second)
    elif form == 2:
        pivot, s, q = constants
        zero, x = emit.constant(0.0), emit.load(below, offset)
        vector = builder.select(builder.fcmp_ordered("<=", emit.fma(x, s, q), zero), zero, vector)
        first, second = builder.fadd(first, vector), emit.fma(vector, builder.fsub(x, pivot), second)
    emit.store(vector, y, offset)
    return first, second


@intrinsic
def write_tile(typing, epilogue, tile, kernel, products, p0, p_step, k, y, y0, row, column, x, pivot, s, q, sums, sums0,
               sums_row):
    """Transform the n^2 products of one tile back, A^T P A, LANES channels from k on, and finish its m x m outputs.

    Output (i, j) goes to y[y0 + i*row + j*column + k] (x, the raw values below, lie alike); sums are added to
    sums[sums0 + k] and sums[sums0 + sums_row + k]."""
    signature = types.void(epilogue, tile, kernel, products, p0, p_step, k, y, y0, row, column, x, pivot, s, q, sums,
                           sums0,
                           sums_row)
    m, form = len(tile), len(epilogue)
    at, _, bt = winograd_matrices(m, len(kernel))
    n = len(bt)

    def codegen(context, builder, signature, arguments):
        emit = _Emitter(context, builder, signature, arguments)
        pp, step, k = emit.pointer(3, 4), emit.integer(5), emit.integer(6)
        py, px = emit.pointer(7, 8), emit.pointer(11, 8)
        p_sums, sums_row = emit.pointer(15, 16), emit.integer(17)
        row, column = emit.integer(9), emit.integer(10)
        py, px = builder.gep(py, [k]), builder.gep(px, [k])
        constants = [emit.load(emit.data(i), k) for i in (12, 13, 14)[: (0, 1, 3)[form]]]
        slots = (k, builder.add(sums_row, k))
        first, second = (emit.load(p_sums, slot) if form else None for slot in slots)

        def load(i, j):
            return emit.load(pp, emit.times(step, i * n + j))

        for i, j, vector in _sandwich(emit, at, load):
            offset = builder.add(emit.times(row, i), emit.times(column, j))
            first, second = _finish(emit, form, vector, py, offset, first, second, px, constants)
        if form:
            emit.store(first, p_sums, slots[0])
            emit.store(second, p_sums, slots[1])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def filter_tile(typing, tile, kernel, w, w0, row, column, u, u0, u_step):
    """Transform one r x r filter of LANES channels, G w G^T: w[w0 + i*row + j*column] -> u[u0 + f * u_step]."""
    return _matrix_tile(types.void(tile, kernel, w, w0, row, column, u, u0, u_step), winograd_matrices(len(tile),
                                                                                                       len(kernel))[1])


@intrinsic
def filter_gradient_tile(typing, tile, kernel, u, u0, row, column, w, w0, w_step):
    """Transform the gradient of an r x r filter back, G^T dU G: u[u0 + i*row + j*column] -> w[w0 + tap * w_step]."""
    return _matrix_tile(types.void(tile, kernel, u, u0, row, column, w, w0, w_step), winograd_matrices(len(tile),
                                                                                                       len(kernel))[1].T)


def _matrix_tile(signature, matrix):
    def codegen(context, builder, signature, arguments):
        emit = _Emitter(context, builder, signature, arguments)
        px, row, column = emit.pointer(2, 3), emit.integer(4), emit.integer(5)
        po, step = emit.pointer(6, 7), emit.integer(8)

        def load(i, j):
            return emit.load(px, builder.add(emit.times(row, i), emit.times(column, j)))

        for i, j, vector in _sandwich(emit, matrix, load):
            emit.store(vector, po, emit.times(step, i * len(matrix) + j))
        return context.get_dummy_value()

    return signature, codegen
