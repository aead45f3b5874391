"""Faces: the one path from a picture to the network's answer, for every program that sees pictures from outside.

    reader = FaceReader("lite")                    # a shipped model, the path of one, or a Model
    for face in reader.read("party.jpg"):          # also bytes, a Pillow image, or an array (H,W), (H,W,3) RGB, (H,W,4)
        print(face.box, face.label, face.probabilities["happy"])

A *picture* is made upright. A *detector* finds *boxes* in it (tinyfer/detectors.py), clipped to the picture and each
face once. Each box becomes a square grey *crop* framed as FER-2013 frames its faces, is brought to the network's size
by the model's own preprocessing, and all faces of a picture go through the folded inference plan as one batch: what
`evaluate` does with a picture of a data set, to the bit. What moves goes the same way (tinyfer/live)."""

from __future__ import annotations

import io
import os
import pathlib
import sys
import warnings
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps

from tinyfer import detectors, infer, models, ops
from tinyfer.data.preprocess import Preprocess, luminance
from tinyfer.detectors import SMALLEST, Box, Detector, whole
from tinyfer.errors import UserError

# A Haar box against FER-2013's own framing, measured on 1,500 of its pictures: the picture's side is 1.02 times that of
# the box found in it (median; quartiles 0.96 and 1.09), and their middles agree to half a percent in both directions.
MARGIN = 0.02
LARGEST_FILE = 1 << 28  # bytes
LARGEST = 100_000_000  # pixels, 4 bytes each once decoded
CROP_SIDE = 1024  # pixels: crops of twice that and more are first shrunk by a whole factor, to save memory
# Endings of what a folder's pictures are called; .jfif is what some browsers save a jpg as.
PICTURES = frozenset((".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".jp2",
                      ".pgm", ".ppm"))
FROM_PHONES = frozenset((".heic", ".heif"))  # which Pillow does not read
DRAWN_ONLY = "for drawn faces only"
NOTICE = ("An expression is what a face shows, not what a person feels. Everything stays on this machine.\n"
          "The EU AI Act forbids inferring emotions of people at work and in education, save for medical or safety "
          "reasons.")


@dataclass(frozen=True, eq=False)
class Face:
    """One face: where it is, the probability of each expression by name, the likeliest one's name, and the uint8
    (size,size) crop that the network was shown."""

    box: Box
    probabilities: dict[str, float]
    label: str
    crop: np.ndarray = field(repr=False)

    @property
    def probability(self) -> float:
        return self.probabilities[self.label]

    @property
    def shown(self) -> str:
        """What to write beside it."""
        return self.label


# ------------------------------------------------------------------------------------------------------------ pictures


def open_picture(source) -> Image.Image:
    """A picture as a Pillow image, upright (EXIF), 8 bits deep, "L" or "RGB"; what is transparent becomes white.

    source: a path, a file's bytes, a Pillow image, or an array (H,W), (H,W,3) RGB or (H,W,4) RGBA (OpenCV's BGR:
    array[..., ::-1]). 16 bits become 8 by dropping the lower ones; floats are 0 to 1, or 0 to 255 if any exceeds 1.
    Of an animation, the first frame. UserError, naming the file, for what cannot be read whole."""
    if isinstance(source, np.ndarray):
        return _plain(_from_array(source))
    if isinstance(source, Image.Image):
        return _plain(source)
    if isinstance(source, (bytes, bytearray)):
        return _decoded(bytes(source), "the picture")
    return _decoded(_file_bytes(pathlib.Path(source)), str(source))


def pictures_in(folder) -> list[str]:
    """Paths of the pictures in a folder, by name, without the hidden ones. Those from phones that cannot be read are
    told on stderr. UserError where the folder cannot be read or has no picture."""
    folder = pathlib.Path(folder)
    try:
        with os.scandir(folder) as scan:
            entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name)
            files = [entry.path for entry in entries if entry.is_file()]
            deeper = any(entry.is_dir() for entry in entries)
    except OSError as error:
        advice = ("allow the terminal to read it (System Settings, Privacy & Security, Files and Folders)"
                  if sys.platform == "darwin" else "see that it is yours to read")
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}; {advice}.") from None
    found = [path for path in files if pathlib.Path(path).suffix.lower() in PICTURES]
    phones = sum(pathlib.Path(path).suffix.lower() in FROM_PHONES for path in files)
    heic = f"{phones} HEIC picture{'s' * (phones != 1)}, which Pillow does not read: save a copy of each as jpg"
    if not found:
        within = f"; for those in its folders: '{folder / '**' / '*.jpg'}'" if deeper else ""
        raise UserError(f"there are no pictures in the folder {folder}{f', but {heic}' if phones else within}.")
    if phones:
        print(f"passed over in {folder}: {heic}.", file=sys.stderr)
    return found


def _file_bytes(path: pathlib.Path) -> bytes:
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, expected a picture.")
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None


