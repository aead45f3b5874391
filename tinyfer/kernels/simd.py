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

import itertools

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
SUMMED = 32  # products that a register tile adds up before their sum joins the rest

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

    Every SUMMED products the sum joins C and starts from 0 again: rounding errors then grow with the length of these
    stretches and with their number, not with the product (Higham, Accuracy and Stability, section 4.2). Of all
    roundings of a Winograd convolution these count most.

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
        row_offsets = [emit.times(a_row, i) for i in range(height)]
        stretches = builder.udiv(builder.add(depth, _INT64(SUMMED - 1)), _INT64(SUMMED))
        with cgutils.for_range(builder, stretches) as stretch:
            start = emit.times(stretch.index, SUMMED)
            left = builder.sub(depth, start)
            count = builder.select(builder.icmp_signed("<", left, _INT64(SUMMED)), left, _INT64(SUMMED))
            top, first = (builder.gep(p, [builder.mul(start, step)]) for p, step in ((pa, a_col), (pb, b_row)))
            for slot in slots.values():
                builder.store(emit.constant(0.0), slot)
            with cgutils.for_range(builder, count) as loop:
                column = builder.gep(top, [builder.mul(loop.index, a_col)])
                row = builder.gep(first, [builder.mul(loop.index, b_row)])
                vs = [emit.load(row, _INT64(j * LANES)) for j in range(width)]
                for i in range(height):
                    scalar = emit.broadcast(column, row_offsets[i])
                    for j in range(width):
                        builder.store(emit.fma(scalar, vs[j], builder.load(slots[i, j])), slots[i, j])
            later = builder.icmp_signed(">", stretch.index, _INT64(0))
            with builder.if_else(builder.or_(emit.flag(13), later)) as (adding, overwriting):
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

# Interpolation points, in pairs +p, -p whose rows share their even and odd parts. The more alike the sizes of the
# points' powers, the smaller the rounding errors: these halve those of the usual 0, +-1, +-2 (tests/test_winograd.py),
# and all powers that occur are exact in binary. F(1, 1) is the plain product: a tile is one pixel.
_POINTS: dict[int, tuple] = {
    1: (), 4: (0, 1, -1), 5: (3 / 8, -3 / 8, 5 / 4, -5 / 4), 6: (0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)}  # fmt: skip


def winograd_matrices(m: int, r: int, points: tuple = ()) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A^T (m,n), G (n,r) and B^T (n,n) of F(m, r), from n - 1 interpolation points (ours unless others are given) and
    infinity, by the Cook-Toom method.

    Both factors are evaluated as polynomials at n - 1 points and at infinity, multiplied there, and the product, a
    polynomial again, is read off by Lagrange's formula; the convolution is that scheme transposed."""
    n = m + r - 1
    points = np.array(points or _POINTS[n], float)
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


def _pairs(rows):
    """Pairs of rows that differ in some signs only, as (number, number, entries alike, entries opposite)."""
    for a, b in itertools.combinations(range(len(rows)), 2):
        alike, opposite = (np.where(rows[a] == sign * rows[b], rows[a], 0) for sign in (1, -1))
        if np.array_equal(abs(rows[a]), abs(rows[b])) and alike.any() and opposite.any():
            yield a, b, alike, opposite


def _times_matrix(emit, matrix, xs):
    """matrix @ xs on vectors. Points in pairs +p, -p make pairs of columns, x and y, of which every row takes either
    x + y or x - y; or pairs of rows, e + o and e - o, where a first factor of o joins the last addition: one fused
    multiply-add a row."""
    matrix, xs = matrix.copy(), list(xs)
    for a, b, alike, opposite in list(_pairs(matrix.T)):
        xs[a], xs[b] = emit.builder.fadd(xs[a], xs[b]), emit.builder.fsub(xs[a], xs[b])
        matrix[:, a], matrix[:, b] = alike, opposite
    out = [None] * len(matrix)
    for a, b, alike, opposite in _pairs(matrix):
        factor = opposite[np.flatnonzero(opposite)[0]]
        even, odd = _combine(emit, alike, xs), _combine(emit, opposite / factor, xs)
        out[a], out[b] = (emit.fma(odd, emit.constant(sign * factor), even) for sign in (1, -1))
    return [_combine(emit, row, xs) if done is None else done for row, done in zip(matrix, out, strict=True)]


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


