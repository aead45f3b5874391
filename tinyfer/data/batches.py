"""Batches: pictures in random order, augmented and normalised a few steps ahead of the network.

A batch is a pure function of (seed, epoch, step): stopping, resuming or reading ahead cannot change it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import numpy as np

from tinyfer.data.augment import Recipe, augmented, draw, recipe
from tinyfer.data.preprocess import Preprocess
from tinyfer.data.types import Split
from tinyfer.errors import UserError
from tinyfer.seeds import generator

AHEAD = 3  # batches ready at most: the queue is bounded, so memory is too
_END = Exception("no more steps")  # told apart from real errors by identity
_PAUSE = 0.05  # seconds between two looks at whether the consumer is still there


class Batches:
    """An endless supply of batches (x float32 (B,h,w,1), y int64 (B,)) from a split, by epoch and step; with `targets`
    (N,7), the share of each class in each picture, y is rows of these, float32 (B,7).

    Every epoch shows every picture once, in its own order; the last batch is short where the number does not divide.
    `augment` is "none", "light", "strong" or a Recipe, `erasing` replaces its probability of an erased box, and `size`
    trains at another picture size than the model's (the crop in proportion), for training that grows."""

    def __init__(self, split: Split, batch_size: int, preprocess: Preprocess, seed: int,
                 augment: str | Recipe = "light", erasing: float | None = None, size: int | None = None,
                 targets: np.ndarray | None = None):
        if len(split) == 0:
            raise UserError(f"split {split.name!r} has no pictures, so there is nothing to make batches of; load data "
                            f"that has this split, or hold some pictures out with data.hold_out.")
        if batch_size < 1:
            raise UserError(f"batch size is {batch_size}, expected 1 or more.")
        self.preprocess = preprocess if size is None else preprocess.at(size)
        self.batch_size = batch_size
        self.seed = seed
        self.recipe = recipe(augment, erasing)
        self._images = np.ascontiguousarray(self.preprocess.prepare(split.images))
        self._targets = split.labels if targets is None else targets
        self._order = (-1, np.zeros(0, np.int64))  # the epoch last asked for, and its order

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the last and perhaps shorter one included."""
        return -(-len(self._targets) // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """The epoch's order of the pictures: int64 (N,)."""
        known, order = self._order
        if known != epoch:
            order = generator(self.seed, "order", epoch).permutation(len(self._targets))
            self._order = (epoch, order)
        return order

    def batch(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch of one step, always the same: x float32 (B,h,w,1) and y."""
        if not 0 <= step < self.steps_per_epoch:
            raise IndexError(f"step {step} of an epoch of {self.steps_per_epoch} steps")
        index = self.order(epoch)[step * self.batch_size:(step + 1) * self.batch_size]
        rng = generator(self.seed, "augment", epoch, step)
        drawn = draw(self.recipe, len(index), self.preprocess, rng)
        return augmented(self._images, index, drawn, self.preprocess.side), self._targets[index]

    def iterate(self, epoch: int, first_step: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The epoch's batches from first_step on, made up to AHEAD steps ahead by a thread.

        An error in the thread is raised here; the thread ends with the epoch, or when this iterator is closed."""
        return _ahead(lambda step: self.batch(epoch, step), range(first_step, self.steps_per_epoch))


def batches(split: Split, batch_size: int, rng: np.random.Generator, preprocess: Preprocess,
            augment: str | Recipe = "none") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch of batches (x float32 (B,h,w,1), y int64 (B,)) in random order, for a training loop of your own.

    The last batch may be short. Call it again for the next epoch: the order comes from `rng`."""
    return Batches(split, batch_size, preprocess, int(rng.integers(2**63)), augment).iterate(0)


def _ahead(make, steps) -> Iterator:
    """make(step) for every step, computed by a thread up to AHEAD items before they are asked for."""
    ready: queue.Queue = queue.Queue(AHEAD)
    done = threading.Event()

    def put(item) -> bool:
        while not done.is_set():
            try:
                ready.put(item, timeout=_PAUSE)
                return True
            except queue.Full:
                continue
        return False

    def produce():
        try:
            for step in steps:
                if not put((make(step), None)):
                    return
            put((None, _END))
        except BaseException as error:  # told to the consumer, whatever it is
            put((None, error))

    thread = threading.Thread(target=produce, name="tinyfer-batches", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is _END:
                return
            if error is not None:
                raise error
            yield item
    finally:
        done.set()
        thread.join()
