"""Batches: pure in (seed, epoch, step), the same by index and by iteration, and threads that end."""

import gc
import threading
import time

import numpy as np
import pytest

from tinyfer import data
from tinyfer.data.batches import AHEAD
from tinyfer.errors import UserError


def split(n=50):
    """A split whose picture i is grey i all over, with label i % 7."""
    greys = np.arange(n, dtype=np.uint8)[:, None, None]
    return data.Split(greys.repeat(48, 1).repeat(48, 2), np.arange(n) % 7, "train")


def threads():
    """How many prefetch threads are alive."""
    return sum(thread.name == "tinyfer-batches" for thread in threading.enumerate())


def equal(one, two):
    """True when two batches are the same bits."""
    return np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


def test_an_epoch_shows_every_picture_once_and_drops_none():
    batches = data.Batches(split(50), 8, data.Preprocess(), seed=1, augment="none")
    assert batches.steps_per_epoch == 7
    xs, ys = zip(*batches.iterate(0), strict=True)
    assert [len(y) for y in ys] == [8] * 6 + [2]
    assert xs[0].shape == (8, 48, 48, 1) and xs[0].dtype == np.float32 and ys[0].dtype == np.int64
    greys = np.rint((np.concatenate(xs)[:, 0, 0, 0] * 0.2550 + 0.5077) * 255).astype(int)
    assert sorted(greys) == list(range(50)) and greys.tolist() != list(range(50))
    assert np.array_equal(greys % 7, np.concatenate(ys))


@pytest.mark.parametrize("augment", data.AUGMENTATIONS)
def test_a_batch_depends_on_seed_epoch_and_step_alone(augment):
    make = lambda seed=5: data.Batches(split(), 8, data.Preprocess(crop=40), seed, augment)  # noqa: E731
    one, two = make(), make()
    two.batch(9, 3)
    assert equal(one.batch(2, 4), two.batch(2, 4)) and equal(one.batch(2, 4), one.batch(2, 4))
    assert not equal(one.batch(2, 4), one.batch(3, 4)) and not equal(one.batch(2, 4), one.batch(2, 5))
    assert not equal(one.batch(2, 4), make(6).batch(2, 4))


def test_iterating_gives_the_same_batches_also_from_the_middle():
    batches = data.Batches(split(), 8, data.Preprocess(), 3, "strong", erasing=1.0)
    whole = list(batches.iterate(4))
    assert all(equal(batch, batches.batch(4, step)) for step, batch in enumerate(whole))
    rest = list(batches.iterate(4, first_step=5))
    assert len(rest) == 2 and all(map(equal, rest, whole[5:]))
    assert list(batches.iterate(4, first_step=7)) == []
    assert threads() == 0


def test_batches_are_fresh_arrays():
    batches = data.Batches(split(), 8, data.Preprocess(), 3)
    kept = [x for x, _ in batches.iterate(0)]
    assert len({x.ctypes.data for x in kept}) == len(kept) and all(x.flags.writeable for x in kept)


def test_another_size_and_the_crop_in_proportion():
    batches = data.Batches(split(), 8, data.Preprocess(crop=44), 3, size=24)
    assert batches.batch(0, 0)[0].shape == (8, 22, 22, 1) and batches.preprocess.size == 24


def test_pictures_stay_uint8_until_they_are_batched():
    batches = data.Batches(split(), 8, data.Preprocess(), 3)
    assert batches._images.dtype == np.uint8


def test_the_thread_ends_when_the_consumer_stops():
    batches = data.Batches(split(), 1, data.Preprocess(), 3)
    for _ in batches.iterate(0):
        break
    gc.collect()
    assert threads() == 0
    iterator = batches.iterate(0)
    next(iterator)
    assert threads() == 1
    iterator.close()
    assert threads() == 0


def test_the_thread_reads_a_few_steps_ahead_and_no_further(monkeypatch):
    batches = data.Batches(split(), 1, data.Preprocess(), 3)
    made = []
    monkeypatch.setattr(batches, "batch", lambda epoch, step: made.append(step) or step)
    iterator = batches.iterate(0)
    assert next(iterator) == 0
    time.sleep(0.3)
    iterator.close()
    assert 2 <= len(made) <= AHEAD + 2


@pytest.mark.parametrize("error", [ValueError("no such picture"), KeyboardInterrupt(), MemoryError(), StopIteration()])
def test_an_error_in_the_thread_reaches_the_consumer(monkeypatch, error):
    batches = data.Batches(split(), 8, data.Preprocess(), 3)

    def batch(epoch, step):
        if step == 2:
            raise error
        return step
    monkeypatch.setattr(batches, "batch", batch)
    seen = []
    with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
        for step in batches.iterate(0):
            seen.append(step)
    assert seen == [0, 1] and threads() == 0


def test_the_simple_loop():
    train = split(20)
    rng = np.random.default_rng(0)
    epochs = [list(data.batches(train, 8, rng, data.Preprocess())) for _ in range(2)]
    assert [len(y) for _, y in epochs[0]] == [8, 8, 4] and not equal(epochs[0][0], epochs[1][0])
    again = list(data.batches(train, 8, np.random.default_rng(0), data.Preprocess()))
    assert all(map(equal, again, epochs[0]))


def test_what_batches_refuse():
    with pytest.raises(UserError, match="no pictures"):
        data.Batches(data.Split.empty("PublicTest"), 8, data.Preprocess(), 0)
    with pytest.raises(UserError, match="batch size is 0"):
        data.batches(split(), 0, np.random.default_rng(0), data.Preprocess())
    with pytest.raises(UserError, match="augmentation 'lite' is unknown"):
        data.batches(split(), 8, np.random.default_rng(0), data.Preprocess(), augment="lite")
    with pytest.raises(IndexError):
        data.Batches(split(), 8, data.Preprocess(), 0).batch(0, 7)
