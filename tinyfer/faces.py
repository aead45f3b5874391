"""Faces: the one path from a picture to the network's answer, for every program that sees pictures from outside.

    reader = FaceReader("lite")                    # a shipped model, the path of one, or a Model
    for face in reader.read("party.jpg"):          # also bytes, a Pillow image, or an array (H,W), (H,W,3) RGB, (H,W,4)
        print(face.box, face.label, face.probabilities["happy"])

A *picture* is made upright and grey. A *detector* finds *boxes* in it: x, y, width, height in pixels from the top
left. Boxes are clipped to the picture, and of two that cover the same face one is kept. Each becomes a square *crop*
framed as FER-2013 frames its faces, is brought to the network's size by the model's own preprocessing, and all faces of
a picture go through the folded inference plan as one batch: what `evaluate` does with a picture of a data set, to the
bit."""

from __future__ import annotations

import io
import os
import pathlib
import types
import warnings
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageOps

from tinyfer import infer, models, ops
from tinyfer.data.preprocess import Preprocess
from tinyfer.errors import UserError

# A Haar box against FER-2013's own framing, measured on 1,500 of its pictures: the picture's side is 1.02 times that of
# the box found in it (median; quartiles 0.96 and 1.09), and their middles agree to half a percent in both directions.
MARGIN = 0.02
LARGEST_FILE = 1 << 28  # bytes
LARGEST = 100_000_000  # pixels, 4 bytes each once decoded
SMALLEST = 16  # pixels a side: below, nothing of a face is left
CROP_SIDE = 1024  # pixels: crops of twice that and more are first shrunk by a whole factor, to save memory
DRAWN_ONLY = "for drawn faces only"


class Box(NamedTuple):
    """A rectangle in a picture, in whole pixels from its top left."""

    x: int
    y: int
    w: int
    h: int

    @property
    def area(self) -> int:
        return self.w * self.h

    def shared(self, other: Box) -> int:
        """Pixels that both cover."""
        w = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        h = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        return max(w, 0) * max(h, 0)

    def clipped(self, height: int, width: int) -> Box:
        """The part of it that lies in a picture of this size; of no area when there is none."""
        left, top = min(max(self.x, 0), width), min(max(self.y, 0), height)
        right, bottom = min(max(self.x + self.w, left), width), min(max(self.y + self.h, top), height)
        return Box(left, top, right - left, bottom - top)


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


def grey(picture: Image.Image) -> np.ndarray:
    """A Pillow image -> uint8 (H,W): 0.299 R + 0.587 G + 0.114 B, as the loaders of data sets do it."""
    return np.array(picture.convert("L"))


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


# ----------------------------------------------------------------------------------------------------------- detectors


class Detector(Protocol):
    """What finds faces: called with grey uint8 (H,W), it answers boxes, the surest first. They may overlap or reach
    beyond the picture."""

    def __call__(self, grey: np.ndarray) -> list[Box]: ...


def opencv() -> types.ModuleType:
    """The module cv2; a UserError says what to install where it is missing, broken or too new."""
    try:
        import cv2
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            raise UserError('finding faces needs OpenCV: pip install "opencv-python>=4.10,<5".') from error
        raise UserError(f"OpenCV is installed but does not start ({_one_line(error)}): apt-get install libgl1 "
                        f"libglib2.0-0, or replace it by the headless wheel: pip uninstall opencv-python, then pip "
                        f'install "opencv-python-headless>=4.10,<5".') from error
    return cv2


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


class Haar:
    """OpenCV's own Haar cascade for frontal faces (Viola & Jones 2001), on a working copy of the picture whose longest
    side is at most `longest` pixels, so that a face is sought by its share of the picture.

    step: ratio of neighbouring face sizes tried. neighbours: overlapping hits that make a face. smallest: side of the
    smallest face, in pixels of the working copy. weakest: score of the cascade's last stage below which a hit is
    dropped; 150 of 150 drawn faces and 99.3 % of those found in FER-2013 lie above 1."""

    def __init__(self, longest: int = 1000, step: float = 1.1, neighbours: int = 5, smallest: int = 30,
                 weakest: float = 1.0):
        self.longest, self.step, self.neighbours = longest, step, neighbours
        self.smallest, self.weakest = smallest, weakest
        self._cv2 = opencv()
        self._cascade = load_cascade(self._cv2)

    def __call__(self, grey: np.ndarray) -> list[Box]:
        scale = max(1.0, max(grey.shape) / self.longest)
        if scale > 1:
            height, width = (max(1, round(side / scale)) for side in grey.shape)
            grey = self._cv2.resize(grey, (width, height), interpolation=self._cv2.INTER_AREA)
        boxes, _, scores = self._cascade.detectMultiScale3(
            grey, scaleFactor=self.step, minNeighbors=self.neighbours, minSize=(self.smallest, self.smallest),
            outputRejectLevels=True)
        scores = np.ravel(scores)
        # OpenCV's threads finish in any order, hence the boxes themselves as the last word
        order = sorted(range(len(boxes)), key=lambda i: (-scores[i], tuple(boxes[i])))
        return [Box(*(round(float(side) * scale) for side in boxes[i])) for i in order if scores[i] >= self.weakest]


