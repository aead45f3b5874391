"""Which way a block is computed, and in pieces of what size: the one place that decides.

Everything here depends on shapes alone, never on the number of threads: sums are taken piece by piece, and the same
pieces in the same order give the same bits."""

import os

from tinyfer.kernels.compile import LANES
from tinyfer.kernels.simd import TILE_ROWS

WORK_FLOATS = 160_000  # one worker's tiles of a block, transformed and multiplied: they should stay in its L2 cache
LARGE_FLOATS = 4_000_000  # transformed weights that come from memory for every block, so that a block should be large
FEW = 16  # pictures below which a batch is small
# What reading one transformed weight, and reading or writing one transformed pixel, cost in multiply-adds.
WEIGHT_COST, PIXEL_COST = 9, 14


def _tile_sizes() -> tuple[int, ...]:
    """Sides of output tiles for 3x3 kernels, by preference; TINYFER_WINOGRAD=2, 3 or 4 allows that one only."""
    forced = os.environ.get("TINYFER_WINOGRAD")
    if forced is None:
        return 4, 3
    if forced not in ("2", "3", "4"):
        raise ValueError(f"TINYFER_WINOGRAD is {forced!r}: use 2, 3 or 4, the side of a 3x3 convolution's output tiles")
    return (int(forced),)


TILE_SIZES = _tile_sizes()


def winograd_tile(side: int, height: int, width: int) -> int:
    """The side m of output tiles with which a map costs the fewest products: F(2, 5), or F(4, 3) but on the smallest
    maps, where F(3, 3) leaves less of its tiles hanging over the border. (Larger tiles would spill the registers.)"""
    if side == 5:
        return 2
    return min(TILE_SIZES, key=lambda m: -(-height // m) * -(-width // m) * (m + 2) ** 2)


def block_tiles(frequencies: int, channels: int, outputs: int) -> int:
    """How many tiles a worker transforms, multiplies and transforms back at a time: as many as its cache holds, and
    enough that the weights are not read too often."""
    rows = WORK_FLOATS // (frequencies * (channels + outputs)) // TILE_ROWS * TILE_ROWS
    least = 8 if frequencies * channels * outputs > LARGE_FLOATS else 2
    return min(max(rows, least * TILE_ROWS), 16 * TILE_ROWS)


def bands(n: int, height: int) -> int:
    """Into how many bands of rows the first layer cuts each picture: enough tasks for the threads, whatever the
    batch."""
    return max(1, min(height, 16 // n))


def obstacle(block, shape) -> str:
    """Why a block cannot be part of a fused run on maps of this shape (height, width, channels); "" if it can."""
    conv = block.layers["conv"]
    size, _, c_in, c_out = conv.weight.value.shape
    if not LANES:
        return "no vectors on this processor"
    if [*block.layers][:3] != ["conv", "bn", "relu"]:
        return "the order is not conv-bn-relu"
    if conv.stride != 1 or conv.pad != size // 2 or conv.bias:
        return "a stride, a border or a bias of its own"
    if size not in (3, 5) or c_out % LANES or (c_in % LANES and c_in != 1):
        return f"{c_in} to {c_out} channels with a {size}x{size} kernel"
    if min(shape[:2]) < 2:
        return f"a map of {shape[0]}x{shape[1]}"
    return ""


def scheme(block, shape) -> str:
    """How a block of a fused run convolves maps of this shape (height, width, channels), in a few words."""
    side = block.layers["conv"].weight.value.shape[0]
    return "fused, direct" if shape[2] == 1 else f"fused, F({winograd_tile(side, *shape[:2])}, {side})"


def answering_tile(n: int, side: int, height: int, width: int, channels: int, outputs: int) -> int:
    """The side of output tiles with which n pictures cost least: for many the training's."""
    if n >= FEW or side == 5:
        return winograd_tile(side, height, width)

    def cost(m):
        count = n * -(-height // m) * -(-width // m)
        return (m + 2) ** 2 * (channels * outputs * (count + WEIGHT_COST) + PIXEL_COST * count * (channels + outputs))

    return min((4, 3, 2) if len(TILE_SIZES) > 1 else TILE_SIZES, key=cost)


def weights_cost_most(n: int, count: int, block: int, channels: int, outputs: int) -> bool:
    """Whether a convolution of n pictures, `count` tiles, in blocks, each of which reads all weights, would read more
    of them again than there are pixels in the tiles: then all are multiplied at once. Many would not fit a cache."""
    return n < FEW and (-(-count // block) - 1) * channels * outputs > count * (channels + outputs)
