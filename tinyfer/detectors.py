"""What finds faces: `find = make("haar")`, then `find(picture) -> [Box, ...]`, the surest first.

    haar       OpenCV's own cascade for frontal faces, the default; haar-alt2 is another of its cascades
    yunet      OpenCV's small network (FaceDetectorYN); you name its model file
    dlib       dlib's histograms of gradients      pip install dlib
    mtcnn      three networks in a row             pip install "mtcnn[tensorflow]"
    none       the whole picture is the face

A *box* is x, y, width, height in pixels from the picture's top left. What a detector answers may overlap or reach
beyond the picture: `grouped` puts that right, in the same way for all of them."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import sys
import types
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from tinyfer.errors import UserError

SMALLEST = 16  # pixels a side: below, nothing of a face is left
CASCADE = "haarcascade_frontalface_default.xml"
ENLARGED = 2.0  # times, at most, that a picture is enlarged for a detector that knows large faces only


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

    def overlap(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        shared = self.shared(other)
        return shared / (self.area + other.area - shared) if shared else 0.0

    def clipped(self, height: int, width: int) -> Box:
        """The part of it that lies in a picture of this size; of no area when there is none."""
        left, top = min(max(self.x, 0), width), min(max(self.y, 0), height)
        right, bottom = min(max(self.x + self.w, left), width), min(max(self.y + self.h, top), height)
        return Box(left, top, right - left, bottom - top)

    def scaled(self, factor: float) -> Box:
        """The box in a picture `factor` times as large."""
        return Box.rounded(self, factor)

    @classmethod
    def rounded(cls, sides: Iterable[float], factor: float = 1.0) -> Box:
        """From four numbers of any type, each times the factor."""
        return cls(*(round(float(side) * factor) for side in sides))

    def mirrored(self, width: int) -> Box:
        """The box in the mirror image of a picture of this width."""
        return self._replace(x=width - self.x - self.w)


class Detector(Protocol):
    """What finds faces: called with a picture, it answers boxes, the surest first.

    The picture is grey uint8 (H,W), or (H,W,3) RGB where the detector has an attribute `colour` that is true."""

    def __call__(self, picture: np.ndarray, /) -> list[Box]: ...


def make(name: str, file: str | None = None, share: float | None = None) -> Detector:
    """A detector by its name in DETECTORS.

    file: yunet's model. share: side of the smallest face to find, as a share of the picture's shorter side; the picture
    is shrunk as far as that allows, which is what makes it fast. None: faces of 30 pixels in pictures of 1,000."""
    _check_choice(name, file)
    return DETECTORS[name](file, share)


def later(name: str, file: str | None = None) -> Detector:
    """The same, made when first needed, so that pictures of nothing but a face need no OpenCV."""
    _check_choice(name, file)
    return _Later(name, file)


def _check_choice(name: str, file: str | None) -> None:
    if name not in DETECTORS:
        raise UserError(f"there is no detector {name!r}; there are {', '.join(DETECTORS)}.")
    if file is not None and name != "yunet":
        raise UserError(f"--detector-file {file}: only yunet reads a file; say --detector yunet too.")


class _Later:
    def __init__(self, name: str, file: str | None):
        self._make = functools.cache(lambda: make(name, file))

    @property
    def colour(self) -> bool:
        return getattr(self._make(), "colour", False)

    def __call__(self, picture: np.ndarray) -> list[Box]:
        return self._make()(picture)


def find(detector: Detector, picture: np.ndarray) -> list[Box]:
    """The faces in a picture (H,W) or (H,W,3) RGB: boxes from left to right, clipped and each face once."""
    if not getattr(detector, "colour", False):
        picture = _grey(picture)
    elif picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    return grouped(detector(picture), *picture.shape[:2])


def grouped(boxes: list[Box], height: int, width: int, overlap: float = 0.4) -> list[Box]:
    """Clip boxes (surest first) to the picture, drop those that share more than `overlap` of the smaller one's area
    with a surer one (doubles, a face within a face), and sort the rest from left to right."""
    kept: list[Box] = []
    for box in (box.clipped(height, width) for box in boxes):
        rivals = (box.shared(other) > overlap * min(box.area, other.area) for other in kept)
        if min(box.w, box.h) >= SMALLEST and not any(rivals):
            kept.append(box)
    return sorted(kept)


# -------------------------------------------------------------------------------------------------------------- OpenCV


def opencv() -> types.ModuleType:
    """The module cv2; a UserError says what to install where it is missing, broken or too new."""
    try:
        import cv2
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            raise UserError('finding faces needs OpenCV: pip install "opencv-python>=4.10,<5".') from error
        missing = "apt-get install libgl1 libglib2.0-0, or replace" if sys.platform == "linux" else "replace"
        raise UserError(f"OpenCV is installed but does not start ({_one_line(error)}): {missing} it by the headless "
                        f'wheel: pip uninstall opencv-python, then pip install "opencv-python-headless>=4.10,<5".'
                        ) from error
    return cv2


def quiet() -> None:
    """Keep OpenCV from printing warnings of its own: a sentence of ours says what is wrong."""
    with contextlib.suppress(AttributeError):
        opencv().utils.logging.setLogLevel(0)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _grey(picture: np.ndarray) -> np.ndarray:
    """RGB (H,W,3) -> grey (H,W). A camera's BGR, seen backwards, goes a quicker way: a grey level more or less makes no
    difference to the search, and what the network is shown is cut from the picture itself."""
    if picture.ndim == 2:
        return picture
    if picture.strides[2] < 0:
        cv2 = opencv()
        return cv2.cvtColor(picture[..., ::-1], cv2.COLOR_BGR2GRAY)
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).convert("L"))


def _working_copy(picture: np.ndarray, longest: int, smallest: int, share: float | None,
                  enlarged: float = 1.0) -> tuple[np.ndarray, float]:
    """The picture at the size at which to search, and how many times larger the picture itself is.

    Its longest side is at most `longest`; with a share, a face of that share is `smallest` pixels large."""
    sides = picture.shape[:2]
    scale = 1.0 if share is None else max(share * min(sides) / smallest, 1 / enlarged)
    scale = max(scale, max(sides) / longest)
    if scale == 1:
        return np.ascontiguousarray(picture), 1.0
    cv2 = opencv()
    height, width = (max(1, round(side / scale)) for side in sides)
    way = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=way), scale


class Haar:
    """OpenCV's own Haar cascades for frontal faces (Viola & Jones 2001), on a working copy of the picture whose longest
    side is at most `longest` pixels, so that a face is sought by its share of the picture.

    step: ratio of neighbouring face sizes tried. neighbours: overlapping hits that make a face. smallest: side of the
    smallest face, in pixels of the working copy; share: that side as a share of the picture's shorter side (see
    `make`). weakest: score of the cascade's last stage below which a hit is dropped; 150 of 150 drawn faces and 99.3 %
    of those found in FER-2013 lie above 1."""

    def __init__(self, longest: int = 1000, step: float = 1.1, neighbours: int = 5, smallest: int = 30,
                 weakest: float = 1.0, share: float | None = None, cascade: str = CASCADE):
        self.longest, self.step, self.neighbours = longest, step, neighbours
        self.smallest, self.weakest, self.share = smallest, weakest, share
        self._cascade = load_cascade(opencv(), cascade)

    def __call__(self, grey: np.ndarray) -> list[Box]:
        grey, scale = _working_copy(grey, self.longest, self.smallest, self.share)
        boxes, _, scores = self._cascade.detectMultiScale3(
            grey, scaleFactor=self.step, minNeighbors=self.neighbours, minSize=(self.smallest, self.smallest),
            outputRejectLevels=True)
        scores = np.ravel(scores)
        # OpenCV's threads finish in any order, hence the boxes themselves as the last word
        order = sorted(range(len(boxes)), key=lambda i: (-scores[i], tuple(boxes[i])))
        return [Box.rounded(boxes[i], scale) for i in order if scores[i] >= self.weakest]


def load_cascade(cv2, name: str = CASCADE):
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


class YuNet:
    """OpenCV's FaceDetectorYN (Wu et al. 2023), a network in an ONNX file that the user has fetched.

    surest: score, 0 to 1, from which on a face counts."""

    colour = True

    def __init__(self, file: str | None, share: float | None = None, longest: int = 640, surest: float = 0.7):
        if file is None:
            raise UserError("--detector yunet: name its model too, --detector-file face_detection_yunet.onnx; OpenCV's "
                            "model zoo (opencv_zoo on GitHub) has it, nothing is downloaded here.")
        if not pathlib.Path(file).is_file():
            raise UserError(f"--detector-file {file}: there is no such file; expected YuNet's model, an .onnx file.")
        cv2 = opencv()
        self.longest, self.share = longest, share
        try:
            self._network = cv2.FaceDetectorYN.create(str(file), "", (320, 320), surest)
        except (AttributeError, SystemError, cv2.error) as error:
            raise UserError(f"--detector-file {file}: OpenCV {cv2.__version__} cannot use it as YuNet's model "
                            f"({_one_line(error)}); fetch face_detection_yunet.onnx again.") from None
        self._bgr = lambda picture: cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)

    def __call__(self, picture: np.ndarray) -> list[Box]:
        picture, scale = _working_copy(picture, self.longest, 16, self.share)
        self._network.setInputSize((picture.shape[1], picture.shape[0]))
        _, rows = self._network.detect(self._bgr(picture))
        rows = [] if rows is None else sorted(rows, key=lambda row: -row[14])
        return [Box.rounded(row[:4], scale) for row in rows]


# ------------------------------------------------------------------------------------------------------- other packages


class Dlib:
    """dlib's detector of frontal faces (Dalal & Triggs 2005; King 2015). It knows faces of 80 pixels and more: where a
    share asks for smaller ones, the picture is enlarged up to twice."""

    def __init__(self, share: float | None = None, longest: int = 1000):
        try:
            import dlib
        except ImportError as error:
            raise UserError(f"--detector dlib needs the package dlib ({_one_line(error)}): pip install dlib, which "
                            f"compiles for minutes, or pip install dlib-bin.") from None
        self.longest, self.share = longest, share
        self._find = dlib.get_frontal_face_detector()

    def __call__(self, grey: np.ndarray) -> list[Box]:
        grey, scale = _working_copy(grey, self.longest, 80, self.share, ENLARGED)
        found, scores, _ = self._find.run(grey, 0, 0.0)
        order = sorted(range(len(found)), key=lambda i: -scores[i])
        boxes = [(found[i].left(), found[i].top(), found[i].width(), found[i].height()) for i in order]
        return [Box.rounded(box, scale) for box in boxes]


class Mtcnn:
    """The multi-task cascade of Zhang et al. (2016), from the package mtcnn. Its boxes are narrower than they are high:
    the square crop is made of the longer side."""

    colour = True

    def __init__(self, share: float | None = None, longest: int = 1000, surest: float = 0.9):
        try:
            from mtcnn import MTCNN
        except ImportError as error:
            raise UserError(f"--detector mtcnn needs the package mtcnn ({_one_line(error)}): "
                            f'pip install "mtcnn[tensorflow]".') from None
        self.longest, self.share, self.surest = longest, share, surest
        self._network = MTCNN()

    def __call__(self, picture: np.ndarray) -> list[Box]:
        picture, scale = _working_copy(picture, self.longest, 20, self.share)
        found = [face for face in self._network.detect_faces(picture) or [] if face["confidence"] >= self.surest]
        return [Box.rounded(face["box"], scale) for face in sorted(found, key=lambda face: -face["confidence"])]


def whole(picture: np.ndarray) -> list[Box]:
    """The detector for pictures that are faces already: the whole picture."""
    return [Box(0, 0, picture.shape[1], picture.shape[0])]


def _haar(file: str | None, share: float | None) -> Detector:
    """For photos, thorough; for frames, of which the next one comes soon, a third of the work: on a filmed stage 72
    faces instead of 73 in 138 frames."""
    return Haar() if share is None else Haar(share=share, step=1.15, neighbours=4, smallest=24)


# Each is called with yunet's file (or None) and the share of the smallest face (or None).
DETECTORS: dict[str, Callable[[str | None, float | None], Detector]] = {
    "haar": _haar,
    "haar-alt2": lambda file, share: Haar(share=share, neighbours=3, weakest=-np.inf,
                                          cascade="haarcascade_frontalface_alt2.xml"),
    "yunet": lambda file, share: YuNet(file, share),
    "mtcnn": lambda file, share: Mtcnn(share),
    "dlib": lambda file, share: Dlib(share),
    "none": lambda file, share: whole,
}
