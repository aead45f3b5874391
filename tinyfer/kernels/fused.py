"""A whole run of conv-BN-ReLU(-pool) blocks with nothing between them written twice.

Forward, the raw output y of a convolution is stored once, while its sums for batch norm are taken. Normalisation and
ReLU are put off: what travels on is y with a scale and a shift, and the next convolution applies relu(scale * y +
shift) as it reads its tiles. Backward, what travels down is dz, the gradient after the ReLU's mask, with batch norm's
two sums; the gradient of y itself, s * dz + q * y + r, is again made as tiles are read, through the pooling's index
map where there is one.

This file keeps the books: sizes, arrays, and which kernel reads what. The arithmetic is in winograd.py, first.py and
ends.py. All arrays are made once for a shape and reused at every step. Nothing leaves or enters but plain arrays."""

import numba
import numpy as np

from tinyfer.kernels import tiles
from tinyfer.kernels.conv import grad_input
from tinyfer.kernels.ends import activate, mask_output, pool_raw, raw_gradient
from tinyfer.kernels.first import first_forward, first_grad_weight
from tinyfer.kernels.norm import add_rows, combine_moments
from tinyfer.kernels.schemes import bands, block_tiles, winograd_tile
from tinyfer.kernels.simd import (
    DEFERRED,
    FILTER,
    FILTER_GRADIENT,
    GRADIENT,
    INPUT,
    MASK,
    MASKED,
    PLAIN,
    POOLED,
    STORE,
    SUM,
)
from tinyfer.kernels.winograd import (
    add_products,
    chunk_gaps,
    convolve,
    flip_weights,
    panel_width,
    read_chunk,
    tile_table,
    transform_filters,
    workspace_size,
)

CHUNK_FLOATS = 2_000_000  # transformed tiles of one chunk of pictures in grad-weight, shared by all workers
GROUPS = 4  # tasks a frequency in grad-weight, at most
_NONE, _NO_BYTES = np.zeros(1, np.float32), np.zeros(1, np.uint8)


def _empty(sizes) -> np.ndarray:
    """A flat float32 array as long as the largest of some sizes."""
    return np.empty(max(sizes, default=1), np.float32)


