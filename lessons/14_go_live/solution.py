"""Lesson 14, Go live: from a box around a face to the 48 x 48 pixels that the network reads, to the bit."""

import numpy as np


def square(box, margin):
    """box (x, y, w, h) in whole pixels, margin as a share of its longer side -> left, top, side of the square about it.

    The square may reach beyond the picture: left and top may be negative."""
    x, y, w, h = box
    # BEGIN ANSWER
    side = round((1 + margin) * max(w, h))
    return x + (w - side) // 2, y + (h - side) // 2, side
    # END ANSWER


def square_crop(picture, left, top, side):
    """picture uint8 (H,W) -> uint8 (side, side), what lies in the square; beyond the picture its edge is repeated."""
    # BEGIN ANSWER
    height, width = picture.shape
    rows = np.arange(top, top + side).clip(0, height - 1)
    columns = np.arange(left, left + side).clip(0, width - 1)
    return picture[np.ix_(rows, columns)]
    # END ANSWER


def resize_area(crop, size):
    """crop uint8 (n, n) -> uint8 (size, size): each new pixel is the mean of the area it covers, rounded half up."""
    # BEGIN ANSWER
    n = len(crop)
    edges, pixels = np.arange(size + 1)[:, None] * n, np.arange(n + 1) * size  # both in 1/size of an old pixel
    ends, begins = np.minimum(edges[1:], pixels[1:]), np.maximum(edges[:-1], pixels[:-1])
    covered = np.maximum(ends - begins, 0)  # (size, n): how much of each old row a new one covers
    sums = covered @ crop.astype(np.int64) @ covered.T
    return ((sums + n * n // 2) // (n * n)).astype(np.uint8)
    # END ANSWER
