"""Classic mistakes in dense layers."""

import numpy as np

from tinyfer import reference
from tinyfer.lookalikes.conv import missing_sums


def dense_forward(x, w, b):
    yield "y", "the bias is missing", x @ w
    yield "y", "the bias is added twice", x @ w + 2 * b
    yield "y", "the bias is added again and again: it belongs outside the loop over inputs", x @ w + len(w) * b
    for place, which in ((0, "first"), (-1, "last")):
        sentence = f"the sum over inputs is missing: only the {which} input counts ('=' where '+=' belongs?)"
        yield "y", sentence, np.outer(x[:, place], w[place]) + b
    if w.shape[0] == w.shape[1]:
        yield "y", "the weights are transposed: y = x w + b with w (D_in, D_out)", x @ w.T + b


def dense_backward(dy, x, w):
    back = reference.dense_backward
    dx, dw, _ = back(dy, x, w)
    swapped = "dx and dw are swapped: they are returned in the order dx, dw, db"
    yield "dx", swapped, dw
    yield "dw", swapped, dx
    mean = "each value is 1/N of the right one: sum over the batch, no mean, for the 1/N is in dy already"
    for name, right in zip(("dw", "db"), back(dy, x, w)[1:], strict=True):
        yield name, mean, right / len(x)
    yield "db", "summed over the outputs: b is used by every picture, so sum over the batch", dy.sum(1)
    if w.shape[0] == w.shape[1]:
        yield "dx", "the weights are not transposed: dx = dy w^T", dy @ w
        yield "dw", "transposed: dw = x^T dy has w's shape (D_in, D_out)", dy.T @ x
    for place, which in ((0, "first"), (-1, "last")):
        yield from missing_sums(which, place, dy, lambda d: back(d, x, w)[1:], ("dw", "db"), space=False)
