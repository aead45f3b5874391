"""What to_grey48 is held to."""

import numpy as np

from lessons.checking import hold, note, rng, told

WEIGHTS = np.array([0.299, 0.587, 0.114])


def picture(k):
    """Random colours uint8 (48k, 48k, 3) whose grey ones are nowhere near x.5, where rounding might go either way."""
    img = rng(f"picture {k}").integers(0, 256, (48 * k, 48 * k, 3), dtype=np.uint8)
    while True:
        near = np.abs(exact(img) % 1 - 0.5) < 0.01
        if not near.any():
            return img
        img[::k, ::k][near] = rng(f"again {k}, {near.sum()}").integers(0, 256, (near.sum(), 3), dtype=np.uint8)


def exact(img):
    """The grey picture before rounding, block by block, float64 (48, 48)."""
    k = len(img) // 48
    return np.array(
        [[(img[k * i : k * i + k, k * j : k * j + k] @ WEIGHTS).mean() for j in range(48)] for i in range(48)]
    )


def mistakes(img):
    """Answers that classic mistakes would give."""
    k = len(img) // 48
    grey = img @ WEIGHTS

    def shrunk(picture):
        return np.round(picture.reshape(48, k, 48, k).mean((1, 3))).astype(np.uint8)

    wrapped = img[..., 0] + img[..., 1] + img[..., 2]  # in uint8, as a student might
    parts = (img * WEIGHTS).astype(np.uint8)
    block = grey.reshape(k, 48, k, 48)
    answers = {
        "all three colours count the same: weigh them with RED, GREEN, BLUE": shrunk(img.mean(2)),
        "the sum of uint8 colours wraps around at 256: turn them into floats before adding": shrunk(wrapped // 3),
        "each colour was cut to a whole number before adding: round once, at the end": shrunk(parts.sum(2)),
        "red and blue are swapped: red comes first here": shrunk(img[..., ::-1] @ WEIGHTS),
        "only the red colour counts": shrunk(img[..., 0]),
        "rounded down: astype cuts the fraction off, np.round goes to the nearest": exact(img).astype(np.uint8),
        "rounded up: np.round goes to the nearest": np.ceil(exact(img)).astype(np.uint8),
        "rounded twice: keep the grey in floats, round only the mean": shrunk(np.round(grey)),
        "rounded twice, the second time down: keep the grey in floats, round only the mean": np.floor(
            np.round(grey).reshape(48, k, 48, k).mean((1, 3))
        ),
        "every k-th pixel was picked: the mean of each k x k block is asked for": np.round(img[::k, ::k] @ WEIGHTS),
        "the blocks are mixed up: cut the axes as (48, k, 48, k), then average over axes 1 and 3": np.round(
            block.mean((0, 2))
        ),
        "rows and columns are swapped": shrunk(img @ WEIGHTS).T,
        "only the upper left corner is there: the whole picture shall shrink": np.round(img[:48, :48] @ WEIGHTS),
        "the picture is scaled to 0 .. 1, and then cut to whole numbers": (exact(img) / 255).astype(np.uint8),
        "the sum of each block is given, not its mean": (exact(img) * k * k).astype(np.int64),
    }
    return {sentence: answer.astype(np.uint8) for sentence, answer in answers.items()}


def compare(mine, img):
    expected = np.round(exact(img)).astype(np.uint8)
    hold("grey", expected, mine.to_grey48(img), told(k=len(img) // 48), lookalikes=lambda: mistakes(img))


def test_shape_and_dtype(mine):
    grey = mine.to_grey48(np.zeros((48, 48, 3), np.uint8))
    hold("grey", np.zeros((48, 48), np.uint8), grey, told(k=1))
    note("(48,48,3) uint8 -> (48,48) uint8")


def test_one_colour(mine):
    """By hand: 0.299 * 255 = 76.2, 0.587 * 200 = 117.4, 0.114 * 255 = 29.1."""
    by_hand = {(240, 240, 240): 240, (255, 0, 0): 76, (0, 200, 0): 117, (0, 0, 255): 29, (0, 0, 0): 0}
    for colour, grey in by_hand.items():
        img = np.empty((96, 96, 3), np.uint8)
        img[:] = colour
        expected = np.full((48, 48), grey, np.uint8)
        hold("grey", expected, mine.to_grey48(img), f"colour={colour}", lookalikes=lambda img=img: mistakes(img))
    note("red 76, green 117, blue 29")


def test_every_pixel(mine):
    compare(mine, picture(1))


def test_blocks_of_four(mine):
    compare(mine, picture(2))


def test_larger_blocks(mine):
    compare(mine, picture(3))
    compare(mine, picture(4))
