"""Lesson 00, Hello: a colour picture becomes the small grey one that the network reads."""

import numpy as np

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # how bright each colour looks to the eye; they add up to 1


def to_grey48(img):
    """A colour picture uint8 (48*k, 48*k, 3), red first -> the grey one, uint8 (48, 48).

    Each pixel is the mean grey of a block of k x k pixels, rounded to the nearest whole number."""
    # BEGIN ANSWER
    k = len(img) // 48
    grey = img @ np.array([RED, GREEN, BLUE])  # in float64: uint8 would wrap around at 256
    blocks = grey.reshape(48, k, 48, k)  # row of blocks, row in the block, column of blocks, column in the block
    return np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)
    # END ANSWER
