"""The machine's own limits, multiply-adds and memory, and the ladder: one convolution, written from slow to fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from unittest import mock

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from tinyfer import layers, machine, ops
from tinyfer.bench.child import Task, repeat
from tinyfer.kernels import fused, tiles, winograd
from tinyfer.kernels.compile import LANES
from tinyfer.kernels.conv import gather, pad_borders
from tinyfer.kernels.gemm import gemm, gemm_code
from tinyfer.kernels.simd import FILTER, INPUT, PLAIN, STORE

CHAINS = 12  # sums that do not wait for each other: more than latency times units, few enough for 16 registers
_GAP = 64  # floats between what two threads write
LAYER = (16, 48, 64, 64, 3)  # N, side, C, K, kernel of the ladder's convolution
TINY = (1, 6, 4, 4, 3)  # of the rung in plain Python, which is far too slow for more
RUN = 4  # layers of that convolution, batch norm and ReLU in a row, of the rungs about what lies between convolutions


# ------------------------------------------------------------------------------------------------------- multiply-adds


@intrinsic
def _multiply_adds(typing, chains, lanes, loops, out, at):
    """`loops` times a multiply-add in each of len(chains) vectors of len(lanes) floats; their sum goes to out[at:]."""
    signature = types.void(chains, lanes, types.int64, out, types.int64)

    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(ir.FloatType(), len(lanes))
        kind = ir.FunctionType(vector, [vector] * 3)
        # fmuladd: fused where the processor can, a product and a sum where it cannot
        fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{len(lanes)}f32")

        def constant(value):
            return ir.Constant(vector, [float(np.float32(value))] * len(lanes))

        slots = [cgutils.alloca_once_value(builder, constant(1 + i)) for i in range(len(chains))]
        with cgutils.for_range(builder, arguments[2]):
            for slot in slots:
                builder.store(builder.call(fma, [builder.load(slot), constant(0.999), constant(0.001)]), slot)
        total = constant(0)
        for slot in slots:
            total = builder.fadd(total, builder.load(slot))
        array = context.make_array(signature.args[3])(context, builder, arguments[3])
        pointer = builder.bitcast(builder.gep(array.data, [arguments[4]]), vector.as_pointer())
        builder.store(total, pointer, align=4)
        return context.get_dummy_value()

    return signature, codegen


@numba.njit(parallel=True, nogil=True)
def _all_cores(chains, lanes, workers, loops, out):
    for worker in numba.prange(workers):
        _multiply_adds(chains, lanes, loops, out, worker * _GAP)


class Peak(Task):
    """The most multiply-adds a second: a loop of nothing else, in registers. Its `seconds` are of 1e9 FLOPs."""

    def __init__(self, threads: int):
        machine.set_threads(threads)
        self.threads, self.out = threads, np.zeros(threads * _GAP, np.float32)
        lanes = sorted({LANES or 4, min(LANES, 8) or 4})  # a narrower vector may keep a higher clock
        self.forms = [((0,) * CHAINS, (0,) * width) for width in lanes]
        for form in self.forms:
            _all_cores(*form, threads, 1, self.out)

    def run(self, warm: float, seconds: float) -> dict:
        """The quickest of many bursts of a few milliseconds, over all vector widths: a peak is a maximum."""
        loops, best = 2_000_000, float("inf")
        begun = time.perf_counter()
        while time.perf_counter() - begun < warm + seconds:
            for chains, lanes in self.forms:
                tick = time.perf_counter()
                _all_cores(chains, lanes, self.threads, loops, self.out)
                taken = time.perf_counter() - tick
                best = min(best, taken / (2e-9 * len(chains) * len(lanes) * loops * self.threads))
        return {"seconds": best, "steps": 1}


# ------------------------------------------------------------------------------------------------------------- memory


@numba.njit(parallel=True, nogil=True, fastmath=True)
def _triad(a, b, c, s):
    for i in numba.prange(a.size):
        a[i] = b[i] + s * c[i]


class Triad(Task):
    """a = b + s c on arrays far beyond the caches (McCalpin's STREAM): its `seconds` are of 1e9 bytes."""

    def __init__(self, threads: int, size: int = 1 << 25):
        machine.set_threads(threads)
        self.arrays = [np.ones(size, np.float32) for _ in range(3)]
        self.step()

    def step(self) -> None:
        a, b, c = self.arrays
        _triad(a, b, c, np.float32(0.5))

    def run(self, warm: float, seconds: float) -> dict:
        answer = repeat(self.step, warm, seconds)
        return {**answer, "seconds": answer["seconds"] / (3 * 4 * self.arrays[0].size / 1e9)}


# ---------------------------------------------------------------------------------------------------------- the ladder


def seven_loops(x, w, y):
    """A convolution as it is defined, stride 1 and padded so that the picture keeps its size."""
    for picture in range(x.shape[0]):
        _by_definition(x[picture], w, y[picture], w.shape[0] // 2)


def _by_definition(x, w, y, pad):
    """One picture: each output is a sum, and is finished before the next."""
    height, width, channels = x.shape
    for p in range(height):
        for q in range(width):
            for k in range(w.shape[3]):
                total = y.dtype.type(0)
                for i in range(w.shape[0]):
                    for j in range(w.shape[1]):
                        if 0 <= p + i - pad < height and 0 <= q + j - pad < width:
                            for c in range(channels):
                                total += x[p + i - pad, q + j - pad, c] * w[i, j, c, k]
                y[p, q, k] = total


@numba.njit(nogil=True)
def _by_neighbours(x, w, y, pad):
    """One picture, the same sums in another order: the innermost loop goes over numbers that lie side by side."""
    height, width, channels = x.shape
    y[...] = 0
    for p in range(height):
        for q in range(width):
            for i in range(w.shape[0]):
                for j in range(w.shape[1]):
                    if 0 <= p + i - pad < height and 0 <= q + j - pad < width:
                        for c in range(channels):
                            for k in range(w.shape[3]):
                                y[p, q, k] += x[p + i - pad, q + j - pad, c] * w[i, j, c, k]


_compiled_definition = numba.njit(nogil=True)(_by_definition)


@numba.njit(nogil=True)
def _compiled(x, w, y):
    for picture in range(x.shape[0]):
        _compiled_definition(x[picture], w, y[picture], w.shape[0] // 2)


@numba.njit(nogil=True)
def _reordered(x, w, y):
    for picture in range(x.shape[0]):
        _by_neighbours(x[picture], w, y[picture], w.shape[0] // 2)


@numba.njit(parallel=True, nogil=True)
def _parallel(x, w, y):
    for picture in numba.prange(x.shape[0]):
        _by_neighbours(x[picture], w, y[picture], w.shape[0] // 2)


def with_numpy(x, w):
    """The taps of every pixel side by side (im2col), then one matrix product by NumPy's BLAS."""
    kernel, pad = w.shape[0], w.shape[0] // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))  # (N,H,W,C,kh,kw)
    return np.tensordot(taps, w, axes=((4, 5, 3), (0, 1, 2)))


@numba.njit(parallel=True, nogil=True)
def _gathered(code, patches, x, w, y):
    """The same with register tiles for the product: picture by picture all taps are copied out, to patches (N,
    H*W*kh*kw*C), then multiplied."""
    kernel, outputs = w.shape[0], w.shape[3]
    padded = pad_borders(x, kernel // 2)
    n, height, width, channels = x.shape
    row, run = padded.shape[2] * channels, kernel * channels
    flat_x, flat_w, flat_y = padded.reshape(-1), w.reshape(-1), y.reshape(-1)
    size = height * width * outputs
    for picture in numba.prange(n):
        flat_y[picture * size : (picture + 1) * size] = 0
        for p in range(height):
            gather(patches[picture, p * width * kernel * run :], flat_x, (picture * padded.shape[1] + p) * row, row,
                    kernel, run, channels, width)
        gemm(code, patches[picture], 0, kernel * run, 1, flat_w, 0, outputs, flat_y, picture * size, outputs,
             height * width, outputs, kernel * run)


class Winograd:
    """F(4, 3) alone, in three passes: each thread transforms all its tiles, multiplies them, transforms them back."""

    def __init__(self, x, w):
        if not LANES:
            raise ValueError("no vectors on this processor")
        n, height, width, channels = self.shape = x.shape
        self.outputs, self.tile, self.window = w.shape[3], 4, 6
        self.tiles = -(-height // self.tile) * -(-width // self.tile)  # of one picture
        self.workers, self.panel = numba.get_num_threads(), winograd.panel_width(self.outputs)
        self.block = -(-n * self.tiles // self.workers)
        self.table = winograd.tile_table(height, width, channels, self.tile, self.window, 1)
        self.u = np.empty(self.window**2 * channels * self.outputs, np.float32)
        self.work = np.empty((self.workers, winograd.workspace_size(self.tile, 3, self.block, channels, self.outputs)),
                             np.float32)
        self.none, self.no_bytes = np.zeros(1, np.float32), np.zeros(1, np.uint8)

    def __call__(self, x, w):
        """x (N,H,W,C), w (3,3,C,K) -> y (N,H,W,K)."""
        n, height, width, channels = self.shape
        size, a, none = channels * self.outputs, x.reshape(-1), self.none
        y = np.empty((n, height, width, self.outputs), np.float32)
        winograd.transform_filters(tiles.filter_transformer(FILTER, self.tile, 3), channels, self.outputs,
                                   w.reshape(-1), 3 * size, size, self.u, size, self.panel)
        winograd.convolve(self.workers, self.block, tiles.reader(INPUT, PLAIN, self.tile, 3),
                          tiles.multiplier(self.panel), tiles.writer(STORE, self.tile, 3),
                          (a, a, self.no_bytes, none, none, none, *self.table), x.size // n, x.size // n, self.u,
                          self.panel, (y.reshape(-1), none, none, none, none, none), n * self.tiles, self.tiles,
                          self.window**2, height, width, channels, self.outputs, self.work)
        return y


def in_large_blocks(blocks, shape) -> fused.FusedRun:
    """The engine's run of these blocks, but for its care for the caches: each thread's tiles are one block."""
    threads = numba.get_num_threads()
    share = -(-shape[0] * (shape[1] // 4) * (shape[2] // 4) // threads)
    with mock.patch.object(fused, "block_tiles", lambda *sizes: share):
        return fused.FusedRun(blocks, shape)


def one_by_one(convolve, x, blocks):
    """A run of blocks as ops of their own: convolution, batch norm and ReLU, each reading and writing the whole."""
    for block in blocks:
        y = convolve(x, block.layers["conv"].weight.value)
        x = ops.relu_forward(ops.batchnorm_forward(y, block.layers["bn"].gamma.value, block.layers["bn"].beta.value)[0])
    return x


class Rung(Task):
    """One convolution by one way, or (WHOLE) a run of RUN of them, each with batch norm and ReLU, which trains."""

    WHOLE = ("apart", "fused", "engine")

    def __init__(self, way: str, threads: int):
        machine.set_threads(threads)
        rng = np.random.default_rng(3)
        n, side, c, k, kernel = TINY if way == "loops" else LAYER
        self.way, self.x = way, rng.standard_normal((n, side, side, c), np.float32)
        self.w = rng.standard_normal((kernel, kernel, c, k), np.float32)
        self.y = np.zeros((n, side, side, k), np.float32)
        self.stack = layers.ConvStack({f"block{i}": layers.ConvBlock(c, k, rng, kernel) for i in range(RUN)})
        self.blocks = list(self.stack.layers.values())
        self.step = getattr(self, f"_{way}")()

    def _into(self, function, *first) -> Callable:
        def step():
            function(*first, self.x, self.w, self.y)
            return self.y
        return step

    def _loops(self):
        return self._into(seven_loops)

    def _numpy(self):
        return lambda: with_numpy(self.x, self.w)

    def _njit(self):
        return self._into(_compiled)

    def _order(self):
        return self._into(_reordered)

    def _prange(self):
        return self._into(_parallel)

    def _tile(self):
        taps = self.x[0].size * self.w.shape[0] ** 2
        return self._into(_gathered, gemm_code(self.x.dtype), np.empty((len(self.x), taps), np.float32))

    def _direct(self):
        return lambda: ops.conv2d_forward(self.x, self.w, None, 1, self.w.shape[0] // 2)

    def _winograd(self):
        convolve = Winograd(self.x, self.w)
        return lambda: convolve(self.x, self.w)

    def _apart(self):
        convolve = Winograd(self.x, self.w)
        return lambda: one_by_one(convolve, self.x, self.blocks)

    def _fused(self):
        run = in_large_blocks(self.blocks, self.x.shape)
        return lambda: run.forward(self.x)

    def _engine(self):
        return lambda: self.stack.forward(self.x, train=True)

    def error(self) -> float:
        """How far its answer is from the right one, root mean square, relative: a rung that computes something else
        proves nothing. The right one is computed in float64, on the first picture; for a run, whose batch norm wants
        all pictures, by the ops."""
        if self.way in self.WHOLE:
            right = one_by_one(lambda x, w: ops.conv2d_forward(x, w, None, 1, w.shape[0] // 2), self.x, self.blocks)
        else:
            right = with_numpy(self.x[:1].astype(np.float64), self.w.astype(np.float64))
        answer = np.asarray(self.step())
        gap = answer[: len(right)] - right
        return float(np.sqrt(np.mean(gap**2, dtype=np.float64) / np.mean(right**2, dtype=np.float64)))


def layer_flops(way: str) -> float:
    """Direct FLOPs of the convolutions that Rung(way) computes."""
    n, side, c, k, kernel = TINY if way == "loops" else LAYER
    return 2.0 * n * side * side * c * k * kernel**2 * (RUN if way in Rung.WHOLE else 1)
