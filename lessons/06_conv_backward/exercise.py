"""Lesson 06, Convolution, backwards: every pixel takes back its share of each output that it took part in."""

import numpy as np


def conv2d_backward(dy, x, w, stride, pad):
    """dy (N,P,Q,K), x (N,H,W,C), w (kh,kw,C,K) -> dx (N,H,W,C), dw (kh,kw,C,K), db (K,)."""
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    _, rows, columns, _ = dy.shape
    # Your code: about 16 lines.
    raise NotImplementedError("conv2d_backward is still to be written")
