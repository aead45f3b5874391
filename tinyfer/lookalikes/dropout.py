"""Classic mistakes in dropout."""

import numpy as np


def dropout_forward(x, mask):
    yield from _dropout(x, mask, "y")


def dropout_backward(dy, mask):
    yield from _dropout(dy, mask, "dx")


def _dropout(x, mask, name):
    yield name, "nothing is dropped", x
    yield name, "what is kept is not scaled by 1/(1-p): the mask holds that factor, multiply by it", x * (mask > 0)
    yield name, "the wrong ones are dropped: multiply by the mask", np.where(mask > 0, 0, x * mask.max())
    yield name, "the mask is applied twice", x * mask * mask
