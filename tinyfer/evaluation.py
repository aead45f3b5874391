"""Asking a trained model about many pictures: the one path of validation during training and of `tinyfer.evaluate`.

A *view* is one way of looking at a picture: its centre, a corner, either one mirrored. Logits are averaged over
views."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from tinyfer import infer
from tinyfer.data import Preprocess, Split

CHUNK = 1024  # pictures made into floats at a time: a multiple of every batch size used
SHIFT = 2  # pixels, for ten views of a model that sees whole pictures


def logits(model, split: Split, *, flip: bool = False, ten_crop: bool = False, batch: int = 128,
           size: int | None = None, progress: Callable[[int], object] = lambda n: None) -> np.ndarray:
    """Mean logits (N,7) over the views of each picture; `progress` is told the number of pictures just done.

    flip: the picture and its mirror image. ten_crop: centre and four corners, each mirrored too. size: of the pictures,
    where that is not the model's own."""
    plan, preprocess = infer.Plan(model, batch), model.preprocess.at(size or model.preprocess.size)
    parts = []
    for start in range(0, len(split), CHUNK):
        prepared = preprocess.prepare(split.images[start:start + CHUNK])
        answers = [plan(view) for view in views(prepared, preprocess, flip=flip, ten_crop=ten_crop)]
        parts.append(sum(answers[1:], answers[0]) / np.float32(len(answers)))
        progress(len(prepared))
    return np.concatenate(parts) if parts else np.zeros((0, len(model.labels)), np.float32)


def views(prepared: np.ndarray, preprocess: Preprocess, *, flip: bool = False,
          ten_crop: bool = False) -> Iterator[np.ndarray]:
    """uint8 (N,size,size) from `preprocess.prepare` -> the network's inputs (N,h,w,1) float32, view by view.

    Where the model's crop is smaller than its pictures, ten views are the crop at the centre and in the corners; where
    it is not, the picture moved by 2 pixels each way, its edge repeated. The first view is that of `preprocess`."""
    side = preprocess.side
    windows = [preprocess.normalise(prepared)]
    if ten_crop:
        whole, room = prepared, preprocess.size - side
        if room == 0:
            whole, room = np.pad(prepared, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="edge"), 2 * SHIFT
        window = dataclasses.replace(preprocess, size=side, crop=None)
        windows += [window.normalise(whole[:, top:top + side, left:left + side])
                    for top in (0, room) for left in (0, room)]
    for view in windows:
        yield view
        if flip or ten_crop:
            yield np.ascontiguousarray(view[:, :, ::-1])