def _decoded(data: bytes, name: str) -> Image.Image:
    if not data:
        raise UserError(f"{name} is empty, expected a picture (png, jpg, webp, tiff, bmp, gif ...).")
    if len(data) > LARGEST_FILE:
        raise UserError(f"{name} has more than {LARGEST_FILE >> 20} MiB, which no picture here needs; make it smaller.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata and large pictures: what matters is told below
            image = Image.open(io.BytesIO(data))
            _check_size(image, name)
            image.load()
            return _plain(image)
    except Image.DecompressionBombError:
        raise UserError(_too_large(name, f"more than {LARGEST // 10**6}")) from None
    except UserError:
        raise
    except Exception as error:  # the decoders raise a dozen kinds on damaged files
        known = not isinstance(error, Image.UnidentifiedImageError)
        reason = "it is cut off or damaged" if known else "it is none that Pillow knows"
        raise UserError(f"{name} is not a readable picture: {reason}; fetch or save it again, as png or jpg.") from None


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > LARGEST:
        raise UserError(_too_large(name, str(image.width * image.height // 10**6)))


def _too_large(name: str, megapixels: str) -> str:
    return f"{name} has {megapixels} megapixels, expected at most {LARGEST // 10**6}; make it smaller first."


def _plain(image: Image.Image) -> Image.Image:
    """Upright, 8 bits deep, without transparency."""
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata is no reason to refuse the picture
        image = image.copy()
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not fits or 0 in array.shape or array.dtype.kind not in "biuf":
        raise UserError(f"a picture is an array (H,W), (H,W,3) RGB or (H,W,4) RGBA of numbers, this one is "
                        f"{array.dtype} {array.shape}.")
    return Image.fromarray(np.ascontiguousarray(_eight_bits(array)))


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Numbers of any type -> uint8: 16-bit ones lose their lower 8 bits, floats up to 1 are stretched to 255."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        values = values * 255 if values.max() <= 1 else values
        return (values.clip(0, 255) + 0.5).astype(np.uint8)
    deep = values.dtype.itemsize == 2 or values.max() > 255
    return ((values.clip(0, 65535).astype(np.int64) >> 8) if deep else values.clip(0, 255)).astype(np.uint8)


# --------------------------------------------------------------------------------------------------------------- crops


def square(box: Box, margin: float = MARGIN) -> Box:
    """The square about the box's middle whose side is (1 + margin) times the box's longer one; it may reach beyond the
    picture."""
    side = max(1, round((1 + margin) * max(box.w, box.h)))
    return Box(box.x + (box.w - side) // 2, box.y + (box.h - side) // 2, side, side)


def square_crop(picture: np.ndarray, box: Box, margin: float = MARGIN) -> np.ndarray:
    """uint8 (H,W) or (H,W,3) -> (S,S) or (S,S,3), what lies in the box's `square`; beyond the picture its edge is
    repeated."""
    left, top, side, _ = square(box, margin)
    height, width = picture.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return picture[top:top + side, left:left + side]
    rows = np.arange(top, top + side).clip(0, height - 1)
    columns = np.arange(left, left + side).clip(0, width - 1)
    return picture[np.ix_(rows, columns)]


def prepared(picture: np.ndarray, boxes: list[Box], preprocess: Preprocess, margin: float = MARGIN) -> np.ndarray:
    """The crops of K boxes in a picture (H,W) or (H,W,3) RGB as the model's own preprocessing makes them: uint8
    (K,size,size), not yet normalised.

    A box that is the whole picture is taken as it is, without margin: a picture of a data set."""
    out = np.empty((len(boxes), preprocess.size, preprocess.size), np.uint8)
    for i, box in enumerate(boxes):
        crop = picture if [box] == whole(picture) else square_crop(picture, box, margin)
        if crop.ndim == 3:
            crop = luminance(crop)
        if (factor := max(crop.shape) // CROP_SIDE) > 1:
            crop = np.asarray(Image.fromarray(crop).reduce(factor))
        out[i] = preprocess.prepare(crop[None])[0]
    return out


# -------------------------------------------------------------------------------------------------------------- reader


def drawn_only(model: models.Model) -> bool:
    """Whether the model has learned from drawn faces and knows nothing of people."""
    return bool(model.meta.get("toy")) or model.meta.get("data") == "toyfaces" or model.meta.get("note") == DRAWN_ONLY


class FaceReader:
    """Reads the expressions of the faces in pictures: `FaceReader("lite").read("photo.jpg") -> [Face, ...]`.

    model: a Model, the name of a shipped one or a path; its weights are taken as they are now. detector: a name in
    detectors.DETECTORS or a Detector. margin: the crop's side is (1 + margin) times the box's.

    A picture no larger than twice the network's is a face already, and so is one up to four times as large in which the
    detector finds none; unless it is longer than 1.5 times its other side."""

    def __init__(self, model="lite", detector: str | Detector = "haar", margin: float = MARGIN):
        self.model = models.load(model) if isinstance(model, (str, os.PathLike)) else model
        self.margin = margin
        self.detector = detectors.later(detector) if isinstance(detector, str) else detector
        self._plan = infer.Plan(self.model, 32)
        self._temperature = np.float32(self.model.meta.get("temperature", 1.0))

    def read(self, picture) -> list[Face]:
        """The faces of one picture (all that open_picture takes), from left to right; none is an empty list."""
        image = np.asarray(open_picture(picture))
        boxes = self.find(image)
        if not boxes:
            return []
        crops = prepared(image, boxes, self.model.preprocess, self.margin)
        chances = ops.softmax(self.logits(crops))
        return [self._face(*one) for one in zip(boxes, chances, crops, strict=True)]

    def find(self, image: np.ndarray) -> list[Box]:
        """Boxes of the faces in uint8 (H,W) or (H,W,3) RGB."""
        base = max(48, self.model.preprocess.size)
        small, large = sorted(image.shape[:2])
        framed = small >= SMALLEST and large <= 1.5 * small
        if framed and large <= 2 * base:
            return whole(image)
        found = detectors.find(self.detector, image)
        return found or (whole(image) if framed and large <= 4 * base else [])

    def logits(self, crops: np.ndarray) -> np.ndarray:
        """uint8 (K,size,size) from `prepared` -> float32 (K,7), divided by the model's temperature, as one batch."""
        return self._plan(self.model.preprocess.normalise(crops)) / self._temperature

    def _face(self, box: Box, chances: np.ndarray, crop: np.ndarray) -> Face:
        label = self.model.labels[int(chances.argmax())]
        return Face(box, dict(zip(self.model.labels, map(float, chances), strict=True)), label, crop)
