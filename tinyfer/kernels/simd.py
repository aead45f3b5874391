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

    def pointer(self, array, start):
        """Address of element number (argument `start`) of (argument `array`), a flat float32 array."""
        data = self.context.make_array(self.types[array])(self.context, self.builder, value=self.arguments[array]).data
        return self.builder.gep(data, [self.integer(start)])

    def _at(self, pointer, offset):
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.vector.as_pointer())

    def load(self, pointer, offset):
        return self.builder.load(self._at(pointer, offset), align=_ALIGN)

    def store(self, value, pointer, offset):
        self.builder.store(value, self._at(pointer, offset), align=_ALIGN)

    def broadcast(self, pointer, offset):
        one = self.builder.load(self.builder.gep(pointer, [offset]))
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, one, _INT32(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))

    def fma(self, a, b, c):
        """a * b + c, rounded once."""
        return self.builder.call(self._fma, [a, b, c])

    def times(self, integer, constant):
        return self.builder.mul(integer, _INT64(constant))


@intrinsic
def gemm_tile(typing, rows, vectors, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, depth):
    """C[i, :] += sum over k < depth of A[i, k] * B[k, :] for len(rows) rows and len(vectors) * LANES columns, float32.

    The sum starts from 0 and joins C at the end: a long sum that comes in several calls is added up in stretches, and
    rounding errors grow with their length and with their number, not with the product (Higham, Accuracy and Stability,
    section 4.2).

    A[i, k] is a[a0 + i*a_row + k*a_col], B[k, j] is b[b0 + k*b_row + j], C[i, j] is c[c0 + i*c_row + j]: flat
    arrays."""
    signature = types.void(rows, vectors, a, a0, a_row, a_col, b, b0, b_row, c, c0, c_row, depth)
    height, width = len(rows), len(vectors)

    def codegen(context, builder, signature, arguments):
        emit = _Emitter(context, builder, signature, arguments)
        pa, pb, pc = emit.pointer(2, 3), emit.pointer(6, 7), emit.pointer(9, 10)
        a_row, a_col, b_row, c_row, depth = (emit.integer(i) for i in (4, 5, 8, 11, 12))
        tile = [(i, j, builder.add(emit.times(c_row, i), _INT64(j * LANES)))
                for i in range(height) for j in range(width)]
        # One stack slot an accumulator: LLVM turns the slots into registers.
        slots = {}
        for i, j, _ in tile:
            slots[i, j] = cgutils.alloca_once(builder, emit.vector)
            builder.store(ir.Constant(emit.vector, [0.0] * LANES), slots[i, j])
        row_offsets = [emit.times(a_row, i) for i in range(height)]
        with cgutils.for_range(builder, depth) as loop:
            column = builder.gep(pa, [builder.mul(loop.index, a_col)])
            row = builder.gep(pb, [builder.mul(loop.index, b_row)])
            vs = [emit.load(row, _INT64(j * LANES)) for j in range(width)]
            for i in range(height):
                scalar = emit.broadcast(column, row_offsets[i])
                for j in range(width):
                    builder.store(emit.fma(scalar, vs[j], builder.load(slots[i, j])), slots[i, j])
        for i, j, offset in tile:
            emit.store(builder.fadd(emit.load(pc, offset), builder.load(slots[i, j])), pc, offset)
        return context.get_dummy_value()

    return signature, codegen
