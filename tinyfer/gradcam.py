"""Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): which parts of a picture spoke for an expression.

    explain = GradCam(model)
    heat = explain(model.preprocess(pictures), classes)      # (N,h,w), 0 to 1: h x w are those of the last convolution

The score of a class is differentiated back to the maps A of the last convolution, through the layers' own `backward`.
Each map is weighed by the mean of its gradient, and what is positive in their sum spoke for the class."""

from __future__ import annotations

import numpy as np

from tinyfer.layers import BatchNorm2d, Conv2d, Layer, ReLU
from tinyfer.models import Model


class GradCam:
    """Heat maps of a model, with its weights as they are now (copies, so that its own gradients stay untouched)."""

    def __init__(self, model: Model):
        leaves = [leaf for _, leaf in model.leaves()]
        cut = _after_last_convolution(leaves)
        self._maps = [leaf.frozen() for leaf in leaves[:cut]]
        self._head = [leaf.frozen() for leaf in leaves[cut:]]
        self._classes, self._check = len(model.labels), model.check_input

    def __call__(self, x: np.ndarray, classes) -> np.ndarray:
        """x (N,h,w,1) as the network takes it, an index into its labels for each picture -> float32 (N,h',w'), the
        largest value of each picture 1 (all 0 where nothing spoke for the class)."""
        self._check(x)
        for layer in self._maps:
            x = layer.forward(x)
        maps = x
        for layer in self._head:
            x = layer.forward(x, keep=True)
        dy = np.zeros_like(x)
        dy[np.arange(len(x)), classes] = 1
        for layer in reversed(self._head):
            dy = layer.backward(dy)
        weights = dy.mean(axis=(1, 2), keepdims=True)
        heat = np.maximum((weights * maps).sum(-1), 0)
        return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), np.float32(1e-12))


def _after_last_convolution(leaves: list[Layer]) -> int:
    """Index of the first layer behind the last convolution, its norm and its ReLU."""
    cut = max(i for i, leaf in enumerate(leaves) if isinstance(leaf, Conv2d)) + 1
    while cut < len(leaves) and isinstance(leaves[cut], (BatchNorm2d, ReLU)):
        cut += 1
    return cut