def deferred(bn, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift (float32) that normalise a raw output of this mean and variance (float64)."""
    scale = bn.gamma.value / np.sqrt(variance + bn.eps)
    return scale.astype(np.float32), (bn.beta.value - mean * scale).astype(np.float32)


class _Step:
    """One block at one shape (n,height,width,channels): its layers, its sizes, and the arrays that outlive it."""

    def __init__(self, block, n: int, height: int, width: int, channels: int):
        self.conv, self.bn, self.pool = block.layers["conv"], block.layers["bn"], "pool" in block.layers
        self.height, self.width, self.channels, self.first = height, width, channels, channels == 1
        self.side, self.outputs = self.conv.weight.value.shape[0], self.conv.weight.value.shape[3]
        self.tile = m = winograd_tile(self.side, height, width)
        self.window = m + self.side - 1
        self.frequencies = self.window**2
        self.tiles = -(-height // m) * -(-width // m)  # of one picture
        self.raw_size = height * width * self.outputs  # floats a picture
        self.pooled_height, self.pooled_width = (height // 2, width // 2) if self.pool else (height, width)
        self.out_size = self.pooled_height * self.pooled_width * self.outputs
        self.block = block_tiles(self.frequencies, channels, self.outputs)
        self.chunk = max(1, min(n, CHUNK_FLOATS // (self.frequencies * self.tiles * (channels + self.outputs))))
        self._make_tables()
        self.bands = bands(n, height) if self.first else 0
        self.pixels = (_pixels_by_band(n, height, width, self.bands) if self.first else
                       _pixels_by_block(n, height, width, m, self.block))
        rows = len(self.pixels)  # of partial sums: one a band of the first layer's pictures, else one a block of tiles
        self.raw = np.empty(n * self.raw_size, np.float32)
        self.pooled = np.empty(n * self.out_size, np.float32) if self.pool else self.raw  # raw values that won
        self.index = np.empty(n * self.out_size, np.uint8) if self.pool else _NO_BYTES  # which of the four
        self.pivot = np.empty(rows * self.outputs, np.float32)
        self.sums = np.empty(rows * 2 * max(self.outputs, channels), np.float32)

    def _make_tables(self) -> None:
        """Where the pixels of each tile lie: of the input, of the output's gradient read as an input, and as tiles."""
        size, m, pad = (self.height, self.width), self.tile, self.side // 2
        if self.first:
            self.pixel_table = tile_table(*size, self.outputs, 1, 1, 0)
            return
        self.input_table = tile_table(*size, self.channels, m, self.window, pad)
        self.output_table = tile_table(*size, self.outputs, m, self.window, pad)
        self.gradient_table = tile_table(*size, self.outputs, m, m, 0)

    @property
    def gradient_form(self) -> tuple:
        return POOLED if self.pool else MASKED

    def gradient_source(self, dz, coefficients, table):
        """From what the gradient of the raw output is read, and the two sizes of a picture there."""
        return (dz, self.raw, self.index, *coefficients, *table), self.out_size, self.raw_size

    def normalise(self) -> None:
        """The scale and shift by which whoever reads the raw output normalises it, from the batch's own mean and
        variance, these from the sums; the running ones follow."""
        pivot, sums = self.pivot.reshape(-1, self.outputs), self.partial_sums(self.outputs)
        self.mean, variance = combine_moments(self.pixels, pivot, sums[:, 0], sums[:, 1])
        self.inverse = 1 / np.sqrt(variance + self.bn.eps)
        self.scale, self.shift = deferred(self.bn, self.mean, variance)
        self.mean32 = self.mean.astype(np.float32)
        self.bn.track(self.mean, variance, self.pixels.sum())

    def partial_sums(self, channels: int) -> np.ndarray:
        """The rows of partial sums (rows,2,channels) that a convolution has left."""
        return self.sums[: len(self.pixels) * 2 * channels].reshape(-1, 2, channels)

    def norm_gradient(self, sums: np.ndarray):
        """Batch norm's parameter gradients from the two sums, and s, q, r of dy = s * dz + q * y + r."""
        total, total_x = add_rows(sums)
        dgamma = total_x * self.inverse
        self.bn.beta.grad[...], self.bn.gamma.grad[...] = total, dgamma
        s, count = self.bn.gamma.value * self.inverse, self.pixels.sum()
        q = -s * self.inverse * dgamma / count
        r = -s * total / count - q * self.mean
        return s.astype(np.float32), q.astype(np.float32), r.astype(np.float32)


class FusedRun:
    """Forward and backward of a run of blocks for inputs of one shape (N,H,W,C) float32, in arrays made once."""

    def __init__(self, blocks, shape: tuple[int, ...]):
        self.n, height, width, channels = shape
        self.shape, self.workers = shape, numba.get_num_threads()
        self.steps: list[_Step] = []
        for block in blocks:
            step = _Step(block, self.n, height, width, channels)
            self.steps.append(step)
            height, width, channels = step.pooled_height, step.pooled_width, step.outputs
        self._share_workspaces()

    def _share_workspaces(self) -> None:
        """Arrays that one step at a time uses, as large as the largest step needs."""
        first, later = self.steps[0], [s for s in self.steps if not s.first]
        self._u = _empty(s.frequencies * s.channels * s.outputs for s in later)
        work = max((workspace_size(s.tile, s.side, s.block, s.channels, s.outputs) for s in later), default=1)
        self._work = np.empty((self.workers, work), np.float32)
        self._patches = np.empty((self.workers, first.width * first.side**2), np.float32)
        self._gradients: list[np.ndarray] = []

    def _share_gradient_workspaces(self) -> None:
        """The same for backward; a run that only evaluates never makes them."""
        first, last, later = self.steps[0], self.steps[-1], [s for s in self.steps if not s.first]
        self._du = np.empty_like(self._u)
        self._flipped = _empty(s.conv.weight.value.size for s in later)
        gaps = [chunk_gaps(s.chunk * s.tiles, s.channels, s.outputs) for s in later]
        self._v = _empty(s.frequencies * v_gap for s, (v_gap, _) in zip(later, gaps, strict=True))
        self._z = _empty(s.frequencies * z_gap for s, (_, z_gap) in zip(later, gaps, strict=True))
        self._lines = np.empty((self.workers, first.width * first.outputs), np.float32)
        self._parts = np.empty((self.n * first.bands if first.first else 1, first.side**2 * first.outputs), np.float32)
        # dz of the last step, of the one before, and so on, in two arrays by turns
        self._gradients = [_empty(self.n * s.out_size for s in self.steps[::-1][turn::2]) for turn in (0, 1)]
        self._chunks = max(1, min(64, self.n * last.pooled_height * last.pooled_width // 64))
        self._sums = np.empty(self._chunks * 2 * last.outputs, np.float32)

    def fits(self, shape) -> bool:
        """True while the input's shape and the number of threads are those that the arrays were made for."""
        return tuple(shape) == self.shape and numba.get_num_threads() == self.workers

    @property
    def output_shape(self) -> tuple[int, ...]:
        last = self.steps[-1]
        return self.n, last.pooled_height, last.pooled_width, last.outputs

    # ------------------------------------------------------------------------------------------------------- forward

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x (N,H,W,C) -> y (N,H',W',K), a fresh array, by the batch's statistics; updates the running ones."""
        self._x = x.reshape(-1)
        before = None
        for step in self.steps:
            self._first(step) if step.first else self._convolve(step, before)
            step.normalise()
            if step.pool:
                sign = np.where(step.scale < 0, np.float32(-1), np.float32(1))
                pool_raw(step.raw, sign, step.pooled, step.index, self.n, step.height, step.width, step.outputs)
            before = step
        out = np.empty(self.output_shape, np.float32)
        activate(before.pooled, before.scale, before.shift, out.reshape(-1), out.size // before.outputs, before.outputs)
        return out

    def _first(self, step: _Step) -> None:
        panel = panel_width(step.outputs)
        sink = (step.raw, _NONE, step.pivot, _NONE, _NONE, step.sums)
        first_forward(self.workers, tiles.multiplier(panel), tiles.finisher(SUM), step.bands, panel, self._x,
                      step.conv.weight.value.reshape(-1), sink, self.n, step.height, step.width, step.side,
                      step.outputs, self._patches)

    def _input(self, step: _Step, before: _Step | None):
        """What a step reads: the form, the source and its floats a picture."""
        if before is None:
            return PLAIN, (self._x, self._x, _NO_BYTES, _NONE, _NONE, _NONE, *step.input_table), self._x.size // self.n
        a, scale, shift = before.pooled, before.scale, before.shift
        return DEFERRED, (a, a, _NO_BYTES, scale, shift, shift, *step.input_table), before.out_size

    def _convolve(self, step: _Step, before: _Step | None) -> None:
        form, source, size = self._input(step, before)
        sink = (step.raw, _NONE, step.pivot, _NONE, _NONE, step.sums)
        self._winograd(step, step.conv.weight.value.reshape(-1), step.channels, step.outputs, form, source, size, size,
                       SUM, sink)

    def _winograd(self, step, w, channels, outputs, form, source, a_size, b_size, epilogue, sink) -> None:
        """One convolution at a step's size with weights w (side,side,channels,outputs), flat."""
        m, side, panel = step.tile, step.side, panel_width(outputs)
        size = channels * outputs
        transform_filters(tiles.filter_transformer(FILTER, m, side), channels, outputs, w, side * size, size, self._u,
                          size, panel)
        convolve(self.workers, step.block, tiles.reader(INPUT, form, m, side), tiles.multiplier(panel),
                 tiles.writer(epilogue, m, side), source, a_size, b_size, self._u, panel, sink, self.n * step.tiles,
                 step.tiles, step.frequencies, step.height, step.width, channels, outputs, self._work)

    # ------------------------------------------------------------------------------------------------------ backward

    def backward(self, dy: np.ndarray, input_gradient: bool = True) -> np.ndarray | None:
        """dy (N,H',W',K) -> dx (N,H,W,C), or None where it is not wanted; assigns every parameter's grad."""
        if not self._gradients:
            self._share_gradient_workspaces()
        dz, other = self._gradients
        sums = self._mask_output(self.steps[-1], dy.reshape(-1), dz)
        for step, before in zip(self.steps[::-1], [*self.steps[-2::-1], None], strict=True):
            coefficients = step.norm_gradient(sums)
            self._weight_gradient(step, before, dz, coefficients)
            if before is not None:
                sink = (other, before.pooled, before.mean32, before.scale, before.shift, step.sums)
                self._pass_down(step, dz, coefficients, MASK, sink)
                sums = step.partial_sums(step.channels)
                dz, other = other, dz
        return self._input_gradient(self.steps[0], dz, coefficients) if input_gradient else None

    def rehearse_backward(self) -> None:
        """A backward without a forward, so that its kernels are compiled; what the arrays hold means nothing."""
        self._x = np.zeros(int(np.prod(self.shape)), np.float32)
        for step in self.steps:
            step.sums[...], step.pivot[...] = 0, 0
            step.normalise()
        self.backward(np.zeros(self.output_shape, np.float32), input_gradient=not self.steps[0].first)

    def _mask_output(self, last: _Step, dy, dz) -> np.ndarray:
        sink = (dz, last.pooled, last.mean32, last.scale, last.shift, self._sums)
        mask_output(tiles.finisher(MASK), self._chunks, dy, sink, self.n * last.pooled_height * last.pooled_width,
                    last.outputs)
        return self._sums.reshape(self._chunks, 2, -1)

    def _weight_gradient(self, step: _Step, before: _Step | None, dz, coefficients) -> None:
        if step.first:
            self._first_weight_gradient(step, dz, coefficients)
            return
        m, side, panel = step.tile, step.side, panel_width(step.outputs)
        form, x_source, x_size = self._input(step, before)
        read_x = tiles.reader(INPUT, form, m, side)
        read_dy = tiles.reader(GRADIENT, step.gradient_form, m, side)
        dy_source = step.gradient_source(dz, coefficients, step.gradient_table)
        size = step.channels * step.outputs
        groups = min(GROUPS, step.outputs // panel)
        for picture in range(0, self.n, step.chunk):
            count = min(step.chunk, self.n - picture) * step.tiles
            v_gap, z_gap = chunk_gaps(count, step.channels, step.outputs)
            read_chunk(self.workers, read_x, read_dy, x_source, dy_source[0], x_size, *dy_source[1:],
                       picture * step.tiles, count, step.tiles, step.channels, step.outputs, panel, self._v, v_gap,
                       self._z, z_gap)
            add_products(tiles.multiplier(panel), step.frequencies, groups, panel, step.channels, step.outputs, count,
                         self._v, v_gap, self._z, z_gap, self._du, picture > 0)
        transform_filters(tiles.filter_transformer(FILTER_GRADIENT, m, side), step.channels, step.outputs, self._du,
                          step.window * size, size, step.conv.weight.grad.reshape(-1), size, step.outputs)

    def _first_weight_gradient(self, step: _Step, dz, coefficients) -> None:
        panel = panel_width(step.outputs)
        first_grad_weight(self.workers, tiles.pixel_reader(step.gradient_form), tiles.multiplier(panel), step.bands,
                          panel, self._x, *step.gradient_source(dz, coefficients, step.pixel_table), self._parts,
                          self.n, step.height, step.width, step.side, step.outputs, self._patches, self._lines)
        step.conv.weight.grad.reshape(-1)[...] = self._parts.sum(0)

    def _pass_down(self, step: _Step, dz, coefficients, epilogue: tuple, sink) -> None:
        """The convolution that carries step's gradient back to its input: kernels flipped, channels exchanged."""
        flip_weights(step.conv.weight.value.reshape(-1), self._flipped, step.side**2, step.channels, step.outputs)
        self._winograd(step, self._flipped, step.outputs, step.channels, step.gradient_form,
                       *step.gradient_source(dz, coefficients, step.output_table), epilogue, sink)

    def _input_gradient(self, step: _Step, dz, coefficients) -> np.ndarray:
        if not step.first:
            dx = np.empty(self.shape, np.float32)
            self._pass_down(step, dz, coefficients, STORE, (dx.reshape(-1),) + (_NONE,) * 5)
            return dx
        dy = np.empty((self.n, step.height, step.width, step.outputs), np.float32)
        raw_gradient(self.workers, tiles.pixel_reader(step.gradient_form),
                     *step.gradient_source(dz, coefficients, step.pixel_table), dy.reshape(-1), self.n,
                     step.height * step.width, step.outputs)
        return grad_input(dy, self.shape, step.conv.weight.value, 1, step.side // 2)


class FusedStack:
    """The blocks of a ConvStack for inputs of one shape: fused runs, cut after each block that ends in dropout, which
    takes and gives plain arrays."""

    def __init__(self, blocks, shape: tuple[int, ...]):
        self.parts: list[tuple[FusedRun, object | None]] = []
        run: list = []
        for block in blocks:
            run.append(block)
            if "dropout" in block.layers:
                shape = self._end(run, shape, block.layers["dropout"])
                run = []
        if run:
            self._end(run, shape, None)

    def _end(self, blocks, shape, dropout) -> tuple[int, ...]:
        run = FusedRun(blocks, shape)
        self.parts.append((run, dropout))
        return run.output_shape

    def fits(self, shape) -> bool:
        """True while the input's shape and the number of threads are those that the arrays were made for."""
        return self.parts[0][0].fits(shape)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """x (N,H,W,C) -> y (N,H',W',K), a fresh array, by the batch's statistics; updates the running ones."""
        for run, dropout in self.parts:
            x = run.forward(x)
            if dropout is not None:
                x = dropout.forward(x, train=True)
        return x

    def backward(self, dy: np.ndarray, input_gradient: bool = True) -> np.ndarray | None:
        """dy (N,H',W',K) -> dx (N,H,W,C), or None where it is not wanted; assigns every parameter's grad."""
        for number, (run, dropout) in reversed([*enumerate(self.parts)]):
            if dropout is not None:
                dy = dropout.backward(dy)
            dy = run.backward(dy, input_gradient or number > 0)
        return dy


def _pixels_by_band(n: int, height: int, width: int, bands: int) -> np.ndarray:
    """How many pixels each band of rows of the first layer has."""
    return np.tile(np.diff(np.arange(bands + 1) * height // bands) * width, n)


def _pixels_by_block(n: int, height: int, width: int, m: int, block: int) -> np.ndarray:
    """How many pixels each block of tiles really has, where tiles hang over the border."""
    down = np.minimum(m, height - np.arange(0, height, m))
    across = np.minimum(m, width - np.arange(0, width, m))
    pixels = np.tile(np.outer(down, across).ravel(), n)
    return np.add.reduceat(pixels, np.arange(0, len(pixels), block))
