"""What a data set is, in words before code.

A *picture* is a grey uint8 array (H, W). A *split* is a stack of pictures (N, H, W) with one int64 label each, an
index into LABELS. A *data set* is three splits, train, val and test, any of which may be empty, and an Info that
says where they came from. Pictures stay uint8 until a model's own Preprocess turns them into the network's input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tinyfer.errors import UserError

# The order of fer2013.csv. Loaders map their own names or codes to these names, never index to index: the folders
# of the same pictures sort alphabetically, and mixing the two orders up is the field's commonest silent bug.
LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@dataclass(frozen=True)
class Split:
    """Pictures uint8 (N, H, W) with labels int64 (N,), indices into LABELS, under the name their source gives them."""

    images: np.ndarray
    labels: np.ndarray
    name: str = ""

    def __post_init__(self):
        if self.images.dtype != np.uint8 or self.images.ndim != 3:
            raise UserError(f"split {self.name!r}: images must be uint8 (N, H, W), these are {self.images.dtype} "
                            f"{self.images.shape}; scaling to floats is the model's preprocessing, not the data's.")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.int64:
            raise UserError(f"split {self.name!r}: labels must be int64 ({len(self.images)},), one for each image, "
                            f"these are {self.labels.dtype} {self.labels.shape}.")
        if self.labels.size and not 0 <= self.labels.min() <= self.labels.max() < len(LABELS):
            raise UserError(f"split {self.name!r}: labels run from {self.labels.min()} to {self.labels.max()}, "
                            f"expected 0 to {len(LABELS) - 1} ({', '.join(LABELS)}).")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> np.ndarray:
        """How many pictures each label has: int64 (7,)."""
        return np.bincount(self.labels, minlength=len(LABELS))

    def take(self, index) -> Split:
        """The pictures at `index` (an index array, a boolean mask or a slice), under the same name."""
        return Split(self.images[index], self.labels[index], self.name)

    @staticmethod
    def empty(name: str = "", size: int = 48) -> Split:
        """A split without pictures: what a Dataset holds in the place of one that its source lacks."""
        return Split(np.zeros((0, size, size), np.uint8), np.zeros(0, np.int64), name)


@dataclass(frozen=True)
class Info:
    """Where a data set came from: its source (a path, or "toyfaces"), the layout recognised, the same told in text
    (one or more lines: layout, counts, differences from the known counts), and whether its faces are drawn ones."""

    source: str
    layout: str
    text: str = ""
    toy: bool = False


@dataclass(frozen=True)
class Dataset:
    """Three splits and their Info; unpacks as `train, val, test = dataset`.

    For FER-2013 train is Training, val is PublicTest and test is PrivateTest, which nothing but a final evaluation
    should read."""

    train: Split
    val: Split
    test: Split
    info: Info = field(default_factory=lambda: Info("memory", "arrays"))

    def __iter__(self) -> Iterator[Split]:
        return iter((self.train, self.val, self.test))
