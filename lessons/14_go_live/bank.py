"""Lesson 14: what students write."""

import numba
import numpy as np


def padded_crop(picture, left, top, side, **how):
    """A crop with any way of padding."""
    far = side + abs(left) + abs(top) + max(picture.shape)
    return np.pad(picture, far, **how)[far + top : far + top + side, far + left : far + left + side]


def sums(crop, size):
    """What the new pixels cover, before it is divided by n * n."""
    n = len(crop)
    fine = np.repeat(np.repeat(crop.astype(np.int64), size, 0), size, 1)
    return fine.reshape(size, n, size, n).sum((1, 3))


# %% wrong: the margin on each side
# looks like: the margin is added on each side
def square(box, margin):
    x, y, w, h = box
    side = round((1 + 2 * margin) * max(w, h))
    return x + (w - side) // 2, y + (h - side) // 2, side


# %% wrong: ten pixels, whatever the size
# looks like: a fixed number of pixels|the margin is missing
def square(box, margin):
    x, y, w, h = box
    side = max(w, h) + 10
    return x + (w - side) // 2, y + (h - side) // 2, side


# %% wrong: the width alone
# looks like: only the width counts
def square(box, margin):
    x, y, w, h = box
    side = round((1 + margin) * w)
    return x + (w - side) // 2, y + (h - side) // 2, side


# %% wrong: the shorter side
# looks like: only the width counts|the shorter side is taken
def square(box, margin):
    x, y, w, h = box
    side = round((1 + margin) * min(w, h))
    return x + (w - side) // 2, y + (h - side) // 2, side


# %% wrong: the corner of the box stays
# looks like: the square begins where the box does
def square(box, margin):
    x, y, w, h = box
    return x, y, round((1 + margin) * max(w, h))


