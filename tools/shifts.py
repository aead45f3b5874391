"""What a webcam does to a face, done to the pictures of a test split: each change by several amounts, nothing random.

    for change in CHANGES:
        for amount in change.amounts:
            inputs = change.views(pictures, preprocess, amount)        # as many inputs as the change has directions"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tinyfer.data import Preprocess, augment


class Change(NamedTuple):
    """A change: its name, what its amounts are, the amounts (the first one changes nothing), and
    views(pictures, preprocess, amount), pictures uint8 (N,S,S) from preprocess.prepare -> inputs (N,h,w,1) float32, a
    direction each."""

    name: str
    unit: str
    amounts: tuple[float, ...]
    views: Callable[[np.ndarray, Preprocess, float], Iterator[np.ndarray]]


def warped(pictures: np.ndarray, preprocess: Preprocess, angle: float = 0.0, zoom: float = 1.0,
           shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Every picture turned by `angle` degrees, enlarged by `zoom`, moved by `shift` (x, y) pixels; edges repeated."""
    n, side, size = len(pictures), preprocess.side, preprocess.size
    corner = np.full((2, n), (size - side) // 2)
    matrix = augment.matrices(np.ones(n), np.full(n, np.deg2rad(angle)), np.full(n, zoom),
                              np.tile(np.array(shift)[:, None], (1, n)), corner, side, size)
    gain, offset = (np.full(n, value, np.float32) for value in preprocess.scale_offset)
    nothing = augment.Drawn(matrix, gain, offset, np.zeros((n, 4), np.int64), np.zeros(n, np.float32))
    return augment.augmented(pictures, np.arange(n), nothing, side)


def moved(pictures, preprocess, pixels):
    """Right, left, down and up."""
    for shift in ((pixels, 0.0), (-pixels, 0.0), (0.0, pixels), (0.0, -pixels)):
        yield warped(pictures, preprocess, shift=shift)


def turned(pictures, preprocess, degrees):
    """Either way."""
    for angle in (degrees, -degrees):
        yield warped(pictures, preprocess, angle=angle)


def cropped(pictures, preprocess, percent):
    """Too near (the box smaller than it should be) and too far."""
    for zoom in (1 / (1 - percent / 100), 1 / (1 + percent / 100)):
        yield warped(pictures, preprocess, zoom=zoom)


def blurred(pictures, preprocess, sigma):
    """By a Gaussian, edges repeated."""
    reach = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2) if sigma else np.eye(1, 2 * reach + 1, reach)[0]
    kernel /= kernel.sum()
    soft = pictures.astype(np.float64)
    for axis in (1, 2):
        padded = np.pad(soft, [(reach, reach) if i == axis else (0, 0) for i in range(3)], mode="edge")
        soft = sum(weight * np.take(padded, np.arange(i, i + pictures.shape[axis]), axis)
                   for i, weight in enumerate(kernel))
    yield preprocess.normalise(np.rint(soft).astype(np.uint8))


def darkened(pictures, preprocess, percent):
    """Every grey value times what is left of the light, rounded as a camera rounds: dark pictures lose their greys."""
    yield preprocess.normalise(np.rint(pictures * (1 - percent / 100)).astype(np.uint8))


CHANGES = (
    Change("moved", "pixels of 48", (0, 1, 2, 3, 4, 6, 8), moved),
    Change("turned", "degrees", (0, 5, 10, 15, 20, 30, 45), turned),
    Change("box too small or too large", "per cent", (0, 5, 10, 15, 20, 30, 40), cropped),
    Change("blurred", "sigma in pixels of 48", (0, 0.5, 1, 1.5, 2, 3), blurred),
    Change("darker", "per cent less light", (0, 30, 50, 70, 80, 90, 95), darkened),
)
