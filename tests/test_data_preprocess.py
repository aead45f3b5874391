"""Preprocessing: exact resizing, equalisation, the crop, the stored form; and what a split may hold."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfer import data
from tinyfer.data.preprocess import Preprocess, equalized, resize_area
from tinyfer.errors import UserError


def resized_by_hand(image, height, width):
    """Area resizing by fractions, straight from its definition, rounded half up."""
    rows, columns = image.shape
    out = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            total = Fraction(0)
            for i in range(rows):
                for j in range(columns):
                    tall = min(Fraction((y + 1) * rows, height), i + 1) - max(Fraction(y * rows, height), i)
                    wide = min(Fraction((x + 1) * columns, width), j + 1) - max(Fraction(x * columns, width), j)
                    if tall > 0 and wide > 0:
                        total += int(image[i, j]) * tall * wide
            out[y, x] = int(total * height * width / (rows * columns) + Fraction(1, 2))
    return out


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32))
def test_resizing_is_exact(rows, columns, height, width, seed):
    images = np.random.default_rng(seed).integers(0, 256, (2, rows, columns)).astype(np.uint8)
    out = resize_area(images, height, width)
    assert out.dtype == np.uint8 and out.shape == (2, height, width)
    for image, small in zip(images, out, strict=True):
        assert np.array_equal(small, resized_by_hand(image, height, width))


def test_resizing_known_cases():
    images = np.array([[[0, 1, 10, 20], [2, 3, 30, 41]]], np.uint8)
    assert resize_area(images, 1, 2).tolist() == [[[2, 25]]]  # 1.5 and 25.25
    assert np.array_equal(resize_area(images, 4, 8), images.repeat(2, 1).repeat(2, 2))
    assert resize_area(images, 2, 4) is images
    white = np.full((1, 3000, 2000), 255, np.uint8)  # past 32-bit integers
    assert (resize_area(white, 48, 48) == 255).all()
    assert resize_area(np.zeros((0, 5, 5), np.uint8), 3, 3).shape == (0, 3, 3)


def test_resizing_does_not_depend_on_the_company():
    images = np.random.default_rng(0).integers(0, 256, (5000, 48, 48)).astype(np.uint8)
    together = resize_area(images, 31, 31)
    assert np.array_equal(together[4321:4322], resize_area(images[4321:4322], 31, 31))


def test_equalisation():
    images = np.random.default_rng(0).integers(100, 140, (2, 48, 48)).astype(np.uint8)
    out = equalized(images)
    assert out.min() == 0 and out.max() == 255
    order = np.argsort(images[0], axis=None)
    assert (np.diff(out[0].ravel()[order].astype(int)) >= 0).all()
    small = np.array([[[3, 3, 3, 9], [9, 9, 9, 40]]], np.uint8)
    assert equalized(small).tolist() == [[[0, 0, 0, 204], [204, 204, 204, 255]]]
    flat = np.full((1, 4, 4), 77, np.uint8)
    assert np.array_equal(equalized(flat), flat)


def test_call_is_the_formula():
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    preprocess = Preprocess()
    x = preprocess(images)
    assert x.shape == (3, 48, 48, 1) == (3, *preprocess.shape) and x.dtype == np.float32 and x.flags.c_contiguous
    assert np.allclose(x[..., 0], (images / 255 - 0.5077) / 0.2550, atol=1e-6)


def test_crop_is_the_centre_and_at_scales_it():
    images = np.arange(48 * 48).reshape(1, 48, 48).astype(np.uint8)
    cropped = Preprocess(crop=40)
    assert cropped.shape == (40, 40, 1)
    assert np.array_equal(cropped(images), Preprocess()(images)[:, 4:44, 4:44])
    assert Preprocess(crop=44).at(24) == Preprocess(size=24, crop=22) and Preprocess().at(32) == Preprocess(size=32)
    assert Preprocess(size=32)(images).shape == (1, 32, 32, 1)


def test_round_trip_through_a_dict():
    preprocess = Preprocess(size=44, crop=40, equalize=True, mean=0.4, std=0.3)
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess and hash(preprocess)
    for wrong in ({"sise": 3}, 7, {"size": "48"}, {"size": 48.0}, {"mean": "a"}, {"std": 0.0}, {"crop": 60},
                  {"mean": float("nan")}):
        with pytest.raises(UserError):
            Preprocess.from_dict(wrong)


@pytest.mark.parametrize("images", [np.zeros((2, 48, 48)), np.zeros((48, 48), np.uint8),
                                    np.zeros((2, 0, 48), np.uint8)])
def test_scaled_or_misshapen_pictures_are_refused(images):
    with pytest.raises(UserError, match="expected uint8"):
        Preprocess()(images)


def test_a_split_checks_itself():
    images, labels = np.zeros((2, 48, 48), np.uint8), np.array([0, 6])
    split = data.Split(images, labels, "train")
    assert len(split) == 2 and split.counts.tolist() == [1, 0, 0, 0, 0, 0, 1]
    assert split.take([1]).labels.tolist() == [6] and split.take(slice(0, 1)).name == "train"
    for wrong in ((images / 255, labels), (images, labels[:1]), (images, labels + 1), (images, labels - 1),
                  (images[0], labels), (images, labels.astype(np.float32))):
        with pytest.raises(UserError):
            data.Split(*wrong)


def test_hold_out_keeps_copies_together():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 8, 8)).astype(np.uint8)
    images[200:] = images[:100]
    split = data.Split(images, np.arange(300) % 7, "Training")
    train, held = data.hold_out(split, 0.2, seed=3)
    assert len(train) + len(held) == 300 and 30 < len(held) < 90 and (held.counts > 0).all()
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in held.images}
    again = data.hold_out(split, 0.2, seed=3)[1]
    assert np.array_equal(held.images, again.images) and held.name == "Training held out"
    with pytest.raises(UserError):
        data.hold_out(split, 1.5)


def test_hold_out_leaves_no_class_of_two_without_a_picture():
    images = np.random.default_rng(0).integers(0, 256, (15, 8, 8)).astype(np.uint8)
    train, held = data.hold_out(data.Split(images, np.arange(15) % 7, "Training"))
    assert held.counts.tolist() == [1] * 7 and train.counts.tolist() == [2, 1, 1, 1, 1, 1, 1]
    train, held = data.hold_out(data.Split(images[:7], np.arange(7), "Training"))
    assert len(held) == 0 and len(train) == 7
