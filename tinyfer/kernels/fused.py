"""A whole run of conv-BN-ReLU(-pool) blocks with nothing between them written twice.

Forward, the raw output y of a convolution is stored once, while its sums for batch norm are taken. Normalisation and
ReLU are put off: what travels on is Deferred(y, scale, shift), and the next convolution applies relu(scale * y +
shift) as it reads its tiles. Backward, what travels down is Masked(dz, sum, sum_x): the gradient after the ReLU's mask
with batch norm's two sums; the gradient of y itself, s * dz + q * y + r, is again made as tiles are read, through the
pooling's index map where there is one.

All arrays are made once for a shape and reused at every step. Nothing leaves or enters but plain arrays."""

import dataclasses

import numba
import numpy as np

from tinyfer.kernels.compile import LANES, kernel
from tinyfer.kernels.gemm import panel_columns
from tinyfer.kernels.simd import GRADIENT, MASK, MASKED, POOLED, STORE, SUM, read_tile, write_tile
from tinyfer.kernels.winograd import (
    GAP,
    ONE,
    convolve,
    flip_weights,
    grad_weight,
    panel_width,
    tile_table,
    transform_weights,
    workspace_size,
)

WORK_FLOATS = 160_000  # one worker's tiles of a block, transformed and multiplied: they should stay in its L2 cache
CHUNK_FLOATS = 2_000_000  # transformed tiles of one chunk of pictures in grad-weight, shared by all workers


# ----------------------------------------------------------------------------------------------- the first convolution


@kernel(inline="always")
def _patches(x, patches, picture, row, height, width, side):
    """The side x side neighbourhood of each pixel of one row of a one-channel picture, zeros outside: (width,
    side^2)."""
    pad = side // 2
    for q in range(width):
        for i in range(side):
            for j in range(side):
                y, z = row + i - pad, q + j - pad
                inside = 0 <= y < height and 0 <= z < width
                patches[(q * side + i) * side + j] = x[(picture * height + y) * width + z] if inside else 0


