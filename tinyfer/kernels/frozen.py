"""A run of conv-BN-ReLU(-pool) blocks that only answers: everything that can be known before a picture comes is.
Where global average pooling and a dense layer follow, its last kernel does them, too.

Weights are transformed once, running statistics become one scale and one shift a channel, two buffers serve all layers
in turn, and what is left to do is a list of kernels with their arguments. For few pictures it is less the products that
cost than reading the transformed weights, so tile sizes are chosen by both, and where that saves reading all tiles are
multiplied at once."""

import math

import numba
import numpy as np

from tinyfer.kernels import tiles
from tinyfer.kernels.compile import LANES
from tinyfer.kernels.ends import activate, average_head, pool_raw
from tinyfer.kernels.first import first_forward
from tinyfer.kernels.fused import deferred
from tinyfer.kernels.schemes import answering_tile, bands, block_tiles, weights_cost_most
from tinyfer.kernels.simd import DEFERRED, FILTER, INPUT, PLAIN, STORE, TILE_ROWS
from tinyfer.kernels.winograd import (
    chunk_gaps,
    convolve,
    convolve_at_once,
    panel_width,
    tile_table,
    transform_filters,
    workspace_size,
)

_NONE, _NO_BYTES = np.zeros(1, np.float32), np.zeros(1, np.uint8)


