"""Squares by hand, crops against a picture that is padded first, areas by hand, and all of it against the engine."""

import numpy as np

from lessons.checking import Fault, fail, hold, note, rng, told
from tinyfer import data, faces
from tinyfer.data import preprocess
from tinyfer.detectors import Box

# ------------------------------------------------------------------------------------------------------------- square


def hold_square(mine, box, margin, expected):
    """Hold the student's (left, top, side) to the one by hand."""
    answer, case = mine.square(box, margin), told(box=box, margin=margin)
    if not isinstance(answer, tuple | list | np.ndarray) or len(answer) != 3:
        looks = "nothing is returned: is the `return` there?" if answer is None else ""
        fail(f"square answers {answer!r:.60}, expected left, top, side", looks, case)
    if not all(isinstance(number, int | np.integer) for number in answer):
        fail(f"square answers {tuple(answer)}, expected whole numbers of pixels",
             "a division makes a fraction: // answers whole pixels", case)  # fmt: skip
    hold("left, top, side", np.array(expected), np.array(answer), case, rtol=0, atol=0,
         lookalikes=wrong_squares(box, margin))  # fmt: skip


def wrong_squares(box, margin):
    """Answers that classic mistakes would give."""
    x, y, w, h = box
    longer = max(w, h)
    side = round((1 + margin) * longer)

    def about(side):
        return x + (w - side) // 2, y + (h - side) // 2, side

    left, top, _ = about(side)
    wider, taller = round((1 + margin) * w), round((1 + margin) * h)
    answers = {
        "the margin is added on each side: it is for both sides together": about(round((1 + 2 * margin) * longer)),
        "only the width counts: take the longer of the two sides": about(wider),
        "only the height counts: take the longer of the two sides": about(taller),
        "the shorter side is taken: forehead or chin would be cut off": about(min(wider, taller)),
        "the margin is missing": about(longer),
        "cut off where round is asked for": about(int((1 + margin) * longer)),
        "the square begins where the box does: its middle shall be the box's": (x, y, side),
        "left and top are cut at 0: the square may reach beyond the picture": (max(0, left), max(0, top), side),
        "int() cuts towards 0: (w - side) // 2 goes down, also below 0": (
            x + int((w - side) / 2), y + int((h - side) / 2), side),
        "rounded: (w - side) // 2 goes down": (x + round((w - side) / 2), y + round((h - side) / 2), side),
        "half of the margin is taken": about(round((1 + margin / 2) * longer)),
        "the sides are there, and then the corner: left, top, side are asked for": (side, left, top),
        "left and top are swapped": (top, left, side),
        "the square's middle is given, not its corner": (x + w // 2, y + h // 2, side),
    }  # fmt: skip
    return {sentence: np.array(answer) for sentence, answer in answers.items()}


def test_a_square_box(mine):
    """1.2 * 50 = 60: 10 more, 5 on each side."""
    hold_square(mine, (100, 80, 50, 50), 0.2, (95, 75, 60))
    note("(100, 80, 50, 50), margin 0.2 -> 95, 75, 60")


def test_the_margin_is_a_share(mine):
    """Twice the box, twice the margin."""
    (*_, small), (*_, large) = (mine.square((40, 40, s, s), 0.5) for s in (20, 40))
    if large - 40 == small - 20:
        fail(f"a box of 20 becomes {small}, and one of 40 becomes {large}", "a fixed number of pixels: the margin is a "
             "share of the box's side, so that near and far faces look alike", "margin=0.5")  # fmt: skip
    hold_square(mine, (40, 40, 20, 20), 0.5, (35, 35, 30))
    hold_square(mine, (40, 40, 40, 40), 0.5, (30, 30, 60))
    hold_square(mine, (40, 40, 40, 40), 0.0, (40, 40, 40))
    note("a near face and a far one look alike")


def test_a_narrow_box(mine):
    """1.1 * 60 = 66: about the middle (45, 50) in both directions."""
    hold_square(mine, (30, 20, 30, 60), 0.1, (12, 17, 66))
    hold_square(mine, (20, 30, 60, 30), 0.1, (17, 12, 66))
    note("the longer side counts, the middle stays")


def test_one_pixel_more(mine):
    """1.06 * 50 = 53: of three pixels two go to the left and to the top."""
    hold_square(mine, (100, 80, 50, 50), 0.06, (98, 78, 53))
    hold_square(mine, (100, 80, 50, 50), 0.02, (99, 79, 51))
    hold_square(mine, (100, 80, 90, 90), 0.02, (99, 79, 92))
    note("1.06 * 50 -> 98, 78, 53")


def test_beyond_the_picture(mine):
    hold_square(mine, (2, 1, 40, 40), 0.5, (-8, -9, 60))
    note("left and top may be negative")


# --------------------------------------------------------------------------------------------------------------- crop


def hold_crop(mine, picture, left, top, side):
    """Hold the student's crop to the part of a picture that was padded before."""
    height, width = picture.shape
    case, far = told(H=height, W=width, left=left, top=top, side=side), side + height + width + abs(left) + abs(top)

    def cut(**how):
        return np.pad(picture, far, **how)[far + top : far + top + side, far + left : far + left + side]

    crop = mine.square_crop(picture, left, top, side)
    shape = np.shape(crop)
    if isinstance(crop, np.ndarray) and len(shape) == 2 and shape != (side, side):
        looks = (
            "a slice that begins below 0 counts from the other end" if 0 in shape
            else "it ends where the picture ends, and is no square any more: repeat the edge"
        )  # fmt: skip
        fail(f"the crop is {shape}, expected {(side, side)}", looks, case)
    inside_x, inside_y = max(0, min(left, width - side)), max(0, min(top, height - side))
    swapped = np.pad(picture, far, mode="edge")[far + left : far + left + side, far + top : far + top + side]
    hold("crop", cut(mode="edge"), crop, case, lookalikes={
        "left counts rows: a picture is [row, column], so top goes first": swapped,
        "rows and columns are swapped": cut(mode="edge").T,
        "beyond the picture it is black: repeat the edge, or the network sees a rim that no face has":
            cut(mode="constant"),
        "beyond the picture comes its other end: negative indices wrap around": cut(mode="wrap"),
        "the picture is mirrored beyond its edge: the edge itself is repeated": cut(mode="reflect"),
        "the picture is mirrored beyond its edge, the edge itself is repeated": cut(mode="symmetric"),
        "the square is moved into the picture: the face is no longer in its middle":
            picture[inside_y : inside_y + side, inside_x : inside_x + side]})  # fmt: skip


def counting(height, width):
    """A picture in which no two pixels are alike."""
    return np.arange(height * width).reshape(height, width).astype(np.uint8)


def test_a_square_within(mine):
    hold_crop(mine, counting(12, 16), 5, 2, 4)
    hold_crop(mine, counting(12, 16), 0, 0, 12)
    note("rows 2 to 5, columns 5 to 8")


def test_beyond_right_and_below(mine):
    hold_crop(mine, counting(12, 16), 13, 3, 6)
    hold_crop(mine, counting(12, 16), 4, 8, 7)
    note("the edge is repeated")


def test_beyond_left_and_above(mine):
    hold_crop(mine, counting(12, 16), -2, 4, 6)
    hold_crop(mine, counting(12, 16), 3, -3, 5)
    hold_crop(mine, counting(12, 16), -4, -3, 4)
    note("the edge is repeated, also for negative left and top")


def test_beyond_all_four_sides(mine):
    hold_crop(mine, counting(12, 16), -2, -3, 20)
    note("the square is larger than the picture")


def test_any_square(mine):
    draw = rng("squares")
    for _ in range(30):
        height, width, side = (int(n) for n in draw.integers(1, 14, 3))
        left, top = int(draw.integers(-side - 2, width + 3)), int(draw.integers(-side - 2, height + 3))
        hold_crop(mine, draw.integers(0, 256, (height, width), dtype=np.uint8), left, top, side)
    note("30 of them")


# ------------------------------------------------------------------------------------------------------------- resize


def hold_resized(mine, crop, size, expected):
    crop, case = np.asarray(crop, np.uint8), told(n=len(crop), size=size)
    try:
        small = mine.resize_area(crop, size)
    except Fault as fault:
        if "uint8" in fault.text:
            fault.case, fault.looks = case, "a pixel is a uint8, and takes part in the product as one: int(crop[r, c])"
        raise
    hold("resized", np.asarray(expected, np.uint8), small, case,
         lookalikes=lambda: wrong_sizes(crop, size) | rounding(np.asarray(expected, int), small))  # fmt: skip


def exact(crop, size):
    """The means before rounding (size, size), as fractions of whole numbers: (sums, what to divide by)."""
    n = len(crop)
    fine = np.repeat(np.repeat(crop.astype(np.int64), size, 0), size, 1)  # each old pixel as size x size
    return fine.reshape(size, n, size, n).sum((1, 3)), n * n


def wrong_sizes(crop, size):
    """Answers that classic mistakes would give."""
    n = len(crop)
    sums, area = exact(crop, size)
    first, middle = np.arange(size) * n // size, (2 * np.arange(size) + 1) * n // (2 * size)
    block = max(1, n // size)
    blocks = crop[: block * size, : block * size]
    answers = {
        "rounded down: add half before you cut, (sum + n*n // 2) // (n*n)": sums // area,
        "a half is rounded to the even number, as np.round does: here it goes up": np.round(sums / area),
        "rounded up": -(-sums // area),
        "one pixel is picked for each new one: the mean of the whole area is asked for": crop[np.ix_(first, first)],
        "the middle pixel is picked for each new one: the mean of the whole area is asked for":
            crop[np.ix_(middle, middle)],
        "bilinear: four pixels are mixed, however many lie under the new one": bilinear(crop, size),
        "rows and columns are swapped": ((sums + area // 2) // area).T,
        "the upper left corner is cut out: the whole crop shall shrink": crop[:size, :size],
    }  # fmt: skip
    if blocks.shape == (block * size, block * size):
        means = blocks.reshape(size, block, size, block).mean((1, 3))
        answers["blocks of n // size pixels: what is left over at the right and below is lost"] = np.floor(means + 0.5)
        wrapped = blocks.reshape(size, block, size, block).sum((1, 3), dtype=np.uint8)
        answers["the sum wraps around at 256: add in larger whole numbers"] = wrapped.astype(int) // (block * block)
    return {sentence: answer.astype(np.uint8) for sentence, answer in answers.items()}


def rounding(expected, small):
    """The answer itself, if it is nowhere off by more than one."""
    off = np.abs(small.astype(int) - expected)
    few = f"{(off > 0).sum()} of {off.size}"
    return {} if off.max() > 1 or np.ptp(expected) < 16 else {
        f"off by one in {few} pixels: a rounding error of fractions; count in whole numbers": small}  # fmt: skip


def bilinear(crop, size):
    """Interpolation between the four pixels next to each new one's middle."""
    n = len(crop)
    at = ((np.arange(size) + 0.5) * n / size - 0.5).clip(0, n - 1)
    low = np.floor(at).astype(int)
    high, part = np.minimum(low + 1, n - 1), at - low
    rows = crop[low] * (1 - part)[:, None] + crop[high] * part[:, None]
    return np.floor(rows[:, low] * (1 - part) + rows[:, high] * part + 0.5)


def test_same_size(mine):
    crop = rng("same").integers(0, 256, (48, 48), dtype=np.uint8)
    hold_resized(mine, crop, 48, crop)
    note("48 x 48 stays as it is")


def test_blocks_by_hand(mine):
    """(10 + 20 + 30 + 40) / 4 = 25; (250 + 255 + 255 + 240) / 4 = 250."""
    hold_resized(mine, [[10, 20, 250, 255], [30, 40, 255, 240], [1, 1, 0, 4], [2, 4, 8, 0]], 2, [[25, 250], [2, 3]])
    note("10 20 / 30 40 -> 25")


def test_a_half_goes_up(mine):
    """(0 + 0 + 1 + 1) / 4 = 1/2 -> 1, (1 + 2 + 2 + 1) / 4 = 1 1/2 -> 2, and so on."""
    hold_resized(mine, [[0, 0, 1, 2], [1, 1, 2, 1], [2, 3, 3, 3], [3, 2, 4, 4]], 2, [[1, 2], [3, 4]])
    hold_resized(mine, [[5, 5], [5, 6]], 1, [[5]])
    note("1/2 -> 1, 1 1/2 -> 2, 2 1/2 -> 3, 5 1/4 -> 5")


def test_parts_of_pixels(mine):
    """5 -> 2: the first new one covers two old ones and half of the third: (0 + 60 + 120 / 2) / 2.5 = 48."""
    hold_resized(mine, [[0, 60, 120, 60, 30]] * 5, 2, [[48, 60]] * 2)
    hold_resized(mine, [[0, 60, 120]] * 3, 2, [[20, 100]] * 2)
    hold_resized(mine, np.transpose([[0, 60, 120]] * 3), 2, np.transpose([[20, 100]] * 2))
    note("0 60 120 60 30 -> 48 60")


def test_larger_than_it_was(mine):
    hold_resized(mine, [[10, 20], [30, 40]], 4, np.repeat(np.repeat([[10, 20], [30, 40]], 2, 0), 2, 1))
    hold_resized(mine, [[0, 90], [0, 90]], 3, [[0, 45, 90]] * 3)
    note("0 90 -> 0 45 90")


def test_any_size(mine):
    draw = rng("sizes")
    for n, size in ((7, 5), (31, 12), (60, 48), (20, 48), (97, 48), (1, 3), (150, 48)):
        crop = draw.integers(0, 256, (n, n), dtype=np.uint8)
        hold_resized(mine, crop, size, preprocess.resize_area(crop[None], size, size)[0])
    note("from 1 to 150 pixels a side")


def test_halves_everywhere(mine):
    """1/18 is no sum of 1/2, 1/4, 1/8: counted in fractions, some halves come out a little below."""
    for size in (11, 13, 16):
        hold_resized(mine, *halves(size, 18))
    note("546 halves of 18 x 18 pixels each")


def halves(size, k):
    """A crop whose blocks of k x k pixels have a half for a mean, the size, and these means, rounded up."""
    blocks = rng("halves").integers(0, 255, (size, size, k * k))
    blocks += np.arange(k * k) < ((k * k // 2 - blocks.sum(-1)) % (k * k))[..., None]
    crop = blocks.reshape(size, size, k, k).swapaxes(1, 2).reshape(size * k, size * k)
    return crop, size, blocks.sum(-1) // (k * k) + 1


# ----------------------------------------------------------------------------------------------------------- together


def test_the_bits_that_evaluate_sees(mine):
    """Faces in drawn frames, one of them over the edge: your 48 x 48 and the engine's, and what the network is fed."""
    ours = data.Preprocess()
    for x, y, width, label in (
        (80, 60, 50, "happy"),
        (10, 70, 66, "surprise"),
        (130, 112, 41, "sad"),
        (60, 9, 23, "fear"),
    ):
        frame = data.toyfaces.scene(120, 160, label, x=x, y=y, face=width)
        box = Box(x - width // 2, y - width // 2, width, width + 3)
        small = mine.resize_area(mine.square_crop(frame, *mine.square(tuple(box), faces.MARGIN)), 48)
        hold("crop", faces.prepared(frame, [box], ours)[0], small, told(box=tuple(box), face=label))
        hold("input", ours(faces.square_crop(frame, box)[None])[0], ours(small[None])[0], rtol=0, atol=0)
    note("4 faces, the network's input is the same to the bit")
