"""A lesson for the network: one person shows the expressions to the camera, the last layer learns them.

    lesson = Lesson(feed, session)
    if lesson.agreed(): recorded = lesson.record()             # {label: uint8 (n,size,size)}
    model, judged = taught(session.reader.model, recorded, rng)

Of each expression the last quarter of the pictures is not taught with: on these the model is judged, before and
after."""

from __future__ import annotations

import pathlib
import re
import sys
import time as clocks
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from tinyfer import models, teaching
from tinyfer.errors import UserError
from tinyfer.live.capture import Feed
from tinyfer.live.session import Session
from tinyfer.models import Model

EACH = 20  # pictures of an expression
APART = 0.07  # seconds between two of them, at least: neighbours show the same
PATIENCE = 8.0  # seconds for one expression
FEWEST = 8  # of an expression, so that some are left to judge by
NOTICE = ("This takes {each} small grey pictures of your face for each expression, so that the network's last layer "
          "can learn them.\nThey stay on this machine, and are forgotten at the end unless you want to keep them.")


class Judged(NamedTuple):
    """Pictures of one expression taught with and judged by, and the share of the latter named rightly."""

    label: str
    taught: int
    judged: int
    before: float
    after: float


class Lesson:
    """Asks for the expressions one after the other and records each. ask, say: how it speaks to its pupil."""

    def __init__(self, feed: Feed, session: Session, each: int = EACH, ask: Callable[[str], str] = input,
                 say: Callable[[str], None] = print):
        self.feed, self.session, self.each, self.ask, self.say = feed, session, each, ask, say

    def agreed(self) -> bool:
        """Whether the person agrees to be recorded."""
        self.say(NOTICE.format(each=self.each))
        return self._yes("Record them?")

    def keep(self, folder: pathlib.Path) -> bool:
        """Whether the pictures are to be kept."""
        return self._yes(f"Keep the pictures, in {folder}?")

    def _yes(self, question: str) -> bool:
        return self.ask(f"{question} [y/N] ").strip().lower() in ("y", "yes")

    def record(self) -> dict[str, np.ndarray]:
        """The crops by label, uint8 (n,size,size) in the order of time. UserError with fewer than two expressions."""
        recorded = {}
        for number, label in enumerate(self.session.labels, 1):
            crops = self._expression(f"{number} of {len(self.session.labels)}", label)
            if crops is not None:
                recorded[label] = crops
        if len(recorded) < 2:
            raise UserError("one expression alone teaches nothing: record two or more.")
        return recorded

    def _expression(self, place: str, label: str) -> np.ndarray | None:
        """One expression, again where no face was found; None where it is skipped."""
        while True:
            answer = self.ask(f"{place}: look {LOOKS.get(label, label)}, press Enter and hold it (s skips it): ")
            if answer.strip().lower() in ("s", "skip"):
                return None
            crops = self._crops(label)
            if len(crops) >= min(FEWEST, self.each):
                return np.stack(crops)
            self.say(f"  a face was found in {len(crops)} pictures only: look into the camera from the front, with "
                     f"light from there, and try again")

    def _crops(self, label: str) -> list[np.ndarray]:
        """What the network sees of the largest face, from now on."""
        self.feed.get(0.0)  # what has waited was seen before
        self.session.reset()
        crops: list[np.ndarray] = []
        last, end = -np.inf, clocks.perf_counter() + PATIENCE
        with tqdm(total=self.each, desc=f"  {label}", unit=" pictures", leave=False,
                  disable=not sys.stderr.isatty()) as bar:
            while len(crops) < self.each and clocks.perf_counter() < end:
                frame = self.feed.get(0.2)
                if frame is None or frame.time - last < APART:
                    continue
                found = [face for face in self.session.step(frame.image, frame.time).faces if face.seen]
                if found:
                    crops.append(max(found, key=lambda face: face.box.area).crop.copy())
                    last = frame.time
                    bar.update()
        return crops


LOOKS = {"angry": "angry", "disgust": "disgusted", "fear": "afraid", "happy": "happy", "sad": "sad",
         "surprise": "surprised", "neutral": "as always"}


