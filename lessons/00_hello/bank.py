"""Lesson 00: what students write."""

import numba
import numpy as np

W = np.array([0.299, 0.587, 0.114])


# %% wrong: adds the colours as uint8, which wraps around
# looks like: wraps around at 256
def to_grey48(img):
    k = img.shape[0] // 48
    grey = (img[:, :, 0] + img[:, :, 1] + img[:, :, 2]) / 3
    return np.round(grey.reshape(48, k, 48, k).mean((1, 3))).astype(np.uint8)


# %% wrong: cuts each colour to a whole number first
# looks like: cut to a whole number before adding
def to_grey48(img):
    k = img.shape[0] // 48
    parts = (img * W).astype(np.uint8)
    grey = parts[:, :, 0] + parts[:, :, 1] + parts[:, :, 2]
    return np.round(grey.reshape(48, k, 48, k).mean((1, 3))).astype(np.uint8)


# %% wrong: takes the plain mean of the colours
# looks like: all three colours count the same
def to_grey48(img):
    k = img.shape[0] // 48
    return np.round(img.mean(2).reshape(48, k, 48, k).mean((1, 3))).astype(np.uint8)


# %% wrong: takes blue for red, as OpenCV has it
# looks like: red and blue are swapped
def to_grey48(img):
    k = img.shape[0] // 48
    grey = 0.114 * img[..., 0] + 0.587 * img[..., 1] + 0.299 * img[..., 2]
    return np.round(grey.reshape(48, k, 48, k).mean((1, 3))).astype(np.uint8)


# %% wrong: rounds down
# looks like: rounded down
def to_grey48(img):
    k = img.shape[0] // 48
    return (img @ W).reshape(48, k, 48, k).mean((1, 3)).astype(np.uint8)


# %% wrong: picks every k-th pixel
# looks like: every k-th pixel was picked
def to_grey48(img):
    k = img.shape[0] // 48
    return np.round(img[::k, ::k] @ W).astype(np.uint8)


# %% wrong: cuts the axes as (k, 48, k, 48)
# looks like: the blocks are mixed up
def to_grey48(img):
    k = img.shape[0] // 48
    return np.round((img @ W).reshape(k, 48, k, 48).mean((0, 2))).astype(np.uint8)


# %% wrong: answers floats
# looks like: np.zeros and np.empty make float64
def to_grey48(img):
    k = img.shape[0] // 48
    return np.round((img @ W).reshape(48, k, 48, k).mean((1, 3)))


# %% wrong: scales to 0 .. 1 and then to uint8
def to_grey48(img):
    k = img.shape[0] // 48
    grey = (img / 255) @ W
    return grey.reshape(48, k, 48, k).mean((1, 3)).astype(np.uint8)


# %% wrong: forgets to return
# looks like: nothing is returned
def to_grey48(img):
    k = img.shape[0] // 48
    grey = (img @ W).reshape(48, k, 48, k)
    result = np.round(grey.mean((1, 3))).astype(np.uint8)


# %% wrong: keeps an axis for the colour
# looks like: an axis of length 1 is left over
def to_grey48(img):
    k = img.shape[0] // 48
    return np.round((img @ W).reshape(48, k, 48, k).mean((1, 3))).astype(np.uint8)[..., None]


# %% wrong: writes the grey into the picture it was given
# looks like: it writes into img, which belongs to the caller
def to_grey48(img):
    k = img.shape[0] // 48
    img[...] = np.round(img @ W)[..., None]
    return np.round(img[..., 0].reshape(48, k, 48, k).mean((1, 3))).astype(np.uint8)


# %% wrong: shrinks by two, whatever the size
def to_grey48(img):
    grey = img @ W
    return np.round((grey[::2, ::2] + grey[1::2, ::2] + grey[::2, 1::2] + grey[1::2, 1::2]) / 4).astype(np.uint8)


# %% wrong: takes rows for columns
# looks like: rows and columns are swapped
def to_grey48(img):
    k = img.shape[0] // 48
    y = np.zeros((48, 48), np.uint8)
    for i in range(48):
        for j in range(48):
            y[i, j] = round((img[k * j : k * j + k, k * i : k * i + k] @ W).mean())
    return y


# %% wrong: rounds the grey of each pixel, and then the mean
# looks like: rounded twice: keep the grey in floats
def to_grey48(img):
    k = img.shape[0] // 48
    grey = np.round(img @ W)
    return np.round(grey.reshape(48, k, 48, k).mean((1, 3))).astype(np.uint8)


# %% wrong: averages rounded greys twice
# looks like: rounded twice, the second time down
def to_grey48(img):
    k = img.shape[0] // 48
    grey = np.round(img @ W).astype(np.uint8)
    return (grey.reshape(48, k, 48, k).sum((1, 3)) // (k * k)).astype(np.uint8)


# %% right: loops
def to_grey48(img):
    k = img.shape[0] // 48
    y = np.zeros((48, 48), np.uint8)
    for i in range(48):
        for j in range(48):
            total = 0.0
            for row in range(k * i, k * i + k):
                for column in range(k * j, k * j + k):
                    red, green, blue = img[row, column]
                    total += RED * red + GREEN * green + BLUE * blue
            y[i, j] = round(total / k**2)
    return y


# %% right: vectorised, blocks first
def to_grey48(img):
    k = img.shape[0] // 48
    small = img.reshape(48, k, 48, k, 3).mean((1, 3))
    return (small.dot(W) + 0.5).astype(np.uint8)


# %% right: njit
@numba.njit
def to_grey48(img):
    k = img.shape[0] // 48
    y = np.zeros((48, 48), np.float64)
    for i in range(48 * k):
        for j in range(48 * k):
            y[i // k, j // k] += 0.299 * img[i, j, 0] + 0.587 * img[i, j, 1] + 0.114 * img[i, j, 2]
    return np.round(y / (k * k)).astype(np.uint8)
