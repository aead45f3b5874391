"""Augmentation: off means preprocessing bit for bit; flips, shifts and crops exact; the draws as the recipe says."""

import dataclasses

import numpy as np
import pytest

from tinyfer.data.augment import NAMES, RECIPES, Recipe, augmented, draw, recipe
from tinyfer.data.preprocess import Preprocess
from tinyfer.errors import UserError

OFF = RECIPES["none"]


def pictures(n=6, side=48, seed=0):
    """Random pictures uint8 (n,side,side)."""
    return np.random.default_rng(seed).integers(0, 256, (n, side, side)).astype(np.uint8)


def apply(rule, images, preprocess=None, seed=0, change=lambda drawn: drawn):
    """Augment every picture once -> (result without its channel axis, what was drawn)."""
    preprocess = preprocess or Preprocess(size=images.shape[1])
    drawn = change(draw(rule, len(images), preprocess, np.random.default_rng(seed)))
    return augmented(preprocess.prepare(images), np.arange(len(images)), drawn, preprocess.side)[..., 0], drawn


@pytest.mark.parametrize("preprocess", [Preprocess(), Preprocess(crop=40), Preprocess(crop=41), Preprocess(size=32),
                                        Preprocess(size=32, crop=29, mean=0.3, std=0.7), Preprocess(equalize=True)])
def test_off_is_preprocessing_bit_for_bit(preprocess):
    images = pictures()
    assert np.array_equal(apply(OFF, images, preprocess)[0], preprocess(images)[..., 0])


@pytest.mark.parametrize("crop", [None, 40, 43])
def test_a_flip_is_exact(crop):
    images = pictures()
    preprocess = Preprocess(crop=crop)
    flipped = apply(dataclasses.replace(OFF, flip=1.0), images, preprocess)[0]
    assert np.array_equal(flipped, preprocess(images)[:, :, ::-1, 0])


def test_a_random_crop_is_a_piece_of_the_picture():
    images = pictures()
    result, _ = apply(dataclasses.replace(OFF, crop=True), images, Preprocess(crop=40))
    whole = Preprocess()(images)[..., 0]
    corners = set()
    for piece, picture in zip(result, whole, strict=True):
        places = [(y, x) for y in range(9) for x in range(9) if np.array_equal(piece, picture[y:y + 40, x:x + 40])]
        assert len(places) == 1
        corners.update(places)
    assert len(corners) > 1


def test_a_shift_without_affine_is_in_whole_pixels_with_the_edge_repeated():
    images = pictures(20)
    result, _ = apply(dataclasses.replace(OFF, shift=0.1), images)
    padded = np.pad(Preprocess()(images)[..., 0], ((0, 0), (5, 5), (5, 5)), mode="edge")
    moved = 0
    for piece, picture in zip(result, padded, strict=True):
        places = [(y, x) for y in range(11) for x in range(11) if np.array_equal(piece, picture[y:y + 48, x:x + 48])]
        assert len(places) == 1
        moved += places != [(5, 5)]
    assert moved > 10


def test_rotation_by_a_right_angle_and_zoom_by_two():
    images = pictures(4)
    quarter = dataclasses.replace(OFF, affine=1.0, rotation=90.0)
    preprocess = Preprocess()

    def rightly(drawn):  # the draw's own matrix, for exactly 90 degrees
        matrix = np.zeros_like(drawn.matrix)
        matrix[:, 0] = 0, 1, 0
        matrix[:, 1] = -1, 0, 47
        return drawn._replace(matrix=matrix)
    turned = apply(quarter, images, change=rightly)[0]
    assert np.array_equal(turned, np.rot90(preprocess(images)[..., 0], -1, (1, 2)))
    zoomed, drawn = apply(dataclasses.replace(OFF, affine=1.0, zoom=(2.0, 2.0)), images)
    assert np.allclose(drawn.matrix[0], [[0.5, 0, 11.75], [0, 0.5, 11.75]])
    y, x = 20, 31  # an inner pixel, by bilinear interpolation
    u, v = 0.5 * x + 11.75, 0.5 * y + 11.75
    i, j, a, b = int(v), int(u), u - int(u), v - int(v)
    part = preprocess(images)[:, i:i + 2, j:j + 2, 0]
    upper, lower = ((1 - a) * part[:, row, 0] + a * part[:, row, 1] for row in (0, 1))
    expected = (1 - b) * upper + b * lower
    assert np.allclose(zoomed[:, y, x], expected, atol=1e-5)


