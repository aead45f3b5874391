"""Data: where pictures come from and how they reach the network.

    train, val, test = data.load("data/fer2013.csv")        # any layout in circulation; or data.toyfaces(4000, rng)
    for x, y in data.batches(train, 128, rng, model.preprocess, augment="light"): ..."""

from tinyfer.data.augment import NAMES as AUGMENTATIONS
from tinyfer.data.augment import Recipe
from tinyfer.data.batches import Batches, batches
from tinyfer.data.loading import load
from tinyfer.data.preprocess import Preprocess
from tinyfer.data.splits import hold_out
from tinyfer.data.types import LABELS, Dataset, Info, Split

__all__ = ["AUGMENTATIONS", "LABELS", "Batches", "Dataset", "Info", "Preprocess", "Recipe", "Split", "batches",
           "hold_out", "load", "toyfaces"]

# Importing the module toyfaces leaves its name on this package, where the function of that name belongs: hence the
# rebinding, once every other import is done. `data.toyfaces.draw` is the module's draw.
from tinyfer.data import toyfaces as _drawn  # isort: skip

toyfaces = _drawn.toyfaces
toyfaces.draw = _drawn.draw  # type: ignore[attr-defined]