class _Step:
    """One block at one shape: its sizes, its weights transformed, and its normalisation as a scale and a shift."""

    def __init__(self, block, n: int, workers: int, height: int, width: int, channels: int):
        conv, bn, self.pool = block.layers["conv"], block.layers["bn"], "pool" in block.layers
        self.height, self.width, self.channels = height, width, channels
        self.side, self.outputs = conv.weight.value.shape[0], conv.weight.value.shape[3]
        self.panel, self.w = panel_width(self.outputs), conv.weight.value.reshape(-1).copy()
        self.scale, self.shift = deferred(bn, bn.running_mean.astype(np.float64), bn.running_var.astype(np.float64))
        self.raw_size = n * height * width * self.outputs
        self.below = (height // 2, width // 2, self.outputs) if self.pool else (height, width, self.outputs)
        if channels > 1:
            self._transform(n, workers)

    def _transform(self, n: int, workers: int) -> None:
        self.tile = m = answering_tile(n, self.side, self.height, self.width, self.channels, self.outputs)
        self.window, size = m + self.side - 1, self.channels * self.outputs
        self.tiles = -(-self.height // m) * -(-self.width // m)  # of one picture
        self.count = n * self.tiles
        share = -(-self.count // workers // TILE_ROWS) * TILE_ROWS  # no worker waits for another's last block
        self.block = max(TILE_ROWS, min(share, block_tiles(self.window**2, self.channels, self.outputs)))
        self.at_once = weights_cost_most(n, self.count, self.block, self.channels, self.outputs)
        u = np.empty(self.window**2 * size, np.float32)
        transform_filters(tiles.filter_transformer(FILTER, m, self.side), self.channels, self.outputs, self.w,
                          self.side * size, size, u, size, self.panel)
        self.w = u

    def arrays(self, workers: int) -> tuple[tuple[int, ...], ...]:
        """The shapes of what the kernel works in."""
        if self.channels == 1:
            return ((workers, self.width * self.side**2),)
        if not self.at_once:
            return ((workers, workspace_size(self.tile, self.side, self.block, self.channels, self.outputs)),)
        v_gap, p_gap = chunk_gaps(self.count, self.channels, self.outputs)
        return (self.window**2 * v_gap,), (self.window**2 * p_gap,), (workers, self.tile**2 * LANES)


class FrozenRun:
    """The answers of a run of blocks to inputs of one shape (N,H,W,C) float32, by weights and running statistics as
    they were when it was made. head: weights (C,K) and bias (K,) of the dense layer behind an average pooling."""

    def __init__(self, blocks, shape: tuple[int, ...], head: tuple = ()):
        self.n, *size = self.shape = tuple(shape)
        self.workers = numba.get_num_threads()
        steps = []
        for block in blocks:
            steps.append(_Step(block, self.n, self.workers, *size))
            size = steps[-1].below
        self._lay_together(steps)
        self._head, size = head, [len(head[1])] if head else size
        self._x, self._y = np.empty(shape, np.float32), np.empty((self.n, *size), np.float32)
        self._buffers = [np.empty(max(step.raw_size for step in steps), np.float32) for _ in range(2)]
        self._index = np.empty(self._buffers[0].size, np.uint8)
        shapes = [step.arrays(self.workers) for step in steps]
        self._work = np.empty(max(sum(map(math.prod, arrays)) for arrays in shapes), np.float32)
        self._program: list[tuple] = []  # (kernel, arguments) in their order
        self._plan(steps)

    @staticmethod
    def _lay_together(steps: list[_Step]) -> None:
        """All weights in one array: one so large gets large pages, and reading it waits less for their addresses."""
        together = np.concatenate([step.w for step in steps])
        ends = np.cumsum([step.w.size for step in steps])
        for step, part in zip(steps, np.split(together, ends[:-1]), strict=True):
            step.w = part

    def fits(self, shape) -> bool:
        """True while the input's shape and the number of threads are those that the arrays were made for."""
        return tuple(shape) == self.shape and numba.get_num_threads() == self.workers

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """x (N,H,W,C) -> y (N,H',W',K), behind a head (N,K); a fresh array."""
        self._x[...] = x
        for kernel, arguments in self._program:
            kernel(*arguments)
        return self._y.copy()

    def _plan(self, steps: list[_Step]) -> None:
        source, before = self._x.reshape(-1), None
        for step in steps:
            raw = self._other(source)
            self._program.append(self._convolution(step, before, source, raw))
            source, before = raw, step
            if step.pool:
                source = self._other(raw)
                sign = np.where(step.scale < 0, np.float32(-1), np.float32(1))
                self._program.append((pool_raw, (raw, sign, source, self._index, self.n, step.height, step.width,
                                                 step.outputs)))
        height, width, channels = before.below
        if self._head:
            last = average_head, (source, before.scale, before.shift, *self._head, self._y, height * width)
        else:
            y = self._y.reshape(-1)
            last = activate, (source, before.scale, before.shift, y, y.size // channels, channels)
        self._program.append(last)

    def _other(self, source: np.ndarray) -> np.ndarray:
        """The buffer that is not being read."""
        return self._buffers[1] if source is self._buffers[0] else self._buffers[0]

    def _convolution(self, step: _Step, before: _Step | None, source, raw) -> tuple:
        sink = (raw,) + (_NONE,) * 5
        work = self._cut(step.arrays(self.workers))
        if step.channels == 1:
            return first_forward, (self.workers, tiles.multiplier(step.panel), tiles.finisher(STORE),
                                   bands(self.n, step.height), step.panel, source, step.w, sink, self.n, step.height,
                                   step.width, step.side, step.outputs, *work)
        form = DEFERRED if before else PLAIN
        scale, shift = (before.scale, before.shift) if before else (_NONE, _NONE)
        size = step.height * step.width * step.channels
        table = tile_table(step.height, step.width, step.channels, step.tile, step.window, step.side // 2)
        kernel, cut = (convolve_at_once, ()) if step.at_once else (convolve, (step.block,))
        return kernel, (self.workers, *cut, tiles.reader(INPUT, form, step.tile, step.side),
                        tiles.multiplier(step.panel), tiles.writer(STORE, step.tile, step.side),
                        (source, source, _NO_BYTES, scale, shift, shift, *table), size, size, step.w, step.panel,
                        sink, step.count, step.tiles, step.window**2, step.height, step.width, step.channels,
                        step.outputs, *work)

    def _cut(self, shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
        """Arrays of these shapes, one behind the other, out of what all steps work in."""
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(self._work, ends), shapes, strict=False)]