# %% wrong: cut at the picture's edge
# looks like: left and top are cut at 0
def square(box, margin):
    x, y, w, h = box
    side = round((1 + margin) * max(w, h))
    return max(0, x + (w - side) // 2), max(0, y + (h - side) // 2), side


# %% wrong: int() of the half
# looks like: cuts towards 0
def square(box, margin):
    x, y, w, h = box
    side = round((1 + margin) * max(w, h))
    return x + int((w - side) / 2), y + int((h - side) / 2), side


# %% wrong: fractions of pixels
# looks like: // answers whole pixels
def square(box, margin):
    x, y, w, h = box
    side = (1 + margin) * max(w, h)
    return x + (w - side) / 2, y + (h - side) / 2, side


# %% wrong: a plain slice
# looks like: no square any more
def square_crop(picture, left, top, side):
    return picture[top : top + side, left : left + side]


# %% wrong: a slice that is cut at 0
# looks like: no square any more
def square_crop(picture, left, top, side):
    return picture[max(0, top) : top + side, max(0, left) : left + side]


# %% wrong: padded right and below only, so that negative slices come out empty
# looks like: counts from the other end
def square_crop(picture, left, top, side):
    return np.pad(picture, ((0, 2 * side), (0, 2 * side)), mode="edge")[top : top + side, left : left + side]


# %% wrong: x counts rows
# looks like: left counts rows
def square_crop(picture, left, top, side):
    return padded_crop(picture, top, left, side, mode="edge")


# %% wrong: black beyond the picture
# looks like: beyond the picture it is black
def square_crop(picture, left, top, side):
    crop = np.zeros((side, side), np.uint8)
    for i in range(side):
        for j in range(side):
            if 0 <= top + i < picture.shape[0] and 0 <= left + j < picture.shape[1]:
                crop[i, j] = picture[top + i, left + j]
    return crop


# %% wrong: negative indices take from the other end
# looks like: only the first|shifted|wrap around
def square_crop(picture, left, top, side):
    crop = np.zeros((side, side), np.uint8)
    for i in range(side):
        for j in range(side):
            crop[i, j] = picture[min(top + i, picture.shape[0] - 1), min(left + j, picture.shape[1] - 1)]
    return crop


# %% wrong: the square is moved into the picture
# looks like: the square is moved into the picture
def square_crop(picture, left, top, side):
    height, width = picture.shape
    left, top = max(0, min(left, width - side)), max(0, min(top, height - side))
    return padded_crop(picture, left, top, side, mode="edge")


# %% wrong: mirrored beyond the edge
# looks like: mirrored beyond its edge
def square_crop(picture, left, top, side):
    return padded_crop(picture, left, top, side, mode="reflect")


# %% wrong: picks pixels
# looks like: one pixel is picked
def resize_area(crop, size):
    at = np.arange(size) * len(crop) // size
    return crop[np.ix_(at, at)]


# %% wrong: bilinear
# looks like: bilinear|the middle pixel
def resize_area(crop, size):
    n = len(crop)
    at = ((np.arange(size) + 0.5) * n / size - 0.5).clip(0, n - 1)
    low = np.floor(at).astype(int)
    high, part = np.minimum(low + 1, n - 1), at - low
    rows = crop[low] * (1 - part)[:, None] + crop[high] * part[:, None]
    return np.floor(rows[:, low] * (1 - part) + rows[:, high] * part + 0.5).astype(np.uint8)


# %% wrong: rounds down
# looks like: rounded down
def resize_area(crop, size):
    return (sums(crop, size) / len(crop) ** 2).astype(np.uint8)


# %% wrong: np.round
# looks like: as np.round does
def resize_area(crop, size):
    return np.round(sums(crop, size) / len(crop) ** 2).astype(np.uint8)


# %% wrong: shares of a pixel, in float32
# looks like: a rounding error of fractions
def resize_area(crop, size):
    n = len(crop)
    ends, pixels = np.arange(size + 1)[:, None] * n, np.arange(n + 1) * size
    covered = np.minimum(ends[1:], pixels[1:]) - np.maximum(ends[:-1], pixels[:-1])
    a = np.maximum(covered, 0).astype(np.float32) / np.float32(n)
    return (a @ crop.astype(np.float32) @ a.T + np.float32(0.5)).astype(np.uint8)


# %% wrong: shares of a pixel, in float64
# looks like: a rounding error of fractions
def resize_area(crop, size):
    n = len(crop)
    ends, pixels = np.arange(size + 1)[:, None] * n, np.arange(n + 1) * size
    a = np.maximum(np.minimum(ends[1:], pixels[1:]) - np.maximum(ends[:-1], pixels[:-1]), 0) / n
    return np.floor(a @ crop @ a.T + 0.5).astype(np.uint8)


# %% wrong: whole blocks only
# looks like: blocks of n // size
def resize_area(crop, size):
    k = max(1, len(crop) // size)
    if len(crop) < size:
        crop = np.repeat(np.repeat(crop, -(-size // len(crop)), 0), -(-size // len(crop)), 1)
    blocks = crop[: k * size, : k * size].reshape(size, k, size, k)
    return np.floor(blocks.mean((1, 3)) + 0.5).astype(np.uint8)


# %% wrong: sums in uint8
# looks like: wraps around at 256
def resize_area(crop, size):
    k = max(1, len(crop) // size)
    return crop.reshape(size, k, size, k).sum((1, 3), dtype=np.uint8) // np.uint8(k * k)


# %% wrong: whole numbers times uint8
# looks like: a pixel is a uint8
def resize_area(crop, size):
    n = len(crop)
    y = np.zeros((size, size), np.uint8)
    for i, j in np.ndindex(size, size):
        total = 0
        for r in range(i * n // size, -(-(i + 1) * n // size)):
            for c in range(j * n // size, -(-(j + 1) * n // size)):
                high = min((i + 1) * n, (r + 1) * size) - max(i * n, r * size)
                wide = min((j + 1) * n, (c + 1) * size) - max(j * n, c * size)
                total += high * wide * crop[r, c]
        y[i, j] = (total + n * n // 2) // (n * n)
    return y


# %% wrong: answers floats
# looks like: np.zeros and np.empty make float64
def resize_area(crop, size):
    return np.floor(sums(crop, size) / len(crop) ** 2 + 0.5)


# %% right: loops
def square(box, margin):
    x, y, w, h = box
    longer = w if w > h else h
    side = round((1 + margin) * longer)
    left = x - (side - w + 1) // 2
    top = y - (side - h + 1) // 2
    return left, top, side


def square_crop(picture, left, top, side):
    height, width = picture.shape
    crop = np.zeros((side, side), np.uint8)
    for i in range(side):
        for j in range(side):
            row, column = min(max(top + i, 0), height - 1), min(max(left + j, 0), width - 1)
            crop[i, j] = picture[row, column]
    return crop


def resize_area(crop, size):
    n = len(crop)
    y = np.zeros((size, size), np.uint8)
    for i in range(size):
        for j in range(size):
            total = 0
            for r in range(i * n // size, -(-(i + 1) * n // size)):
                high = min((i + 1) * n, (r + 1) * size) - max(i * n, r * size)
                for c in range(j * n // size, -(-(j + 1) * n // size)):
                    wide = min((j + 1) * n, (c + 1) * size) - max(j * n, c * size)
                    total += high * wide * int(crop[r, c])
            y[i, j] = (2 * total + n * n) // (2 * n * n)
    return y


# %% right: padded first, areas of a picture that is repeated
def square_crop(picture, left, top, side):
    return padded_crop(picture, left, top, side, mode="edge")


def resize_area(crop, size):
    n = len(crop)
    fine = np.repeat(np.repeat(crop.astype(np.float64), size, 0), size, 1)
    return np.floor(fine.reshape(size, n, size, n).sum((1, 3)) / n**2 + 0.5).astype(np.uint8)


# %% right: njit
@numba.njit
def square_crop(picture, left, top, side):
    height, width = picture.shape
    crop = np.empty((side, side), np.uint8)
    for i in range(side):
        for j in range(side):
            crop[i, j] = picture[min(max(top + i, 0), height - 1), min(max(left + j, 0), width - 1)]
    return crop


@numba.njit
def resize_area(crop, size):
    n = crop.shape[0]
    y = np.empty((size, size), np.uint8)
    for i in range(size):
        for j in range(size):
            total = 0
            for r in range(i * n // size, min(n, ((i + 1) * n - 1) // size + 1)):
                for c in range(j * n // size, min(n, ((j + 1) * n - 1) // size + 1)):
                    high = min((i + 1) * n, (r + 1) * size) - max(i * n, r * size)
                    wide = min((j + 1) * n, (c + 1) * size) - max(j * n, c * size)
                    total += high * wide * int(crop[r, c])
            y[i, j] = (total + n * n // 2) // (n * n)
    return y


# %% right: running sums
def resize_area(crop, size):
    def along(x):
        n = x.shape[-1]
        integral = np.concatenate([np.zeros((len(x), 1), np.int64), x.cumsum(-1)], -1) * size
        whole, part = np.divmod(np.arange(size + 1) * n, size)
        following = x[:, np.minimum(whole, n - 1)]
        return np.diff(integral[:, whole] + following * part)

    rows = along(crop.astype(np.int64).T).T
    return ((along(rows) + len(crop) ** 2 // 2) // len(crop) ** 2).astype(np.uint8)
