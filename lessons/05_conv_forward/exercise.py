"""Lesson 05, Convolution: one small kernel looks at every place of a picture, and says where it finds what it seeks."""

import numpy as np


def conv2d_forward(x, w, b, stride, pad):
    """x (N,H,W,C), w (kh,kw,C,K), b (K,) -> y (N,P,Q,K), with pad rows and columns of zeros all around the picture."""
    pictures, height, width, channels = x.shape
    kh, kw, _, kernels = w.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    # Your code: about 14 lines.
    raise NotImplementedError("conv2d_forward is still to be written")


def my_kernel():
    """Given: the kernel (3,3) of the last picture that `show` draws. Put in any numbers you like, and look."""
    return np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