def load_cascade(cv2, name: str = "haarcascade_frontalface_default.xml"):
    """One of the cascades that OpenCV 4 brings along, checked. Read through memory: OpenCV opens no path with an accent
    on Windows."""
    version = getattr(cv2, "__version__", "of an unknown version")
    if not hasattr(cv2, "CascadeClassifier"):
        raise UserError(f"OpenCV {version} has no Haar cascades any more: pip install "
                        f'"opencv-python>=4.10,<5" (and uninstall what is there first).')
    folder = getattr(getattr(cv2, "data", None), "haarcascades", None) or "cv2/data"
    path = pathlib.Path(folder) / name
    cascade = cv2.CascadeClassifier()
    try:
        storage = cv2.FileStorage(path.read_text(encoding="utf-8"), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        loaded = cascade.read(storage.getFirstTopLevelNode())
    except (OSError, UnicodeDecodeError, SystemError, cv2.error):  # SystemError: an empty file
        loaded = False
    if not loaded or cascade.empty():
        raise UserError(f"OpenCV {version} lacks its cascade {path}, or it is damaged: pip install --force-reinstall "
                        f'"opencv-python>=4.10,<5".')
    return cascade


def whole(grey: np.ndarray) -> list[Box]:
    """The detector for pictures that are faces already: the whole picture."""
    return [Box(0, 0, grey.shape[1], grey.shape[0])]


DETECTORS = {"haar": Haar, "none": lambda: whole}


def grouped(boxes: list[Box], height: int, width: int, overlap: float = 0.4) -> list[Box]:
    """Clip boxes (surest first) to the picture, drop those that share more than `overlap` of the smaller one's area
    with a surer one (doubles, a face within a face), and sort the rest from left to right."""
    kept: list[Box] = []
    for box in (box.clipped(height, width) for box in boxes):
        rivals = (box.shared(other) > overlap * min(box.area, other.area) for other in kept)
        if min(box.w, box.h) >= SMALLEST and not any(rivals):
            kept.append(box)
    return sorted(kept)


# --------------------------------------------------------------------------------------------------------------- crops


def square_crop(grey: np.ndarray, box: Box, margin: float = MARGIN) -> np.ndarray:
    """uint8 (H,W) -> uint8 (S,S) about the box's middle, S = (1 + margin) times its longer side; beyond the picture its
    edge is repeated."""
    side = max(1, round((1 + margin) * max(box.w, box.h)))
    top, left = box.y + (box.h - side) // 2, box.x + (box.w - side) // 2
    rows = np.arange(top, top + side).clip(0, grey.shape[0] - 1)
    columns = np.arange(left, left + side).clip(0, grey.shape[1] - 1)
    return grey[np.ix_(rows, columns)]


def prepared(grey: np.ndarray, boxes: list[Box], preprocess: Preprocess, margin: float = MARGIN) -> np.ndarray:
    """The crops of K boxes as the model's own preprocessing makes them: uint8 (K,size,size), not yet normalised.

    A box that is the whole picture is taken as it is, without margin: a picture of a data set."""
    out = np.empty((len(boxes), preprocess.size, preprocess.size), np.uint8)
    for i, box in enumerate(boxes):
        crop = grey if [box] == whole(grey) else square_crop(grey, box, margin)
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
    DETECTORS or a Detector. margin: the crop's side is (1 + margin) times the box's.

    A picture no larger than twice the network's is a face already, and so is one up to four times as large in which the
    detector finds none; unless it is longer than 1.5 times its other side."""

    def __init__(self, model="lite", detector: str | Detector = "haar", margin: float = MARGIN):
        if isinstance(detector, str) and detector not in DETECTORS:
            raise UserError(f"there is no detector {detector!r}; there are {', '.join(DETECTORS)}.")
        self.model = models.load(model) if isinstance(model, (str, os.PathLike)) else model
        self.margin = margin
        self._detector = detector
        self._plan = infer.Plan(self.model, 32)

    @property
    def detector(self) -> Detector:
        """What finds the faces; made when first needed, so that pictures of faces need no OpenCV."""
        if isinstance(self._detector, str):
            self._detector = DETECTORS[self._detector]()
        return self._detector

    def read(self, picture) -> list[Face]:
        """The faces of one picture (all that open_picture takes), from left to right; none is an empty list."""
        image = grey(open_picture(picture))
        boxes = self.find(image)
        if not boxes:
            return []
        crops = prepared(image, boxes, self.model.preprocess, self.margin)
        chances = ops.softmax(self._plan(self.model.preprocess.normalise(crops)))
        return [self._face(*one) for one in zip(boxes, chances, crops, strict=True)]

    def find(self, image: np.ndarray) -> list[Box]:
        """Boxes of the faces in grey uint8 (H,W)."""
        base = max(48, self.model.preprocess.size)
        small, large = sorted(image.shape)
        framed = small >= SMALLEST and large <= 1.5 * small
        if framed and large <= 2 * base:
            return whole(image)
        found = grouped(self.detector(image), *image.shape)
        return found or (whole(image) if framed and large <= 4 * base else [])

    def _face(self, box: Box, chances: np.ndarray, crop: np.ndarray) -> Face:
        label = self.model.labels[int(chances.argmax())]
        return Face(box, dict(zip(self.model.labels, map(float, chances), strict=True)), label, crop)
