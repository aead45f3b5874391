"""Lesson 00, Hello: a colour picture becomes the small grey one that the network reads."""

import numpy as np

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # how bright each colour looks to the eye; they add up to 1


def to_grey48(img):
    """A colour picture uint8 (48*k, 48*k, 3), red first -> the grey one, uint8 (48, 48).

    Each pixel is the mean grey of a block of k x k pixels, rounded to the nearest whole number."""
    # Your code: about 4 lines.
    raise NotImplementedError("to_grey48 is still to be written")
