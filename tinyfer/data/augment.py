"""Augmentation: one random warp, one change of light and perhaps one erased box for each picture of a batch.

Everything random is drawn first, as arrays, by `draw`; `warp` then needs no randomness. Flip, rotation, zoom, shift and
crop are one 2x3 matrix, so that a picture is interpolated once, and brightness, contrast and normalisation are one
multiply-add. With all of it off the result equals the model's own preprocessing bit for bit."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyfer.data.preprocess import Preprocess
from tinyfer.errors import UserError
from tinyfer.kernels.compile import kernel


@dataclass(frozen=True)
class Recipe:
    """How strongly to augment. Probabilities are per picture; every range is drawn from uniformly."""

    flip: float = 0.5           # probability of a mirror image
    affine: float = 0.8         # probability of rotation, zoom and a fractional shift; otherwise the shift is in whole
                                # pixels, so that some pictures stay as sharp as those the network is tested on
    rotation: float = 0.0       # degrees, to either side
    zoom: tuple[float, float] = (1.0, 1.0)  # smallest and largest, uniform in its logarithm
    shift: float = 0.0          # of the side, in x and in y, to either side
    light: float = 0.7          # probability of a change of contrast and brightness
    contrast: float = 0.0       # factor 1 +- this, about the mean grey
    brightness: float = 0.0     # +- this, of the range from black to white
    erasing: float = 0.0        # probability of one erased box (Zhong et al. 2017, arXiv 1708.04896)
    erased: tuple[float, float] = (0.02, 0.20)  # of the area; its height to width is between 1/2.5 and 2.5
    crop: bool = True           # the model's crop taken at random rather than at the centre


# Both presets are what a first version of this engine trained with on FER-2013's Training split (128 pictures a step,
# label smoothing 0.1, one cosine): light took `lite` to 65.9 % on PublicTest in 9 minutes, strong the net of widths
# 64 to 512 to 68.6 % in 41 minutes. Erasing is the part that most wants tuning: more of it for longer training.
RECIPES: dict[str, Recipe] = {
    "none": Recipe(flip=0.0, affine=0.0, light=0.0, crop=False),
    "light": Recipe(rotation=10.0, zoom=(0.90, 1.12), shift=0.06, contrast=0.30, brightness=0.15, erasing=0.15),
    "strong": Recipe(rotation=12.0, zoom=(0.87, 1.15), shift=0.08, contrast=0.30, brightness=0.15, erasing=0.30),
}
NAMES = tuple(RECIPES)
_LONGEST = 2.5  # the erased box's largest ratio of sides


def recipe(name: str | Recipe, erasing: float | None = None) -> Recipe:
    """A recipe by name ("none", "light", "strong"), or one of your own; `erasing` replaces its probability."""
    if not isinstance(name, Recipe):
        if name not in RECIPES:
            near = difflib.get_close_matches(str(name), NAMES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UserError(f"augmentation {name!r} is unknown, expected one of {', '.join(NAMES)}{hint}")
        name = RECIPES[name]
    if erasing is None:
        return name
    if not 0 <= erasing <= 1:
        raise UserError(f"erasing is {erasing}, expected a probability between 0 and 1.")
    return dataclasses.replace(name, erasing=float(erasing))


class Drawn(NamedTuple):
    """What was drawn for n pictures: all that `warp` needs to know."""

    matrix: np.ndarray  # float32 (n,2,3): output (x, y, 1) -> where to look in the picture, in pixels
    gain: np.ndarray    # float32 (n,): grey value -> network input is gain * value + offset
    offset: np.ndarray  # float32 (n,)
    box: np.ndarray     # int64 (n,4): top, bottom, left, right of the erased box; empty where nothing is erased
    fill: np.ndarray    # float32 (n,): what the box is filled with, in the network's units


def draw(recipe: Recipe, n: int, preprocess: Preprocess, rng: np.random.Generator) -> Drawn:
    """Draw a recipe's random values for n pictures of preprocess.size -> Drawn for outputs of preprocess.side.

    Always the same number of draws, whatever the recipe, so that one setting does not shift another's randomness."""
    def either(extent):
        return rng.uniform(-1.0, 1.0, n) * extent

    side, size = preprocess.side, preprocess.size
    flip = np.where(rng.random(n) < recipe.flip, -1.0, 1.0)
    affine = rng.random(n) < recipe.affine
    angle = np.where(affine, np.deg2rad(either(recipe.rotation)), 0.0)
    zoom = np.where(affine, np.exp(rng.uniform(np.log(recipe.zoom[0]), np.log(recipe.zoom[1]), n)), 1.0)
    shift = np.stack([either(recipe.shift * size), either(recipe.shift * size)])
    shift = np.where(affine, shift, np.rint(shift))
    room = size - side  # the crop's corner: anywhere in it, or at the centre
    corner = rng.integers(0, room + 1, (2, n)) if recipe.crop else np.full((2, n), room // 2)
    light = rng.random(n) < recipe.light
    contrast = np.where(light, 1.0 + either(recipe.contrast), 1.0)
    brightness = np.where(light, either(recipe.brightness), 0.0)
    return Drawn(matrices(flip, angle, zoom, shift, corner, side, size),
                 (contrast / (255.0 * preprocess.std)).astype(np.float32),
                 ((brightness - contrast * preprocess.mean) / preprocess.std).astype(np.float32),
                 _boxes(recipe, n, side, rng), (0.5 * rng.standard_normal(n)).astype(np.float32))


def matrices(flip, angle, zoom, shift, corner, side: int, size: int) -> np.ndarray:
    """Arrays (n,) of flips (-1 or 1), angles and zooms, and (2,n) of shifts and corners -> float32 (n,2,3).

    Outwards in: mirror the output about its middle, place it at the crop's corner, undo the shift, and turn and shrink
    about the picture's centre. Whole pixels stay exact: nothing is added that would have to cancel."""
    centre = (size - 1) / 2
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    # The output's pixel (0, 0), in the picture's coordinates before turning.
    start = np.stack([np.where(flip < 0, side - 1.0, 0.0), np.zeros_like(angle)]) + corner - shift
    matrix = np.empty((len(angle), 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos * flip, sin
    matrix[:, 1, 0], matrix[:, 1, 1] = -sin * flip, cos
    x, y = start - centre
    matrix[:, 0, 2] = cos * x + sin * y + centre
    matrix[:, 1, 2] = -sin * x + cos * y + centre
    return matrix


def _boxes(recipe: Recipe, n: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """The erased boxes: int64 (n,4) of top, bottom, left, right, empty where nothing is erased."""
    area = rng.uniform(recipe.erased[0], recipe.erased[1], n) * side * side
    ratio = np.exp(rng.uniform(-1.0, 1.0, n) * np.log(_LONGEST))
    height = np.minimum(np.sqrt(area * ratio).astype(np.int64) + 1, side)
    width = np.minimum(np.sqrt(area / ratio).astype(np.int64) + 1, side)
    top = (rng.random(n) * (side - height + 1)).astype(np.int64)
    left = (rng.random(n) * (side - width + 1)).astype(np.int64)
    erased = rng.random(n) < recipe.erasing
    return np.where(erased, np.stack([top, top + height, left, left + width]), 0).T.copy()


@kernel
def warp(images, index, matrix, gain, offset, box, fill, out):
    """Pictures uint8 (N,S,S) at index (n,), warped as drawn -> out float32 (n,side,side).

    Bilinear, edges replicated. Serial on purpose: the prefetch thread runs it beside the engine's parallel kernels."""
    size, side = images.shape[1], out.shape[1]
    wide = size + 1  # a copy of the picture with its last row and column repeated: every pixel has a right neighbour
    copy = np.zeros(wide * wide, np.float32)
    zero, one, last = np.float32(0), np.float32(1), np.float32(size - 1)
    for i in range(index.size):
        image, result, m = images[index[i]], out[i], matrix[i]
        for y in range(wide):
            for x in range(wide):
                copy[y * wide + x] = image[min(y, size - 1), min(x, size - 1)]
        for y in range(side):
            for x in range(side):
                u = min(max(m[0, 0] * np.float32(x) + m[0, 1] * np.float32(y) + m[0, 2], zero), last)
                v = min(max(m[1, 0] * np.float32(x) + m[1, 1] * np.float32(y) + m[1, 2], zero), last)
                left, top = np.int32(u), np.int32(v)
                a, b = u - np.float32(left), v - np.float32(top)
                at = np.uint32(top * wide + left)
                upper = (one - a) * copy[at] + a * copy[at + np.uint32(1)]
                lower = (one - a) * copy[at + np.uint32(wide)] + a * copy[at + np.uint32(wide + 1)]
                result[y, x] = ((one - b) * upper + b * lower) * gain[i] + offset[i]
        for y in range(box[i, 0], box[i, 1]):
            for x in range(box[i, 2], box[i, 3]):
                result[y, x] = fill[i]


def augmented(prepared: np.ndarray, index: np.ndarray, drawn: Drawn, side: int) -> np.ndarray:
    """Pictures uint8 (N,S,S) from Preprocess.prepare, those at index (n,) -> float32 (n,side,side,1)."""
    out = np.empty((len(index), side, side), np.float32)
    warp(prepared, index, *drawn, out)
    return out[..., None]
