"""From a uint8 picture to the network's input: one path, stored with the model, used by every program."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from tinyfer.errors import UserError
from tinyfer.kernels.compile import kernel


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its pictures: uint8 (N, H, W) -> float32 (N, h, w, 1), (x / 255 - mean) / std.

    A picture of any shape is area-resized to `size` x `size`, its histogram equalised if `equalize`, and its centre of
    `crop` x `crop` taken if `crop` is given. The mean and std are those of FER-2013's Training pixels."""

    size: int = 48
    crop: int | None = None
    equalize: bool = False
    mean: float = 0.5077
    std: float = 0.2550

    def __post_init__(self):
        if not isinstance(self.size, int) or self.size < 1:
            raise UserError(f"preprocess: size is {self.size!r}, expected a whole number of pixels, 1 or more.")
        if self.crop is not None and not (isinstance(self.crop, int) and 1 <= self.crop <= self.size):
            raise UserError(f"preprocess: crop is {self.crop!r}, expected 1 to {self.size} (the size), or none.")
        if not (np.isfinite(self.mean) and np.isfinite(self.std) and self.std > 0):
            raise UserError(f"preprocess: mean {self.mean!r} and std {self.std!r}, expected finite numbers, std > 0.")

    @property
    def side(self) -> int:
        """Side of the network's input, in pixels."""
        return self.crop or self.size

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one picture as the network sees it: (h, w, 1)."""
        return self.side, self.side, 1

    @property
    def scale_offset(self) -> tuple[np.float32, np.float32]:
        """The float32 pair (a, b) with (x / 255 - mean) / std = a x + b: one rounding each, the same everywhere."""
        return np.float32(1.0 / (255.0 * self.std)), np.float32(-self.mean / self.std)

    def at(self, size: int) -> Preprocess:
        """The same at another picture size, the crop in proportion: for training that grows from small pictures."""
        crop = None if self.crop is None else max(1, round(self.crop * size / self.size))
        return dataclasses.replace(self, size=size, crop=crop)

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W) -> uint8 (N, size, size): resized and, if wanted, equalised; not yet cropped or scaled."""
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape[1:]:
            raise UserError(f"preprocess: pictures are {images.dtype} {images.shape}, expected uint8 (N, H, W) grey "
                            f"values 0 to 255; do not scale them before.")
        images = resize_area(images, self.size, self.size)
        return equalized(images) if self.equalize else images

    def normalise(self, prepared: np.ndarray) -> np.ndarray:
        """uint8 (N, size, size) from `prepare` -> float32 (N, h, w, 1): the centre crop, scaled."""
        edge = (self.size - self.side) // 2
        a, b = self.scale_offset
        crops = prepared[:, edge:edge + self.side, edge:edge + self.side].astype(np.float32)
        crops *= a
        crops += b
        return crops[..., None]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W) -> float32 (N, h, w, 1), what the network is fed."""
        return self.normalise(self.prepare(images))

    def to_dict(self) -> dict:
        """The fields as plain values, for a model's file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> Preprocess:
        """The inverse of to_dict; unknown or ill-typed entries are a UserError."""
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) - known:
            raise UserError(f"preprocess: expected the entries {', '.join(sorted(known))}, got {str(values)[:80]}.")
        try:
            return cls(**values)
        except TypeError:
            raise UserError(f"preprocess: entries of a wrong type in {str(values)[:80]}.") from None


def luminance(rgb: np.ndarray) -> np.ndarray:
    """uint8 (H,W,3) -> uint8 (H,W): 0.299 R + 0.587 G + 0.114 B in parts of 2^16, rounded, to the bit what Pillow does
    (ITU-R BT.601). A camera's BGR, seen backwards, is read as it lies."""
    out = np.empty(rgb.shape[:2], np.uint8)
    weights, lying = (_RED_GREEN_BLUE, rgb) if rgb.strides[2] > 0 else (_RED_GREEN_BLUE[::-1], rgb[..., ::-1])
    # Pixels one behind the other: any other array would be compiled for anew, and not with vectors.
    _luminance(np.require(lying, requirements=["C", "W"]).reshape(-1), *weights, out)
    return out


_RED_GREEN_BLUE = np.int32(19595), np.int32(38470), np.int32(7471)


@kernel
def _luminance(pixels, first, second, third, out):
    height, width = out.shape
    for y in range(height):
        row, line = pixels[3 * width * y : 3 * width * (y + 1)], out[y]
        for x in range(width):
            a, b, c = np.int32(row[3 * x]), np.int32(row[3 * x + 1]), np.int32(row[3 * x + 2])
            line[x] = (first * a + second * b + third * c + np.int32(32768)) >> 16


def resize_area(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (N, H, W) -> uint8 (N, height, width): each new pixel is the mean of the area it covers, exactly.

    Whole-number arithmetic throughout, rounded half up once at the end, so that the bits depend on nothing but the
    picture. Enlarging by a whole factor repeats pixels."""
    n, old_height, old_width = images.shape
    if (old_height, old_width) == (height, width):
        return images
    out = np.empty((n, height, width), np.uint8)
    _resize_area(np.require(images, requirements=["C", "W"]), out)  # any other array would be compiled for anew
    return out


@kernel
def _resize_area(images, out):
    """Down first, then across. Lengths are counted in parts so small that old and new pixels are whole numbers of
    them: of n old pixels in a row an old one is `length` long and a new one n."""
    old_height, old_width = images.shape[1:]
    height, width = out.shape[1:]
    line, area = np.zeros(old_width, np.int64), old_height * old_width
    for picture in range(len(images)):
        for y in range(height):
            begin, end = y * old_height, (y + 1) * old_height
            line[:] = 0
            for i in range(begin // height, (end + height - 1) // height):
                share = min(end, (i + 1) * height) - max(begin, i * height)
                for j in range(old_width):
                    line[j] += share * images[picture, i, j]
            for x in range(width):
                begin, end = x * old_width, (x + 1) * old_width
                first, last = begin // width, (end + width - 1) // width
                total = area // 2
                for j in range(first, last):
                    total += (min(end, (j + 1) * width) - max(begin, j * width)) * line[j]
                out[picture, y, x] = total // area


def equalized(images: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W) -> uint8 (N, H, W), each histogram spread over 0 to 255 (as OpenCV's equalizeHist does).

    A picture of one grey stays as it is."""
    out = np.empty_like(images)
    for i, image in enumerate(images):
        cumulative = np.bincount(image.ravel(), minlength=256).cumsum()
        darkest = cumulative[image.min()]
        rest = image.size - darkest
        table = np.arange(256) if rest == 0 else np.floor((cumulative - darkest) * 255 / rest + 0.5).clip(0)
        out[i] = table.astype(np.uint8)[image]
    return out