@kernel
def _first_pictures(panel, first, last, x, w, y, pivot, sums, height, width, side, outputs, patches):
    depth = side * side
    for picture in range(first, last):
        sums0, around = picture * 2 * outputs, pivot[picture * outputs : (picture + 1) * outputs]
        sums[sums0 : sums0 + 2 * outputs] = 0
        for p in range(height):
            _patches(x, patches, picture, p, height, width, side)
            start = (picture * height + p) * width * outputs
            for j in range(outputs // panel):
                panel_columns(panel, patches, 0, depth, 1, w, j * panel, outputs, y, start + j * panel, outputs, width,
                        depth, False)
            if p == 0:
                around[:] = y[start : start + outputs]
            for q in range(width):
                for k in range(0, outputs, LANES):
                    write_tile(SUM, ONE, ONE, y, start + q * outputs + k, 0, k, y, start + q * outputs, 0, 0,
                               y, around, w, w, sums, sums0, outputs)


@kernel(parallel=True)
def first_forward(panel, workers, x, w, y, pivot, sums, n, height, width, side, outputs, patches):
    """Convolution of one-channel pictures x (n,height,width) with w (side,side,1,K) -> y (n,height,width,K), and its
    sums, one row a picture. patches (workers, width * side^2)."""
    for worker in numba.prange(workers):
        _first_pictures(panel, worker * n // workers, (worker + 1) * n // workers, x, w, y, pivot, sums, height,
                        width, side,
                        outputs, patches[worker])


@kernel(inline="always")
def _raw_gradient(form, dz, y, index, s, q, r, table, a0, b0, position, out, channels):
    """s * dz + q * y + r of one pixel, all channels, through the pooling's index map if form is 3."""
    offsets, pooled, taps, inside = table
    for c in range(0, channels, LANES):
        if form == 2:
            read_tile(GRADIENT, MASKED, ONE, ONE, dz, a0, y, b0, index, s, q, r, c, offsets, pooled, taps, inside,
                      position,
                      out, c, 0)
        else:
            read_tile(GRADIENT, POOLED, ONE, ONE, dz, a0, y, b0, index, s, q, r, c, offsets, pooled, taps, inside,
                      position,
                      out, c, 0)


@kernel
def _first_weights(panel, first, last, form, x, dz, y, index, s, q, r, table, dz_size, parts, height, width, side,
                   outputs,
                   patches, line):
    depth = side * side
    for picture in range(first, last):
        part = parts[picture]
        for p in range(height):
            _patches(x, patches, picture, p, height, width, side)
            for z in range(width):
                _raw_gradient(form, dz, y, index, s, q, r, table, picture * dz_size, picture * height * width * outputs,
                              p * width + z, line[z * outputs :], outputs)
            for j in range(outputs // panel):
                panel_columns(panel, patches, 0, 1, depth, line, j * panel, outputs, part, j * panel, outputs, depth,
                        width, p > 0)


@kernel(parallel=True)
def first_grad_weight(panel, workers, form, x, dz, y, index, s, q, r, table, dz_size, parts, n, height, width, side,
                      outputs,
                      patches, lines):
    """dw of the first convolution, one row of parts (n, side^2 * K) a picture; lines (workers, width * K)."""
    for worker in numba.prange(workers):
        _first_weights(panel, worker * n // workers, (worker + 1) * n // workers, form, x, dz, y, index, s, q, r,
                       table,
                       dz_size, parts, height, width, side, outputs, patches[worker], lines[worker])


# -------------------------------------------------------------------------------------------- pooling and the two ends


@kernel
def _pool_row(y, sign, pooled, index, start, row, out, width, channels):
    for p in range(width):
        a = y[start + 2 * p * channels : start + (2 * p + 1) * channels]
        b = y[start + (2 * p + 1) * channels : start + (2 * p + 2) * channels]
        c = y[start + row + 2 * p * channels : start + row + (2 * p + 1) * channels]
        d = y[start + row + (2 * p + 1) * channels : start + row + (2 * p + 2) * channels]
        best = pooled[out + p * channels : out + (p + 1) * channels]
        winner = index[out + p * channels : out + (p + 1) * channels]
        for k in range(channels):
            s = sign[k]
            v, tap = a[k] * s, 0
            # "not <=" instead of ">": a NaN among the later pixels wins; once one has won it stays (v == v fails).
            if not (b[k] * s <= v) and v == v:
                v, tap = b[k] * s, 1
            if not (c[k] * s <= v) and v == v:
                v, tap = c[k] * s, 2
            if not (d[k] * s <= v) and v == v:
                v, tap = d[k] * s, 3
            best[k], winner[k] = v * s, tap


@kernel(parallel=True)
def pool_raw(y, sign, pooled, index, n, height, width, channels):
    """2x2 max-pooling of what relu(scale * y + shift) will be, on raw y: the largest where scale >= 0 (sign 1), else
    the smallest (sign -1). pooled (n,height//2,width//2,C) raw values, index which of the four."""
    for line in numba.prange(n * (height // 2)):
        picture, p = line // (height // 2), line % (height // 2)
        _pool_row(y, sign, pooled, index, (picture * height + 2 * p) * width * channels, width * channels,
                  line * (width // 2) * channels, width // 2, channels)


@kernel(parallel=True)
def activate(a, s, q, out, pixels, channels):
    """relu(s * a + q), what the run hands on as a plain array."""
    for pixel in numba.prange(pixels):
        for c in range(channels):
            z = s[c] * a[pixel * channels + c] + q[c]
            out[pixel * channels + c] = a.dtype.type(0) if z < 0 else z


@kernel(parallel=True)
def mask_output(dy, dz, a, mean, s, q, sums, chunks, pixels, channels):
    """The gradient that comes from above, masked by the last ReLU, and its sums, one row a chunk of pixels."""
    for chunk in numba.prange(chunks):
        sums[chunk * 2 * channels : (chunk + 1) * 2 * channels] = 0
        for pixel in range(chunk * pixels // chunks, (chunk + 1) * pixels // chunks):
            for c in range(0, channels, LANES):
                write_tile(MASK, ONE, ONE, dy, pixel * channels + c, 0, c, dz, pixel * channels, 0, 0,
                           a, mean, s, q, sums, chunk * 2 * channels, channels)


# ------------------------------------------------------------------------------------------------------------- the run


def winograd_tile(kernel_size: int) -> int:
    """The tile size: F(4, 3) or F(2, 5), both on 6 x 6 windows. Every further size is half a minute of compiling."""
    return 4 if kernel_size == 3 else 2


def obstacle(block, shape) -> str:
    """Why a block cannot be part of a fused run on maps of this shape (height, width, channels); "" if it can."""
    size, _, c_in, c_out = block.layers["conv"].weight.value.shape
    if not LANES:
        return "no vectors on this processor"
    if [*block.layers][:3] != ["conv", "bn", "relu"]:
        return "the order is not conv-bn-relu"
    if "dropout" in block.layers:
        return "dropout between the blocks"
    if size not in (3, 5) or c_out % LANES or (c_in % LANES and c_in != 1):
        return f"{c_in} to {c_out} channels with a {size}x{size} kernel"
    if min(shape[:2]) < 2:
        return f"a map of {shape[0]}x{shape[1]}"
    return ""


@dataclasses.dataclass
class _Step:
    """One block at one shape: its layers, its sizes and its arrays."""

    conv: object
    bn: object
    pool: bool
    height: int
    width: int
    channels: int
    outputs: int
    side: int
    tile: int
    block: int
    chunk: int
    raw: np.ndarray  # y, flat
    pooled: np.ndarray  # raw values that won, flat (raw itself where there is no pooling)
    index: np.ndarray
    tables: dict
    pixel_counts: np.ndarray
    pivot: np.ndarray
    sums: np.ndarray
    mean: np.ndarray | None = None
    inverse: np.ndarray | None = None
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None
    mean32: np.ndarray | None = None

    @property
    def frequencies(self) -> int:
        return (self.tile + self.side - 1) ** 2

    @property
    def tiles(self) -> int:
        """Tiles of one picture."""
        return -(-self.height // self.tile) * -(-self.width // self.tile)

    @property
    def out_size(self) -> int:
        """Floats a picture of what the block hands on."""
        return self.pooled_height * self.pooled_width * self.outputs

    @property
    def pooled_height(self) -> int:
        return self.height // 2 if self.pool else self.height

    @property
    def pooled_width(self) -> int:
        return self.width // 2 if self.pool else self.width


def _empty(sizes) -> np.ndarray:
    """A flat float32 array as long as the largest of some sizes."""
    return np.empty(max(sizes, default=1), np.float32)


def _tuple(length: int) -> tuple:
    return (0,) * length


class FusedRun:
    """Forward and backward of a run of blocks for inputs of one shape (N,H,W,C) float32, in arrays made once."""

    def __init__(self, blocks, shape: tuple[int, ...]):
        self.n, height, width, channels = shape
        self.shape, self.workers = shape, numba.get_num_threads()
        self._none, self._no_bytes = np.zeros(1, np.float32), np.zeros(1, np.uint8)
        self.steps = []
        for block in blocks:
            step = self._step(block, height, width, channels)
            self.steps.append(step)
            height, width, channels = step.pooled_height, step.pooled_width, step.outputs
        self._share_workspaces()

    def _step(self, block, height, width, channels) -> _Step:
        conv, n = block.layers["conv"], self.n
        side, outputs, pool = conv.weight.value.shape[0], conv.weight.value.shape[3], "pool" in block.layers
        m = winograd_tile(side)
        tiles, frequencies = -(-height // m) * -(-width // m), (m + side - 1) ** 2
        rows = WORK_FLOATS // (frequencies * (channels + outputs)) // 6 * 6
        block_tiles = min(max(rows, 12), 96)
        chunk = max(1, min(n, CHUNK_FLOATS // (frequencies * tiles * (channels + outputs))))
        first = channels == 1
        units = n if first else -(-n * tiles // block_tiles)
        tables = {"taps": tile_table(height, width, outputs, 1, 1, 0)} if first else {
            "input": tile_table(height, width, channels, m, m + side - 1, side // 2),
            "output": tile_table(height, width, outputs, m, m + side - 1, side // 2),
            "gradient": tile_table(height, width, outputs, m, m, 0)}
        counts = np.full(n, height * width) if first else _pixels_by_block(n, height, width, m, block_tiles)
        raw = np.empty(n * height * width * outputs, np.float32)
        pooled = np.empty(n * (height // 2) * (width // 2) * outputs, np.float32) if pool else raw
        index = np.empty(pooled.size, np.uint8) if pool else self._no_bytes
        return _Step(conv, block.layers["bn"], pool, height, width, channels, outputs, side, m, block_tiles, chunk,
                     raw, pooled,
                     index, tables, counts, np.empty(units * outputs, np.float32),
                     np.empty(max(units, n) * 2 * max(outputs, channels), np.float32))

    def _share_workspaces(self) -> None:
        """Arrays that one step at a time uses, as large as the largest step needs."""
        later = [s for s in self.steps if s.channels > 1]
        first = self.steps[0]
        self._u = _empty(s.frequencies * s.channels * s.outputs for s in later)
        work = max((workspace_size(s.tile, s.side, s.block, s.channels, s.outputs) for s in later), default=1)
        self._work = np.empty((self.workers, work), np.float32)
        self._patches = np.empty((self.workers, first.width * first.side**2), np.float32)
        self._gradients: list[np.ndarray] = []

    def _share_gradient_workspaces(self) -> None:
        """The same for backward; a run that only evaluates never makes them."""
        later = [s for s in self.steps if s.channels > 1]
        first, last = self.steps[0], self.steps[-1]
        self._du = np.empty_like(self._u)
        self._flipped = _empty(s.conv.weight.value.size for s in later)
        self._v = _empty(s.frequencies * (s.chunk * s.tiles * s.channels + GAP) for s in later)
        self._z = _empty(s.frequencies * (s.chunk * s.tiles * s.outputs + GAP) for s in later)
        self._lines = np.empty((self.workers, first.width * first.outputs), np.float32)
        self._parts = np.empty((self.n if first.channels == 1 else 1, first.side**2 * first.outputs), np.float32)
        self._gradients = [_empty(self.n * s.out_size for s in self.steps) for _ in range(2)]
        self._chunks = max(1, min(64, self.n * last.pooled_height * last.pooled_width // 64))
        self._sums = np.empty(self._chunks * 2 * last.outputs, np.float32)

    def fits(self, shape) -> bool:
        """True while the input's shape and the number of threads are those that the arrays were made for."""
        return tuple(shape) == self.shape and numba.get_num_threads() == self.workers

    # ------------------------------------------------------------------------------------------------------------
    # forward

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x (N,H,W,C) -> y (N,H',W',K), a fresh array, by the batch's statistics; updates the running ones."""
        return self._through(x, self._normalise)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """x (N,H,W,C) -> y (N,H',W',K), a fresh array, by the running statistics; nothing is kept."""
        return self._through(x, self._apply_running)

    def _through(self, x: np.ndarray, normalise) -> np.ndarray:
        self._x = x.reshape(-1)
        before = None
        for step in self.steps:
            self._convolve(step, before, SUM if normalise == self._normalise else STORE)
            normalise(step)
            if step.pool:
                sign = np.where(step.scale < 0, np.float32(-1), np.float32(1))
                pool_raw(step.raw, sign, step.pooled, step.index, self.n, step.height, step.width, step.outputs)
            before = step
        out = np.empty((self.n, before.pooled_height, before.pooled_width, before.outputs), np.float32)
        activate(before.pooled, before.scale, before.shift, out.reshape(-1), out.size // before.outputs, before.outputs)
        return out

    def _input(self, before: _Step | None):
        """What a step reads: (form, array, scale, shift, floats a picture)."""
        if before is None:
            return 0, self._x, self._none, self._none, self._x.size // self.n
        return 1, before.pooled, before.scale, before.shift, before.out_size

    def _convolve(self, step: _Step, before: _Step | None, epilogue: tuple) -> None:
        w = step.conv.weight.value.reshape(-1)
        panel = panel_width(step.outputs)
        if step.channels == 1:
            first_forward(panel, self.workers, self._x, w, step.raw, step.pivot, step.sums, self.n,
                          step.height,
                          step.width, step.side, step.outputs, self._patches)
            return
        tile, ker, none = _tuple(step.tile), _tuple(step.side), self._none
        transform_weights(tile, ker, w, self._u, step.channels, step.outputs, panel)
        form, a, scale, shift, size = self._input(before)
        convolve(tile, ker, panel, self.workers, step.block, form, len(epilogue), a, a, self._no_bytes, scale, shift,
                 shift,
                 step.tables["input"], size, self._u, step.raw, none, none, none, step.pivot, step.sums, self.n,
                 step.height,
                 step.width, step.channels, step.outputs, self._work)

    def _normalise(self, step: _Step) -> None:
        """Mean and variance from the sums, around each row's own pivot, combined in float64; scale and shift."""
        counts = step.pixel_counts[:, None]
        total = counts.sum()
        pivot = step.pivot.reshape(-1, step.outputs).astype(np.float64)
        sums = step.sums[: len(counts) * 2 * step.outputs].reshape(len(counts), 2, -1).astype(np.float64)
        move = pivot - pivot[0]
        offset = (sums[:, 0] + counts * move).sum(0) / total
        square = (sums[:, 1] + 2 * move * sums[:, 0] + counts * move**2).sum(0) / total
        variance = square - offset**2
        variance = np.where(variance < 0, 0.0, variance)
        bn = step.bn
        self._defer(step, pivot[0] + offset, variance)
        bn.track(step.mean, variance, total)

    def _apply_running(self, step: _Step) -> None:
        self._defer(step, step.bn.running_mean.astype(np.float64), step.bn.running_var.astype(np.float64))

    @staticmethod
    def _defer(step: _Step, mean: np.ndarray, variance: np.ndarray) -> None:
        """The scale and shift by which whoever reads step's raw output normalises it."""
        step.mean, step.inverse = mean, 1 / np.sqrt(variance + step.bn.eps)
        scale = step.bn.gamma.value * step.inverse
        step.scale, step.shift = scale.astype(np.float32), (step.bn.beta.value - mean * scale).astype(np.float32)
        step.mean32 = mean.astype(np.float32)

    # -----------------------------------------------------------------------------------------------------------
    # backward

    def backward(self, dy: np.ndarray, input_gradient: bool = True) -> np.ndarray | None:
        """dy (N,H',W',K) -> dx (N,H,W,C), or None where it is not wanted; assigns every parameter's grad."""
        if not self._gradients:
            self._share_gradient_workspaces()
        last = self.steps[-1]
        dz, other = self._gradients
        mask_output(dy.reshape(-1), dz, last.pooled, last.mean32, last.scale, last.shift, self._sums, self._chunks,
                    self.n * last.pooled_height * last.pooled_width, last.outputs)
        sums = self._sums.reshape(self._chunks, 2, -1)
        for step, before in zip(self.steps[::-1], [*self.steps[-2::-1], None], strict=True):
            coefficients = self._norm_gradient(step, sums)
            self._weight_gradient(step, before, dz, coefficients)
            if before is not None:
                sums = self._pass_down(step, before, dz, other, coefficients)
                dz, other = other, dz
        return self._input_gradient(self.steps[0], dz, coefficients) if input_gradient else None

    def _norm_gradient(self, step: _Step, sums: np.ndarray):
        """Batch norm's parameter gradients from the two sums, and s, q, r of dy = s * dz + q * y + r."""
        total, total_x = sums.sum(0, dtype=np.float64)
        dgamma = total_x * step.inverse
        step.bn.beta.grad[...], step.bn.gamma.grad[...] = total, dgamma
        count = self.n * step.height * step.width
        s = step.bn.gamma.value * step.inverse
        q = -s * step.inverse * dgamma / count
        r = -s * total / count - q * step.mean
        return s.astype(np.float32), q.astype(np.float32), r.astype(np.float32)

    def _weight_gradient(self, step: _Step, before: _Step | None, dz, coefficients) -> None:
        form, grad = 3 if step.pool else 2, step.conv.weight.grad.reshape(-1)
        panel = panel_width(step.outputs)
        if step.channels == 1:
            first_grad_weight(panel, self.workers, form, self._x, dz, step.raw, step.index, *coefficients,
                              step.tables["taps"], step.out_size, self._parts, self.n, step.height, step.width,
                              step.side,
                              step.outputs, self._patches, self._lines)
            grad[...] = self._parts.sum(0)
            return
        source, a, scale, shift, size = self._input(before)
        grad_weight(_tuple(step.tile), _tuple(step.side), panel, self.workers, step.chunk, source, form, a, scale,
                    shift,
                    step.tables["input"], size, dz, step.raw, step.index, *coefficients, step.tables["gradient"],
                    step.height * step.width * step.outputs, step.out_size, self._v, self._z, self._du, grad, self.n,
                    step.tiles,
                    step.channels, step.outputs)

    def _transposed(self, step: _Step, epilogue: int, dz, coefficients, out, x, scale, shift, mean, sums) -> None:
        """The convolution that carries step's gradient back to its input: kernels flipped, channels exchanged."""
        tile, ker, panel = _tuple(step.tile), _tuple(step.side), panel_width(step.channels)
        flip_weights(step.conv.weight.value.reshape(-1), self._flipped, step.side**2, step.channels, step.outputs)
        transform_weights(tile, ker, self._flipped, self._u, step.outputs, step.channels, panel)
        convolve(tile, ker, panel, self.workers, step.block, 3 if step.pool else 2, epilogue, dz, step.raw,
                 step.index,
                 *coefficients, step.tables["output"], step.out_size, self._u, out, x, scale, shift, mean, sums, self.n,
                 step.height, step.width, step.outputs, step.channels, self._work)

    def _pass_down(self, step: _Step, before: _Step, dz, out, coefficients) -> np.ndarray:
        """dz of the block below into `out`, masked by its ReLU; answers its sums, one row a block of tiles."""
        self._transposed(step, 2, dz, coefficients, out, before.pooled, before.scale, before.shift, before.mean32,
                         step.sums)
        blocks = len(step.pixel_counts)
        return step.sums[: blocks * 2 * step.channels].reshape(blocks, 2, -1)

    def _input_gradient(self, step: _Step, dz, coefficients) -> np.ndarray:
        dx = np.empty(self.shape, np.float32)
        if step.channels > 1:
            none = self._none
            self._transposed(step, 0, dz, coefficients, dx.reshape(-1), none, none, none, none, none)
            return dx
        from tinyfer.kernels.conv import _grad_input

        dy = np.empty((self.n, step.height, step.width, step.outputs), np.float32)
        raw_gradient(3 if step.pool else 2, dz, step.raw, step.index, *coefficients, step.tables["taps"], step.out_size,
                     dy.reshape(self.n, -1), step.height * step.width, step.outputs)
        return _grad_input(dy, self.shape, step.conv.weight.value, 1, step.side // 2)


@kernel(parallel=True)
def raw_gradient(form, dz, y, index, s, q, r, table, dz_size, out, pixels, channels):
    """The gradient of raw outputs y as a plain array out (n, pixels * C)."""
    for picture in numba.prange(len(out)):
        for pixel in range(pixels):
            _raw_gradient(form, dz, y, index, s, q, r, table, picture * dz_size, picture * pixels * channels, pixel,
                          out[picture, pixel * channels :], channels)


def _pixels_by_block(n: int, height: int, width: int, m: int, block: int) -> np.ndarray:
    """How many pixels each block of tiles really has, where tiles hang over the border."""
    down = np.minimum(m, height - np.arange(0, height, m))
    across = np.minimum(m, width - np.arange(0, width, m))
    pixels = np.tile(np.outer(down, across).ravel(), n)
    return np.add.reduceat(pixels, np.arange(0, len(pixels), block))