# Which matrix a tile of plain numbers is multiplied by: A^T (products -> outputs), G (filter -> frequencies), G^T
# (gradient of the frequencies -> gradient of the filter).
OUTPUTS, FILTER, FILTER_GRADIENT = (0,) * 1, (0,) * 2, (0,) * 3


@intrinsic
def transform_tile(typing, matrix, tile, kernel, x, x0, row, column, out, out0, step):
    """M X M^T for LANES channels: X[i, j] = x[x0 + i*row + j*column], entry number f of the result to
    out[out0 + f*step]."""
    signature = types.void(matrix, tile, kernel, x, x0, row, column, out, out0, step)
    at, g, _ = winograd_matrices(len(tile), len(kernel))
    transform = (at, g, g.T)[len(matrix) - 1]

    def codegen(context, builder, signature, arguments):
        emit = _Emitter(context, builder, signature, arguments)
        px, row, column = emit.pointer(3, 4), emit.integer(5), emit.integer(6)
        po, step = emit.pointer(7, 8), emit.integer(9)

        def load(i, j):
            return emit.load(px, builder.add(emit.times(row, i), emit.times(column, j)))

        for i, j, vector in _sandwich(emit, transform, load):
            emit.store(vector, po, emit.times(step, i * len(transform) + j))
        return context.get_dummy_value()

    return signature, codegen


# What is done with finished outputs, as the length of a tuple.
STORE = ()
SUM = (0,)  # stored, and summed: the first sum of y - pivot, the second of its square
MASK = (0,) * 2  # made 0 where the ReLU below was (s * x + q <= 0 there); stored; sums of it and of it * (x - pivot)


@intrinsic
def finish_pixels(typing, epilogue, a, a0, a_row, a_col, rows, cols, y, y0, y_row, y_col, x, pivot, pivot0, s, q, k,
                  sums, sums0, sums_row):
    """The epilogue of rows x cols finished pixels, LANES channels from k on: a[a0 + i*a_row + j*a_col] goes to
    y[y0 + i*y_row + j*y_col], and x, the raw values below, lie like y. Sums start from 0 in
    registers (as in gemm_tile: stretches keep rounding errors small) and join sums[sums0] and sums[sums0 + sums_row]
    at the end."""
    signature = types.void(epilogue, a, a0, a_row, a_col, rows, cols, y, y0, y_row, y_col, x, pivot, pivot0, s, q, k,
                           sums, sums0, sums_row)
    form = len(epilogue)

    def codegen(context, builder, signature, arguments):
        emit = _Emitter(context, builder, signature, arguments)
        pa, py, px, zero = emit.pointer(1, 2), emit.pointer(7, 8), emit.pointer(11, 8), emit.constant(0.0)
        p_sums, offsets = emit.pointer(17, 18), (_INT64(0), emit.integer(19))
        pivot = emit.load(emit.pointer(12, 13), _INT64(0)) if form else None
        scale, shift = (emit.load(emit.pointer(i, 16), _INT64(0)) if form == 2 else None for i in (14, 15))
        slots = [cgutils.alloca_once(builder, emit.vector) for _ in offsets] if form else []
        for slot in slots:
            builder.store(zero, slot)

        def add(slot, left, right):
            builder.store(emit.fma(left, right, builder.load(slot)), slot)

        with cgutils.for_range(builder, emit.integer(5)) as row, cgutils.for_range(builder, emit.integer(6)) as col:
            there = builder.add(builder.mul(row.index, emit.integer(3)), builder.mul(col.index, emit.integer(4)))
            here = builder.add(builder.mul(row.index, emit.integer(9)), builder.mul(col.index, emit.integer(10)))
            value = emit.load(pa, there)
            if form == 2:
                below = emit.load(px, here)
                value = builder.select(builder.fcmp_ordered("<=", emit.fma(below, scale, shift), zero), zero, value)
                add(slots[1], value, builder.fsub(below, pivot))
            elif form == 1:
                d = builder.fsub(value, pivot)
                add(slots[1], d, d)
            if form:
                builder.store(builder.fadd(builder.load(slots[0]), value if form == 2 else d), slots[0])
            emit.store(value, py, here)
        for slot, offset in zip(slots, offsets, strict=False):
            emit.store(builder.fadd(emit.load(p_sums, offset), builder.load(slot)), p_sums, offset)
        return context.get_dummy_value()

    return signature, codegen
