"""Classic mistakes in softmax and cross-entropy."""

import numpy as np

from tinyfer import reference


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    yield "p", "not divided by the row's sum", e
    yield "p", "these are the exponentials: not divided by the row's sum", np.exp(z)
    yield "p", "normalised over the batch: each row, one picture's scores, must add up to 1", reference.softmax(z.T).T
    whole = np.exp(z - z.max())
    yield "p", "normalised over the whole array: each row must add up to 1", whole / whole.sum()
    yield "p", "these are the log-probabilities", np.log(e / e.sum(1, keepdims=True))


def softmax_cross_entropy(z, target, class_weight, smoothing):
    stock = reference.softmax_cross_entropy
    loss, dz = stock(z, target, class_weight, smoothing)
    n, ones = len(z), np.ones_like(class_weight)
    for name, right, wrong in zip(("loss", "dz"), (loss, dz), stock(z, target, class_weight, 0.0), strict=True):
        yield name, "label smoothing is ignored", wrong
        if (class_weight == 1).all():
            summed = "dz lacks the factor a[n], 1/N: the loss is a mean over the batch"
            if name == "loss":
                summed = "the sum over the batch is given where the mean is asked for"
            yield name, summed, right * n
        else:
            t = reference.soft_targets(target, z.shape[1], z.dtype)
            total = (t @ class_weight).sum()
            yield name, "divided by N: with class weights divide by the sum of the pictures' weights", right * total / n
            yield name, "the weighted sum is given: divide by the sum of the pictures' weights", right * total
    for name, wrong in zip(("loss", "dz"), stock(z, target, ones, smoothing), strict=True):
        yield name, "the class weights are ignored", wrong
    yield "dz", "the target is not subtracted: dz = (softmax(z) - target) / N", reference.softmax(z) / n
    yield "loss", "mean() also divided by K: the classes of a picture are summed, and only pictures averaged", \
        loss / z.shape[1]  # fmt: skip
    yield "loss", "mean() divided by N*K, and a holds 1/N already: sum", loss / z.size
    yield "loss", "the logarithm is to the base 2: the natural one is asked for", loss / np.log(2)