def test_a_turn_keeps_the_centre_and_the_grey_of_a_constant_picture():
    flat = np.full((50, 47, 47), 90, np.uint8)
    strong = dataclasses.replace(RECIPES["strong"], light=0.0, erasing=0.0)
    assert np.allclose(apply(strong, flat)[0], (90 / 255 - 0.5077) / 0.2550, atol=1e-5)
    dot = np.zeros((50, 47, 47), np.uint8)
    dot[:, 22:25, 22:25] = 255
    turned, _ = apply(dataclasses.replace(OFF, affine=1.0, rotation=180.0), dot)
    assert np.allclose(turned[:, 23, 23], (1 - 0.5077) / 0.2550, atol=1e-4)


def test_light_is_contrast_about_the_mean_and_brightness():
    images = pictures(400)
    rule = dataclasses.replace(OFF, light=1.0, contrast=0.3, brightness=0.15)
    result, drawn = apply(rule, images)
    gain = drawn.gain * 255 * 0.2550
    at_mean = (0.5077 * 255) * drawn.gain + drawn.offset
    assert 0.7 <= gain.min() < 0.75 and 1.25 < gain.max() <= 1.3
    assert -0.15 <= (at_mean * 0.255).min() < -0.13 and 0.13 < (at_mean * 0.255).max() <= 0.15
    assert np.allclose(result, images * drawn.gain[:, None, None] + drawn.offset[:, None, None], atol=1e-5)


def test_erasing_fills_one_box_of_the_said_area():
    images = np.full((500, 48, 48), 128, np.uint8)
    result, drawn = apply(dataclasses.replace(OFF, erasing=0.5), images)
    plain = Preprocess()(images)[0, 0, 0, 0]
    changed = result != plain
    share = changed.mean((1, 2))
    assert 0.4 < (share > 0).mean() < 0.6 and share[share > 0].min() > 0.015 and share.max() < 0.26
    for i in np.flatnonzero(share > 0)[:50]:
        top, bottom, left, right = drawn.box[i]
        assert 0 <= top < bottom <= 48 and 0 <= left < right <= 48
        inside = np.zeros((48, 48), bool)
        inside[top:bottom, left:right] = True
        assert np.array_equal(changed[i], inside) and (result[i][inside] == drawn.fill[i]).all()


def test_one_setting_does_not_shift_anothers_randomness():
    preprocess = Preprocess()
    with_box = draw(dataclasses.replace(RECIPES["light"], erasing=1.0), 9, preprocess, np.random.default_rng(1))
    without = draw(dataclasses.replace(RECIPES["light"], erasing=0.0), 9, preprocess, np.random.default_rng(1))
    assert np.array_equal(with_box.matrix, without.matrix) and np.array_equal(with_box.gain, without.gain)
    assert not without.box.any() and (with_box.box[:, 1] > with_box.box[:, 0]).all()


def test_probabilities_are_met():
    drawn = draw(RECIPES["strong"], 4000, Preprocess(), np.random.default_rng(0))
    mirrored = np.linalg.det(drawn.matrix[:, :, :2].astype(float)) < 0
    whole = np.isclose(np.abs(drawn.matrix[:, 0, 0]), 1) & (drawn.matrix[:, 0, 1] == 0)
    assert abs(mirrored.mean() - 0.5) < 0.03 and abs(whole.mean() - 0.2) < 0.03


@pytest.mark.parametrize("side", [1, 2, 5])
def test_tiny_pictures(side):
    result, _ = apply(recipe("strong", erasing=1.0), pictures(50, side))
    assert np.isfinite(result).all() and result.shape == (50, side, side)


def test_recipes_by_name():
    assert NAMES == ("none", "light", "strong") and recipe("light") is RECIPES["light"]
    assert recipe("strong", erasing=0.7).erasing == 0.7 and recipe(Recipe(flip=0.1)).flip == 0.1
    with pytest.raises(UserError, match="did you mean 'light'"):
        recipe("ligth")
    with pytest.raises(UserError, match="between 0 and 1"):
        recipe("light", erasing=1.5)