def taught(model: Model, recorded: Mapping[str, np.ndarray], rng: np.random.Generator) -> tuple[Model, list[Judged]]:
    """The model that has learned what was recorded, and how it does beside the one before, by expression."""
    labels = {label: model.labels.index(label) for label in recorded}
    cut = {label: len(crops) - max(1, len(crops) // 4) for label, crops in recorded.items()}
    crops = np.concatenate([crops[:cut[label]] for label, crops in recorded.items()])
    mine = teaching.teach(model, crops, np.concatenate([np.full(cut[label], labels[label]) for label in recorded]), rng)
    judged = []
    for label, number in labels.items():
        kept = recorded[label][cut[label]:]
        before, after = (teaching.accuracy(one, kept, np.full(len(kept), number)) for one in (model, mine))
        judged.append(Judged(label, cut[label], len(kept), before, after))
    mine.meta |= {"taught": {"pictures": len(crops), "before": total(judged)[0], "after": total(judged)[1]}}
    return mine, judged


def total(judged: list[Judged]) -> tuple[float, float]:
    """Before and after over all pictures judged by."""
    count = sum(one.judged for one in judged)
    return tuple(sum(getattr(one, when) * one.judged for one in judged) / count for when in ("before", "after"))


def table(judged: list[Judged]) -> str:
    """Before and after, in lines."""
    rows = [f"{'expression':12}{'taught':>8}{'judged':>8}{'before':>9}{'after':>9}"]
    rows += [f"{one.label:12}{one.taught:8}{one.judged:8}{100 * one.before:7.0f} %{100 * one.after:7.0f} %"
             for one in judged]
    before, after = total(judged)
    return "\n".join([*rows, f"{'all':12}{sum(one.taught for one in judged):8}{sum(one.judged for one in judged):8}"
                             f"{100 * before:7.0f} %{100 * after:7.0f} %"])


# --------------------------------------------------------------------------------------------------------- what is kept


def check_free(folder: pathlib.Path, labels: Iterable[str]) -> None:
    """UserError where `write` would overwrite anything; it names --forget only where that deletes what is there."""
    if was_taught(folder):
        raise UserError(f"--taught {folder}: something was taught there already; {forgetting(folder)} deletes it.")
    for path in (folder / "best.npz", *_pictures(folder, labels)):
        if path.exists():
            raise UserError(f"--taught {folder}: there is a {path.relative_to(folder)} already, and no teaching wrote "
                            f"it; name another folder.")


def was_taught(folder: pathlib.Path) -> bool:
    """Whether the best.npz of a folder is one that `write` wrote, not that of a training run."""
    try:
        return "taught" in models.load(folder / "best.npz").meta
    except UserError:
        return False


def forgetting(folder: pathlib.Path) -> str:
    """The command that deletes what was taught there."""
    return f"python -m tinyfer.webcam --forget --taught {folder}"


def write(folder: pathlib.Path, model: Model, pictures: Mapping[str, np.ndarray] | None) -> None:
    """The model as best.npz and, where they are to be kept, the pictures as PNG."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        models.save(model, folder / "best.npz")  # first: pictures without it are not known to be ours
        for label, crops in (pictures or {}).items():
            (folder / "pictures" / label).mkdir(parents=True, exist_ok=True)
            for number, crop in enumerate(crops):
                Image.fromarray(crop).save(folder / "pictures" / label / f"{number:03d}.png")
    except OSError as error:
        raise UserError(f"--taught {folder}: cannot be written ({error.strerror or error}).") from None


def forget(folder: pathlib.Path) -> str:
    """Delete what `write` wrote, and nothing else; what was done, in words."""
    if not was_taught(folder):
        raise UserError(f"--taught {folder}: nothing was taught there, so there is nothing to forget.")
    pictures = _pictures(folder, models.load(folder / "best.npz").labels)
    try:
        for path in (*pictures, folder / "best.npz"):  # the model last: until it is gone, this can be tried again
            path.unlink()
        for place in (*{path.parent for path in pictures}, folder / "pictures", folder):
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
    except OSError as error:
        raise UserError(f"--taught {folder}: cannot be deleted ({error.strerror}).") from None
    kept = f" and {len(pictures)} pictures in {folder / 'pictures'}" if pictures else ""
    return f"deleted: {folder / 'best.npz'}{kept}"


def _pictures(folder: pathlib.Path, labels: Iterable[str]) -> list[pathlib.Path]:
    """The files there that are named like pictures that `write` keeps."""
    names = set(labels)
    return sorted(path for path in (folder / "pictures").glob("*/*.png")
                  if path.parent.name in names and re.fullmatch(r"\d{3}\.png", path.name))
