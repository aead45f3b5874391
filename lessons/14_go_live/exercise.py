"""Lesson 14, Go live: from a box around a face to the 48 x 48 pixels that the network reads, to the bit."""

import numpy as np


def square(box, margin):
    """box (x, y, w, h) in whole pixels, margin as a share of its longer side -> left, top, side of the square about it.

    The square may reach beyond the picture: left and top may be negative."""
    x, y, w, h = box
    # Your code: about 2 lines.
    raise NotImplementedError("square is still to be written")


def square_crop(picture, left, top, side):
    """picture uint8 (H,W) -> uint8 (side, side), what lies in the square; beyond the picture its edge is repeated."""
    # Your code: about 4 lines.
    raise NotImplementedError("square_crop is still to be written")


def resize_area(crop, size):
    """crop uint8 (n, n) -> uint8 (size, size): each new pixel is the mean of the area it covers, rounded half up."""
    # Your code: about 6 lines.
    raise NotImplementedError("resize_area is still to be written")
