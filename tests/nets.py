"""Small networks for the tests, and what is done to them: random weights and statistics, float64, one training step."""

import numba
import numpy as np
import pytest

from tinyfer import models, ops
from tinyfer.layers import BatchNorm2d
from tinyfer.models import Params

# The smallest of each kind, and both orders of a vgg's block: eight pictures pass them in milliseconds.
SMALL = {
    "vgg": ("vgg", dict(size=16, width=0.125)),
    "vgg-fused": ("vgg", dict(size=20, width=0.25)),  # wide enough for the fused way on every processor
    "vgg-relu-bn": ("vgg", dict(size=17, width=0.125, head="average", stage_dropout=0.1, order="conv-relu-bn")),
    "cnn4": ("cnn4", dict(size=16)),
    "dnn5": ("dnn5", dict(size=9)),
    "lite": ("lite", dict(size=17, width=0.25)),
    "micro": ("micro", dict(dropout=0.2)),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Import this where networks are tiny: threads would only wait for each other, and the bits are the same."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


class Zeros:
    """In place of a random generator, where only shapes matter."""

    @staticmethod
    def standard_normal(shape, dtype):
        return np.zeros(shape, dtype)


def small(key, seed=0, **options):
    """A small network as it starts."""
    name, given = SMALL[key]
    return models.build(name, np.random.default_rng(seed), **(given | options))


def norms(layer):
    return [leaf for _, leaf in layer.leaves() if isinstance(leaf, BatchNorm2d)]


def randomise(model, seed=0):
    """Every parameter and running statistic random: a fresh network has zeros and ones where bugs could hide."""
    rng = np.random.default_rng(seed)
    for p in model.params:
        if not p.decays:  # biases, gammas and betas: moved off 0 and 1
            p.value += rng.normal(0, 0.3, p.value.shape)
        elif not p.value.any():  # the last layer
            p.value[...] = rng.normal(0, p.value.shape[0] ** -0.5, p.value.shape)
    for norm in norms(model):
        norm.running_mean[...] = rng.normal(0, 0.5, norm.running_mean.shape)
        norm.running_var[...] = rng.uniform(0.3, 3, norm.running_var.shape)
    return model


def in_float64(model):
    """The same network in float64: parameters are float32 by design, and proofs by differences need more digits."""
    for _, leaf in model.leaves():
        for p in leaf.parameters().values():
            p.value, p.grad = p.value.astype(np.float64), p.grad.astype(np.float64)
    for norm in norms(model):
        norm.running_mean, norm.running_var = norm.running_mean.astype(np.float64), norm.running_var.astype(np.float64)
    if hasattr(model, "preprocess"):
        model.params = Params(model.params)
    return model


def pictures(model, n=8, seed=1):
    """Random input (n,h,w,1) and targets (n,), in the dtype of the network."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, *model.preprocess.shape)).astype(model.params.value.dtype)
    return x, rng.integers(0, 7, n)


def loss_and_gradients(model, x, target, seed=2):
    """One pass forward and back in training mode, dropout drawn from `seed`: loss, dx; grads are in the model."""
    model.rng = np.random.default_rng(seed)
    loss, dlogits = ops.softmax_cross_entropy(model.forward(x, train=True), target, label_smoothing=0.1)
    return float(loss), model.backward(dlogits)
